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

/// Borrows standard input, output or error.
pub fn stdio(number: u8) -> BorrowedFd<'static> {
    // SAFETY: Rust's runtime opens /dev/null on 0, 1 and 2 where they are closed, and pxrun never
    // closes them.
    unsafe { BorrowedFd::borrow_raw(RawFd::from(number.min(2))) }
}
