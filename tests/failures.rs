//! What a failure costs: attempts within a call, cool-downs after it, and whom they bind. On virtual time, against a
//! scripted provider, without jitter. The numbers are those of the fault catalogue (C, H) and of the quirks (F).
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod temp;
mod world;

use std::thread;
use std::time::Duration;

use canary::Watched;
use serde_json::json;
use temp::TempFile;
use tokauth::{Builder, Client, Counter, ErrorKind, LogLevel};
use world::{Act, S, World, oauth2};

const MS: Duration = Duration::from_millis(1);

fn reply(status: u16) -> Act {
    Act::Reply(status, vec![], b"{}".into())
}

fn unsent() -> Act {
    Act::Unsent(ErrorKind::Network)
}

fn eventhos(secret: &str) -> Builder {
    Client::builder()
        .provider("eventhos")
        .set("base_url", "https://eventhos.example")
        .client_id("me")
        .client_secret(secret)
}

/// Asks once a second for so long, and returns how often the provider was connected to.
fn loops(world: &World, client: &Watched, seconds: u32, next: impl Fn() -> Act) -> usize {
    let before = world.provider.connections();
    for _ in 0..seconds {
        world.provider.forget();
        (0..3).for_each(|_| world.provider.next(next()));
        client.token().unwrap_err();
        world.clock.advance(S);
    }
    world.provider.forget();
    world.provider.connections() - before
}

#[test]
fn an_attempt_is_repeated_as_long_as_no_token_can_have_been_issued_and_once_if_it_may() {
    let refusal = || reply(400);
    let unusable = || Act::Reply(200, vec![], br#"{"access_token": 7}"#.into());
    let limited = |wait: &str| Act::Reply(429, vec![("retry-after", wait.into())], vec![]);
    for (what, acts, connections, ends) in [
        ("an outage", vec![unsent(), unsent(), unsent()], 3, false),
        ("a blip", vec![unsent(), unsent()], 3, true),
        ("no trust", vec![Act::Unsent(ErrorKind::Tls)], 1, false),
        ("408, C-22", vec![reply(408), reply(408), reply(408)], 3, false),
        ("425, C-22", vec![reply(425)], 2, true),
        ("a lost reply, C-07", vec![Act::Lose, Act::Lose], 2, false),
        ("a lost reply, then none", vec![Act::Lose], 2, true),
        ("500, C-24", vec![reply(500), reply(500)], 2, false),
        ("502, C-25", vec![reply(502)], 2, true),
        ("504, C-25", vec![reply(504)], 2, true),
        ("a page", vec![Act::Reply(200, vec![], b"<html>".into())], 2, true),
        ("an outage, then a lost reply", vec![unsent(), Act::Lose], 2, false),
        ("a token that is none", vec![unusable()], 1, false),
        ("a refusal", vec![refusal()], 1, false),
        ("a short wait", vec![limited("2")], 2, true),
        ("a short wait, twice", vec![limited("0"), limited("0")], 2, false),
        ("a longer wait", vec![limited("3")], 1, false),
        ("no word of how long", vec![reply(429)], 1, false),
        ("503 with a longer wait, C-26", vec![Act::Reply(503, vec![("retry-after", "60".into())], vec![])], 1, false),
        ("500 with a longer wait", vec![Act::Reply(500, vec![("retry-after", "60".into())], vec![])], 1, false),
        ("a redirect", vec![Act::Reply(302, vec![("location", "https://x.example/".into())], vec![])], 1, false),
    ] {
        let world = World::new();
        let client = world.client(&oauth2());
        acts.into_iter().for_each(|act| world.provider.next(act));
        assert_eq!(client.token().is_ok(), ends, "{what}");
        assert_eq!(world.provider.connections(), connections, "{what}");
        let failures = connections - usize::from(ends);
        assert_eq!(client.counter(Counter::Failures), failures as u64, "{what}");
    }
}

#[test]
fn no_attempt_is_begun_that_the_deadline_would_end() {
    let world = World::new();
    world.provider.next(Act::Reply(429, vec![("retry-after", "2".into())], vec![]));
    world.client(&oauth2().timeout_ms("2000")).token().unwrap_err();
    assert_eq!(world.provider.count(), 1);
}

fn fill<const BYTE: u8>(bytes: &mut [u8]) -> Result<(), tokauth::Error> {
    bytes.fill(BYTE);
    Ok(())
}

/// The waits double and are drawn from zero on, so that clients that failed together do not come back together.
#[test]
fn the_wait_between_attempts_has_full_jitter() {
    for (draw, waits) in [(0_u8, [0, 0, 0]), (51, [40, 80, 200]), (255, [200, 400, 1000])] {
        let mut world = World::new();
        world.seams.random = match draw {
            0 => fill::<0>,
            51 => fill::<51>,
            _ => fill::<255>,
        };
        let client = world.client(&oauth2());
        world.provider.next(unsent());
        world.provider.next(unsent());
        client.token().unwrap();
        client.clear().unwrap();
        world.provider.next(Act::Lose);
        client.token().unwrap();
        let told = world.lines.at(LogLevel::Warning);
        let words = told.iter().map(|line| line.split(": ").nth(1).unwrap().split(", ").last().unwrap());
        assert_eq!(words.collect::<Vec<_>>(), waits.map(|wait| format!("and asks again in {wait} ms")));
    }
}

/// How long nobody asks, after one failure and after each further one.
#[test]
fn a_cool_down_doubles_up_to_its_longest() {
    let limited = |wait: &'static str| move || Act::Reply(429, vec![("retry-after", wait.into())], vec![]);
    type Next = Box<dyn Fn() -> Act>;
    let rows: [(&str, Next, &[u32]); 8] = [
        ("an outage", Box::new(unsent), &[1, 2, 4, 8, 16, 30, 30]),
        ("no trust", Box::new(|| Act::Unsent(ErrorKind::Tls)), &[1, 2, 4]),
        ("500", Box::new(|| reply(500)), &[5, 10, 20, 40, 60, 60]),
        ("a token that is none", Box::new(|| reply(200)), &[5, 10, 20]),
        ("a refusal", Box::new(|| reply(401)), &[60, 120, 240, 480, 900, 900]),
        ("a redirect", Box::new(|| reply(301)), &[60, 120]),
        ("429, C-23", Box::new(|| reply(429)), &[60, 60, 60]),
        ("429 with a wait, C-23", Box::new(limited("100")), &[100, 100]),
    ];
    for (what, next, waits) in rows {
        let world = World::new();
        let client = world.client(&oauth2());
        for wait in waits {
            world.provider.forget();
            (0..3).for_each(|_| world.provider.next(next()));
            let error = client.token().unwrap_err();
            assert_eq!(error.retry_after(), Some(S * *wait), "{what}");
            let connections = world.provider.connections();
            world.clock.advance(S * *wait - MS);
            let recorded = client.token().unwrap_err();
            assert_eq!((recorded.kind(), recorded.to_string()), (error.kind(), error.to_string()), "{what}");
            assert_eq!(recorded.retry_after(), Some(MS), "{what}: what is left");
            assert_eq!(client.refresh().unwrap_err().retry_after(), Some(MS), "{what}: whoever presses a button, too");
            assert_eq!(world.provider.connections(), connections, "{what}");
            world.clock.advance(MS);
        }
        world.provider.forget();
        client.token().unwrap();
        client.clear().unwrap();
        (0..3).for_each(|_| world.provider.next(next()));
        assert_eq!(
            client.token().unwrap_err().retry_after(),
            Some(S * waits[0]),
            "{what}: a success ends the doubling"
        );
    }
}

/// C-23, F8, F9.
#[test]
fn a_wait_is_obeyed_in_each_of_its_forms_from_a_second_to_an_hour() {
    for (values, seconds) in [
        (vec!["7"], 7),
        (vec!["7.2"], 8),
        (vec!["Sat, 21 Nov 2026 00:00:30 GMT"], 30),
        (vec!["Fri, 20 Nov 2026 23:59:00 GMT"], 1), // over already
        (vec!["0"], 1),
        (vec!["-5"], 60),
        (vec!["soon"], 60),
        (vec!["1000000000"], 3600),
        (vec!["99999999999999999999999"], 3600),
        (vec!["7", "9"], 9),
        (vec![], 60),
    ] {
        let world = World::new();
        let client = world.client(&oauth2().timeout_ms("500")); // no time for a second attempt
        let headers = values.iter().map(|value| ("retry-after", (*value).to_owned())).collect();
        world.provider.next(Act::Reply(429, headers, vec![]));
        let error = client.token().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RateLimited);
        let told = error.retry_after().unwrap();
        assert_eq!(told.as_millis().div_ceil(1000), seconds, "{values:?}");
        world.clock.advance(told - MS);
        client.token().unwrap_err();
        assert_eq!(world.provider.count(), 1, "{values:?}");
        world.clock.advance(MS);
        client.token().unwrap();
    }
}

#[test]
fn twenty_calls_with_a_wrong_secret_send_one_request() {
    let world = World::new();
    let client = world.client(&oauth2());
    world.provider.next_json(401, json!({"error": "invalid_client"}));
    for _ in 0..20 {
        assert_eq!(client.token().unwrap_err().provider_code(), Some("invalid_client"));
    }
    assert_eq!((world.provider.count(), client.counter(Counter::Failures)), (1, 1));
    let told = world.lines.at(LogLevel::Info);
    assert_eq!(told.last().unwrap(), "oauth2: cools down: asks no more for 60 s");
    let held = world.lines.at(LogLevel::Debug).into_iter().filter(|line| line.contains("during a cool-down"));
    assert_eq!(held.count(), 19);
}

#[test]
fn a_client_made_per_call_does_not_ask_during_a_cool_down_either() {
    let world = World::new();
    for _ in 0..20 {
        world.provider.next(reply(401));
        world.client(&oauth2()).token().unwrap_err();
    }
    assert_eq!(world.provider.count(), 1);
}

/// Of one that has clients of other keys, too, whose ends sweep out what nobody needs.
#[test]
fn what_failures_have_taught_holds_for_clients_made_per_call() {
    let day = |builder: &Builder| {
        let world = World::new();
        for _ in 0..24 * 60 {
            world.provider.always(reply(401));
            world.client(builder).token().unwrap_err();
            world.provider.forget();
            world.clock.advance(S * 60);
            drop(world.client(&oauth2().scope("another")));
        }
        assert_eq!(world.seams.registry.len(), 1, "and of the others nothing lingers");
        world.provider.count()
    };
    // After 1, 3, 7 and 15 minutes, then every quarter of an hour.
    assert_eq!(day(&oauth2()), 5 + (24 * 60 - 1 - 15) / 15);
    assert_eq!(day(&eventhos("canary-secret-wrong")), 2);
}

/// H-04, F13.
#[test]
fn an_hour_with_a_wrong_secret_sends_eight_requests() {
    let world = World::new();
    let client = world.client(&oauth2());
    assert_eq!(loops(&world, &client, 3601, || reply(401)), 8);
}

/// H-03, C-37: after the first three attempts one for each back-off step.
#[test]
fn an_hour_of_outage_under_a_tight_loop_sees_one_connection_per_back_off_step() {
    let world = World::new();
    let client = world.client(&oauth2());
    let steps = [1, 2, 4, 8, 16].iter().sum::<u32>();
    let knocks = 5 + (3600 - 1 - steps) as usize / 30;
    assert_eq!(loops(&world, &client, 3600, unsent), 3 + knocks);
    world.clock.advance(S * 30);
    client.token().unwrap();
}

/// Four wrong secrets lock an eventhos client: it is tried twice, then refused here.
#[test]
fn a_day_with_a_wrong_secret_at_a_provider_that_locks_out_sends_two_requests() {
    let world = World::new();
    let client = world.client(&eventhos("canary-secret-wrong"));
    let wrong = || Act::Reply(401, vec![], br#"{"code": 401100}"#.into());
    assert_eq!(loops(&world, &client, 86_400, wrong), 2);
    let error = client.token().unwrap_err();
    assert!(error.to_string().contains("four of them lock the client"), "the recorded error: {error}");

    let sibling = client.with("param.x", Some("1")).unwrap();
    sibling.token().unwrap_err();
    assert_eq!(world.provider.count(), 2, "whatever else it asks for");

    world.provider.next_json(201, json!({"content": {"jwt_token": "canary-token-e"}}));
    world.client(&eventhos("canary-secret-right")).token().unwrap();
    client.token().unwrap_err();
    assert_eq!(world.provider.count(), 3, "another secret starts clean, and says nothing of this one");

    client.clear().unwrap();
    world.provider.next(wrong());
    client.token().unwrap_err();
    assert_eq!(world.provider.count(), 4, "cleared by hand");
}

#[test]
fn a_locked_credential_is_tried_again_after_a_day() {
    let world = World::new();
    let client = world.client(&eventhos("canary-secret-wrong"));
    for (passed, requests) in [(0, 1), (60, 2), (86_399, 2), (1, 3), (119, 3), (1, 4), (3600, 4)] {
        world.clock.advance(S * passed);
        world.provider.forget();
        world.provider.next(reply(401));
        let error = client.token().unwrap_err();
        assert_eq!(world.provider.count(), requests, "{passed} s later");
        if requests == 2 && passed == 60 {
            assert_eq!(error.retry_after(), Some(S * 86_400));
        }
    }
}

/// H-08.
#[test]
fn a_refusal_binds_its_own_key_and_a_wait_all_of_the_client() {
    for (status, others) in [(400, true), (500, true), (429, false)] {
        let world = World::new();
        let client = world.client(&oauth2());
        let sibling = client.with("scope", Some("more")).unwrap();
        let stranger = world.client(&oauth2().client_id("you"));
        world.provider.next(reply(status));
        world.provider.next(reply(status));
        client.token().unwrap_err();
        world.provider.forget();
        let requests = world.provider.count();
        assert_eq!(sibling.token().is_ok(), others, "{status}");
        assert_eq!(world.provider.count(), requests + usize::from(others), "{status}");
        stranger.token().unwrap();
        world.clock.advance(S * 60);
        sibling.token().unwrap();
        client.token().unwrap();
    }
}

/// H-07.
#[test]
fn a_corrected_secret_is_tried_at_once() {
    let file = TempFile::new("canary-secret-old");
    let world = World::new();
    let client = world.client(&oauth2().remove("client_secret").client_secret_file(file.path()));
    world.provider.next(reply(401));
    client.token().unwrap_err();
    client.token().unwrap_err();
    file.write("canary-secret-old\n");
    client.token().unwrap_err();
    assert_eq!(world.provider.count(), 1, "the same secret");
    file.remove();
    client.token().unwrap_err();
    file.write("canary-secret-new");
    client.token().unwrap();
    assert_eq!(world.provider.count(), 2);
    world.client(&oauth2().client_secret("canary-secret-2")).token().unwrap();
}

#[test]
fn a_mistake_of_the_host_s_own_needs_no_cool_down() {
    let file = TempFile::new("canary-secret-1");
    let world = World::new();
    let client = world.client(&oauth2().remove("client_secret").client_secret_file(file.path()));
    file.remove();
    let error = client.token().unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Config, None));
    file.write("canary-secret-1");
    client.token().unwrap();
}

#[test]
fn clear_ends_a_cool_down() {
    for status in [400, 429] {
        let world = World::new();
        let client = world.client(&oauth2());
        world.provider.next(reply(status));
        client.token().unwrap_err();
        client.clear().unwrap();
        client.token().unwrap();
    }
}

#[test]
fn after_a_failure_a_call_knocks_once() {
    let world = World::new();
    let client = world.client(&oauth2());
    (0..3).for_each(|_| world.provider.next(unsent()));
    client.token().unwrap_err();
    assert_eq!(world.provider.connections(), 3);
    world.clock.advance(S);
    world.provider.next(unsent());
    client.token().unwrap_err();
    assert_eq!(world.provider.connections(), 4);
}

/// A caller in a hurry is no reason to keep others waiting.
#[test]
fn a_call_that_ran_out_of_time_binds_none_that_has_more() {
    for act in [|| Act::RunOut, || Act::Late] {
        let world = World::new();
        let client = world.client(&oauth2());
        let hasty = client.with("timeout_ms", Some("500")).unwrap();
        world.provider.next(act());
        assert_eq!(hasty.token().unwrap_err().kind(), ErrorKind::Timeout);
        hasty.token().unwrap_err();
        assert_eq!(world.provider.connections(), 1);
        client.token().unwrap();
        assert_eq!(world.provider.connections(), 2);
    }
}

#[test]
fn a_request_whose_caller_ran_out_of_time_is_taken_over() {
    let world = World::new();
    let client = world.client(&oauth2());
    let hasty = client.with("timeout_ms", Some("500")).unwrap();
    world.provider.close();
    world.provider.next(Act::RunOut);
    let first = thread::spawn(move || hasty.token());
    world.provider.wait_for_arrival();
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            thread::spawn(move || client.token())
        })
        .collect();
    while world.clock.waiters() < 8 {
        thread::yield_now();
    }
    world.provider.open();
    match first.join().unwrap() {
        Ok(token) => assert_eq!(token.value(), "canary-token-1", "another was quick enough for it"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Timeout),
    }
    for waiter in waiting {
        assert_eq!(waiter.join().unwrap().unwrap().value(), "canary-token-1");
    }
    assert_eq!((world.provider.connections(), world.provider.count()), (2, 1));
}

#[test]
fn siblings_that_come_together_try_a_wrong_secret_no_more_often_than_one() {
    let world = World::new();
    let wrong = || Act::Reply(401, vec![], br#"{"code": 401100}"#.into());
    world.provider.always(wrong());
    let client = world.client(&eventhos("canary-secret-wrong"));
    let siblings: Vec<_> = (0..6).map(|n| client.with("param.x", Some(&n.to_string())).unwrap()).collect();
    thread::scope(|scope| {
        for sibling in &siblings {
            scope.spawn(|| sibling.token().unwrap_err());
        }
    });
    assert_eq!(world.provider.count(), 2);
}

/// What one key was told of another's failure ends with that failure.
#[test]
fn what_holds_for_all_ends_for_all() {
    for builder in [eventhos("canary-secret-wrong"), oauth2()] {
        let world = World::new();
        let client = world.client(&builder);
        let sibling = client.with("param.x", Some("1")).unwrap();
        for _ in 0..2 {
            world.provider.next(Act::Reply(429, vec![("retry-after", "3600".into())], vec![]));
            client.token().unwrap_err();
        }
        sibling.token().unwrap_err();
        assert_eq!(world.provider.count(), 1);
        client.clear().unwrap();
        world.provider.forget();
        world
            .provider
            .next_json(200, json!({"access_token": "canary-token-a", "content": {"jwt_token": "canary-token-a"}}));
        world
            .provider
            .next_json(200, json!({"access_token": "canary-token-b", "content": {"jwt_token": "canary-token-b"}}));
        client.token().unwrap();
        sibling.token().unwrap();
    }
}

#[test]
fn a_shorter_wait_does_not_end_a_longer_one() {
    let world = World::new();
    let client = world.client(&oauth2().timeout_ms("500"));
    let sibling = client.with("scope", Some("more")).unwrap();
    world.provider.close();
    for seconds in ["3600", "5"] {
        world.provider.next(Act::Reply(429, vec![("retry-after", seconds.into())], vec![]));
    }
    thread::scope(|scope| {
        scope.spawn(|| client.token().unwrap_err());
        scope.spawn(|| sibling.token().unwrap_err());
        while world.provider.count() < 2 {
            thread::yield_now();
        }
        world.provider.open();
    });
    world.clock.advance(S * 6);
    client.with("scope", Some("third")).unwrap().token().unwrap_err();
    assert_eq!(world.provider.count(), 2);
}

/// H-04, H-03: whatever fails in between.
#[test]
fn failures_of_another_sort_do_not_start_a_cool_down_anew() {
    let world = World::new();
    let client = world.client(&oauth2());
    let turn = std::cell::Cell::new(0);
    let mut requests = 0;
    for _ in 0..3600 {
        world.provider.forget();
        turn.set(turn.get() + 1);
        world.provider.next(if turn.get() % 2 == 0 { unsent() } else { reply(401) });
        client.token().unwrap_err();
        requests = world.provider.count();
        world.clock.advance(S);
    }
    assert!(requests <= 8, "{requests} refusals in an hour");
}
