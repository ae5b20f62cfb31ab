//! What a rejected token brings about: one new one at once, then ever more seldom. On virtual time. The numbers are
//! those of the quirks (F) and of the fault catalogue (H).
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod world;

use std::sync::Barrier;
use std::thread;

use canary::Watched;
use tokauth::LogLevel;
use world::{S, World, oauth2};

fn value(client: &Watched) -> String {
    client.token().unwrap().value().to_owned()
}

/// Gets a token and rejects it, and returns how many requests have been sent by then.
fn reject(world: &World, client: &Watched) -> usize {
    let token = client.token().unwrap();
    client.invalidate(&token).unwrap();
    value(client);
    world.provider.count()
}

/// F15, F16, F17, D-21, H-06: tokens die early, come again, and are rejected late.
#[test]
fn invalidate_drops_the_token_only_if_it_is_still_the_cached_one() {
    let world = World::new();
    let client = world.client(&oauth2());
    let first = client.token().unwrap();
    client.invalidate(&first).unwrap();
    assert_eq!(value(&client), "canary-token-2");
    client.invalidate(&first).unwrap();
    assert_eq!(value(&client), "canary-token-2", "a late 401 for an old token");
    world.clock.advance(S * 30); // the brake
    world.provider.next_json(200, serde_json::json!({"access_token": "canary-token-2", "expires_in": 3600}));
    let cached = client.token().unwrap();
    client.refresh().unwrap(); // brings the same token again, as some providers do
    client.invalidate(&cached).unwrap();
    client.cached().expect_err("the same token by its value");
    assert_eq!(world.provider.count(), 3);
}

#[test]
fn a_rejected_token_is_told_with_what_to_look_at() {
    let world = World::new();
    let client = world.client(&oauth2());
    let first = client.token().unwrap();
    world.clock.advance(S * 10);
    client.invalidate(&first).unwrap();
    client.invalidate(&first).unwrap();
    assert_eq!(
        world.lines.at(LogLevel::Warning),
        ["oauth2: the API rejected a token with 3590 s left; if it rejects the next one too, check that it is the \
          API that the token is for (scope, audience, resource), and that it gets Authorization unchanged"]
    );
}

/// H-09: an API that rejects every token gets the next one after 30 s, then after twice as long each time.
#[test]
fn an_api_that_rejects_every_token_gets_new_ones_ever_more_seldom() {
    let world = World::new();
    let client = world.client(&oauth2());
    let mut replaced = Vec::new();
    for second in 0..4000 {
        let before = world.provider.count();
        if reject(&world, &client) > before.max(1) {
            replaced.push(second);
        }
        world.clock.advance(S);
    }
    let waits: Vec<_> = replaced.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(replaced[0], 0, "the first rejection finds the brake open");
    assert_eq!(waits, [30, 60, 120, 240, 480, 900, 900, 900]);
    let kept = "oauth2: the API rejected this token too, and it stays in service for another 30 s";
    assert!(world.lines.at(LogLevel::Info).iter().any(|line| line == kept));
}

#[test]
fn the_brake_holds_for_clients_made_per_call() {
    let world = World::new();
    for _ in 0..100 {
        let client = world.client(&oauth2());
        let token = client.token().unwrap();
        client.invalidate(&token).unwrap();
        drop(client);
        world.clock.advance(S);
    }
    assert_eq!(world.provider.count(), 4, "one, another at once, the next after 30 s and 60 s more");
}

#[test]
fn a_token_that_serves_half_its_life_unrejected_opens_the_brake() {
    for (passed, requests) in [(29, 2), (30, 3), (1799, 3), (1800, 3)] {
        let world = World::new();
        let client = world.client(&oauth2());
        assert_eq!(reject(&world, &client), 2);
        world.clock.advance(S * passed);
        assert_eq!(reject(&world, &client), requests, "{passed} s later");
        // Now it is closed for 60 s, or again for the first 30.
        world.clock.advance(S * 30);
        let again = if passed == 1800 || passed == 29 { requests + 1 } else { requests };
        assert_eq!(reject(&world, &client), again, "{passed} s, and 30 s later");
    }
}

#[test]
fn a_token_that_was_rejected_and_kept_does_not_count_as_served() {
    let world = World::new();
    let client = world.client(&oauth2());
    reject(&world, &client);
    world.clock.advance(S * 10);
    reject(&world, &client); // kept
    world.clock.advance(S * 2000);
    assert_eq!(reject(&world, &client), 3);
    world.clock.advance(S * 59);
    assert_eq!(reject(&world, &client), 3, "closed for twice as long");
    world.clock.advance(S);
    assert_eq!(reject(&world, &client), 4);
}

#[test]
fn a_renewal_in_due_time_opens_the_brake_only_after_a_token_that_was_not_rejected() {
    for (rejected, requests) in [(false, 4), (true, 3)] {
        let world = World::new();
        let client = world.client(&oauth2().refresh_ahead("off"));
        reject(&world, &client); // closed for 30 s
        world.clock.advance(S * 20);
        if rejected {
            reject(&world, &client);
        }
        world.clock.advance(S * 3600);
        value(&client);
        assert_eq!(world.provider.count(), 3, "renewed");
        // Rejected at once: dropped in any case, since the brake is open. What differs is how long it closes then.
        reject(&world, &client);
        world.clock.advance(S * 30);
        assert_eq!(reject(&world, &client), requests + 1, "{rejected}");
    }
}

/// H-05.
#[test]
fn a_burst_of_rejections_sends_one_request() {
    let world = World::new();
    let client = world.client(&oauth2());
    let token = client.token().unwrap();
    let barrier = Barrier::new(50);
    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                barrier.wait();
                client.invalidate(&token).unwrap();
                assert_eq!(value(&client), "canary-token-2");
            });
        }
    });
    assert_eq!(world.provider.count(), 2);
}

#[test]
fn whoever_forces_a_refresh_gets_the_latest_token_while_the_brake_is_closed() {
    let world = World::new();
    let client = world.client(&oauth2());
    client.refresh().unwrap();
    client.refresh().unwrap();
    assert_eq!(world.provider.count(), 2, "a person may press a button twice");
    reject(&world, &client);
    assert_eq!(client.refresh().unwrap().value(), "canary-token-3");
    assert_eq!(world.provider.count(), 3);
    world.clock.advance(S * 30);
    assert_eq!(client.refresh().unwrap().value(), "canary-token-4");
}

#[test]
fn clear_does_not_open_the_brake() {
    let world = World::new();
    let client = world.client(&oauth2());
    reject(&world, &client);
    client.clear().unwrap();
    assert_eq!(value(&client), "canary-token-3");
    assert_eq!(reject(&world, &client), 3);
}

#[test]
fn a_rejected_token_whose_replacement_fails_is_not_served_again() {
    let world = World::new();
    let client = world.client(&oauth2());
    let token = client.token().unwrap();
    client.invalidate(&token).unwrap();
    world.provider.lose();
    client.token().unwrap_err();
    client.cached().unwrap_err();
    world.clock.advance(S * 5);
    assert_eq!(value(&client), "canary-token-4");
    assert_eq!(reject(&world, &client), 4, "and its replacement closed the brake");
}

#[test]
fn a_rejected_token_that_a_request_under_way_replaces_is_dropped_once() {
    let world = World::new();
    let client = world.client(&oauth2());
    let token = client.token().unwrap();
    world.clock.advance(S * 3450);
    world.provider.close();
    let elected = thread::spawn({
        let client = client.clone();
        move || client.token()
    });
    world.provider.wait_for_arrival();
    client.invalidate(&token).unwrap();
    world.provider.open();
    assert_eq!(elected.join().unwrap().unwrap().value(), "canary-token-2");
    assert_eq!(value(&client), "canary-token-2");
    assert_eq!(world.provider.count(), 2);
}
