//! Which clock is believed for what: the host's, which may be wrong, step and sleep, and the provider's, which its
//! replies tell. On virtual time. The numbers are those of the fault catalogue (E).
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod world;

use std::thread;
use std::time::Duration;

use canary::Watched;
use serde_json::json;
use tokauth::{Builder, Client, ErrorKind};
use world::{NOW, S, World, oauth2};

fn value(client: &Watched) -> String {
    client.token().unwrap().value().to_owned()
}

fn authvia() -> Builder {
    Client::builder().provider("authvia").client_id("client-id-123").client_secret("canary-secret-authvia")
}

/// As a server writes it.
fn http_date(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][(days % 7) as usize];
    let (mut year, mut day) = (1970, days);
    let length = |year: u64| 365 + u64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
    while day >= length(year) {
        day -= length(year);
        year += 1;
    }
    let february = length(year) - 337;
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut month = 0;
    while day >= months[month] {
        day -= months[month];
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{weekday}, {:02} {} {year} {hour:02}:{minute:02}:{second:02} GMT", day + 1, names[month])
}

/// How the provider's clock and what it tells of it differ from the truth, in seconds.
#[derive(Clone, Copy)]
struct Theirs {
    date: Option<i64>,
    bound: u64,
}

/// Authvia, which takes no signature that is more than five seconds off.
fn bears(world: &World, theirs: Theirs) {
    let clock = world.clock.clone();
    world.provider.judges(move |request| {
        // The provider's clock is the true one: it runs with the boot clock, whatever the wall clock here says.
        let now = NOW + (tokauth::seams::Clock::since_boot(&*clock) - S * 100_000).as_secs();
        let signed = request.json()["timestamp"].as_u64().unwrap();
        let date = theirs.date.map(|off| ("date", http_date(now.saturating_add_signed(off))));
        let headers: Vec<_> = date.into_iter().collect();
        if signed.abs_diff(now) > theirs.bound {
            return (401, headers, json!({"error": "unauthorized"}).to_string().into());
        }
        (201, headers, json!({"type": "Bearer", "token": format!("canary-token-at-{now}")}).to_string().into())
    });
}

const SOUND: Theirs = Theirs { date: Some(0), bound: 5 };

/// E-11: whatever this machine's clock says, two requests bring a token, and from then on one does.
#[test]
fn a_signer_with_a_wrong_clock_asks_at_most_twice() {
    let offsets = (-86_400..=86_400_i64).step_by(479).chain(-12..=12).chain([-40 * 86_400, 40 * 86_400]);
    for offset in offsets {
        for (connect, reply) in [(0, 0), (7, 0), (0, 1), (1, 2)] {
            let world = World::new();
            bears(&world, SOUND);
            world.clock.set_wall(Duration::from_secs(NOW.saturating_add_signed(offset)));
            *world.provider.connect_time.lock().unwrap() = S * connect;
            *world.provider.reply_time.lock().unwrap() = S * reply;
            let client = world.client(&authvia().timeout_ms("60000"));
            value(&client);
            assert!(world.provider.count() <= 2, "{offset} s off: {} requests", world.provider.count());
            assert_eq!(world.provider.count() == 1, offset.abs() <= 5, "{offset} s off");
            let before = world.provider.count();
            world.clock.advance(S * 1000);
            client.refresh().unwrap();
            assert_eq!(world.provider.count(), before + 1, "{offset} s off: it is known by now");
        }
    }
}

/// E-12.
#[test]
fn a_signed_request_is_signed_when_the_connection_stands() {
    let world = World::new();
    bears(&world, SOUND);
    *world.provider.connect_time.lock().unwrap() = S * 7;
    value(&world.client(&authvia()));
    assert_eq!(world.provider.last().json()["timestamp"], NOW + 7);
    assert_eq!(world.provider.count(), 1);
}

#[test]
fn each_attempt_is_signed_anew() {
    let mut world = World::new();
    world.seams.random = tokauth::seams::Seams::system().unwrap().random;
    bears(&world, SOUND);
    world.clock.set_wall(S * (NOW as u32 + 3600));
    value(&world.client(&authvia()));
    let requests = world.provider.requests.lock().unwrap();
    let [first, second] = [0, 1].map(|index| requests[index].json());
    for member in ["timestamp", "signature", "signature_value"] {
        assert_ne!(first[member], second[member]);
    }
}

/// E-13.
#[test]
fn without_a_date_nothing_is_corrected_and_the_error_names_the_clock() {
    let world = World::new();
    bears(&world, Theirs { date: None, ..SOUND });
    world.clock.set_wall(S * (NOW as u32 + 3600));
    let error = world.client(&authvia()).token().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("this machine's clock says 2026-11-21T01:00:00Z"), "{error}");
    assert_eq!(world.provider.count(), 1);
}

/// E-14: an hour of Date is a cache's on the way, and the secret is wrong.
#[test]
fn a_correction_that_does_not_help_is_dropped() {
    let world = World::new();
    bears(&world, Theirs { date: Some(-3600), bound: 0 });
    world.clock.advance(S / 2); // whatever is signed now is out of bounds
    world.provider.judges(|_| (401, vec![("date", http_date(NOW - 3600))], vec![]));
    let client = world.client(&authvia());
    assert_eq!(client.token().unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(world.provider.count(), 2);
    for (passed, requests) in [(59, 2), (1, 3), (120, 4)] {
        world.clock.advance(S * passed);
        client.token().unwrap_err();
        assert_eq!(world.provider.count(), requests, "{passed} s later");
        let signed = world.provider.last().json()["timestamp"].as_u64().unwrap();
        assert!(requests == 2 || signed.abs_diff(NOW) < 300, "signed by this machine's clock again");
    }
}

/// The same cache, and all is well otherwise.
#[test]
fn a_date_that_a_good_signature_disproves_is_not_believed() {
    let world = World::new();
    bears(&world, Theirs { date: Some(-3600), ..SOUND });
    let client = world.client(&authvia());
    for requests in 1..=5 {
        client.refresh().unwrap();
        assert_eq!(world.provider.count(), requests);
        world.clock.advance(S * 600);
    }
}

/// E-14: the same cache, in front of an outage first.
#[test]
fn a_wrong_date_on_a_failure_does_not_shut_a_healthy_signer_out() {
    let world = World::new();
    bears(&world, Theirs { date: Some(3600), ..SOUND });
    let client = world.client(&authvia());
    for _ in 0..2 {
        world.provider.next(world::Act::Reply(500, vec![("date", http_date(NOW + 3600))], vec![]));
    }
    client.token().unwrap_err();
    world.clock.advance(S * 5);
    client.token().unwrap_err(); // signed by what Date told
    world.clock.advance(S * 60);
    value(&client);
}

/// E-14: a refusal whose Date agrees with the signature was about something else.
#[test]
fn a_refusal_at_the_right_time_is_a_refusal() {
    let world = World::new();
    world.provider.judges(|_| (401, vec![("date", http_date(NOW))], vec![]));
    let client = world.client(&authvia());
    client.token().unwrap_err();
    assert_eq!(world.provider.count(), 1);
}

/// E-15.
#[test]
fn what_was_learnt_of_a_clock_is_forgotten_in_half_a_day() {
    for (hours, requests) in [(12, 1), (13, 2)] {
        let world = World::new();
        bears(&world, SOUND);
        world.clock.set_wall(S * (NOW as u32 + 3600));
        let client = world.client(&authvia());
        value(&client);
        let before = world.provider.count();
        world.clock.advance(S * 3600 * hours - S);
        client.refresh().unwrap();
        assert_eq!(world.provider.count() - before, requests, "after {hours} hours");
    }
}

/// D-15: an end by the provider's clock counts by the provider's clock.
#[test]
fn absolute_ends_are_corrected_by_the_date_of_the_reply() {
    for offset in [-86_400 * 40_i64, -3600, 0, 3600, 86_400 * 40] {
        for body in [
            json!({"token": "canary-token-absolute", "type": "Bearer", "expiration": NOW + 600}),
            json!({"token": jwt(NOW + 600), "type": "Bearer"}),
        ] {
            let world = World::new();
            world.clock.set_wall(Duration::from_secs(NOW.saturating_add_signed(offset)));
            let provider = json!({
                "name": "own", "about": "absolute", "token_url": "https://auth.example/token",
                "request": {"auth": ["post"], "body": "form", "fields": {"grant_type": "client_credentials"}},
                "response": {"token": "/token", "expiry": {"at": "/expiration", "unit": "epoch"}},
                "api": {"headers": {"Authorization": "Bearer {token}"}}
            });
            let file = std::env::temp_dir().join(format!("tokauth-clocks-{}-{offset}.json", std::process::id()));
            std::fs::write(&file, provider.to_string()).unwrap();
            let own = Client::builder()
                .provider_file(file.to_str().unwrap())
                .client_id("me")
                .client_secret("canary-secret-1")
                .refresh_ahead("off");
            let client = world.client(&own);
            std::fs::remove_file(&file).unwrap();
            world.provider.next(world::Act::Reply(200, vec![("date", http_date(NOW))], body.to_string().into()));
            client.token().unwrap();
            world.clock.advance(S * 588);
            client.token().unwrap();
            assert_eq!(world.provider.count(), 1, "{offset} s off: ten seconds before the end, and a half for Date");
            world.clock.advance(S * 2);
            client.token().unwrap();
            assert_eq!(world.provider.count(), 2, "{offset} s off");
        }
    }
}

fn jwt(exp: u64) -> String {
    use base64::Engine;
    let part = |json: serde_json::Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}.canary-token", part(json!({"alg": "none"})), part(json!({"exp": exp})))
}

/// E-01: a step costs no request and prolongs no token, while a token is there and while it is renewed.
#[test]
fn steps_of_the_wall_clock_change_nothing() {
    let wall = |seconds: i64| Duration::from_secs(NOW.saturating_add_signed(seconds));
    for step in [365 * 86_400, 40 * 86_400, -40 * 86_400, -(NOW as i64)] {
        let world = World::new();
        let client = world.client(&oauth2().refresh_ahead("off"));
        assert_eq!(value(&client), "canary-token-1");
        world.clock.set_wall(wall(step));
        world.clock.advance(S * 3589);
        assert_eq!(value(&client), "canary-token-1");
        world.clock.advance(S);
        assert_eq!(value(&client), "canary-token-2");
        world.clock.set_wall(wall(0));
        world.clock.advance(S * 3589);
        assert_eq!(value(&client), "canary-token-2");
        world.clock.advance(S);
        assert_eq!(value(&client), "canary-token-3");
    }
}

/// E-02: the clock that a token ages by counts suspend.
#[test]
fn a_token_that_died_in_suspend_is_not_served() {
    let world = World::new();
    let client = world.client(&oauth2());
    assert_eq!(value(&client), "canary-token-1");
    world.clock.advance(S * 7200);
    assert_eq!(client.generation(), 0);
    assert_eq!(value(&client), "canary-token-2");
}

/// E-03.
#[test]
fn at_the_instant_of_expiry_fifty_threads_send_one_request() {
    let world = World::new();
    let client = world.client(&oauth2());
    value(&client);
    world.clock.advance(S * 3590);
    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| assert_eq!(value(&client), "canary-token-2"));
        }
    });
    assert_eq!(world.provider.count(), 2);
}

/// E-05.
#[test]
fn whoever_waits_while_the_token_expires_gets_the_new_one_or_the_error() {
    for fails in [false, true] {
        let world = World::new();
        let client = world.client(&oauth2().refresh_ahead("off"));
        value(&client);
        world.clock.advance(S * 3591);
        if fails {
            world.provider.lose();
        }
        *world.provider.reply_time.lock().unwrap() = S * 9;
        let outcome = client.token();
        match fails {
            true => assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Network),
            false => assert_eq!(outcome.unwrap().value(), "canary-token-2"),
        }
    }
}

/// E-06.
#[test]
fn a_token_that_took_longer_than_it_lives_is_handed_out_for_a_second() {
    let world = World::new();
    let client = world.client(&oauth2());
    *world.provider.reply_time.lock().unwrap() = S * 8;
    world.provider.next_json(200, json!({"access_token": "canary-token-slow", "expires_in": 5}));
    assert_eq!(value(&client), "canary-token-slow");
    assert_eq!(value(&client), "canary-token-slow");
    world.clock.advance(S);
    assert_eq!(value(&client), "canary-token-2");
}

/// E-16, E19: short tokens are reused for part of their life, and no life makes more than a request a second.
#[test]
fn short_tokens_are_reused_and_never_fetched_in_a_loop() {
    for (life, requests) in [(json!(0.001), 60), (json!(1), 60), (json!(5), 15), (json!(60), 2)] {
        let world = World::new();
        let client = world.client(&oauth2());
        let told = life.clone();
        world.provider.judges(move |_| {
            (200, vec![], json!({"access_token": "canary-token-short", "expires_in": told}).to_string().into())
        });
        for _ in 0..6000 {
            client.token().unwrap();
            world.clock.advance(S / 100);
        }
        assert_eq!(world.provider.count(), requests, "a life of {life} s, for a minute");
    }
}

/// One nanosecond before the boundary, at it, and after: who gets the old token and who renews it.
#[test]
fn each_boundary_is_where_it_is_said_to_be() {
    let ns = Duration::from_nanos(1);
    let auto = oauth2().refresh_ahead("off");
    for (what, builder, life, boundary) in [
        ("the margin of ten seconds", auto.clone(), 3600, S * 3590),
        ("a tenth of a short life", auto.clone(), 60, S * 54),
        ("the margin that the host wants", auto.clone().min_valid_s("600"), 3600, S * 3000),
        ("no margin", auto.clone().min_valid_s("0"), 3600, S * 3600),
        ("half the life at most", auto.clone().min_valid_s("600"), 60, S * 30),
        ("a second for a token without life", auto, 0, S),
        ("a tenth of the life ahead of that", oauth2(), 1000, S * 890),
        ("five minutes ahead at most", oauth2(), 36_000, S * (36_000 - 310)),
        ("ahead as the host wants", oauth2().refresh_ahead("60"), 3600, S * 3530),
        ("half the life ahead at most", oauth2().refresh_ahead("60"), 100, S * 40),
    ] {
        for (at, requests) in [(boundary - ns, 1), (boundary, 2), (boundary + ns, 2)] {
            let world = World::new();
            let client = world.client(&builder);
            world.provider.next_json(200, json!({"access_token": "canary-token-short", "expires_in": life}));
            client.token().unwrap();
            world.clock.advance(at);
            assert_eq!(client.generation() == 0, requests == 2, "{what}, at {at:?}");
            client.token().unwrap();
            assert_eq!(world.provider.count(), requests, "{what}, at {at:?}");
        }
    }
}
