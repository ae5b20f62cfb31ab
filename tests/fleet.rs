//! Processes of many machines share tokens and budgets through a real Redis. The numbers are those of the fault
//! catalogue (G).
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod conformance;
mod engine;
mod temp;
mod world;

use std::sync::Arc;

use conformance::conforms;
use engine::Engine;
use tokauth::seams::{Seams, redis_store};

#[test]
fn a_redis_is_a_store() {
    let engine = Engine::start();
    conforms(&|| Arc::new(redis_store(&engine.url(), Seams::system().unwrap().clock).unwrap()));
}
