//! What the shared library exports, what the header declares, and what the ledger promises are one list.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// Each symbol with the version that introduced it.
fn ledger() -> Vec<(String, String)> {
    let line = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        (words.next().unwrap(), words.next().unwrap())
    };
    read("tests/symbols.txt").lines().filter(|text| !text.starts_with('#')).map(line).collect()
}

fn promised() -> BTreeSet<String> {
    ledger().into_iter().map(|(name, _)| name).collect()
}

#[test]
fn the_library_exports_what_the_ledger_promises_and_nothing_else() {
    let library = std::env::current_exe().unwrap().parent().unwrap().join("libtokauth.so");
    let output =
        Command::new("nm").args(["--dynamic", "--defined-only", "--format=just-symbols"]).arg(&library).output();
    let output = output.expect("nm cannot be run; install binutils (Debian: apt-get install binutils)");
    assert!(output.status.success(), "nm {library:?}: {}", String::from_utf8_lossy(&output.stderr));
    let exported: BTreeSet<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    assert_eq!(exported, promised());
}

/// The words of a header's code that begin like ours, each with the character behind it.
fn words(header: &str) -> BTreeSet<(String, char)> {
    let code = read(header);
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with(['*', '/', '#'])).collect();
    let word = |at: usize| code[at..].split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_owned();
    let behind = |end: usize| code[end..].chars().next().unwrap();
    let words = code.match_indices("tokauth_").map(|(at, _)| (word(at), behind(at + word(at).len())));
    words.collect()
}

#[test]
fn the_header_declares_what_the_ledger_promises() {
    let declared = words("include/tokauth.h").into_iter().filter(|(_, behind)| *behind == '(');
    assert_eq!(declared.map(|(name, _)| name).collect::<BTreeSet<_>>(), promised());
}

#[test]
fn the_header_tells_since_when_there_is_each_function() {
    let header = read("include/tokauth.h");
    let documented: Vec<(&str, &str)> = header.split("/**").filter_map(|text| text.split_once("*/\n")).collect();
    for (name, since) in ledger() {
        let (comment, _) = documented.iter().find(|(_, code)| code.contains(&format!("{name}("))).unwrap();
        assert!(comment.ends_with(&format!(" Since: {since}.\n ")), "{name}: {comment}");
    }
}

#[test]
fn the_cpp_header_uses_every_function() {
    let called_or_given = |(_, behind): &(String, char)| ['(', '>'].contains(behind);
    let used: BTreeSet<String> =
        words("include/tokauth.hpp").into_iter().filter(called_or_given).map(|(name, _)| name).collect();
    let unused: Vec<String> = promised().difference(&used).cloned().collect();
    assert!(unused.is_empty(), "include/tokauth.hpp offers no {unused:?}");
}

#[test]
fn the_ledger_is_sorted_and_names_no_future_version() {
    let number = |version: &str| version.split('.').map(|part| part.parse::<u32>().unwrap()).collect::<Vec<_>>();
    let ledger = ledger();
    assert!(ledger.is_sorted());
    for (name, since) in ledger {
        assert!(number(&since) <= number(env!("CARGO_PKG_VERSION")), "{name} since {since}");
    }
}
