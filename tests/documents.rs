//! Every code block of every document is compiled or run by a test, and every command in one is run by CI.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// How a block is tried.
enum Tried {
    /// By this test of this file.
    By(&'static str, &'static str),
    /// As an example in the documentation of the crate.
    Doctest,
    /// Line by line: each is a step of `.ci/run`, or stands in `BY_HAND`.
    Commands,
}
use Tried::{By, Commands, Doctest};

/// Each block: its page, how its first line begins, who tries it.
const BLOCKS: &[(&str, &str, Tried)] = &[
    ("README.md", "cargo run --example quickstart", Commands),
    ("README.md", "use tokauth::{Client, Error};", Doctest),
    ("README.md", "#include <stdio.h>", By("programs", "the_readme_s_programs_work")),
    ("README.md", "#include <iostream>", By("programs", "the_readme_s_programs_work")),
    ("README.md", "import tokauth", By("programs", "the_readme_s_programs_work")),
    ("README.md", "cargo install --locked cargo-c", By("install", LINKS)), // and its third line by "wheel"
    ("README.md", "gcc my.c $(pkg-config", By("install", LINKS)),
    ("README.md", "find_package(tokauth", By("install", LINKS)),
    ("README.md", "cargo build --release", By("install", "without_cargo_c_the_readme_s_plain_build_is_enough")),
    ("CONTRIBUTING.md", "cargo run --example quickstart", Commands),
    ("CONTRIBUTING.md", "curl https://", By("contributing", "the_description_sends_what_the_curl_command_sends")),
    ("CONTRIBUTING.md", "{\"ok\": true", By("contributing", "the_description_reads_both_answers")),
    ("CONTRIBUTING.md", "{\"ok\": false", By("contributing", "the_description_reads_both_answers")),
    ("CONTRIBUTING.md", "{", By("contributing", "the_description_sends_what_the_curl_command_sends")),
    ("CONTRIBUTING.md", "printf my-secret", By("programs", "the_newcomer_s_commands_work")),
    ("examples/calenso.md", "cargo build --release", By("everyday", JOBS)),
    ("examples/calenso.md", "#!/bin/sh\n# /usr/local/bin/calenso-token", By("everyday", JOBS)),
    ("examples/calenso.md", "#!/bin/sh\n# /usr/local/bin/calenso-job", By("everyday", JOBS)),
    ("examples/calenso.md", "# /etc/systemd/system/calenso-job.service", By("everyday", JOBS)),
    ("examples/calenso.md", "# /etc/systemd/system/calenso-job.timer", By("everyday", UNITS)),
    ("examples/calenso.md", "# /etc/cron.d/calenso", By("everyday", JOBS)),
    ("examples/calenso.md", "runuser -u calenso", By("everyday", JOBS)),
    ("examples/fleet.md", "store=rediss://", By("fleet_faults", "a_server_as_the_page_sets_it_up_keeps_a_ledger")),
    (
        "examples/fleet.md",
        "ACL SETUSER",
        By("fleet_faults", "a_user_needs_what_the_page_lists_and_each_command_is_missed_at_once"),
    ),
    ("examples/fleet.md", "cargo test --release", Commands),
];

const LINKS: &str = "the_readme_s_commands_install_and_link";
const JOBS: &str = "the_jobs_of_the_page_share_one_token_a_day_and_its_budget_by_systemd_and_by_cron";
const UNITS: &str = "systemd_takes_the_units_of_the_page_and_lets_the_job_do_what_it_does";

/// What takes too long for each change, or more than CI may do; said where it is told of.
const BY_HAND: &[&str] = &["--test years", "--test scale", "--test crashes -- --ignored"];

/// The documents: all Markdown files but those of other people's packages.
fn pages() -> Vec<PathBuf> {
    fn below(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = entry.file_name().unwrap().to_str().unwrap();
            if entry.is_dir() && !["target", "node_modules", ".git"].contains(&name) {
                below(&entry, found);
            } else if name.ends_with(".md") {
                found.push(entry.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    below(root(), &mut found);
    found.sort();
    found
}

/// The fenced blocks of a page.
fn blocks(page: &Path) -> Vec<String> {
    let text = read(page);
    let fences: Vec<&str> = text.split("\n```").collect();
    assert!(fences.len() % 2 == 1, "{} has a fence without its other half", page.display());
    (1..fences.len()).step_by(2).map(|at| fences[at].split_once('\n').unwrap().1.to_owned()).collect()
}

#[test]
fn every_block_is_tried() {
    let mut rows = vec![0; BLOCKS.len()];
    for page in pages() {
        for block in blocks(&page) {
            // The longest beginning is meant.
            let row = |(at, (named, begin, _)): (usize, &(&str, &str, Tried))| {
                (page == Path::new(named) && block.starts_with(begin)).then_some((begin.len(), at))
            };
            let found = BLOCKS.iter().enumerate().filter_map(row).max();
            let (_, at) = found.unwrap_or_else(|| panic!("nobody tries this block of {}:\n{block}", page.display()));
            rows[at] += 1;
        }
    }
    for ((page, begin, tried), count) in BLOCKS.iter().zip(rows) {
        assert_eq!(count, 1, "blocks of {page} that begin with {begin}");
        match tried {
            By(file, test) => {
                let source = ["", "/main"].map(|end| root().join(format!("tests/{file}{end}.rs")));
                let source = source.iter().find(|path| path.exists()).unwrap_or_else(|| panic!("no tests/{file}"));
                assert!(read(source).contains(&format!("\nfn {test}()")), "tests/{file} has no test {test}");
            }
            Doctest => assert!(read("src/lib.rs").contains(&format!("include_str!(\"../{page}\")")), "{page}"),
            Commands => {}
        }
    }
}

#[test]
fn every_command_is_run_by_ci_or_said_to_be_left_to_people() {
    let ci: String =
        read(".ci/run").lines().filter(|line| !line.starts_with('#')).map(|line| line.to_owned() + "\n").collect();
    let ci = ci.replace("--locked ", "").replace("step ", "").replace("\"$target/model\"", "target/model");
    let ci = ci.replace("\ngate ", "\n.ci/gates/").replace("tests --", "cargo test --");
    for (page, begin, _) in BLOCKS.iter().filter(|(_, _, tried)| matches!(tried, Commands)) {
        let block = blocks(Path::new(page)).into_iter().find(|block| block.starts_with(begin)).unwrap();
        for line in block.lines() {
            let command = line.split("  #").next().unwrap().trim_end();
            let by_hand = BY_HAND.iter().any(|part| command.contains(part));
            let is_itself = command == ".ci/run";
            assert!(by_hand || is_itself || ci.contains(command), "{page}: .ci/run does not run: {command}");
        }
    }
}

#[test]
fn every_gate_is_run_by_ci_and_named_to_contributors() {
    let (ci, page) = (read(".ci/run"), read("CONTRIBUTING.md"));
    let entries = std::fs::read_dir(root().join(".ci/gates")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for name in names.filter(|name| !["common", "valgrind.supp"].contains(&&**name)) {
        assert!(ci.contains(&format!("\ngate {name}\n")), ".ci/run does not run the gate {name}");
        let told = [" ", "/"].iter().any(|before| page.contains(&format!("{before}{name}")));
        assert!(told, "CONTRIBUTING.md does not name the gate {name}");
    }
}

#[test]
fn what_shows_that_a_threat_is_met_is_there() {
    let page = read("SECURITY.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.rsplit_once(" | "));
    let shown: Vec<&str> = rows.flat_map(|(_, shown)| shown.split('`').skip(1).step_by(2)).collect();
    assert!(shown.len() > 10, "{shown:?}");
    for name in shown {
        let paths = [name.to_owned(), format!("tests/{name}.rs"), format!("tests/{name}/main.rs")];
        assert!(paths.iter().any(|path| root().join(path).exists()), "no test {name}");
    }
}
