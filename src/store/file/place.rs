//! Which directory it is, and whether it will do.

use std::env;
use std::ffi::{CStr, CString, OsString};

use rustix::io::Errno;
use rustix::process::{getegid, geteuid, getgid, getuid};

use crate::error::Error;

use super::directory::{Directory, Fault, make};

/// File systems, by their numbers in linux/magic.h and statfs(2), on which another machine may be at work, or a program
/// that need not keep what it was given.
#[rustfmt::skip]
const NOT_OF_THIS_MACHINE: [u32; 16] = [
    0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, // NFS, SMB, CIFS, SMB2
    0x6573_5546, 0x0102_1997, 0x786f_4256, 0xbacb_acbc, // FUSE, 9p, vboxsf, vmhgfs
    0x5346_414f, 0x6b41_4653, 0x7375_7245, 0x564c, // AFS twice, Coda, NCP
    0x00c3_6400, 0x0bd0_0bd0, 0x0116_1970, 0x7461_636f, // Ceph, Lustre, GFS2, OCFS2
];

/// tmpfs, ramfs, overlayfs: a container's.
const NOT_LASTING: [u32; 3] = [0x0102_1994, 0x8584_58f6, 0x794c_7630];

/// An absolute path that ends with a name: through a symbolic link it cannot be opened.
pub(super) fn checked(path: &str) -> Result<CString, Fault> {
    let path = path.trim_end_matches('/');
    let is_good = path.starts_with('/') && !path.ends_with("/.") && !path.ends_with("/..");
    let refused = Fault::of_directory("is not the absolute path of a directory", None);
    if is_good { CString::new(path).map_err(|_| refused) } else { Err(refused) }
}

/// By the environment: the only variables that are read unasked.
pub(super) fn by_default() -> Result<String, Error> {
    let refused = |what| Err(Error::store([what, "; give a directory on a local disk: store=file:/DIR"].concat()));
    if getuid() != geteuid() || getgid() != getegid() {
        return refused("this program has more rights than its caller, whose environment it must not follow");
    }
    let absolute = |name| env::var_os(name).filter(|value| value.as_encoded_bytes().starts_with(b"/"));
    let (base, below) = match absolute("XDG_STATE_HOME") {
        Some(state) => (Some(state), "/tokauth"),
        None => (absolute("HOME"), "/.local/state/tokauth"),
    };
    let Some(Ok(base)) = base.map(OsString::into_string) else {
        return refused("neither XDG_STATE_HOME nor HOME is an absolute path in UTF-8");
    };
    let base = base.trim_end_matches('/');
    if base.is_empty() {
        return refused("XDG_STATE_HOME or HOME is /");
    }
    // A home must be there; what XDG_STATE_HOME names need not.
    let made = if below == "/tokauth" { 0 } else { base.len() };
    let path = [base, below].concat();
    for (at, _) in path.match_indices('/').filter(|(at, _)| *at > made) {
        // What is still missing then shows when it is opened.
        let _ = checked(&path[..at]).map(|path| make(&path));
    }
    Ok(path)
}

/// Fails if it cannot be used, or is not on this machine, or not there after a restart though there is a budget.
pub(super) fn probe(path: &CStr, budget: bool) -> Result<(), Fault> {
    let refused = |what| Err(Fault::of_directory(what, None));
    let directory = Directory::open(path, "probe")?;
    let kind = file_system(&directory).map_err(|errno| Fault::of_directory("cannot be examined", Some(errno)))?;
    if NOT_OF_THIS_MACHINE.contains(&kind) {
        return refused("is on a network or FUSE file system, whose locks cannot be relied on");
    }
    if budget && NOT_LASTING.contains(&kind) {
        return refused("is on a tmpfs or overlayfs, which would forget the budget at a restart");
    }
    // Whoever tries at the same time finds or deletes the other's file, and so knows as well.
    let tried = match directory.create(".tmp") {
        Ok(_) | Err(Errno::EXIST) => directory.unlink(".tmp"),
        Err(errno) => Err(errno),
    };
    match tried {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(Fault::of_directory("cannot be written", Some(errno))),
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn file_system(directory: &Directory<'_>) -> rustix::io::Result<u32> {
    rustix::fs::fstatfs(&directory.fd).map(|stat| stat.f_type as u32)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
use elsewhere::file_system;

#[cfg(any(test, not(any(target_os = "linux", target_os = "android"))))]
mod elsewhere {
    /// None of these: only Linux says it by such numbers.
    pub(super) fn file_system(_: &super::Directory<'_>) -> rustix::io::Result<u32> {
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_file_systems_have_no_numbers_each_will_do() {
        let directory =
            Directory { fd: rustix::fs::open(c"/", rustix::fs::OFlags::RDONLY, 0.into()).unwrap(), name: "" };
        let kind = elsewhere::file_system(&directory).unwrap();
        assert!(!NOT_OF_THIS_MACHINE.contains(&kind) && !NOT_LASTING.contains(&kind));
    }
}
