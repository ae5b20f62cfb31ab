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
mod signal;
mod temp;
#[path = "crashes/traces.rs"]
mod traces;
#[path = "crashes/victims.rs"]
mod victims;

use std::collections::HashMap;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use languages::command;
use server::Server;
use signal::signal;
use temp::TempFile;
use traces::{Call, INTERRUPTED, Passed, calls, traced};
use victims::{Files, Place, Story, line, sleeps, spawn, spent, start, victim, wait_until};

/// Longer than anything takes that is not stuck.
const LIMIT: Duration = Duration::from_secs(180);
/// Between two looks at another process.
const PAUSE: Duration = Duration::from_millis(1);
const SIGKILL: i32 = 9;
/// As `tokauth.h` has them.
const NOT_CACHED: &str = "5";
const TIMEOUT: &str = "11";
const INTERNAL: &str = "90";

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

/// Those on which something is changed.
const STOPPED: [&Way; 3] = [&WAYS[0], &WAYS[6], &WAYS[7]];
const REFUSED: [&Way; 3] = [&WAYS[0], &WAYS[1], &WAYS[6]];

/// A way, and where it is gone again and again.
struct Scene<'a> {
    way: &'a Way,
    server: Server,
    place: Place,
    files: Files,
    spent: usize,
    calls: Vec<Call>,
}

impl Scene<'_> {
    fn of(way: &Way) -> Scene<'_> {
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
        assert_eq!(
            last.after.renamed,
            way.valid.len() - 1,
            "{}: another way than was thought: {:#?}",
            way.name,
            scene.calls
        );
        scene
    }

    /// What the next process finds, after one that had sent and replaced so much. True: a token was lost.
    fn check(&self, before: usize, story: &Story, next: &Story, call: &Passed) -> bool {
        let (server, is_valid) = (&self.server, self.way.valid[call.renamed]);
        let requests = server.requests() - before;
        assert_eq!(requests, call.sent + usize::from(!is_valid), "requests");
        for token in story.tokens().into_iter().chain([next.token()]) {
            assert!(server.number(token).is_some(), "torn: {token}");
        }
        if !is_valid {
            assert_eq!(server.number(next.token()), Some(server.requests()), "the newest");
        }
        if self.way.quota {
            assert!(spent(next) - self.spent >= requests, "{requests} requests, but {} counted", spent(next));
        }
        self.place.check();
        call.sent > 0 && !is_valid
    }

    /// As it was at first, with so many requests up to now.
    fn begin(&self) -> usize {
        self.place.put(&self.files);
        self.server.requests()
    }
}

/// What is tried when it fails.
struct About(String);

impl Drop for About {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}

/// Does it for each of them, two at a time.
fn in_pairs<'a>(all: impl IntoIterator<Item = &'a Way>, each: impl Fn(&'a Way) + Sync) {
    let all = Mutex::new(all.into_iter().collect::<Vec<_>>());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(one) = { all.lock().unwrap().pop() } {
                    each(one);
                }
            });
        }
    });
}

/// F-01, F-21.
#[test]
#[ignore = "takes a minute and strace; .ci/run asks for it"]
fn killed_before_every_system_call() {
    in_pairs(&WAYS, |way| {
        let scene = Scene::of(way);
        let mut lost = 0;
        for call in &scene.calls {
            let _about = About(format!("{}, killed before {}", way.name, call.text));
            let before = scene.begin();
            let story = Story::of(traced(&scene.place, &call.strike("signal=KILL", "/dev/null"), way.acts));
            assert_eq!(story.status.signal(), Some(SIGKILL), "{story:?}");
            scene.server.wait_for(before + call.before.sent);
            let next = scene.place.run(&["token", "budget"]);
            lost += usize::from(scene.check(before, &story, &next, &call.before));
        }
        let kills = scene.calls.len();
        println!("{}: {kills} kills, {lost} tokens lost, 0 torn, 0 stuck, 0 uncounted", way.name);
    });
}

/// F-20, F-21, F-34: whoever can use what is in the store has it at once, the others wait and go on when it is dead.
#[test]
#[ignore = "takes a minute and strace; .ci/run asks for it"]
fn stopped_at_every_system_call_and_killed_while_another_waits() {
    in_pairs(STOPPED, |way| {
        let scene = Scene::of(way);
        let (mut waited, mut lost) = (0, 0);
        for call in &scene.calls {
            let _about = About(format!("{}, stopped at {}", way.name, call.text));
            let before = scene.begin();
            let trace = TempFile::new("");
            let mut tracer = traced(&scene.place, &call.strike("signal=STOP", trace.path()), way.acts);
            let mut stopped = None;
            wait_until("it is stopped", || {
                let text = fs::read_to_string(trace.path()).unwrap();
                let line = text.lines().find(|line| line.ends_with("--- stopped by SIGSTOP ---"));
                stopped = line.map(|line| Mortal(line.split(' ').next().unwrap().parse().unwrap()));
                stopped.is_some() || tracer.try_wait().unwrap().is_some()
            });
            scene.server.wait_for(before + call.after.sent);
            if way.valid[call.after.renamed] {
                // With no time to wait for anybody.
                let reader = Story::of(start(&scene.place.with("timeout_ms", "1"), &["cached", "token"]));
                assert_eq!(reader.tokens().len(), 2, "{reader:?}");
                assert!(reader.tokens().iter().all(|token| scene.server.number(token).is_some()), "{reader:?}");
            }
            let mut next = start(&scene.place.options, &["token", "budget"]);
            let process = next.id();
            wait_until("another waits, or is served", || waits(process, 0) || next.try_wait().unwrap().is_some());
            waited += usize::from(next.try_wait().unwrap().is_none());
            drop(stopped);
            let (story, next) = (Story::of(tracer), Story::of(next));
            lost += usize::from(scene.check(before, &story, &next, &call.after));
        }
        let stops = scene.calls.len();
        println!(
            "{}: {stops} stops, {waited} others waited, {lost} tokens lost, 0 torn, 0 stuck, 0 uncounted",
            way.name
        );
    });
}

/// F-01: of two that want the same token, the one that waits for the other.
#[test]
#[ignore = "takes a minute and strace; .ci/run asks for it"]
fn killed_before_every_system_call_of_a_wait() {
    let scene = Scene::of(&WAYS[0]);
    let (server, place) = (&scene.server, &scene.place);
    let contend = |strike: &[String], trace: &TempFile| {
        let before = scene.begin();
        server.hold(true);
        let holder = start(&place.options, &["token"]);
        server.wait_for(before + 1);
        let mut waiter = traced(place, strike, &["token"]);
        wait_until("the other waits, or is dead", || {
            let has_waited = fs::read_to_string(trace.path()).unwrap().contains(" EAGAIN ");
            has_waited || waiter.try_wait().unwrap().is_some()
        });
        server.hold(false);
        let (holder, waiter) = (Story::of(holder), Story::of(waiter));
        let next = place.run(&["token", "budget"]);
        assert_eq!(server.requests(), before + 1);
        for token in holder.tokens().into_iter().chain(waiter.tokens()).chain([next.token()]) {
            assert_eq!(server.number(token), Some(before + 1));
        }
        assert!(!holder.tokens().is_empty() && spent(&next) >= 1);
        place.check();
        waiter
    };
    let trace = TempFile::new("");
    contend(&["-s", "300", "-o", trace.path()].map(str::to_owned), &trace);
    let calls = traces::read(&fs::read(trace.path()).unwrap(), &place.store());
    let mut kills = 0;
    for call in &calls {
        let _about = About(format!("killed before {}", call.text));
        let trace = TempFile::new("");
        // How often it looks whether it is its turn, and so what comes when after that, is another each time.
        let waiter = contend(&call.strike("signal=KILL", trace.path()), &trace);
        kills += usize::from(waiter.status.signal() == Some(SIGKILL));
    }
    println!("{kills} kills of {} while another held the turn, 0 torn, 0 stuck, 0 uncounted", calls.len());
    assert!(kills > calls.len() / 2);
}

/// F-15 to F-18, B-09, B-17: a token or a sentence. Once there is a client, a store that fails costs no token unless
/// there is a budget; with one nothing leaves that is not counted. An interruption costs nothing.
#[test]
#[ignore = "takes a minute and strace; .ci/run asks for it"]
fn refused_at_every_system_call() {
    in_pairs(REFUSED, |way| {
        let scene = Scene::of(way);
        let (mut refusals, mut errors) = (0, 0);
        for call in &scene.calls {
            for error in call.refusals() {
                let _about = About(format!("{}, {error} instead of {}", way.name, call.text));
                let before = scene.begin();
                let strike = call.strike(&format!("error={error}"), "/dev/null");
                let story = Story::of(traced(&scene.place, &strike, way.acts));
                assert!(story.status.code().is_some() && !story.lines.is_empty(), "{story:?}");
                assert!(!statuses(&story).contains(&INTERNAL), "{story:?}");
                assert!(story.tokens().iter().all(|token| scene.server.number(token).is_some()), "{story:?}");
                let costs_nothing = error == INTERRUPTED || !way.quota && story.status.success();
                assert!(!costs_nothing || story.errors().is_empty(), "{story:?}");
                scene.server.settle();
                let next = scene.place.run(&["clear", "token", "budget"]);
                let requests = scene.server.requests() - before;
                let counted = spent(&next) - scene.spent;
                assert!(!way.quota || counted >= requests, "{requests} requests, but {counted} counted");
                scene.place.check();
                refusals += 1;
                errors += usize::from(!story.errors().is_empty());
            }
        }
        println!("{}: {refusals} refusals, {errors} errors, 0 torn, 0 stuck, 0 uncounted", way.name);
    });
}

/// A process that is not to outlive its test, stopped or not.
struct Mortal(u32);

impl Drop for Mortal {
    fn drop(&mut self) {
        let _ = kill_process(pid(self.0), Signal::KILL); // it may have ended
    }
}

fn pid(process: u32) -> Pid {
    Pid::from_raw(i32::try_from(process).unwrap()).unwrap()
}

/// A process that is told to go on by its input.
fn start_with_input(place: &Place, acts: &[&str], input: impl Into<Stdio>) -> Child {
    spawn(command(victim(), &place.options).args(acts).stdin(input))
}

/// Whether it waits for its turn: it has slept more often since then than it would for anything else.
fn waits(process: u32, before: u64) -> bool {
    sleeps(process) >= before + 5
}

fn statuses(story: &Story) -> Vec<&str> {
    story.errors().iter().filter_map(|error| error.split(' ').next()).collect()
}

/// F-21.
#[test]
fn sixty_four_processes_released_together_send_one_request() {
    let server = Server::start();
    let place = Place::new(&server, true);
    server.hold(true);
    let (barrier, ours) = UnixStream::pair().unwrap();
    let input = || Stdio::from(OwnedFd::from(barrier.try_clone().unwrap()));
    let mut children: Vec<_> =
        (0..64).map(|_| start_with_input(&place, &["wait", "token", "budget"], input())).collect();
    let mut told = Vec::new();
    for child in &mut children {
        let mut out = BufReader::new(child.stdout.take().unwrap());
        assert_eq!(line(&mut out), "ready");
        told.push(out);
    }
    let before: Vec<u64> = children.iter().map(|child| sleeps(child.id())).collect();
    drop((barrier, ours));
    server.wait_for(1);
    wait_until("all but one wait", || {
        let waiting = children.iter().zip(&before).filter(|(child, before)| waits(child.id(), **before));
        waiting.count() >= 63
    });
    server.hold(false);
    for (child, out) in children.iter_mut().zip(&mut told) {
        assert_eq!(line(out), format!("token {}", server::token(1)));
        assert_eq!(line(out), "budget 9999");
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(server.requests(), 1);
    place.check();
}

/// F-20: nobody breaks a lock or asks without it, and with a token nobody needs one.
#[test]
fn while_a_holder_is_stopped_others_read_or_end_in_time() {
    for quota in [true, false] {
        let server = Server::start();
        let place = Place::new(&server, quota);
        server.hold(true);
        let holder = start(&place.options, &["token"]);
        server.wait_for(1);
        signal(&holder, Signal::STOP);
        let mortal = Mortal(holder.id());
        let other = Story::of(start(&place.with("timeout_ms", "300"), &["cached", "token"]));
        assert_eq!(statuses(&other), [NOT_CACHED, TIMEOUT], "{other:?}");
        server.hold(false);
        signal(&holder, Signal::CONT);
        std::mem::forget(mortal);
        assert_eq!(Story::of(holder).token(), server::token(1));
        assert_eq!(place.run(&["token"]).token(), server::token(1));
        assert_eq!(server.requests(), 1);

        server.hold(true);
        let holder = start(&place.options, &["refresh"]);
        server.wait_for(2);
        signal(&holder, Signal::STOP);
        let mortal = Mortal(holder.id());
        let locks: Vec<_> = place.locks().iter().map(|path| fs::File::open(path).unwrap()).collect();
        for lock in &locks {
            rustix::fs::flock(lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
        }
        assert!(!locks.is_empty());
        let readers = Story::of(start(&place.with("timeout_ms", "1"), &["cached", "token"]));
        assert_eq!(readers.tokens(), [server::token(1), server::token(1)], "{readers:?}");
        drop(locks);
        server.hold(false);
        signal(&holder, Signal::CONT);
        std::mem::forget(mortal);
        assert_eq!(Story::of(holder).token(), server::token(2));
        assert_eq!(server.requests(), 2);
    }
}

/// B-05: the child has a copy of the lock, and so keeps it until it notices that it is not its own.
#[test]
fn a_child_of_a_killed_holder_gives_way_when_it_calls_or_ends() {
    for by_call in [true, false] {
        let server = Server::start();
        let place = Place::new(&server, true);
        server.hold(true);
        let mut parent = start_with_input(&place, &["forks", "token"], Stdio::piped());
        server.wait_for(1);
        parent.stdin.take().unwrap().write_all(b"\n").unwrap();
        let mut told = BufReader::new(parent.stdout.take().unwrap());
        let child = Mortal(line(&mut told).strip_prefix("child ").unwrap().parse().unwrap());
        parent.kill().unwrap();
        parent.wait().unwrap();
        let next = start(&place.options, &["token", "budget"]);
        let waited = next.id();
        wait_until("the next waits", || waits(waited, 0));
        server.hold(false);
        let child = if by_call {
            kill_process(pid(child.0), Signal::USR1).unwrap();
            assert_eq!(line(&mut told), "called");
            Some(child)
        } else {
            drop(child);
            None
        };
        let next = Story::of(next);
        assert_eq!(next.token(), server::token(2), "what the parent was to get is lost");
        assert_eq!((server.requests(), spent(&next)), (2, 2));
        drop(child);
    }
}

/// What is known of one time after another at which four processes want the same token.
#[derive(Default)]
struct Rounds {
    now: usize,
    tokens: HashMap<usize, usize>,
    kills: usize,
    /// How long they live on average.
    pause: Duration,
}

/// Kills processes at random moments, of four that are always under way.
fn kill_at_random(kills: usize) {
    const MANY: usize = 250; // of one ledger
    let began = Instant::now();
    let (mut killed, mut requests, mut lost, mut rounds) = (0, 0, 0, 0);
    while killed < kills {
        let server = Server::start();
        let place = Place::new(&server, true);
        let audience = |round: usize| place.with("audience", &format!("https://api.example/{round}"));
        let state = Mutex::new(Rounds { pause: Duration::from_millis(10), ..Rounds::default() });
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        let (round, pause) = {
                            let state = state.lock().unwrap();
                            if state.kills >= MANY.min(kills - killed) {
                                break;
                            }
                            (state.now, state.pause)
                        };
                        let mut child = start(&audience(round), &["token"]);
                        std::thread::sleep(pause.mul_f64(2.0 * chance()));
                        child.kill().unwrap();
                        let story = Story::of(child);
                        let is_killed = story.status.signal() == Some(SIGKILL);
                        assert!(is_killed || story.status.success() && !story.tokens().is_empty(), "{story:?}");
                        let mut state = state.lock().unwrap();
                        state.kills += usize::from(is_killed);
                        for token in story.tokens() {
                            let number = server.number(token).unwrap_or_else(|| panic!("torn: {token}"));
                            assert_eq!(*state.tokens.entry(round).or_insert(number), number, "two tokens at a time");
                            state.now = state.now.max(round + 1);
                        }
                        // So that about a third come to their end.
                        state.pause = state.pause.mul_f64(if is_killed { 1.1 } else { 0.8 });
                    }
                });
            }
        });
        let Rounds { now, tokens, kills, .. } = state.into_inner().unwrap();
        // Whoever comes next is served, with what the last one got or a token of its own.
        for round in now.saturating_sub(2)..=now {
            let next = Story::of(start(&audience(round), &["token"]));
            let number = server.number(next.token()).unwrap();
            assert_eq!(tokens.get(&round).unwrap_or(&number), &number);
        }
        server.settle();
        let (counted, sent) = (place.spent(), server.requests());
        assert!(counted >= sent, "{sent} requests, but {counted} counted");
        let got = now + 1;
        assert!(sent >= got && sent <= got + kills, "{sent} requests for {got} tokens, and {kills} kills");
        place.check();
        killed += kills;
        requests += sent;
        lost += sent - got;
        rounds += got;
    }
    let rate = killed as f64 / began.elapsed().as_secs_f64();
    println!(
        "{killed} kills ({rate:.0}/s), {requests} requests for {rounds} tokens, {lost} lost, 0 torn, 0 stuck, 0 uncounted"
    );
}

/// From 0 to 1.
fn chance() -> f64 {
    (RandomState::new().hash_one(0) >> 11) as f64 / (1_u64 << 53) as f64
}

/// F-02.
#[test]
fn killed_at_random_among_four() {
    kill_at_random(150);
}

/// F-02.
#[test]
#[ignore = "takes minutes; by hand"]
fn ten_thousand_random_kills() {
    kill_at_random(10_000);
}
