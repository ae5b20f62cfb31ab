//! Random numbers that are the same in each run.
#![allow(dead_code, unreachable_pub)] // each test file uses a part

use std::cell::Cell;
use std::time::Duration;

use tokauth::Error;

/// Splitmix64.
#[derive(Clone, Debug)]
pub struct Draw(pub u64);

impl Draw {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, count: u64) -> u64 {
        self.next() % count
    }

    pub fn chance(&mut self, chance: f64) -> bool {
        self.unit() < chance
    }

    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn up_to(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.unit())
    }
}

thread_local! {
    static RANDOM: Cell<u64> = const { Cell::new(1) };
}

/// The next random numbers of this thread follow from it.
pub fn seed_random(seed: u64) {
    RANDOM.set(seed);
}

/// The system's random numbers, the same in each run.
pub fn random(bytes: &mut [u8]) -> Result<(), Error> {
    let mut draw = Draw(RANDOM.get());
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&draw.next().to_le_bytes()[..chunk.len()]);
    }
    RANDOM.set(draw.0);
    Ok(())
}
