//! Asking the provider: as often as makes sense, and never more than the budget has.

use std::cell::Cell;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::account;
use crate::budget::{Heard, Ledger, Reserved};
use crate::cache::{Counter, Fetched};
use crate::clock::{Deadline, Stamp};
use crate::cooldown::{Attempts, Failure};
use crate::credential::{Fingerprint, fingerprint};
use crate::error::{Error, ErrorKind, RetryClass, Step};
use crate::expiry::life;
use crate::log::LogLevel;
use crate::provider::{Piece, TOKEN};
use crate::request::{Head, Plan};
use crate::response::{Asked, Reply, read};
use crate::secret::Secret;
use crate::store::{Hold, Turn};
use crate::token::Token;
use crate::transport::Sent;

use super::Exchange;

/// The ledger's time runs late: by 9 s, if the provider told its own a day ago.
const MOMENT: Duration = Duration::from_secs(10);

/// A new token.
pub(super) struct Issued {
    pub(super) fetched: Fetched,
    /// Before its request left.
    pub(super) sent: Stamp,
    /// From there to the reply.
    pub(super) took: Duration,
    /// What the ledger has not been told yet: the token is kept first, so that a death in between loses none.
    unsettled: Option<(Reserved, Heard)>,
    /// Until then the endpoint had held something against the credential.
    pub(super) ends_trouble: bool,
}

/// A turn to ask, until it turns out that it is over.
pub(super) struct Held<'a> {
    turn: Box<dyn Turn>,
    /// Whether anything came since what is known was read.
    came: &'a dyn Fn() -> Result<bool, Error>,
    is_lost: Cell<bool>,
}

impl<'a> Held<'a> {
    pub(super) fn new(turn: Box<dyn Turn>, came: &'a dyn Fn() -> Result<bool, Error>) -> Held<'a> {
        Held { turn, came, is_lost: Cell::new(false) }
    }

    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.get()
    }

    fn hold(&self, deadline: &Deadline) -> Result<(), Error> {
        let is_over = match self.turn.hold(deadline)? {
            Hold::Kept => false,
            Hold::Regained => (self.came)()?,
            Hold::Lost => true,
        };
        if is_over {
            self.is_lost.set(true);
            let message = "connecting took so long that another process has asked by now; ask again";
            return Err(Error::store_timeout(message));
        }
        Ok(())
    }
}

/// When a request was signed.
#[derive(Clone, Copy)]
struct Signed {
    /// Since boot: the provider cannot have issued a token before.
    sent: Duration,
    /// Since 1970, by this machine's wall clock.
    wall: Duration,
    /// The same by the clock of all who share the token.
    shared: Duration,
    /// Since 1970, as far as the provider's clock is known: what the signature tells.
    told: Duration,
}

/// A request that brought no token.
struct Failed {
    error: Error,
    /// The provider may have refused it for its time, and would see another one now.
    mistimed: bool,
    /// It told the time by the provider's clock, not by this machine's.
    corrected: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed { error, mistimed: false, corrected: false }
    }
}

impl Exchange<'_> {
    /// A token from the provider. `turn`: the one to ask, where processes take turns. `knock`: with a single attempt,
    /// since the last ones failed.
    pub(super) fn ask(
        &self,
        secret: &Secret,
        turn: Option<&Held<'_>>,
        deadline: &Deadline,
        knock: bool,
    ) -> Result<Issued, Failure> {
        let settings = self.settings;
        let credential = fingerprint(self.fingerprint_key, secret);
        let lockout = settings.provider.limits.lockout;
        let began = self.clock.since_boot();
        let _turn = match lockout {
            Some(_) => Some(self.turn(credential, deadline)?),
            None => None,
        };
        let held = || self.account.holds(credential, lockout, self.clock.since_boot());
        if let Some(failure) = held() {
            return Err(self.held(failure));
        }
        let ledger = self.ledger();
        if let Some(ledger) = &ledger {
            self.admit(ledger, deadline)?;
        }
        let trouble = !self.account.met(credential, began).is_nothing();
        let plan = Plan::new(settings, secret.clone());
        let mut attempts = Attempts::new(knock, settings.pace());
        let mut issued = loop {
            let attempt = self.attempt(&plan, credential, turn, ledger.as_ref(), deadline);
            let Failed { error, mistimed, corrected } = match attempt {
                Ok(issued) => break issued,
                Err(failed) if turn.is_some_and(Held::is_lost) => return Err(failed.error.into()),
                Err(failed) => failed,
            };
            let now = self.clock.since_boot();
            self.counters.add(Counter::Failures);
            self.account.failed(credential, &error, lockout, now);
            if error.kind() == ErrorKind::Denied && (attempts.were_corrected() || corrected && !mistimed) {
                self.account.distrust(credential, now); // it was not the time
            }
            let may = |wait: &Duration| *wait < deadline.remaining() && (lockout.is_none() || held().is_none());
            let again = attempts.after(&error, mistimed, self.draw()).filter(may);
            self.tell(&error, now.saturating_sub(began), again);
            let Some(wait) = again else {
                // It may have been the last that this secret is allowed.
                let held_until = lockout.and_then(|_| held()?.held_until);
                return Err(Failure { error, credential: Some(credential), held_until });
            };
            if !wait.is_zero() {
                self.clock.sleep(now.saturating_add(wait));
            }
        };
        self.account.succeeded(credential);
        issued.ends_trouble = trouble;
        self.came(&issued.fetched, self.clock.since_boot().saturating_sub(began));
        Ok(issued)
    }

    /// Passes if the budget has a request, or has one in a moment, which is waited for.
    fn admit(&self, ledger: &Ledger<'_>, deadline: &Deadline) -> Result<(), Failure> {
        loop {
            let Err(failure) = ledger.check() else { return Ok(()) };
            let last = deadline.at.min(self.clock.since_boot().saturating_add(MOMENT));
            let is_spent = failure.error.kind() == ErrorKind::Quota;
            match failure.held_until.filter(|until| is_spent && *until < last) {
                Some(until) => self.clock.sleep(until),
                None => return Err(self.held(failure)),
            }
        }
    }

    /// Waits until no other request tries this credential.
    fn turn(&self, credential: Fingerprint, deadline: &Deadline) -> Result<account::Turn<'_>, Error> {
        loop {
            let over = match self.account.takes_turn(credential) {
                Ok(turn) => return Ok(turn),
                Err(over) => over,
            };
            self.clock.wait(&over, deadline.at);
            if deadline.remaining().is_zero() {
                let message = "another request with the same secret took longer than this call may; ask again";
                return Err(Error::new(ErrorKind::Timeout, Step::Request, message));
            }
        }
    }

    pub(super) fn tell(&self, error: &Error, took: Duration, again: Option<Duration>) {
        let (name, took) = (&self.settings.provider.name, took.as_millis());
        match again {
            Some(wait) => self.settings.log.line(LogLevel::Warning, || {
                format!("{name}: no token, after {took} ms, and asks again in {} ms: {error}", wait.as_millis())
            }),
            None => self.settings.log.line(LogLevel::Error, || format!("{name}: no token, after {took} ms: {error}")),
        }
    }

    fn came(&self, fetched: &Fetched, took: Duration) {
        let (settings, life) = (self.settings, fetched.lifetime.life);
        let name = &settings.provider.name;
        settings
            .log
            .line(LogLevel::Info, || format!("{name}: a token for {} s, in {} ms", life.as_secs(), took.as_millis()));
        if life.is_zero() {
            settings.log.line(LogLevel::Warning, || {
                format!("{name}: the token had no life left when it came; is this machine's clock right?")
            });
        }
    }

    fn attempt(
        &self,
        plan: &Plan<'_>,
        credential: Fingerprint,
        turn: Option<&Held<'_>>,
        ledger: Option<&Ledger<'_>>,
        deadline: &Deadline,
    ) -> Result<Issued, Failed> {
        let head = plan.head(self.time().told)?;
        let mut secrets = plan.secrets(&head);
        let (mut signed, mut shown, mut reserved) = (None, None, None);
        let outcome = self.transport.send(&head, deadline.clone(), &mut || {
            if ledger.is_some() && deadline.remaining() < deadline.enough() {
                let message = "no time is left to hear the answer to a request that counts; raise timeout_ms";
                return Err(Error::new(ErrorKind::Timeout, Step::Request, message));
            }
            match turn.map(|turn| turn.hold(deadline)) {
                // As without a store.
                Some(Err(outage)) if ledger.is_none() && outage.kind() == ErrorKind::Store => self.warn(&outage),
                held => held.transpose().map(drop)?,
            }
            // Before anything leaves that could bring a token; and the time is told after that.
            reserved = ledger.map(|ledger| ledger.reserve(self.random, deadline)).transpose()?;
            let now = self.time();
            let body = plan.body(now.told, self.random)?;
            signed = Some(now);
            secrets.extend(body.signatures);
            shown = Some(body.shown);
            self.counters.add(Counter::Requests);
            Ok(body.text)
        });
        self.show(&head, shown);
        let settle = |heard: &Heard, is_spent| {
            if let (Some(ledger), Some(reserved)) = (ledger, &reserved) {
                ledger.settle(reserved, heard, is_spent, &deadline.to_write());
            }
        };
        let reply = match outcome {
            Ok(Sent::Reply(reply)) => reply,
            Ok(Sent::Lost(error)) => return Err(error.with_class(RetryClass::Ambiguous).into()),
            Err(error) => {
                settle(&Heard::default(), false);
                return Err(error.into());
            }
        };
        let Some(signed) = signed else {
            return Err(Error::bug(Step::Reply, "a reply came before the request left").into());
        };
        let received = self.clock.since_boot();
        let skew = reply.date().and_then(|date| self.account.learn(credential, date, signed.sent, received));
        // What the request told of the time was off: by more than the provider bears, for all that is known, or maybe.
        let ahead = skew.and_then(|skew| skew.ahead_of(signed.told, signed.sent, received));
        let bound = self.settings.provider.limits.clock_s.map(|bound| i64::try_from(bound).unwrap_or(i64::MAX));
        let (surely, maybe) = ahead.zip(bound).map_or((false, false), |((least, most), bound)| {
            let bound = bound.saturating_mul(1000);
            (least > bound || most < -bound, most > bound || least < -bound)
        });
        let issued = self.judge(&reply, &secrets, signed, received);
        if issued.is_ok() && surely {
            self.account.distrust(credential, received); // it was taken all the same
        }
        let heard = ledger.map(|ledger| ledger.heard(&reply)).unwrap_or_default();
        match issued {
            Ok(issued) => Ok(Issued { unsettled: reserved.map(|reserved| (reserved, heard)), ..issued }),
            Err(error) => {
                // Any other reply may have been a token.
                let is_refusal = (300..500).contains(&reply.status) || error.kind() == ErrorKind::RateLimited;
                settle(&heard, !is_refusal || error.retry_class() == RetryClass::Ambiguous);
                let now_told = self.account.time(signed.sent, signed.wall);
                let differs = now_told.as_secs() != signed.told.as_secs();
                let mistimed = error.kind() == ErrorKind::Denied && maybe && differs;
                Err(Failed { error, mistimed, corrected: signed.told != signed.wall })
            }
        }
    }

    /// Tells the ledger of a request that brought a token.
    pub(super) fn settle(&self, issued: &Issued, deadline: &Deadline) {
        if let (Some(ledger), Some((reserved, heard))) = (self.ledger(), &issued.unsettled) {
            ledger.settle(reserved, heard, true, deadline);
            ledger.tell(issued.fetched.lifetime.life);
        }
    }

    fn time(&self) -> Signed {
        let (sent, wall) = (self.clock.since_boot(), self.clock.since_epoch());
        Signed { sent, wall, shared: self.now().since_epoch, told: self.account.time(sent, wall) }
    }

    fn show(&self, head: &Head, fields: Option<String>) {
        if let Some(fields) = fields {
            let name = &self.settings.provider.name;
            self.settings.log.line(LogLevel::Debug, || format!("{name}: {}; {fields}", head.shown()));
        }
    }

    fn judge(&self, reply: &Reply, secrets: &[Secret], signed: Signed, received: Duration) -> Result<Issued, Error> {
        let settings = self.settings;
        let asked = Asked {
            provider: &settings.provider,
            endpoint: &settings.endpoint,
            requested_life: settings.provider.response.requested_life.as_deref().and_then(|name| settings.input(name)),
            secrets,
            wall: signed.wall,
            now: signed.told,
        };
        let grant = read(&asked, reply)?;
        if grant.odd_expiry {
            settings.log.line(LogLevel::Warning, || {
                let (name, rules) = (&settings.provider.name, &settings.provider.response.expiry);
                format!("{name}: the end of the token at {} cannot be read, and is taken as not told", rules.at)
            });
        }
        let now = self.account.time(signed.sent, signed.wall);
        let life = life(grant.told, now, settings.default_ttl, settings.max_ttl);
        let expires_at = i64::try_from(signed.wall.saturating_add(life).as_secs()).unwrap_or(i64::MAX);
        let token_type = grant.token_type.as_deref().unwrap_or("Bearer");
        let token = self.token(&grant.token, token_type, grant.scope.as_deref(), expires_at)?;
        let sent = Stamp { since_boot: signed.sent, since_epoch: signed.shared, ..self.now() };
        let fetched = Fetched { token, lifetime: self.life_of(signed.sent, received, life) };
        Ok(Issued { fetched, sent, took: received.saturating_sub(signed.sent), unsettled: None, ends_trouble: false })
    }

    /// With the headers that an API call needs.
    pub(super) fn token(
        &self,
        value: &str,
        token_type: &str,
        scope: Option<&str>,
        expires_at: i64,
    ) -> Result<Token, Error> {
        let mut headers: Vec<(String, Zeroizing<String>)> = Vec::new();
        for (name, template) in self.settings.provider.api.headers.iter() {
            let pieces = template.pieces().iter().map(|piece| match piece {
                Piece::Literal(literal) => Some(literal.as_str()),
                Piece::Name(name) if name == TOKEN => Some(value),
                Piece::Name(name) => self.settings.input(name),
            });
            if let Some(value) = pieces.collect::<Option<String>>() {
                headers.push((name.to_owned(), Zeroizing::new(value)));
            }
        }
        Token::new(value, token_type, scope, &headers, expires_at)
            .ok_or_else(|| Error::bug(Step::Token, "a NUL passed the reader"))
    }
}
