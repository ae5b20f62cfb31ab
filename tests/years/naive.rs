//! What clients do that renew some time before the end, or that each process for itself asks: simple arithmetic.

use std::time::Duration;

use super::draw::Draw;
use super::fleet::{Outcome, YEAR};
use super::provider::{CAP, DAY, month_of};

/// When one asks for another token.
#[derive(Clone, Copy, Debug)]
pub enum Habit {
    /// So long before the end, by a clock that began before the request left.
    Early(Duration),
    /// At the end, and whenever a process starts that shares nothing: so often, or at a random moment of each day.
    Started(Duration),
    StartedDaily,
}

/// What it comes to, and whether a month was over.
pub fn live(habit: Habit, seed: u64, start: Duration, length: Duration) -> Outcome {
    let mut draw = Draw(seed);
    let (mut now, mut issued) = (start, std::collections::BTreeMap::<i64, u32>::new());
    let mut next_start = start + draw.up_to(DAY);
    while now < start + length {
        let sent = now;
        now += Duration::from_millis(100) + draw.up_to(Duration::from_millis(400));
        *issued.entry(month_of(now)).or_default() += 1;
        // Somebody asks every second or so.
        let asks = draw.up_to(Duration::from_secs(1));
        now = match habit {
            Habit::Early(lead) => sent + DAY - lead + asks,
            Habit::Started(every) => sent + every,
            Habit::StartedDaily => {
                while next_start <= now {
                    let midnight = Duration::from_secs(next_start.as_secs() / 86_400 * 86_400) + DAY;
                    next_start = midnight + draw.up_to(DAY);
                }
                next_start.min(now + DAY + asks)
            }
        };
    }
    let over = issued.values().filter(|issued| **issued > CAP).count() as u64;
    Outcome {
        years: length.as_secs_f64() / YEAR.as_secs_f64(),
        tokens: issued.values().map(|issued| u64::from(*issued)).sum(),
        worst_month: issued.values().copied().max().unwrap_or(0),
        months: issued.len() as u64,
        months_over: over,
        ..Outcome::default()
    }
}
