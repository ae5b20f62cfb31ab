//! How far a provider's clock is from ours, as its own replies tell. Pure.

use std::time::Duration;

/// The provider's time less the time since boot, in milliseconds: somewhere from `low` to `high` when it was learnt. A
/// step of the wall clock does not touch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Skew {
    low: i64,
    high: i64,
    learnt: Duration,
}

/// By then a clock may have drifted, or been set right.
const AGE_MAX: Duration = Duration::from_secs(12 * 3600);
/// Quartz drifts by less: 100 millionths.
const DRIFT: i64 = 10_000;

impl Skew {
    /// What a reply's `Date` tells (seconds since 1970, cut off), on top of what was known, unless that contradicts it.
    /// Times since boot: before the request left, and when the reply was there.
    pub(crate) fn learn(before: Option<Skew>, date: i64, sent: Duration, received: Duration) -> Skew {
        let date = date.saturating_mul(1000);
        let mut low = date.saturating_sub(millis(received));
        let mut high = date.saturating_add(1000).saturating_sub(millis(sent));
        if let Some((known_low, known_high)) = before.and_then(|before| before.range(received)) {
            let both = (low.max(known_low), high.min(known_high));
            if both.0 <= both.1 {
                (low, high) = both;
            }
        }
        Skew { low, high, learnt: received }
    }

    /// The provider's time since 1970 at `boot`, given that the wall clock says `wall`: that, if it may be true, else
    /// the middle of what may be.
    pub(crate) fn time(skew: Option<Skew>, boot: Duration, wall: Duration) -> Duration {
        let Some((low, high)) = skew.and_then(|skew| skew.range(boot)) else { return wall };
        let at = |skew: i64| millis(boot).saturating_add(skew);
        match millis(wall) {
            wall if wall < at(low) || wall > at(high) => {
                Duration::from_millis(u64::try_from(at(low + (high - low) / 2)).unwrap_or(0))
            }
            _ => wall,
        }
    }

    /// How many milliseconds the provider's clock was ahead of `time`, at least and at most, at some moment between
    /// `sent` and `received`. `None`: nobody knows.
    pub(crate) fn ahead_of(self, time: Duration, sent: Duration, received: Duration) -> Option<(i64, i64)> {
        let (low, high) = self.range(received)?;
        let ahead = |skew: i64, boot| skew.saturating_add(millis(boot)).saturating_sub(millis(time));
        Some((ahead(low, sent), ahead(high, received)))
    }

    /// What may be true at `boot`; `None` if it is too long ago.
    fn range(&self, boot: Duration) -> Option<(i64, i64)> {
        let age = boot.saturating_sub(self.learnt);
        let drift = millis(age) / DRIFT;
        (age <= AGE_MAX).then(|| (self.low.saturating_sub(drift), self.high.saturating_add(drift)))
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const DATE: i64 = 1_795_219_200;

    fn boot(seconds: u32) -> Duration {
        S * 1000 + S * seconds
    }

    fn wall(seconds: i64) -> Duration {
        Duration::from_secs((DATE + seconds) as u64)
    }

    #[test]
    fn a_wall_clock_that_may_be_right_is_believed_and_another_corrected() {
        let at_once = Skew::learn(None, DATE, boot(0), boot(0));
        let slow = Skew::learn(None, DATE, boot(0), boot(4));
        for (what, skew, at, says, time) in [
            ("right", at_once, 0, wall(0), wall(0)),
            ("right within the second that Date cuts off", at_once, 0, wall(1), wall(1)),
            ("an hour behind", at_once, 0, wall(-3600), wall(0) + S / 2),
            ("a day ahead", at_once, 0, wall(86_400), wall(0) + S / 2),
            ("1970", at_once, 60, S, wall(60) + S / 2),
            ("right for all that a slow reply tells", slow, 4, wall(5), wall(5)),
            ("too far ahead for a slow reply", slow, 4, wall(6), wall(2) + S / 2),
            ("too old to know", at_once, 13 * 3600, wall(0), wall(0)),
        ] {
            assert_eq!(Skew::time(Some(skew), boot(at), says), time, "{what}");
        }
        assert_eq!(Skew::time(None, boot(0), wall(-9)), wall(-9));
    }

    #[test]
    fn replies_narrow_what_is_known_until_one_contradicts() {
        let first = Skew::learn(None, DATE, boot(0), boot(4));
        let second = Skew::learn(Some(first), DATE + 10, boot(10), boot(10));
        assert_eq!((second.low, second.high), (first.low.max(second.low), first.high.min(second.high)));
        assert_eq!(second.high - second.low, 1000);
        let set_right = Skew::learn(Some(second), DATE + 3620, boot(20), boot(20));
        assert_eq!(set_right.low, (DATE + 3600) * 1000 - 1_000_000, "the clock over there was set");
    }

    /// E-15.
    #[test]
    fn what_is_known_grows_vague_with_age_and_is_forgotten() {
        let skew = Skew::learn(None, DATE, boot(0), boot(0));
        for (age, width) in [(0, Some(1000)), (10_000, Some(3000)), (12 * 3600, Some(9640)), (12 * 3600 + 1, None)] {
            assert_eq!(skew.range(boot(age)).map(|(low, high)| high - low), width, "{age} s");
        }
    }

    #[test]
    fn the_true_offset_is_always_in_the_range() {
        let mut random = 7_u64;
        let mut draw = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % below
        };
        for _ in 0..200_000 {
            let truth = DATE as u64 * 1000 + draw(1000);
            let (sent, there, received) = (draw(10_000), draw(5000), draw(5000));
            let [sent, there, received] = [sent, sent + there, sent + there + received];
            let date = ((truth + there) / 1000) as i64;
            let ms = Duration::from_millis;
            let skew = Skew::learn(None, date, ms(sent), ms(received));
            assert!(skew.low <= truth as i64 && truth as i64 <= skew.high);
        }
    }
}
