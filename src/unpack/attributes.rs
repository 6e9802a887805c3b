//! Owner, mode, attributes and times of what was just made, in the order in which none undoes
//! another. It must not open anything by a path.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags, fchmod, fchmodat, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};

use super::{UnpackError, kernel};
use crate::archive::{Entry, Kind, Time, acl};
use crate::sys::files;
use crate::sys::mounts::set_xattr;

/// What a directory gets at the end: files that are added change its time, and would inherit its
/// default ACL.
#[derive(Default)]
pub struct DirTail {
    pub mtime: Time,
    pub default_acl: Option<Vec<u8>>,
}

impl DirTail {
    pub fn apply(&self, dir: BorrowedFd<'_>, path: &[u8]) -> Result<(), UnpackError> {
        if let Some(value) = &self.default_acl {
            set_xattr(dir, c"system.posix_acl_default", value)
                .map_err(kernel("set the default acl of", path))?;
        }
        let time = time(self.mtime);
        futimens(dir.as_raw_fd(), &time, &time).map_err(kernel("set the time of", path))
    }
}

/// A regular file whose content is complete. chown(2) clears setuid and file capabilities, so it
/// comes first; writing changes the time, so that comes last.
pub fn of_file(file: &File, path: &[u8], entry: &Entry) -> Result<(), UnpackError> {
    let (raw, fd) = (file.as_raw_fd(), file.as_fd());
    chown(raw, path, entry)?;
    if entry.mode & 0o7000 != 0 {
        chmod(raw, path, entry)?;
    }
    for (name, value) in wanted(entry) {
        set(path, name, |name| set_xattr(fd, name, value))?;
    }
    let time = time(entry.mtime);
    futimens(raw, &time, &time).map_err(kernel("set the time of", path))
}

/// A directory. With `existed` it may have attributes that its new entry doesn't.
pub fn of_dir(
    dir: BorrowedFd<'_>,
    path: &[u8],
    entry: &Entry,
    existed: bool,
) -> Result<DirTail, UnpackError> {
    if existed {
        clear(dir).map_err(kernel("clear the attributes of", path))?;
    }
    chown(dir.as_raw_fd(), path, entry)?;
    chmod(dir.as_raw_fd(), path, entry)?;
    let mut tail = DirTail {
        mtime: entry.mtime,
        default_acl: None,
    };
    for (name, value) in wanted(entry) {
        match name == acl::DEFAULT {
            true => tail.default_acl = Some(value.to_vec()),
            false => set(path, name, |name| set_xattr(dir, name, value))?,
        }
    }
    Ok(tail)
}

/// A link, a device or a pipe: none of them can be opened without consequence.
pub fn of_special(
    dir: BorrowedFd<'_>,
    name: &CStr,
    path: &[u8],
    entry: &Entry,
) -> Result<(), UnpackError> {
    let (uid, gid) = owner(entry);
    let raw = Some(dir.as_raw_fd());
    fchownat(raw, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)
        .map_err(kernel("set the owner of", path))?;
    let is_link = matches!(entry.kind, Kind::Symlink(_));
    if !is_link {
        // It was made a moment ago in a directory that nobody else may write to, and is no link.
        let mode = Mode::from_bits_truncate(entry.mode);
        fchmodat(raw, name, mode, FchmodatFlags::FollowSymlink)
            .map_err(kernel("set the mode of", path))?;
    }
    for (attribute, value) in wanted(entry) {
        // xattr(7): links and devices have no user attributes, links no ACL either.
        if attribute.starts_with(b"user.") || (is_link && attribute.starts_with(b"system.")) {
            continue;
        }
        set(path, attribute, |attribute| {
            files::set_xattr_at(dir, name, attribute, value)
        })?;
    }
    let time = time(entry.mtime);
    utimensat(raw, name, &time, &time, UtimensatFlags::NoFollowSymlink)
        .map_err(kernel("set the time of", path))
}

/// The attributes that an archive may set. overlayfs would take its own for orders, and labels
/// belong to the host's policy.
fn wanted(entry: &Entry) -> impl Iterator<Item = (&[u8], &[u8])> {
    let all = entry
        .xattrs
        .iter()
        .map(|(n, v)| (n.as_slice(), v.as_slice()));
    all.filter(|(name, _)| is_wanted(name))
}

/// Whether an attribute goes into and comes out of archives.
pub fn is_wanted(name: &[u8]) -> bool {
    let overlay: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];
    let kept: [&[u8]; 6] = [
        b"user.",
        b"trusted.",
        b"security.capability",
        b"security.ima",
        acl::ACCESS,
        acl::DEFAULT,
    ];
    kept.iter().any(|prefix| name.starts_with(prefix))
        && !overlay.iter().any(|prefix| name.starts_with(prefix))
}

fn set(
    path: &[u8],
    name: &[u8],
    call: impl Fn(&CStr) -> Result<(), Errno>,
) -> Result<(), UnpackError> {
    let name =
        CString::new(name).map_err(|_| kernel("set an attribute of", path)(Errno::EINVAL))?;
    call(&name).map_err(kernel("set an attribute of", path))
}

fn clear(dir: BorrowedFd<'_>) -> Result<(), Errno> {
    let names = match files::list_xattrs(dir) {
        Err(Errno::ENOTSUP) => return Ok(()),
        names => names?,
    };
    let names = names.split(|byte| *byte == 0);
    for name in names.filter(|name| is_wanted(name)) {
        let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
        files::remove_xattr(dir, &name)?;
    }
    Ok(())
}

fn chown(fd: i32, path: &[u8], entry: &Entry) -> Result<(), UnpackError> {
    let (uid, gid) = owner(entry);
    fchown(fd, uid, gid).map_err(kernel("set the owner of", path))
}

fn chmod(fd: i32, path: &[u8], entry: &Entry) -> Result<(), UnpackError> {
    fchmod(fd, Mode::from_bits_truncate(entry.mode)).map_err(kernel("set the mode of", path))
}

fn owner(entry: &Entry) -> (Option<Uid>, Option<Gid>) {
    (
        Some(Uid::from_raw(entry.uid)),
        Some(Gid::from_raw(entry.gid)),
    )
}

fn time(time: Time) -> TimeSpec {
    TimeSpec::new(time.seconds, i64::from(time.nanos))
}
