//! Processes that share a store are killed, stopped and refused by the system, at each of their system calls and at
//! random. What must hold then: the next process gets a whole token in time, the ledger knows of every request, and a
//! token is lost only where its process died between the reply and the document. The numbers are those of the fault
//! catalogue (B, F).
#![cfg(target_os = "linux")] // strace and /proc
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod languages;
#[path = "crashes/server.rs"]
mod server;
mod temp;
#[path = "crashes/traces.rs"]
mod traces;
#[path = "crashes/victims.rs"]
mod victims;

use std::os::unix::process::ExitStatusExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use server::Server;
use traces::{Call, calls, traced};
use victims::{Files, Place, Story, spent, start, wait_until};

/// Longer than anything takes that is not stuck.
const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at another process.
const PAUSE: Duration = Duration::from_millis(1);
const SIGKILL: i32 = 9;

/// How a process comes by its token.
struct Way {
    name: &'static str,
    quota: bool,
    before: Before,
    acts: &'static [&'static str],
    /// Whether the store has a token that can be used: at first, and after each time that its document was replaced.
    valid: &'static [bool],
}

/// What the store holds.
enum Before {
    Nothing,
    Token,
    /// Its life is over.
    Expired,
    Damaged,
    /// It was asked for with another secret.
    OfAnotherSecret,
}

#[rustfmt::skip]
const WAYS: [Way; 9] = [
    Way { name: "cold", quota: true, before: Before::Nothing, acts: &["token"], valid: &[false, true] },
    Way { name: "cold, no quota", quota: false, before: Before::Nothing, acts: &["token"], valid: &[false, true] },
    Way { name: "warm", quota: true, before: Before::Token, acts: &["token"], valid: &[true] },
    Way { name: "expired", quota: true, before: Before::Expired, acts: &["token"], valid: &[false, true] },
    Way { name: "damaged", quota: true, before: Before::Damaged, acts: &["token"], valid: &[false, true] },
    Way { name: "rotated", quota: true, before: Before::OfAnotherSecret, acts: &["token"], valid: &[false, true] },
    Way { name: "refresh", quota: true, before: Before::Token, acts: &["refresh"], valid: &[true, true] },
    Way { name: "invalidate", quota: true, before: Before::Token, acts: &["token", "invalidate", "token"],
          valid: &[true, false, true] },
    Way { name: "clear", quota: true, before: Before::Token, acts: &["token", "clear", "token"],
          valid: &[true, false, true] },
];

/// A way, and where it is gone again and again.
struct Scene {
    way: &'static Way,
    server: Server,
    place: Place,
    files: Files,
    spent: usize,
    calls: Vec<Call>,
}

impl Scene {
    fn of(way: &'static Way) -> Scene {
        let server = Server::start();
        let place = Place::new(&server, way.quota);
        match way.before {
            Before::Nothing => {}
            Before::Token | Before::Damaged => drop(place.run(&["token"])),
            Before::Expired => {
                // One without life still serves whoever comes in its first second.
                server.set_life(0);
                place.run(&["token"]);
                server.set_life(86_400);
                wait_until("the token is over", || !Story::of(start(&place.options, &["cached"])).errors().is_empty());
            }
            Before::OfAnotherSecret => {
                let others = place.with("client_secret", "canary-secret-before-rotation-X4");
                Story::of(start(&others, &["token"])).token();
            }
        }
        let mut files = place.files();
        if let Before::Damaged = way.before {
            let documents = files.iter_mut().flatten();
            let token = documents.filter(|(name, _)| name.starts_with("token-") && !name.contains('.'));
            token.for_each(|(_, content)| *content.last_mut().unwrap() ^= 1);
        }
        let spent = match files {
            Some(_) => place.spent(),
            None => 0,
        };
        let mut scene = Scene { way, server, place, files, spent, calls: Vec::new() };
        scene.place.put(&scene.files);
        scene.calls = calls(&scene.place, way.acts);
        let last = scene.calls.last().unwrap();
        assert_eq!(last.renamed, way.valid.len() - 1, "{}: another way than was thought: {:#?}", way.name, scene.calls);
        scene
    }

    fn is_valid(&self, renamed: usize) -> bool {
        self.way.valid[renamed]
    }

    /// What the next process finds, after one that had sent and replaced so much. True: a token was lost.
    fn check(&self, before: usize, story: &Story, sent: usize, renamed: usize) -> bool {
        let (server, is_valid) = (&self.server, self.is_valid(renamed));
        server.wait_for(before + sent);
        let next = self.place.run(&["token", "budget"]);
        let requests = server.requests() - before;
        assert_eq!(requests, sent + usize::from(!is_valid), "requests");
        for token in story.tokens().into_iter().chain([next.token()]) {
            assert!(server.number(token).is_some(), "torn: {token}");
        }
        if !is_valid {
            assert_eq!(server.number(next.token()), Some(server.requests()), "the newest");
        }
        if self.way.quota {
            assert!(spent(&next) - self.spent >= requests, "{requests} requests, but {} counted", spent(&next));
        }
        self.place.check();
        sent > 0 && !is_valid && story.tokens().len() < self.way.acts.len()
    }
}

/// Does it for each of them, two at a time.
fn in_pairs<T: Sync>(all: &'static [T], each: impl Fn(&'static T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    each(one);
                }
            });
        }
    });
}

/// F-01, F-21.
#[test]
#[ignore = "takes half a minute and strace; .ci/run asks for it"]
fn killed_before_every_system_call() {
    in_pairs(&WAYS, |way| {
        let scene = Scene::of(way);
        let (mut kills, mut lost) = (0, 0);
        for call in &scene.calls {
            scene.place.put(&scene.files);
            let before = scene.server.requests();
            let strike = format!("inject={}:signal=KILL:when={}", call.name, call.nth);
            let only = format!("trace={}", call.name);
            let story = Story::of(traced(&scene.place, &["-o", "/dev/null", "-e", &only, "-e", &strike], way.acts));
            let about = format!("{}, killed before {}", way.name, call.text);
            assert_eq!(story.status.signal(), Some(SIGKILL), "{about}: {story:?}");
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                scene.check(before, &story, call.sent, call.renamed)
            }));
            lost += usize::from(outcome.unwrap_or_else(|_| panic!("{about}")));
            kills += 1;
        }
        println!("{}: {kills} kills, {lost} of them lost a token, 0 torn, 0 stuck, 0 uncounted", way.name);
    });
}
