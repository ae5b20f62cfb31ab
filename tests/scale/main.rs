//! What a fleet of up to 10,000 hosts on one Redis costs when its token is replaced: the library and the server are the
//! real ones, time and the provider are not. Each trip to the server takes 1 ms, and the provider answers in 300 ms.
#![allow(unreachable_pub)] // a program has no outside
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

#[path = "../draw/mod.rs"]
mod draw;
#[path = "../engine/mod.rs"]
mod engine;
mod fleet;
mod server;
#[path = "../signal/mod.rs"]
mod signal;
mod sim;
#[path = "../temp/mod.rs"]
mod temp;

use std::time::Duration;

use fleet::{Case, Fleet, Outcome};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const USUAL: Case = Case { hosts: 0, scarce: false, every: SECOND, start: SECOND };

fn head() {
    let counts = "requests | commands | most in 1 s | connections | open at once | MB | due in 1 s";
    println!("| hosts | what happens | {counts} | half wait | 99 % | all |");
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
}

fn row(name: &str, hosts: usize, outcome: &Outcome) {
    let Outcome { requests, total, peak, open, due, .. } = outcome;
    let wait = |share| format!("{:.2} s", outcome.wait(share).as_secs_f64());
    println!(
        "| {hosts} | {name} | {requests} | {} | {} | {} | {open} | {:.1} | {due} | {} | {} | {} |",
        total.commands,
        peak.commands,
        total.connections,
        total.bytes as f64 / 1e6,
        wait(0.5),
        wait(0.99),
        wait(1.0),
    );
}

/// One request, whoever comes when; a bounded number of commands for each host; and nobody is left without a token.
fn keeps(name: &str, case: &Case, outcome: &Outcome) {
    let what = format!("{name}, {} hosts: {:?} {:?}", case.hosts, outcome.total, outcome.failures);
    assert!(outcome.requests == 1 && outcome.failures.is_empty(), "{what}");
    assert!(outcome.calls >= case.hosts && outcome.total.commands <= 20 * case.hosts as i64, "{what}");
    assert!(outcome.waits.iter().all(|wait| *wait < SECOND * 4), "{what}");
}

fn table(sizes: &[usize]) {
    head();
    for (start, turnover, case) in [
        ("all start within 1 s", "refresh ahead, asked each second", USUAL),
        (
            "all start within a minute",
            "refresh ahead, asked each minute",
            Case { every: MINUTE, start: MINUTE, ..USUAL },
        ),
        ("all start within 1 s, scarce", "a scarce token ends", Case { scarce: true, ..USUAL }),
    ] {
        for hosts in sizes.iter().copied() {
            let case = Case { hosts, ..case };
            let mut fleet = Fleet::new(case);
            for (name, outcome) in [(start, fleet.start()), (turnover, fleet.turnover())] {
                row(name, hosts, &outcome);
                keeps(name, &case, &outcome);
            }
        }
    }
}

#[test]
fn a_hundred_hosts_send_one_request_for_each_token() {
    table(&[100]);
}

/// Takes minutes; prints the table of `examples/fleet.md`.
#[test]
#[ignore]
fn ten_thousand_hosts_send_one_request_for_each_token() {
    table(&[100, 1000, 10_000]);
}
