//! The scaler's process: what it refuses to start on, and that it waits for Docker. What it does to
//! containers is tested where it is written.

use std::{path::Path, process::Output};

use crate::{
    client::Client,
    server::{Plan, free_port},
    until::until,
};

fn run(folder: &Path, args: &[&str]) -> Output {
    let args = [&["autoscale"], args].concat();
    let mut command = Plan::new(folder).command(&args);
    command.env_remove("DOCKER_HOST");
    command.output().expect("the binary is there")
}

fn refused(folder: &Path, args: &[&str], code: i32, because: &str) {
    let output = run(folder, args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(because), "{said}");
}

#[test]
fn what_cannot_work_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |args| refused(folder.path(), args, 78, "--window");
    at(&["--project", "p", "--window", "3", "--interval", "2"]);
    let port = format!("127.0.0.1:{}", free_port());
    let nowhere = format!("unix://{}/none.sock", folder.path().display());
    let listen = ["--listen", &port];
    let told = [&["--docker", &nowhere], &listen[..]].concat();
    // A Docker that is away may come: no reason to be left stopped.
    refused(folder.path(), &told, 1, "--project");
    let told = [&["--project", "p", "--docker", "here"], &listen[..]].concat();
    refused(folder.path(), &told, 78, "unix:///PATH");
    refused(folder.path(), &["--interval=-1"], 78, "86400 seconds");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_docker_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::new(folder.path());
    let port = format!("127.0.0.1:{}", free_port());
    let nowhere = format!("unix://{}/none.sock", folder.path().display());
    let told = ["autoscale", "--project", "p", "--interval", "0.1"];
    let mut command = plan.command(&told);
    command.args(["--docker", &nowhere, "--listen", &port]);
    let server = tokio::task::block_in_place(|| plan.start_command(command));
    let client = Client::at(&server.address, &server.address);
    let ask = async |path: &str| {
        let answer = client.request(reqwest::Method::GET, path).send().await;
        let answer = answer.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(ask("/healthz").await.0, 200);
    assert_eq!(ask("/readyz").await.0, 503);
    until("Docker is found missing", async || {
        let (_, metrics) = ask("/metrics").await;
        metrics
            .contains("hongbao_autoscale_docker_up 0")
            .then_some(())
    })
    .await;
    assert_eq!(server.log().matches("waiting for Docker").count(), 1);
    assert_eq!(server.stop().code(), Some(0));
}
