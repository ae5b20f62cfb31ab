//! Documents as files in one directory of one user.

mod directory;
mod locks;
mod place;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Deadline;
use crate::error::{Error, ErrorKind, Step};

use super::{Change, Name, Store, Turn};
use directory::Directory;
use locks::{Held, Locks};

/// A directory for all processes of one user on one machine. A document is the file of its name; beside it lie
/// `NAME.lock` and `NAME.turn`, which are locked and never deleted, for a while `NAME.tmp`, and `NAME.aside`.
///
/// Nothing is open between two calls but the locks of turns. What others could have put there is refused and left alone.
#[derive(Debug)]
pub struct FileStore {
    path: String,
    locks: Arc<Locks>,
}

impl Turn for Held {}

impl FileStore {
    /// In the directory `path`, which is made if only it is missing.
    ///
    /// # Errors
    /// `Store`: it is not a directory of this user alone, cannot be written or is not on this machine.
    pub fn at(path: &str) -> Result<FileStore, Error> {
        FileStore::open(path, false)
    }

    /// In `$XDG_STATE_HOME/tokauth`, or else `$HOME/.local/state/tokauth`, and what is missing on the way there is made.
    /// A `budget` must outlive a restart of the machine or the container.
    ///
    /// # Errors
    /// `Store`: as [`at`](FileStore::at), or the environment names no such place, or cannot be trusted to.
    pub fn in_default_place(budget: bool) -> Result<FileStore, Error> {
        FileStore::open(&place::by_default()?, budget)
    }

    fn open(path: &str, budget: bool) -> Result<FileStore, Error> {
        let path = place::checked(path)?;
        place::probe(&Directory::open(path)?, budget)?;
        Ok(FileStore { path: path.to_owned(), locks: Arc::default() })
    }

    fn directory(&self) -> Result<Directory<'_>, Error> {
        self.locks.disown();
        Directory::open(&self.path)
    }

    /// Polled: only a signal could end a wait in the system at a deadline.
    fn lock(&self, file: &str, deadline: &Deadline) -> Result<(Directory<'_>, Held), Error> {
        let mut pause = Duration::from_millis(2);
        loop {
            // All anew each time: a fork may have copied what was open, and people move directories.
            let directory = self.directory()?;
            if let Some(lock) = directory.lock(file)? {
                return Ok((directory, Locks::keep(&self.locks, lock)));
            }
            if deadline.remaining().is_zero() {
                let what = "was locked for all of this call's time; is a process stopped that uses it?";
                return Err(Error::new(ErrorKind::Timeout, Step::Store, [&*self.path, "/", file, " ", what].concat()));
            }
            drop(directory);
            let mut byte = [0];
            let jitter = getrandom::getrandom(&mut byte).map_or(0, |()| byte[0]);
            deadline.pause(pause * (256 - u32::from(jitter) / 2) / 256);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

impl Store for FileStore {
    fn load(&self, name: &Name) -> Result<Option<Vec<u8>>, Error> {
        self.directory()?.read(name.as_str())
    }

    fn change(
        &self,
        name: &Name,
        deadline: &Deadline,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), Error> {
        let name = name.as_str();
        let (directory, _held) = self.lock(&[name, ".lock"].concat(), deadline)?;
        let before = directory.read(name)?;
        match change(before.as_deref()) {
            Change::Put(bytes) => directory.replace(name, &bytes),
            Change::Remove if before.is_some() => directory.remove(name),
            Change::SetAside if before.is_some() => directory.set_aside(name),
            Change::Keep | Change::Remove | Change::SetAside => Ok(()),
        }
    }

    fn turn(&self, name: &Name, deadline: &Deadline) -> Result<Box<dyn Turn>, Error> {
        let (_, held) = self.lock(&[name.as_str(), ".turn"].concat(), deadline)?;
        Ok(Box::new(held))
    }
}
