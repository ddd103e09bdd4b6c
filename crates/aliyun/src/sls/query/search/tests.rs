//! Searches, over two fields.

use proptest::prelude::*;

use super::*;

/// Fields `status` and `uri`, compared as wholes.
struct Two(i64, &'static str);

impl Fields for Two {
    fn anywhere(&self, pattern: &Pattern) -> bool {
        self.field("status", pattern) || self.field("uri", pattern)
    }

    fn field(&self, name: &str, pattern: &Pattern) -> bool {
        match name {
            "status" => self.0.to_string() == pattern.text,
            "__tag__:pod" => pattern.text == "web",
            _ => self.1 == pattern.text,
        }
    }

    fn number(&self, name: &str) -> Value {
        match name {
            "status" => Value::Int(self.0),
            _ => Value::Null,
        }
    }
}

#[test]
fn searches_find_what_they_say() {
    for (text, found) in [
        ("", true),
        ("*", true),
        ("status: 429", true),
        ("status:430", false),
        ("status : 429 and uri: /grab", true),
        ("status: 429 uri: /other", false),
        ("not status: 429", false),
        ("not status: 1 and uri: /grab", true),
        ("status: 1 or status: 429 and uri: \"/grab\"", true),
        ("(status: 1 or status: 429) and not uri: /grab", false),
        ("429", true),
        ("430", false),
        ("status > 400 AND status <= 429", true),
        ("status < 429", false),
        ("status = 429", true),
        ("status >= 429.5", false),
        ("status in [400 429]", true),
        ("status in [400 429)", false),
        ("status in (429 500]", false),
        ("uri > 1", false),
        ("__tag__:pod: web", true),
        ("* and status: 429", true),
    ] {
        let search = parse(text).expect(text);
        assert_eq!(search.finds(&Two(429, "/grab")), found, "{text}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    for text in [
        "status:",
        "and",
        "a or or b",
        "(a",
        "a)",
        "a in [1",
        "a > b",
        "\"a",
        "a and",
        "not",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
    assert!(parse("\"and\" and \"not\"").is_ok());
    assert!(parse(&"(".repeat(100_000)).is_err());
    for joined in ["a ", "a and ", "a or "] {
        let most = parse(&format!("{}a", joined.repeat(1_000))).expect("as many as there may be");
        assert!(!most.finds(&Two(429, "/grab")));
        let error = parse(&format!("{}a", joined.repeat(50_000))).expect_err(joined);
        assert!(error.contains("operators"), "{error}");
    }
    assert!(parse(&"not ".repeat(100_000)).is_err());
}

proptest! {
    #[test]
    fn nothing_panics(text in "[a-c:()<>=\"\\\\ *0-9\\[\\]]{0,40}") {
        if let Ok(search) = parse(&text) {
            search.finds(&Two(429, "/grab"));
        }
    }
}
