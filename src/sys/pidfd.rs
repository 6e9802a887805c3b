//! How a process ended that is nobody's child of ours, from its pidfd (PIDFD_GET_INFO, Linux 6.13,
//! with PIDFD_INFO_EXIT since 6.15), and ending as it did. Holds no policy.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::wait::waitpid;

use super::clone::{CloneArgs, Cloned, clone3, exit_now};

/// include/uapi/linux/pidfd.h: the caller asks, the kernel answers with the bits it filled in.
const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// `_IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)` with the first published size.
const PIDFD_GET_INFO: libc::Ioctl =
    ((3 << 30) | (size_of::<Info>() << 16) | (0xff << 8) | 11) as libc::Ioctl;

/// The kernel's `struct pidfd_info`, first published size.
#[repr(C)]
#[derive(Default)]
struct Info {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// The wait status of a process that has been reaped; `None` while it hasn't.
///
/// # Errors
/// ENOTTY on a kernel without the request; ESRCH when the process is gone and the kernel kept
/// nothing.
pub fn exit_status(pidfd: BorrowedFd<'_>) -> Result<Option<i32>, Errno> {
    let mut info = Info {
        mask: PIDFD_INFO_EXIT,
        ..Info::default()
    };
    // SAFETY: the request's size is that of `info`, which outlives the call.
    Errno::result(unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) })?;
    Ok((info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code))
}

/// Whether this kernel tells exit statuses through pidfds: tried on a child.
pub fn tells_exit_status() -> bool {
    match clone3(CloneArgs::default()) {
        Ok(Cloned::Child) => exit_now(0),
        Ok(Cloned::Parent { pid, pidfd }) => {
            while waitpid(pid, None) == Err(Errno::EINTR) {}
            matches!(exit_status(pidfd.as_fd()), Ok(Some(0)))
        }
        Err(_) => false,
    }
}

/// Ends this process with a wait status: by the same signal, without a core, or with the same code.
pub fn end_like(status: i32) -> ! {
    if libc::WIFSIGNALED(status) {
        let signal = libc::WTERMSIG(status);
        let none = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: plain integers and structs that live across the calls; the default action of the
        // signal ends this process.
        unsafe {
            libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
            libc::signal(signal, libc::SIG_DFL);
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, signal);
            libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
            libc::raise(signal);
        }
        // A signal whose default is to do nothing can't have ended the other process.
        exit_now(128 + signal);
    }
    exit_now(libc::WEXITSTATUS(status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::wait::WaitStatus;
    use std::os::fd::OwnedFd;

    fn child(status: i32) -> (nix::unistd::Pid, OwnedFd) {
        match clone3(CloneArgs::default()).unwrap() {
            Cloned::Child => end_like(status),
            Cloned::Parent { pid, pidfd } => (pid, pidfd),
        }
    }

    #[test]
    fn ends_as_another_did() {
        let (pid, _) = child(7 << 8);
        assert_eq!(waitpid(pid, None), Ok(WaitStatus::Exited(pid, 7)));
        let (pid, _) = child(libc::SIGTERM);
        let signal = nix::sys::signal::Signal::SIGTERM;
        assert_eq!(
            waitpid(pid, None),
            Ok(WaitStatus::Signaled(pid, signal, false))
        );
    }

    #[test]
    fn the_status_is_told_once_the_process_is_reaped() {
        if !tells_exit_status() {
            println!("LEFT OUT: this kernel has no PIDFD_INFO_EXIT");
            return;
        }
        let (pid, pidfd) = child(9 << 8);
        waitpid(pid, None).unwrap();
        assert_eq!(exit_status(pidfd.as_fd()), Ok(Some(9 << 8)));
    }
}
