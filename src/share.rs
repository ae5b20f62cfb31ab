//! What the processes with one store know together: of a cache key its token, its failures and its brake; of a
//! credential how the endpoint took it.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::account::Met;
use crate::cache::Fetched;
use crate::clock::{Clock, Deadline, Stamp};
use crate::cooldown::{Brake, Cooldown};
use crate::error::Error;
use crate::lines::{Reader, Writer};
use crate::log::LogLevel;
use crate::request::Random;
use crate::seal::Sealer;
use crate::secret::Secret;
use crate::settings::Settings;
use crate::store::{Change, Name, Store, Turn};
use crate::token::Token;

/// The documents of one cache key and one credential.
pub(crate) struct Share<'a> {
    settings: &'a Settings,
    store: &'a dyn Store,
    clock: &'a dyn Clock,
    random: Random<'a>,
    sealer: Sealer,
    key: Name,
    credential: Name,
    /// What the store had of the cache key, when it was looked at last.
    seen: RefCell<Option<Vec<u8>>>,
}

impl std::fmt::Debug for Share<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Share").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What is known of a cache key.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) token: Option<Kept>,
    pub(crate) cooldown: Cooldown,
    pub(crate) brake: Brake,
    /// How often all was forgotten: a token asked for before that is not kept after.
    pub(crate) cleared: u64,
}

/// A token that was issued to one of the processes.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) value: Zeroizing<String>,
    pub(crate) token_type: String,
    pub(crate) scope: Option<String>,
    /// Before its request left.
    pub(crate) sent: Stamp,
    /// From there to the reply.
    pub(crate) took: Duration,
    pub(crate) life: Duration,
}

impl Kept {
    pub(crate) fn new(fetched: &Fetched, sent: Stamp, took: Duration) -> Kept {
        let (token, life) = (&fetched.token, fetched.lifetime.life);
        Kept {
            value: Zeroizing::new(token.value().to_owned()),
            token_type: token.token_type().to_owned(),
            scope: token.scope().map(str::to_owned),
            sent,
            took,
            life,
        }
    }

    /// In Unix seconds, by the wall clock of then.
    pub(crate) fn expires_at(&self) -> i64 {
        i64::try_from(self.sent.since_epoch.saturating_add(self.life).as_secs()).unwrap_or(i64::MAX)
    }

    pub(crate) fn is(&self, token: &Token) -> bool {
        *self.value == token.value()
    }

    fn write(&self, to: &mut Writer) {
        to.text(Some(&self.value));
        to.text(Some(&self.token_type));
        to.text(self.scope.as_deref());
        to.stamp(&self.sent);
        to.time(self.took);
        to.time(self.life);
    }

    /// Inside: `None` if there is no token.
    fn read(from: &mut Reader<'_>) -> Option<Option<Kept>> {
        let Some(value) = from.text()? else { return Some(None) };
        Some(Some(Kept {
            value: Zeroizing::new(value.to_owned()),
            token_type: from.text()??.to_owned(),
            scope: from.text()?.map(str::to_owned),
            sent: from.stamp()?,
            took: from.time()?,
            life: from.time()?,
        }))
    }
}

impl Known {
    pub(crate) fn write(&self, now: &Stamp) -> Zeroizing<String> {
        let token =
            self.token.as_ref().map_or(0, |token| token.value.len() + token.scope.as_ref().map_or(0, String::len));
        let mut to = Writer::new(token + 2048);
        to.stamp(now);
        to.number(self.cleared);
        self.cooldown.write(&mut to, now.since_boot);
        self.brake.write(&mut to, now.since_boot);
        match &self.token {
            Some(token) => token.write(&mut to),
            None => to.text(None),
        }
        to.done()
    }

    pub(crate) fn read(text: &str, now: &Stamp) -> Option<Known> {
        let mut from = Reader::new(text);
        let age = from.stamp()?.age(now);
        Some(Known {
            cleared: from.number()?,
            cooldown: Cooldown::read(&mut from, now.since_boot, age)?,
            brake: Brake::read(&mut from, now.since_boot, age)?,
            token: Kept::read(&mut from)?,
        })
    }
}

/// A document that has been read.
enum Found<T> {
    There(T),
    Missing,
    /// It is none of ours, or damaged, or of a later version.
    Foreign,
}

impl<'a> Share<'a> {
    /// With the secret as it is now: another one, other documents.
    ///
    /// # Errors
    /// `Config`: it is too weak to seal with.
    pub(crate) fn new(
        settings: &'a Settings,
        store: &'a dyn Store,
        clock: &'a dyn Clock,
        random: Random<'a>,
        secret: &Secret,
    ) -> Result<Share<'a>, Error> {
        let sealer = settings.sealer(secret)?;
        let credential = settings.shared_credential(&sealer, secret);
        let key = settings.shared_key(&sealer, &credential);
        let (key, credential) = (Name::new("token", &key), Name::new("credential", &credential));
        Ok(Share { settings, store, clock, random, sealer, key, credential, seen: RefCell::default() })
    }

    pub(crate) fn now(&self) -> Stamp {
        Stamp::now(self.clock, self.store.since_epoch())
    }

    /// What is known of the cache key. What cannot be read is set aside.
    pub(crate) fn known(&self, deadline: &Deadline) -> Result<Known, Error> {
        Ok(self.load(&self.key, deadline, &Known::read)?.unwrap_or_default())
    }

    /// The same without touching anything.
    pub(crate) fn glimpse(&self) -> Result<Option<Known>, Error> {
        let document = self.store.load(&self.key)?;
        let text = document.and_then(|document| self.sealer.open(self.key.as_str(), &document));
        Ok(text.and_then(|text| Known::read(&text, &self.now())))
    }

    /// Changes what is known of the cache key; `false`: it stays.
    pub(crate) fn change(&self, deadline: &Deadline, change: &mut dyn FnMut(&mut Known) -> bool) -> Result<(), Error> {
        self.rewrite(&self.key, deadline, &mut |text| {
            let now = self.now();
            let mut known = text.and_then(|text| Known::read(text, &now)).unwrap_or_default();
            change(&mut known).then(|| known.write(&now))
        })
    }

    /// How the endpoint took the credential.
    pub(crate) fn met(&self, deadline: &Deadline) -> Result<Option<Met>, Error> {
        self.load(&self.credential, deadline, &Met::read)
    }

    pub(crate) fn meet(&self, met: &Met, deadline: &Deadline) -> Result<(), Error> {
        self.rewrite(&self.credential, deadline, &mut |_| Some(met.write(&self.now())))
    }

    /// Waits until no other process asks for this token, or, where refusals lock the client, with this secret. `None`:
    /// by now something else is known of the cache key than was last, which only whoever `hears` is told.
    pub(crate) fn turn(&self, deadline: &Deadline, hears: bool) -> Result<Option<Box<dyn Turn>>, Error> {
        let name = match self.settings.provider.limits.lockout {
            Some(_) => &self.credential,
            None => &self.key,
        };
        match hears {
            true => self.store.turn_unless_changed(name, deadline, (&self.key, self.seen.borrow().as_deref())),
            false => self.store.turn(name, deadline).map(Some),
        }
    }

    fn load<T>(
        &self,
        name: &Name,
        deadline: &Deadline,
        read: &dyn Fn(&str, &Stamp) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let find = |document: Option<&[u8]>| match document {
            None => Found::Missing,
            Some(document) => {
                let text = self.sealer.open(name.as_str(), document);
                text.and_then(|text| read(&text, &self.now())).map_or(Found::Foreign, Found::There)
            }
        };
        let document = self.store.load(name)?;
        let found = find(document.as_deref());
        if *name == self.key {
            *self.seen.borrow_mut() = document;
        }
        match found {
            Found::There(content) => return Ok(Some(content)),
            Found::Missing => return Ok(None),
            Found::Foreign => {}
        }
        // Unless another process has put a sound one there by now.
        let mut found = Found::Missing;
        self.store.change(name, deadline, &mut |document| {
            found = find(document);
            if matches!(found, Found::Foreign) { Change::SetAside } else { Change::Keep }
        })?;
        match found {
            Found::There(content) => Ok(Some(content)),
            Found::Missing => Ok(None),
            Found::Foreign => {
                self.settings.log.line(LogLevel::Warning, || {
                    format!("store: {} is damaged, or not ours, or of a later version; it is set aside", name.as_str())
                });
                Ok(None)
            }
        }
    }

    /// `None` from `change`: it stays as it is.
    fn rewrite(
        &self,
        name: &Name,
        deadline: &Deadline,
        change: &mut dyn FnMut(Option<&str>) -> Option<Zeroizing<String>>,
    ) -> Result<(), Error> {
        let (mut unsealed, is_foreign) = (None, Cell::new(false));
        let mut rewrite = |document: Option<&[u8]>| {
            let before = document.and_then(|document| self.sealer.open(name.as_str(), document));
            is_foreign.set(document.is_some() && before.is_none());
            if is_foreign.get() {
                return Change::SetAside;
            }
            match change(before.as_ref().map(|text| text.as_str())) {
                None => Change::Keep,
                Some(text) => match self.sealer.seal(name.as_str(), &text, self.random) {
                    Ok(document) => Change::Put(document),
                    Err(error) => {
                        unsealed = Some(error);
                        Change::Keep
                    }
                },
            }
        };
        self.store.change(name, deadline, &mut rewrite)?;
        if is_foreign.get() {
            self.store.change(name, deadline, &mut rewrite)?; // out of the way
        }
        unsealed.map_or(Ok(()), Err)
    }
}
