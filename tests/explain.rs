//! What a host is told of each event: one line, and the counters. On virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod temp;
mod world;

use std::sync::{Mutex, OnceLock};
use std::thread;

use canary::Watched;
use temp::TempFile;
use tokauth::{Counter, LogLevel};
use world::{Act, S, World, oauth2};

/// What all clients of a world said from now on, without the provider's name and the lines that show requests.
fn said(world: &World, event: impl FnOnce()) -> Vec<String> {
    let before = world.lines.all().lines().count();
    event();
    let all = world.lines.all();
    let lines = all.lines().skip(before).filter_map(|line| line.strip_prefix("oauth2: "));
    lines.filter(|line| !line.starts_with("POST ")).map(str::to_owned).collect()
}

#[test]
fn each_event_is_told_in_one_line() {
    let world = World::new();
    let client = world.client(&oauth2());
    let asks = || drop(client.token());
    let denied = || world.provider.next(Act::Reply(401, vec![], vec![]));
    let refusal = "token: oauth2 refused the request (HTTP 401); check client_id, client_secret and auth";

    assert_eq!(said(&world, asks), ["a token for 3600 s, in 0 ms"]);
    assert_eq!(said(&world, asks), [""; 0], "a cached token is no event");
    world.clock.advance(S * 3450);
    assert_eq!(said(&world, asks), ["refreshes ahead", "a token for 3600 s, in 0 ms"]);
    world.clock.advance(S * 3450);
    denied();
    let kept = format!("the old token stays in service, for 150 s at most: {refusal}");
    let failed = format!("no token, after 0 ms: {refusal}");
    let cools = |seconds| format!("cools down: asks no more for {seconds} s");
    assert_eq!(said(&world, asks), ["refreshes ahead".to_owned(), failed.clone(), cools(60), kept]);
    world.clock.advance(S * 151);
    denied();
    assert_eq!(said(&world, asks), [failed, cools(120)]);
    assert_eq!(said(&world, asks), [format!("no request during a cool-down: {refusal}")]);
    assert_eq!(said(&world, || client.clear().unwrap()), ["all is forgotten"]);
    world.provider.next(Act::Lose);
    let lost = "no token, after 0 ms, and asks again in 0 ms: request: it failed";
    assert_eq!(said(&world, asks), [lost, "a token for 3600 s, in 0 ms"]);
    let first = client.token().unwrap();
    let rejected = said(&world, || client.invalidate(&first).unwrap());
    assert!(
        rejected.len() == 1 && rejected[0].starts_with("the API rejected a token with 3600 s left;"),
        "{rejected:?}"
    );
    asks();
    let second = client.token().unwrap();
    let kept = "the API rejected this token too, and it stays in service for another 30 s";
    assert_eq!(said(&world, || client.invalidate(&second).unwrap()), [kept]);
    assert_eq!(said(&world, || client.invalidate(&first).unwrap()), [""; 0], "nothing happens");
}

#[test]
fn whoever_waits_takes_over_or_is_served_in_the_meantime_is_told_so() {
    let world = World::new();
    let client = world.client(&oauth2());
    let hasty = client.with("timeout_ms", Some("500")).unwrap();
    world.provider.close();
    world.provider.next(Act::RunOut);
    let lines = said(&world, || {
        let first = thread::spawn(move || hasty.token());
        world.provider.wait_for_arrival();
        let second = thread::spawn({
            let client = client.clone();
            move || client.token()
        });
        while world.clock.waiters() == 0 {
            thread::yield_now();
        }
        world.provider.open();
        drop(first.join().unwrap());
        second.join().unwrap().unwrap();
    });
    for line in ["waits for another caller's request", "takes over from a caller that ran out of time"] {
        assert_eq!(lines.iter().filter(|told| *told == line).count(), 1, "{line}: {lines:?}");
    }
    world.clock.advance(S * 3450);
    world.provider.close();
    let elected = thread::spawn({
        let client = client.clone();
        move || client.token()
    });
    world.provider.wait_for_arrival();
    assert_eq!(said(&world, || drop(client.token().unwrap())), [""; 0], "as if nobody renewed it");
    world.clock.advance(S * 6); // more than the elected caller has
    let lines = said(&world, || drop(client.token().unwrap()));
    assert_eq!(lines, ["serves the cached token, which another caller renews or nobody may"]);
    world.provider.open();
    elected.join().unwrap().unwrap();
}

#[test]
fn a_changed_secret_is_told_to_end_the_cool_down() {
    let file = TempFile::new("canary-secret-old");
    let world = World::new();
    let client = world.client(&oauth2().remove("client_secret").client_secret_file(file.path()));
    world.provider.next(Act::Reply(401, vec![], vec![]));
    client.token().unwrap_err();
    file.write("canary-secret-new");
    let lines = said(&world, || drop(client.token().unwrap()));
    assert_eq!(lines, ["the credential is another one, which ends the cool-down", "a token for 3600 s, in 0 ms"]);
}

#[test]
fn the_counters_count_what_left_and_what_failed() {
    let world = World::new();
    let client = world.client(&oauth2());
    world.provider.next(Act::Lose);
    client.token().unwrap();
    world.clock.advance(S * 3450);
    world.provider.lose();
    client.token().unwrap();
    client.token().unwrap();
    let told = [Counter::Requests, Counter::RefreshesAhead, Counter::Failures, Counter::StoreHits, Counter::Waits];
    assert_eq!(told.map(|counter| client.counter(counter)), [4, 1, 3, 0, 0]);
}

/// A host may look at its client from within its log: no lock is held there.
#[test]
fn no_lock_is_held_while_a_line_is_told() {
    static CLIENT: OnceLock<Watched> = OnceLock::new();
    static LINES: Mutex<usize> = Mutex::new(0);
    let world = World::new();
    let builder = oauth2().log(|_, _| {
        if let Some(client) = CLIENT.get() {
            drop(client.cached());
            client.generation();
            client.counter(Counter::Requests);
            drop(client.with("scope", Some("within")).unwrap());
            *LINES.lock().unwrap() += 1;
        }
    });
    let client = Watched(builder.build_over(world.seams.clone()).unwrap());
    CLIENT.set(client.clone()).unwrap();
    let first = client.token().unwrap();
    world.clock.advance(S * 3450);
    world.provider.lose();
    client.token().unwrap();
    client.invalidate(&first).unwrap();
    client.token().unwrap_err();
    client.clear().unwrap();
    client.token().unwrap();
    assert!(*LINES.lock().unwrap() > 10);
}

#[test]
fn a_failure_is_an_error_and_what_goes_on_a_warning() {
    let world = World::new();
    let client = world.client(&oauth2());
    world.provider.next(Act::Lose);
    client.token().unwrap();
    assert_eq!((world.lines.at(LogLevel::Error).len(), world.lines.at(LogLevel::Warning).len()), (0, 1));
    client.clear().unwrap();
    world.provider.next(Act::Reply(401, vec![], vec![]));
    client.token().unwrap_err();
    assert_eq!((world.lines.at(LogLevel::Error).len(), world.lines.at(LogLevel::Warning).len()), (1, 1));
}
