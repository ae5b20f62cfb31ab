//! What is known of one client id at one token endpoint, whatever scope or secret it is asked with.

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::clock::{Event, Stamp};
use crate::cooldown::{Failure, limit};
use crate::credential::Fingerprint;
use crate::error::{Error, ErrorKind, RetryClass};
use crate::lines::{Reader, Writer};
use crate::process::Locked;
use crate::quota::Entry;
use crate::skew::Skew;

/// A credential that was refused as often as it may be is not tried again for so long.
const LOCKED_FOR: Duration = Duration::from_secs(24 * 3600);
/// Never more often, even where the provider bears more: somebody else may have been wrong as well.
const TRIES_MAX: u32 = 2;
/// One more request is signed by a wrong `Date` in so long.
const DISTRUSTED_FOR: Duration = Duration::from_secs(3600);
/// So many secrets of one client id are remembered as wrong.
const REFUSED_MAX: usize = 16;

/// Shared by the slots of one client id at one endpoint.
#[derive(Default)]
pub(crate) struct Account(Locked<Known>);

#[derive(Clone, Default)]
struct Known {
    /// The provider asks this client to wait.
    limited: Option<Limited>,
    /// Secrets that it refused, oldest first.
    refused: Vec<(Fingerprint, Refused)>,
    /// Requests under way of credentials that must not be refused too often.
    trying: Vec<(Fingerprint, Arc<Event>)>,
    /// Requests of this process that the budget counts, wherever its ledger went.
    spent: Vec<Entry>,
    skew: Option<Skew>,
    /// The `Date` of its replies was proven wrong, with this secret, and is not looked at until then.
    distrusted: Option<(Fingerprint, Duration)>,
}

#[derive(Clone, Debug)]
struct Limited {
    since: Duration,
    until: Duration,
    error: Error,
}

#[derive(Clone, Debug)]
struct Refused {
    times: u32,
    /// A day after the last time.
    until: Duration,
    error: Error,
}

/// How the endpoint took one credential, for other processes to know.
#[derive(Clone, Debug)]
pub(crate) struct Met {
    limited: Option<Limited>,
    refused: Option<Refused>,
    /// By a process that knew nothing else then.
    written: Duration,
}

impl Met {
    pub(crate) fn is_nothing(&self) -> bool {
        self.limited.is_none() && self.refused.is_none()
    }

    pub(crate) fn write(&self, now: &Stamp) -> Zeroizing<String> {
        let mut to = Writer::new(4096);
        let ago = |then| now.since_boot.saturating_sub(then);
        to.stamp(now);
        to.number(self.limited.is_some().into());
        if let Some(limited) = &self.limited {
            to.time(ago(limited.since));
            to.time(limited.until.saturating_sub(now.since_boot));
            limited.error.write(&mut to);
        }
        to.number(self.refused.as_ref().map_or(0, |refused| refused.times.into()));
        if let Some(refused) = &self.refused {
            to.time(refused.until.saturating_sub(now.since_boot));
            refused.error.write(&mut to);
        }
        to.done()
    }

    pub(crate) fn read(text: &str, now: &Stamp) -> Option<Met> {
        let mut from = Reader::new(text);
        let age = from.stamp()?.age(now);
        let written = now.since_boot.saturating_sub(age);
        let limited = match from.number()? {
            0 => None,
            _ => Some(Limited {
                since: written.saturating_sub(from.time()?),
                until: now.since_boot.saturating_add(from.time()?.saturating_sub(age)),
                error: Error::read(&mut from)?,
            }),
        };
        let refused = match from.number()? {
            0 => None,
            times => Some(Refused {
                times: u32::try_from(times).ok()?,
                until: now.since_boot.saturating_add(from.time()?.saturating_sub(age)),
                error: Error::read(&mut from)?,
            }),
        };
        Some(Met { limited, refused, written })
    }
}

/// A request under way.
pub(crate) struct Turn<'a> {
    account: &'a Account,
    credential: Fingerprint,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let at = |known: &Known| known.trying.iter().position(|(who, _)| *who == self.credential);
        let over = self.account.known(|known| at(known).map(|at| known.trying.remove(at).1));
        if let Some(over) = over {
            over.set();
        }
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").finish_non_exhaustive()
    }
}

impl Known {
    fn remember(&mut self, credential: Fingerprint, refused: Option<Refused>) {
        self.refused.retain(|(who, _)| *who != credential);
        if let Some(refused) = refused {
            if self.refused.len() == REFUSED_MAX {
                self.refused.remove(0);
            }
            self.refused.push((credential, refused));
        }
    }
}

impl Account {
    /// What an earlier call learnt that stops this one too. `lockout`: so many refusals lock the client.
    pub(crate) fn holds(&self, credential: Fingerprint, lockout: Option<u32>, now: Duration) -> Option<Failure> {
        let tries = lockout.map(|lockout| TRIES_MAX.min(lockout / 2));
        let met = self.met(credential, now);
        let refused = met.refused.filter(|refused| tries.is_some_and(|tries| refused.times >= tries));
        let refused = refused.map(|refused| (refused.until, refused.error));
        let limited = met.limited.map(|limited| (limited.until, limited.error));
        let (until, error) = refused.into_iter().chain(limited).find(|(until, _)| now < *until)?;
        let error = error.with_retry_after(Some(until.saturating_sub(now)));
        Some(Failure { error, credential: Some(credential), held_until: Some(until) })
    }

    /// All that is known of how the endpoint takes the credential.
    pub(crate) fn met(&self, credential: Fingerprint, now: Duration) -> Met {
        self.known(|known| {
            let refused = known.refused.iter().find(|(who, _)| *who == credential);
            Met { limited: known.limited.clone(), refused: refused.map(|(_, refused)| refused.clone()), written: now }
        })
    }

    /// What another process knew: it counts where it is the later word.
    pub(crate) fn learn_of(&self, credential: Fingerprint, met: Met) {
        self.known(|known| {
            if known.limited.as_ref().is_none_or(|own| own.since <= met.written) {
                known.limited = met.limited;
            }
            let own = known.refused.iter().find(|(who, _)| *who == credential);
            if own.is_none_or(|(_, own)| own.until.saturating_sub(LOCKED_FOR) <= met.written) {
                known.remember(credential, met.refused);
            }
        })
    }

    /// Where refusals lock the client, one request at a time tries a secret, whatever it asks for: else they would all
    /// be sent before the first is refused. `Err`: when it is worth another look.
    pub(crate) fn takes_turn(&self, credential: Fingerprint) -> Result<Turn<'_>, Arc<Event>> {
        self.known(|known| match known.trying.iter().find(|(who, _)| *who == credential) {
            Some((_, over)) => Err(over.clone()),
            None => {
                known.trying.push((credential, Arc::default()));
                Ok(Turn { account: self, credential })
            }
        })
    }

    /// Remembers what a failed attempt means for others. `lockout`: as above.
    pub(crate) fn failed(&self, credential: Fingerprint, error: &Error, lockout: Option<u32>, now: Duration) {
        self.known(|known| match (error.kind(), error.retry_class()) {
            (ErrorKind::RateLimited, _) => {
                let until = now.saturating_add(limit(error));
                if known.limited.as_ref().is_none_or(|known| known.until < until) {
                    known.limited = Some(Limited { since: now, until, error: error.clone() });
                }
            }
            (ErrorKind::Denied, RetryClass::Refused) if lockout.is_some() => {
                let before = known.refused.iter().find(|(who, _)| *who == credential).map(|(_, before)| before);
                let before = before.filter(|before| now < before.until);
                let times = before.map_or(0, |before| before.times) + 1;
                known.remember(
                    credential,
                    Some(Refused { times, until: now.saturating_add(LOCKED_FOR), error: error.clone() }),
                );
            }
            _ => {}
        })
    }

    /// Until when a client that comes later is to be kept from locking itself out.
    pub(crate) fn alive_until(&self) -> Duration {
        self.known(|known| known.refused.iter().map(|(_, refused)| refused.until).max()).unwrap_or_default()
    }

    /// A token came.
    pub(crate) fn succeeded(&self, credential: Fingerprint) {
        self.known(|known| {
            known.limited = None;
            known.remember(credential, None);
        })
    }

    /// Lets `body` see, and change, what this process spent of the budget.
    pub(crate) fn spent<T>(&self, body: impl FnOnce(&mut Vec<Entry>) -> T) -> T {
        self.known(|known| body(&mut known.spent))
    }

    /// Forgets failures, for all who share this; what is known of the clock stays, and is believed again.
    pub(crate) fn forgive(&self) {
        self.known(|known| {
            known.limited = None;
            known.refused.clear();
            known.distrusted = None;
        })
    }

    /// What a reply's `Date` tells of the provider's clock, with what was known before.
    pub(crate) fn learn(&self, credential: Fingerprint, date: i64, sent: Duration, received: Duration) -> Option<Skew> {
        self.known(|known| {
            let distrusted = known.distrusted.is_some_and(|(who, until)| who == credential && received < until);
            if !distrusted {
                known.skew = Some(Skew::learn(known.skew, date, sent, received));
            }
            known.skew
        })
    }

    /// `Date` is wrong: what it told is forgotten, and what it tells is not looked at for a while.
    pub(crate) fn distrust(&self, credential: Fingerprint, now: Duration) {
        self.known(|known| {
            known.skew = None;
            known.distrusted = Some((credential, now.saturating_add(DISTRUSTED_FOR)));
        })
    }

    /// The provider's time since 1970, by all that is known, where our clocks say `boot` and `wall`.
    pub(crate) fn time(&self, boot: Duration, wall: Duration) -> Duration {
        Skew::time(self.known(|known| known.skew), boot, wall)
    }

    fn known<T>(&self, body: impl FnOnce(&mut Known) -> T) -> T {
        // A child has none of its parent's requests.
        let inherit = |parents: Option<&mut Known>| {
            parents.map(|known| Known { trying: Vec::new(), ..known.clone() }).unwrap_or_default()
        };
        self.0.locked(inherit, body)
    }
}
