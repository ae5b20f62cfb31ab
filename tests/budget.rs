//! A token budget, as callers meet it: what spends it, what gives it back, what is served when it is spent, and that
//! nothing refills it. A sibling world is another process. The numbers are those of the fault catalogue (H, F).
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use canary::Watched;
use serde_json::json;
use tokauth::seams::{Change, Clock, Deadline, Name, RetryClass, Store, Turn, failure};
use tokauth::{Builder, Client, Error, ErrorKind};
use world::{Act, NOW, S, SECRET, Shelf, World, oauth2};

const DAY: u32 = 86_400;
const HOUR: u32 = 3600;
/// 2026-12-01 00:00:00 UTC, ten days from now.
const DECEMBER: i64 = NOW as i64 + 10 * DAY as i64;

fn calenso() -> Builder {
    Client::builder().provider("calenso").client_id("me").client_secret(SECRET)
}

/// Of a provider that has no budget of its own.
fn budgeted(quota: &str) -> Builder {
    oauth2().set("quota", quota)
}

/// With a provider that tells the time, and whose tokens live a day.
fn worlds() -> (World, Shelf) {
    let shelf = Shelf::default();
    let mut world = World::with_store(shelf.clone());
    world.seams.random = numbered;
    let (clock, issued) = (world.clock.clone(), AtomicU64::new(1));
    world.provider.judges(move |_| {
        let number = issued.fetch_add(1, Ordering::SeqCst);
        let token =
            json!({"access_token": format!("canary-token-{number}"), "token_type": "Bearer", "expires_in": DAY});
        (200, vec![("date", date(clock.since_epoch()))], token.to_string().into())
    });
    (world, shelf)
}

/// No two requests have the same number; and no jitter.
fn numbered(bytes: &mut [u8]) -> Result<(), Error> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    bytes.fill(0);
    if let Some(number) = bytes.first_chunk_mut() {
        *number = NEXT.fetch_add(1, Ordering::SeqCst).to_le_bytes();
    }
    Ok(())
}

fn date(since_epoch: Duration) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + since_epoch)
}

fn value(client: &Watched) -> String {
    client.token().unwrap().value().to_owned()
}

/// How many requests are left, and when one is if there is none.
fn budget(client: &Watched) -> (u32, Option<i64>) {
    let allowance = canary::outcome(client.0.budget()).unwrap().unwrap();
    (allowance.requests, allowance.next_at)
}

/// Other processes take tokens for other audiences.
fn spend(world: &World, count: usize) {
    for number in 0..count {
        value(&world.sibling().client(&calenso().audience(format!("https://{number}.example"))));
    }
}

/// Another process, which wants a token for that audience and knows of two requests a month.
fn one_of_two(world: &World, audience: &str) -> Watched {
    world.sibling().client(&calenso().set("quota", "2/month").audience(format!("https://{audience}.example")))
}

/// Of a call that is refused, and sends nothing.
fn refused(world: &World, client: &Watched) -> Error {
    let before = world.provider.connections();
    let error = client.token().unwrap_err();
    assert_eq!(world.provider.connections(), before, "not even a connection");
    error
}

/// H-01.
#[test]
fn the_32nd_request_of_a_month_is_not_sent_and_the_last_token_is_served_to_its_end() {
    let (world, _) = worlds();
    spend(&world, 30);
    let client = world.client(&calenso());
    let last = value(&client);
    assert_eq!(budget(&client), (0, Some(DECEMBER)));
    world.clock.advance(S * (DAY - 3));
    assert_eq!(value(&client), last);
    assert_eq!(value(&world.sibling().client(&calenso())), last);
    world.clock.advance(S * 3);
    for client in [&client, &world.sibling().client(&calenso())] {
        let error = refused(&world, client);
        assert_eq!(error.kind(), ErrorKind::Quota);
        assert!(error.to_string().contains("2026-12-01T00:00:00Z"), "{error}");
        let wait = error.retry_after().unwrap().as_secs();
        assert!((9 * DAY as u64..9 * DAY as u64 + 200).contains(&wait), "{wait}");
    }
    assert_eq!(world.provider.connections(), 31);
    // After the wait that was told, there is one.
    world.clock.advance(refused(&world, &client).retry_after().unwrap());
    value(&client);
    assert_eq!(budget(&client), (30, None));
}

#[test]
fn what_is_left_is_told_at_each_stage() {
    let (world, _) = worlds();
    assert_eq!(world.client(&oauth2()).0.budget().unwrap(), None);
    assert_eq!(world.client(&calenso().set("quota", "none")).0.budget().unwrap(), None);
    let client = world.client(&calenso());
    assert_eq!(budget(&client), (31, None));
    value(&client);
    assert_eq!(budget(&client), (30, None));
    spend(&world, 29);
    assert_eq!(budget(&client), (1, None));
    world.clock.advance(S * DAY);
    value(&client);
    assert_eq!(budget(&client), (0, Some(DECEMBER)));
    assert_eq!(
        budget(&world.sibling().client(&calenso().audience("https://other.example"))),
        (0, Some(DECEMBER)),
        "for all"
    );
    assert_eq!(budget(&world.sibling().client(&calenso().client_id("you"))), (31, None), "of this client id");
}

/// H-12.
#[test]
fn without_a_budget_calenso_asks_freely_and_with_one_memory_is_no_store() {
    let (world, _) = worlds();
    let client = world.client(&calenso().set("quota", "none"));
    for _ in 0..40 {
        client.refresh().unwrap();
    }
    assert_eq!(world.provider.count(), 40);
    for builder in [calenso(), budgeted("3/day")] {
        let error = world.build(&builder.set("store", "memory")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("quota=none"), "{error}");
    }
}

/// H-10; C-07, C-24, C-25.
#[test]
fn an_ambiguous_failure_is_not_repeated_counts_and_holds_everybody_back_for_a_minute() {
    for act in [
        Act::Lose,
        Act::Late,
        Act::Reply(500, vec![], vec![]),
        Act::Reply(502, vec![], vec![]),
        Act::Reply(504, vec![], vec![]),
        Act::Reply(200, vec![], b"{\"access_tok".to_vec()),
        Act::Reply(200, vec![], b"{}".to_vec()),
    ] {
        let (world, _) = worlds();
        world.provider.next(act.clone());
        let client = world.client(&calenso());
        client.token().unwrap_err();
        assert_eq!((world.provider.count(), budget(&client).0), (1, 30), "{act:?}");
        for wait in [S * 59, Duration::from_millis(999)] {
            world.clock.advance(wait);
            for client in [&client, &world.sibling().client(&calenso())] {
                assert_ne!(refused(&world, client).kind(), ErrorKind::Quota, "{act:?}");
            }
        }
        world.clock.advance(S);
        value(&world.sibling().client(&calenso()));
        assert_eq!((world.provider.count(), budget(&client).0), (2, 29), "{act:?}");
    }
}

/// H-11: what certainly brought no token is given back.
#[test]
fn only_a_certain_refusal_gives_a_request_back() {
    let plain = |status| Act::Reply(status, vec![], vec![]);
    let later = |status| Act::Reply(status, vec![("retry-after", "100".to_owned())], vec![]);
    for (act, left) in [
        (plain(400), 31),
        (plain(401), 31),
        (plain(403), 31),
        (plain(404), 31),
        (plain(408), 31),
        (plain(425), 31),
        (plain(429), 31),
        (plain(302), 31),
        (later(429), 31),
        (later(503), 31),
        (Act::Unsent(ErrorKind::Network), 31),
        (Act::Unsent(ErrorKind::Tls), 31),
        (Act::RunOut, 31),
        (plain(500), 30),
        (plain(502), 30),
        (plain(503), 30),
        (plain(504), 30),
        (Act::Lose, 30),
        (Act::Late, 30),
        (Act::Reply(200, vec![], b"<html>".to_vec()), 30),
        (Act::Reply(200, vec![], b"{\"error\": \"x\"".to_vec()), 30),
        (Act::Panic, 30),
    ] {
        let (world, shelf) = worlds();
        world.provider.always(act.clone());
        let client = world.client(&calenso());
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| client.token().map(drop)));
        assert!(!matches!(outcome, Ok(Ok(()))), "{act:?}");
        assert_eq!(budget(&world.sibling().client(&calenso())).0, left, "{act:?}");
        let is_unsent = world.provider.count() == 0;
        let documents = shelf.documents.documents();
        assert_eq!(is_unsent, documents.iter().all(|(name, _)| !name.starts_with("ledger")), "{act:?}: not reserved");
    }
}

/// H-13.
#[test]
fn what_the_provider_says_is_left_is_believed_when_it_is_less() {
    for (header, left, next_at) in [
        ("b=per_hour;q=10;r=7;t=3540", 7, None),
        ("b=per_hour;q=100;r=99;t=3540", 30, None),
        ("b=per_hour;q=10;r=0;t=3540,b=per_day;q=50;r=47;t=43200", 0, Some(NOW as i64 + 3540)),
        ("nonsense", 30, None),
    ] {
        for name in ["auth0-client-quota-limit", "auth0-organization-quota-limit"] {
            let (world, _) = worlds();
            let headers = vec![(name, header.to_owned()), ("date", date(S * NOW as u32))];
            let body = json!({"access_token": "canary-token", "expires_in": DAY}).to_string();
            world.provider.next(Act::Reply(200, headers, body.into()));
            value(&world.client(&calenso()));
            let other = world.sibling().client(&calenso().audience("https://other.example"));
            assert_eq!(budget(&other), (left, next_at), "{name}: {header}");
            if next_at.is_some() {
                assert_eq!(refused(&world, &other).kind(), ErrorKind::Quota);
                world.clock.advance(S * 3542);
                value(&other);
            }
        }
    }
}

/// H-15.
#[test]
fn a_lowered_budget_counts_what_was_spent_before() {
    let (world, _) = worlds();
    spend(&world, 20);
    for (quota, left) in [("31/month", 11), ("21/month", 1), ("20/month", 0), ("5/month", 0)] {
        let client = world.sibling().client(&calenso().set("quota", quota));
        assert_eq!(budget(&client), (left, (left == 0).then_some(DECEMBER)), "{quota}");
    }
    assert_eq!(refused(&world, &world.client(&calenso().set("quota", "5/month"))).kind(), ErrorKind::Quota);
}

#[test]
fn several_windows_hold_at_once() {
    let (world, _) = worlds();
    let client = |scope: &str| world.sibling().client(&budgeted("2/hour,3/day").scope(scope));
    value(&client("a"));
    value(&client("b"));
    let error = refused(&world, &client("c"));
    assert_eq!((error.kind(), error.retry_after().unwrap().as_secs()), (ErrorKind::Quota, u64::from(HOUR) + 1));
    world.clock.advance(error.retry_after().unwrap());
    value(&client("c"));
    let error = refused(&world, &client("d"));
    let day = u64::from(DAY - HOUR);
    assert!((day - 2..day + 20).contains(&error.retry_after().unwrap().as_secs()), "{error:?}");
    world.clock.advance(error.retry_after().unwrap());
    value(&client("d"));
}

#[test]
fn a_caller_in_the_last_moments_waits_them_out_unless_its_deadline_is_nearer() {
    for is_fresh in [false, true] {
        let (world, _) = worlds();
        let client = world.client(&calenso());
        let old = value(&client);
        let began = world.clock.since_boot();
        world.clock.advance(S * DAY - Duration::from_millis(1500));
        let process = |builder: &Builder| if is_fresh { world.sibling() } else { world.clone() }.client(builder);
        assert_eq!(value(&process(&calenso().timeout_ms("1000"))), old, "as it is");
        assert_eq!(world.clock.since_boot() - began, S * DAY - Duration::from_millis(1500), "at once");
        assert_ne!(value(&process(&calenso())), old);
        assert_eq!(world.clock.since_boot() - began, S * DAY, "and none was asked for before");
        assert_eq!(world.provider.count(), 2);
    }
}

#[test]
fn no_token_is_asked_for_before_its_end_whatever_the_options_say() {
    for builder in [
        calenso().refresh_ahead("300"),
        calenso().refresh_ahead("40000"),
        calenso().min_valid_s("3600"),
        calenso().min_valid_s("40000").refresh_ahead("20000"),
    ] {
        let (world, _) = worlds();
        let client = world.client(&builder);
        let old = value(&client);
        for rest in [50_000, 36_000, 400, 30, 3] {
            let age = world.clock.since_boot() - S * 100_000;
            world.clock.advance(S * (DAY - rest) - age);
            for client in [&client, &world.sibling().client(&builder)] {
                assert_eq!(value(client), old, "{rest} s before the end");
            }
        }
        world.clock.advance(S * 3);
        assert_ne!(value(&client), old);
        assert_eq!(world.provider.count(), 2);
    }
}

#[test]
fn nothing_refills_a_budget() {
    let another = "canary-secret-another-0123456789";
    for (what, builder) in [
        ("a restart", calenso()),
        ("another secret", calenso().client_secret(another)),
        ("another audience", calenso().audience("https://new.example")),
        ("another parameter", calenso().param("x", "1")),
        ("another header", calenso().header("X-A", "1")),
        ("another life", calenso().max_ttl_s("1000")),
        ("another window of its own", calenso().set("quota", "31/month,31/31d")),
    ] {
        let (world, _) = worlds();
        spend(&world, 31);
        assert_eq!(refused(&world, &world.sibling().client(&builder)).kind(), ErrorKind::Quota, "{what}");
    }
    for (what, wall, boots) in [
        ("a wall clock 40 days ahead", NOW + 40 * u64::from(DAY), false),
        ("a wall clock 40 days back", NOW - 40 * u64::from(DAY), false),
        ("a wall clock of 1970", 0, false),
        ("a reboot", NOW + 60, true),
        ("a reboot to 40 days back", NOW - 40 * u64::from(DAY), true),
        ("a reboot to 1970", 0, true),
    ] {
        let (world, _) = worlds();
        spend(&world, 31);
        if boots {
            world.clock.set_boot(S * 30);
        }
        world.clock.set_wall(Duration::from_secs(wall));
        let client = world.sibling().client(&calenso());
        assert_eq!(refused(&world, &client).kind(), ErrorKind::Quota, "{what}");
        client.clear().unwrap();
        client.0.refresh().unwrap_err();
        assert_eq!(world.provider.connections(), 31, "{what}, and to clear all that is known");
    }
}

/// The only way to a request too many, and to one alone: the month is claimed, and nothing else can tell.
#[test]
fn after_a_reboot_a_month_that_only_the_wall_clock_claims_is_good_for_one_request() {
    let (world, _) = worlds();
    spend(&world, 31);
    world.clock.set_boot(S * 30);
    world.clock.set_wall(Duration::from_secs(NOW + 40 * u64::from(DAY)));
    let body = json!({"access_token": "canary-token-32", "expires_in": DAY}).to_string();
    world.provider.next(Act::Reply(200, vec![("date", date(S * NOW as u32))], body.into()));
    value(&world.sibling().client(&calenso()));
    for audience in ["https://a.example", "https://b.example"] {
        assert_eq!(refused(&world, &world.sibling().client(&calenso().audience(audience))).kind(), ErrorKind::Quota);
    }
    assert_eq!(world.provider.count(), 32);
}

#[test]
fn a_store_that_cannot_be_written_lets_nothing_leave_and_a_cached_token_live() {
    let (world, shelf) = worlds();
    let client = world.client(&calenso());
    let token = value(&client);
    shelf.break_it(true);
    assert_eq!(value(&client), token);
    assert_eq!(value(&world.sibling().client(&calenso())), token, "it can be read");
    for client in [
        &client.with("audience", Some("https://other.example")).unwrap(),
        &world.sibling().client(&calenso().audience("https://new.example")),
    ] {
        assert_eq!(refused(&world, client).kind(), ErrorKind::Store);
    }
    world.clock.advance(S * DAY);
    assert_eq!(refused(&world, &client).kind(), ErrorKind::Store);
    shelf.break_it(false);
    world.clock.advance(S); // in the pause it was not tried
    value(&client);
    assert_eq!(world.provider.count(), 2);
}

/// F-05, F-08.
#[test]
fn a_ledger_that_is_none_of_ours_stops_all_requests_and_stays_as_it_is() {
    for document in [&b"\x89PNG"[..], b"", b"tokauth ledger 2 something new\n", &[0; 4096], &[b'x'; 2 * 1024 * 1024]] {
        let (world, shelf) = worlds();
        let client = world.client(&calenso());
        let token = value(&client);
        let ledger = ledger_of(&shelf);
        shelf.put(&ledger, document);
        assert_eq!(value(&client), token);
        for client in [
            &world.client(&calenso().audience("https://a.example")),
            &world.sibling().client(&calenso().audience("https://b.example")),
        ] {
            let error = refused(&world, client);
            assert_eq!(error.kind(), ErrorKind::Store);
            assert!(error.to_string().contains(&ledger), "{error}");
            assert_eq!(client.0.budget().unwrap_err().kind(), ErrorKind::Store);
        }
        let documents = shelf.documents.documents();
        assert_eq!(documents.iter().find(|(name, _)| *name == ledger).unwrap().1, document, "untouched");
        assert!(shelf.documents.aside().is_empty());
    }
}

fn ledger_of(shelf: &Shelf) -> String {
    let names = shelf.documents.documents().into_iter().map(|(name, _)| name);
    names.into_iter().find(|name| name.starts_with("ledger")).unwrap()
}

/// F-24: a copy from before stands for a ledger that was deleted: both know less than was spent.
#[test]
fn a_process_counts_what_it_spent_itself_whatever_became_of_the_ledger() {
    let (world, shelf) = worlds();
    value(&world.client(&calenso()));
    let ledger = ledger_of(&shelf);
    let copy = shelf.documents.documents().into_iter().find(|(name, _)| *name == ledger).unwrap().1;
    for number in 0..30 {
        value(&world.client(&calenso().audience(format!("https://s{number}.example"))));
    }
    shelf.put(&ledger, &copy);
    let client = world.client(&calenso().audience("https://another.example"));
    assert_eq!(budget(&client).0, 0);
    assert_eq!(refused(&world, &client).kind(), ErrorKind::Quota);
    assert_eq!(budget(&world.sibling().client(&calenso())).0, 30, "another process knows no better");
}

/// F-24: nobody else knows what a process spent, until it comes by.
#[test]
fn a_process_that_only_takes_a_token_from_the_store_puts_back_what_it_spent() {
    let (world, shelf) = worlds();
    value(&world.client(&calenso()));
    let ledger = ledger_of(&shelf);
    let copy = shelf.documents.documents().into_iter().find(|(name, _)| *name == ledger).unwrap().1;
    let (one, other) = (world.sibling(), world.sibling());
    for (process, count) in [(&one, 20), (&other, 9)] {
        for number in 0..count {
            value(&process.client(&calenso().audience(format!("https://{count}-{number}.example"))));
        }
    }
    shelf.put(&ledger, &copy);
    let audience = |name: &str| calenso().audience(format!("https://{name}.example"));
    assert_eq!(budget(&one.client(&audience("last"))).0, 10, "it knows no better");
    let last = value(&one.client(&audience("last")));
    assert_eq!(value(&other.client(&audience("last"))), last);
    assert_eq!(budget(&one.client(&audience("another"))).0, 0);
    assert_eq!(refused(&world, &one.client(&audience("another"))).kind(), ErrorKind::Quota);
}

/// H-09, with tokens that live a day each: their month is shorter by what rejections took of it.
#[test]
fn an_api_that_rejects_everything_leaves_26_days_of_31() {
    for is_one in [true, false] {
        let (world, _) = worlds();
        world.clock.advance(S * (10 * DAY));
        let (first, mut hours) = (world.client(&calenso()), 0);
        loop {
            let client = if is_one { first.clone() } else { world.sibling().client(&calenso()) };
            let Ok(token) = client.token() else { break };
            client.invalidate(&token).unwrap();
            hours += 6;
            world.clock.advance(S * (6 * HOUR));
        }
        assert_eq!(world.provider.count(), 31);
        assert!(hours >= 26 * 24, "one process: {is_one}: {hours}");
        assert_eq!(refused(&world, &first).kind(), ErrorKind::Quota);
    }
}

/// H-09, with tokens that live a month, so that only rejections bring requests.
#[test]
fn at_most_five_requests_of_a_month_go_to_rejections() {
    for is_one in [true, false] {
        let (world, _) = worlds();
        let clock = world.clock.clone();
        let issued = AtomicU64::new(1);
        world.provider.judges(move |_| {
            let number = issued.fetch_add(1, Ordering::SeqCst);
            let token = json!({"access_token": format!("canary-token-{number}"), "expires_in": 31 * DAY});
            (200, vec![("date", date(clock.since_epoch()))], token.to_string().into())
        });
        world.clock.advance(S * (10 * DAY));
        let first = world.client(&calenso());
        value(&first);
        let mut when = Vec::new();
        for hour in (0..30 * 24).step_by(6) {
            let client = if is_one { first.clone() } else { world.sibling().client(&calenso()) };
            let token = client.token().unwrap();
            client.invalidate(&token).unwrap();
            if client.token().unwrap().value() != token.value() {
                when.push(hour);
            }
            world.clock.advance(S * (6 * HOUR));
        }
        assert_eq!(when, [0, 24, 72, 168, 360], "one process: {is_one}");
        assert_eq!(world.provider.count(), 6);
    }
}

/// On the first of December, with 31 requests for 31 days; and as soon as one is lost.
#[test]
fn the_log_warns_once_what_is_left_will_not_last() {
    let (world, _) = worlds();
    world.clock.advance(S * (10 * DAY));
    let client = world.client(&calenso());
    value(&client);
    world.clock.advance(S * DAY);
    value(&client);
    assert!(world.lines.all().contains("the budget has 29 requests left\n"), "{}", world.lines.all());
    assert!(!world.lines.all().contains("are to last"), "{}", world.lines.all());
    world.clock.advance(S * DAY);
    world.provider.next(Act::Lose);
    client.token().unwrap_err();
    world.clock.advance(S * 60);
    value(&client);
    let warning = "the budget has 27 requests left, and tokens of 86400 s are to last for ";
    assert!(world.lines.all().contains(warning), "{}", world.lines.all());
}

/// The ledger's time runs late by a ten thousandth, and the month that it waits for may have begun.
#[test]
fn a_caller_waits_for_the_turn_of_a_month_that_is_a_moment_away() {
    for is_last in [false, true] {
        let (world, _) = worlds();
        world.clock.advance(S * (9 * DAY) + S * 5);
        let client = world.client(&calenso().set("quota", "1/month"));
        let old = value(&client);
        world.clock.advance(S * DAY);
        if is_last {
            world.clock.advance(S * 3);
        }
        assert_ne!(value(&client), old);
        assert!(world.clock.since_epoch() < Duration::from_secs(DECEMBER as u64) + S * 10);
    }
}

/// Nobody knows when the provider counted it, but that it was later than the ledger's time.
#[test]
fn a_request_whose_reply_tells_no_time_counts_in_the_month_that_began_meanwhile() {
    let (world, _) = worlds();
    let client = |audience| one_of_two(&world, audience);
    world.clock.advance(S * (9 * DAY));
    value(&client("a"));
    world.clock.advance(S * DAY + S * 3);
    world.provider.next_json(200, json!({"access_token": "canary-token-undated", "expires_in": DAY}));
    value(&client("b")); // the third second of December, and 23:59:54 by the ledger
    world.clock.advance(S * HOUR);
    value(&client("c"));
    assert_eq!(refused(&world, &client("d")).kind(), ErrorKind::Quota, "two of December are spent");
}

/// The same after a reboot, with a wall clock that is late.
#[test]
fn a_request_that_was_lost_while_only_a_late_clock_told_the_time_counts_when_it_may_have_been_sent() {
    let (world, _) = worlds();
    let client = |audience| one_of_two(&world, audience);
    world.clock.advance(S * (9 * DAY));
    value(&client("a"));
    world.clock.advance(S * DAY + S * 600);
    world.clock.set_boot(S * 30);
    world.clock.set_wall(Duration::from_secs(DECEMBER as u64) - S * 1800);
    world.provider.next(Act::Lose);
    client("b").token().unwrap_err();
    world.clock.advance(S * 60);
    let body = json!({"access_token": "canary-token-dated", "expires_in": DAY}).to_string();
    let december = Duration::from_secs(DECEMBER as u64) + S * 660;
    world.provider.next(Act::Reply(200, vec![("date", date(december))], body.into()));
    value(&world.sibling().client(&calenso().set("quota", "31/month").audience("https://c.example")));
    assert_eq!(refused(&world, &client("d")).kind(), ErrorKind::Quota, "two of December are spent");
}

#[test]
fn what_no_window_needs_is_forgotten_by_a_process_that_lives_for_years_too() {
    let (world, shelf) = worlds();
    let client = world.client(&calenso());
    for _ in 0..300 {
        value(&client);
        world.clock.advance(S * (DAY + 10));
    }
    let ledger = ledger_of(&shelf);
    let document = shelf.documents.documents().into_iter().find(|(name, _)| *name == ledger).unwrap().1;
    let lines = document.iter().filter(|byte| **byte == b'\n').count();
    assert!(lines < 100, "{lines}");
}

/// In its own process and in others.
#[test]
fn a_client_with_a_short_window_forgets_nothing_that_a_month_of_the_same_client_id_needs() {
    for apart in [false, true] {
        let (world, _) = worlds();
        let client = |quota: &str, audience: &str| {
            let process = if apart { world.sibling() } else { world.clone() };
            process.client(&calenso().set("quota", quota).audience(format!("https://{audience}.example")))
        };
        for audience in ["a", "b", "c"] {
            value(&client("5/month", audience));
        }
        world.clock.advance(S * HOUR);
        value(&client("10/1s", "d"));
        for process in [&world, &world.sibling()] {
            let month = process.client(&calenso().set("quota", "5/month").audience("https://e.example"));
            assert_eq!(budget(&month).0, 1, "apart {apart}");
        }
    }
}

/// After quiet days the ledger's time is late.
#[test]
fn a_request_lost_at_the_turn_of_a_month_counts_in_the_one_it_was_sent_in() {
    for quiet in [1, 6, 9, 10] {
        let (world, _) = worlds();
        let client = |name: &str| {
            world.sibling().client(&calenso().quota("2/month").audience(format!("https://{name}.example")))
        };
        world.clock.advance(S * ((10 - quiet) * DAY));
        value(&client("a"));
        world.clock.advance(Duration::from_secs(DECEMBER as u64 + 20) - world.clock.since_epoch());
        world.provider.next(Act::Lose);
        client("b").token().unwrap_err();
        world.clock.advance(S * HOUR);
        let sent = (0..4).filter(|name| client(&name.to_string()).token().is_ok()).count();
        assert_eq!(sent, 1, "after {quiet} quiet days");
    }
}

/// A wall clock that stays 40 days ahead is believed once, however often the machine boots.
#[test]
fn a_claim_that_a_reply_refuted_is_not_believed_after_the_next_boots() {
    let (world, _) = worlds();
    let now = std::sync::Arc::new(AtomicU64::new(NOW));
    let (provider_s, issued) = (now.clone(), AtomicU64::new(1));
    world.provider.judges(move |_| {
        let number = issued.fetch_add(1, Ordering::SeqCst);
        let token = json!({"access_token": format!("canary-token-{number}"), "expires_in": 600});
        (200, vec![("date", date(Duration::from_secs(provider_s.load(Ordering::SeqCst))))], token.to_string().into())
    });
    spend(&world, 31);
    for day in 1..=8 {
        now.store(NOW + day * 90_000, Ordering::SeqCst);
        world.clock.set_boot(S * 30);
        world.clock.set_wall(Duration::from_secs(NOW + day * 90_000) + S * (40 * DAY));
        let _ = world.sibling().client(&calenso()).token(); // a token or not: the count tells
    }
    assert_eq!(world.provider.count(), 32);
}

#[test]
fn a_request_lost_while_the_clock_was_years_ahead_counts_until_the_next_reply_tells_the_time() {
    let (world, _) = worlds();
    world.clock.set_wall(Duration::from_secs(NOW) + S * (3650 * DAY));
    world.provider.next(Act::Lose);
    let client = world.client(&calenso());
    client.token().unwrap_err();
    world.clock.set_wall(Duration::from_secs(NOW + 100));
    world.clock.advance(S * 100);
    value(&client);
    world.clock.advance(S * (70 * DAY));
    assert_eq!(budget(&client), (31, None));
}

/// By its last lives a brake has been closed longer than any boot lasted.
#[test]
fn the_brake_forgets_after_a_month_though_the_machine_rebooted() {
    let (world, _) = worlds();
    for turn in 0..8 {
        for (hours, is_replaced) in [(0, true), (1, false)] {
            world.clock.set_boot(S * 600);
            world.clock.set_wall(Duration::from_secs(NOW + turn * 40 * 86_400 + hours * 3600));
            let client = world.sibling().client(&calenso());
            let token = client.token().unwrap();
            client.invalidate(&token).unwrap();
            assert_eq!(value(&client) != token.value(), is_replaced, "turn {turn}, {hours} h");
        }
    }
}

#[test]
fn the_last_token_of_a_budget_serves_to_its_end() {
    for again in [false, true] {
        let (world, _) = worlds();
        let client = world.client(&calenso().quota("1/month"));
        let token = value(&client);
        world.clock.advance(S * DAY - Duration::from_millis(1500));
        let client = if again { world.sibling().client(&calenso().quota("1/month")) } else { client };
        assert_eq!(value(&client), token, "another process: {again}");
        world.clock.advance(Duration::from_millis(1500));
        assert_eq!(client.token().unwrap_err().kind(), ErrorKind::Quota);
    }
}

/// Its answer would come too late for anybody.
#[test]
fn no_request_that_counts_is_begun_in_the_last_moments_of_a_call() {
    let (world, _) = worlds();
    *world.provider.connect_time.lock().unwrap() = Duration::from_millis(9990);
    let client = world.client(&calenso());
    let error = client.token().unwrap_err();
    assert_eq!((error.kind(), budget(&client)), (ErrorKind::Timeout, (31, None)), "{error}");
    // Nor is the end of a token waited for, if nothing could be asked then.
    *world.provider.connect_time.lock().unwrap() = Duration::ZERO;
    world.clock.advance(S);
    let client = world.client(&calenso().timeout_ms("1600"));
    let token = value(&client);
    world.clock.advance(S * DAY - Duration::from_millis(1500));
    assert_eq!(value(&client), token);
}

/// A disk that is full where the ledger is.
#[derive(Clone, Debug, Default)]
struct Full(Shelf, std::sync::Arc<AtomicU64>);

impl Store for Full {
    fn load(&self, name: &Name) -> Result<Option<Vec<u8>>, Error> {
        self.0.load(name)
    }

    fn change(
        &self,
        name: &Name,
        deadline: &Deadline,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), Error> {
        if name.as_str().starts_with("ledger") {
            self.1.fetch_add(1, Ordering::SeqCst);
            return Err(failure(ErrorKind::Store, RetryClass::NotSent));
        }
        self.0.change(name, deadline, change)
    }

    fn turn(&self, name: &Name, deadline: &Deadline) -> Result<Box<dyn Turn>, Error> {
        self.0.turn(name, deadline)
    }
}

#[test]
fn a_ledger_that_cannot_be_written_is_tried_once_a_pause() {
    let full = Full::default();
    let world = World::with_store(full.clone());
    for _ in 0..50 {
        let error = world.sibling().client(&calenso()).token().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Store);
    }
    assert_eq!(full.1.load(Ordering::SeqCst), 1, "it is reached over a connection to the provider");
}

#[test]
fn what_the_provider_said_is_left_goes_down_by_one_a_request() {
    let (world, _) = worlds();
    let client = world.client(&calenso().quota("10/minute"));
    let refresh = |left: Option<u32>| {
        let told = left.map(|left| ("auth0-client-quota-limit", format!("b=per_day;q=50;r={left};t=80000")));
        let headers = told.into_iter().chain([("date", date(world.clock.since_epoch()))]).collect();
        let token = json!({"access_token": format!("canary-token-{:?}", world.clock.since_boot()), "expires_in": DAY});
        world.provider.next(Act::Reply(200, headers, token.to_string().into()));
        client.refresh().unwrap();
        world.clock.advance(S * 300);
        budget(&client).0
    };
    for _ in 0..8 {
        refresh(None);
    }
    assert_eq!([refresh(Some(6)), refresh(None), refresh(None)], [6, 5, 4]);
}

#[test]
fn an_endpoint_has_one_budget_however_it_is_written() {
    let (world, _) = worlds();
    for (url, count) in [
        ("https://auth.example/token", 1),
        ("https://AUTH.example/token", 1),
        ("https://auth.example:443/token", 1),
        ("https://auth.example:8443/token", 2),
        ("https://auth.example/Token", 3),
    ] {
        let _ = world.sibling().client(&budgeted("1/month").token_url(url)).token(); // the count tells
        assert_eq!(world.provider.count(), count, "{url}");
    }
}
