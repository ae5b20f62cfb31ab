//! What the project says of its own dependencies.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

use std::process::Command;

use serde_json::Value;

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The crates that a user of the default features, and of these, compiles in, this one included.
fn tree(features: &str) -> Vec<String> {
    let arguments = ["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--features"];
    let tree = run(env!("CARGO"), &[&arguments[..], &[features]].concat());
    let mut crates: Vec<String> =
        tree.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).collect();
    crates.sort();
    crates.dedup();
    crates
}

#[test]
fn the_tree_has_at_most_48_crates_by_default_and_each_of_them_once() {
    // Of the others most are Unicode tables, by which the redis crate reads URLs that we never give it.
    for (features, most) in [("", 48), ("redis", 84)] {
        let crates = tree(features);
        assert!(crates.len() <= most, "{} crates with {features:?}: {crates:?}", crates.len());
        let mut names: Vec<&str> = crates.iter().filter_map(|name| name.split(' ').next()).collect();
        names.dedup();
        assert_eq!(names.len(), crates.len(), "two versions of one crate: {crates:?}");
    }
    assert_eq!(tree("middleware"), tree(""));
}

#[test]
fn no_dependency_needs_a_newer_rust_than_this_crate() {
    let rustc = run("rustc", &["-vV"]);
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let arguments = ["metadata", "--locked", "--format-version", "1", "--features", "redis", "--filter-platform", host];
    let metadata: Value = serde_json::from_str(&run(env!("CARGO"), &arguments)).unwrap();
    let number = |version: &str| version.split('.').map(|part| part.parse::<u32>().unwrap()).collect::<Vec<_>>();
    let own = number(env!("CARGO_PKG_RUST_VERSION"));
    let tree = tree("redis");
    for package in metadata["packages"].as_array().unwrap() {
        let (name, version) = (package["name"].as_str().unwrap(), package["version"].as_str().unwrap());
        let in_tree = tree.contains(&format!("{name} v{version}"));
        if let (true, Some(needs)) = (in_tree, package["rust_version"].as_str()) {
            assert!(number(needs)[..2] <= own[..2], "{name} needs Rust {needs}");
        }
    }
}

#[test]
fn the_features_are_those_that_the_documentation_explains() {
    let (manifest, guide) = (include_str!("../Cargo.toml"), include_str!("../src/lib.rs"));
    let features = manifest.split_once("\n[features]\n").unwrap().1.split("\n[").next().unwrap();
    let names = features.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name);
    let mut names: Vec<&str> = names.filter(|name| *name != "default").collect();
    let chapter = guide.split_once("\n//! # Features\n").unwrap().1.split("\n#").next().unwrap();
    let mut explained: Vec<&str> =
        chapter.lines().filter_map(|line| line.strip_prefix("//! - `")?.split('`').next()).collect();
    names.sort_unstable();
    explained.sort_unstable();
    assert_eq!(names, explained);
    assert!(features.starts_with("default = [\"capi\"]\n") && chapter.contains("`capi` (by default):"));
}
