//! Where tokens are kept beyond the slot that serves them: the port, and what a single process needs.

use std::fmt;
use std::time::Duration;

use crate::error::Error;
use crate::settings::Key;
use crate::token::Token;

/// A token as another process, or a later one, can use it.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs)] // stores make them
pub struct Record {
    /// The token.
    pub token: Token,
    /// When it ends, in seconds since 1970.
    pub expires_at: i64,
    /// How long it lived when it was new.
    pub life: Duration,
}

/// Keeps tokens for others to find. Called on the slow path only, with no lock held.
pub trait Store: Send + Sync + fmt::Debug {
    /// What is kept under `key`, expired or not.
    ///
    /// # Errors
    /// The store cannot be read.
    fn load(&self, key: &Key) -> Result<Option<Record>, Error>;

    /// Keeps `record` in place of what was there.
    ///
    /// # Errors
    /// The store cannot be written; the token is good all the same.
    fn save(&self, key: &Key, record: &Record) -> Result<(), Error>;

    /// Forgets what is kept under `key`, if it is `token` (`None`: whatever it is).
    ///
    /// # Errors
    /// The store cannot be written.
    fn forget(&self, key: &Key, token: Option<&Token>) -> Result<(), Error>;
}

/// `store=memory`: what the callers of one process share is the slot itself, so there is nothing else to keep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory;

impl Store for Memory {
    fn load(&self, _key: &Key) -> Result<Option<Record>, Error> {
        Ok(None)
    }

    fn save(&self, _key: &Key, _record: &Record) -> Result<(), Error> {
        Ok(())
    }

    fn forget(&self, _key: &Key, _token: Option<&Token>) -> Result<(), Error> {
        Ok(())
    }
}
