//! Another image for every service, by the recipe of `deploy/README.md` as it stands there, under
//! load: no request fails.

use std::{fs, time::Duration};

use tokio::task::block_in_place;

use crate::{
    cluster::{Cluster, IMAGE, SERVICES},
    engine::root,
    steady::Steady,
};

/// The image of the next version: the same binary, and another image to Docker.
const NEXT: &str = "hongbao-local/hongbao:next";
/// Above the recipe.
const HEADING: &str = "### Replacing a version without a failed request";

/// See the module.
pub(crate) async fn by_the_recipe(cluster: &mut Cluster) {
    let engine = &cluster.engine;
    block_in_place(|| {
        // One of an earlier run would lose its name only, and stay.
        let _was_there = engine.try_docker(&["rmi", NEXT]);
        // Of a container of its own: those of the template have labels that say how they are
        // scaled, and every container of their image would have them, too.
        let from = engine.docker(&["create", IMAGE]);
        let from = from.trim();
        let version = ["--change", "LABEL version=next"];
        engine.docker(&[&["commit"][..], &version, &[from, NEXT]].concat());
        engine.docker(&["rm", from]);
    });
    cluster.tell("HONGBAO_IMAGE", NEXT);
    let cluster = &*cluster;
    let users = Steady::begin(cluster, 4, Duration::from_millis(20)).await;
    block_in_place(|| cluster.run("replace the version", &recipe()));
    users.more_wins(20).await;
    let asked = users.end(cluster).await;
    for service in SERVICES {
        for container in cluster.containers(service) {
            let image = ["inspect", "--format", "{{.Config.Image}}", &container];
            assert_eq!(cluster.engine.docker(&image).trim(), NEXT, "{container}");
        }
    }
    println!("upgrade: {asked} grabs while every container was replaced");
}

/// The commands below the heading.
fn recipe() -> String {
    let page = fs::read_to_string(root().join("deploy/README.md")).expect("the page is there");
    let (_, below) = page.split_once(HEADING).expect("it has a recipe");
    let (_, commands) = below.split_once("```sh\n").expect("of commands");
    let (commands, _) = commands.split_once("```").expect("that end");
    commands.to_owned()
}
