//! The one story of getting a token, from top to bottom.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::account::{Account, Turn};
use crate::cache::{Counter, Counters, Fetched};
use crate::clock::{Clock, Deadline, nanos};
use crate::cooldown::{Attempts, Failure};
use crate::credential::{Fingerprint, fingerprint};
use crate::error::{Error, ErrorKind, RetryClass, Step};
use crate::expiry::{Lifetime, life};
use crate::log::LogLevel;
use crate::provider::{Piece, TOKEN};
use crate::request::{Head, Plan, Random};
use crate::response::{Asked, Grant, Reply, read};
use crate::secret::Secret;
use crate::settings::{Key, Settings};
use crate::store::{Record, Records};
use crate::token::Token;
use crate::transport::{Sent, Transport};

/// Everything that getting a token takes.
pub(crate) struct Exchange<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) key: &'a Key,
    pub(crate) fingerprint_key: &'a [u8; 32],
    pub(crate) account: &'a Account,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) store: &'a dyn Records,
    pub(crate) transport: &'a dyn Transport,
    pub(crate) random: Random<'a>,
    pub(crate) counters: &'a Counters,
    /// What the slot holds, dead or alive.
    pub(crate) cached: Option<Token>,
}

/// When a request was signed.
#[derive(Clone, Copy)]
struct Signed {
    /// Since boot: the provider cannot have issued a token before.
    sent: Duration,
    /// Since 1970, by this machine's wall clock.
    wall: Duration,
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
    /// A token from the store, unless it is due for renewal itself, or from the provider.
    pub(crate) fn fetch(&self, deadline: &Deadline, knock: bool) -> Result<Fetched, Failure> {
        let now = nanos(self.clock.since_boot());
        match self.stored().filter(|stored| now < stored.lifetime.refresh_from(self.settings.wishes)) {
            Some(fetched) => Ok(self.hit(fetched)),
            None => self.request(deadline, knock),
        }
    }

    /// Counts a token of the store that is put to use.
    pub(crate) fn hit(&self, fetched: Fetched) -> Fetched {
        self.counters.add(Counter::StoreHits);
        fetched
    }

    /// What the store holds, if it is news and will still be valid. A store that fails costs a request, not a token.
    pub(crate) fn stored(&self) -> Option<Fetched> {
        let record = match self.store.load(self.key) {
            Ok(record) => record?,
            Err(error) => {
                self.settings.log.line(LogLevel::Warning, || error.to_string());
                return None;
            }
        };
        if self.cached.as_ref().is_some_and(|cached| cached.is_same(&record.token)) {
            return None; // by the clock that nobody sets its time is over here, or due
        }
        let now = self.clock.since_boot();
        let left = record.expires_at.saturating_sub(self.clock.since_epoch().as_secs() as i64);
        let left = Duration::from_secs(u64::try_from(left).unwrap_or(0)).min(record.life).min(self.settings.max_ttl);
        if left.is_zero() {
            return None;
        }
        // As this process would see it, had it asked itself; a machine that booted since then cannot.
        let asked = now.checked_sub(record.life.saturating_sub(left));
        let (sent, life) = asked.map_or((now, left), |asked| (asked, record.life));
        let lifetime = Lifetime::new(sent, sent, life, self.draw());
        if nanos(now) >= lifetime.fresh_until(self.settings.wishes) {
            return None;
        }
        Some(Fetched { token: record.token, lifetime })
    }

    /// A token from the provider, kept in the store. `knock`: with a single attempt, since the last ones failed.
    pub(crate) fn request(&self, deadline: &Deadline, knock: bool) -> Result<Fetched, Failure> {
        let settings = self.settings;
        let secret = settings.credential.read().inspect_err(|error| {
            self.counters.add(Counter::Failures);
            self.tell(error, Duration::ZERO, None);
        })?;
        let credential = fingerprint(self.fingerprint_key, &secret);
        let lockout = settings.provider.limits.lockout;
        let began = self.clock.since_boot();
        let _turn = match lockout {
            Some(_) => Some(self.turn(credential, deadline)?),
            None => None,
        };
        let held = || self.account.holds(credential, lockout, self.clock.since_boot());
        if let Some(failure) = held() {
            return Err(failure);
        }
        let plan = Plan::new(settings, secret);
        let mut attempts = Attempts::new(knock);
        let fetched = loop {
            let Failed { error, mistimed, corrected } = match self.attempt(&plan, credential, deadline) {
                Ok(fetched) => break fetched,
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
        self.came(&fetched, self.clock.since_boot().saturating_sub(began));
        Ok(fetched)
    }

    /// Waits until no other request tries this credential.
    fn turn(&self, credential: Fingerprint, deadline: &Deadline) -> Result<Turn<'_>, Error> {
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

    fn tell(&self, error: &Error, took: Duration, again: Option<Duration>) {
        let (name, took) = (&self.settings.provider.name, took.as_millis());
        match again {
            Some(wait) => self.settings.log.line(LogLevel::Warning, || {
                format!("{name}: no token, after {took} ms, and asks again in {} ms: {error}", wait.as_millis())
            }),
            None => self.settings.log.line(LogLevel::Error, || format!("{name}: no token, after {took} ms: {error}")),
        }
    }

    /// Tells of a new token, and keeps it in the store.
    fn came(&self, fetched: &Fetched, took: Duration) {
        let settings = self.settings;
        let (name, life) = (&settings.provider.name, fetched.lifetime.life);
        settings
            .log
            .line(LogLevel::Info, || format!("{name}: a token for {} s, in {} ms", life.as_secs(), took.as_millis()));
        if life.is_zero() {
            settings.log.line(LogLevel::Warning, || {
                format!("{name}: the token had no life left when it came; is this machine's clock right?")
            });
        }
        let record = Record { token: fetched.token.clone(), expires_at: fetched.token.expires_at(), life };
        if let Err(error) = self.store.save(self.key, &record) {
            settings.log.line(LogLevel::Warning, || error.to_string());
        }
    }

    fn attempt(&self, plan: &Plan<'_>, credential: Fingerprint, deadline: &Deadline) -> Result<Fetched, Failed> {
        let head = plan.head(self.time().told)?;
        let mut secrets = plan.secrets(&head);
        let (mut signed, mut shown) = (None, None);
        let outcome = self.transport.send(&head, deadline.clone(), &mut || {
            let now = self.time();
            let body = plan.body(now.told, self.random)?;
            signed = Some(now);
            secrets.extend(body.signatures);
            shown = Some(body.shown);
            self.counters.add(Counter::Requests);
            Ok(body.text)
        });
        self.show(&head, shown);
        let reply = match outcome? {
            Sent::Reply(reply) => reply,
            Sent::Lost(error) => return Err(error.with_class(RetryClass::Ambiguous).into()),
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
        let fetched = self.judge(&reply, &secrets, signed, received);
        if fetched.is_ok() && surely {
            self.account.distrust(credential, received); // it was taken all the same
        }
        fetched.map_err(|error| {
            let now_told = self.account.time(signed.sent, signed.wall);
            let differs = now_told.as_secs() != signed.told.as_secs();
            let mistimed = error.kind() == ErrorKind::Denied && maybe && differs;
            Failed { error, mistimed, corrected: signed.told != signed.wall }
        })
    }

    fn time(&self) -> Signed {
        let (sent, wall) = (self.clock.since_boot(), self.clock.since_epoch());
        Signed { sent, wall, told: self.account.time(sent, wall) }
    }

    fn show(&self, head: &Head, fields: Option<String>) {
        if let Some(fields) = fields {
            let name = &self.settings.provider.name;
            self.settings.log.line(LogLevel::Debug, || format!("{name}: {}; {fields}", head.shown()));
        }
    }

    fn judge(&self, reply: &Reply, secrets: &[Secret], signed: Signed, received: Duration) -> Result<Fetched, Error> {
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
        let token = self.token(&grant, expires_at)?;
        Ok(Fetched { token, lifetime: Lifetime::new(signed.sent, received, life, self.draw()) })
    }

    fn token(&self, grant: &Grant, expires_at: i64) -> Result<Token, Error> {
        let mut headers: Vec<(String, Zeroizing<String>)> = Vec::new();
        for (name, template) in self.settings.provider.api.headers.iter() {
            let pieces = template.pieces().iter().map(|piece| match piece {
                Piece::Literal(literal) => Some(literal.as_str()),
                Piece::Name(name) if name == TOKEN => Some(grant.token.as_str()),
                Piece::Name(name) => self.settings.input(name),
            });
            if let Some(value) = pieces.collect::<Option<String>>() {
                headers.push((name.to_owned(), Zeroizing::new(value)));
            }
        }
        let token_type = grant.token_type.as_deref().unwrap_or("Bearer");
        Token::new(&grant.token, token_type, grant.scope.as_deref(), &headers, expires_at)
            .ok_or_else(|| Error::bug(Step::Token, "a NUL passed the reader"))
    }

    /// For mere jitter the middle will do.
    fn draw(&self) -> u8 {
        let mut byte = [0];
        (self.random)(&mut byte).map_or(128, |()| byte[0])
    }
}
