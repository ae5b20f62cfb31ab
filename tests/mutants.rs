//! The models of `tests/model` notice when the source breaks: each line below breaks a copy of it in one way, and the
//! model that it names must fail. It takes minutes: `cargo test --test mutants -- --ignored`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Mutant {
    what: &'static str,
    file: &'static str,
    /// Texts, each of which stands in the file once, and what to put there.
    changes: &'static [(&'static str, &'static str)],
    /// The model that must fail.
    killer: &'static str,
}

const CACHE: &str = "src/cache.rs";
const CLOCK: &str = "src/clock.rs";
const PROCESS: &str = "src/process.rs";
const PUBLISHED: &str = "src/cache/published.rs";

const MUTANTS: &[Mutant] = &[
    Mutant {
        what: "callers do not wait for the flight of another",
        file: CACHE,
        changes: &[(
            "if let Some(flight) = &state.flying {",
            "if let Some(flight) = state.flying.as_ref().filter(|_| false) {",
        )],
        killer: "concurrent_misses_send_one_request_and_share_its_token",
    },
    Mutant {
        what: "a landing wakes nobody",
        file: CACHE,
        changes: &[("        self.flight.landed.set();\n", "")],
        killer: "concurrent_misses_share_one_failure",
    },
    Mutant {
        what: "an event wakes nobody",
        file: CLOCK,
        changes: &[("*self.lock() = true;\n        self.changed.notify_all();", "*self.lock() = true;")],
        killer: "an_event_is_not_missed",
    },
    Mutant {
        what: "an event wakes before it has happened",
        file: CLOCK,
        changes: &[(
            "*self.lock() = true;\n        self.changed.notify_all();",
            "self.changed.notify_all();\n        *self.lock() = true;",
        )],
        killer: "an_event_is_not_missed",
    },
    Mutant {
        what: "a moved time wakes nobody",
        file: CLOCK,
        changes: &[("drop(self.lock());\n        self.changed.notify_all();", "drop(self.lock());")],
        killer: "a_deadline_is_not_missed",
    },
    Mutant {
        what: "a moved time wakes without the lock",
        file: CLOCK,
        changes: &[("drop(self.lock());\n        self.changed.notify_all();", "self.changed.notify_all();")],
        killer: "a_deadline_is_not_missed",
    },
    Mutant {
        what: "a waiter does not look at its deadline",
        file: CACHE,
        changes: &[(
            "call.clock.wait(&flight.landed, call.deadline.at)",
            "call.clock.wait(&flight.landed, Duration::MAX)",
        )],
        killer: "a_waiter_leaves_at_its_deadline_while_the_flight_goes_on",
    },
    Mutant {
        what: "a panic lands no flight",
        file: CACHE,
        changes: &[("        if !self.landed {\n", "        if false {\n")],
        killer: "a_panic_in_the_flight_releases_the_waiters",
    },
    Mutant {
        what: "a flight that has landed flies on",
        file: CACHE,
        changes: &[("            state.flying = None;\n            if let", "            if let")],
        killer: "refreshes_that_come_during_a_flight_share_the_next_one",
    },
    Mutant {
        what: "a landing does not ask whether all was forgotten",
        file: CACHE,
        changes: &[("if state.cleared != self.cleared {", "if false {")],
        killer: "a_token_asked_for_before_all_was_forgotten_is_not_served_after",
    },
    Mutant {
        what: "nobody is told that a flight was abandoned",
        file: CACHE,
        changes: &[("if ran_out { Outcome::Abandoned } else {", "if ran_out && false { Outcome::Abandoned } else {")],
        killer: "one_waiter_takes_over_from_a_caller_that_ran_out_of_time_with_nothing_sent",
    },
    Mutant {
        what: "the cool-down of an abandoned flight binds its waiters",
        file: CACHE,
        changes: &[(
            ".binds(now, call.deadline.timeout, abandoned)",
            ".binds(now, call.deadline.timeout, abandoned.filter(|_| false))",
        )],
        killer: "one_waiter_takes_over_from_a_caller_that_ran_out_of_time_with_nothing_sent",
    },
    Mutant {
        what: "the waiters hear of a token before it is in service",
        file: CACHE,
        changes: &[(
            "let token = fetched.token.clone();\n                self.end(",
            "let token = fetched.token.clone();\n                \
             *self.flight.outcome.lock().unwrap() = Some(Outcome::Landed(Ok(token.clone())));\n                \
             self.flight.landed.set();\n                self.end(",
        )],
        killer: "concurrent_misses_send_one_request_and_share_its_token",
    },
    Mutant {
        what: "a token is published before the state is locked",
        file: CACHE,
        changes: &[(
            "let token = fetched.token.clone();\n                self.end(",
            "let token = fetched.token.clone();\n                \
             slot.published.put(Some(&Arc::new(Snapshot::new(fetched.clone(), 1))));\n                self.end(",
        )],
        killer: "a_token_asked_for_before_all_was_forgotten_is_not_served_after",
    },
    Mutant {
        what: "everybody refreshes ahead",
        file: CACHE,
        changes: &[("if state.flying.is_some() || nanos(now)", "if nanos(now)"), ("cached.pause(shorter.at);", "")],
        killer: "one_caller_refreshes_ahead_while_the_others_have_the_old_token_without_waiting",
    },
    Mutant {
        what: "a refresh joins a flight that began before it",
        file: CACHE,
        changes: &[("if call.need == Need::Any || flight.number > begun_before =>", "if true =>")],
        killer: "refreshes_that_come_during_a_flight_share_the_next_one",
    },
    Mutant {
        what: "a refresh takes the outcome of a flight that began before it",
        file: CACHE,
        changes: &[("if *number > begun_before =>", "if *number >= begun_before =>")],
        killer: "a_refresh_never_brings_a_token_that_was_asked_for_before_it",
    },
    Mutant {
        what: "a dropped token is taken away, but not withdrawn",
        file: CACHE,
        changes: &[(
            "        if let Some(cached) = state.cached.take() {\n            cached.withdraw();\n        }\n",
            "        state.cached = None;\n",
        )],
        killer: "who_has_dropped_a_token_never_reads_it_again",
    },
    Mutant {
        what: "a token is withdrawn for those only who wish for nothing",
        file: PUBLISHED,
        changes: &[("if self.is_withdrawn() { 0 } else {", "if false { 0 } else {")],
        killer: "who_has_dropped_a_token_never_reads_it_again",
    },
    Mutant {
        what: "a replaced token is not withdrawn",
        file: CACHE,
        changes: &[("            before.withdraw();\n", "            drop(before);\n")],
        killer: "who_has_a_new_token_never_reads_the_one_before",
    },
    Mutant {
        what: "a token is withdrawn before everybody has the next one",
        file: CACHE,
        changes: &[(
            "        self.published.put(Some(&snapshot));\n",
            "        state.cached.iter().for_each(|before| before.withdraw());\n        \
             self.published.put(Some(&snapshot));\n",
        )],
        killer: "a_renewal_sends_no_reader_away_whose_place_was_free",
    },
    Mutant {
        what: "nobody puts a token where a place was locked",
        file: CACHE,
        changes: &[("                    self.published.repair(cached);\n", "")],
        killer: "whose_place_was_locked_finds_the_token_again_after_one_call",
    },
    Mutant {
        what: "a token is put in the first place only",
        file: PUBLISHED,
        changes: &[("self.0.iter().for_each(", "self.0.iter().take(1).for_each(")],
        killer: "concurrent_misses_send_one_request_and_share_its_token",
    },
    Mutant {
        what: "a generation is counted twice",
        file: CACHE,
        changes: &[(
            "self.generations.fetch_add(1, Ordering::SeqCst) + 1",
            "self.generations.load(Ordering::SeqCst) + 1",
        )],
        killer: "a_generation_belongs_to_one_token_and_only_grows",
    },
    Mutant {
        what: "each thread of a forked child inherits",
        file: PROCESS,
        changes: &[
            (
                "let own = self.0.get(|| Mutex::new(None));",
                "let own = self.0.get(|| Mutex::new(Some(self.inherited(&Mutex::new(None), inherit))));",
            ),
            ("*state = Some(self.inherited(own, inherit));", "unreachable!();"),
        ],
        killer: "threads_of_a_forked_child_inherit_what_the_parent_had_and_share_it",
    },
    Mutant {
        what: "a forked child waits for its parent's lock",
        file: PROCESS,
        changes: &[("match before.try_lock() {", "match before.lock().map_err(TryLockError::Poisoned) {")],
        killer: "a_forked_childs_threads_have_the_token_that_the_parent_had_and_ask_for_none",
    },
    Mutant {
        what: "a forked child does not look at what is published",
        file: CACHE,
        changes: &[("cached: self.published.inherit(), ..", "..")],
        killer: "a_forked_child_never_reads_again_what_it_has_rejected",
    },
    Mutant {
        what: "a forked child takes the oldest token for the one in service",
        file: PUBLISHED,
        changes: &[(".max_by_key(", ".min_by_key(")],
        killer: "a_forked_child_never_reads_again_what_it_has_rejected",
    },
    Mutant {
        what: "a forked child leaves the token in service that its parent was about to withdraw",
        file: PUBLISHED,
        changes: &[(".for_each(|before| before.withdraw());", ".for_each(drop);")],
        killer: "a_forked_child_never_reads_again_what_it_has_rejected",
    },
];

/// A copy of what the models are built of.
fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        fs::read_dir(from)
            .unwrap()
            .map(Result::unwrap)
            .for_each(|entry| copy(&entry.path(), &to.join(entry.file_name())));
    } else {
        fs::copy(from, to).unwrap();
    }
}

/// `cargo` on the copy, as in the command that `tests/model/mod.rs` names; whether it succeeded, and what it said.
fn cargo(source: &Path, arguments: &[&str]) -> (bool, String) {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("model");
    let output = Command::new(env!("CARGO"))
        .args(["test", "--locked", "--profile", "model", "--lib", "--target-dir"])
        .arg(target)
        .args(arguments)
        .current_dir(source)
        .env("RUSTFLAGS", "--cfg tokauth_shuttle")
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    (output.status.success(), said.concat())
}

fn mutated(what: &str, sound: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(sound.to_owned(), |text, (there, instead)| {
        assert_eq!(text.matches(there).count(), 1, "{what}: the source has this not once: {there}");
        text.replace(there, instead)
    })
}

#[test]
fn every_mutant_has_its_place_in_the_source() {
    for Mutant { what, file, changes, .. } in MUTANTS {
        let sound = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        assert_ne!(mutated(what, &sound, changes), sound);
    }
}

#[test]
#[ignore = "builds the library thirty times; .ci/run runs it"]
fn every_mutant_is_killed_by_its_model() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("mutants");
    let _ = fs::remove_dir_all(&source); // of an earlier run
    fs::create_dir_all(&source).unwrap();
    for part in ["Cargo.toml", "Cargo.lock", "README.md", "build.rs", "benches", "src", "include", "tests"] {
        copy(&root.join(part), &source.join(part));
    }
    let (passes, said) = cargo(&source, &["--", "--exact", "model::an_event_is_not_missed"]);
    assert!(passes, "a model fails without a mutation:\n{said}");
    let mut survivors = Vec::new();
    for Mutant { what, file, changes, killer } in MUTANTS {
        let sound = fs::read_to_string(root.join(file)).unwrap();
        fs::write(source.join(file), mutated(what, &sound, changes)).unwrap();
        let (builds, said) = cargo(&source, &["--no-run"]);
        assert!(builds, "{what}: {said}");
        let (survives, said) = cargo(&source, &["--", "--exact", &format!("model::{killer}")]);
        println!("{what}: {}", if survives { "SURVIVES" } else { "killed" });
        if survives {
            survivors.push(format!("{what}\n{said}"));
        }
        fs::write(source.join(file), sound).unwrap();
    }
    assert!(survivors.is_empty(), "no model noticed:\n{}", survivors.join("\n"));
}
