//! The mount calls in the shape this room needs them, over libcontainer's system call layer.
//! It must not know mounts of a configuration: descriptors in, descriptors or errno out.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use libcontainer::syscall::Syscall;
use libcontainer::syscall::linux::{self as k, LinuxSyscall, MountAttr};
use nix::errno::Errno;
use nix::mount::MsFlags;

use super::error::errno;
use super::options::{Attrs, Scope};
use crate::sys::mounts::{How, openat2};

const OPEN_TREE_CLONE: u32 = 1;
const OPEN_TREE_CLOEXEC: u32 = libc::O_CLOEXEC as u32;
const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;

/// A detached copy of the mount at `path`, with what is mounted below it for [`Scope::Tree`].
pub fn clone_path(path: &Path, scope: Scope, nofollow: bool) -> Result<OwnedFd, Errno> {
    let extra = if nofollow {
        libc::AT_SYMLINK_NOFOLLOW as u32
    } else {
        0
    };
    match path.to_str() {
        Some(text) => LinuxSyscall
            .open_tree(libc::AT_FDCWD, Some(text), clone_flags(scope) | extra)
            .map_err(errno),
        None => {
            let nofollow = if nofollow { libc::O_NOFOLLOW } else { 0 };
            clone_fd(open_path(path, nofollow)?.as_fd(), scope)
        }
    }
}

/// A detached copy of the mount that `fd` lies on, beginning at `fd`.
pub fn clone_fd(fd: BorrowedFd<'_>, scope: Scope) -> Result<OwnedFd, Errno> {
    LinuxSyscall
        .open_tree(fd.as_raw_fd(), None, clone_flags(scope) | k::AT_EMPTY_PATH)
        .map_err(errno)
}

fn clone_flags(scope: Scope) -> u32 {
    OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive(scope)
}

fn recursive(scope: Scope) -> u32 {
    match scope {
        Scope::Top => 0,
        Scope::Tree => k::AT_RECURSIVE,
    }
}

/// Opens `path` of the host (or, after the pivot, of the container) without access to its content.
pub fn open_path(path: &Path, flags: libc::c_int) -> Result<OwnedFd, Errno> {
    let how = How {
        flags: libc::O_PATH | flags,
        ..How::default()
    };
    openat2(None, path, how)
}

/// The path of an open file as this process sees it.
pub fn name_of(fd: BorrowedFd<'_>) -> Result<PathBuf, Errno> {
    nix::fcntl::readlink(fd_path(fd).as_str()).map(PathBuf::from)
}

/// Opens `path` of the host for reading, as the calls on namespaces want it.
pub fn open_read(path: &Path) -> Result<OwnedFd, Errno> {
    let how = How {
        flags: libc::O_RDONLY,
        ..How::default()
    };
    openat2(None, path, how)
}

/// One mount_setattr(2). Nothing happens when there is nothing to change.
pub fn set_attrs(
    mount: BorrowedFd<'_>,
    scope: Scope,
    attrs: Attrs,
    propagation: Option<MsFlags>,
    userns: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    if attrs.is_empty() && propagation.is_none() && userns.is_none() {
        return Ok(());
    }
    let idmap = userns.map_or(0, |_| super::options::MOUNT_ATTR_IDMAP);
    let attr = MountAttr {
        attr_set: attrs.set | idmap,
        attr_clr: attrs.clear,
        propagation: propagation.map_or(0, |flag| flag.bits()),
        userns_fd: userns.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    LinuxSyscall
        .mount_setattr(
            mount,
            Path::new(""),
            k::AT_EMPTY_PATH | recursive(scope),
            &attr,
            size_of::<MountAttr>(),
        )
        .map_err(errno)
}

/// Changes the propagation type of the mount at `mount`.
pub fn set_propagation(mount: BorrowedFd<'_>, scope: Scope, flag: MsFlags) -> Result<(), Errno> {
    set_attrs(mount, scope, Attrs::default(), Some(flag), None)
}

/// Makes the mount at `mount` read-only; its other attributes stay.
pub fn set_read_only(mount: BorrowedFd<'_>) -> Result<(), Errno> {
    let attrs = Attrs {
        set: k::MOUNT_ATTR_RDONLY,
        clear: 0,
    };
    set_attrs(mount, Scope::Top, attrs, None, None)
}

/// Attaches the detached `mount` on top of `target`.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    LinuxSyscall
        .move_mount(
            mount,
            None,
            target,
            None,
            k::MOVE_MOUNT_F_EMPTY_PATH | k::MOVE_MOUNT_T_EMPTY_PATH,
        )
        .map_err(errno)
}

/// A file system that is being configured: fsopen(2), fsconfig(2), fsmount(2).
pub struct NewFs {
    fd: OwnedFd,
}

impl NewFs {
    /// Begins a file system of this type.
    pub fn open(fstype: &str) -> Result<Self, Errno> {
        let fd = LinuxSyscall
            .fsopen(Some(fstype), FSOPEN_CLOEXEC)
            .map_err(errno)?;
        Ok(Self { fd })
    }

    /// Sets `key` or `key=value`.
    pub fn option(&self, option: &str) -> Result<(), Errno> {
        match option.split_once('=') {
            Some((key, value)) => self.set(key, value),
            None => self.config(k::FSCONFIG_SET_FLAG, Some(option), None),
        }
    }

    /// Sets `key` to `value`, whatever characters are in it.
    pub fn set(&self, key: &str, value: &str) -> Result<(), Errno> {
        self.config(k::FSCONFIG_SET_STRING, Some(key), Some(value))
    }

    /// Makes the super block and a detached mount of it with the attributes `set`.
    pub fn mount(&self, set: u64) -> Result<OwnedFd, Errno> {
        self.config(k::FSCONFIG_CMD_CREATE, None, None)?;
        LinuxSyscall
            .fsmount(self.fd.as_fd(), FSMOUNT_CLOEXEC, Some(set))
            .map_err(errno)
    }

    /// What the kernel had to say about the last failure, if anything ("Filesystem context" in
    /// the kernel's `mount_api.rst`).
    pub fn complaint(&self) -> Option<String> {
        let mut text = [0u8; 512];
        let size = nix::unistd::read(self.fd.as_raw_fd(), &mut text).ok()?;
        let text = String::from_utf8_lossy(&text[..size]);
        let text = text.trim_end().trim_start_matches("e ");
        Some(text.replace('\n', " "))
    }

    fn config(&self, cmd: u64, key: Option<&str>, value: Option<&str>) -> Result<(), Errno> {
        LinuxSyscall
            .fsconfig(self.fd.as_fd(), cmd as u32, key, value, 0)
            .map_err(errno)
    }
}

/// mount(2) onto an open directory or file, for what the newer calls can't express.
pub fn mount_classic(
    source: Option<&Path>,
    target: BorrowedFd<'_>,
    fstype: &str,
    flags: MsFlags,
    data: &str,
) -> Result<(), Errno> {
    let target = fd_path(target);
    let data = CString::new(data).map_err(|_| Errno::EINVAL)?;
    nix::mount::mount(
        source,
        target.as_str(),
        Some(fstype),
        flags,
        Some(data.as_c_str()),
    )
}

/// The magic link of a descriptor, for calls that take only paths. `/proc` is still the host's
/// when this is used.
fn fd_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}
