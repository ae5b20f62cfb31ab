//! What processes share: documents that only their owners can read, behind a port that a program can implement itself.
//!
//! The option `store` chooses among the stores that are built in. A program that has an engine of its own for what its
//! processes share implements [`Store`] on it, and gives it to
//! [`Builder::share_through`](crate::Builder::share_through). All that is kept there is sealed and named by hashes, but
//! for the ledgers of token budgets, which hold times and random numbers.
//!
//! `tests/conformance` in the source runs against any store and says what one does, in sentences; the three that are
//! built in pass it.
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::{Arc, Condvar, Mutex, PoisonError};
//!
//! use tokauth::store::{Change, Deadline, Name, Store, Turn};
//! use tokauth::{Client, Error};
//!
//! #[derive(Debug, Default)]
//! struct Shared {
//!     documents: Mutex<HashMap<String, Vec<u8>>>,
//!     turns: Arc<(Mutex<Vec<String>>, Condvar)>,
//! }
//!
//! #[derive(Debug)]
//! struct MyTurn(Arc<(Mutex<Vec<String>>, Condvar)>, String);
//!
//! impl Turn for MyTurn {}
//!
//! impl Drop for MyTurn {
//!     fn drop(&mut self) {
//!         self.0.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|name| *name != self.1);
//!         self.0.1.notify_all();
//!     }
//! }
//!
//! impl Store for Shared {
//!     fn load(&self, name: &Name) -> Result<Option<Vec<u8>>, Error> {
//!         let documents = self.documents.lock().unwrap_or_else(PoisonError::into_inner);
//!         Ok(documents.get(name.as_str()).cloned())
//!     }
//!
//!     fn change(
//!         &self,
//!         name: &Name,
//!         _: &Deadline,
//!         change: &mut dyn FnMut(Option<&[u8]>) -> Change,
//!     ) -> Result<(), Error> {
//!         let mut documents = self.documents.lock().unwrap_or_else(PoisonError::into_inner);
//!         let key = name.as_str().to_owned();
//!         match change(documents.get(&key).map(Vec::as_slice)) {
//!             Change::Keep => {}
//!             Change::Put(document) => drop(documents.insert(key, document)),
//!             Change::Remove => drop(documents.remove(&key)),
//!             Change::SetAside => {
//!                 if let Some(document) = documents.remove(&key) {
//!                     documents.insert(key + ".aside", document);
//!                 }
//!             }
//!         }
//!         Ok(())
//!     }
//!
//!     fn turn(&self, name: &Name, deadline: &Deadline) -> Result<Box<dyn Turn>, Error> {
//!         let (turns, changed) = &*self.turns;
//!         let taken = |turns: &mut Vec<String>| turns.iter().any(|taken| taken == name.as_str());
//!         let turns = turns.lock().unwrap_or_else(PoisonError::into_inner);
//!         let waited = changed.wait_timeout_while(turns, deadline.remaining(), taken);
//!         let (mut turns, waited) = waited.unwrap_or_else(PoisonError::into_inner);
//!         if waited.timed_out() {
//!             return Err(Error::store_timeout("others had their turn for too long"));
//!         }
//!         turns.push(name.as_str().to_owned());
//!         Ok(Box::new(MyTurn(self.turns.clone(), name.as_str().to_owned())))
//!     }
//! }
//!
//! let client = Client::builder()
//!     .provider("oauth2")
//!     .token_url("https://auth.example/token")
//!     .client_id("my-system")
//!     .client_secret("canary-secret-0123456789abcdef")
//!     .share_through(Arc::new(Shared::default()))
//!     .build()?;
//! # Ok::<(), Error>(())
//! ```

#[cfg(unix)]
mod file;
mod memory;
#[cfg(feature = "redis")]
mod redis;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use crate::clock::Deadline;
use crate::error::Error;
use crate::hash::lower_hex;
#[cfg(unix)]
#[doc(hidden)]
pub use file::FileStore;
#[doc(hidden)]
pub use memory::Memory;
#[cfg(feature = "redis")]
#[doc(hidden)]
pub use redis::RedisStore;

/// What `store=file` is, in `directory` or else the usual one; a `budget` must outlive a restart.
#[cfg(unix)]
pub(crate) fn in_files(directory: Option<&str>, budget: bool) -> Result<Arc<dyn Store>, Error> {
    Ok(Arc::new(match directory {
        Some(directory) => FileStore::at(directory)?,
        None => FileStore::in_default_place(budget)?,
    }))
}

/// What to set instead of a store that forgets, and of one in a server.
#[cfg(unix)]
pub(crate) const INSTEAD: [&str; 2] = ["store=file"; 2];

#[cfg(not(unix))]
pub(crate) use elsewhere::{INSTEAD, in_files};

#[cfg(any(test, not(unix)))]
mod elsewhere {
    use super::{Arc, Error, Store};

    pub(crate) const INSTEAD: [&str; 2] = ["store=redis://host", "store=memory"];

    pub(crate) fn in_files(_: Option<&str>, budget: bool) -> Result<Arc<dyn Store>, Error> {
        let [lasting, forgetful] = INSTEAD;
        let built = if cfg!(feature = "redis") { "" } else { ", in a build with the feature redis," };
        let freely = if budget { " and quota=none, to ask without a budget" } else { "" };
        let message = ["store=file is for Unix; set ", lasting, built, " or ", forgetful, freely];
        Err(Error::unsupported(message.concat()))
    }
}

/// What a document is called: a word and a hash. Letters, digits and a hyphen; it tells nobody whose it is.
///
/// ```
/// use tokauth::store::Name;
///
/// let name = Name::new("token", &[0xa5; 32]);
/// assert!(name.as_str().starts_with("token-a5a5") && !name.lasts());
/// assert!(Name::lasting("ledger", &[0xa5; 32]).lasts());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    text: String,
    lasts: bool,
}

impl Name {
    /// `kind`: lower-case letters.
    pub fn new(kind: &str, hash: &[u8; 32]) -> Name {
        Name { text: format!("{kind}-{}", lower_hex(hash)), lasts: false }
    }

    /// Of a document that must not be lost, such as a ledger: other documents only save requests.
    pub fn lasting(kind: &str, hash: &[u8; 32]) -> Name {
        Name { lasts: true, ..Name::new(kind, hash) }
    }

    /// The name as text, less than a hundred characters.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a store that may forget documents must not forget this one.
    pub fn lasts(&self) -> bool {
        self.lasts
    }
}

/// What is to become of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)] // stores obey each of them
pub enum Change {
    /// It stays as it is.
    Keep,
    /// This takes its place.
    Put(Vec<u8>),
    /// It goes.
    Remove,
    /// It is nothing of ours: it goes out of the way and is kept, in place of the last one that did.
    SetAside,
}

/// The turn to ask for what a document is to hold; over when dropped, or some time after its process ended.
pub trait Turn: Send + fmt::Debug {
    /// The request is about to leave, and its reply is awaited until `deadline`: so long nobody else has the turn.
    ///
    /// # Errors
    /// `Store`: nobody knows. Then a request that counts does not leave, and another does.
    fn hold(&self, _deadline: &Deadline) -> Result<Hold, Error> {
        Ok(Hold::Kept)
    }
}

/// What became of a turn on the way to its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)] // whoever asks must know each of them
pub enum Hold {
    /// It was its holder's all the time.
    Kept,
    /// It was over for a while, in which others may have had theirs, and is its holder's again.
    Regained,
    /// Another is sending by now.
    Lost,
}

/// Keeps documents for all processes that are given the same place. Called on the slow path only, with no lock of ours
/// held. A document has at most [`DOCUMENT_MAX`] bytes.
///
/// Any thread may call; each call is whole by itself. The child of a `fork` calls on as if it had made the store.
pub trait Store: Send + Sync + fmt::Debug {
    /// A store of the same documents for one call of the library, which may last for `timeout`: so long it may keep
    /// connections, and its patience with a server that is slow is its own. `None`: this one will do.
    fn visit(&self, _timeout: Duration) -> Option<Box<dyn Store>> {
        None
    }

    /// Whether a look at it takes a network.
    fn is_remote(&self) -> bool {
        false
    }

    /// Time since 1970 by the clock that all go by who share the documents. `None`: each by its machine's own.
    fn since_epoch(&self) -> Option<Duration> {
        None
    }

    /// The document, whole, as the latest writer left it; never waits for one. What is longer than a document can be is
    /// nothing of ours: then these are the first bytes, one more than it can have.
    ///
    /// # Errors
    /// `Store`: it cannot be read.
    fn load(&self, name: &Name) -> Result<Option<Vec<u8>>, Error>;

    /// Lets `change` see the document and say what is to become of it. Nobody else changes it in between; `change` may
    /// be asked again, and then its last word counts. Afterwards the change outlives this process and a loss of power;
    /// a process that dies on the way leaves the old document or the new one.
    ///
    /// # Errors
    /// `Store`: it is not written, or not safe from a loss of power: the old document is there, or the new one.
    /// `Timeout`: others did not let go of it in time.
    fn change(
        &self,
        name: &Name,
        deadline: &Deadline,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), Error>;

    /// Waits for the turn of `name`, which one caller has at a time, among all threads and processes. Neither it nor
    /// the wait for it keeps anybody from loading or changing.
    ///
    /// # Errors
    /// `Store`: there are no turns here. `Timeout`: others had theirs for too long.
    fn turn(&self, name: &Name, deadline: &Deadline) -> Result<Box<dyn Turn>, Error>;

    /// The same for who wants it only as long as a document, which may be another than that of the turn, is as it was
    /// `seen` by [`load`](Store::load). `None`: it is not any more, as the next `load` shows. A store in which a turn
    /// that nobody wants costs little may give it all the same.
    ///
    /// # Errors
    /// As [`turn`](Store::turn).
    fn turn_unless_changed(
        &self,
        name: &Name,
        deadline: &Deadline,
        _seen: (&Name, Option<&[u8]>),
    ) -> Result<Option<Box<dyn Turn>>, Error> {
        self.turn(name, deadline).map(Some)
    }
}

/// No document is longer, in bytes.
pub const DOCUMENT_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_no_store_in_files_the_ways_out_are_named() {
        for (directory, budget, end) in [
            (Some("/state"), false, " or store=memory"),
            (None, false, " or store=memory"),
            (None, true, " or store=memory and quota=none, to ask without a budget"),
        ] {
            let error = elsewhere::in_files(directory, budget).unwrap_err();
            let text = error.to_string();
            assert_eq!(error.kind(), crate::ErrorKind::Unsupported);
            assert!(text.starts_with("config: store=file is for Unix; set store=redis://host"), "{text}");
            assert!(text.ends_with(end), "{text}");
            assert_ne!(text.contains("feature redis"), cfg!(feature = "redis"), "{text}");
        }
    }
}
