//! The token budget of a client id at an endpoint: a ledger in the store, on which all scopes and secrets draw.

use std::time::Duration;

use crate::account::Account;
use crate::clock::{Clock, Deadline, Stamp};
use crate::cooldown::Failure;
use crate::date::rfc3339_text;
use crate::error::{Error, ErrorKind, Step};
use crate::hash::sha256;
use crate::log::LogLevel;
use crate::quota::{self, Bucket, Budget, Standing, Unreadable, told};
use crate::request::Random;
use crate::response::Reply;
use crate::settings::{Settings, part_of};
use crate::store::{Change, Name, Store};

/// The ledger, and who goes by it.
#[derive(Debug)]
pub(crate) struct Ledger<'a> {
    settings: &'a Settings,
    budget: &'a Budget,
    store: &'a dyn Store,
    account: &'a Account,
    clock: &'a dyn Clock,
    name: Name,
}

/// What is left of a token budget, as [`Client::budget`](crate::Client::budget) tells it.
///
/// ```
/// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
/// # let client = server::client();
/// if let Some(allowance) = client.budget()? {
///     println!("{} requests left", allowance.requests);
/// }
/// # Ok::<(), tokauth::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allowance {
    /// So many requests may still be sent.
    pub requests: u32,
    /// From when on one may be sent, in Unix seconds. `None`: now.
    pub next_at: Option<i64>,
}

/// A request that is about to be sent, and counts already.
#[derive(Debug)]
pub(crate) struct Reserved(u64);

/// What a reply tells.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    date: Option<i64>,
    told: Vec<Bucket>,
}

impl<'a> Ledger<'a> {
    pub(crate) fn new(
        settings: &'a Settings,
        budget: &'a Budget,
        store: &'a dyn Store,
        account: &'a Account,
        clock: &'a dyn Clock,
    ) -> Ledger<'a> {
        // Without the secret, so that another one draws on the same.
        let mut content = Vec::new();
        for part in ["tokauth v1 ledger", &endpoint(&settings.token_url), &settings.client_id] {
            part_of(&mut content, part.as_bytes());
        }
        Ledger { settings, budget, store, account, clock, name: Name::lasting("ledger", &sha256(&content)) }
    }

    pub(crate) fn allowance(&self) -> Result<Allowance, Error> {
        let standing = self.standing()?;
        Ok(Allowance { requests: standing.remaining, next_at: standing.wait.map(|_| standing.next_at) })
    }

    /// What may be asked for now.
    fn standing(&self) -> Result<Standing, Error> {
        let ledger = self.read(self.store.load(&self.name)?.as_deref())?;
        Ok(ledger.standing(self.budget, &self.now()))
    }

    /// Whether a request may be sent, before anybody is connected to for it.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let (error, wait) = match self.standing() {
            Ok(Standing { wait: None, .. }) => return Ok(()),
            Ok(standing) => (self.spent(&standing), standing.wait.unwrap_or_default()),
            Err(error) => (error, Duration::ZERO),
        };
        let held_until = Some(self.clock.since_boot().saturating_add(wait));
        Err(Failure { error, credential: None, held_until })
    }

    /// Counts a request, so that this outlives whatever happens from now on.
    pub(crate) fn reserve(&self, random: Random<'_>, deadline: &Deadline) -> Result<Reserved, Error> {
        let mut id = [0; 8];
        random(&mut id)?;
        let id = u64::from_le_bytes(id).max(1);
        let mut entry = None;
        self.change(deadline, &mut |ledger, now| {
            entry = Some(ledger.reserve(self.budget, now, id).map_err(|standing| self.spent(&standing))?);
            self.account.spent(|own| ledger.recall(own)); // so that what has grown old is not added again
            Ok(())
        })?;
        self.account.spent(|own| own.extend(entry));
        Ok(Reserved(id))
    }

    /// What a reply tells of the provider's time and count.
    pub(crate) fn heard(&self, reply: &Reply) -> Heard {
        let headers = self.settings.provider.limits.quota_headers.iter();
        Heard { date: reply.date(), told: headers.filter_map(|name| reply.header(name)).flat_map(told).collect() }
    }

    /// What became of the request; `is_spent`: it may have brought a token. If that cannot be written down, it did.
    pub(crate) fn settle(&self, reserved: &Reserved, heard: &Heard, is_spent: bool, deadline: &Deadline) {
        let Heard { date, told } = heard;
        let changed = self.change(deadline, &mut |ledger, now| {
            match is_spent {
                true => ledger.settle(reserved.0, *date, told, now),
                false => ledger.refund(reserved.0, *date, told, now),
            }
            self.account.spent(|own| ledger.recall(own));
            Ok(())
        });
        if let Err(error) = changed {
            self.settings.log.line(LogLevel::Warning, || {
                format!("{}: what became of a request cannot be written down: {error}", self.settings.provider.name)
            });
        }
    }

    /// Tells what is left, now that a token came that lives for `life`; and whether that will do.
    pub(crate) fn tell(&self, life: Duration) {
        let Ok(ledger) = self.store.load(&self.name).and_then(|document| self.read(document.as_deref())) else {
            return;
        };
        let (log, name, now) = (&self.settings.log, &self.settings.provider.name, self.now());
        let (left, more_in) = (ledger.standing(self.budget, &now).remaining, ledger.more_in(self.budget, &now));
        match life.saturating_mul(left.saturating_add(1)) < more_in {
            true => log.line(LogLevel::Warning, || {
                let (life, more) = (life.as_secs(), more_in.as_secs());
                format!("{name}: the budget has {left} requests left, and tokens of {life} s are to last for {more} s")
            }),
            false => log.line(LogLevel::Info, || format!("{name}: the budget has {left} requests left")),
        }
    }

    /// Puts back what this process spent, if the ledger was lost or restored: others count it from then on. If that
    /// fails, the next request does.
    pub(crate) fn put_back(&self, deadline: &Deadline) {
        let Ok(document) = self.store.load(&self.name) else { return };
        let ledger = quota::Ledger::read(document.as_deref());
        let is_lost = ledger.is_ok_and(|ledger| self.account.spent(|own| own.iter().any(|own| !ledger.knows(own))));
        if is_lost {
            let _ = self.change(deadline, &mut |ledger, now| {
                ledger.forget(self.budget, now);
                self.account.spent(|own| ledger.recall(own)); // what only has grown old is not missed again
                Ok(())
            });
        }
    }

    /// Also counts what this process spent and the ledger does not know any more. An error leaves it as it is.
    fn change(
        &self,
        deadline: &Deadline,
        change: &mut dyn FnMut(&mut quota::Ledger, &Stamp) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut outcome = Ok(());
        self.store.change(&self.name, deadline, &mut |document| {
            let changed = self.read(document).and_then(|mut ledger| {
                change(&mut ledger, &self.now())?;
                Ok(ledger.write())
            });
            let (change, new) =
                changed.map_or_else(|e| (Change::Keep, Err(e)), |document| (Change::Put(document), Ok(())));
            outcome = new;
            change
        })?;
        outcome
    }

    /// The ledger, and what this process spent that it does not know of any more.
    fn read(&self, document: Option<&[u8]>) -> Result<quota::Ledger, Error> {
        let fault = |what: &str| {
            Error::store(format!(
                "the token budget's ledger, {}, {what}; put a copy of it back, or remove it and set quota to what is \
                 left",
                self.name.as_str()
            ))
        };
        let mut ledger = quota::Ledger::read(document).map_err(|unreadable| match unreadable {
            Unreadable::Foreign => fault("is damaged or something else"),
            Unreadable::Newer => fault("is of a later version of this library"),
        })?;
        self.account.spent(|own| ledger.include(own));
        Ok(ledger)
    }

    fn spent(&self, standing: &Standing) -> Error {
        let (name, at) = (&self.settings.provider.name, rfc3339_text(standing.next_at));
        let message = format!("the token budget of {name} is spent; it allows the next request at {at}");
        Error::new(ErrorKind::Quota, Step::Budget, message).with_retry_after(Some(standing.wait.unwrap_or_default()))
    }

    fn now(&self) -> Stamp {
        Stamp::now(self.clock, self.store.since_epoch())
    }
}

/// The same however the host and the usual port are written (RFC 9110 section 4.2.3).
fn endpoint(url: &str) -> String {
    let Ok(uri) = url.parse::<http::Uri>() else { return url.to_owned() };
    let authority = uri.authority().map_or("", |authority| authority.as_str()).to_ascii_lowercase();
    let usual = if uri.scheme_str() == Some("https") { ":443" } else { ":80" };
    [authority.strip_suffix(usual).unwrap_or(&authority), uri.path_and_query().map_or("/", |path| path.as_str())]
        .concat()
}
