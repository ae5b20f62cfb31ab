//! A test process in which a secret or token shows does not pass, whichever way it shows.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output};

/// Runs the child below, where `what` happens.
fn child(what: &str) -> Output {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "child_in_which_something_shows"]).env("LIBTOKAUTH_TEST_LEAK", what);
    child.env("LIBTOKAUTH_TEST_NOT_UTF8", OsStr::from_bytes(b"canary-secret\xff")).output().unwrap()
}

#[test]
fn a_leak_in_a_record_or_a_panic_ends_the_process() {
    for (what, leak) in [
        ("a record of a library", Some("rustls canary-token-1")),
        ("a record of ours", Some("tokauth Basic Y2FuYXJ5")),
        ("a panic of a library", Some("canary-secret\\xFF")),
        ("a trace of a library", None),
        ("a panic of a test", None),
        ("nothing", None),
    ] {
        let output = child(what);
        let said = String::from_utf8_lossy(&output.stderr);
        match leak {
            Some(leak) => assert!(said.contains("a secret or token shows: ") && said.contains(leak), "{what}: {said}"),
            None => assert!(!said.contains("a secret or token shows"), "{what}: {said}"),
        }
        assert_eq!(output.status.success(), ["nothing", "a trace of a library"].contains(&what), "{what}: {said}");
    }
}

#[test]
fn child_in_which_something_shows() {
    let Ok(what) = std::env::var("LIBTOKAUTH_TEST_LEAK") else { return };
    canary::watch();
    match &*what {
        "a record of a library" => log::debug!(target: "rustls", "canary-token-1"),
        "a record of ours" => log::trace!(target: "tokauth", "Basic Y2FuYXJ5"),
        "a trace of a library" => log::trace!(target: "ureq_proto", "canary-token-1"),
        // It unwraps each text, and shows the one that is not UTF-8.
        "a panic of a library" => drop(std::env::vars().count()),
        "a panic of a test" => panic!("canary-token-1"),
        _ => {}
    }
}
