//! The one story of getting a token, from top to bottom.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::cache::{Counter, Counters, Fetched};
use crate::clock::{Clock, Deadline};
use crate::error::{Error, RetryClass, Step};
use crate::expiry::{Lifetime, life};
use crate::log::LogLevel;
use crate::provider::{Piece, TOKEN};
use crate::request::{Plan, Random};
use crate::response::{Asked, Grant, Reply, read};
use crate::secret::Secret;
use crate::settings::{Key, Settings};
use crate::store::{Record, Store};
use crate::token::Token;
use crate::transport::{Sent, Transport};

/// Everything that getting a token takes.
pub(crate) struct Exchange<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) key: &'a Key,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) store: &'a dyn Store,
    pub(crate) transport: &'a dyn Transport,
    pub(crate) random: Random<'a>,
    pub(crate) counters: &'a Counters,
}

impl Exchange<'_> {
    /// A token from the store, unless it is due for renewal itself, or from the provider.
    pub(crate) fn fetch(&self, deadline: Deadline) -> Result<Fetched, Error> {
        let now = self.clock.since_boot();
        match self.stored().filter(|stored| now < stored.lifetime.refresh_from(self.settings.wishes)) {
            Some(fetched) => Ok(self.hit(fetched)),
            None => self.request(deadline),
        }
    }

    /// Counts a token of the store that is put to use.
    pub(crate) fn hit(&self, fetched: Fetched) -> Fetched {
        self.counters.add(Counter::StoreHits);
        fetched
    }

    /// What the store holds, if it will still be valid. A store that fails costs a request, not a token.
    pub(crate) fn stored(&self) -> Option<Fetched> {
        let record = match self.store.load(self.key) {
            Ok(record) => record?,
            Err(error) => {
                self.settings.log.line(LogLevel::Warning, || error.to_string());
                return None;
            }
        };
        let now = self.clock.since_boot();
        let left = record.expires_at.saturating_sub(self.clock.since_epoch().as_secs() as i64);
        let left = Duration::from_secs(u64::try_from(left).unwrap_or(0)).min(record.life).min(self.settings.max_ttl);
        if left.is_zero() {
            return None;
        }
        // As this process would see it, had it asked itself; a machine that booted since then cannot.
        let asked = now.checked_sub(record.life.saturating_sub(left));
        let (sent, life) = asked.map_or((now, left), |asked| (asked, record.life));
        let lifetime = Lifetime { sent, received: sent, life, jitter: self.jitter().ok()? };
        if now >= lifetime.fresh_until(self.settings.wishes) {
            return None;
        }
        Some(Fetched { token: record.token, lifetime })
    }

    /// A token from the provider, kept in the store.
    pub(crate) fn request(&self, deadline: Deadline) -> Result<Fetched, Error> {
        let settings = self.settings;
        let name = &settings.provider.name;
        let began = self.clock.since_boot();
        let outcome = self.exchange(deadline);
        let took = self.clock.since_boot().saturating_sub(began).as_millis();
        match &outcome {
            Ok(fetched) => settings.log.line(LogLevel::Info, || {
                format!("{name}: a token for {} s, in {took} ms", fetched.lifetime.life.as_secs())
            }),
            Err(error) => settings.log.line(LogLevel::Error, || format!("{name}: no token, after {took} ms: {error}")),
        }
        let fetched = outcome?;
        if fetched.lifetime.life.is_zero() {
            settings.log.line(LogLevel::Warning, || {
                format!("{name}: the token had no life left when it came; is this machine's clock right?")
            });
        }
        let record = Record {
            token: fetched.token.clone(),
            expires_at: fetched.token.expires_at(),
            life: fetched.lifetime.life,
        };
        if let Err(error) = self.store.save(self.key, &record) {
            settings.log.line(LogLevel::Warning, || error.to_string());
        }
        Ok(fetched)
    }

    fn exchange(&self, deadline: Deadline) -> Result<Fetched, Error> {
        let settings = self.settings;
        let secret = settings.credential.read()?;
        let plan = Plan::new(settings, secret);
        let head = plan.head(self.clock.since_epoch())?;
        let mut secrets = plan.secrets(&head);
        let (mut sent, mut shown) = ((Duration::ZERO, Duration::ZERO), None);
        let reply = self.transport.send(&head, deadline, &mut || {
            // The provider cannot have issued a token before this.
            sent = (self.clock.since_boot(), self.clock.since_epoch());
            let body = plan.body(sent.1, self.random)?;
            secrets.extend(body.signatures);
            shown = Some(body.shown);
            self.counters.add(Counter::Requests);
            Ok(body.text)
        });
        if let Some(fields) = shown {
            settings.log.line(LogLevel::Debug, || format!("{}: {}; {fields}", settings.provider.name, head.shown()));
        }
        let reply = match reply? {
            Sent::Reply(reply) => reply,
            Sent::Lost(error) => return Err(error.with_class(RetryClass::Ambiguous)),
        };
        self.judge(&reply, &secrets, sent)
    }

    fn judge(
        &self,
        reply: &Reply,
        secrets: &[Secret],
        (sent, sent_at): (Duration, Duration),
    ) -> Result<Fetched, Error> {
        let settings = self.settings;
        let asked = Asked {
            provider: &settings.provider,
            endpoint: &settings.endpoint,
            requested_life: settings.provider.response.requested_life.as_deref().and_then(|name| settings.input(name)),
            secrets,
            now: self.clock.since_epoch(),
        };
        let grant = read(&asked, reply)?;
        if grant.odd_expiry {
            settings.log.line(LogLevel::Warning, || {
                let (name, rules) = (&settings.provider.name, &settings.provider.response.expiry);
                format!("{name}: the end of the token at {} cannot be read, and is taken as not told", rules.at)
            });
        }
        let now = sent_at.as_secs() as i64;
        let life = life(grant.told, now, settings.default_ttl, settings.max_ttl);
        let expires_at = now.saturating_add(life.as_secs() as i64);
        let token = self.token(&grant, expires_at)?;
        let lifetime = Lifetime { sent, received: self.clock.since_boot(), life, jitter: self.jitter()? };
        Ok(Fetched { token, lifetime })
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

    fn jitter(&self) -> Result<u8, Error> {
        let mut byte = [0];
        (self.random)(&mut byte)?;
        Ok(byte[0])
    }
}
