//! H-02: years of continuous demand in virtual time, with a provider that allows 31 tokens of 24 hours a month: never one
//! more, whatever happens; with no faults, never a moment without a token. And what others would do, in the same table.
#![allow(unreachable_pub)] // a program has no outside
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

#[path = "../draw/mod.rs"]
mod draw;
#[cfg(feature = "redis")]
#[path = "../engine/mod.rs"]
mod engine;
mod fleet;
mod machine;
mod naive;
mod provider;
#[cfg(feature = "redis")]
mod real;
#[cfg(feature = "redis")]
#[path = "../signal/mod.rs"]
mod signal;
mod store;
#[cfg(feature = "redis")]
#[path = "../temp/mod.rs"]
mod temp;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use draw::Draw;
use fleet::{CALM, Life, Outcome, YEAR};
use naive::Habit;
use provider::{CAP, DAY, next_month};
use store::{Servers, disks, servers};

/// What a row promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    /// Never more than the cap, and never without a token.
    NoGap,
    /// Never more than the cap, and never without a token for longer than another machine's clock may be wrong.
    ShortGap,
    /// Never more than the cap, nor, where there are several servers that do not know of each other, than the cap of each.
    Cap,
    /// Never more than the cap by one process.
    CapOfProcess,
    /// Told, not promised.
    Nothing,
}

const MINUTE: Duration = Duration::from_secs(60);

fn library() -> Vec<(&'static str, Promise, Life)> {
    let killed = Life { restarts: 0.2, kills: 0.2, full_disks: 0.01, processes: 4, ..CALM };
    let stepped = Life { steps: 0.05, drift: 50, undated: 0.1, processes: 4, ..CALM };
    let rejected = Life { rejections: 0.02, persons: 0.005, rotations: 0.005, scopes: 4, processes: 4, ..CALM };
    vec![
        ("no faults, 1 process", Promise::NoGap, CALM),
        ("no faults, 10 processes", Promise::NoGap, Life { processes: 10, ..CALM }),
        ("no faults, 50 processes", Promise::NoGap, Life { processes: 50, ..CALM }),
        ("restarts", Promise::NoGap, Life { restarts: 0.5, processes: 4, ..CALM }),
        ("kills, full disks", Promise::Cap, killed),
        ("outages", Promise::Cap, Life { troubles: 40.0, undated: 0.1, processes: 4, ..CALM }),
        ("wall clock steps, drift", Promise::Cap, stepped),
        ("the same and reboots", Promise::Cap, Life { reboots: 0.05, ..stepped }),
        ("rejections, people, rotations", Promise::Cap, rejected),
        (
            "everything",
            Promise::Cap,
            Life {
                processes: 10,
                scopes: 2,
                restarts: 0.2,
                kills: 0.1,
                full_disks: 0.005,
                troubles: 20.0,
                undated: 0.1,
                steps: 0.02,
                reboots: 0.02,
                drift: 50,
                rejections: 0.01,
                persons: 0.002,
                rotations: 0.002,
                ..CALM
            },
        ),
        ("reboots to a clock ahead", Promise::Nothing, Life { reboots: 0.05, ahead: true, ..rejected_and(stepped) }),
    ]
}

/// Of several machines, by the clock of the server that they share.
fn fleets() -> Vec<(&'static str, Promise, Life)> {
    let fleet = Life { machines: 2, processes: 10, ..CALM };
    let apart = Life { apart: MINUTE * 2, drift: 50, ..fleet };
    let killed = Life { restarts: 0.1, kills: 0.1, ..apart };
    let split = Life { sides: 2, scopes: 4, rejections: 0.05, persons: 0.05, ..apart };
    vec![
        ("no faults, 10 processes on 2", Promise::ShortGap, fleet),
        ("clocks a minute off, drift", Promise::Cap, apart),
        ("wall clock steps, reboots", Promise::Cap, Life { steps: 0.05, reboots: 0.05, undated: 0.1, ..apart }),
        ("kills, restarts", Promise::Cap, killed),
        ("outages of the store", Promise::Cap, Life { away: 0.02, ..killed }),
        ("outages of the provider", Promise::Cap, Life { troubles: 40.0, undated: 0.1, ..killed }),
        ("the store comes back empty", Promise::CapOfProcess, Life { losses: 0.005, ..apart }),
        ("server clock steps, 2 minutes", Promise::Cap, Life { server_steps: 0.05, server_off: MINUTE * 2, ..apart }),
        ("server clock steps, 2 days", Promise::Nothing, Life { server_steps: 0.02, server_off: DAY * 2, ..apart }),
        (
            "everything",
            Promise::Cap,
            Life {
                machines: 3,
                scopes: 2,
                away: 0.005,
                troubles: 20.0,
                undated: 0.1,
                steps: 0.02,
                reboots: 0.02,
                server_steps: 0.02,
                server_off: MINUTE * 2,
                rejections: 0.01,
                persons: 0.002,
                rotations: 0.002,
                ..killed
            },
        ),
        ("two servers, apart", Promise::Cap, split),
        ("and processes change sides", Promise::Cap, Life { moves: 0.2, processes: 2, ..split }),
    ]
}

/// With losses, so that budgets are spent when it comes.
fn rejected_and(life: Life) -> Life {
    Life { rejections: 0.02, ..life }
}

/// A moment to begin at, in any month of 2023 to 2104: any, or just after a month has turned.
fn start(draw: &mut Draw) -> Duration {
    let any = Duration::from_secs(1_672_531_200) + draw.up_to(YEAR * 80);
    match draw.chance(0.5) {
        true => any,
        false => next_month(any) + draw.up_to(Duration::from_secs(30)),
    }
}

/// Lives so often, each time with other luck and from another moment on, side by side.
fn lives(count: usize, seed: u64, live: impl Fn(u64, Duration) -> Outcome + Sync) -> Vec<Outcome> {
    let mut draw = Draw(seed);
    let begins: Vec<_> = (0..count).map(|_| (draw.next(), start(&mut draw))).collect();
    let next = AtomicUsize::new(0);
    // Each thread takes the next one that is left.
    let work = || {
        let begin = || begins.get(next.fetch_add(1, Ordering::Relaxed));
        std::iter::from_fn(begin).map(|(seed, start)| live(*seed, *start)).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(count);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn sum(outcomes: &[Outcome]) -> Outcome {
    outcomes.iter().fold(Outcome::default(), |mut sum, outcome| {
        sum.add(outcome);
        sum
    })
}

fn head() {
    println!(
        "{:<34} {:>5} {:>7} {:>6} {:>7} {:>7} {:>9} {:>10} {:>9}",
        "", "years", "tokens", "worst", "of one", "months", "3 years", "gap", "longest"
    );
    println!(
        "{:<34} {:>5} {:>7} {:>6} {:>7} {:>7} {:>9} {:>10} {:>9}",
        "", "", "", "month", "process", "over", "over", "h/year", "gap, h"
    );
}

fn row(name: &str, outcomes: &[Outcome], gaps: bool) {
    let all = sum(outcomes);
    let runs = outcomes.iter().filter(|run| run.months_over > 0).count() as f64 / outcomes.len() as f64;
    let hours = |time: Duration| format!("{:.3}", time.as_secs_f64() / 3600.0);
    let none = || "-".to_owned();
    let (gap, longest, process) = match gaps {
        true => (hours(all.gap.div_f64(all.years)), hours(all.longest_gap), all.worst_process.to_string()),
        false => (none(), none(), none()),
    };
    println!(
        "{name:<34} {:>5.0} {:>7} {:>6} {process:>7} {:>6.1}% {:>8.1}% {gap:>10} {longest:>9}",
        all.years,
        all.tokens,
        all.worst_month,
        100.0 * all.months_over as f64 / all.months as f64,
        100.0 * runs,
    );
}

/// Whether they kept it, each of whom has so many servers.
fn is_kept(promise: Promise, sides: u64, all: &Outcome) -> bool {
    let is_within = promise == Promise::CapOfProcess || all.worst_month <= CAP * sides as u32;
    let gap = match promise {
        Promise::NoGap => all.gap.is_zero() && all.longest_wait < MINUTE / 4,
        Promise::ShortGap => all.longest_gap < MINUTE * 5,
        _ => true,
    };
    promise == Promise::Nothing || is_within && all.worst_process <= CAP && gap
}

/// A table: so many lives of each row, of such a length.
fn table(rows: &[(&str, Promise, Life)], servers: Servers, count: usize, length: Duration) {
    head();
    let mut broken = Vec::new();
    for (number, (name, promise, life)) in rows.iter().enumerate() {
        let live = |seed, start| fleet::live(life, servers, seed, start, length);
        let outcomes = lives(count, number as u64, live);
        row(name, &outcomes, true);
        let all = sum(&outcomes);
        if !is_kept(*promise, life.sides, &all) {
            broken.push((name, all));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// So many lives of others, of three years.
fn others(count: usize) {
    for (name, habit) in [
        ("others: 10 % early", Habit::Early(MINUTE * 144)),
        ("others: 5 minutes early", Habit::Early(MINUTE * 5)),
        ("others: 1 minute early", Habit::Early(MINUTE)),
        ("others: 2 s early", Habit::Early(Duration::from_secs(2))),
        ("no store, cron every 5 minutes", Habit::Started(MINUTE * 5)),
        ("no store, a restart a day", Habit::StartedDaily),
    ] {
        let live = |seed, start| naive::live(habit, seed, start, YEAR * 3);
        row(name, &lives(count, 99, live), false);
    }
}

/// Five weeks of each, over the turn of a month.
#[test]
fn the_budget_holds_over_the_turn_of_a_month() {
    table(&library(), disks, 1, YEAR / 10);
    others(10);
}

#[test]
fn the_budget_of_several_machines_holds_over_the_turn_of_a_month() {
    table(&fleets(), servers, 1, YEAR / 10);
}

#[cfg(feature = "redis")]
#[test]
fn the_budget_in_redis_holds_over_the_turn_of_a_month() {
    table(&fleets(), real::engines, 1, YEAR / 10);
}

/// Takes minutes; prints the table.
#[test]
#[ignore]
fn the_budget_holds_for_a_thousand_years() {
    table(&library(), disks, 34, YEAR * 3);
    others(334);
}

/// The same.
#[test]
#[ignore]
fn the_budget_of_several_machines_holds_for_a_thousand_years() {
    table(&fleets(), servers, 34, YEAR * 3);
}

/// The same.
#[cfg(feature = "redis")]
#[test]
#[ignore]
fn the_budget_in_redis_holds_for_a_thousand_years() {
    table(&fleets(), real::engines, 34, YEAR * 3);
}
