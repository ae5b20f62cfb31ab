//! A provider that counts what it issues by UTC month of its own, true time, and whose tokens live a day.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use tokauth::seams::{Deadline, Head, Reply, RetryClass, Secret, Sent, Transport, failure};
use tokauth::{Error, ErrorKind};

use super::draw::Draw;
use super::machine::Truth;
use super::store::Faults;

pub const DAY: Duration = Duration::from_secs(86_400);
pub const CAP: u32 = 31;

/// Year and month, as one number, of a time since 1970.
pub fn month_of(time: Duration) -> i64 {
    // Days to a civil date (Hinnant), in years that begin in March.
    let days = (time.as_secs() / 86_400) as i64 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    (era * 400 + year) * 12 + month + 2
}

/// When the month after `time` begins.
pub fn next_month(time: Duration) -> Duration {
    let month = month_of(time);
    let mut day = Duration::from_secs(time.as_secs() / 86_400 * 86_400);
    while month_of(day) == month {
        day += DAY;
    }
    day
}

/// What is wrong with the way to the provider, or with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody can connect.
    Refused,
    /// Requests are lost on the way there, or replies on the way back.
    Lost,
    /// 500, 502, 503, 429: some of these mean that a token was issued all the same.
    Errors,
}

#[derive(Debug, Default)]
pub struct Books {
    pub issued: BTreeMap<i64, u32>,
    /// The same by process.
    pub issued_to: HashMap<(u64, i64), u32>,
    /// Until when each lives.
    tokens: HashMap<String, Duration>,
    pub trouble: Option<Trouble>,
    /// Replies that told the time to each machine.
    pub dated: HashMap<usize, u64>,
}

#[derive(Debug)]
pub struct Provider {
    truth: Arc<Truth>,
    faults: Faults,
    pub books: Mutex<Books>,
    draw: Mutex<Draw>,
    pub habits: Habits,
}

#[derive(Debug)]
pub struct Habits {
    /// So many tokens it issues in a month.
    pub cap: u32,
    /// The longest that a packet travels.
    pub way: Duration,
    /// So often a reply tells no time.
    pub undated: f64,
    /// So often a disk fills up while a request is under way.
    pub fills: f64,
}

/// A process's way to it.
#[derive(Clone, Debug)]
pub struct Line {
    pub provider: Arc<Provider>,
    pub machine: usize,
    pub process: u64,
}

impl Provider {
    pub fn new(truth: Arc<Truth>, faults: Faults, seed: u64, habits: Habits) -> Provider {
        let draw = Mutex::new(Draw(seed ^ 0x5eed));
        Provider { truth, faults, books: Mutex::default(), draw, habits }
    }

    /// Until when the API takes this token.
    pub fn end_of(&self, token: &str) -> Duration {
        self.books.lock().unwrap().tokens.get(token).copied().unwrap_or_default()
    }

    fn chance(&self, chance: f64) -> bool {
        self.draw.lock().unwrap().chance(chance)
    }

    fn travel(&self) {
        let way = self.draw.lock().unwrap().up_to(self.habits.way);
        self.truth.pass(Duration::from_millis(1) + way);
    }

    /// Issues a token, and counts it; `None`: the month's are spent, and this one is what costs the account.
    fn issue(&self, process: u64) -> Option<String> {
        let now = self.truth.now();
        let books = &mut *self.books.lock().unwrap();
        let issued = books.issued.entry(month_of(now)).or_default();
        *issued += 1;
        *books.issued_to.entry((process, month_of(now))).or_default() += 1;
        if *issued > self.habits.cap {
            return None;
        }
        books.tokens.retain(|_, end| *end + DAY > now);
        let token = format!("canary-token-{}", self.draw.lock().unwrap().next());
        books.tokens.insert(token.clone(), now + DAY);
        Some(token)
    }

    fn reply(&self, machine: usize, status: u16, headers: Vec<(String, String)>, body: String) -> Sent {
        let mut headers = headers;
        if !self.chance(self.habits.undated) {
            *self.books.lock().unwrap().dated.entry(machine).or_default() += 1;
            headers.push(("date".to_owned(), httpdate::fmt_http_date(UNIX_EPOCH + self.truth.now())));
        }
        Sent::Reply(Reply { status, headers, body: body.into_bytes().into() })
    }
}

impl Transport for Line {
    fn send(
        &self,
        _head: &Head,
        deadline: Deadline,
        body: &mut dyn FnMut() -> Result<Secret, Error>,
    ) -> Result<Sent, Error> {
        let Line { provider, machine, process } = self;
        let trouble = provider.books.lock().unwrap().trouble;
        if trouble == Some(Trouble::Refused) {
            provider.travel();
            return Err(failure(ErrorKind::Network, RetryClass::NotSent));
        }
        provider.travel();
        provider.faults.fuse.step();
        body()?;
        if provider.chance(provider.habits.fills) {
            provider.faults.full.store(true, Ordering::SeqCst);
        }
        provider.faults.fuse.step();
        provider.travel();
        let lost = || {
            provider.truth.pass(deadline.remaining());
            Ok(Sent::Lost(failure(ErrorKind::Timeout, RetryClass::Ambiguous)))
        };
        let sent = match trouble {
            Some(Trouble::Lost) if provider.chance(0.5) => return lost(),
            Some(Trouble::Errors) => match provider.draw.lock().unwrap().below(4) {
                0 => (429, vec![]),
                1 => (503, vec![("retry-after".to_owned(), "120".to_owned())]),
                2 => (500, vec![]),
                _ => (502, vec![]),
            },
            _ => (200, vec![]),
        };
        let sent = match sent {
            (200, _) => match provider.issue(*process) {
                Some(token) => {
                    let token =
                        serde_json::json!({"access_token": token, "token_type": "Bearer", "expires_in": 86_400});
                    provider.reply(*machine, 200, vec![], token.to_string())
                }
                None => provider.reply(*machine, 403, vec![], r#"{"error": "too_many_tokens"}"#.to_owned()),
            },
            (status, headers) => {
                if status == 500 || status == 502 {
                    provider.issue(*process); // and it is lost within
                }
                provider.reply(*machine, status, headers, String::new())
            }
        };
        provider.faults.fuse.step();
        if trouble == Some(Trouble::Lost) {
            return lost();
        }
        provider.travel();
        Ok(sent)
    }
}

#[test]
fn months_are_those_of_the_calendar() {
    for (date, month) in [
        ("2026-11-21T00:00:00Z", 2026 * 12 + 10),
        ("2026-12-31T23:59:59Z", 2026 * 12 + 11),
        ("2027-01-01T00:00:00Z", 2027 * 12),
        ("2028-02-29T23:59:59Z", 2028 * 12 + 1),
        ("2100-02-28T23:59:59Z", 2100 * 12 + 1),
        ("2100-03-01T00:00:00Z", 2100 * 12 + 2),
    ] {
        let (day, time) = date.trim_end_matches('Z').split_once('T').unwrap();
        let number = |text: &str| text.parse::<u64>().unwrap();
        let (year, rest) = day.split_once('-').unwrap();
        let (of_year, of_month) = rest.split_once('-').unwrap();
        // By hand: days of whole years, of whole months, of the month.
        let is_leap = |year: u64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let mut days: u64 = (1970..number(year)).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
        let lengths = [31, if is_leap(number(year)) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        days += lengths[..number(of_year) as usize - 1].iter().sum::<u64>() + number(of_month) - 1;
        let seconds = time.split(':').fold(0, |sum, part| sum * 60 + number(part));
        assert_eq!(month_of(Duration::from_secs(days * 86_400 + seconds)), month, "{date}");
    }
}
