//! When a token is asked for, and when not: on virtual time, against a scripted provider.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod temp;
mod world;

use std::sync::{Arc, OnceLock};
use std::thread;

use canary::Watched;
use temp::TempFile;
use tokauth::seams::Clock;
use tokauth::{Client, Counter, ErrorKind, LogLevel};
use world::{Act, NOW, S, World, oauth2};

fn value(client: &Watched) -> String {
    client.token().unwrap().value().to_owned()
}

#[test]
fn a_token_is_reused_until_ten_seconds_before_its_end() {
    let world = World::new();
    let client = world.client(&oauth2().refresh_ahead("off"));
    assert_eq!(value(&client), "canary-token-1");
    for (passed, expected) in [(0, "canary-token-1"), (3589, "canary-token-1"), (1, "canary-token-2")] {
        world.clock.advance(S * passed);
        assert_eq!(value(&client), expected, "{passed} s later");
    }
    assert_eq!(client.counter(Counter::Requests), 2);
}

/// E20: the provider counts from when it made the reply.
#[test]
fn life_counts_from_before_the_request_left() {
    let world = World::new();
    let client = world.client(&oauth2().refresh_ahead("off").min_valid_s("0"));
    *world.provider.connect_time.lock().unwrap() = S * 7;
    *world.provider.reply_time.lock().unwrap() = S * 5;
    assert_eq!(client.token().unwrap().expires_at(), NOW as i64 + 7 + 3600);
    world.clock.advance(S * 3594);
    assert_eq!(value(&client), "canary-token-1");
    world.clock.advance(S);
    assert_eq!(value(&client), "canary-token-2");
}

#[test]
fn min_valid_s_is_honoured_and_capped_at_half_the_life() {
    let world = World::new();
    let client = world.client(&oauth2().refresh_ahead("off").min_valid_s("3000"));
    assert_eq!(value(&client), "canary-token-1");
    world.clock.advance(S * 1799);
    assert_eq!(value(&client), "canary-token-1");
    world.clock.advance(S);
    assert_eq!(value(&client), "canary-token-2");
    let warnings = world.lines.at(LogLevel::Warning);
    assert_eq!(warnings.len(), 1, "told once: {warnings:?}");
    assert!(warnings[0].contains("min_valid_s") && warnings[0].contains("1800 s"));
}

/// E19, D-11: a life shorter than any margin.
#[test]
fn a_token_without_life_is_handed_out_for_a_second() {
    for expires_in in [0, -1, 1] {
        let world = World::new();
        let client = world.client(&oauth2());
        world.provider.next_json(200, serde_json::json!({"access_token": "short", "expires_in": expires_in}));
        assert_eq!(value(&client), "short");
        world.clock.advance(S - S / 1000);
        assert_eq!(value(&client), "short", "no more than one request a second");
        world.clock.advance(S / 1000);
        assert_eq!(value(&client), "canary-token-2");
    }
}

/// Starts `count` callers, and returns their join handles when all of them wait for the one request.
fn callers(
    world: &World,
    client: &Watched,
    count: usize,
) -> Vec<thread::JoinHandle<Result<tokauth::Token, tokauth::Error>>> {
    world.provider.close();
    let handles: Vec<_> = (0..count)
        .map(|_| {
            let client = client.clone();
            thread::spawn(move || client.token())
        })
        .collect();
    world.provider.wait_for_arrival();
    while world.clock.waiters() < count - 1 {
        thread::yield_now();
    }
    handles
}

/// F14, F18, A-16: a new token may end the old one, and everybody comes at once.
#[test]
fn concurrent_misses_send_one_request() {
    let world = World::new();
    let client = world.client(&oauth2());
    let handles = callers(&world, &client, 32);
    world.provider.open();
    for handle in handles {
        assert_eq!(handle.join().unwrap().unwrap().value(), "canary-token-1");
    }
    assert_eq!(world.provider.count(), 1);
    assert_eq!(client.counter(Counter::Waits), 31);
}

#[test]
fn a_failure_is_shared_by_all_who_waited() {
    let world = World::new();
    let client = world.client(&oauth2());
    world.provider.next_json(401, serde_json::json!({"error": "invalid_client"}));
    let handles = callers(&world, &client, 16);
    world.provider.open();
    for handle in handles {
        assert_eq!(handle.join().unwrap().unwrap_err().provider_code(), Some("invalid_client"));
    }
    assert_eq!(world.provider.count(), 1);
    assert_eq!(client.counter(Counter::Failures), 1);
    world.clock.advance(S * 60);
    assert_eq!(value(&client), "canary-token-2", "nothing is cached, and the client is usable");
}

///
#[test]
fn a_panicking_request_releases_the_waiters() {
    let world = World::new();
    let client = world.client(&oauth2());
    world.provider.next(Act::Panic);
    let handles = callers(&world, &client, 4);
    world.provider.open();
    let outcomes: Vec<_> = handles.into_iter().map(thread::JoinHandle::join).collect();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_err()).count(), 1, "the panic is its caller's");
    for outcome in outcomes.into_iter().flatten() {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Internal);
    }
    assert_eq!(value(&client), "canary-token-2", "the client is usable");
}

/// H-16.
#[test]
fn a_waiter_leaves_at_its_own_deadline_without_harm_to_the_request() {
    let world = World::new();
    let client = world.client(&oauth2());
    let hasty = client.with("timeout_ms", Some("500")).unwrap();
    let patient = callers(&world, &client, 1).remove(0);
    let waiter = thread::spawn(move || hasty.token());
    while world.clock.waiters() < 1 {
        thread::yield_now();
    }
    world.clock.advance(S / 2);
    let error = waiter.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    world.provider.open();
    assert_eq!(patient.join().unwrap().unwrap().value(), "canary-token-1");
    assert_eq!(world.provider.count(), 1);
}

///
#[test]
fn no_lock_is_held_while_a_line_is_logged() {
    let world = World::new();
    let logging = Arc::<OnceLock<Client>>::default();
    let looks = {
        let logging = logging.clone();
        move |_, _: &str| {
            let Some(client) = logging.get() else { return };
            drop(client.cached());
            drop(client.with("scope", Some("more")).unwrap());
        }
    };
    let client = canary::outcome(oauth2().log(looks).build_over(world.seams.clone())).map(Watched).unwrap();
    logging.set(client.0.clone()).unwrap();
    let token = client.token().unwrap();
    client.invalidate(&token).unwrap();
    world.provider.next_json(401, serde_json::json!({"error": "invalid_client"}));
    client.token().unwrap_err();
    client.token().unwrap_err();
    client.clear().unwrap();
    assert_eq!(value(&client), "canary-token-3");
}

/// The default margin is a precaution.
#[test]
fn a_waiter_that_runs_out_of_time_takes_a_token_that_lives_yet() {
    let world = World::new();
    let client = world.client(&oauth2().refresh_ahead("off"));
    value(&client);
    world.clock.advance(S * 3592);
    let hasty = client.with("timeout_ms", Some("500")).unwrap();
    let leader = callers(&world, &client, 1).remove(0);
    let waiter = thread::spawn(move || hasty.token());
    while world.clock.waiters() < 1 {
        thread::yield_now();
    }
    world.clock.advance(S / 2);
    assert_eq!(waiter.join().unwrap().unwrap().value(), "canary-token-1");
    world.provider.open();
    assert_eq!(leader.join().unwrap().unwrap().value(), "canary-token-2");
}

/// F19.
#[test]
fn one_caller_refreshes_ahead_while_the_others_keep_the_valid_token() {
    let world = World::new();
    let client = world.client(&oauth2());
    assert_eq!(value(&client), "canary-token-1");
    world.clock.advance(S * 3289);
    assert_eq!(value(&client), "canary-token-1", "not before the last five minutes");
    world.clock.advance(S * 151); // past any jitter
    let elected = callers(&world, &client, 1).remove(0);
    for _ in 0..10 {
        assert_eq!(value(&client), "canary-token-1");
    }
    assert!(world.provider.last_deadline() <= S * 5, "with a valid token at hand nobody waits longer");
    world.provider.open();
    assert_eq!(elected.join().unwrap().unwrap().value(), "canary-token-2");
    assert_eq!(value(&client), "canary-token-2");
    assert_eq!(world.provider.count(), 2);
    assert_eq!(client.counter(Counter::RefreshesAhead), 1);
    assert_eq!(client.counter(Counter::Waits), 0);
}

#[test]
fn whoever_refreshes_ahead_waits_for_half_its_time_and_five_seconds_at_most() {
    for (timeout_ms, longest) in [("2000", S), ("10000", S * 5), ("60000", S * 5)] {
        let world = World::new();
        let client = world.client(&oauth2().timeout_ms(timeout_ms));
        assert_eq!(value(&client), "canary-token-1");
        world.clock.advance(S * 3440);
        let began = world.clock.since_boot();
        world.provider.next(Act::Late);
        assert_eq!(value(&client), "canary-token-1", "{timeout_ms}");
        assert_eq!(world.provider.count(), 2, "{timeout_ms}");
        assert_eq!(world.clock.since_boot() - began, longest, "{timeout_ms}");
    }
}

/// E-04.
#[test]
fn a_failed_refresh_leaves_the_valid_token_in_service_to_its_end_and_pauses() {
    let world = World::new();
    let client = world.client(&oauth2());
    let strict = client.with("min_valid_s", Some("10")).unwrap();
    assert_eq!(value(&client), "canary-token-1");
    world.clock.advance(S * 3450);
    for (passed, requests) in [(0, 3), (29, 3), (1, 4)] {
        world.clock.advance(S * passed);
        world.provider.lose();
        assert_eq!(value(&client), "canary-token-1");
        assert_eq!(world.provider.count(), requests, "{passed} s later: two requests, then one for each try");
        if passed == 29 {
            assert_eq!(client.generation(), 1, "no caller is to renew it now");
        }
        world.provider.forget();
    }
    assert_eq!(client.counter(Counter::Failures), 3);
    for (passed, requests) in [(70, 5), (29, 5), (12, 6), (8, 6)] {
        world.clock.advance(S * passed);
        world.provider.lose();
        assert_eq!(value(&client), "canary-token-1", "{passed} s later");
        assert_eq!(world.provider.count(), requests, "{passed} s later");
        world.provider.forget();
    }
    strict.token().expect_err("a margin that the host sets is a condition");
    world.clock.advance(S);
    world.provider.lose();
    client.token().expect_err("its true end");
}

#[test]
fn a_failed_refresh_hands_out_neither_a_dead_nor_a_rejected_token() {
    let world = World::new();
    let client = world.client(&oauth2());
    value(&client);
    world.clock.advance(S * 3589); // valid for eleven seconds yet
    *world.provider.reply_time.lock().unwrap() = S * 12;
    world.provider.lose();
    client.token().unwrap_err();

    let world = World::new();
    let client = world.client(&oauth2());
    let rejected = client.token().unwrap();
    world.clock.advance(S * 3450);
    world.provider.lose();
    let elected = callers(&world, &client, 1).remove(0);
    client.invalidate(&rejected).unwrap();
    world.provider.open();
    elected.join().unwrap().unwrap_err();
}

#[test]
fn a_token_asked_for_before_clear_is_not_cached_after_it() {
    let world = World::new();
    let client = world.client(&oauth2());
    let asked_before = callers(&world, &client, 1).remove(0);
    client.clear().unwrap();
    world.provider.open();
    assert_eq!(asked_before.join().unwrap().unwrap().value(), "canary-token-1");
    client.cached().unwrap_err();
    assert_eq!(value(&client), "canary-token-2");

    let asked_before = callers(&world, &client.with("scope", Some("more")).unwrap(), 1).remove(0);
    let sibling = client.with("scope", Some("more")).unwrap();
    sibling.clear().unwrap();
    let asked_after = callers(&world, &sibling, 1).remove(0);
    world.provider.open();
    let [before, after] = [asked_before, asked_after].map(|asked| asked.join().unwrap().unwrap().value().to_owned());
    assert_ne!(before, after, "who asks after it waits for no answer from before it");
    assert_eq!(value(&sibling), after);
}

#[test]
fn clients_made_per_call_ask_once_a_second_for_tokens_without_life() {
    let world = World::new();
    for _ in 0..20 {
        world.provider.next_json(200, serde_json::json!({"access_token": "short", "expires_in": 0}));
        assert_eq!(value(&world.client(&oauth2())), "short");
    }
    assert_eq!(world.provider.count(), 1);
}

#[test]
fn a_sibling_needs_no_file_again() {
    let file = TempFile::new("the-secret-in-a-file");
    let world = World::new();
    let client = world.client(&oauth2().remove("client_secret").client_secret_file(file.path()));
    value(&client);
    file.remove();
    assert_eq!(value(&client.with("timeout_ms", Some("500")).unwrap()), "canary-token-1");
}

#[test]
fn refresh_ahead_takes_seconds_and_off() {
    for (option, at) in [("off", 3590), ("600", 3290)] {
        let world = World::new();
        let client = world.client(&oauth2().refresh_ahead(option));
        assert_eq!(value(&client), "canary-token-1");
        world.clock.advance(S * 2989);
        assert_eq!(value(&client), "canary-token-1");
        world.clock.advance(S * (at - 2989));
        assert_eq!(value(&client), "canary-token-2", "{option}");
    }
}

#[test]
fn a_sibling_with_a_larger_min_valid_keeps_the_token_warm_and_nobody_else_waits() {
    let world = World::new();
    let client = world.client(&oauth2().refresh_ahead("off"));
    let warmer = client.with("min_valid_s", Some("600")).unwrap();
    assert_eq!(value(&client), "canary-token-1");
    for renewal in 1..=5 {
        world.clock.advance(S * 3000);
        let timer = callers(&world, &warmer, 1).remove(0);
        assert_eq!(value(&client), format!("canary-token-{renewal}"), "while it is renewed");
        world.provider.open();
        timer.join().unwrap().unwrap();
        assert_eq!(value(&client), format!("canary-token-{}", renewal + 1));
    }
    assert_eq!((world.provider.count(), client.counter(Counter::Waits)), (6, 0));
}

#[test]
fn refresh_asks_for_a_new_token_whatever_is_cached() {
    let world = World::new();
    let client = world.client(&oauth2());
    assert_eq!(value(&client), "canary-token-1");
    assert_eq!(client.refresh().unwrap().value(), "canary-token-2");
    assert_eq!(value(&client), "canary-token-2");
    world.provider.lose();
    client.refresh().unwrap_err();
    assert_eq!(value(&client), "canary-token-2", "a failure leaves the cached token in service");
}

#[test]
fn refresh_joins_only_a_request_begun_after_it() {
    let world = World::new();
    let client = world.client(&oauth2());
    let first = callers(&world, &client, 1).remove(0);
    let buttons: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            thread::spawn(move || client.refresh())
        })
        .collect();
    while world.clock.waiters() < 4 {
        thread::yield_now();
    }
    world.provider.open();
    assert_eq!(first.join().unwrap().unwrap().value(), "canary-token-1");
    for button in buttons {
        assert_eq!(button.join().unwrap().unwrap().value(), "canary-token-2");
    }
    assert_eq!(world.provider.count(), 2);
}

#[test]
fn clear_forgets_the_token() {
    let world = World::new();
    let client = world.client(&oauth2());
    assert_eq!(value(&client), "canary-token-1");
    client.clear().unwrap();
    assert_eq!(client.cached().unwrap_err().kind(), ErrorKind::NotCached);
    assert_eq!(value(&client), "canary-token-2");
}

///
#[test]
fn cached_never_sends() {
    let world = World::new();
    let client = world.client(&oauth2());
    let error = client.cached().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotCached);
    assert_eq!(world.provider.count(), 0);
    assert_eq!(value(&client), "canary-token-1");
    assert_eq!(client.cached().unwrap().value(), "canary-token-1");
    world.clock.advance(S * 3590);
    client.cached().unwrap_err();
    assert_eq!(world.provider.count(), 1);
}

#[test]
fn the_generation_names_the_token_that_would_be_returned_at_once() {
    let world = World::new();
    let client = world.client(&oauth2());
    assert_eq!(client.generation(), 0);
    value(&client);
    assert_eq!(client.generation(), 1);
    client.refresh().unwrap();
    assert_eq!(client.generation(), 2);
    world.clock.advance(S * 3450);
    assert_eq!(client.generation(), 0, "this caller is to renew it");
    assert_eq!(client.with("refresh_ahead", Some("off")).unwrap().generation(), 2);
    value(&client);
    assert_eq!(client.generation(), 3);
    client.clear().unwrap();
    assert_eq!(client.generation(), 0);
    value(&client);
    assert_eq!(client.generation(), 4, "never a value that was there before");
}

#[test]
fn clients_with_equal_options_share_one_token() {
    let world = World::new();
    let one = world.client(&oauth2().scope("b a"));
    for (builder, shared) in [
        (oauth2().scope("b a"), true),
        (oauth2().scope("a  b"), true), // a set
        (oauth2().scope("a b").auth("basic").store("memory").quota("none").max_ttl_s("2678400"), true), // the defaults
        (oauth2().scope("a b").timeout_ms("1").min_valid_s("5").refresh_ahead("off").user_agent("x/1"), true),
        (oauth2().scope("a b c"), false),
        (oauth2().scope("a b").audience("x"), false),
        (oauth2().scope("a b").resource("urn:x"), false),
        (oauth2().scope("a b").param("x", "1"), false),
        (oauth2().scope("a b").param("x", "2"), false),
        (oauth2().scope("a b").header("x", "1"), false),
        (oauth2().scope("a b").proxy("http://127.0.0.1:1"), false),
        (oauth2().scope("a b").ca_file("/roots.pem"), false),
        (oauth2().scope("a b").default_ttl_s("5"), false),
        (oauth2().scope("a b").max_ttl_s("5"), false),
        (oauth2().scope("a b").auth("post"), false),
        (oauth2().scope("a b").client_secret("canary-secret-2"), false),
        (oauth2().scope("a b").token_url("https://auth.example/token2"), false),
    ] {
        let value_of_one = value(&one);
        assert_eq!(value(&world.client(&builder)) == value_of_one, shared, "{builder:?}");
    }
}

#[test]
fn a_client_made_per_call_still_sends_one_request() {
    let world = World::new();
    for _ in 0..20 {
        assert_eq!(value(&world.client(&oauth2())), "canary-token-1");
    }
    assert_eq!(world.provider.count(), 1);
    world.clock.advance(S * 3600);
    assert_eq!(value(&world.client(&oauth2())), "canary-token-2");
}

#[test]
fn slots_without_a_client_linger_while_their_token_lives_and_at_most_64_of_them() {
    let world = World::new();
    let client = world.client(&oauth2());
    for number in 0..100_000 {
        let sibling = client.with("scope", Some(&format!("s{number}"))).unwrap();
        if number % 1000 == 0 || number >= 99_900 {
            value(&sibling);
        }
    }
    assert_eq!(world.seams.registry.len(), 1 + 64);
    drop(client.with("scope", Some("never-asked")).unwrap());
    assert_eq!(world.seams.registry.len(), 1 + 64);
    let requests = world.provider.count();
    value(&client.with("scope", Some("s99999")).unwrap());
    assert_eq!(world.provider.count(), requests, "the newest is still there");
    value(&client.with("scope", Some("s0")).unwrap());
    assert_eq!(world.provider.count(), requests + 1, "the oldest is gone");
    world.clock.advance(S * 4000);
    drop(client);
    assert_eq!(world.seams.registry.len(), 0, "nothing lingers without life");
}

/// D-22.
#[test]
fn a_sibling_has_its_own_token_for_another_scope_and_cannot_change_who_it_is() {
    let world = World::new();
    let client = world.client(&oauth2());
    let sibling = client.with("scope", Some("more")).unwrap();
    assert_eq!((value(&client), value(&sibling)), ("canary-token-1".into(), "canary-token-2".into()));
    assert_eq!(value(&sibling.with("scope", None).unwrap()), "canary-token-1");
    for name in ["provider", "provider_file", "client_id", "client_secret", "client_secret_file"] {
        let error = client.with(name, Some("x")).unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains(name), "{error}");
    }
}

/// H-07.
#[test]
fn a_secret_file_is_read_again_before_each_request() {
    let file = TempFile::new("old-secret\n");
    let world = World::new();
    let builder = oauth2().remove("client_secret").client_secret_file(file.path()).auth("post");
    let client = world.client(&builder);
    value(&client);
    assert!(world.provider.last().body.ends_with("client_secret=old-secret"));
    file.write("new-secret\n");
    client.refresh().unwrap();
    assert!(world.provider.last().body.ends_with("client_secret=new-secret"));
    file.remove();
    let error = client.refresh().unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("client_secret_file"), "{error}");
    assert_eq!(value(&client), "canary-token-2", "the cached token stays in service");
}
