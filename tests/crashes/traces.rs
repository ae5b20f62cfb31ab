//! Where a process can be struck: before each of its system calls from the first that has to do with the store.
#![allow(unreachable_pub)] // a part of one test program

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::process::Child;

use crate::languages::command;
use crate::temp::TempFile;
use crate::victims::{Place, Story, spawn, victim};

/// A system call: the `nth` of its name since the process began.
#[derive(Clone, Debug)]
pub struct Call {
    pub name: String,
    pub nth: usize,
    pub text: String,
    pub before: Passed,
    pub after: Passed,
}

/// What a process had done by then.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passed {
    /// How many token requests had left.
    pub sent: usize,
    /// How often a token's document had been replaced.
    pub renamed: usize,
}

impl Call {
    /// What makes `strace` do that to this call, and where it tells of it.
    pub fn strike(&self, what: &str, trace: &str) -> Vec<String> {
        let Call { name, nth, .. } = self;
        // A lock that is not to be had shows that somebody waits.
        let only = format!("trace=flock,{name}");
        let inject = format!("inject={name}:{what}:when={nth}");
        ["-f", "-o", trace, "-e", &only, "-e", &inject].map(str::to_owned).to_vec()
    }

    /// What the system may say instead.
    pub fn refusals(&self) -> Vec<&'static str> {
        let of = |names: &&[&str]| names.iter().any(|name| self.name.starts_with(name));
        let is_told = self.text.starts_with("write(1,"); // what the victim prints
        REFUSALS.iter().filter(|(_, names)| of(names) && !is_told).map(|(error, _)| *error).collect()
    }
}

/// What can go wrong with calls whose names begin so.
#[rustfmt::skip]
const REFUSALS: [(&str, &[&str]); 6] = [
    ("EIO", &["open", "read", "write", "stat", "newfstatat", "fstat", "mkdir", "fchmod", "flock", "fsync", "rename",
        "unlink", "socket", "connect", "poll", "send", "recv", "setsockopt", "getrandom"]),
    ("ENOSPC", &["open", "mkdir", "write", "fsync", "rename"]),
    ("EACCES", &["open", "stat", "newfstatat", "mkdir", "fchmod", "rename", "unlink", "socket", "connect"]),
    ("EROFS", &["open", "mkdir", "fchmod", "rename", "unlink"]),
    ("EMFILE", &["open", "socket"]),
    (INTERRUPTED, &["open", "read", "write", "flock", "connect", "poll", "send", "recv", "getrandom"]),
];
pub const INTERRUPTED: &str = "EINTR";

/// The body of a token request leaves.
fn sends(text: &str) -> bool {
    text.starts_with("send") && text.contains("grant_type=")
}

/// A token's document is replaced.
fn renames(text: &str) -> bool {
    let mut names = text.split('"').skip(1).step_by(2);
    text.starts_with("rename") && names.nth(1).is_some_and(|to| to.starts_with("token-") && !to.ends_with(".aside"))
}

/// Runs a process under `strace` with these arguments.
pub fn traced(place: &Place, arguments: &[impl AsRef<OsStr>], acts: &[&str]) -> Child {
    spawn(command("strace", &place.options).arg("-qq").args(arguments).arg(victim()).args(acts))
}

/// What a process does that nobody disturbs.
pub fn calls(place: &Place, acts: &[&str]) -> Vec<Call> {
    let file = TempFile::new("");
    let story = Story::of(traced(place, &["-s", "300", "-o", file.path()], acts));
    assert!(story.status.success() && story.errors().is_empty(), "{acts:?}: {story:?}");
    read(&fs::read(file.path()).unwrap(), &place.store())
}

/// The calls of a trace, from the first that names `store`.
pub fn read(trace: &[u8], store: &str) -> Vec<Call> {
    let trace = String::from_utf8_lossy(trace);
    let (mut counts, mut calls): (HashMap<&str, usize>, Vec<Call>) = Default::default();
    let mut before = Passed::default();
    for text in trace.lines() {
        let Some((name, _)) = text.split_once('(').filter(|(name, _)| !name.contains(' ')) else { continue };
        // Each thread has counts of its own.
        assert!(!name.starts_with("clone"), "a victim has one thread: {text}");
        let nth = counts.entry(name).or_default();
        *nth += 1;
        if calls.is_empty() && !text.contains(store) {
            continue;
        }
        let sent = before.sent + usize::from(sends(text));
        let after = Passed { sent, renamed: before.renamed + usize::from(renames(text)) };
        calls.push(Call { name: name.to_owned(), nth: *nth, text: text.to_owned(), before, after });
        before = after;
    }
    calls
}
