//! One directory, open for one operation, and the files in it.

use std::os::fd::OwnedFd;

use rustix::fs::{self, AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::{self, Errno, retry_on_intr};
use rustix::process::{Resource, geteuid, getrlimit};

use crate::error::Error;

use super::super::DOCUMENT_MAX;

/// A directory of this user alone.
#[derive(Debug)]
pub(super) struct Directory<'a> {
    path: &'a str,
    pub(super) fd: OwnedFd,
}

impl Directory<'_> {
    /// `path`: absolute, and it ends with a name. Made if only it is missing.
    pub(super) fn open(path: &str) -> Result<Directory<'_>, Error> {
        let cannot = |errno| fault(path, "cannot be opened", Some(errno));
        let parent = parent(path);
        let above = fs::stat(parent).map_err(cannot)?;
        if above.st_mode & 0o1002 == 0o002 {
            return Err(fault(
                parent,
                "may be written by anyone, who could put another directory in place of ours",
                None,
            ));
        }
        let open = || {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            retry_on_intr(|| fs::open(path, flags, Mode::empty()))
        };
        let opened = open().or_else(|errno| match errno {
            Errno::NOENT => match make(path) {
                Ok(()) | Err(Errno::EXIST) => open(), // another made it
                Err(errno) => Err(errno),
            },
            _ => Err(errno),
        });
        let of_others = || fault(path, "is not a directory of this user alone (mode 0700)", None);
        let fd = opened.map_err(|errno| match errno {
            Errno::NOTDIR | Errno::LOOP => of_others(),
            _ => cannot(errno),
        })?;
        let stat = fs::fstat(&fd).map_err(cannot)?;
        if !is_ours(&stat) {
            return Err(of_others());
        }
        Ok(Directory { path, fd })
    }

    /// What is wrong with a file in it, or with itself.
    pub(super) fn fault(&self, file: &str, what: &str, errno: Option<Errno>) -> Error {
        let separator = if file.is_empty() { "" } else { "/" };
        fault(&[self.path, separator, file].concat(), what, errno)
    }

    fn existing(&self, file: &str) -> Result<Option<(OwnedFd, Stat)>, Error> {
        let cannot = |errno| self.fault(file, "cannot be opened", Some(errno));
        let of_others = || self.fault(file, "is not a regular file of this user alone (mode 0600)", None);
        // Without NONBLOCK it would wait at a pipe for the other end.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = match retry_on_intr(|| fs::openat(&self.fd, file, flags, Mode::empty())) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NXIO) => return Err(of_others()),
            Err(errno) => return Err(cannot(errno)),
        };
        let stat = fs::fstat(&fd).map_err(cannot)?;
        let is_regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if is_regular && stat.st_nlink == 1 && is_ours(&stat) { Ok(Some((fd, stat))) } else { Err(of_others()) }
    }

    pub(super) fn create(&self, file: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| fs::openat(&self.fd, file, flags, Mode::RUSR | Mode::WUSR))?;
        // The umask may have taken away what we need ourselves.
        fs::fchmod(&fd, Mode::RUSR | Mode::WUSR)?;
        Ok(fd)
    }

    /// `None`: another has it, or it changed meanwhile.
    pub(super) fn lock(&self, file: &str) -> Result<Option<OwnedFd>, Error> {
        let cannot = |errno| self.fault(file, "cannot be locked", Some(errno));
        let fd = match self.existing(file)? {
            Some((fd, _)) => fd,
            None => match self.create(file) {
                Err(Errno::EXIST) => return Ok(None),
                created => created.map_err(cannot)?,
            },
        };
        match fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Ok(None),
            locked => locked.map_err(cannot)?,
        }
        // Whoever deletes it lets others lock another one.
        let locked = fs::fstat(&fd).map_err(cannot)?;
        match fs::statat(&self.fd, file, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) => Ok(Some(fd).filter(|_| (named.st_dev, named.st_ino) == (locked.st_dev, locked.st_ino))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(cannot(errno)),
        }
    }

    /// One byte more than a document can have, if there are as many.
    pub(super) fn read(&self, file: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some((fd, stat)) = self.existing(file)? else { return Ok(None) };
        let size = usize::try_from(stat.st_size).map_or(DOCUMENT_MAX, |size| size.min(DOCUMENT_MAX)) + 1;
        let (mut bytes, mut filled) = (vec![0; size], 0);
        loop {
            match retry_on_intr(|| io::read(&fd, &mut bytes[filled..])) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(errno) => return Err(self.fault(file, "cannot be read", Some(errno))),
            }
        }
        bytes.truncate(filled);
        Ok(Some(bytes))
    }

    /// Writes a new file and puts it there. Needs the lock, as all that follow.
    pub(super) fn replace(&self, file: &str, bytes: &[u8]) -> Result<(), Error> {
        // Past this limit the system sends a signal that ends the process.
        if getrlimit(Resource::Fsize).current.is_some_and(|limit| limit < bytes.len() as u64) {
            return Err(self.fault(file, "is larger than this process may write (ulimit -f)", None));
        }
        let temp = [file, ".tmp"].concat();
        if self.existing(&temp)?.is_some() {
            self.unlink(&temp)?; // of a process that died
        }
        let cannot = |errno| self.fault(&temp, "cannot be written", Some(errno));
        let fd = self.create(&temp).map_err(cannot)?;
        // What a sync failed to write is lost; that a second one succeeds means nothing.
        let written = write(&fd, bytes).and_then(|()| fs::fsync(&fd));
        written.and_then(|()| fs::renameat(&self.fd, &*temp, &self.fd, file)).map_err(|errno| {
            let _ = self.unlink(&temp);
            cannot(errno)
        })?;
        self.sync()
    }

    pub(super) fn remove(&self, file: &str) -> Result<(), Error> {
        self.unlink(file)?;
        self.sync()
    }

    pub(super) fn set_aside(&self, file: &str) -> Result<(), Error> {
        let aside = [file, ".aside"].concat();
        self.existing(&aside)?;
        let renamed = fs::renameat(&self.fd, file, &self.fd, &*aside);
        renamed.map_err(|errno| self.fault(file, "cannot be set aside", Some(errno)))?;
        self.sync()
    }

    fn unlink(&self, file: &str) -> Result<(), Error> {
        let removed = fs::unlinkat(&self.fd, file, AtFlags::empty());
        removed.map_err(|errno| self.fault(file, "cannot be removed", Some(errno)))
    }

    fn sync(&self) -> Result<(), Error> {
        fs::fsync(&self.fd).map_err(|errno| self.fault("", "cannot be written", Some(errno)))
    }
}

/// Makes a directory of this user alone, whatever the umask.
pub(super) fn make(path: &str) -> io::Result<()> {
    fs::mkdir(path, Mode::RWXU)?;
    fs::chmod(path, Mode::RWXU)?;
    // So that it outlives a loss of power, where we may.
    match fs::open(parent(path), OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(above) => fs::fsync(&above),
        Err(_) => Ok(()),
    }
}

fn parent(path: &str) -> &str {
    path.rfind('/').map_or("/", |at| &path[..at.max(1)])
}

fn is_ours(stat: &Stat) -> bool {
    stat.st_uid == geteuid().as_raw() && stat.st_mode & 0o077 == 0
}

fn write(fd: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match retry_on_intr(|| io::write(fd, bytes))? {
            0 => return Err(Errno::IO),
            count => bytes = &bytes[count..],
        }
    }
    Ok(())
}

/// What is wrong with `path`, and what to do.
pub(super) fn fault(path: &str, what: &str, errno: Option<Errno>) -> Error {
    let (colon, reason) = errno.map_or(("", String::new()), |errno| (": ", errno.to_string()));
    let advice = "; mend that, or give another directory on a local disk, such as store=file:/var/lib/tokauth";
    Error::store([path, " ", what, colon, &reason, advice].concat())
}
