//! Which directory it is, and whether it will do.

use std::env;

use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid, getgid, getuid};

use crate::error::Error;

use super::directory::{Directory, fault, make};

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

/// By the environment: the only variables that are read unasked.
pub(super) fn by_default() -> Result<String, Error> {
    let refused =
        |what: &str| Err(Error::store([what, "; give a directory on a local disk: store=file:/DIR"].concat()));
    if getuid() != geteuid() || getgid() != getegid() {
        return refused("this program has more rights than its caller, whose environment it must not follow");
    }
    let absolute = |name| env::var_os(name).filter(|value| value.as_encoded_bytes().starts_with(b"/"));
    let (base, below, made) = match (absolute("XDG_STATE_HOME"), absolute("HOME")) {
        (Some(state), _) => (state, "/tokauth", 0),
        (None, Some(home)) => (home, "/.local/state/tokauth", usize::MAX),
        (None, None) => return refused("neither XDG_STATE_HOME nor HOME names a directory"),
    };
    let base = match base.into_string() {
        Ok(base) if !base.trim_matches('/').is_empty() => base,
        _ => return refused("XDG_STATE_HOME or HOME is / or not UTF-8"),
    };
    let made = made.min(base.len());
    let path = base + below;
    for (at, _) in path.match_indices('/').filter(|(at, _)| *at > made) {
        let _ = make(&path[..at]); // what is still missing then shows when it is opened
    }
    Ok(path)
}

/// A path by which a directory cannot be opened through a symbolic link: it ends with a name.
pub(super) fn checked(path: &str) -> Result<&str, Error> {
    let trimmed = path.trim_end_matches('/');
    if !trimmed.starts_with('/') || trimmed.ends_with("/.") || trimmed.ends_with("/..") {
        return Err(fault(path, "is not the absolute path of a directory", None));
    }
    Ok(trimmed)
}

/// Fails if it cannot be used, or is not on this machine, or not there after a restart though there is a budget.
pub(super) fn probe(directory: &Directory<'_>, budget: bool) -> Result<(), Error> {
    let refused = |what| Err(directory.fault("", what, None));
    let kind = file_system(directory)?;
    if NOT_OF_THIS_MACHINE.contains(&kind) {
        return refused("is on a network or FUSE file system, whose locks cannot be relied on");
    }
    if budget && NOT_LASTING.contains(&kind) {
        return refused("is on a tmpfs or overlayfs, which would forget the budget at a restart");
    }
    // Whoever tries at the same time finds or deletes the other's file, and so knows as well.
    let file = "probe.tmp";
    let created = directory.create(file).map(drop);
    let deleted = || unlinkat(&directory.fd, file, AtFlags::empty());
    match created.or_else(|errno| if errno == Errno::EXIST { Ok(()) } else { Err(errno) }).and_then(|()| deleted()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(directory.fault("", "cannot be written", Some(errno))),
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn file_system(directory: &Directory<'_>) -> Result<u32, Error> {
    let kind = rustix::fs::fstatfs(&directory.fd).map(|stat| stat.f_type as u32);
    kind.map_err(|errno| directory.fault("", "cannot be examined", Some(errno)))
}

/// Only Linux says it by these numbers.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn file_system(_directory: &Directory<'_>) -> Result<u32, Error> {
    Ok(0)
}
