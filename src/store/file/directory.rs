//! One directory, open for one operation on one document, and the files of that.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use rustix::fs::{self, AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::{self, Errno, retry_on_intr};
use rustix::process::{Resource, geteuid, getrlimit};

use crate::error::Error;

use super::super::DOCUMENT_MAX;

/// What is wrong, and with which of the files of a document; `None`: with the directory.
pub(super) struct Fault {
    suffix: Option<&'static str>,
    what: &'static str,
    errno: Option<Errno>,
}

impl Fault {
    pub(super) fn of_directory(what: &'static str, errno: Option<Errno>) -> Fault {
        Fault { suffix: None, what, errno }
    }

    /// `path` and `name`: of the directory and the document.
    pub(super) fn error(&self, path: &str, name: &str) -> Error {
        let (slash, name, suffix) = self.suffix.map_or(("", "", ""), |suffix| ("/", name, suffix));
        let (colon, reason) = self.errno.map_or(("", String::new()), |errno| (": ", errno.to_string()));
        let advice = "; mend that, or give another directory on a local disk, such as store=file:/var/lib/tokauth";
        Error::store([path, slash, name, suffix, " ", self.what, colon, &reason, advice].concat())
    }
}

/// How a system call failed, in words that go after the file's name.
fn cannot(suffix: &'static str, what: &'static str) -> impl Fn(Errno) -> Fault {
    move |errno| Fault { suffix: Some(suffix), what, errno: Some(errno) }
}

/// A directory of this user alone.
pub(super) struct Directory<'a> {
    pub(super) fd: OwnedFd,
    pub(super) name: &'a str,
}

impl<'a> Directory<'a> {
    /// Made if only it is missing. `name`: of the document.
    pub(super) fn open(path: &CStr, name: &'a str) -> Result<Directory<'a>, Fault> {
        let cannot = |errno| Fault::of_directory("cannot be opened", Some(errno));
        let refused = |what| Err(Fault::of_directory(what, None));
        let mut opened = open(path);
        if matches!(opened, Err(Errno::NOENT)) {
            opened = match make(path) {
                Err(Errno::EXIST) => open(path), // another made it
                made => made,
            };
        }
        let of_others = "is not a directory of this user alone (mode 0700)";
        let fd = match opened {
            Err(Errno::NOTDIR | Errno::LOOP) => return refused(of_others),
            opened => opened.map_err(cannot)?,
        };
        let stat = fs::fstat(&fd).map_err(cannot)?;
        if !is_ours(&stat) || stat.st_mode & 0o700 != 0o700 {
            return refused(of_others);
        }
        if fs::statat(&fd, c"..", AtFlags::empty()).map_err(cannot)?.st_mode & 0o1002 == 0o002 {
            return refused("lies where anyone may write, and so could put another directory in its place");
        }
        Ok(Directory { fd, name })
    }

    fn file(&self, suffix: &str) -> CString {
        CString::new([self.name, suffix].concat()).unwrap_or_default() // no name has a NUL
    }

    fn existing(&self, suffix: &'static str) -> Result<Option<(OwnedFd, Stat)>, Fault> {
        let cannot = cannot(suffix, "cannot be opened");
        // Without NONBLOCK it would wait at a pipe for the other end.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = self.file(suffix);
        match retry_on_intr(|| fs::openat(&self.fd, &*file, flags, Mode::empty())) {
            Ok(fd) => {
                let stat = fs::fstat(&fd).map_err(cannot)?;
                let is_regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
                // 0: it was replaced meanwhile.
                if is_regular && stat.st_nlink <= 1 && is_ours(&stat) {
                    return Ok(Some((fd, stat)));
                }
            }
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NXIO) => {}
            Err(errno) => return Err(cannot(errno)),
        }
        Err(Fault { suffix: Some(suffix), what: "is not a regular file of this user alone (mode 0600)", errno: None })
    }

    pub(super) fn create(&self, suffix: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (file, mode) = (self.file(suffix), Mode::RUSR | Mode::WUSR);
        let fd = retry_on_intr(|| fs::openat(&self.fd, &*file, flags, mode))?;
        // The umask may have taken away what we need ourselves.
        fs::fchmod(&fd, mode)?;
        Ok(fd)
    }

    /// `None`: another has it, or it changed meanwhile.
    pub(super) fn lock(&self, suffix: &'static str) -> Result<Option<OwnedFd>, Fault> {
        let cannot = cannot(suffix, "cannot be locked");
        let fd = match self.existing(suffix)? {
            Some((fd, _)) => fd,
            None => match self.create(suffix) {
                Ok(fd) => fd,
                Err(Errno::EXIST) => return Ok(None),
                Err(errno) => return Err(cannot(errno)),
            },
        };
        // Whoever deletes the file lets others lock another one.
        let named = || fs::statat(&self.fd, &*self.file(suffix), AtFlags::SYMLINK_NOFOLLOW);
        let locked = retry_on_intr(|| fs::flock(&fd, FlockOperation::NonBlockingLockExclusive));
        match locked.and_then(|()| Ok((fs::fstat(&fd)?, named()?))) {
            Ok((locked, named)) => Ok(Some(fd).filter(|_| same(&locked, &named))),
            Err(Errno::WOULDBLOCK | Errno::NOENT) => Ok(None),
            Err(errno) => Err(cannot(errno)),
        }
    }

    /// The document; one byte more than it can have, if there are as many.
    pub(super) fn read(&self) -> Result<Option<Vec<u8>>, Fault> {
        let Some((fd, stat)) = self.existing("")? else { return Ok(None) };
        let size = usize::try_from(stat.st_size).map_or(DOCUMENT_MAX, |size| size.min(DOCUMENT_MAX)) + 1;
        let (mut bytes, mut filled) = (vec![0; size], 0);
        loop {
            match retry_on_intr(|| io::read(&fd, &mut bytes[filled..])).map_err(cannot("", "cannot be read"))? {
                0 => break,
                count => filled += count,
            }
        }
        bytes.truncate(filled);
        Ok(Some(bytes))
    }

    /// Writes a new file and puts it there. Needs the lock, as all that follow.
    pub(super) fn replace(&self, bytes: &[u8]) -> Result<(), Fault> {
        // Past this limit the system sends a signal that ends the process.
        if getrlimit(Resource::Fsize).current.is_some_and(|limit| limit < bytes.len() as u64) {
            return Err(cannot("", "cannot be written (ulimit -f)")(Errno::FBIG));
        }
        if self.existing(".tmp")?.is_some() {
            self.unlink(".tmp").map_err(cannot(".tmp", "cannot be removed"))?; // of a process that died
        }
        let written = self.create(".tmp").and_then(|fd| {
            write(&fd, bytes)?;
            // What a sync failed to write is lost; that a second one succeeds would mean nothing.
            sync(&fd)?;
            self.rename(".tmp", "")
        });
        if let Err(errno) = written {
            let _ = self.unlink(".tmp");
            return Err(cannot(".tmp", "cannot be written")(errno));
        }
        Ok(())
    }

    pub(super) fn remove(&self) -> Result<(), Fault> {
        self.unlink("").map_err(cannot("", "cannot be removed"))
    }

    pub(super) fn set_aside(&self) -> Result<(), Fault> {
        self.existing(".aside")?;
        self.rename("", ".aside").map_err(cannot("", "cannot be set aside"))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::renameat(&self.fd, &*self.file(from), &self.fd, &*self.file(to))
    }

    pub(super) fn unlink(&self, suffix: &str) -> io::Result<()> {
        fs::unlinkat(&self.fd, &*self.file(suffix), AtFlags::empty())
    }

    /// Lets a change outlive a loss of power.
    pub(super) fn sync(&self) -> Result<(), Fault> {
        sync(&self.fd).map_err(|errno| Fault::of_directory("cannot be written", Some(errno)))
    }
}

#[cfg(not(target_vendor = "apple"))]
fn sync(fd: &OwnedFd) -> io::Result<()> {
    fs::fsync(fd)
}

/// fsync leaves it in the drive's cache there; not every file system knows better.
#[cfg(target_vendor = "apple")]
fn sync(fd: &OwnedFd) -> io::Result<()> {
    fs::fcntl_fullfsync(fd).or_else(|_| fs::fsync(fd))
}

fn open(path: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry_on_intr(|| fs::open(path, flags, Mode::empty()))
}

/// Makes a directory of this user alone.
pub(super) fn make(path: &CStr) -> io::Result<OwnedFd> {
    fs::mkdir(path, Mode::RWXU)?;
    let fd = open(path)?;
    fs::fchmod(&fd, Mode::RWXU)?; // the umask, as above
    // So that it outlives a loss of power, where we may.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    fs::openat(&fd, c"..", flags, Mode::empty()).map_or(Ok(()), |above| sync(&above))?;
    Ok(fd)
}

fn is_ours(stat: &Stat) -> bool {
    stat.st_uid == geteuid().as_raw() && stat.st_mode & 0o077 == 0
}

fn same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

fn write(fd: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match retry_on_intr(|| io::write(fd, bytes))? {
            0 => return Err(Errno::IO),
            count => bytes = bytes.get(count..).unwrap_or_default(),
        }
    }
    Ok(())
}
