//! What was spent, as one document, and what the time is over there.
//!
//! The provider's time is proven by the `Date` of a reply and the boot clock since then, which nobody can set. After a
//! reboot, or on another machine, there is only the wall clock's claim. Where that would open a window which the proven
//! time does not, it is good for one request, whose `Date` decides.

use std::fmt::Write;
use std::time::Duration;

use super::{Bucket, Budget, DAY, SECOND};
use crate::clock::Stamp;
use crate::hash::{lower_hex, sha256};

/// The first line begins with it and the version.
const MAGIC: &str = "tokauth ledger ";
const VERSION: &str = "1";
/// No time is later: the year 9999. Sums with it cannot overflow.
const LAST: i64 = 253_402_300_799 * SECOND;
/// Quartz drifts by less: 100 millionths. The proven time must not run ahead.
const DRIFT: i64 = 10_000;
/// So long after its reservation a request may still reach the provider; known better when there is a reply.
const UNDERWAY: i64 = 60 * SECOND;
/// More entries are kept only if they count: so many still fit into a document.
const MANY: usize = 20_000;
/// No document of ours has more lines.
const LINES_MAX: u64 = 65_536;
/// A wall clock that nobody has corrected yet may be ahead by so much; it opens a window no earlier.
const AHEAD: i64 = 300 * SECOND;
/// Nobody tells of more than a month.
const TOLD_MAX: i64 = 31 * DAY;
/// A provider tells of two or so, perhaps for two sorts of account.
const BUCKETS_MAX: usize = 8;

/// One request that the provider counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// 0: its line was damaged.
    id: u64,
    /// When the provider counted it, at the latest.
    at: i64,
}

/// What the provider told is left, counted down since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    left: u32,
    first: u32,
    until: i64,
}

/// The requests of one client at one token endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// The earliest first.
    entries: Vec<Entry>,
    /// A moment by the boot clock, and what the provider's time was then; 1970 if it never told.
    proven: Stamp,
    /// What the wall clock said at that moment.
    wall: i64,
    /// The same, as it was claimed for the last request that was reserved without proof.
    claimed: Stamp,
    /// That request, until its reply told that the claim was right, or it is known that it was none; or 0.
    tried: u64,
    told: Vec<Told>,
}

/// Why a document is no ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It is something else, or so damaged that it could be.
    Foreign,
    /// A later version of this library wrote it.
    Newer,
}

/// What may be asked for, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// So many requests may be sent now.
    pub(crate) remaining: u32,
    /// Until one may be sent; `None`: now.
    pub(crate) wait: Option<Duration>,
    /// When that is, in seconds since 1970.
    pub(crate) next_at: i64,
}

const NEVER: Stamp = Stamp { boot_id: 0, since_boot: Duration::ZERO, since_epoch: Duration::ZERO, is_shared: false };

impl Ledger {
    /// A new one is full.
    pub(crate) fn read(document: Option<&[u8]>) -> Result<Ledger, Unreadable> {
        let new = Ledger { entries: Vec::new(), proven: NEVER, claimed: NEVER, wall: 0, tried: 0, told: Vec::new() };
        let Some(document) = document else { return Ok(new) };
        let mut lines = document.split(|byte| *byte == b'\n').map(|line| std::str::from_utf8(line).unwrap_or_default());
        let head = lines.next().and_then(|line| line.strip_prefix(MAGIC)).ok_or(Unreadable::Foreign)?;
        let (version, _) = head.split_once(' ').ok_or(Unreadable::Foreign)?;
        if version != VERSION {
            let is_newer = version.parse::<u32>().is_ok_and(|version| version > 1);
            return Err(if is_newer { Unreadable::Newer } else { Unreadable::Foreign });
        }
        let head = numbers(head).ok_or(Unreadable::Foreign)?;
        let [_, count, last, p0, p1, p2, wall, c0, c1, c2, tried, ref told @ ..] = *head else {
            return Err(Unreadable::Foreign);
        };
        if count > LINES_MAX {
            return Err(Unreadable::Foreign);
        }
        let mut ledger =
            Ledger { proven: stamp([p0, p1, p2]), claimed: stamp([c0, c1, c2]), wall: time(wall), tried, ..new };
        for told in told.chunks_exact(3).take(BUCKETS_MAX) {
            let [left, first] = [told[0], told[1]].map(|left| u32::try_from(left).unwrap_or(u32::MAX));
            ledger.told.push(Told { left, first, until: time(told[2]) });
        }
        for line in lines {
            if let Some(&[at, id]) = numbers(line).as_deref() {
                ledger.insert(Entry { id, at: time(at) });
            }
        }
        // What is missing or damaged counts for as long as any of them can.
        for _ in ledger.entries.len() as u64..count {
            ledger.insert(Entry { id: 0, at: time(last) });
        }
        Ok(ledger)
    }

    /// As a document: lines of numbers, each with a check. All that is not an entry is in the first line, without which
    /// there is no ledger.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut text = String::from(MAGIC);
        let last = self.entries.last().map_or(0, |entry| entry.at);
        let mut head = vec![1, self.entries.len() as u64, last.unsigned_abs()];
        head.extend_from_slice(&words(&self.proven));
        head.push(self.wall.unsigned_abs());
        head.extend_from_slice(&words(&self.claimed));
        head.push(self.tried);
        for told in &self.told {
            head.extend_from_slice(&[told.left.into(), told.first.into(), told.until.unsigned_abs()]);
        }
        put(&mut text, &head);
        for entry in &self.entries {
            put(&mut text, &[entry.at.unsigned_abs(), entry.id]);
        }
        text.into_bytes()
    }

    /// What may be asked for, by the proven time and, where there is none, by the wall clock's as far as it goes.
    pub(crate) fn standing(&self, budget: &Budget, now: &Stamp) -> Standing {
        let (proven, time) = self.time(now);
        let (mut remaining, mut free) = self.at(budget, time);
        if remaining > 0 && proven < time {
            remaining = self.at(budget, proven).0;
            if remaining == 0 {
                // One may try, and another when there would be time for one anyway.
                let (tried, share) = (millis(self.claimed.since_epoch), millis(budget.fair_share()));
                match self.tried != 0 && (time - tried).abs() < share {
                    true => free = tried + share,
                    false => remaining = 1,
                }
            }
        }
        let left = (free - time).max(0);
        // The proven time runs a bit late.
        let wait = Duration::from_millis((left + left / (DRIFT - 1) + 2).unsigned_abs());
        Standing { remaining, wait: (remaining == 0).then_some(wait), next_at: (free + SECOND - 1) / SECOND }
    }

    /// How long it is until more requests may be sent than now, where that is what bounds them.
    pub(crate) fn more_in(&self, budget: &Budget, now: &Stamp) -> Duration {
        let (_, time) = self.time(now);
        let (mut least, mut more) = (u32::MAX, time);
        for window in &budget.0 {
            let over = self.entries.partition_point(|entry| window.end(entry.at) <= time);
            let left = window.count.saturating_sub((self.entries.len() - over) as u32);
            if left < least {
                (least, more) = (left, self.entries.get(over).map_or(time, |first| window.end(first.at)));
            }
        }
        Duration::from_millis((more - time).unsigned_abs())
    }

    /// Counts a request that is about to be sent, whose `id` is random and not 0.
    pub(crate) fn reserve(&mut self, budget: &Budget, now: &Stamp, id: u64) -> Result<Entry, Standing> {
        let standing = self.standing(budget, now);
        if standing.remaining == 0 {
            return Err(standing);
        }
        self.forget(budget, now);
        let (_, time) = self.time(now);
        // Proven time runs late.
        let late = self.proven.proven_age(now).map_or(0, |age| 2 * millis(age) / DRIFT);
        let mut at = (time + UNDERWAY + late).min(LAST);
        if passed(&self.proven, now).is_some() {
            self.prove(time, now);
        } else {
            (self.claimed, self.tried) = (point(time, now), id);
            // It may be as late as the wall clock says after all: then it counts in a window that has just begun, also
            // for the boot that proved the time, which goes on by that.
            let ahead = if self.proven.since_epoch.is_zero() { 0 } else { AHEAD };
            at = (at + ahead).min(LAST).max(self.entries.last().map_or(0, |last| last.at));
        }
        let entry = Entry { id, at };
        self.spend(entry);
        Ok(entry)
    }

    /// Gives a request back, of which the provider certainly made no token; its reply, if any, told this.
    pub(crate) fn refund(&mut self, id: u64, date: Option<i64>, told: &[Bucket], now: &Stamp) {
        if self.take(id).is_none() {
            return;
        }
        if self.tried == id {
            self.tried = 0;
        }
        for told in &mut self.told {
            told.left = told.left.saturating_add(1).min(told.first);
        }
        self.hear(date, told, now);
    }

    /// Corrects the time of a request by its reply, and knows the time from then on.
    pub(crate) fn settle(&mut self, id: u64, date: Option<i64>, told: &[Bucket], now: &Stamp) {
        let Some(Entry { id, at }) = self.take(id) else { return };
        // Of one that told no time it is not known that it was earlier: the proven time runs late.
        let at = self.hear(date, told, now).unwrap_or(at);
        self.insert(Entry { id, at });
    }

    /// Counts what this process spent and the ledger does not know: it was deleted, or restored from an old copy.
    pub(crate) fn include(&mut self, own: &[Entry]) {
        for entry in own {
            if !self.knows(entry) {
                self.spend(*entry);
            }
        }
    }

    /// Whether a request is counted, at whatever time.
    pub(crate) fn knows(&self, entry: &Entry) -> bool {
        self.entries.iter().any(|known| known.id == entry.id)
    }

    /// Brings what this process remembers up to date: as it stands here, without what was given back or has grown old.
    pub(crate) fn recall(&self, own: &mut Vec<Entry>) {
        own.retain_mut(|entry| {
            let known = self.entries.iter().find(|known| known.id == entry.id);
            *entry = known.copied().unwrap_or(*entry);
            known.is_some()
        });
    }

    /// The provider's time, as proven and as claimed, which is the same where it can be proven, or never could.
    fn time(&self, now: &Stamp) -> (i64, i64) {
        if let Some(time) = passed(&self.proven, now) {
            return (time, time);
        }
        let proven = millis(self.proven.since_epoch);
        // As far off as the wall clock was when the time was proven, it may still be.
        let (wall, since) = (millis(now.since_epoch), millis(now.since_epoch) - self.wall);
        let claimed = if proven > 0 && since >= 0 { wall.min(proven + since) } else { wall };
        let claimed = if proven > 0 { claimed - AHEAD } else { claimed };
        let claimed = passed(&self.claimed, now).unwrap_or(claimed).max(proven);
        (if proven == 0 { claimed } else { proven }, claimed)
    }

    /// How many requests there are at `time`, and when there is one.
    fn at(&self, budget: &Budget, time: i64) -> (u32, i64) {
        let (mut remaining, mut free) = (u32::MAX, time);
        let count = self.entries.len();
        let mut bound = |left: u32, end: i64| {
            remaining = remaining.min(left);
            free = free.max(if left == 0 { end } else { time });
        };
        for window in &budget.0 {
            let over = self.entries.partition_point(|entry| window.end(entry.at) <= time);
            let left = (window.count as usize).saturating_sub(count - over);
            // When all but one less than it allows are over.
            let end = count.checked_sub(window.count as usize).map_or(time, |last| window.end(self.entries[last].at));
            bound(left as u32, end);
        }
        for told in self.told.iter().filter(|told| told.until > time) {
            bound(told.left, told.until);
        }
        (remaining, free)
    }

    fn prove(&mut self, time: i64, now: &Stamp) {
        (self.proven, self.wall) = (point(time, now), millis(now.since_epoch));
    }

    /// Takes a reply's `Date` for the provider's time now, and what it says is left in place of what was said before.
    fn hear(&mut self, date: Option<i64>, told: &[Bucket], now: &Stamp) -> Option<i64> {
        let date = self.learn(date, now);
        if !told.is_empty() {
            let (_, time) = self.time(now);
            self.told.clear();
            for Bucket { left, seconds } in told.iter().take(BUCKETS_MAX) {
                let until = time + (i64::from(*seconds) * SECOND).min(TOLD_MAX);
                self.told.push(Told { left: *left, first: *left, until });
            }
        }
        date
    }

    fn learn(&mut self, date: Option<i64>, now: &Stamp) -> Option<i64> {
        let date = date?.saturating_mul(SECOND).clamp(1, LAST);
        let wall = millis(now.since_epoch);
        // Of three clocks two must agree, roughly: one odd reply must not stop all requests, nor allow any number.
        let is_odd = |known: i64| date.abs_diff(known) > DAY as u64 && wall.abs_diff(date) > wall.abs_diff(known);
        if passed(&self.proven, now).is_some_and(is_odd) {
            return None;
        }
        if passed(&self.proven, now).is_none() {
            // Since then a wall clock told the time, which may have been late.
            let proven = millis(self.proven.since_epoch);
            let since = self.entries.partition_point(|entry| entry.at <= proven);
            self.entries[since..].iter_mut().for_each(|entry| entry.at = entry.at.max(date));
        }
        self.prove(date, now);
        // None of them can be counted later, not even if this reply was as long underway as they are.
        let latest = date + 2 * UNDERWAY;
        let later = self.entries.partition_point(|entry| entry.at <= latest);
        self.entries[later..].iter_mut().for_each(|entry| entry.at = latest);
        // A claim that was wrong, a later boot may make again.
        if date + UNDERWAY >= millis(self.claimed.since_epoch) {
            self.tried = 0;
        }
        Some(date)
    }

    /// Drops what no window can need, not even if a clock was wrong by the longest.
    pub(crate) fn forget(&mut self, budget: &Budget, now: &Stamp) {
        let ((proven, _), longest) = (self.time(now), budget.longest());
        // Who draws on it too may have a longer window; a month is usual.
        let mut old = proven.min(millis(now.since_epoch)) - 2 * longest.max(TOLD_MAX);
        if self.entries.len() > MANY {
            old = proven - longest - SECOND;
        }
        self.entries.drain(..self.entries.partition_point(|entry| entry.at <= old));
    }

    fn spend(&mut self, entry: Entry) {
        for told in &mut self.told {
            told.left = told.left.saturating_sub(1);
        }
        self.insert(entry);
    }

    fn insert(&mut self, entry: Entry) {
        let place = self.entries.partition_point(|known| known.at <= entry.at);
        self.entries.insert(place, entry);
    }

    fn take(&mut self, id: u64) -> Option<Entry> {
        let place = self.entries.iter().position(|known| known.id == id && id != 0)?;
        Some(self.entries.remove(place))
    }
}

/// The provider's time by what it was at `point`, if the boot clock has run on since then.
fn passed(point: &Stamp, now: &Stamp) -> Option<i64> {
    let age = millis(point.proven_age(now)?);
    Some((millis(point.since_epoch) + age - age / DRIFT).min(LAST))
}

/// The moment `now` at which the provider's time is `time`, to the millisecond.
fn point(time: i64, now: &Stamp) -> Stamp {
    let since_boot = Duration::from_millis(millis(now.since_boot).unsigned_abs());
    Stamp { boot_id: now.boot_id, since_boot, since_epoch: Duration::from_millis(time.unsigned_abs()), ..NEVER }
}

#[inline(never)] // it is asked for often, and long
fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(LAST).min(LAST)
}

fn time(word: u64) -> i64 {
    i64::try_from(word).unwrap_or(LAST).min(LAST)
}

fn stamp([boot_id, boot, epoch]: [u64; 3]) -> Stamp {
    let [since_boot, since_epoch] = [boot, epoch].map(|word| Duration::from_millis(time(word).unsigned_abs()));
    Stamp { boot_id, since_boot, since_epoch, ..NEVER }
}

fn words(stamp: &Stamp) -> [u64; 3] {
    let [boot, epoch] = [stamp.since_boot, stamp.since_epoch].map(|time| millis(time).unsigned_abs());
    [stamp.boot_id, boot, epoch]
}

/// Ends a line: numbers and their check.
fn put(text: &mut String, numbers: &[u64]) {
    let start = text.len();
    for number in numbers {
        let _ = write!(text, "{number} ");
    }
    let check = check(&text[start..]);
    text.push_str(&check);
    text.push('\n');
}

/// What [`put`] put, if it is still that.
fn numbers(line: &str) -> Option<Vec<u64>> {
    let (numbers, told) = line.split_at_checked(line.rfind(' ')? + 1)?;
    (check(numbers) == told).then_some(())?;
    numbers.trim_end().split(' ').map(|number| number.parse().ok()).collect()
}

fn check(text: &str) -> String {
    lower_hex(&sha256(text.as_bytes())[..4])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// November 2026, which has 30 days, and the month after.
    const NOV: i64 = 1_793_491_200;
    const DEC: i64 = NOV + 30 * D;
    const JAN: i64 = DEC + 31 * D;
    const D: i64 = 86_400;
    const H: i64 = 3600;

    fn budget(text: &str) -> Budget {
        Budget::parse(text).unwrap()
    }

    /// A moment of a boot that began at NOV - 1000 s, by a wall clock that says `wall`.
    fn odd(boot_id: u64, seconds: i64, wall: i64) -> Stamp {
        let [since_boot, since_epoch] = [seconds - NOV + 1000, wall].map(|s| Duration::from_secs(s.unsigned_abs()));
        Stamp { boot_id, since_boot, since_epoch, ..NEVER }
    }

    fn moment(seconds: i64) -> Stamp {
        odd(1, seconds, seconds)
    }

    fn full() -> Ledger {
        Ledger::read(None).unwrap()
    }

    /// Requests whose replies had these dates.
    fn spent(dates: impl IntoIterator<Item = i64>) -> Ledger {
        let (mut ledger, plenty) = (full(), budget("10000/month"));
        for (date, id) in dates.into_iter().zip(1..) {
            ledger.reserve(&plenty, &moment(date), id).unwrap();
            ledger.settle(id, Some(date), &[], &moment(date));
        }
        ledger
    }

    fn draw(random: &mut u64) -> u64 {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*random >> 33) ^ random.rotate_left(29)
    }

    #[test]
    fn a_request_counts_from_its_reservation_on_until_its_window_is_over() {
        let (hour, mut ledger) = (budget("2/hour"), spent([NOV]));
        ledger.reserve(&hour, &moment(NOV + 60), 2).unwrap();
        let refused = ledger.reserve(&hour, &moment(NOV + 61), 3).unwrap_err();
        assert_eq!((refused.remaining, refused.next_at), (0, NOV + H + 1));
        // Of the first the time is known to the second; the other may have been underway for a minute.
        for (at, remaining) in [(H, 0), (H + 2, 1), (H + 60 + 60, 1), (H + 60 + 63, 2)] {
            assert_eq!(ledger.standing(&hour, &moment(NOV + at)).remaining, remaining, "{at}");
        }
    }

    #[test]
    fn a_reply_corrects_the_time_of_its_request() {
        let month = budget("31/month");
        for (what, date, remaining) in
            [("later", Some(DEC), 30), ("earlier", Some(DEC - 40), 31), ("unknown: both", None, 30)]
        {
            let mut ledger = spent([DEC - H]);
            ledger.reserve(&month, &moment(DEC - 30), 2).unwrap();
            assert_eq!(ledger.standing(&month, &moment(DEC - 30)).remaining, 29, "{what}");
            ledger.settle(2, date, &[], &moment(DEC + 30));
            assert_eq!(ledger.standing(&month, &moment(DEC + 225)).remaining, remaining, "{what}");
        }
    }

    #[test]
    fn a_reply_without_a_date_leaves_the_doubt_when_its_request_was_counted() {
        let (minute, mut ledger) = (budget("1/minute"), full());
        ledger.reserve(&minute, &moment(NOV), 1).unwrap();
        assert_eq!(ledger.standing(&minute, &moment(NOV)).next_at, NOV + 60 + 60 + 1);
        ledger.settle(1, None, &[], &moment(NOV + 2));
        assert_eq!(ledger.standing(&minute, &moment(NOV + 2)).next_at, NOV + 60 + 60 + 1);
        ledger.settle(1, None, &[], &moment(NOV + 50));
        assert_eq!(ledger.standing(&minute, &moment(NOV + 2)).next_at, NOV + 60 + 60 + 1);
    }

    #[test]
    fn requests_of_the_future_count_in_every_window() {
        let mut ledger = spent([NOV]);
        ledger.insert(Entry { id: 9, at: JAN * SECOND });
        for (text, remaining) in [("3/month", 1), ("3/hour", 1), ("3/hour,2/31d", 0)] {
            assert_eq!(ledger.standing(&budget(text), &moment(NOV + 60)).remaining, remaining, "{text}");
        }
    }

    #[test]
    fn a_request_is_stamped_no_earlier_than_the_one_before_while_only_the_wall_clock_tells() {
        let (month, mut ledger) = (budget("31/month"), full());
        ledger.reserve(&month, &odd(1, NOV, DEC), 1).unwrap();
        let back = ledger.reserve(&month, &odd(2, NOV, NOV), 2).unwrap();
        assert_eq!(back.at, (DEC + 60) * SECOND);
        ledger.settle(2, None, &[], &odd(2, NOV, NOV));
        let stays = ledger.entries.iter().all(|entry| entry.at == (DEC + 60) * SECOND);
        assert!(stays, "nor when its reply tells no time");
    }

    #[test]
    fn within_a_boot_the_wall_clock_tells_nothing() {
        let month = budget("31/month");
        for wall in [NOV + 2 * D, NOV + 42 * D, NOV - 40 * D, 0, i64::MAX / 2] {
            let (gone, fresh) = (spent((0..31).map(|i| NOV + i)), full());
            let stepped = odd(1, NOV + 2 * D, wall);
            let standing = gone.standing(&month, &stepped);
            assert_eq!((standing.remaining, standing.next_at), (0, DEC), "proven, the wall clock says {wall}");
            // Never told the time: the first request's claim goes on.
            let mut ledger = fresh;
            for id in 1..=31 {
                ledger.reserve(&month, &moment(NOV), id).unwrap();
            }
            let standing = ledger.standing(&month, &stepped);
            assert_eq!((standing.remaining, standing.next_at), (0, DEC), "claimed, the wall clock says {wall}");
        }
    }

    #[test]
    fn the_proven_time_runs_late_rather_than_ahead_and_so_does_the_wait() {
        let (month, ledger) = (budget("1/month"), spent([DEC - 10 * D]));
        let standing = ledger.standing(&month, &moment(DEC));
        assert_eq!((standing.remaining, standing.next_at), (0, DEC));
        assert_eq!(standing.wait.unwrap().as_millis(), 86_400 + 8 + 2, "100 millionths of ten days, and again");
        assert_eq!(ledger.standing(&month, &moment(DEC + 87)), Standing { remaining: 1, wait: None, next_at: DEC + 1 });
    }

    /// What was not proven before a reboot.
    #[test]
    fn a_window_that_only_the_wall_clock_claims_is_good_for_one_request_whose_date_decides() {
        let month = budget("31/month");
        let gone = spent((0..31).map(|i| NOV + i * 10));
        let next = odd(2, DEC - D, DEC + 360);
        assert_eq!(gone.standing(&month, &odd(2, DEC - D, DEC - 60)).next_at, DEC, "no new month is claimed");
        let soon = gone.standing(&month, &odd(2, DEC - D, DEC + 299));
        assert_eq!((soon.remaining, soon.next_at), (0, DEC), "a clock may be minutes ahead");
        assert_eq!(gone.standing(&month, &odd(2, DEC - D, 0)).next_at, DEC, "nor here");
        assert_eq!(gone.standing(&month, &next), Standing { remaining: 1, wait: None, next_at: DEC + 60 });

        let mut tried = gone.clone();
        tried.reserve(&month, &next, 100).unwrap();
        assert_eq!(tried.reserve(&month, &next, 101).unwrap_err().next_at, DEC + 60 + D);

        let mut right = tried.clone();
        right.settle(100, Some(DEC + 59), &[], &next);
        assert_eq!(right.standing(&month, &next).remaining, 30, "it was December");

        let mut wrong = tried.clone();
        wrong.settle(100, Some(DEC - H), &[], &next);
        let standing = wrong.standing(&month, &next);
        assert_eq!((standing.remaining, standing.next_at), (0, DEC), "it was not");

        let mut none = tried.clone();
        none.refund(100, None, &[], &next);
        assert_eq!(none.standing(&month, &next).remaining, 1, "it never left");

        let mut refused = tried.clone();
        refused.refund(100, Some(DEC - H), &[], &next);
        assert_eq!(refused.standing(&month, &next).remaining, 0, "a refusal tells the time too");

        let mut again = wrong.clone();
        let later = odd(3, DEC - D, DEC + 361);
        assert_eq!(again.reserve(&month, &later, 101).unwrap_err().next_at, DEC, "the clock is as far off as it was");

        for told in [false, true] {
            let mut lost = tried.clone();
            if told {
                lost.settle(100, None, &[], &next);
            }
            for (boot, wall) in [(2, DEC + 360), (3, DEC + 360 + D - 1), (3, DEC + 361 - D)] {
                assert_eq!(lost.standing(&month, &odd(boot, DEC - D, wall)).remaining, 0, "{boot} {wall}");
            }
            assert_eq!(lost.standing(&month, &odd(2, DEC - 2, DEC)).remaining, 0, "by the boot clock");
            assert_eq!(lost.standing(&month, &odd(2, DEC + 9, DEC)).remaining, 1, "by the boot clock");
            assert_eq!(lost.standing(&month, &odd(3, DEC - D, DEC + 361 + D)).remaining, 1);
        }
    }

    /// Its reply was lost, and the machine that proved the time goes on by that.
    #[test]
    fn a_request_of_another_machine_counts_in_the_window_that_may_have_begun() {
        let month = budget("2/month");
        let mut ledger = full();
        ledger.reserve(&month, &moment(DEC - 3600), 1).unwrap();
        ledger.settle(1, Some(DEC - 3600), &[], &moment(DEC - 3600));
        ledger.reserve(&month, &odd(2, DEC + 120, DEC + 120), 2).unwrap();
        assert_eq!(ledger.standing(&month, &moment(DEC + 600)).remaining, 1);
    }

    #[test]
    fn a_claim_that_was_wrong_holds_up_no_other() {
        let month = budget("31/month");
        let mut lost = spent((0..31).map(|i| NOV + i * 10));
        lost.reserve(&month, &odd(2, NOV, JAN + 360), 100).unwrap();
        assert_eq!(lost.standing(&month, &odd(3, NOV, DEC + 360)).remaining, 1);
    }

    #[test]
    fn a_claim_that_was_right_holds_up_no_other() {
        let (month, mut ledger) = (budget("31/month"), spent((0..30).map(|i| NOV + i * 10)));
        ledger.reserve(&month, &odd(2, NOV, DEC - H), 100).unwrap();
        assert_eq!(ledger.standing(&month, &odd(3, NOV, DEC + 360)).remaining, 0);
        ledger.settle(100, Some(DEC - H), &[], &odd(2, NOV, DEC - H));
        assert_eq!(ledger.standing(&month, &odd(3, NOV, DEC + 360)).remaining, 1);
    }

    #[test]
    fn the_wall_clock_is_all_there_is_until_a_reply_tells_the_time() {
        let (month, mut ledger) = (budget("31/month"), full());
        for id in 1..=31 {
            ledger.reserve(&month, &moment(NOV), id).unwrap();
            ledger.settle(id, None, &[], &moment(NOV));
        }
        assert_eq!(ledger.standing(&month, &odd(2, NOV, DEC - 1)).remaining, 0);
        assert_eq!(ledger.standing(&month, &odd(2, NOV, DEC)).remaining, 31);
    }

    #[test]
    fn what_the_proven_time_leaves_needs_no_claim() {
        let month = budget("31/month");
        let mut ledger = spent([NOV, NOV + D]);
        let next = odd(2, NOV + 2 * D, DEC + D);
        for (id, left) in (50..79).zip((0..29).rev()) {
            ledger.reserve(&month, &next, id).unwrap();
            let standing = ledger.standing(&month, &next);
            assert_eq!(standing.remaining, left, "as November may go on");
        }
    }

    #[test]
    fn a_reservation_of_proven_time_proves_that_it_passed() {
        let month = budget("2/month");
        let mut ledger = spent([DEC - D]);
        ledger.reserve(&month, &moment(DEC + D), 2).unwrap();
        assert_eq!(ledger.standing(&month, &odd(2, 0, 0)).next_at, DEC + D - 17, "lost, and then the machine too");
    }

    #[test]
    fn all_windows_must_agree_and_the_last_tells_the_wait() {
        let early = spent([NOV, NOV + 10, NOV + 20]);
        for (text, at, remaining, next_at) in [
            ("4/month", 30, 1, NOV + 30),
            ("3/month", 30, 0, DEC),
            ("3/hour", 30, 0, NOV + H + 1),
            ("2/hour", 30, 0, NOV + H + 11),
            ("1/hour", 30, 0, NOV + H + 21),
            ("3/hour,4/day", 30, 0, NOV + H + 1),
            ("3/hour,3/day", 30, 0, NOV + D + 1),
            ("3/day,3/hour,3/month", 30, 0, DEC),
            ("9/hour,5/day,7/month", 30, 2, NOV + 30),
            ("3/hour", H + 3, 1, NOV + H + 3),
        ] {
            let standing = early.standing(&budget(text), &moment(NOV + at));
            assert_eq!((standing.remaining, standing.next_at), (remaining, next_at), "{text}");
            assert_eq!(standing.wait.is_none(), remaining > 0, "{text}");
        }
    }

    /// H-14.
    #[test]
    fn a_month_ends_with_the_month_whatever_its_length() {
        let month = budget("1/month");
        for (date, next) in [
            ("2026-11-21T00:00:00Z", "2026-12-01T00:00:00Z"),
            ("2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
            ("2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
            ("2038-01-19T03:14:08Z", "2038-02-01T00:00:00Z"),
        ] {
            let [date, next] = [date, next].map(|text| crate::date::rfc3339(text).unwrap());
            assert_eq!(spent([date]).standing(&month, &moment(date)).next_at, next);
        }
    }

    /// H-15.
    #[test]
    fn more_requests_than_a_lowered_budget_allows_are_waited_for() {
        let ledger = spent((0..40).map(|i| NOV + i * D));
        let standing = ledger.standing(&budget("5/7d"), &moment(NOV + 39 * D + 60));
        assert_eq!((standing.remaining, standing.next_at), (0, NOV + 42 * D + 1), "when all but four are over");
    }

    /// H-13.
    #[test]
    fn what_the_provider_says_is_left_is_believed_when_it_is_stricter() {
        let bucket = |left, seconds| Bucket { left, seconds };
        for (what, buckets, remaining, next_at) in [
            ("nothing", vec![], 8, NOV),
            ("more", vec![bucket(9, 60)], 8, NOV),
            ("less", vec![bucket(3, 60)], 3, NOV),
            ("none", vec![bucket(0, 60)], 0, NOV + 60),
            ("two", vec![bucket(0, 60), bucket(0, 3600), bucket(1, 9999)], 0, NOV + H),
            ("for ever", vec![bucket(0, u32::MAX)], 0, NOV + 31 * D),
        ] {
            let (hour, mut ledger) = (budget("9/hour"), full());
            ledger.reserve(&hour, &moment(NOV), 1).unwrap();
            ledger.settle(1, Some(NOV), &buckets, &moment(NOV));
            let standing = ledger.standing(&hour, &moment(NOV));
            assert_eq!((standing.remaining, standing.next_at), (remaining, next_at), "{what}");
            assert_eq!(Ledger::read(Some(&ledger.write())), Ok(ledger), "{what}");
        }
    }

    #[test]
    fn requests_since_then_are_taken_from_it_and_its_end_is_the_provider_s() {
        let (day, mut ledger) = (budget("50/day"), full());
        let left = |ledger: &Ledger, at| ledger.standing(&day, &moment(NOV + at)).remaining;
        ledger.reserve(&day, &moment(NOV), 1).unwrap();
        ledger.settle(1, Some(NOV), &[Bucket { left: 2, seconds: 60 }], &moment(NOV));
        ledger.reserve(&day, &moment(NOV), 2).unwrap();
        assert_eq!(left(&ledger, 0), 1);
        ledger.reserve(&day, &moment(NOV), 3).unwrap();
        assert_eq!((left(&ledger, 0), left(&ledger, 59), left(&ledger, 61)), (0, 0, 47));
        ledger.refund(3, None, &[], &moment(NOV));
        assert_eq!(left(&ledger, 0), 1, "given back");
        ledger.refund(1, None, &[], &moment(NOV));
        ledger.refund(2, None, &[], &moment(NOV));
        assert_eq!(left(&ledger, 0), 2, "no more than it said");
        ledger.reserve(&day, &moment(NOV), 4).unwrap();
        ledger.settle(4, None, &[Bucket { left: 0, seconds: 90 }], &moment(NOV));
        assert_eq!((left(&ledger, 61), left(&ledger, 91)), (0, 49), "its last word counts");
        ledger.reserve(&day, &moment(NOV + 91), 5).unwrap();
        ledger.refund(5, None, &[Bucket { left: 0, seconds: 60 }], &moment(NOV + 91));
        assert_eq!(left(&ledger, 100), 0, "a refusal tells it too");
    }

    #[test]
    fn a_request_is_given_back_or_settled_only_if_it_is_there() {
        let month = budget("31/month");
        let mut ledger = spent([NOV]);
        ledger.reserve(&month, &moment(NOV + 9), 7).unwrap();
        ledger.refund(7, None, &[], &moment(NOV + 9));
        assert_eq!(ledger.standing(&month, &moment(NOV + 9)).remaining, 30);
        let before = ledger.clone();
        ledger.refund(7, Some(DEC), &[Bucket { left: 0, seconds: 60 }], &moment(NOV + 10));
        ledger.settle(7, Some(DEC), &[Bucket { left: 0, seconds: 60 }], &moment(NOV + 10));
        assert_eq!(ledger, before);
        ledger.insert(Entry { id: 0, at: NOV });
        ledger.refund(0, None, &[], &moment(NOV + 9));
        assert_eq!(ledger.entries.len(), 2, "a damaged one is nobody's");
    }

    #[test]
    fn one_odd_date_is_outvoted_by_the_other_clocks() {
        let month = budget("31/month");
        for (what, date, wall, believed) in [
            ("a year ahead", DEC + 365 * D, NOV + H, false),
            ("1970", 0, NOV + H, false),
            ("an hour ahead", NOV + 2 * H, NOV + H, true),
            ("ten days on, as the wall clock says: the boot clock stood still", NOV + 10 * D, NOV + 10 * D, true),
            ("back, as the wall clock says", NOV - 10 * D, NOV - 10 * D, true),
        ] {
            let mut ledger = spent([NOV]);
            let now = odd(1, NOV + H, wall);
            ledger.reserve(&month, &now, 2).unwrap();
            ledger.settle(2, Some(date), &[], &now);
            assert_eq!(ledger.time(&now).0 == date * SECOND, believed, "{what}");
        }
    }

    #[test]
    fn what_no_window_needs_is_forgotten() {
        let month = budget("31/month");
        let mut ledger = spent((0..400).map(|i| NOV + i * D));
        ledger.reserve(&month, &moment(NOV + 400 * D), 1000).unwrap();
        assert_eq!(ledger.entries.len(), 63, "62 days");
        ledger.reserve(&month, &odd(1, NOV + 600 * D, NOV + 399 * D), 1001).unwrap();
        assert_eq!(ledger.entries.len(), 64, "nothing while the clocks differ");

        let many = budget("10000/hour");
        let mut ledger = full();
        ledger.entries = vec![Entry { id: 1, at: LAST - DAY }; 20_001];
        assert!(ledger.write().len() < crate::store::DOCUMENT_MAX);
        ledger.entries.fill(Entry { id: u64::MAX, at: NOV * SECOND });
        (ledger.proven, ledger.tried) = (point((NOV + H + 2) * SECOND, &moment(NOV + H + 2)), u64::MAX);
        ledger.reserve(&many, &odd(1, NOV + H + 2, 0), 2).unwrap();
        assert_eq!(ledger.entries.len(), 1, "a document must not grow too long");
    }

    /// F-24.
    #[test]
    fn what_a_restored_ledger_has_lost_is_added_again() {
        let month = budget("31/month");
        let mut ledger = spent([NOV]);
        let copy = ledger.write();
        let mut own = vec![
            ledger.reserve(&month, &moment(NOV + 60), 70).unwrap(),
            ledger.reserve(&month, &moment(NOV + 61), 71).unwrap(),
            ledger.reserve(&month, &moment(NOV + 62), 72).unwrap(),
        ];
        ledger.settle(70, Some(NOV + 55), &[], &moment(NOV + 62));
        ledger.refund(71, None, &[], &moment(NOV + 62));
        ledger.recall(&mut own);
        assert_eq!(
            own.iter().map(|own| (own.id, own.at / SECOND)).collect::<Vec<_>>(),
            [(70, NOV + 55), (72, NOV + 121)]
        );
        for document in [Some(&*copy), None] {
            let mut lost = Ledger::read(document).unwrap();
            lost.include(&own);
            lost.include(&own);
            let before = usize::from(document.is_some());
            assert_eq!(lost.entries.len(), 2 + before);
            lost.settle(70, Some(NOV + 56), &[], &moment(NOV + 63));
            assert_eq!(lost.standing(&month, &moment(NOV + 63)).remaining, 29 - before as u32);
        }
    }

    #[test]
    fn a_document_is_read_as_it_was_written_and_any_other_left_alone() {
        let mut ledger = spent([NOV, NOV + 10]);
        ledger.settle(2, Some(NOV + 10), &[Bucket { left: 3, seconds: 60 }; 9], &moment(NOV + 10));
        ledger.reserve(&budget("31/month"), &odd(u64::MAX - 5, NOV, NOV + D), u64::MAX).unwrap();
        let document = ledger.write();
        assert_eq!(Ledger::read(Some(&document)), Ok(ledger));
        let text = String::from_utf8(document).unwrap();
        assert!(text.starts_with("tokauth ledger 1 3 ") && text.lines().count() == 4, "{text}");
        for (document, why) in [
            (String::new(), Unreadable::Foreign),
            ("\n".to_owned(), Unreadable::Foreign),
            ("tokauth ledger ".to_owned(), Unreadable::Foreign),
            ("tokauth ledger 1".to_owned(), Unreadable::Foreign),
            ("tokauth ledger 1 ".to_owned(), Unreadable::Foreign),
            ("tokauth ledger x y z".to_owned(), Unreadable::Foreign),
            ("{\"tokauth\": 1}".to_owned(), Unreadable::Foreign),
            (text.replace("ledger 1 3 ", "ledger 1 2 "), Unreadable::Foreign),
            (text.replace("ledger 1 ", "ledger 2 "), Unreadable::Newer),
            ("tokauth ledger 10 {}".to_owned(), Unreadable::Newer),
        ] {
            assert_eq!(Ledger::read(Some(document.as_bytes())), Err(why), "{document}");
        }
    }

    /// F-04 and F-05: how much is left then, and for how long nothing, at several times of this boot and another.
    #[test]
    fn no_damage_makes_more_available() {
        let budgets = ["4/month", "5/month", "3/hour", "9/hour,5/31d"].map(budget);
        let stamps: Vec<Stamp> = [NOV + 20, NOV + H, NOV + H + 150, NOV + 3 * H, DEC - 60, DEC + 60, DEC + 9 * D, JAN]
            .into_iter()
            .flat_map(|at| [moment(at), odd(7, at, at), odd(8, at, at - D)])
            .collect();
        let standings = |ledger: &Ledger| -> Vec<Standing> {
            stamps.iter().flat_map(|now| budgets.iter().map(|budget| ledger.standing(budget, now))).collect()
        };
        let mut proven = spent([NOV, NOV + 1800, NOV + 3 * H, DEC - 30]);
        proven.settle(3, Some(NOV + 5), &[Bucket { left: 2, seconds: 7200 }], &moment(NOV + 10));
        let mut claimed = proven.clone();
        claimed.reserve(&budgets[1], &odd(7, DEC + 60, DEC + 60), u64::MAX).unwrap();
        for whole in [proven, claimed] {
            let (document, best) = (whole.write(), standings(&whole));
            let lines = whole.entries.len();
            let judge = |what: &str, place: usize, damaged: &[u8]| {
                let Ok(ledger) = Ledger::read(Some(damaged)) else { return };
                for ((best, got), now) in best.iter().zip(standings(&ledger)).zip(stamps.iter().flat_map(|s| [s; 4])) {
                    let is_less = got.remaining <= best.remaining && got.next_at >= best.next_at;
                    assert!(is_less && got.wait >= best.wait, "{what} {place}: {got:?} for {best:?} at {now:?}");
                }
                assert!(ledger.entries.len() >= lines, "{what} {place}");
                let again = Ledger::read(Some(&ledger.write()));
                assert_eq!(again, Ok(ledger), "{what} {place}: what is repaired stays so");
            };
            for place in 0..document.len() {
                judge("cut at", place, &document[..place]);
                for bit in 0..8 {
                    let mut damaged = document.clone();
                    damaged[place] ^= 1 << bit;
                    judge("flipped in", place, &damaged);
                }
                let mut zeroed = document.clone();
                zeroed[place..].fill(0);
                judge("zero from", place, &zeroed);
            }
            let first = document.iter().position(|byte| *byte == b'\n').unwrap();
            assert_eq!(Ledger::read(Some(&document[..first])).unwrap().entries.len(), lines, "all are missed");
            assert_eq!(Ledger::read(Some(&document[..first - 1])), Err(Unreadable::Foreign));
        }
    }

    #[test]
    fn after_the_wait_that_is_told_there_is_one() {
        let budgets = ["31/month", "3/hour,5/day", "50/12h", "2/31d", "1/1s"].map(budget);
        let mut random = 5;
        for budget in &budgets {
            let (mut ledger, mut at) = (full(), Duration::from_secs(NOV as u64));
            for id in 1..500 {
                let now = |at| Stamp { boot_id: 1, since_boot: at, ..NEVER };
                if let Err(standing) = ledger.reserve(budget, &now(at), id) {
                    let wait = standing.wait.unwrap();
                    let early = wait.saturating_sub(Duration::from_millis(4));
                    assert_eq!(ledger.standing(budget, &now(at + early)).remaining, 0, "{standing:?}");
                    at += wait;
                    ledger.reserve(budget, &now(at), id).unwrap();
                }
                at += Duration::from_millis(draw(&mut random) % 2000);
                if id % 5 > 0 {
                    ledger.settle(id, Some(at.as_secs() as i64), &[], &now(at));
                }
                at += Duration::from_millis(draw(&mut random) % 40_000);
            }
        }
    }

    /// E-09.
    #[test]
    fn no_number_is_too_large() {
        let mut random = 1;
        let edges =
            [0, 1, 1_000_000, NOV as u64 * 1000, 1 << 31, LAST as u64, LAST as u64 + 1, i64::MAX as u64, u64::MAX];
        let budgets = ["31/month", "1/1s", "10000/366d,1/month"].map(budget);
        for round in 0..10_000 {
            let mut word = || match draw(&mut random) {
                x if x % 3 == 0 => draw(&mut random),
                x if x % 3 == 1 => edges[(x / 3) as usize % edges.len()],
                x => (x / 3) % 4,
            };
            let lines = word() % 5;
            let mut document = MAGIC.to_owned();
            let mut head: Vec<u64> = (0..11 + word() % 9).map(|_| word()).collect();
            (head[0], head[1]) = (1, if word() % 9 == 0 { word() } else { lines });
            put(&mut document, &head);
            for _ in 0..lines {
                put(&mut document, &[word(), word()]);
            }
            let mut duration = || Duration::new(word(), (word() % 1_000_000_000) as u32);
            let stamps = [0, 1].map(|_| {
                let [since_boot, since_epoch] = [duration(), duration()];
                Stamp { boot_id: u64::from(since_boot.subsec_nanos() % 3), since_boot, since_epoch, ..NEVER }
            });
            let Ok(mut ledger) = Ledger::read(Some(document.as_bytes())) else { continue };
            for now in &stamps {
                let budget = &budgets[round % 3];
                ledger.standing(budget, now);
                let _ = ledger.reserve(budget, now, word());
                ledger.include(&[Entry { id: word(), at: time(word()) }]);
                let told = [Bucket { left: word() as u32, seconds: word() as u32 }];
                let id = ledger.entries[word() as usize % ledger.entries.len()].id;
                match word() % 2 {
                    0 => ledger.settle(id, Some(word() as i64), &told, now),
                    _ => ledger.refund(id, Some(word() as i64), &told, now),
                }
                Ledger::read(Some(&ledger.write())).unwrap().standing(budget, now);
            }
        }
    }

    #[test]
    fn random_bytes_are_no_ledger() {
        let mut random = 3;
        let document = spent([NOV, NOV + 10]).write();
        for _ in 0..20_000 {
            let mut bytes: Vec<u8> = (0..draw(&mut random) % 200).map(|_| draw(&mut random) as u8).collect();
            assert_eq!(Ledger::read(Some(&bytes)), Err(Unreadable::Foreign));
            let keep = draw(&mut random) as usize % document.len();
            bytes.splice(..0, document[..keep].iter().copied());
            let _ = Ledger::read(Some(&bytes));
        }
    }
}
