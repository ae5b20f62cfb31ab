//! Many processes want a token at once. Apart from the other tests of fleets, since it takes the whole machine. The
//! number is that of the fault catalogue (G).
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod engine;
#[path = "fleet/process.rs"]
mod process;
mod signal;
mod standin;
mod temp;

use engine::Engine;
use process::{Process, options};
use standin::Standin;

/// Of each process that the test below starts, this is the program.
#[test]
fn a_process_of_its_own() {
    process::act();
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
