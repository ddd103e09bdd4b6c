//! The documents name only what exists.
//!
//! - docs/life-of-a-grab.md names each hop as `` `path/of/file.rs` `fn name` `` (one file, then
//!   one or more functions, on one line); file and functions must be there.
//! - ARCHITECTURE.md, README.md, the rest of docs/ and the READMEs in deploy/: every path in backticks that begins with
//!   a top-level folder must be there, and every relative link must lead somewhere.
//! - docs/api.md lists the error codes: those of the sources, no more and no fewer.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Folders whose names begin a path in backticks.
const TOP_LEVEL: [&str; 6] = ["crates/", "web/", "deploy/", "docs/", "scripts/", ".ci/"];
/// Fewer hops than this cannot be the whole life of a grab.
const HOPS_MIN: usize = 10;

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("the workspace stands two folders up")
        .into()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands in backticks on a line.
fn backticked(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

fn documents() -> Vec<String> {
    let mut all: Vec<String> = ["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md"]
        .map(Into::into)
        .to_vec();
    for folder in [
        "docs",
        "docs/decisions",
        "deploy",
        "deploy/haproxy",
        "deploy/kubernetes",
    ] {
        for entry in fs::read_dir(root().join(folder)).expect("the folder is there") {
            let name = entry
                .expect("readable")
                .file_name()
                .into_string()
                .expect("UTF-8");
            if Path::new(&name)
                .extension()
                .is_some_and(|ending| ending == "md")
            {
                all.push(format!("{folder}/{name}"));
            }
        }
    }
    all
}

#[test]
fn every_hop_of_a_grab_exists() {
    let document = "docs/life-of-a-grab.md";
    let mut hops = 0;
    for (number, line) in read(document).lines().enumerate() {
        let mut file = None;
        for word in backticked(line) {
            if word.starts_with("crates/") {
                file = Some((word, read(word)));
            } else if let Some(name) = word.strip_prefix("fn ") {
                let (path, source) = file.as_ref().unwrap_or_else(|| {
                    panic!(
                        "{document}:{}: `fn {name}` without a file before it",
                        number + 1
                    )
                });
                let there = source
                    .match_indices(&format!("fn {name}"))
                    .any(|(at, found)| source[at + found.len()..].starts_with(['(', '<']));
                assert!(
                    there,
                    "{document}:{}: there is no `fn {name}` in {path}",
                    number + 1
                );
                hops += 1;
            }
        }
    }
    assert!(
        hops >= HOPS_MIN,
        "{document} names {hops} hops; at least {HOPS_MIN} are expected"
    );
}

#[test]
fn every_path_and_link_exists() {
    let mut missing = Vec::new();
    for document in documents() {
        let folder = Path::new(&document).parent().expect("a folder").to_owned();
        for (number, line) in read(&document).lines().enumerate() {
            let at = format!("{document}:{}", number + 1);
            for path in backticked(line) {
                let path = path.split([' ', ':', '#']).next().unwrap_or_default();
                // Patterns and places to be made are no paths.
                let plain = !path.contains(['*', '{', '<', '…', '$']) && !path.contains("dist");
                if plain
                    && TOP_LEVEL.iter().any(|top| path.starts_with(top))
                    && !root().join(path).exists()
                {
                    missing.push(format!("{at}: `{path}`"));
                }
            }
            for link in line.split("](").skip(1) {
                let target = link.split([')', '#']).next().unwrap_or_default();
                if !target.is_empty()
                    && !target.contains("://")
                    && !root().join(&folder).join(target).exists()
                {
                    missing.push(format!("{at}: link to {target}"));
                }
            }
        }
    }
    assert!(
        missing.is_empty(),
        "named, and not there:\n{}",
        missing.join("\n")
    );
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// The codes that errors are made with: `ApiError::new(status, "code", …)` (or `Self::new` where
/// the type is at home), and `let code = if …` where two share one place.
fn codes_of(source: &str) -> BTreeSet<String> {
    // Tests at the end of a file may make up codes.
    let source = source.split("mod tests {").next().unwrap_or_default();
    let made = source.split("ApiError::new(").skip(1);
    let made_at_home = source.split("Self::new(").skip(1);
    let literal = made.chain(made_at_home).filter_map(|arguments| {
        let (status, rest) = arguments.split_once(',')?;
        let code = rest.trim_start().strip_prefix('"')?.split('"').next()?;
        status.contains("StatusCode::").then(|| code.to_owned())
    });
    let mut codes: BTreeSet<_> = literal.collect();
    for choice in source.split("let code = if ").skip(1) {
        let choice = choice.split(';').next().unwrap_or_default();
        codes.extend(choice.split('"').skip(1).step_by(2).map(str::to_owned));
    }
    codes
}

#[test]
fn the_listed_error_codes_are_those_of_the_sources() {
    let mut files = Vec::new();
    sources(&root().join("crates/services/src"), &mut files);
    let in_sources: BTreeSet<_> = files
        .iter()
        .flat_map(|path| codes_of(&fs::read_to_string(path).expect("readable")))
        .collect();
    let document = read("docs/api.md");
    let table = document
        .split("## Error codes")
        .nth(1)
        .expect("a section `## Error codes`");
    let table = table.split("\n## ").next().unwrap_or_default();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let listed: BTreeSet<_> = rows.map(|row| backticked(row)[0].to_owned()).collect();
    let unlisted: Vec<_> = in_sources.difference(&listed).collect();
    let unused: Vec<_> = listed.difference(&in_sources).collect();
    assert!(unlisted.is_empty(), "not in docs/api.md: {unlisted:?}");
    assert!(
        unused.is_empty(),
        "in docs/api.md, but in no source: {unused:?}"
    );
}
