//! The options, the file, and what follows from them.

use super::*;

fn from_file(text: &str) -> anyhow::Result<Settings> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("hongbao.toml");
    std::fs::write(&path, text)?;
    Settings {
        config: Some(path),
        log: Some("debug".into()),
        ..Settings::default()
    }
    .with_file()
}

#[test]
fn the_file_fills_what_was_not_told() {
    let settings = from_file("listen = '127.0.0.1:1'\nlog = 'warn'\nidentity = 'registered'")
        .expect("a good file");
    assert_eq!(settings.listen().port(), 1);
    assert_eq!(settings.identity, Some(Identity::Registered));
    assert_eq!(settings.log.as_deref(), Some("debug"), "a flag is stronger");
}

#[test]
fn what_is_left_empty_is_not_set() {
    let settings =
        from_file("mns_url = ''\ndb_host = ''\ntrusted_proxies = ['']\nservice_key = ''");
    let settings = settings.expect("a good file");
    assert_eq!((settings.mns_url, settings.db_host), (None, None));
    assert_eq!(settings.trusted_proxies, None);
    let key = settings.service_key;
    assert_eq!(key.as_deref(), Some(""), "a mistake, to be refused");
}

#[test]
fn every_option_can_stand_in_the_file() {
    let command = Settings::augment_args(clap::Command::new("hongbao"));
    let names: Vec<_> = command
        .get_arguments()
        .map(|a| a.get_id().as_str())
        .collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names.into_iter().filter(|name| *name != "config") {
        let values = [
            "'x'",
            "7",
            "true",
            "['x']",
            "'127.0.0.1:1'",
            "'anyone'",
            "'text'",
            "'admit'",
        ];
        let taken = values
            .iter()
            .find_map(|value| from_file(&format!("{name} = {value}")).ok());
        // `log` is told by a flag there, and the file is weaker.
        let taken = format!("{:?}", taken.unwrap_or_else(|| panic!("{name}")));
        assert!(taken.contains(&format!("{name}: Some(")), "{name}: {taken}");
    }
}

#[test]
fn every_option_has_a_variable_and_its_help_a_default_or_a_condition() {
    let command = Settings::augment_args(clap::Command::new("hongbao"));
    for argument in command.get_arguments() {
        let name = argument.get_id().as_str();
        assert!(argument.get_env().is_some(), "{name} has no variable");
        assert!(argument.get_help().is_some(), "{name} has no help");
        let secret = ["password", "passwd", "secret", "_key", "_url"];
        let is_file = name.ends_with("_file") || name == "public_url" || name == "account_url";
        if !is_file && secret.iter().any(|part| name.contains(part)) {
            assert!(
                argument.is_hide_env_values_set(),
                "--help would show {name}"
            );
        }
    }
}

#[test]
fn the_file_s_mistakes_are_named() {
    let unknown = format!("{:#}", from_file("lisen = '127.0.0.1:1'").unwrap_err());
    assert!(
        unknown.contains("lisen") && unknown.contains("hongbao.toml"),
        "{unknown}"
    );
    let wrong = format!("{:#}", from_file("threads = 'many'").unwrap_err());
    assert!(wrong.contains("threads"), "{wrong}");
    assert!(
        wrong.contains("line 1") && wrong.contains("expected"),
        "{wrong}"
    );
    let later = format!("{:#}", from_file("lan = true\nlisten = 5").unwrap_err());
    assert!(later.contains("line 2, `listen`"), "{later}");
}

#[test]
fn the_file_s_mistakes_are_said_without_its_values() {
    for text in [
        "access_key_secret = 7357",
        "access_key_secret = sesame7357",
        "access_key_secret = 'sesame7357",
        "access_key_secret = \"\"\"\nsesame7357",
        "token_secret = ['sesame7357']",
        "token_secret = { sesame7357 = 1 }",
        "database_url = mysql://u:sesame7357@h/d",
        "threads = 'sesame7357'",
        "threads = \"ses\\\"ame7357\"",
        "db_passwd = 'a'\ndb_passwd = 'sesame7357'",
        "access_key_secret 'sesame7357'",
        "'sesame7357'",
    ] {
        let said = format!("{:#}", from_file(text).unwrap_err());
        assert!(!said.contains("7357"), "{text}: {said}");
        assert!(said.contains("line "), "{text}: {said}");
    }
}

#[test]
fn public_urls_are_urls() {
    let bound = ([127, 0, 0, 1], 80).into();
    let with = |url: &str| Settings {
        public_url: Some(url.into()),
        ..Settings::default()
    };
    assert_eq!(
        with("https://a.example/").public_url(bound).unwrap(),
        "https://a.example"
    );
    assert!(with("a.example").public_url(bound).is_err());
    assert!(with("https:///x").public_url(bound).is_err());
    assert_eq!(
        Settings::default().public_url(bound).unwrap(),
        "http://127.0.0.1:80"
    );
}
