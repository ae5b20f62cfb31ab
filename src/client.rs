//! One credential at one provider: the public face.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::budget::Allowance;
use crate::cache::{Call, Counter, Fetched, Need, Rejected, Source};
use crate::clock::{Clock, Coarse, Deadline, SystemClock, nanos};
use crate::config::Builder;
use crate::cooldown::Failure;
use crate::credential::{Credential, Fingerprint, fingerprint};
#[cfg(feature = "redis")]
use crate::error::RetryClass;
use crate::error::{Error, ErrorKind, Step};
use crate::exchange::Exchange;
use crate::log::LogLevel;
use crate::registry::{Membership, Registry};
use crate::settings::{Key, Place, Settings};
#[cfg(feature = "redis")]
use crate::store::RedisStore;
use crate::store::{Store, in_files};
use crate::token::Token;
use crate::transport::{Http, Resolver, Transport};

/// What a client reaches the world through. Tests bring their own.
#[derive(Clone)]
#[non_exhaustive]
pub struct Seams {
    /// Both kinds of time.
    pub clock: Arc<dyn Clock>,
    /// What is shared with other processes; `None`: what the options say.
    pub store: Option<Arc<dyn Store>>,
    /// How requests are sent; `None`: over HTTP, as the options say.
    pub transport: Option<Arc<dyn Transport>>,
    /// Where slots are shared.
    pub registry: Arc<Registry>,
    /// The system's random numbers.
    pub random: fn(&mut [u8]) -> Result<(), Error>,
}

impl Seams {
    /// Those of a program.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn system() -> Result<Seams, Error> {
        Ok(Seams {
            clock: Arc::new(SystemClock),
            store: None,
            transport: None,
            registry: Registry::of_process(system_random)?,
            random: system_random,
        })
    }
}

impl fmt::Debug for Seams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seams").finish_non_exhaustive()
    }
}

fn system_random(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::getrandom(bytes).map_err(|e| {
        let message = format!("the system gives no random numbers: {e}; is getrandom allowed here?");
        Error::new(ErrorKind::Unsupported, Step::Request, message)
    })
}

/// A server that cannot be reached now may be there when it is needed.
#[cfg(feature = "redis")]
fn redis(url: &str, settings: &Settings, seams: &Seams) -> Result<RedisStore, Error> {
    let resolver = Resolver::new(seams.registry.lookups.clone());
    let store = RedisStore::at(url, settings.ca_file.as_deref(), resolver, seams.clock.clone(), seams.random)?;
    match store.probe(settings.budget.is_some(), settings.timeout) {
        Err(error) if error.retry_class() == RetryClass::NotSent => {
            settings.log.line(LogLevel::Warning, || error.to_string());
        }
        outcome => outcome?,
    }
    Ok(store)
}

impl Builder {
    /// Judges all options together and makes a client; the builder may make others. Reads files; does not touch the
    /// network, but for a store in Redis, which is asked whether it may be used, for at most 3 s or half of
    /// `timeout_ms`.
    ///
    /// ```
    /// let builder = tokauth::Client::builder().provider("calven").client_id("my-id").client_secret("my-secret");
    /// let client = builder.build()?;
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Config` or `Unsupported`, naming the option and what to do; `Store`: it cannot be used.
    pub fn build(&self) -> Result<Client, Error> {
        Client::join(self.clone(), Seams::system()?, None)
    }

    /// The same over seams of a test's own.
    ///
    /// # Errors
    /// As [`build`](Builder::build).
    #[doc(hidden)]
    pub fn build_over(&self, seams: Seams) -> Result<Client, Error> {
        Client::join(self.clone(), seams, None)
    }
}

/// One credential at one provider, with one scope and audience. Cheap to clone; may be used from any number of threads.
///
/// Clients of one process with equal options share one token, whoever made them. The child of a `fork` may use those that
/// it inherits. Only [`token`](Client::token) and [`refresh`](Client::refresh) ask the provider. With a store in Redis
/// [`with`](Client::with), [`invalidate`](Client::invalidate), [`clear`](Client::clear) and [`budget`](Client::budget) ask
/// that, for at most `timeout_ms`.
///
/// ```
/// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
/// use tokauth::Client;
///
/// # let token_url = server::token_endpoint();
/// let builder = Client::builder().provider("oauth2").token_url(token_url);
/// let client = builder.client_id("my-id").client_secret("my-secret").build()?;
/// std::thread::scope(|scope| {
///     for _ in 0..8 {
///         scope.spawn(|| client.token());
///     }
/// });
/// assert_eq!(client.counter(tokauth::Counter::Requests), 1);
/// # Ok::<(), tokauth::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    builder: Builder,
    settings: Settings,
    seams: Seams,
    transport: Arc<dyn Transport>,
    store: Option<Arc<dyn Store>>,
    membership: Membership,
    coarse: Coarse,
    /// Whether the host has been told that its `min_valid_s` is more than half of a token's life.
    told_cap: AtomicBool,
}

impl Client {
    /// An empty configuration.
    ///
    /// ```
    /// let builder = tokauth::Client::builder().provider("calven");
    /// ```
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn join(builder: Builder, seams: Seams, sibling: Option<&Inner>) -> Result<Client, Error> {
        let settings = builder.settings(sibling.map(|sibling| &sibling.settings))?;
        let transport = match (&seams.transport, sibling) {
            (Some(transport), _) => transport.clone(),
            (None, Some(sibling)) if sibling.settings.connects_like(&settings) => sibling.transport.clone(),
            (None, _) => {
                let resolver = Resolver::new(seams.registry.lookups.clone());
                let (ca_file, proxy) = (settings.ca_file.as_deref(), settings.proxy.as_ref());
                Arc::new(Http::new(ca_file, proxy, &settings.user_agent, settings.budget.is_none(), resolver)?)
            }
        };
        let store: Option<Arc<dyn Store>> =
            match (builder.store.as_ref().or(seams.store.as_ref()), sibling, &settings.store) {
                (Some(store), ..) => Some(store.clone()),
                // A place that will do for tokens may not do for a budget.
                (None, Some(sibling), place)
                    if sibling.settings.store == *place
                        && (settings.budget.is_none() || sibling.settings.budget.is_some()) =>
                {
                    sibling.store.clone()
                }
                (None, _, Place::Memory | Place::Given(_)) => None,
                (None, _, Place::File(directory)) => Some(in_files(directory.as_deref(), settings.budget.is_some())?),
                #[cfg(feature = "redis")]
                (None, _, Place::Redis(url)) => Some(Arc::new(redis(url.expose(), &settings, &seams)?)),
            };
        if store.is_some() {
            settings.sealer(&settings.credential.read()?)?;
        }
        let key = Key::new(&settings, &seams.registry.fingerprint_key);
        let account = (settings.token_url.clone(), settings.client_id.clone());
        let membership = seams.registry.join(key, account, &seams.clock);
        let coarse = Coarse::new(&*seams.clock);
        Ok(Client(Arc::new(Inner {
            builder,
            coarse,
            settings,
            seams,
            transport,
            store,
            membership,
            told_cap: AtomicBool::new(false),
        })))
    }

    /// A sibling with one option changed (`None`: removed): it shares credential, connections and store. With another
    /// scope or audience it has a token of its own; with another `timeout_ms`, `min_valid_s` or `refresh_ahead` it
    /// shares the token too.
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
    /// # let client = server::client();
    /// let reports = client.with("scope", Some("reports:read"))?;
    /// let hurried = client.with("timeout_ms", Some("500"))?;
    /// assert_eq!(client.token()?.value(), hurried.token()?.value());
    /// assert_ne!(client.token()?.value(), reports.token()?.value());
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Config` for `provider`, `provider_file` and the credential's options; else as [`Builder::build`], a store in Redis
    /// included.
    pub fn with(&self, name: &str, value: Option<&str>) -> Result<Client, Error> {
        let inner = &*self.0;
        Client::join(inner.builder.sibling(name, value)?, inner.seams.clone(), Some(inner))
    }

    /// A usable token: the cached one, or by asking the provider. Blocks for at most `timeout_ms`; callers that come
    /// together share one request and its outcome.
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
    /// # let client = server::client();
    /// let token = client.token()?;
    /// assert_eq!(token.authorization(), Some("Bearer token-1"));
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    ///
    /// # Errors
    /// Every kind but `NotCached`.
    #[inline(always)]
    pub fn token(&self) -> Result<Token, Error> {
        match self.peek(Token::clone) {
            Some(token) => Ok(token),
            None => self.ask(Need::Any),
        }
    }

    /// Lets `read` see the token that [`token`](Client::token) would return at once, without taking part in it.
    #[inline(always)]
    pub(crate) fn peek<T>(&self, read: impl FnOnce(&Token) -> T) -> Option<T> {
        let Inner { settings, seams, membership, coarse, .. } = &*self.0;
        membership.slot.peek((coarse, &seams.clock), &settings.wishes, |snapshot| read(&snapshot.token))
    }

    /// A usable token that is there already; never sends, never waits. It looks into a store on this machine, not into
    /// Redis.
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
    /// # let client = server::client();
    /// assert_eq!(client.cached().unwrap_err().kind(), tokauth::ErrorKind::NotCached);
    /// client.token()?;
    /// assert!(client.cached().is_ok());
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotCached`.
    pub fn cached(&self) -> Result<Token, Error> {
        let Inner { settings, seams, membership, store, .. } = &*self.0;
        let now = || seams.clock.since_boot();
        let cached = || membership.slot.cached(now(), settings.wishes);
        cached()
            .or_else(|| {
                let cleared = membership.slot.cleared();
                // Over a network it would have to wait.
                store.as_ref().filter(|store| !store.is_remote())?;
                membership.slot.adopt(self.exchange().stored()?, settings.pace(), cleared, now());
                cached()
            })
            .ok_or_else(|| {
                let message = format!("no token of {} is cached; ask without cached-only", settings.provider.name);
                Error::new(ErrorKind::NotCached, Step::Token, message)
            })
    }

    /// A token asked for after this call began, for a person who presses a button. In the pause after a failure it is
    /// that failure, and for a while after a rejected token was replaced it is the latest token. Blocks as
    /// [`token`](Client::token) does.
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
    /// # let client = server::client();
    /// let old = client.token()?;
    /// let new = client.refresh()?;
    /// assert_ne!(old.value(), new.value());
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`token`](Client::token). The cached token stays in service.
    pub fn refresh(&self) -> Result<Token, Error> {
        self.ask(Need::New)
    }

    #[cold]
    fn ask(&self, need: Need) -> Result<Token, Error> {
        let Inner { settings, seams, membership, .. } = &*self.0;
        membership.slot.token(&Call {
            source: self,
            clock: &seams.clock,
            wishes: settings.wishes,
            pace: settings.pace(),
            need,
            deadline: Deadline::after(&seams.clock, settings.timeout),
            log: &settings.log,
            name: &settings.provider.name,
        })
    }

    fn exchange(&self) -> Exchange<'_> {
        let Inner { settings, seams, transport, store, membership, .. } = &*self.0;
        let store = store.as_deref();
        Exchange {
            settings,
            fingerprint_key: &seams.registry.fingerprint_key,
            account: &membership.account,
            clock: &seams.clock,
            visit: store.and_then(|store| store.visit(settings.timeout)),
            store,
            transport: &**transport,
            random: &seams.random,
            counters: &membership.slot.counters,
            had: membership.slot.had(),
        }
    }

    /// Tells that the API refused `rejected`. If it is still the cached token it is dropped, here and in the store,
    /// unless it has itself replaced a rejected one lately: then it stays in service. Else nothing happens.
    ///
    /// After the first rejection that holds for 30 seconds, then for twice as long each time, up to 15 minutes; a token
    /// that serves half its life unrejected starts this anew. A 401 may be about anything, and an API that rejects
    /// every token gets no better by new ones.
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
    /// # let client = server::client();
    /// let rejected = client.token()?; // and with it the API answers 401
    /// client.invalidate(&rejected)?;
    /// assert_ne!(client.token()?.value(), rejected.value());
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Store` or `Timeout`: the store cannot be written. In this process the token is dropped all the same.
    pub fn invalidate(&self, rejected: &Token) -> Result<(), Error> {
        let Inner { settings, seams, membership, .. } = &*self.0;
        let (name, slot) = (&settings.provider.name, &membership.slot);
        let here = || slot.reject(rejected, settings.pace(), seams.clock.since_boot());
        let shared = self.exchange().reject(rejected);
        let outcome = match &shared {
            Ok(Some(outcome @ Rejected::Kept(_))) => *outcome,
            Ok(Some(outcome @ (Rejected::Dropped | Rejected::Replaced))) => {
                slot.drop_rejected(rejected);
                *outcome
            }
            Ok(Some(Rejected::Unknown) | None) | Err(_) => here(),
        };
        match outcome {
            Rejected::Unknown | Rejected::Replaced => {}
            Rejected::Kept(left) => settings.log.line(LogLevel::Info, || {
                let seconds = left.as_millis().div_ceil(1000);
                format!("{name}: the API rejected this token too, and it stays in service for another {seconds} s")
            }),
            Rejected::Dropped => settings.log.line(LogLevel::Warning, || {
                let left = rejected.expires_at().saturating_sub(seams.clock.since_epoch().as_secs() as i64);
                let headers: Vec<&str> = rejected.headers().map(|(name, _)| name).collect();
                let headers = headers.join(" and ");
                format!(
                    "{name}: the API rejected a token with {left} s left; if it rejects the next one too, check that it \
                     is the API that the token is for (scope, audience, resource), and that it gets {headers} unchanged"
                )
            }),
        }
        shared.map(drop)
    }

    /// Forgets the token and the failures, here and in the store: the next call asks the provider. Waits that it asked
    /// for and secrets that it refused are forgotten for all clients of this client id; what rejected tokens have
    /// brought about stays.
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
    /// # let client = server::client();
    /// client.token()?;
    /// client.clear()?;
    /// assert!(client.cached().is_err());
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Store` or `Timeout`: the store cannot be written. In this process all is forgotten all the same.
    pub fn clear(&self) -> Result<(), Error> {
        let Inner { settings, membership, .. } = &*self.0;
        let shared = self.exchange().clear();
        membership.slot.clear();
        settings.log.line(LogLevel::Info, || format!("{}: all is forgotten", settings.provider.name));
        shared
    }

    /// What is left of the token budget, which all scopes and secrets of this client id share. `None`: there is none.
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
    /// # let client = server::client();
    /// assert_eq!(client.budget()?, None); // this provider limits no tokens, and the option quota is not set
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Store`: the ledger cannot be read.
    pub fn budget(&self) -> Result<Option<Allowance>, Error> {
        self.exchange().allowance()
    }

    /// What was counted for the token of this client, and of all that share it, since the first of them was made.
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
    /// # let client = server::client();
    /// client.token()?;
    /// client.token()?;
    /// assert_eq!(client.counter(tokauth::Counter::Requests), 1);
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    pub fn counter(&self, counter: Counter) -> u64 {
        self.0.membership.slot.counters.get(counter)
    }

    /// 0: call [`token`](Client::token) (none cached, or this caller is to renew it). Else: that call would return, at
    /// once, the same token as when this value was last seen. Never waits, allocates or calls the system. For what a
    /// program makes of a token and keeps, such as the head of its requests.
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
    /// # let client = server::client();
    /// assert_eq!(client.generation(), 0);
    /// let token = client.token()?;
    /// let seen = client.generation();
    /// assert!(seen != 0 && client.generation() == seen); // so `token` still serves
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    #[inline(always)]
    pub fn generation(&self) -> u64 {
        let Inner { settings, seams, membership, coarse, .. } = &*self.0;
        membership.slot.peek((coarse, &seams.clock), &settings.wishes, |snapshot| snapshot.generation).unwrap_or(0)
    }
}

impl Source for Client {
    fn fetch(&self, need: Need, deadline: &Deadline, knock: bool) -> Result<Fetched, Failure> {
        let settings = &self.0.settings;
        let fetched = self.exchange().fetch(need, deadline, knock)?;
        let half = fetched.lifetime.life / 2;
        if settings.wishes.min_valid.is_some_and(|wanted| wanted > nanos(half))
            && !self.0.told_cap.swap(true, Ordering::Relaxed)
        {
            settings.log.line(LogLevel::Warning, || {
                format!("min_valid_s is capped at half the token's life: {} s", half.as_secs())
            });
        }
        Ok(fetched)
    }

    fn may_ask_at(&self, time: Duration) -> bool {
        self.exchange().may_ask_at(time)
    }

    fn has_changed(&self, failed: &Fingerprint) -> bool {
        let Inner { settings, seams, .. } = &*self.0;
        match &settings.credential {
            Credential::Text(_) => false, // another text is another cache key
            Credential::File(_) => {
                let now = settings.credential.read();
                now.is_ok_and(|secret| fingerprint(&seams.registry.fingerprint_key, &secret) != *failed)
            }
        }
    }
}
