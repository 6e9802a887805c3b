#![allow(unsafe_code)]
//! System calls that building a root file system needs and neither nix nor libcontainer wraps.
//! It must not know mounts, containers or specifications: numbers and descriptors in, errno out.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// How [`openat2`] treats the path, see openat2(2).
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// `O_*` flags; `O_CLOEXEC` is always added.
    pub flags: libc::c_int,
    /// Permission bits of a new file, only with `O_CREAT`.
    pub mode: u32,
    /// `RESOLVE_*` flags.
    pub resolve: u64,
}

/// Opens `path` below `dir` (the working directory when `None`) with openat2(2).
///
/// # Errors
/// The errno of openat2(2); `EINVAL` for a path with a NUL byte. A lookup that a concurrent
/// rename made ambiguous (`EAGAIN`) is tried again a few times.
pub fn openat2(dir: Option<BorrowedFd<'_>>, path: &Path, how: How) -> Result<OwnedFd, Errno> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let dir = dir.map_or(libc::AT_FDCWD, |fd| fd.as_raw_fd());
    // SAFETY: open_how is plain integers, for which zero is a valid value.
    let mut open_how: libc::open_how = unsafe { std::mem::zeroed() };
    open_how.flags = (how.flags | libc::O_CLOEXEC) as u64;
    open_how.mode = u64::from(how.mode);
    open_how.resolve = how.resolve;
    let mut tries = 0;
    loop {
        // SAFETY: the path is NUL-terminated, the struct lives through the call and its size is given.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_openat2,
                dir,
                path.as_ptr(),
                &raw const open_how,
                size_of::<libc::open_how>(),
            )
        };
        match Errno::result(fd) {
            // SAFETY: the kernel just returned this descriptor and nobody else owns it.
            Ok(fd) => return Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }),
            Err(Errno::EAGAIN | Errno::EINTR) if tries < 64 => tries += 1,
            Err(errno) => return Err(errno),
        }
    }
}

/// A sleeping child that keeps new namespaces alive; dropping it ends and reaps it.
#[derive(Debug)]
pub struct NamespaceHolder {
    pid: Pid,
}

impl NamespaceHolder {
    /// Makes a child in the new namespaces of `flags` (`CLONE_NEW*`). It sends no SIGCHLD.
    ///
    /// # Errors
    /// The errno of clone3(2).
    pub fn new(flags: CloneFlags) -> Result<Self, Errno> {
        // SAFETY: clone_args is plain integers, for which zero is a valid value.
        let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
        args.flags = flags.bits() as u64;
        let parent = nix::unistd::getpid();
        // SAFETY: without CLONE_VM this is fork(2): the child has its own copy of everything, and
        // it makes nothing but async-signal-safe calls until it dies.
        let pid = unsafe {
            libc::syscall(
                libc::SYS_clone3,
                &raw mut args,
                size_of::<libc::clone_args>(),
            )
        };
        if pid == 0 {
            sleep_until_killed(parent);
        }
        let pid = Errno::result(pid)?;
        Ok(Self {
            pid: Pid::from_raw(pid as libc::pid_t),
        })
    }

    /// The child's process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }
}

impl Drop for NamespaceHolder {
    fn drop(&mut self) {
        // The child can't be gone before it is reaped here, so neither call can fail or hit a stranger.
        let _ = kill(self.pid, Signal::SIGKILL);
        while waitpid(self.pid, Some(WaitPidFlag::__WALL)) == Err(Errno::EINTR) {}
    }
}

/// The whole life of a [`NamespaceHolder`]'s child.
fn sleep_until_killed(parent: Pid) -> ! {
    // It is there to be looked at: no capability is of use to it.
    let _ = super::process::capset(&super::process::CapSets::default());
    // SAFETY: all four are async-signal-safe system calls without pointers.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        // In a new pid namespace the parent has no number (0), else it must still be there.
        let now = libc::getppid();
        if now != 0 && now != parent.as_raw() {
            libc::_exit(0);
        }
        loop {
            libc::pause();
        }
    }
}

/// The names of the extended attributes of an open file.
///
/// # Errors
/// The errno of flistxattr(2), `ENOTSUP` where the file system has none.
pub fn list_xattrs(fd: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    // SAFETY: a null buffer of size 0 asks for the size.
    let size = Errno::result(unsafe { libc::flistxattr(fd.as_raw_fd(), std::ptr::null_mut(), 0) })?;
    let mut names = vec![0u8; size as usize];
    // SAFETY: the buffer has the length that is passed.
    let size = Errno::result(unsafe {
        libc::flistxattr(fd.as_raw_fd(), names.as_mut_ptr().cast(), names.len())
    })?;
    names.truncate(size as usize);
    Ok(names
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .filter_map(|name| CString::new(name).ok())
        .collect())
}

/// The value of one extended attribute of an open file.
///
/// # Errors
/// The errno of fgetxattr(2).
pub fn get_xattr(fd: BorrowedFd<'_>, name: &CStr) -> Result<Vec<u8>, Errno> {
    // SAFETY: a null buffer of size 0 asks for the size.
    let size = Errno::result(unsafe {
        libc::fgetxattr(fd.as_raw_fd(), name.as_ptr(), std::ptr::null_mut(), 0)
    })?;
    let mut value = vec![0u8; size as usize];
    // SAFETY: the buffer has the length that is passed.
    let size = Errno::result(unsafe {
        libc::fgetxattr(
            fd.as_raw_fd(),
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            value.len(),
        )
    })?;
    value.truncate(size as usize);
    Ok(value)
}

/// Sets one extended attribute of an open file.
///
/// # Errors
/// The errno of fsetxattr(2).
pub fn set_xattr(fd: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> Result<(), Errno> {
    // SAFETY: name is NUL-terminated and value has the length that is passed.
    Errno::result(unsafe {
        libc::fsetxattr(
            fd.as_raw_fd(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            0,
        )
    })
    .map(drop)
}
