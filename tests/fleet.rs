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
#[path = "fleet/site.rs"]
mod site;
mod standin;
mod temp;
mod world;

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use conformance::{assert_late, at_once, conforms, enough, name};
use engine::Engine;
use forwarder::Forwarder;
use process::{Options, Process, wait_until, with};
use rustix::process::Signal;
use site::{Site, budgeted, left, plain, value};
use standin::Standin;
use tokauth::seams::{Seams, Store, redis_store};
use world::{NOW, S};

#[test]
fn a_redis_is_a_store() {
    let engine = Engine::start();
    conforms(&|| Arc::new(redis_store(&engine.url(), Seams::system().unwrap().clock).unwrap()));
}

/// Of each process that the tests below start, this is the program.
#[test]
fn a_process_of_its_own() {
    process::act();
}

// ---- real processes ----

/// For the stand-in, with that store and perhaps a budget.
fn options(standin: &Standin, store: &str, quota: Option<&str>) -> Options {
    let options = with(with(standin.oauth2_options("post"), "store", store), "timeout_ms", "60000");
    quota.map_or(options.clone(), |quota| with(options, "quota", quota))
}

/// Whose the turn is, and for how many milliseconds yet.
fn turn(engine: &Engine) -> Option<(String, i64)> {
    let keys: Vec<String> = engine.tell("KEYS *:turn");
    let key = keys.first()?;
    let holder: Option<String> = engine.tell(&format!("GET {key}"));
    Some((holder?, engine.tell(&format!("PTTL {key}"))))
}

/// G-19: processes that are let go at once.
#[test]
fn two_hundred_processes_that_come_together_send_one_request() {
    for quota in [None, Some("31/month")] {
        let (engine, standin) = (Engine::start(), Standin::start());
        let options = options(&standin, &engine.url(), quota);
        let mut processes: Vec<_> = (0..200).map(|_| Process::start(&options, "wait token")).collect();
        for process in &mut processes {
            assert_eq!(process.says(), "ready");
        }
        processes.iter_mut().for_each(Process::go_on);
        let tokens: Vec<_> = processes.iter_mut().map(Process::says).collect();
        assert!(tokens[0].starts_with("token ") && tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
        assert_eq!(standin.token_requests("oauth2"), 1, "quota {quota:?}");
        if quota.is_some() {
            assert_eq!(Process::start(&options, "budget").says(), "30");
        }
    }
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
    for (timeout, lease) in [("30000", 45_000), ("10000", 25_000)] {
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
    let clients: String = engine.tell("CLIENT LIST");
    assert_eq!(clients.lines().count(), 1, "only who asks: {clients}");
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

/// G-06: and the other's request is under way.
#[test]
fn who_slept_past_its_turn_before_it_sent_waits_for_who_sends() {
    let site = Site::new();
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
