//! Without its two secrets the template is refused, and says which one is missing; there is no
//! default password.

use std::process::{Command, Output};

use crate::engine::{root, said};

fn config(env: &[(&str, &str)]) -> Output {
    // A file that says nothing, instead of a .env that may be there.
    let nothing = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    Command::new("docker-compose")
        .arg("--file")
        .arg(root().join("deploy/compose/docker-compose.yml"))
        .arg("--env-file")
        .arg(nothing.path())
        .arg("config")
        .env_remove("DB_PASSWD")
        .env_remove("ACCESS_KEY_SECRET")
        .envs(env.iter().copied())
        .output()
        .expect("docker-compose is installed by scripts/setup.sh containers")
}

#[test]
fn each_secret_is_asked_for_by_name() {
    let cases = [
        (&[][..], "DB_PASSWD is not set"),
        (&[("DB_PASSWD", "")], "DB_PASSWD is not set"),
        (&[("DB_PASSWD", "x")], "ACCESS_KEY_SECRET is not set"),
    ];
    for (env, message) in cases {
        let refused = config(env);
        assert!(!refused.status.success(), "{env:?} was taken");
        let said = said(&refused);
        let last = said.trim_end().lines().last().unwrap_or_default();
        assert!(last.contains(message), "{env:?}: {last}");
    }
    let taken = config(&[("DB_PASSWD", "x"), ("ACCESS_KEY_SECRET", "y")]);
    assert!(taken.status.success(), "{}", said(&taken));
}
