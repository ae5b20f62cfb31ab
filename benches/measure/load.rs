//! What the server and the other callers notice while a token is missing, ends, or cannot be had.

use std::path::Path;
use std::sync::Barrier;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use crate::abi::{Abi, InC};
use crate::hot::options;
use crate::server::{Server, reply};

const MS: Duration = Duration::from_millis(1);

fn client(library: &Path, server: &Server) -> InC {
    InC::new(Abi::load(library), &options(&server.url))
}

/// How long each call took, of so many callers that each ask every `pause` for a time; their status too.
fn callers(client: &InC, count: usize, pause: Duration, time: Duration) -> Vec<(Duration, i32)> {
    let end = Instant::now() + time;
    let caller = || {
        let mut calls = Vec::new();
        while Instant::now() < end {
            let began = Instant::now();
            let status = client.copy_authorization(&mut [0; 8192]);
            calls.push((began.elapsed(), status));
            sleep(pause);
        }
        calls
    };
    scope(|scope| {
        let handles: Vec<_> = (0..count).map(|_| scope.spawn(caller)).collect();
        handles.into_iter().flat_map(|handle| handle.join().unwrap()).collect()
    })
}

pub fn herd(library: &Path) {
    const THREADS: usize = 1000;
    let server = Server::of_tokens(1200, 3600, 50 * MS);
    let (client, start) = (client(library, &server), Barrier::new(THREADS));
    let caller = || {
        start.wait();
        let began = Instant::now();
        assert_eq!(client.copy_authorization(&mut [0; 8192]), 0);
        began.elapsed()
    };
    let longest = scope(|scope| {
        let handles: Vec<_> = (0..THREADS).map(|_| scope.spawn(caller)).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).max().unwrap()
    });
    println!(
        "{THREADS} threads, nothing cached, a server that takes 50 ms: {} requests, {longest:.0?}",
        server.requests()
    );
}

pub fn renewal(library: &Path) {
    let server = Server::of_tokens(1200, 2, 100 * MS);
    let client = client(library, &server);
    client.token_and_free();
    let mut calls: Vec<Duration> = callers(&client, 8, MS, 7000 * MS).into_iter().map(|(time, _)| time).collect();
    calls.sort();
    let renewals = server.requests() - 1;
    let (ahead, waits) = (client.counter(2), client.counter(5));
    let over = calls.iter().filter(|time| **time > 10 * MS).count();
    let others = &calls[..calls.len() - renewals];
    println!("8 callers, a call each ms, 7 s; tokens of 2 s; a server that takes 100 ms: {} calls", calls.len());
    println!("{renewals} renewals, {ahead} of them ahead; {waits} calls waited for another's; {over} took over 10 ms");
    let at = |share: f64| others[(others.len() as f64 * share) as usize];
    println!(
        "calls but for one a renewal: p50 {:.1?}, p99.9 {:.1?}, longest {:.1?}",
        at(0.5),
        at(0.999),
        others[others.len() - 1]
    );
}

pub fn failure(library: &Path) {
    let wait = "Retry-After: 2\r\n";
    let servers = [(500, ""), (429, ""), (429, wait), (503, wait), (400, "")];
    println!("4 callers, a call each 10 ms, 6 s; requests sent, and the longest call");
    let rows = scope(|scope| {
        let run = |(status, header)| {
            let server = Server::start(reply(status, header, r#"{"error":"temporarily_unavailable"}"#), Duration::ZERO);
            let calls = callers(&client(library, &server), 4, 10 * MS, 6000 * MS);
            assert!(calls.iter().all(|(_, status)| *status != 0));
            let longest = calls.iter().map(|(time, _)| time).max().unwrap();
            format!("{status} {:15}{:5} of {} calls, {longest:.1?}", header.trim(), server.requests(), calls.len())
        };
        let handles: Vec<_> = servers.into_iter().map(|server| scope.spawn(move || run(server))).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect::<Vec<_>>()
    });
    rows.iter().for_each(|row| println!("{row}"));
}
