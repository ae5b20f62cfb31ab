//! Where a process can be struck: before each of its system calls from the first that has to do with the store.
#![allow(unreachable_pub)] // a part of one test program

use std::collections::HashMap;
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
    /// How many token requests had left before it.
    pub sent: usize,
    /// How often a token's document had been replaced before it.
    pub renamed: usize,
}

impl Call {
    /// The body of a token request leaves.
    pub fn sends(&self) -> bool {
        self.text.starts_with("send") && self.text.contains("grant_type=")
    }

    /// A token's document is replaced.
    pub fn renames(&self) -> bool {
        let mut names = self.text.split('"').skip(1).step_by(2);
        self.text.starts_with("rename")
            && names.nth(1).is_some_and(|to| to.starts_with("token-") && !to.ends_with(".aside"))
    }
}

/// Runs a process under `strace` with these arguments.
pub fn traced(place: &Place, arguments: &[&str], acts: &[&str]) -> Child {
    spawn(command("strace", &place.options).arg("-qq").args(arguments).arg(victim()).args(acts))
}

/// What a process does that nobody disturbs.
pub fn calls(place: &Place, acts: &[&str]) -> Vec<Call> {
    let file = TempFile::new("");
    let story = Story::of(traced(place, &["-s", "300", "-o", file.path()], acts));
    assert!(story.status.success() && story.errors().is_empty(), "{acts:?}: {story:?}");
    read(&fs::read(file.path()).unwrap(), place.root())
}

/// The calls of a trace, from the first that names `root`.
pub fn read(trace: &[u8], root: &str) -> Vec<Call> {
    let trace = String::from_utf8_lossy(trace);
    let (mut counts, mut calls): (HashMap<&str, usize>, Vec<Call>) = Default::default();
    let (mut sent, mut renamed) = (0, 0);
    for text in trace.lines() {
        let Some((name, _)) = text.split_once('(').filter(|(name, _)| !name.contains(' ')) else { continue };
        // Each thread has counts of its own.
        assert!(!name.starts_with("clone"), "a victim has one thread: {text}");
        let nth = counts.entry(name).or_default();
        *nth += 1;
        if calls.is_empty() && !text.contains(root) {
            continue;
        }
        let call = Call { name: name.to_owned(), nth: *nth, text: text.to_owned(), sent, renamed };
        sent += usize::from(call.sends());
        renamed += usize::from(call.renames());
        calls.push(call);
    }
    calls
}
