//! What clients of one process share: their slots, each of which may outlive its clients, and the running lookups.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use once_cell::race::OnceBox;

use crate::account::Account;
use crate::cache::Slot;
use crate::clock::Clock;
use crate::error::Error;
use crate::process::Locked;
use crate::settings::Key;
use crate::transport::Places;

/// So many slots without a client are kept while their tokens live: a client made per call still sends one request.
const LINGERING_MAX: usize = 64;

/// The slots of one process. Two clients with equal keys share a slot, whoever made them.
pub struct Registry {
    slots: Locked<Slots>,
    /// Tells credentials apart without holding them; means nothing outside this process.
    pub(crate) fingerprint_key: [u8; 32],
    pub(crate) lookups: Arc<Places>,
}

#[derive(Clone, Default)]
struct Slots {
    by_key: HashMap<Key, Entry>,
    /// By token endpoint and client id; with the number of slots that refer to it.
    accounts: HashMap<(String, String), (Arc<Account>, usize)>,
    /// Keys of slots without a client, oldest first, and until when they are worth keeping: nothing changes them.
    lingering: VecDeque<(Key, Duration)>,
}

#[derive(Clone)]
struct Entry {
    slot: Arc<Slot>,
    account: (String, String),
    clients: usize,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("slots", &self.len()).finish_non_exhaustive()
    }
}

impl Registry {
    /// An empty registry, for tests; programs share [`of_process`](Registry::of_process).
    pub fn new(fingerprint_key: [u8; 32]) -> Arc<Registry> {
        Arc::new(Registry { slots: Locked::default(), fingerprint_key, lookups: Arc::default() })
    }

    /// The one of this process; the only thing of ours that its clients share unasked. Threads that come together may
    /// each make one, and all get the same: none waits for another, which a forked child might not have.
    pub(crate) fn of_process(random: impl FnOnce(&mut [u8]) -> Result<(), Error>) -> Result<Arc<Registry>, Error> {
        static OF_PROCESS: OnceBox<Arc<Registry>> = OnceBox::new();
        let registry = OF_PROCESS.get_or_try_init(|| {
            let mut key = [0; 32];
            random(&mut key)?;
            Ok(Box::new(Registry::new(key)))
        })?;
        Ok(registry.clone())
    }

    /// How many slots there are, those that linger included.
    pub fn len(&self) -> usize {
        self.locked(|slots| slots.by_key.len())
    }

    /// Whether there is no slot.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `account`: token endpoint and client id.
    pub(crate) fn join(
        self: &Arc<Registry>,
        key: Key,
        account: (String, String),
        clock: &Arc<dyn Clock>,
    ) -> Membership {
        let (slot, account) = self.locked(|slots| slots.join(&key, account));
        Membership { slot, account, key, registry: self.clone(), clock: clock.clone() }
    }

    /// A forked child begins with its parent's slots, unless the fork caught a thread in the midst of changing them.
    fn locked<T>(&self, body: impl FnOnce(&mut Slots) -> T) -> T {
        self.slots.locked(|parents| parents.map(|slots| slots.clone()).unwrap_or_default(), body)
    }
}

impl Slots {
    fn join(&mut self, key: &Key, account: (String, String)) -> (Arc<Slot>, Arc<Account>) {
        let (shared, members) = self.accounts.entry(account.clone()).or_default();
        let entry = self.by_key.entry(key.clone()).or_insert_with(|| {
            *members += 1;
            Entry { slot: Arc::default(), account, clients: 0 }
        });
        if entry.clients == 0 {
            self.lingering.retain(|(lingering, _)| lingering != key);
        }
        entry.clients += 1;
        (entry.slot.clone(), shared.clone())
    }

    fn leave(&mut self, key: &Key, slot: &Arc<Slot>, now: Duration) {
        let Some(entry) = self.by_key.get_mut(key) else { return };
        // A client that a child has from its parent may be of no slot here, and another slot may have its key.
        if !Arc::ptr_eq(&entry.slot, slot) {
            return;
        }
        entry.clients -= 1;
        if entry.clients > 0 {
            return;
        }
        let account = self.accounts.get(&entry.account).map_or(Duration::ZERO, |(account, _)| account.alive_until());
        self.lingering.push_back((key.clone(), slot.alive_until().max(account)));
        while let Some(at) = self.needless(now) {
            if let Some((key, _)) = self.lingering.remove(at) {
                self.remove(&key);
            }
        }
    }

    /// A lingering slot that is worth nothing any more; the oldest, if there are too many of the others.
    fn needless(&self, now: Duration) -> Option<usize> {
        let dead = self.lingering.iter().position(|(_, until)| *until <= now);
        dead.or((self.lingering.len() > LINGERING_MAX).then_some(0))
    }

    fn remove(&mut self, key: &Key) {
        let Some(entry) = self.by_key.remove(key) else { return };
        if let Some((_, slots)) = self.accounts.get_mut(&entry.account) {
            *slots -= 1;
            if *slots == 0 {
                self.accounts.remove(&entry.account);
            }
        }
    }
}

/// A client's claim to its slot.
pub(crate) struct Membership {
    pub(crate) slot: Arc<Slot>,
    pub(crate) account: Arc<Account>,
    pub(crate) key: Key,
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").finish_non_exhaustive()
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let now = self.clock.since_boot();
        self.registry.locked(|slots| slots.leave(&self.key, &self.slot, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;

    fn key(id: &str) -> Key {
        let builder = Client::builder().provider("oauth2").set("token_url", "https://a.example/").client_id(id);
        Key::new(&builder.client_secret("canary-secret-of-the-registry").settings(None).unwrap(), &[0; 32])
    }

    #[test]
    fn a_client_of_another_slot_leaves_nothing() {
        let mut slots = Slots::default();
        let (slot, _) = slots.join(&key("me"), Default::default());
        slots.leave(&key("me"), &Arc::default(), Duration::ZERO);
        assert_eq!(slots.by_key[&key("me")].clients, 1);
        slots.leave(&key("you"), &slot, Duration::ZERO);
        slots.leave(&key("me"), &slot, Duration::ZERO);
        assert!(slots.by_key.is_empty() && slots.accounts.is_empty());
    }
}
