//! What processes with one store know together. A sibling world is another process: it has the clock, the provider and
//! the store in common, and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod temp;
mod world;

use std::sync::Arc;
use std::time::Duration;

use canary::Watched;
use serde_json::json;
use temp::TempFile;
use tokauth::seams::Clock;
use tokauth::{Builder, Client, Counter, ErrorKind};
use world::{Act, NOW, S, SECRET, Shelf, World, oauth2};

fn value(client: &Watched) -> String {
    client.token().unwrap().value().to_owned()
}

fn eventhos() -> Builder {
    Client::builder()
        .provider("eventhos")
        .set("base_url", "https://events.example")
        .client_id("me")
        .client_secret(SECRET)
}

fn worlds() -> (World, Shelf) {
    let shelf = Shelf::default();
    (World::with_store(shelf.clone()), shelf)
}

#[test]
fn a_token_of_one_process_serves_the_others() {
    let (world, _) = worlds();
    let first = world.client(&oauth2());
    let token = first.token().unwrap();
    for cached_only in [false, true] {
        let process = world.sibling();
        let client = process.client(&oauth2().refresh_ahead("off"));
        let shared = if cached_only { client.cached() } else { client.token() }.unwrap();
        assert_eq!(
            (shared.value(), shared.token_type(), shared.scope(), shared.expires_at()),
            (token.value(), token.token_type(), token.scope(), token.expires_at())
        );
        assert_eq!(shared.headers().collect::<Vec<_>>(), token.headers().collect::<Vec<_>>());
        assert_eq!(client.counter(Counter::StoreHits), 1);
    }
    assert_eq!(world.provider.count(), 1);
    // It is as old there.
    let client = world.sibling().client(&oauth2().refresh_ahead("off"));
    world.clock.advance(S * 3589);
    assert_eq!(value(&client), "canary-token-1");
    world.clock.advance(S);
    client.cached().unwrap_err();
    assert_eq!(world.provider.count(), 1);
    assert_eq!(value(&client), "canary-token-2");
    assert_eq!(value(&first), "canary-token-2", "and the first one asks nobody");
    assert_eq!(world.provider.count(), 2);
}

#[test]
fn a_renewal_of_one_process_serves_the_others() {
    let (world, _) = worlds();
    let clients: Vec<_> = (0..5).map(|_| world.sibling().client(&oauth2())).collect();
    clients.iter().for_each(|client| drop(value(client)));
    world.clock.advance(S * 3450);
    for client in &clients {
        assert_eq!(value(client), "canary-token-2", "refreshed ahead by the first");
    }
    assert_eq!(world.provider.count(), 2);
}

/// G-16, F-31: what is sealed for one key, or with one secret, is nothing to another.
#[test]
fn another_key_or_another_secret_has_documents_of_its_own() {
    let (world, shelf) = worlds();
    let others = [
        oauth2(),
        oauth2().scope("a"),
        oauth2().audience("b"),
        oauth2().client_id("you"),
        oauth2().client_secret("canary-secret-another-0123456789"),
        oauth2().token_url("https://auth.example/other"),
        oauth2().param("x", "1"),
        oauth2().header("X-A", "1"),
        oauth2().auth("post"),
        oauth2().max_ttl_s("1000"),
    ];
    for (number, builder) in others.iter().enumerate() {
        assert_eq!(value(&world.sibling().client(builder)), format!("canary-token-{}", number + 1));
    }
    for (number, builder) in others.iter().enumerate() {
        assert_eq!(value(&world.sibling().client(builder)), format!("canary-token-{}", number + 1), "side by side");
    }
    assert_eq!(shelf.documents.documents().len(), others.len());
    // Where it is written down differently, it is the same.
    let file = TempFile::new(format!("{SECRET}\n"));
    let same = Client::builder().provider("oauth2").token_url("https://auth.example/token").client_id("me");
    let same = same.client_secret_file(file.path()).timeout_ms("7000").user_agent("other").min_valid_s("5");
    assert_eq!(value(&world.sibling().client(&same)), "canary-token-1");
    assert_eq!(world.provider.count(), others.len());
}

/// I-12, and two records that are swapped.
#[test]
fn no_document_tells_anything_or_passes_for_another() {
    let someone = || oauth2().client_id("someone");
    let other =
        Client::builder().provider("event-temple").set("org_id", "1").client_id("someone").client_secret(SECRET);
    for pair in [[someone().scope("scope:a"), someone().scope("scope:b")], [someone(), other]] {
        let (world, shelf) = worlds();
        pair.iter().for_each(|builder| drop(value(&world.client(builder))));
        let documents = shelf.documents.documents();
        let [(a, of_a), (b, of_b)] = &documents[..] else { panic!("{documents:?}") };
        for text in [a, b, &*String::from_utf8_lossy(of_a), &*String::from_utf8_lossy(of_b)] {
            for known in ["canary", "scope", "someone", "Bearer", "auth.example", "temple"] {
                assert!(!text.contains(known), "{text}");
            }
        }
        shelf.put(a, of_b);
        shelf.put(b, of_a);
        for (number, builder) in pair.iter().enumerate() {
            assert_eq!(value(&world.sibling().client(builder)), format!("canary-token-{}", number + 3));
        }
        assert_eq!(shelf.documents.aside().len(), 2, "they are kept");
    }
}

/// F-05, F-06, F-08: every bit and every end of a document.
#[test]
fn a_damaged_foreign_or_later_document_is_set_aside_and_costs_one_request() {
    let (world, shelf) = worlds();
    value(&world.client(&oauth2()));
    let (name, sound) = shelf.documents.documents().remove(0);
    let mut damaged: Vec<Vec<u8>> =
        vec![b"\x89PNG".to_vec(), vec![0; 100_000], Vec::new(), vec![b'x'; 2 * 1024 * 1024]];
    damaged.extend((0..sound.len()).step_by(7).map(|length| sound[..length].to_vec()));
    damaged.extend((0..sound.len() * 8).step_by(13).map(|bit| {
        let mut flipped = sound.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    }));
    let mut later = sound.clone();
    later[7] += 1;
    damaged.push(later);
    for document in damaged {
        shelf.put(&name, &document);
        let before = world.provider.count();
        let process = world.sibling();
        value(&process.client(&oauth2()));
        assert_eq!(world.provider.count(), before + 1);
        assert_eq!(shelf.documents.aside(), [(name.clone(), document)], "it is kept");
        value(&world.sibling().client(&oauth2()));
        assert_eq!(world.provider.count(), before + 1, "and a sound one is in its place");
        assert!(process.lines.all().contains("is set aside"));
    }
}

#[test]
fn what_is_none_of_ours_is_kept_by_whoever_forgets_all_or_rejects_a_token() {
    for clears in [true, false] {
        let (world, shelf) = worlds();
        let client = world.client(&oauth2());
        let token = client.token().unwrap();
        let (name, _) = shelf.documents.documents().remove(0);
        shelf.put(&name, b"\x89PNG");
        if clears {
            client.clear().unwrap()
        } else {
            client.invalidate(&token).unwrap()
        }
        assert_eq!(shelf.documents.aside(), [(name, b"\x89PNG".to_vec())]);
        assert_eq!(value(&client), "canary-token-2");
    }
}

#[test]
fn a_store_that_fails_costs_requests_not_tokens() {
    let (world, shelf) = worlds();
    shelf.break_it(true);
    let client = world.client(&oauth2());
    assert_eq!(value(&client), "canary-token-1");
    assert_eq!(value(&client), "canary-token-1");
    let error = client.clear().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert_eq!(value(&client), "canary-token-2", "it was dropped here all the same");
    let token = client.token().unwrap();
    client.invalidate(&token).unwrap_err();
    assert_eq!(value(&client), "canary-token-3", "this too");
    world.clock.advance(S * 3600);
    world.provider.lose();
    client.token().unwrap_err();
    let count = world.provider.count();
    client.token().unwrap_err();
    assert_eq!(world.provider.count(), count, "this process knows that it cools down");
}

/// What cannot be taken out of the store is not taken from there again.
#[test]
fn a_rejected_token_does_not_come_back_from_a_store_that_cannot_be_written() {
    let (world, shelf) = worlds();
    let client = world.client(&oauth2());
    let token = client.token().unwrap();
    shelf.break_it(true);
    client.invalidate(&token).unwrap_err();
    assert_eq!(value(&client), "canary-token-2");
}

#[test]
fn a_rejected_token_is_replaced_once_for_all_processes() {
    let (world, _) = worlds();
    let clients: Vec<_> = (0..32).map(|_| world.sibling().client(&oauth2())).collect();
    let tokens: Vec<_> = clients.iter().map(|client| client.token().unwrap()).collect();
    for (client, token) in clients.iter().zip(&tokens) {
        client.invalidate(token).unwrap();
        assert_eq!(value(client), "canary-token-2");
    }
    assert_eq!(world.provider.count(), 2);
    // Whichever of them rejects the next one: it stays in service for 30 s, and then for a minute.
    for (after, count) in [(0, 2), (29, 2), (1, 3), (59, 3), (1, 4)] {
        world.clock.advance(S * after);
        let client = world.sibling().client(&oauth2());
        let token = client.token().unwrap();
        client.invalidate(&token).unwrap();
        value(&client);
        assert_eq!(world.provider.count(), count, "after {after} s more");
    }
}

#[test]
fn clear_is_for_all_processes() {
    let (world, _) = worlds();
    let (one, other) = (world.client(&oauth2()), world.sibling().client(&oauth2()));
    value(&one);
    one.clear().unwrap();
    assert_eq!(value(&other), "canary-token-2");
    // A failure too.
    world.clock.advance(S * 3600);
    world.provider.next_json(400, json!({"error": "invalid_scope"}));
    other.token().unwrap_err();
    one.token().unwrap_err();
    assert_eq!(world.provider.count(), 3);
    world.sibling().client(&oauth2()).clear().unwrap();
    assert_eq!(value(&one), "canary-token-4");
}

#[test]
fn a_token_asked_for_before_all_was_forgotten_is_not_kept_after() {
    let (world, shelf) = worlds();
    world.provider.close();
    let client = world.client(&oauth2());
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| value(&client));
        world.provider.wait_for_arrival();
        world.sibling().client(&oauth2()).clear().unwrap();
        world.provider.open();
        assert_eq!(asking.join().unwrap(), "canary-token-1");
    });
    assert_eq!(value(&world.sibling().client(&oauth2())), "canary-token-2");
    drop(shelf);
}

#[test]
fn processes_that_come_together_send_one_request() {
    let (world, _) = worlds();
    world.clock.sleeps_really(); // or those who wait might have waited in vain before one is done
    std::thread::scope(|scope| {
        for _ in 0..16 {
            let client = world.sibling().client(&oauth2().timeout_ms("600000"));
            scope.spawn(move || assert_eq!(value(&client), "canary-token-1"));
        }
    });
    assert_eq!(world.provider.count(), 1);
}

/// F-20: nobody takes the turn from who has it.
#[test]
fn whoever_waits_for_another_process_in_vain_sends_nothing() {
    let (world, _) = worlds();
    world.provider.close();
    let holder = world.client(&oauth2());
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| value(&holder));
        world.provider.wait_for_arrival();
        let waiting = world.sibling().client(&oauth2());
        let error = waiting.token().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        world.provider.open();
        asking.join().unwrap();
        assert_eq!(value(&waiting), "canary-token-1");
    });
    assert_eq!(world.provider.count(), 1);
}

#[test]
fn a_failure_is_remembered_for_all_processes() {
    for (act, waits) in [
        (Act::Lose, [5, 10, 20, 40, 60, 60].as_slice()),
        (Act::Unsent(ErrorKind::Network), &[1, 2, 4, 8, 16, 30, 30]),
        (Act::Reply(400, vec![], br#"{"error": "invalid_client"}"#.to_vec()), &[60, 120, 240, 480, 900, 900]),
        (Act::Reply(429, vec![("retry-after", "100".into())], vec![]), &[100, 100]),
    ] {
        let (world, _) = worlds();
        world.provider.always(act.clone());
        let error = world.client(&oauth2()).token().unwrap_err();
        for wait in waits {
            let count = world.provider.connections();
            for _ in 0..3 {
                let client = world.sibling().client(&oauth2());
                let held = client.token().unwrap_err();
                assert_eq!((held.kind(), held.to_string()), (error.kind(), error.to_string()));
                assert_eq!(held.provider_code(), error.provider_code());
                assert_eq!(held.http_status(), error.http_status());
                assert_eq!(held.retry_after(), Some(S * *wait));
            }
            world.clock.advance(S * *wait - Duration::from_millis(1));
            world.sibling().client(&oauth2()).token().unwrap_err();
            assert_eq!(world.provider.connections(), count, "{act:?}: nobody knocks before {wait} s are over");
            world.clock.advance(Duration::from_millis(1));
            world.provider.always(act.clone());
            world.sibling().client(&oauth2()).token().unwrap_err();
            assert_eq!(world.provider.connections(), count + 1, "then one does, once");
        }
        world.provider.forget();
        world.clock.advance(S * 900);
        value(&world.sibling().client(&oauth2()));
        world.clock.advance(S * 3600);
        world.provider.always(act.clone());
        let first = world.sibling().client(&oauth2()).token().unwrap_err();
        assert_eq!(first.retry_after(), Some(S * waits[0]), "a token ends the streak");
    }
}

/// Its first process may be at it, or have failed.
#[test]
fn a_token_that_is_due_serves_a_new_process_while_its_renewal_fails() {
    for first_tries in [true, false] {
        let (world, _) = worlds();
        let first = world.client(&oauth2());
        value(&first);
        world.clock.advance(S * 3450);
        world.provider.always(Act::Unsent(ErrorKind::Network));
        if first_tries {
            assert_eq!(value(&first), "canary-token-1");
        }
        assert_eq!(value(&world.sibling().client(&oauth2())), "canary-token-1", "first_tries {first_tries}");
    }
}

#[test]
fn whoever_has_a_token_to_go_back_to_waits_five_seconds_for_another_process() {
    let (world, _) = worlds();
    let holder = world.client(&oauth2());
    value(&holder);
    world.clock.advance(S * 3450);
    world.provider.close();
    std::thread::scope(|scope| {
        let renewing = scope.spawn(|| value(&holder));
        world.provider.wait_for_arrival();
        let began = world.clock.since_boot();
        assert_eq!(value(&world.sibling().client(&oauth2())), "canary-token-1");
        assert_eq!(world.clock.since_boot() - began, S * 5);
        world.provider.open();
        renewing.join().unwrap();
    });
}

#[test]
fn a_forced_refresh_obeys_the_brake_that_processes_share() {
    let (world, _) = worlds();
    let client = world.client(&oauth2());
    let token = client.token().unwrap();
    client.invalidate(&token).unwrap();
    value(&client);
    for client in [&client, &world.sibling().client(&oauth2())] {
        assert_eq!(client.refresh().unwrap().value(), "canary-token-2");
    }
    assert_eq!(world.provider.count(), 2);
}

#[test]
fn a_rejection_that_changes_nothing_writes_nothing() {
    let (world, shelf) = worlds();
    let client = world.client(&oauth2());
    let token = client.token().unwrap();
    client.invalidate(&token).unwrap();
    let token = client.token().unwrap();
    client.invalidate(&token).unwrap();
    let before = shelf.documents.documents();
    client.invalidate(&token).unwrap();
    assert_eq!(shelf.documents.documents(), before);
}

/// A day is a day, wherever reboots fall into it.
#[test]
fn a_lock_out_ends_though_the_machine_rebooted() {
    let (world, _) = worlds();
    (0..3).for_each(|_| world.provider.next_json(401, json!({"code": 401100, "message": "wrong"})));
    for _ in 0..2 {
        world.client(&eventhos()).token().unwrap_err();
        world.clock.advance(S * 1000);
    }
    for (hours, count) in [(12, 2), (23, 2), (25, 3)] {
        world.clock.set_boot(S * 600);
        world.clock.set_wall(Duration::from_secs(NOW + hours * 3600));
        world.sibling().client(&eventhos()).token().unwrap_err();
        assert_eq!(world.provider.count(), count, "after {hours} h");
    }
}

/// After a reboot to a clock that nobody has set yet: what has passed since then has passed.
#[test]
fn a_clock_that_is_behind_prolongs_neither_a_token_nor_a_pause() {
    let booted = |world: &World| {
        world.clock.set_boot(S * 30);
        world.clock.set_wall(S * 1_000_000);
    };
    let (world, _) = worlds();
    value(&world.client(&oauth2()));
    booted(&world);
    for _ in 0..7 {
        value(&world.sibling().client(&oauth2().refresh_ahead("off")));
        world.clock.advance(S * 600);
    }
    assert_eq!(world.provider.count(), 2);
    let (world, _) = worlds();
    world.provider.next_json(400, json!({"error": "invalid_scope"}));
    world.client(&oauth2()).token().unwrap_err();
    booted(&world);
    world.clock.advance(S * 60);
    value(&world.sibling().client(&oauth2()));
}

/// The wall clock moves neither a failure nor a token, nor does a new process.
#[test]
fn a_step_of_the_wall_clock_changes_nothing_that_processes_share() {
    for wall in [0, NOW - 40 * 86_400, NOW + 40 * 86_400] {
        let (world, _) = worlds();
        value(&world.client(&oauth2()));
        world.clock.set_wall(Duration::from_secs(wall));
        assert_eq!(value(&world.sibling().client(&oauth2())), "canary-token-1", "wall {wall}");
        world.clock.advance(S * 3600);
        world.provider.next_json(401, json!({"error": "invalid_client"}));
        world.sibling().client(&oauth2()).token().unwrap_err();
        world.clock.set_wall(Duration::from_secs(NOW));
        world.sibling().client(&oauth2()).token().unwrap_err();
        assert_eq!(world.provider.count(), 2, "wall {wall}");
    }
}

/// E21, E-07, E-08, F-30: after a reboot there is only the wall clock.
#[test]
fn after_a_reboot_a_token_lives_as_long_as_the_wall_clock_says_and_never_longer_than_it_did() {
    for (wall, served) in [
        (NOW + 3000, true),
        (NOW + 3600, false),
        (NOW + 86_400, false),
        (NOW - 3600, true), // the writer's clock was ahead
        (1_000_000, true),  // no clock yet
    ] {
        let (world, _) = worlds();
        value(&world.client(&oauth2()));
        world.clock.set_boot(S * 600);
        world.clock.set_wall(Duration::from_secs(wall));
        let client = world.sibling().client(&oauth2().refresh_ahead("off"));
        value(&client);
        assert_eq!(world.provider.count() == 1, served, "wall {wall}");
        world.clock.advance(S * 3600);
        value(&client);
        assert_eq!(world.provider.count(), if served { 2 } else { 3 }, "wall {wall}");
    }
}

/// H-04, for many processes and for one after the other: eventhos locks a client after four.
#[test]
fn a_wrong_secret_is_tried_twice_a_day_by_any_number_of_processes() {
    let refusal = || json!({"code": 401100, "message": "wrong"});
    // 32 that live all day.
    let (world, _) = worlds();
    let clients: Vec<_> = (0..32).map(|_| world.sibling().client(&eventhos())).collect();
    (0..4).for_each(|_| world.provider.next_json(401, refusal()));
    for _ in 0..24 * 4 - 1 {
        for client in &clients {
            assert_eq!(client.token().unwrap_err().provider_code(), Some("401100"));
        }
        world.clock.advance(S * 900);
    }
    assert_eq!(world.provider.count(), 2);
    // One a minute, started by cron, for two scopes of the same secret.
    let (world, _) = worlds();
    (0..4).for_each(|_| world.provider.next_json(401, refusal()));
    for minute in 0..24 * 60 - 1 {
        let builder = if minute % 2 == 0 { eventhos() } else { eventhos().param("x", "1") };
        assert_eq!(world.sibling().client(&builder).token().unwrap_err().provider_code(), Some("401100"));
        world.clock.advance(S * 60);
    }
    assert_eq!(world.provider.count(), 2);
    // The right one goes at once.
    world.provider.forget();
    let right = eventhos().client_secret("canary-secret-the-right-one-1234");
    world.provider.next_json(201, json!({"content": {"jwt_token": "canary-token-right"}}));
    assert_eq!(value(&world.sibling().client(&right)), "canary-token-right");
}

/// What it seals with is all that tells who may share; the client's secret still tells tokens apart.
#[test]
fn a_key_file_seals_the_store_instead_of_the_secret() {
    let (world, shelf) = worlds();
    let files = [[7; 32], [8; 32]].map(TempFile::new);
    let client = |secret: &str, file: &TempFile| {
        world.sibling().client(&oauth2().client_secret(secret).store("file:/unused").store_key_file(file.path()))
    };
    for (secret, file, token) in [
        ("hunter2", &files[0], "canary-token-1"), // weak, and a word that nobody has to guess
        ("hunter2", &files[0], "canary-token-1"),
        ("hunter3", &files[0], "canary-token-2"),
        ("hunter2", &files[1], "canary-token-3"),
    ] {
        assert_eq!(value(&client(secret, file)), token);
    }
    assert_eq!(shelf.documents.documents().len(), 3);
    for (content, words) in
        [(vec![7; 31], "holds 31 bytes"), (vec![7; 33], "cannot be read"), (vec![], "holds 0 bytes")]
    {
        files[0].write(&content);
        let builder = oauth2().store("file:/unused").store_key_file(files[0].path());
        let error = world.build(&builder).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(words) && error.to_string().contains("32 random bytes"), "{error}");
    }
}

#[test]
fn a_weak_secret_seals_no_store() {
    let (world, _) = worlds();
    for weak in ["hunter2", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
        for (quota, advice) in [("none", "store=memory"), ("31/month", "store=memory and quota=none")] {
            let error = world.build(&oauth2().quota(quota).client_secret(weak)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().ends_with(&format!("give store_key_file, or set {advice}")), "{error}");
        }
    }
}

/// A store of the program's own takes the place of the option.
#[test]
fn a_program_may_bring_its_store() {
    let (world, shelf) = (World::new(), Shelf::default());
    let builder = oauth2().share_through(Arc::new(shelf.clone()));
    assert_eq!(value(&world.client(&builder)), "canary-token-1");
    assert_eq!(value(&world.sibling().client(&builder)), "canary-token-1");
    assert_eq!(shelf.documents.documents().len(), 1);
    let other = world.sibling().client(&builder).0.with("scope", Some("other")).unwrap();
    other.token().unwrap();
    assert_eq!(shelf.documents.documents().len(), 2, "a sibling client has it too");
    // It does for a budget, and is sealed as any other.
    let scarce = Client::builder().provider("calenso").client_id("me").client_secret(SECRET);
    let scarce = world.client(&scarce.share_through(Arc::new(shelf.clone())));
    scarce.token().unwrap();
    assert_eq!(scarce.0.budget().unwrap().unwrap().requests, 30);
    let key = TempFile::new([7; 32]);
    let weak = builder.clone().client_secret("canary-secret");
    assert!(world.build(&weak).unwrap_err().to_string().contains("too easy to guess"));
    world.client(&weak.store_key_file(key.path()));
    let twice = world.build(&builder.store("file")).unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::Config);
    assert!(twice.to_string().contains("leave one of them out"), "{twice}");
}

/// What one program keeps in two places is to be in both.
#[test]
fn clients_of_two_stores_of_a_program_share_nothing_and_those_of_one_do() {
    let (world, shelves) = (World::new(), [Shelf::default(), Shelf::default()]);
    let stores = shelves.each_ref().map(|shelf| Arc::new(shelf.clone()));
    for round in 0..2 {
        for (number, store) in stores.iter().enumerate() {
            let client = world.client(&oauth2().share_through(store.clone()));
            assert_eq!(value(&client), format!("canary-token-{}", number + 1), "round {round}");
        }
    }
    assert_eq!(shelves.map(|shelf| shelf.documents.documents().len()), [1, 1]);
    assert_eq!(world.provider.count(), 2);
}
