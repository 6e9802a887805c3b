//! `tmpcopyup`: fills a fresh tmpfs with a copy of the directory that it will cover.
//! It must not follow links: every step is one component, opened without following.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat, mknodat, umask};
use nix::unistd::{Gid, Uid, fchown, fchownat, symlinkat};

use crate::sys::mounts::{How, get_xattr, list_xattrs, openat2, set_xattr};

/// What failed, as a path below the directory, and why.
pub type CopyError = (PathBuf, Errno);

/// Copies what is in `from` into `to` with modes, owners, extended attributes, links and devices,
/// and gives `to` the mode and owner of `from`.
pub fn copy_up(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), CopyError> {
    // The modes below are the source's own, whoever calls.
    let old = umask(Mode::empty());
    let copied = open_dir(from, OsStr::new("."))
        .and_then(|from| Ok((from, open_dir(to, OsStr::new("."))?)))
        .map_err(|errno| (PathBuf::from("."), errno))
        .and_then(|(from, to)| copy_dir(from, &to));
    umask(old);
    copied
}

fn copy_dir(from: OwnedFd, to: &OwnedFd) -> Result<(), CopyError> {
    let here = |errno| (PathBuf::new(), errno);
    for name in names(&from).map_err(here)? {
        copy_entry(&from, to, &name).map_err(|(below, errno)| {
            let path = Path::new(&name).join(below);
            (path, errno)
        })?;
    }
    let stat = fstat(from.as_raw_fd()).map_err(here)?;
    copy_identity(&from, to, &stat).map_err(here)
}

fn names(dir: &OwnedFd) -> Result<Vec<OsString>, Errno> {
    let again = open_dir(dir.as_fd(), OsStr::new("."))?;
    let mut dir = Dir::from(again)?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    Ok(names)
}

fn copy_entry(from: &OwnedFd, to: &OwnedFd, name: &OsStr) -> Result<(), CopyError> {
    let here = |errno| (PathBuf::new(), errno);
    let stat = fstatat(Some(from.as_raw_fd()), name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(here)?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    if kind != SFlag::S_IFDIR {
        return copy_leaf(from, to, name, kind, &stat).map_err(here);
    }
    mkdirat(Some(to.as_raw_fd()), name, Mode::S_IRWXU).map_err(here)?;
    let from = open_dir(from.as_fd(), name).map_err(here)?;
    let to = open_dir(to.as_fd(), name).map_err(here)?;
    copy_dir(from, &to)
}

fn copy_leaf(
    from: &OwnedFd,
    to: &OwnedFd,
    name: &OsStr,
    kind: SFlag,
    stat: &FileStat,
) -> Result<(), Errno> {
    let dir = Some(to.as_raw_fd());
    match kind {
        SFlag::S_IFREG => return copy_file(from, to, name),
        SFlag::S_IFLNK => {
            let text = readlinkat(Some(from.as_raw_fd()), name)?;
            symlinkat(text.as_os_str(), dir, name)?;
        }
        _ => {
            // No set-id bit before the owner is right: chown would clear it.
            let mode = Mode::from_bits_truncate(stat.st_mode);
            mknodat(dir, name, kind, mode, stat.st_rdev)?;
        }
    }
    fchownat(
        dir,
        name,
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
        AtFlags::AT_SYMLINK_NOFOLLOW,
    )
}

fn copy_file(from: &OwnedFd, to: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    let read = How {
        // Something else that was put there meanwhile must not block.
        flags: libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK,
        ..How::default()
    };
    let write = How {
        flags: libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW,
        mode: 0o600,
        ..How::default()
    };
    let mut from = File::from(openat2(Some(from.as_fd()), Path::new(name), read)?);
    let mut to = File::from(openat2(Some(to.as_fd()), Path::new(name), write)?);
    let stat = fstat(from.as_raw_fd())?;
    // Swapped since it was looked at: a device might be read without end.
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(Errno::EAGAIN);
    }
    io::copy(&mut from, &mut to)
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
    copy_identity(&from.into(), &to.into(), &stat)
}

/// Owner first: chown(2) clears set-id bits and file capabilities.
fn copy_identity(from: &OwnedFd, to: &OwnedFd, stat: &FileStat) -> Result<(), Errno> {
    fchown(
        to.as_raw_fd(),
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
    )?;
    copy_xattrs(from, to)?;
    fchmod(to.as_raw_fd(), Mode::from_bits_truncate(stat.st_mode))
}

fn copy_xattrs(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    let names = match list_xattrs(from.as_fd()) {
        Err(Errno::ENOTSUP) => return Ok(()),
        names => names?,
    };
    for name in names {
        // The label belongs to the new file system, and overlay's notes to the old one.
        let bytes = name.to_bytes();
        if bytes == b"security.selinux" || bytes.starts_with(b"trusted.overlay.") {
            continue;
        }
        let value = get_xattr(from.as_fd(), &name)?;
        match set_xattr(to.as_fd(), &name, &value) {
            // tmpfs has user attributes only since Linux 6.6.
            Err(Errno::ENOTSUP) => {}
            done => done?,
        }
    }
    Ok(())
}

fn open_dir(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let how = How {
        flags: libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW,
        ..How::default()
    };
    openat2(
        Some(dir),
        Path::new(OsStr::from_bytes(name.as_bytes())),
        how,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::kernel::open_path;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

    #[test]
    fn copies_everything() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let from = a.path();
        fs::create_dir(from.join("dir")).unwrap();
        fs::write(from.join("dir/file"), "text").unwrap();
        fs::set_permissions(from.join("dir/file"), PermissionsExt::from_mode(0o4751)).unwrap();
        chown(from.join("dir/file"), Some(7), Some(8)).unwrap();
        // chown cleared the set-id bit.
        fs::set_permissions(from.join("dir/file"), PermissionsExt::from_mode(0o4751)).unwrap();
        symlink("/etc/shadow", from.join("link")).unwrap();
        mknodat(
            None,
            &from.join("null"),
            SFlag::S_IFCHR,
            Mode::from_bits_truncate(0o640),
            nix::sys::stat::makedev(1, 3),
        )
        .unwrap();
        fs::set_permissions(from, PermissionsExt::from_mode(0o1777)).unwrap();
        let source = File::open(from.join("dir")).unwrap();
        set_xattr(source.as_fd(), c"user.x", b"y").unwrap();

        let (f, t) = (open_path(from, 0).unwrap(), open_path(b.path(), 0).unwrap());
        copy_up(f.as_fd(), t.as_fd()).unwrap();

        let meta = |name: &str| fs::symlink_metadata(b.path().join(name)).unwrap();
        assert_eq!(
            fs::read_to_string(b.path().join("dir/file")).unwrap(),
            "text"
        );
        let file = meta("dir/file");
        assert_eq!((file.uid(), file.gid(), file.mode()), (7, 8, 0o104751));
        assert_eq!(
            fs::read_link(b.path().join("link")).unwrap(),
            Path::new("/etc/shadow")
        );
        assert_eq!(
            (meta("null").rdev(), meta("null").mode()),
            (0x103, 0o020640)
        );
        assert_eq!(meta(".").mode() & 0o7777, 0o1777);
        let dir = File::open(b.path().join("dir")).unwrap();
        assert_eq!(get_xattr(dir.as_fd(), c"user.x").unwrap(), b"y");
    }
}
