//! What the kernel knows of a file, by a directory's descriptor and one name that is never followed.
//! It must not open anything but directories and regular files.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstatat};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::archive::Pairs;
use crate::sys::files;
use crate::sys::mounts::{How, openat2};
use crate::unpack::is_wanted;

pub fn open_dir(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    open(dir, name, libc::O_DIRECTORY)
}

/// NONBLOCK and NOCTTY: should a pipe or a terminal have taken its place, opening it has no
/// consequence.
pub fn open_file(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    open(dir, name, libc::O_NONBLOCK | libc::O_NOCTTY)
}

fn open(dir: BorrowedFd<'_>, name: &CStr, flags: i32) -> Result<OwnedFd, Errno> {
    let how = How {
        flags: libc::O_RDONLY | libc::O_NOFOLLOW | flags,
        ..How::default()
    };
    let name = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
    openat2(Some(dir), name, how)
}

pub fn stat_at(dir: BorrowedFd<'_>, name: &CStr) -> Result<FileStat, Errno> {
    fstatat(Some(dir.as_raw_fd()), name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

pub fn link(dir: BorrowedFd<'_>, name: &CStr) -> Result<Vec<u8>, Errno> {
    readlinkat(Some(dir.as_raw_fd()), name).map(|target| target.into_vec())
}

/// The names in a directory, by their bytes: no locale has a say.
pub fn sorted_names(dir: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut dir = Dir::openat(Some(dir.as_raw_fd()), ".", flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The attributes of an open file that go into archives, sorted.
pub fn xattrs(fd: BorrowedFd<'_>) -> Result<Pairs, Errno> {
    collect(files::list_xattrs(fd), |name| files::get_xattr(fd, name))
}

/// The same of a link, a device or a pipe.
pub fn xattrs_at(dir: BorrowedFd<'_>, name: &CStr) -> Result<Pairs, Errno> {
    collect(files::list_xattrs_at(dir, name), |attribute| {
        files::get_xattr_at(dir, name, attribute)
    })
}

fn collect(
    names: Result<Vec<u8>, Errno>,
    get: impl Fn(&CStr) -> Result<Vec<u8>, Errno>,
) -> Result<Pairs, Errno> {
    let names = match names {
        Err(Errno::ENOTSUP) => return Ok(Vec::new()),
        names => names?,
    };
    let mut xattrs = Vec::new();
    for name in names
        .split(|byte| *byte == 0)
        .filter(|name| is_wanted(name))
    {
        let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
        match get(&name) {
            // Gone since it was listed.
            Err(Errno::ENODATA) => {}
            value => xattrs.push((name.into_bytes(), value?)),
        }
    }
    xattrs.sort_unstable();
    Ok(xattrs)
}
