//! The documents say what the source says.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

use std::path::Path;

use tokauth::{OPTIONS, providers};

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The rows of the table whose head is `head`, without the line below it.
fn table(text: &str, head: &str) -> Vec<String> {
    let (_, below) = text.split_once(head).unwrap_or_else(|| panic!("no table {head}"));
    below.lines().skip(2).take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
}

#[test]
fn the_readme_has_at_most_250_lines() {
    assert!(read("README.md").lines().count() <= 250);
}

#[test]
fn the_option_table_is_the_source_s() {
    let rows: Vec<String> =
        OPTIONS.iter().map(|option| format!("| `{}` | {} | {} |", option.name, option.default, option.about)).collect();
    assert_eq!(table(&read("README.md"), "| option | default | what it does |"), rows);
}

#[test]
fn the_status_table_is_the_header_s() {
    let header = read("include/tokauth.h");
    let mut statuses: Vec<(i32, &str, String)> = header
        .split("/**")
        .filter_map(|text| text.split_once("*/\n#define "))
        .filter_map(|(comment, define)| Some((comment, define.lines().next()?.split_once(' ')?)))
        .filter(|(_, (name, _))| *name == "TOKAUTH_OK" || name.starts_with("TOKAUTH_ERR_"))
        .map(|(comment, (name, number))| (number.parse().unwrap(), name, plain(comment)))
        .collect();
    statuses.sort_unstable();
    let rows = table(&read("README.md"), "| status | | what to do |");
    assert_eq!(rows.len(), statuses.len());
    for (row, (number, name, comment)) in rows.iter().zip(statuses) {
        let advice = row.strip_prefix(&format!("| `{name}` | {number} |")).unwrap_or_else(|| panic!("{row}"));
        let advice = plain(advice.trim_end_matches('|'));
        assert!(comment.contains(&advice), "the header says of {name}: {comment}, the README: {advice}");
    }
}

/// The words of a text or a comment, in lower case.
fn plain(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || "*`".contains(c)).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").to_lowercase()
}

#[test]
fn every_provider_has_its_name_in_the_readme_and_the_changelog() {
    for name in providers() {
        for page in ["README.md", "CHANGELOG.md"] {
            assert!(read(page).contains(&format!("`{name}`")), "{page} does not name {name}");
        }
    }
}

#[test]
fn every_provider_has_its_request_its_success_and_a_refusal_in_the_tables() {
    let (requests, replies) = (read("tests/requests.rs"), read("tests/replies.rs"));
    let (_, replies) = replies.split_once("\nfn each_provider_s_success_is_read() {\n").unwrap();
    let (successes, refusals) = replies.split_once("\n}\n").unwrap();
    for name in providers() {
        let client = if name == "oauth2" { "oauth2()".to_owned() } else { format!("client_of(\"{name}\")") };
        assert!(requests.contains(&client), "tests/requests.rs does not show what leaves for {name}");
        assert!(successes.contains(&format!("\"{name}\",")), "tests/replies.rs does not show a success of {name}");
        assert!(refusals.contains(&client), "tests/replies.rs does not show a refusal of {name}");
    }
}

#[test]
fn no_provider_is_named_in_rust_but_in_the_list_of_the_built_in_ones() {
    fn sources(folder: &Path) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
    }
    for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let source = std::fs::read_to_string(&path).unwrap();
        let logic = source.split("#[cfg(test)]").next().unwrap();
        let logic = logic.lines().filter(|line| {
            let is_example = line.trim_start().starts_with("//") || line.ends_with(" // as an example");
            !line.starts_with("built_in!(") && !is_example
        });
        for (line, name) in logic.flat_map(|line| providers().map(move |name| (line, name))) {
            let named =
                path.extension().is_some_and(|extension| extension == "rs") && line.contains(&format!("\"{name}\""));
            assert!(!named, "{}: {line}", path.display());
        }
    }
}

#[test]
fn versions_and_counts_are_those_of_the_manifest() {
    assert!(read("README.md").contains(&format!("Rust {} or newer", env!("CARGO_PKG_RUST_VERSION"))));
    let functions = read("tests/symbols.txt").lines().filter(|line| !line.starts_with('#')).count();
    assert!(read("CHANGELOG.md").contains(&format!("the {functions} functions")));
    assert!(read("CHANGELOG.md").contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_readme_and_ci_name_the_same_two_commands() {
    let (readme, ci) = (read("README.md"), read(".ci/run"));
    for command in ["cargo run --example quickstart", "cargo test"] {
        assert!(readme.contains(&format!("\n{command} ")), "{command}");
        assert!(ci.lines().any(|line| line.ends_with(command)), "{command}");
    }
}
