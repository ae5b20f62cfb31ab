//! What the processes of a machine share: the port, behind which documents lie that only their owners can read.

mod file;
mod memory;

use std::fmt;

use crate::clock::Deadline;
use crate::error::Error;
use crate::hash::lower_hex;
pub use file::FileStore;
pub use memory::Memory;

/// What a document is called: a word and a hash. Letters, digits and a hyphen; it tells nobody whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(String);

impl Name {
    /// `kind`: lower-case letters.
    pub fn new(kind: &str, hash: &[u8; 32]) -> Name {
        Name(format!("{kind}-{}", lower_hex(hash)))
    }

    /// The name as text, less than a hundred characters.
    pub fn as_str(&self) -> &str {
        &self.0
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

/// The turn to ask for what a document is to hold; over when dropped, or when its process ends.
pub trait Turn: Send + fmt::Debug {}

/// Keeps documents for all processes that are given the same place. Called on the slow path only, with no lock of ours
/// held. A document has at most [`DOCUMENT_MAX`] bytes.
///
/// Any thread may call; each call is whole by itself. The child of a `fork` calls on as if it had made the store.
pub trait Store: Send + Sync + fmt::Debug {
    /// The document, whole, as one writer left it; never waits for one. What is longer than a document can be is
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
}

/// No document is longer, in bytes.
pub const DOCUMENT_MAX: usize = 1024 * 1024;
