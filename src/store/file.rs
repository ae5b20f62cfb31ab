//! Documents as files in one directory of one user.

mod directory;
mod locks;
mod place;

use std::ffi::CString;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Deadline;
use crate::error::Error;

use super::{Change, Name, Store, Turn};
use directory::{Directory, Fault};
use locks::{Held, Locks};

/// A directory for all processes of one user on one machine. A document is the file of its name; beside it lie
/// `NAME.lock` and `NAME.turn`, which are locked and never deleted, for a while `NAME.tmp`, and `NAME.aside`.
///
/// Nothing is open between two calls but the locks of turns. What others may have put there is refused and left alone.
pub struct FileStore {
    path: CString,
    locks: Arc<Locks>,
}

impl Turn for Held {}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl FileStore {
    /// In the directory `path`, which is made if only it is missing.
    ///
    /// # Errors
    /// `Store`: it is not a directory of this user alone, cannot be written or is not on this machine.
    pub fn at(path: &str) -> Result<FileStore, Error> {
        FileStore::open(path, false)
    }

    /// In `$XDG_STATE_HOME/tokauth`, or else `$HOME/.local/state/tokauth`; what is missing on the way there is made. A
    /// `budget` must outlive a restart of the machine or the container.
    ///
    /// # Errors
    /// `Store`: as [`at`](FileStore::at), or the environment names no such place, or cannot be trusted to.
    pub fn in_default_place(budget: bool) -> Result<FileStore, Error> {
        FileStore::open(&place::by_default()?, budget)
    }

    fn open(path: &str, budget: bool) -> Result<FileStore, Error> {
        let usable = place::checked(path).and_then(|path| place::probe(&path, budget).map(|()| path));
        Ok(FileStore { path: usable.map_err(|fault| fault.error(path, ""))?, locks: Arc::default() })
    }

    fn directory<'a>(&'a self, name: &'a str) -> Result<Directory<'a>, Fault> {
        self.locks.disown();
        Directory::open(&self.path, name)
    }

    /// Polled: only a signal could end a wait in the system at a deadline.
    fn lock<'a>(
        &'a self,
        name: &'a str,
        suffix: &'static str,
        deadline: &Deadline,
    ) -> Result<(Directory<'a>, Held), Error> {
        let mut pause = 2_000;
        loop {
            // All anew each time: a fork may have copied what was open, and people move directories.
            let locked = self.directory(name).and_then(|directory| Ok((directory.lock(suffix)?, directory)));
            if let (Some(lock), directory) = locked.map_err(|fault| self.error(name, fault))? {
                return Ok((directory, Locks::keep(&self.locks, lock)));
            }
            if deadline.remaining().is_zero() {
                let what = " was locked for all of this call's time; is a process stopped that uses it?";
                let message = [self.text(), "/", name, suffix, what].concat();
                return Err(Error::store_timeout(message));
            }
            let mut byte = [0];
            let jitter = getrandom::getrandom(&mut byte).map_or(0, |()| byte[0]);
            deadline.pause(Duration::from_micros(pause - pause * u64::from(jitter) / 512));
            pause = (pause * 2).min(50_000);
        }
    }

    fn text(&self) -> &str {
        self.path.to_str().unwrap_or_default() // it was one
    }

    fn error(&self, name: &str, fault: Fault) -> Error {
        fault.error(self.text(), name)
    }
}

impl Store for FileStore {
    fn load(&self, name: &Name) -> Result<Option<Vec<u8>>, Error> {
        let name = name.as_str();
        self.directory(name).and_then(|directory| directory.read()).map_err(|fault| self.error(name, fault))
    }

    fn change(
        &self,
        name: &Name,
        deadline: &Deadline,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), Error> {
        let name = name.as_str();
        let (directory, _held) = self.lock(name, ".lock", deadline)?;
        let before = directory.read().map_err(|fault| self.error(name, fault))?;
        let changed = match change(before.as_deref()) {
            Change::Put(bytes) => directory.replace(&bytes),
            Change::Remove if before.is_some() => directory.remove(),
            Change::SetAside if before.is_some() => directory.set_aside(),
            Change::Keep | Change::Remove | Change::SetAside => return Ok(()),
        };
        changed.and_then(|()| directory.sync()).map_err(|fault| self.error(name, fault))
    }

    fn turn(&self, name: &Name, deadline: &Deadline) -> Result<Box<dyn Turn>, Error> {
        let (_, held) = self.lock(name.as_str(), ".turn", deadline)?;
        Ok(Box::new(held))
    }
}
