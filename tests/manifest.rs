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
fn the_readme_counts_the_crates_and_names_each_direct_one() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, chapter) = readme.split_once("\n## Dependencies\n\n").unwrap();
    let chapter = chapter.split("\n## ").next().unwrap().replace('\n', " ");
    assert!(chapter.starts_with(&format!("{} crates by default", tree("").len())), "{}", tree("").len());
    assert!(chapter.contains(&format!("`redis` ({} crates)", tree("redis").len())), "{}", tree("redis").len());
    let direct = run(env!("CARGO"), &["tree", "--locked", "--edges", "normal", "--prefix", "none", "--depth", "1"]);
    for name in direct.lines().skip(1).map(|line| line.split(' ').next().unwrap()) {
        let words = chapter.split([' ', ',', '(', ')', '.', '`']);
        assert!(words.into_iter().any(|word| word == name), "{name}");
    }
}

/// The packages of `cargo metadata` that say they need a newer Rust than `own`, with what they say.
fn newer_than(own: &str, metadata: &Value) -> Vec<String> {
    let minor = |version: &str| version.split('.').take(2).map(|part| part.parse().unwrap()).collect::<Vec<u32>>();
    let packages = metadata["packages"].as_array().unwrap().iter();
    let needs = packages.filter_map(|package| Some((package, package["rust_version"].as_str()?)));
    let newer = needs.filter(|(_, needs)| minor(needs) > minor(own));
    newer.map(|(package, needs)| format!("{} {}: {needs}", package["name"], package["version"])).collect()
}

#[test]
fn a_package_that_needs_a_newer_rust_is_named() {
    let metadata = serde_json::json!({"packages": [
        {"name": "silent", "version": "1.0.0", "rust_version": null},
        {"name": "older", "version": "1.0.0", "rust_version": "1.9"},
        {"name": "same", "version": "1.0.0", "rust_version": "1.85.1"},
        {"name": "newer", "version": "1.0.0", "rust_version": "1.86"},
        {"name": "much newer", "version": "2.0.0", "rust_version": "2.0.0"},
    ]});
    assert_eq!(newer_than("1.85", &metadata), [r#""newer" "1.0.0": 1.86"#, r#""much newer" "2.0.0": 2.0.0"#]);
}

/// Every crate that any user may compile, whatever the features and the platform; those of the tests too. That they
/// keep their word is seen by .ci/gates/msrv.
#[test]
fn no_locked_crate_needs_a_newer_rust_than_this_one() {
    let arguments = ["metadata", "--locked", "--format-version", "1", "--all-features"];
    let metadata: Value = serde_json::from_str(&run(env!("CARGO"), &arguments)).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.iter().any(|package| package["name"] == "rustls-platform-verifier"));
    assert_eq!(newer_than(env!("CARGO_PKG_RUST_VERSION"), &metadata), [""; 0]);
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
