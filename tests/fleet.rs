//! Processes of many machines share tokens and budgets through a real Redis. The numbers are those of the fault
//! catalogue (G).
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod conformance;
mod engine;
#[path = "fleet/forwarder.rs"]
mod forwarder;
#[path = "fleet/process.rs"]
mod process;
mod signal;
#[path = "fleet/site.rs"]
mod site;
mod standin;
mod temp;
mod world;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use conformance::{assert_late, at_once, conforms, enough, name, put};
use engine::{Engine, port};
use forwarder::Forwarder;
use process::{Process, options, wait_until, with};
use rustix::process::Signal;
use site::{DAY, Site, audience, budgeted, left, pair, plain, value};
use standin::Standin;
use tokauth::seams::{Deadline, Seams, Store, redis_store, redis_store_over};
use tokauth::{Client, Error, ErrorKind};
use world::{Act, NOW, S, SECRET, World, oauth2};

#[test]
fn a_redis_is_a_store() {
    let engine = Engine::start();
    engine.stop_clock_at(S * NOW as u32); // no turn ends before its holder says so
    conforms(&|| Arc::new(redis_store(&engine.url(), Seams::system().unwrap().clock).unwrap()));
}

/// Of each process that the tests below start, this is the program.
#[test]
fn a_process_of_its_own() {
    process::act();
}

// ---- real processes ----

/// Whose the turn is, and for how many milliseconds yet.
fn turn(engine: &Engine) -> Option<(String, i64)> {
    let keys: Vec<String> = engine.tell("KEYS *:turn");
    let key = keys.first()?;
    let holder: Option<String> = engine.tell(&format!("GET {key}"));
    Some((holder?, engine.tell(&format!("PTTL {key}"))))
}

/// G-04: when it had the turn and was about to send, which it was not yet connected to do.
#[test]
fn who_dies_before_its_request_leaves_delays_the_others_by_five_seconds() {
    for quota in [None, Some("31/month")] {
        let (engine, standin, way) = (Engine::start(), Standin::start(), Forwarder::to_nobody());
        engine.stop_clock_at(S * NOW as u32);
        let url = format!("https://localhost:{}/oauth2/token", way.port);
        let options = with(options(&standin, &engine.url(), quota), "token_url", &url);
        let options = with(options, "ca_file", standin.ca_file().to_str().unwrap());
        let mut dies = Process::start(&options, "token");
        wait_until("it has the turn", || turn(&engine).is_some());
        dies.kill();
        let (holder, lease) = turn(&engine).unwrap();
        assert!(holder.starts_with("waits ") && lease == 5000, "{holder} {lease}");
        way.leads_to(standin.https().rsplit_once(':').unwrap().1.parse().unwrap());
        let mut next = Process::start(&options, "token");
        waits(&engine, 5000);
        assert_eq!(standin.token_requests("oauth2"), 0);
        engine.stop_clock_at(at(5001));
        is_token(&next.says());
        assert_eq!(standin.token_requests("oauth2"), 1, "quota {quota:?}");
        if quota.is_some() {
            assert_eq!(Process::start(&options, "budget").says(), "30", "nothing was reserved for the dead one");
        }
    }
}

/// So many milliseconds after the beginning. A lease of that length is over a millisecond later.
fn at(millis: i64) -> Duration {
    S * NOW as u32 + Duration::from_millis(millis.unsigned_abs())
}

#[track_caller]
fn is_token(said: &str) {
    assert!(said.starts_with("token "), "{said}");
}

/// So much time passes for the server, and then somebody asks for the turn many times.
fn waits(engine: &Engine, millis: i64) {
    engine.stop_clock_at(at(millis));
    let before = engine.count("eval");
    wait_until("somebody asks for the turn", || engine.count("eval") > before + 12);
}

/// G-05: nobody knows what becomes of its request, so it is awaited and stays counted.
#[test]
fn who_dies_after_its_request_left_delays_the_others_as_long_as_its_reply_may_take_and_15_s() {
    for (timeout, lease) in [("600000", 615_000), ("60000", 75_000)] {
        for quota in [None, Some("31/month")] {
            let (engine, standin) = (Engine::start(), Standin::start());
            engine.stop_clock_at(S * NOW as u32);
            let options = options(&standin, &engine.url(), quota);
            let hold = standin.hold("oauth2");
            let mut dies = Process::start(&with(options.clone(), "timeout_ms", timeout), "token");
            hold.wait_for_request();
            dies.kill();
            hold.release();
            let (holder, left) = turn(&engine).unwrap();
            assert!(holder.starts_with("sends ") && (15_000..=lease).contains(&left), "{holder} {left}");
            let mut next = Process::start(&options, "token");
            waits(&engine, left);
            assert_eq!(standin.token_requests("oauth2"), 1);
            engine.stop_clock_at(at(left + 1));
            is_token(&next.says());
            assert_eq!(standin.token_requests("oauth2"), 2, "quota {quota:?}");
            if quota.is_some() {
                assert_eq!(Process::start(&options, "budget").says(), "29", "both count");
            }
        }
    }
}

/// G-06: as below, with a process that is really stopped.
#[test]
fn a_stopped_process_goes_on_with_the_token_that_came_meanwhile() {
    let (engine, standin) = (Engine::start(), Standin::start());
    engine.stop_clock_at(S * NOW as u32);
    let options = options(&standin, &engine.url(), Some("31/month"));
    let hold = standin.hold("oauth2");
    let mut stopped = Process::start(&options, "token");
    hold.wait_for_request();
    stopped.signal(Signal::STOP);
    hold.release();
    engine.stop_clock_at(S * (NOW as u32 + 75));
    let token = Process::start(&options, "token").says();
    assert_eq!(standin.token_requests("oauth2"), 2);
    stopped.signal(Signal::CONT);
    assert_eq!(stopped.says(), token);
    assert_eq!(Process::start(&options, "token").says(), token, "it did not take the newer one's place");
    assert_eq!((standin.token_requests("oauth2"), Process::start(&options, "budget").says()), (2, "29".to_owned()));
}

/// Whatever its parent did before.
#[test]
fn a_forked_child_has_a_connection_of_its_own_and_nothing_stays_open_after_a_call() {
    let (engine, standin) = (Engine::start(), Standin::start());
    // Without a budget, connections to the provider are kept for a while.
    let options = options(&standin, &engine.url(), Some("31/month"));
    let mut process = Process::start(&options, "descriptors token descriptors forks descriptors wait");
    let before = process.says();
    assert!(process.says().starts_with("token "));
    assert_eq!(process.says(), before);
    let child = process.says();
    assert_eq!(process.says(), "0 descriptors more");
    let parent = process.says();
    assert!(child.starts_with("token ") && parent.starts_with("token ") && child != parent, "{child} {parent}");
    assert_eq!(process.says(), before);
    assert_eq!(process.says(), "ready");
    wait_until("nobody is connected but who asks", || engine.tell::<String>("CLIENT LIST").lines().count() == 1);
    assert_eq!(standin.token_requests("oauth2"), 3);
}

// ---- turns ----

/// G-06: it gave its turn away by sleeping, and the other's request is over.
#[test]
fn who_slept_past_its_turn_before_it_sent_sends_nothing_and_has_the_others_token() {
    for quota in [None, Some("5/month")] {
        let (site, builder) = (Site::new(), plain(quota));
        let (sleeper, there, other) = (site.process(), site.clone(), builder.clone());
        sleeper.before_it_sends(move || {
            there.server_passes(S * 6);
            assert_eq!(there.token(&other), "canary-token-1");
        });
        let client = sleeper.client(&builder);
        assert_eq!(value(&client), "canary-token-1");
        assert_eq!(site.requests(), 1);
        assert_eq!(left(&client), quota.map(|_| 4));
    }
}

/// G-06: and the answer that would have told it so is lost, so that it asks again.
#[test]
fn a_lost_answer_does_not_hide_that_a_turn_was_over() {
    for quota in [None, Some("5/month")] {
        let engine = Engine::start();
        let (direct, way) = (engine.url(), Arc::new(Forwarder::to(engine.port)));
        let (site, builder) = (Site::at(engine, way.url()), plain(quota));
        let machine = site.machine(site.now(), 1000);
        let (sleeper, there, other, loses) = (site.process(), site.clone(), builder.clone(), way.clone());
        sleeper.before_it_sends(move || {
            there.server_passes(S * 6);
            assert_eq!(value(&there.process_at(&direct, &machine).client(&other)), "canary-token-1");
            loses.loses_the_answer_to(&["Makes a turn last", "token-"]);
        });
        let client = sleeper.client(&builder);
        assert_eq!(value(&client), "canary-token-1", "quota {quota:?}");
        assert_eq!((site.requests(), way.lost()), (1, 1));
        assert_eq!(left(&client), quota.map(|_| 4));
    }
}

/// G-06: eventhos locks a client after four refusals, so nobody sends a third.
#[test]
fn who_regains_the_turn_of_a_credential_hears_of_its_refusals() {
    let wrong = |number: u32| {
        let builder = Client::builder().provider("eventhos").set("base_url", "https://events.example");
        builder.client_id("me").client_secret(SECRET).param("x", number.to_string())
    };
    let site = Site::new();
    site.world().provider.judges(|_| (401, vec![], br#"{"code": 401100, "message": "wrong"}"#.to_vec()));
    let (sleeper, there) = (site.process(), site.clone());
    sleeper.before_it_sends(move || {
        there.server_passes(S * 6);
        for number in 1..4 {
            there.process().client(&wrong(number)).token().unwrap_err();
        }
        assert_eq!(there.requests(), 2, "the others'");
    });
    let error = sleeper.client(&wrong(0)).token().unwrap_err();
    assert_eq!((error.kind(), error.provider_code()), (ErrorKind::Denied, Some("401100")));
    assert_eq!(site.requests(), 2);
}

/// G-06: and the other's request is under way.
#[test]
fn who_slept_past_its_turn_before_it_sent_waits_for_who_sends() {
    let site = Site::new();
    site.world().clock.sleeps_really(); // or it might have waited in vain when the sender hears that it waits
    let (sleeper, sender) = (site.process(), site.process());
    let builder = budgeted("5/month").timeout_ms("600000");
    thread::scope(|scope| {
        let (there, options) = (site.clone(), builder.clone());
        let (sends, is_sending) = mpsc::channel();
        let engine_of = site.clone();
        sender.before_it_publishes(move || {
            sends.send(()).unwrap();
            let before = engine_of.engine.count("eval");
            wait_until("the sleeper waits", || engine_of.engine.count("eval") > before + 6);
        });
        let client = sender.client(&options);
        let (begin, begins) = mpsc::channel::<()>();
        let sending = scope.spawn(move || {
            begins.recv().unwrap();
            value(&client)
        });
        sleeper.before_it_sends(move || {
            there.server_passes(S * 6);
            begin.send(()).unwrap();
            is_sending.recv().unwrap();
        });
        let client = sleeper.client(&builder);
        assert_eq!(value(&client), "canary-token-1");
        assert_eq!(sending.join().unwrap(), "canary-token-1");
        assert_eq!((site.requests(), left(&client)), (1, Some(4)));
    });
}

/// G-06: its token is the older one.
#[test]
fn who_slept_past_its_turn_after_it_sent_leaves_the_newer_token_and_its_request_counts() {
    for quota in [None, Some("5/month")] {
        let (site, builder) = (Site::new(), plain(quota));
        let (sleeper, there, other) = (site.process(), site.clone(), builder.clone());
        sleeper.before_it_publishes(move || {
            there.server_passes(S * 26);
            assert_eq!(there.token(&other), "canary-token-2");
        });
        let client = sleeper.client(&builder);
        assert_eq!(value(&client), "canary-token-2");
        assert_eq!(site.token(&builder), "canary-token-2");
        assert_eq!(site.requests(), 2);
        assert_eq!(left(&client), quota.map(|_| 3));
    }
}

/// The one that connects first sends first; the other finds its token, before it sends.
#[test]
fn of_processes_that_take_longer_to_connect_than_their_turn_one_sends() {
    for quota in [None, Some("5/month")] {
        let (site, builder) = (Site::new(), plain(quota));
        let (first, second) = (site.process(), site.process());
        thread::scope(|scope| {
            let (connects, is_connecting) = mpsc::channel();
            let (sent, is_sent) = mpsc::channel::<()>();
            let there = site.clone();
            second.before_it_sends(move || {
                connects.send(()).unwrap();
                is_sent.recv().unwrap();
                there.server_passes(S * 12);
            });
            let (client, there) = (second.client(&builder), site.clone());
            let (begin, begins) = mpsc::channel::<()>();
            let other = scope.spawn(move || {
                begins.recv().unwrap();
                value(&client)
            });
            first.before_it_sends(move || {
                there.server_passes(S * 6);
                begin.send(()).unwrap();
                is_connecting.recv().unwrap();
            });
            assert_eq!(value(&first.client(&builder)), "canary-token-1");
            sent.send(()).unwrap();
            assert_eq!(other.join().unwrap(), "canary-token-1");
        });
        assert_eq!(site.requests(), 1);
    }
}

/// Nobody else is there: it has only been long.
#[test]
fn who_takes_long_to_connect_sends_once_and_connects_once() {
    let site = Site::new();
    let (slow, there) = (site.process(), site.clone());
    slow.before_it_sends(move || there.server_passes(S * 20));
    assert_eq!(value(&slow.client(&budgeted("5/month"))), "canary-token-1");
    assert_eq!(site.requests(), 1);
}

/// G-07.
#[test]
fn a_turn_that_is_over_ends_nobody_elses() {
    let engine = Engine::start();
    engine.stop_clock_at(S * NOW as u32);
    let store = || redis_store(&engine.url(), Seams::system().unwrap().clock).unwrap();
    for sends in [false, true] {
        let document = name(usize::from(sends));
        let old = store().turn(&document, &enough()).unwrap();
        engine.stop_clock_at(at(5001));
        let new = store().turn(&document, &at_once()).unwrap();
        if sends {
            new.hold(&enough()).unwrap();
        }
        let of_the_new = turn(&engine);
        drop(old);
        assert_eq!(turn(&engine), of_the_new);
        assert_late(store().turn(&document, &at_once()));
        drop(new);
        assert_eq!(turn(&engine), None);
        engine.stop_clock_at(S * NOW as u32);
    }
}

// ---- servers that fail, change, or forget ----

/// G-24: and what was spent is known to whoever spent it.
#[test]
fn after_a_failover_a_replicated_token_is_found_and_another_costs_one_request() {
    for quota in [None, Some("5/month")] {
        for replicated in [true, false] {
            let (primary, replica) = pair();
            let way = Forwarder::to(primary.port);
            let (site, builder) = (Site::at(primary, way.url()), plain(quota));
            replica.stop_clock_at(site.now());
            if !replicated {
                replica.tell::<()>("REPLICAOF NO ONE");
            }
            let before = site.process().client(&builder);
            assert_eq!(value(&before), "canary-token-1");
            if replicated {
                wait_until("the replica has it", || {
                    replica.tell::<Vec<String>>("KEYS *{token-*").len() == 1
                        && site.keys("{ledger-").len() == replica.tell::<Vec<String>>("KEYS *{ledger-*").len()
                });
            }
            site.engine.signal(Signal::KILL);
            replica.tell::<()>("REPLICAOF NO ONE");
            way.leads_to(replica.port);
            let after = site.process().client(&builder);
            let (token, requests) = if replicated { ("canary-token-1", 1) } else { ("canary-token-2", 2) };
            assert_eq!(value(&after), token);
            assert_eq!(site.requests(), requests);
            assert_eq!(left(&after), quota.map(|_| 4), "what the server knows of");
            assert_eq!(left(&before), quota.map(|_| 5 - requests as u32), "and what its own process adds");
        }
    }
}

/// G-24: the replica had not heard of the rejection, by whoever asks now or by another.
#[test]
fn a_token_that_was_rejected_does_not_come_back_by_a_failover() {
    for (quota, own) in [(None, true), (None, false), (Some("5/month"), true), (Some("5/month"), false)] {
        let (site, builder) = (Site::new(), plain(quota));
        let processes = [site.process(), site.process()];
        let [rejects, other] = processes.each_ref().map(|process| process.client(&builder));
        let rejected = rejects.token().unwrap();
        let key = site.key("{token-");
        let document: Vec<u8> = site.engine.tell(&format!("GET {key}"));
        site.advance(S * 600);
        rejects.invalidate(&rejected).unwrap();
        let (asks, process) = if own { (&rejects, &processes[0]) } else { (&other, &processes[1]) };
        let there = site.clone();
        process.before_it_publishes(move || {
            redis::cmd("SET").arg(&key).arg(document).query::<()>(&mut there.engine.connection()).unwrap();
        });
        assert_eq!(value(asks), "canary-token-2", "quota {quota:?}, own {own}");
        assert_eq!(site.token(&builder), "canary-token-2", "quota {quota:?}, own {own}: to a new process");
        assert_eq!(site.requests(), 2);
    }
}

/// G-02: for how long a call waits, `fleet_faults` shows.
#[test]
fn a_server_that_was_slow_before_a_request_is_told_its_token() {
    for quota in [None, Some("5/month")] {
        let engine = Engine::start();
        let way = Arc::new(Forwarder::to(engine.port));
        let (site, later) = (Site::at(engine, way.url()), way.clone());
        let process = site.process();
        way.delays_the_next_command(S);
        process.before_it_publishes(move || later.delays_the_next_command(S));
        assert_eq!(value(&process.client(&plain(quota))), "canary-token-1", "quota {quota:?}");
        assert_eq!(site.token(&plain(quota)), "canary-token-1", "quota {quota:?}");
        assert_eq!(site.requests(), 1);
    }
}

/// The connection dies when a command is done and its answer underway: it is sent again, and done once.
#[test]
fn a_lost_answer_changes_nothing_twice() {
    for words in [
        ["Takes a turn", "token-"],
        ["Makes a turn last", "token-"],
        ["Puts a document", "tokauth ledger"],
        ["Puts a document", "{token-"],
        ["Ends a turn", "token-"],
    ] {
        let engine = Engine::start();
        let way = Forwarder::to(engine.port);
        let site = Site::at(engine, way.url());
        let client = site.process().client(&budgeted("5/month"));
        way.loses_the_answer_to(&words);
        assert_eq!(value(&client), "canary-token-1", "{words:?}");
        assert_eq!(way.lost(), 1, "{words:?}");
        assert_eq!((site.requests(), left(&client)), (1, Some(4)), "{words:?}");
        assert_eq!(turn(&site.engine), None, "{words:?}");
        assert_eq!(site.token(&budgeted("5/month")), "canary-token-1", "{words:?}");
    }
}

/// A replica vouches only for what came by the connection on which it is asked.
#[test]
fn where_there_is_a_replica_no_request_leaves_after_a_lost_answer() {
    for words in [&["Puts a document", "tokauth ledger"][..], &["\r\nWAIT\r\n"]] {
        let (primary, _replica) = pair();
        let way = Forwarder::to(primary.port);
        let site = Site::at(primary, way.url());
        let client = site.process().client(&budgeted("5/month"));
        way.loses_the_answer_to(words);
        assert_eq!(client.token().unwrap_err().kind(), ErrorKind::Store, "{words:?}");
        assert_eq!((way.lost(), site.requests()), (1, 0), "{words:?}");
        site.advance(S * 60);
        assert_eq!(value(&client), "canary-token-1", "{words:?}");
    }
}

/// A call that has so much patience with the server waits for a replica, which does not answer: for half of it, or a
/// second. The server's time passes as soon as it waits.
#[track_caller]
fn waits_in_vain(site: &Site, client: &canary::Watched, patience: Duration) {
    let began = Instant::now();
    let error = thread::scope(|scope| {
        scope.spawn(|| {
            let told = || site.engine.tell::<String>("INFO clients");
            wait_until("it waits for the replica", || told().contains("blocked_clients:1"));
            site.server_passes(S * 2);
            site.engine.tell::<()>("PING"); // so that the server looks at its clock
        });
        client.token().unwrap_err()
    });
    let left = patience.saturating_sub(began.elapsed()); // at least
    assert_eq!(error.kind(), ErrorKind::Store, "{error}");
    let text = error.to_string();
    let (_, within) = text.split_once("took the token budget's ledger within ").unwrap_or_else(|| panic!("{text}"));
    let waited = Duration::from_millis(within.split_once(" ms").unwrap().0.parse().unwrap());
    let [least, most] = [left, patience].map(|time| Duration::from_millis((time / 2).min(S).as_millis() as u64));
    assert!((least..=most).contains(&waited), "{waited:?} of {least:?} to {most:?}");
}

/// G-08: a primary that is cut off may not be the primary any more.
#[test]
fn without_a_replica_s_word_no_request_leaves_that_counts() {
    for spent in [0, 1] {
        let (primary, replica) = pair();
        let url = primary.url();
        let site = Site::at(primary, url);
        for number in 0..spent {
            site.token(&audience("5/month", number));
        }
        let before = site.ledger();
        replica.signal(Signal::STOP);
        let client = site.process().client(&budgeted("5/month"));
        waits_in_vain(&site, &client, S * 3);
        assert_eq!((site.requests(), site.ledger()), (spent, before));
        assert_eq!(left(&client), Some(5 - spent as u32));
        site.token(&oauth2().audience("https://uncounted.example"));
        assert_eq!(site.requests(), spent + 1, "without a budget it goes on");
        replica.signal(Signal::CONT);
        site.advance(S * 60); // the pause after a failure
        value(&client);
        assert_eq!((site.requests(), left(&client)), (spent + 2, Some(4 - spent as u32)));
    }
}

/// G-08: nor do many calls that fail after each other.
#[test]
fn a_replica_that_does_not_answer_burns_no_request_however_short_the_call_s_time() {
    for (timeout, patience) in [("3900", S * 39 / 20), ("10000", S * 3)] {
        let (primary, replica) = pair();
        let url = primary.url();
        let site = Site::at(primary, url);
        replica.signal(Signal::STOP);
        let client = site.process().client(&budgeted("5/month").timeout_ms(timeout));
        for call in 1..4 {
            waits_in_vain(&site, &client, patience);
            assert_eq!((site.requests(), site.ledger()), (0, None), "{timeout} ms, call {call}");
            assert_eq!(left(&client), Some(5), "{timeout} ms, call {call}");
            site.advance(S * 60); // the pause after a failure
        }
        replica.signal(Signal::CONT);
    }
}

/// G-08: two servers that both take writes.
#[test]
fn in_a_split_brain_no_side_and_no_process_passes_the_budget() {
    let quota = "5/month";
    let (primary, replica) = pair();
    let (left_way, moving) = (primary.url(), Forwarder::to(primary.port));
    let site = Site::at(primary, left_way);
    replica.stop_clock_at(site.now());
    let machine = site.machine(site.now(), 1000);
    (0..2).for_each(|number| drop(site.token(&audience(quota, number))));
    replica.tell::<()>("REPLICAOF NO ONE");
    wait_until("the primary is alone", || {
        site.engine.tell::<String>("INFO replication").contains("connected_slaves:0")
    });
    // One process spends two here, another the last.
    let mover = site.process_at(&moving.url(), &machine);
    (2..4).for_each(|number| drop(value(&mover.client(&audience(quota, number)))));
    site.token(&audience(quota, 4));
    let refused = |client: &canary::Watched| {
        let before = site.requests();
        assert_eq!(client.token().unwrap_err().kind(), ErrorKind::Quota);
        assert_eq!(site.requests(), before);
    };
    refused(&site.process().client(&audience(quota, 5)));
    // It comes to the other side, where two were known, and brings its own.
    moving.leads_to(replica.port);
    assert_eq!(left(&mover.client(&audience(quota, 6))), Some(1));
    value(&mover.client(&audience(quota, 6)));
    refused(&mover.client(&audience(quota, 7)));
    refused(&site.process_at(&replica.url(), &machine).client(&audience(quota, 8)));
    assert_eq!(site.requests(), 6, "each side had five in all, and knew of two together");
}

/// G-09 to G-12: what processes spent themselves still counts.
#[test]
fn a_store_that_forgets_costs_a_request_and_refills_no_budget_of_living_processes() {
    type Loss = fn(&mut Arc<Site>);
    let losses: [(&str, Loss, bool); 4] = [
        ("FLUSHALL", |site| site.engine.tell("FLUSHALL"), true),
        ("a restart without a disk", |site| Arc::get_mut(site).unwrap().engine.start_again(), true),
        ("a lost token", |site| site.engine.tell(&format!("DEL {}", site.key("{token-"))), false),
        ("a lost ledger", |site| site.engine.tell(&format!("DEL {}", site.key("{ledger-"))), true),
    ];
    for (what, lose, loses_ledger) in losses {
        let (mut site, builder) = (Site::new(), budgeted("3/month"));
        let living = site.process();
        assert_eq!(value(&living.client(&builder)), "canary-token-1");
        lose(&mut site);
        let kept_token = what == "a lost ledger";
        assert_eq!(site.token(&builder), if kept_token { "canary-token-1" } else { "canary-token-2" }, "{what}");
        let known = if loses_ledger { 3 - u32::from(!kept_token) } else { 1 };
        assert_eq!(left(&site.process().client(&builder)), Some(known), "{what}: to a new process");
        let living_left = 2 - u32::from(!kept_token);
        assert_eq!(left(&living.client(&builder)), Some(living_left), "{what}: to the living");
        for number in 0..living_left {
            value(&living.client(&audience("3/month", number as usize)));
        }
        let error = living.client(&audience("3/month", 9)).token().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Quota, "{what}");
        assert_eq!(left(&site.process().client(&builder)), Some(0), "{what}: now all know again");
        assert_eq!(site.requests(), 3, "{what}");
    }
}

/// G-13.
#[test]
fn a_full_server_gives_no_request_that_counts_and_keeps_nobody_else_from_one() {
    for quota in [None, Some("5/month")] {
        let site = Site::new();
        site.engine.tell::<()>("CONFIG SET maxmemory 1");
        let client = site.process().client(&plain(quota));
        match quota {
            None => assert_eq!(value(&client), "canary-token-1"),
            Some(_) => {
                let error = client.token().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Store, "{error}");
                assert!(error.to_string().contains("raise maxmemory"), "{error}");
                assert_eq!((site.requests(), left(&client)), (0, Some(5)));
                site.engine.tell::<()>("CONFIG SET maxmemory 0");
                assert_eq!(value(&client), "canary-token-1");
            }
        }
    }
}

// ---- time ----

/// Each machine's clock is off, by a minute and by a day.
#[test]
fn machines_whose_clocks_differ_see_a_token_s_true_life() {
    for off in [-(DAY as i64), -60, 0, 60, DAY.into()] {
        for up in [10, 50 * DAY] {
            let site = Site::new();
            let other = site.machine(Duration::from_secs(NOW.strict_add_signed(off)), up);
            let (first, builder) = (site.process(), oauth2().refresh_ahead("off"));
            assert_eq!(value(&first.client(&builder)), "canary-token-1");
            for (after, token) in [(0, 1), (3580, 1), (20, 2)] {
                site.advance(S * after);
                let client = site.process_of(&other).client(&builder);
                assert_eq!(value(&client), format!("canary-token-{token}"), "off {off} s, up {up} s, after {after} s");
                let end = NOW as i64 + if token == 1 { 3600 } else { 7200 };
                let told = client.token().unwrap().expires_at();
                assert!(told.abs_diff(end) <= off.unsigned_abs() + 1, "by the machine's own wall clock at most");
            }
            assert_eq!(value(&first.client(&builder)), "canary-token-2");
        }
    }
}

/// As many as there are days; then the month is over for both.
#[test]
fn machines_whose_clocks_differ_share_a_month_of_31() {
    for off in [-(DAY as i64), -60, 60, DAY.into()] {
        let site = Site::new();
        site.tokens_live(DAY);
        site.advance(S * (10 * DAY)); // to the first of December
        let other = site.machine(Duration::from_secs((NOW + 10 * u64::from(DAY)).strict_add_signed(off)), 500);
        let builder = budgeted("31/month");
        for day in 0..31 {
            let [token, same] = [0, 1].map(|turn| match (day + turn) % 2 {
                0 => site.token(&builder),
                _ => value(&site.process_of(&other).client(&builder)),
            });
            assert_eq!(token, same, "off {off} s, day {day}");
            assert_eq!(site.requests(), day + 1, "off {off} s");
            site.advance(S * DAY - Duration::from_secs(u64::from(day == 30) * 60));
        }
        for machine in [&other, &site.process().world] {
            let error = site.process_of(machine).client(&builder.clone().audience("more")).token().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Quota, "off {off} s");
        }
        site.advance(S * 120);
        site.token(&builder);
        value(&site.process_of(&other).client(&builder));
        assert_eq!(site.requests(), 32, "off {off} s: a new month");
    }
}

/// G-17: in the midst of a turn, and back again. What a budget's requests are counted by is the provider's `Date`.
#[test]
fn a_jump_of_the_server_s_clock_gives_no_two_requests_more_than_the_budget() {
    for jump in [10 * 60, 40 * i64::from(DAY), -10 * 60, -40 * i64::from(DAY)] {
        for sent in [false, true] {
            let (site, quota) = (Site::new(), "5/month");
            let other = site.machine(site.now(), 1000);
            let jumped = Duration::from_secs(NOW.strict_add_signed(jump));
            let jumps = |to: Duration, number: usize| {
                let (holder, there, meanwhile) = (site.process(), site.clone(), site.process_of(&other));
                let act = move || {
                    there.set_server(to);
                    let _ = meanwhile.client(&audience(quota, number)).token();
                };
                if sent {
                    holder.before_it_publishes(act)
                } else {
                    holder.before_it_sends(act)
                }
                let _ = holder.client(&audience(quota, number)).token();
            };
            jumps(jumped, 0);
            let at_once = site.requests();
            assert!(at_once <= 2, "jump {jump} s, sent {sent}: {at_once} for one token");
            jumps(site.now(), 1);
            for number in 2..9 {
                let _ = site.process().client(&audience(quota, number)).token();
                let _ = site.process_of(&other).client(&audience(quota, number)).token();
                site.set_server(if number % 2 == 0 { jumped } else { site.now() });
            }
            assert!((5..=6).contains(&site.requests()), "jump {jump} s, sent {sent}: {}", site.requests());
        }
    }
}

/// G-17: of its own boot a machine knows better; another must believe the server.
#[test]
fn a_token_s_life_goes_by_the_machine_s_own_clock_where_it_was_asked_for() {
    let builder = oauth2().refresh_ahead("off");
    for (server, own, others) in [
        (0, "canary-token-2", "canary-token-2"),
        (40 * i64::from(DAY), "canary-token-1", "canary-token-2"),
        (-3600, "canary-token-2", "canary-token-1"),
    ] {
        for is_own in [true, false] {
            let site = Site::new();
            let other = site.machine(site.now(), 1000);
            site.token(&builder);
            // Its life is over, or, where the server's clock alone says so, is not.
            site.advance(S * if server > 0 { 60 } else { 3600 });
            site.set_server(Duration::from_secs(site.now().as_secs().strict_add_signed(server)));
            let process = if is_own { site.process() } else { site.process_of(&other) };
            let expected = if is_own { own } else { others };
            assert_eq!(value(&process.client(&builder)), expected, "server {server} s, own {is_own}");
        }
    }
}

/// G-17: else nobody would have a turn before that time of day.
#[test]
fn a_server_s_clock_that_is_set_back_makes_no_lease_longer() {
    for (sends, most) in [(false, 5000), (true, 615_000)] {
        let engine = Engine::start();
        engine.stop_clock_at(at(0));
        let store = || redis_store(&engine.url(), Seams::system().unwrap().clock).unwrap();
        let dead = store().turn(&name(0), &enough()).unwrap();
        if sends {
            dead.hold(&enough()).unwrap();
        }
        let then = at(0) - S * DAY;
        engine.stop_clock_at(then);
        assert_late(store().turn(&name(0), &at_once()));
        assert_eq!(turn(&engine).unwrap().1, most);
        engine.stop_clock_at(then + Duration::from_millis(most as u64 + 1));
        store().turn(&name(0), &at_once()).unwrap();
        std::mem::forget(dead);
    }
}

// ---- what the server sees ----

/// All that clients say to the server while `body` runs.
fn monitored(engine: &Engine, body: impl FnOnce()) -> String {
    let mut line = TcpStream::connect(("127.0.0.1", engine.port)).unwrap();
    line.write_all(b"MONITOR\r\n").unwrap();
    let mut lines = BufReader::new(line).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "+OK");
    body();
    engine.tell::<String>("ECHO the-end");
    lines.take_while(|line| !line.contains("the-end")).map(|line| line + "\n").collect()
}

/// G-18, G-22.
#[test]
fn a_server_sees_nothing_of_tokens_secrets_and_whose_they_are() {
    let site = Site::new();
    let of = |secret: &str| budgeted("5/month").client_id("someone").scope("scope:a").client_secret(secret);
    let (one, another) = (of("canary-secret-0123456789abcdef"), of("canary-secret-another-0123456789"));
    let told = monitored(&site.engine, || {
        assert_eq!(site.token(&one), "canary-token-1");
        assert_eq!(site.token(&another), "canary-token-2", "another secret's documents are nothing to it");
        let client = site.process().client(&one);
        client.invalidate(&client.token().unwrap()).unwrap();
        client.clear().unwrap();
        assert_eq!(value(&client), "canary-token-3");
        site.advance(S * 3600);
        site.world().provider.always(Act::Reply(400, vec![], br#"{"error": "invalid_client"}"#.to_vec()));
        client.token().unwrap_err();
    });
    let keys = site.keys("");
    assert_eq!(site.keys("{token-").len(), 2, "{keys:?}");
    assert_eq!(site.keys("{ledger-").len(), 1, "one budget: {keys:?}");
    let mut seen = format!("{told}{keys:?}");
    for key in &keys {
        let dump: Vec<u8> = site.engine.tell(&format!("DUMP {key}"));
        let value: Vec<u8> = site.engine.tell(&format!("GET {key}"));
        seen += &format!("{}{}", String::from_utf8_lossy(&dump), String::from_utf8_lossy(&value));
    }
    assert!(seen.contains("tokauth ledger 1 "), "it is all there");
    for known in ["canary", "scope", "someone", "Bearer", "auth.example", "oauth2", "invalid_client"] {
        assert!(!seen.contains(known), "{known}: {seen}");
    }
    // Where a cluster has them: the keys of a script have one hash tag.
    let mut scripts = 0;
    for line in told.lines().filter(|line| line.contains("\"EVAL\"")) {
        let keys: Vec<_> = line.split("\"tokauth:").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        let tag = |key: &str| key.strip_prefix('{').unwrap().split_once('}').unwrap().0.to_owned();
        assert!(keys.iter().all(|key| tag(key) == tag(keys[0])), "{line}");
        scripts += keys.len().min(1);
    }
    assert!(scripts > 20, "{told}");
}

#[test]
fn a_document_goes_when_nobody_has_changed_it_for_a_year_and_a_ledger_stays() {
    let site = Site::new();
    let client = site.process().client(&budgeted("5/month"));
    site.world().provider.next(Act::Reply(429, vec![("retry-after", "10".into())], vec![]));
    client.token().unwrap_err();
    site.advance(S * 10);
    value(&client);
    let year = 366 * i64::from(DAY) * 1000;
    for (word, life) in [("{token-", year), ("{credential-", year), ("{ledger-", -1)] {
        assert_eq!(site.engine.tell::<i64>(&format!("PTTL {}", site.key(word))), life, "{word}");
    }
    assert_eq!(site.keys("").len(), 3, "and nothing else is left");
}

/// G-21.
#[test]
fn a_server_that_forgets_scripts_is_told_them_again() {
    let site = Site::new();
    let client = site.process().client(&budgeted("5/month"));
    for number in 1..4 {
        site.engine.tell::<()>("SCRIPT FLUSH");
        client.clear().unwrap();
        site.engine.tell::<()>("SCRIPT FLUSH");
        assert_eq!(value(&client), format!("canary-token-{number}"));
    }
}

/// A turn and what it is for may have different names, and so different servers of a cluster.
#[test]
fn a_cluster_is_refused_when_the_client_is_made() {
    let engine = Engine::with(&["--cluster-enabled", "yes", "--cluster-port", &port::reserve().to_string()]);
    engine.tell::<()>("CLUSTER ADDSLOTSRANGE 0 16383");
    wait_until("the cluster is whole", || engine.tell::<String>("CLUSTER INFO").contains("cluster_state:ok"));
    for quota in ["none", "5/month"] {
        let error = canary::build(&budgeted(quota).store(engine.url())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Store, "{error}");
        assert!(error.to_string().contains("clusters are not supported; give a single server"), "{error}");
    }
}

#[test]
fn databases_and_prefixes_keep_fleets_apart() {
    let site = Site::new();
    let (url, machine) = (site.engine.url(), site.process().world);
    for round in 0..2 {
        for (number, place) in ["", "/1", "?prefix=other:", "/1?prefix=other:"].iter().enumerate() {
            let process = site.process_at(&format!("{url}{place}"), &machine);
            let client = process.client(&budgeted("1/month"));
            assert_eq!(value(&client), format!("canary-token-{}", number + 1), "{place}, round {round}");
        }
    }
    assert_eq!(site.requests(), 4);
    assert_eq!((site.keys("tokauth:{").len(), site.keys("other:{").len(), site.keys("").len()), (2, 2, 4));
}

// ---- what it costs ----

/// Connections, scripts, and other commands: `INFO` and `WAIT`.
fn cost(engine: &Engine, body: impl FnOnce()) -> [u64; 3] {
    engine.tell::<()>("CONFIG RESETSTAT");
    body();
    // Before this one is counted, but not its connection.
    let told: String = engine.tell("INFO everything");
    let count = |head: &str| {
        let rest = told.lines().find_map(|line| line.strip_prefix(head)).unwrap_or("0");
        rest.split(',').next().unwrap().trim().parse::<u64>().unwrap()
    };
    let others = ["info", "wait"].map(|command| count(&format!("cmdstat_{command}:calls=")));
    [count("total_connections_received:") - 1, count("cmdstat_eval:calls="), others.iter().sum()]
}

#[test]
fn a_call_makes_one_connection_and_few_commands() {
    // A miss, a token of another's, and one's own.
    for (quota, replicated, costs) in [
        (None, false, [[1, 10, 0], [1, 2, 0], [0, 0, 0]]),
        (Some("5/month"), false, [[1, 16, 2], [1, 3, 0], [0, 0, 0]]),
        (Some("5/month"), true, [[1, 16, 4], [1, 3, 0], [0, 0, 0]]),
    ] {
        let (primary, replica) = if replicated { pair() } else { (Engine::start(), Engine::start()) };
        let url = primary.url();
        let site = Site::at(primary, url);
        let [first, second] = [0; 2].map(|_| site.process().client(&plain(quota)));
        let calls = [&first, &second, &second].map(|client| cost(&site.engine, || drop(value(client))));
        assert_eq!(calls, costs, "quota {quota:?}, replicated {replicated}");
        drop(replica);
    }
}

/// G-19.
#[test]
fn who_waits_asks_every_50_to_250_ms_as_chance_will_have_it() {
    let engine = Engine::start();
    engine.stop_clock_at(S * NOW as u32);
    let _held = redis_store(&engine.url(), Seams::system().unwrap().clock).unwrap().turn(&name(0), &enough()).unwrap();
    fn filled<const WITH: u8>(bytes: &mut [u8]) -> Result<(), Error> {
        bytes.fill(WITH);
        Ok(())
    }
    for (random, asks) in [(filled::<0> as fn(&mut [u8]) -> _, 79..=82), (filled::<255>, 16..=18)] {
        let mut seams = World::new().seams;
        seams.random = random;
        let store = redis_store_over(&engine.url(), &seams).unwrap();
        let before = engine.count("eval");
        assert_late(store.turn(&name(0), &Deadline::after(&seams.clock, S * 4)));
        let asked = engine.count("eval") - before;
        assert!(asks.contains(&asked), "{asked}");
    }
}

/// The server's time is asked for on each connection.
#[test]
fn a_server_s_new_time_is_known_with_the_next_call() {
    let engine = Engine::start();
    let store = redis_store(&engine.url(), World::new().seams.clock).unwrap();
    assert_eq!(store.since_epoch(), None);
    for time in [S * NOW as u32, S * (NOW as u32 + 7), S * (NOW as u32 - 3600)] {
        engine.stop_clock_at(time);
        store.visit(S * 60).unwrap().load(&name(0)).unwrap();
        assert_eq!(store.since_epoch(), Some(time));
    }
}

#[test]
fn who_waits_asks_at_most_twenty_times_a_second_on_one_connection() {
    let site = Site::new();
    let held = site.process().world.seams.store.unwrap().turn(&name(0), &enough()).unwrap();
    let Seams { clock, store, .. } = site.process().world.seams;
    let [connections, scripts, others] = cost(&site.engine, || {
        assert_late(store.unwrap().turn(&name(0), &Deadline::after(&clock, S * 4)));
    });
    // The first tells the time, and the last comes at the deadline.
    assert!((1, 0) == (connections, others) && (18..=82).contains(&scripts), "{connections} {scripts} {others}");
    println!("{} times in 4 s", scripts - 1);
    drop(held);
}

#[test]
fn who_waits_for_a_turn_hears_that_its_document_has_changed() {
    let engine = Engine::start();
    let store = redis_store(&engine.url(), Seams::system().unwrap().clock).unwrap();
    let (turn, document) = (name(0), name(1));
    let wanted = |seen| {
        let waited = store.turn_unless_changed(&turn, &at_once(), (&document, seen));
        waited.map(|turn| turn.is_some())
    };
    for (seen, other) in
        [(None, "something"), (Some("short"), "shore"), (Some("one of many more bytes"), "one of many more bites")]
    {
        if let Some(there) = seen {
            put(&store, &document, there.as_bytes()).unwrap();
        }
        let (seen, other) = (seen.map(str::as_bytes), Some(other.as_bytes()));
        assert!(wanted(seen).unwrap(), "{seen:?}");
        assert!(!wanted(other).unwrap(), "{seen:?}");
        let anothers = store.turn(&turn, &at_once()).unwrap();
        assert_late(wanted(seen));
        assert!(!wanted(other).unwrap(), "it waits: {seen:?}");
        drop(anothers);
    }
    assert!(!wanted(None).unwrap());
}
