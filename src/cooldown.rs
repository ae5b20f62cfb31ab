//! When not to ask: between the attempts of one call, after a failure, after a token that the API rejected. Pure.
//!
//! The first question is whether the provider may have issued a token: [`RetryClass`].

use std::time::Duration;

use crate::credential::Fingerprint;
use crate::error::{Error, ErrorKind, RetryClass};
use crate::lines::{Reader, Writer};

/// So often a request is begun that never left: three, as AWS SDKs and google-auth do.
const UNSENT_TRIES: u32 = 3;
/// A request that may have brought a token is repeated once, as MSAL does.
const OTHER_TRIES: u32 = 2;
/// The waits between attempts are drawn from zero to these, doubling ("full jitter"): many clients must not come back
/// in step.
const UNSENT_WAIT: Duration = Duration::from_millis(200);
const OTHER_WAIT: Duration = Duration::from_secs(1);
/// A call waits no longer for a provider that asks to wait.
const TOLD_WAIT_MAX: Duration = Duration::from_secs(2);
/// A provider that asks to wait for less asks for a storm. (For how long at most is the reader's to judge.)
const TOLD_MIN: Duration = Duration::from_secs(1);

/// The attempts of one call.
#[derive(Debug)]
pub(crate) struct Attempts {
    failed: u32,
    /// The last calls failed too: this one only knocks.
    knock: bool,
    pace: Pace,
    corrected: bool,
}

impl Attempts {
    pub(crate) fn new(knock: bool, pace: Pace) -> Attempts {
        Attempts { failed: 0, knock, pace, corrected: false }
    }

    /// Whether one was signed for a corrected time.
    pub(crate) fn were_corrected(&self) -> bool {
        self.corrected
    }

    /// How long to wait before the next attempt; `None`: there is none. `mistimed`: it may have been refused for the
    /// time that it told, and would tell another one now. `draw` is random.
    pub(crate) fn after(&mut self, error: &Error, mistimed: bool, draw: u8) -> Option<Duration> {
        if mistimed && !self.corrected {
            self.corrected = true;
            return Some(Duration::ZERO);
        }
        if self.knock {
            return None;
        }
        self.failed += 1;
        let (tries, base) = match (error.retry_class(), error.kind()) {
            // It says by itself how long, and once is enough.
            (_, ErrorKind::RateLimited) => {
                let told = error.retry_after()?.max(TOLD_MIN);
                return (self.failed < OTHER_TRIES && told <= TOLD_WAIT_MAX).then_some(told);
            }
            (RetryClass::NotSent, ErrorKind::Network | ErrorKind::Server) => (UNSENT_TRIES, UNSENT_WAIT),
            // Read, and no use: so is the next one.
            (RetryClass::Ambiguous, _) if error.is_about_token() => return None,
            (RetryClass::Ambiguous, ErrorKind::Tls) => return None,
            (RetryClass::Ambiguous, _) if !self.pace.repeats => return None,
            (RetryClass::Ambiguous, _) => (OTHER_TRIES, OTHER_WAIT),
            _ => return None,
        };
        if self.failed >= tries || error.retry_after().is_some_and(|told| told > TOLD_WAIT_MAX) {
            return None;
        }
        let longest = base.saturating_mul(1 << (self.failed - 1));
        Some(error.retry_after().unwrap_or_default().max(longest * u32::from(draw) / 255))
    }
}

/// Why there is no token.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// Who was refused.
    pub(crate) credential: Option<Fingerprint>,
    /// It is an earlier failure, remembered elsewhere, which binds until then; nothing was tried.
    pub(crate) held_until: Option<Duration>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { error, credential: None, held_until: None }
    }
}

/// How long pauses are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// The first pause and the longest, after a request that may have brought a token.
    ambiguous: (Duration, Duration),
    /// The same after a rejected token.
    brake: (Duration, Duration),
    /// Whether such a request is repeated at once.
    repeats: bool,
    /// After so long without a rejected token the next one is the first again; `None`: when a token has served half its
    /// life.
    calm: Option<Duration>,
}

impl Pace {
    pub(crate) const USUAL: Pace = Pace {
        // MSAL waits 5 s (Python) to 60 s (.NET) after a 5xx.
        ambiguous: (Duration::from_secs(5), Duration::from_secs(60)),
        brake: (Duration::from_secs(30), Duration::from_secs(900)),
        repeats: true,
        calm: None,
    };

    /// Where requests are counted in a `window`, one in `share` on average: every one that is lost on the way is spent.
    pub(crate) fn scarce(share: Duration, window: Duration) -> Pace {
        let minute = Duration::from_secs(60);
        let ambiguous = (minute, minute.max(share / 8));
        Pace { ambiguous, brake: (share, Duration::MAX), repeats: false, calm: Some(window) }
    }
}

/// A sort of failures, whose cool-downs grow on their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Unsent,
    Ambiguous,
    Refused,
    /// A 429, for example.
    Limited,
}

impl Sort {
    /// The first cool-down and the longest, in seconds.
    fn span(self, pace: Pace) -> (Duration, Duration) {
        let (first, longest) = match self {
            // AWS and Azure SDKs wait from 0.1 to 30 s before they connect again.
            Sort::Unsent => (1, 30),
            Sort::Ambiguous => return pace.ambiguous,
            // MSAL waits 60 s after a 400; no other answer is likely soon.
            Sort::Refused => (60, 900),
            // Where it is not told how long: Entra says 60 s.
            Sort::Limited => (60, 60),
        };
        (Duration::from_secs(first), Duration::from_secs(longest))
    }
}

/// How long a provider that asks to wait is left alone.
pub(crate) fn limit(error: &Error) -> Duration {
    told(error).unwrap_or(Sort::Limited.span(Pace::USUAL).0)
}

fn told(error: &Error) -> Option<Duration> {
    error.retry_after().map(|told| told.max(TOLD_MIN))
}

/// What is remembered of the failures of one cache key since its last success. Times are since boot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cooldown(Option<Failed>);

#[derive(Clone, Debug)]
struct Failed {
    error: Error,
    until: Duration,
    sort: Sort,
    /// So long after its end the next failure is one more of the streak.
    longest: Duration,
    /// How many there were of each sort.
    times: [u32; 4],
    credential: Option<Fingerprint>,
    /// A call that ran out of time binds none that has more.
    timeout: Option<Duration>,
    flight: u64,
}

/// A cool-down that binds a call.
#[derive(Debug)]
pub(crate) struct Bound {
    /// The recorded one, with what is left to wait.
    pub(crate) error: Error,
    pub(crate) credential: Option<Fingerprint>,
    pub(crate) flight: u64,
}

impl Cooldown {
    /// Begins with the end of a flight, of a call that had `timeout`; returns its own end. `None`: the mistake is the
    /// host's, cheap to make again and soon put right.
    pub(crate) fn begin(
        &mut self,
        failure: &Failure,
        flight: u64,
        timeout: Duration,
        pace: Pace,
        now: Duration,
    ) -> Option<Duration> {
        let error = &failure.error;
        let sort = match (error.kind(), error.retry_class()) {
            (ErrorKind::RateLimited, _) => Sort::Limited,
            (ErrorKind::Config | ErrorKind::Unsupported | ErrorKind::Internal, RetryClass::NotSent) => return None,
            // They are looked up anew each time, which costs no connection.
            (ErrorKind::Quota, _) => return None,
            (ErrorKind::Timeout, _) if error.is_about_store() => return None,
            (ErrorKind::Store, _) | (_, RetryClass::NotSent) => Sort::Unsent,
            (_, RetryClass::Ambiguous) => Sort::Ambiguous,
            (_, RetryClass::Refused) => Sort::Refused,
        };
        let before = self.0.as_ref().filter(|before| before.credential == failure.credential);
        let mut times = before.map_or([0; 4], |before| before.times);
        let (first, longest) = sort.span(pace);
        let own = first.saturating_mul(1_u32.checked_shl(times[sort as usize]).unwrap_or(u32::MAX)).min(longest);
        times[sort as usize] += 1;
        let wait = match sort {
            Sort::Limited => limit(error),
            _ => own.max(told(error).unwrap_or_default()),
        };
        let until = now.saturating_add(wait);
        self.0 = Some(Failed {
            error: error.clone(),
            until,
            sort,
            times,
            credential: failure.credential,
            longest,
            timeout: (error.kind() == ErrorKind::Timeout).then_some(timeout),
            flight,
        });
        Some(until)
    }

    /// Whether a call with `timeout` is to be told of the recorded failure, unless `flight` failed so.
    pub(crate) fn binds(&self, now: Duration, timeout: Duration, flight: Option<u64>) -> Option<Bound> {
        let failed = self.0.as_ref()?;
        let binds =
            now < failed.until && failed.timeout.is_none_or(|had| timeout <= had) && Some(failed.flight) != flight;
        binds.then(|| Bound {
            error: failed.error.clone().with_retry_after(Some(failed.until.saturating_sub(now))),
            credential: failed.credential,
            flight: failed.flight,
        })
    }

    /// Whether nothing has succeeded since the last failure: then the next call only knocks, once.
    pub(crate) fn is_streak(&self) -> bool {
        self.0.is_some()
    }

    /// Until when the next failure counts as one more of a streak, for clients that are made per call too.
    pub(crate) fn remembered_until(&self) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, |failed| failed.until.saturating_add(failed.longest))
    }

    pub(crate) fn end(&mut self) {
        self.0 = None;
    }

    /// For another process to read.
    pub(crate) fn write(&self, to: &mut Writer, now: Duration) {
        let Some(failed) = &self.0 else { return to.number(0) };
        to.number(1 + failed.sort as u64);
        failed.times.iter().for_each(|times| to.number((*times).into()));
        to.time(failed.until.saturating_sub(now));
        to.time(failed.longest);
        to.time(failed.timeout.unwrap_or(Duration::MAX));
        failed.error.write(to);
    }

    /// `age` ago it was written.
    pub(crate) fn read(from: &mut Reader<'_>, now: Duration, age: Duration) -> Option<Cooldown> {
        let sort = match from.number()? {
            0 => return Some(Cooldown::default()),
            1 => Sort::Unsent,
            2 => Sort::Ambiguous,
            3 => Sort::Refused,
            4 => Sort::Limited,
            _ => return None,
        };
        let mut times = [0; 4];
        for times in &mut times {
            *times = u32::try_from(from.number()?).ok()?;
        }
        let (left, longest, timeout) = (from.time()?, from.time()?, from.time()?);
        let error = Error::read(from)?;
        if left.saturating_add(longest) < age {
            return Some(Cooldown::default()); // nobody counts on from there
        }
        let until = now.saturating_add(left.saturating_sub(age));
        let timeout = (error.kind() == ErrorKind::Timeout).then_some(timeout);
        Some(Cooldown(Some(Failed { error, until, sort, longest, times, credential: None, timeout, flight: 0 })))
    }

    /// Ends what that flight began: its credential is another one now.
    pub(crate) fn end_of(&mut self, flight: u64) {
        if self.0.as_ref().is_some_and(|failed| failed.flight == flight) {
            self.0 = None;
        }
    }
}

/// Rejected tokens are replaced at once, then ever more seldom: a 401 may be about anything, and another token will not
/// help (gravitino#12531).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Brake {
    closed_until: Duration,
    /// Until then a rejected token is not forgotten.
    calm_from: Duration,
    /// How long it was closed last.
    length: Duration,
    /// The token in service is one that was rejected.
    rejected: bool,
    /// The next token replaces a rejected one.
    replacing: bool,
}

impl Brake {
    /// The token in service is rejected; `served`: it has been in service for half its life. Returns whether to drop
    /// it.
    pub(crate) fn reject(&mut self, served: bool, pace: Pace, now: Duration) -> bool {
        if self.is_calm(served, pace, now) {
            *self = Brake::default();
        }
        self.rejected = true;
        self.replacing = !self.is_closed(now);
        if self.replacing {
            self.calm_from = now.saturating_add(pace.calm.unwrap_or(pace.brake.1));
        }
        self.replacing
    }

    /// A new token goes into service, after one that had been there for half its life (`served`) or not.
    pub(crate) fn replaced(&mut self, served: bool, pace: Pace, now: Duration) {
        if self.replacing {
            let (first, longest) = pace.brake;
            self.length = self.length.saturating_mul(2).clamp(first, longest);
            self.closed_until = now.saturating_add(self.length);
        } else if self.is_calm(served, pace, now) {
            *self = Brake::default();
        }
        (self.rejected, self.replacing) = (false, false);
    }

    fn is_calm(&self, served: bool, pace: Pace, now: Duration) -> bool {
        match pace.calm {
            None => served && !self.rejected,
            Some(_) => now >= self.calm_from,
        }
    }

    pub(crate) fn is_closed(&self, now: Duration) -> bool {
        now < self.closed_until
    }

    /// Until when the next token is to be told from one that nobody rejected a token for.
    pub(crate) fn remembered_until(&self) -> Duration {
        if self.replacing { self.calm_from } else { self.closed_until }
    }

    /// For another process to read.
    pub(crate) fn write(&self, to: &mut Writer, now: Duration) {
        to.time(self.closed_for(now));
        to.time(self.calm_from.saturating_sub(now));
        to.time(self.length);
        to.number(u64::from(self.rejected) + 2 * u64::from(self.replacing));
    }

    /// `age` ago it was written.
    pub(crate) fn read(from: &mut Reader<'_>, now: Duration, age: Duration) -> Option<Brake> {
        let (closed_for, calm_in, length, flags) = (from.time()?, from.time()?, from.time()?, from.number()?);
        Some(Brake {
            closed_until: now.saturating_add(closed_for.saturating_sub(age)),
            calm_from: now.saturating_add(calm_in.saturating_sub(age)),
            length,
            rejected: flags & 1 != 0,
            replacing: flags & 2 != 0,
        })
    }

    pub(crate) fn closed_for(&self, now: Duration) -> Duration {
        self.closed_until.saturating_sub(now)
    }
}
