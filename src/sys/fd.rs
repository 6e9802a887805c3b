//! Descriptors that come from outside as bare numbers. Knows nothing of what they carry.
#![allow(unsafe_code)]

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;

/// Takes a duplicate, close-on-exec, of a descriptor that this process inherited.
///
/// # Errors
/// `EBADF` when nothing is open under that number.
pub fn duplicate(fd: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: fcntl on any integer is defined; the result, if not negative, is fresh and ours.
    let copy = Errno::result(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: as above.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Takes over a descriptor that recvmsg(2) has just installed.
pub fn adopt(fd: RawFd) -> OwnedFd {
    // SAFETY: the caller got the number from SCM_RIGHTS, so it is open and owned by nobody else.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Lets a descriptor stay open over execve(2).
///
/// # Errors
/// `EBADF` when nothing is open under that number.
pub fn keep_on_exec(fd: RawFd) -> Result<(), Errno> {
    // SAFETY: fcntl on any integer is defined.
    Errno::result(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }).map(drop)
}

/// Marks everything from `first` on close-on-exec: what a caller left open is nobody's of ours.
///
/// # Errors
/// `ENOSYS` before Linux 5.11.
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: plain numbers; nothing is closed here.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    Errno::result(rc).map(drop)
}

/// Borrows standard input, output or error.
pub fn stdio(number: u8) -> BorrowedFd<'static> {
    // SAFETY: Rust's runtime opens /dev/null on 0, 1 and 2 where they are closed, and pxrun never
    // closes them.
    unsafe { BorrowedFd::borrow_raw(RawFd::from(number.min(2))) }
}
