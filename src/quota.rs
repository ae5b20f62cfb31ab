//! How many requests a provider allows, and when the next may be sent. Pure.
//!
//! A request counts from its reservation in the [`Ledger`] on. Times are the provider's, in milliseconds since 1970.

mod ledger;

use std::time::Duration;

use crate::date::{self, duration_seconds};
pub(crate) use ledger::{Entry, Ledger, Standing, Unreadable};

/// How a budget is written, for the error that says why one is not.
pub(crate) const FORM: &str = "COUNT/WINDOW, such as 31/month or 10/hour,50/day";
/// A ledger of that many is written in a moment, and far shorter than a document may be.
const COUNT_MAX: u32 = 10_000;
const SECOND: i64 = 1000;
const DAY: i64 = 86_400 * SECOND;
const WINDOW_MAX: i64 = 366 * DAY;

/// What a provider allows: each window at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Budget(Vec<Window>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Window {
    count: u32,
    /// It slides; `None`: the calendar month of UTC.
    length: Option<i64>,
}

impl Budget {
    /// Reads `10/hour,50/day`. The error says what is wrong with it, to follow the option's name, and quotes nothing.
    pub(crate) fn parse(text: &str) -> Result<Budget, &'static str> {
        let mut windows = Vec::new();
        for part in text.split(',') {
            windows.push(Window::parse(part.trim())?);
        }
        Ok(Budget(windows))
    }

    /// What one request takes of the time, by the window that is slowest to give another.
    pub(crate) fn fair_share(&self) -> Duration {
        let share = self.0.iter().map(|window| window.longest() / i64::from(window.count)).max();
        Duration::from_millis(share.unwrap_or(0).unsigned_abs())
    }

    /// The longest window.
    pub(crate) fn longest_window(&self) -> Duration {
        Duration::from_millis(self.longest().unsigned_abs())
    }

    fn longest(&self) -> i64 {
        self.0.iter().map(Window::longest).max().unwrap_or(0)
    }
}

impl Window {
    fn parse(text: &str) -> Result<Window, &'static str> {
        let (count, window) = text.split_once('/').ok_or("has a part without a slash")?;
        let count = count.trim_end();
        let count = count.parse().ok().filter(|number| (1..=COUNT_MAX).contains(number) && !count.starts_with('+'));
        let count = count.ok_or("has a count that is not a number from 1 to 10000")?;
        let seconds = match window.trim_start() {
            "month" => return Ok(Window { count, length: None }),
            "minute" => Some(60),
            "hour" => Some(3600),
            "day" => Some(86_400),
            "week" => Some(7 * 86_400),
            other => duration_seconds(other),
        };
        let seconds = seconds.ok_or("has a window that is neither minute, hour, day, week, month nor as 12h or 31d")?;
        let length = Some(seconds.saturating_mul(SECOND)).filter(|length| (SECOND..=WINDOW_MAX).contains(length));
        length.ok_or("has a window shorter than a second or longer than 366 days")?;
        Ok(Window { count, length })
    }

    fn longest(&self) -> i64 {
        self.length.unwrap_or(31 * DAY)
    }

    /// When a request of that time counts no more. One of the future counts until then, too.
    fn end(&self, at: i64) -> i64 {
        match self.length {
            // A `Date` is cut to the second.
            Some(length) => at + length + SECOND,
            None => date::next_month(at / SECOND) * SECOND,
        }
    }
}

/// What a provider says is left, and for how many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    left: u32,
    seconds: u32,
}

/// Reads what Auth0 tells in `auth0-client-quota-limit`: `b=per_hour;q=10;r=7;t=3540,b=per_day;q=50;r=47;t=43200`, of
/// which `r` is left until `t` seconds have passed. What cannot be read tells nothing.
pub(crate) fn told(header: &str) -> Vec<Bucket> {
    let bucket = |part: &str| {
        let number = |name| {
            let value = part.split(';').find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))?;
            let is_number = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| value.parse().unwrap_or(u32::MAX))
        };
        Some(Bucket { left: number("r")?, seconds: number("t")? })
    };
    header.split(',').filter_map(bucket).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_counts_and_windows() {
        let window = |count, length: i64| Window { count, length: (length > 0).then_some(length * SECOND) };
        for (text, windows) in [
            ("31/month", vec![window(31, 0)]),
            ("10/hour,50/day", vec![window(10, 3600), window(50, 86_400)]),
            (" 10 / minute , 1/week ", vec![window(10, 60), window(1, 7 * 86_400)]),
            ("50/12h", vec![window(50, 12 * 3600)]),
            ("10000/366d", vec![window(10_000, 366 * 86_400)]),
            ("1/1s", vec![window(1, 1)]),
            ("200/3600", vec![window(200, 3600)]),
        ] {
            assert_eq!(Budget::parse(text), Ok(Budget(windows)), "{text}");
        }
    }

    #[test]
    fn what_is_no_budget_is_told_why() {
        for (text, reason) in [
            ("", "a part without a slash"),
            ("31", "a part without a slash"),
            ("31 a month", "a part without a slash"),
            ("10/hour,", "a part without a slash"),
            ("10/hour;50/day", "neither minute, hour"),
            ("0/month", "a count that is not a number from 1 to 10000"),
            ("10001/month", "a count that is not"),
            ("-1/month", "a count that is not"),
            ("+1/month", "a count that is not"),
            ("99999999999999999999/month", "a count that is not"),
            ("many/month", "a count that is not"),
            ("1.5/hour", "a count that is not"),
            ("/month", "a count that is not"),
            ("31/", "neither minute, hour"),
            ("31/Month", "neither minute, hour"),
            ("31/months", "neither minute, hour"),
            ("31/1mo", "neither minute, hour"),
            ("31/month/1", "neither minute, hour"),
            ("31/-5h", "neither minute, hour"),
            ("1/9223372036854775807w", "neither minute, hour"),
            ("31/0s", "shorter than a second or longer than 366 days"),
            ("31/367d", "shorter than a second or longer than 366 days"),
            ("31/9223372036854775807", "shorter than a second or longer than 366 days"),
        ] {
            let told = Budget::parse(text).unwrap_err();
            assert!(told.contains(reason), "{text}: {told}");
        }
    }

    #[test]
    fn a_fair_share_is_what_one_request_takes_of_its_slowest_window() {
        for (text, share) in [
            ("31/month", 86_400),
            ("30/month", 89_280),
            ("10/hour,50/day", 1728),
            ("50/12h", 864),
            ("1/minute", 60),
            ("31/31d", 86_400),
        ] {
            assert_eq!(Budget::parse(text).unwrap().fair_share(), Duration::from_secs(share), "{text}");
        }
    }

    #[test]
    fn a_reply_may_tell_what_is_left() {
        let bucket = |left, seconds| Bucket { left, seconds };
        for (header, buckets) in [
            ("b=per_hour;q=10;r=7;t=3540,b=per_day;q=50;r=47;t=43200", vec![bucket(7, 3540), bucket(47, 43_200)]),
            (" b=per_hour; q=10; t=3540; r=0 ", vec![bucket(0, 3540)]),
            ("b=per_hour;q=10;r=7,b=per_day;r=4;t=5", vec![bucket(4, 5)]),
            ("r=99999999999999999999;t=99999999999999999999", vec![bucket(u32::MAX, u32::MAX)]),
            ("r=-1;t=5", vec![]),
            ("r=+1;t=5", vec![]),
            ("r=;t=5", vec![]),
            ("r;t", vec![]),
            ("rr=1;tt=5", vec![]),
            ("per_hour 10 7 3540", vec![]),
            (";;,,==", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(told(header), buckets, "{header}");
        }
    }
}
