//! clone3(2) as a fork that makes namespaces and enters a cgroup in the same step. Knows nothing
//! of what the child does.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::unistd::Pid;

/// clone3(2)'s alone: too large for the flags of clone(2), and for libc's constant.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What the child starts with.
#[derive(Debug, Default, Clone, Copy)]
pub struct CloneArgs<'a> {
    /// `CLONE_NEW*` bits.
    pub namespaces: u64,
    /// A cgroup v2 directory to start in (CLONE_INTO_CGROUP, Linux 5.7): cheaper than a write to
    /// `cgroup.procs` later, and no moment outside the limits.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Make the child a sibling: its parent is the caller's parent (CLONE_PARENT).
    pub sibling: bool,
}

/// The two sides of a successful clone.
pub enum Cloned {
    /// The caller; the descriptor refers to the child whatever becomes of its pid.
    Parent {
        /// Pid in the caller's pid namespace.
        pid: Pid,
        /// pidfd of the child, close-on-exec.
        pidfd: OwnedFd,
    },
    /// The child.
    Child,
}

/// The kernel's `struct clone_args`, first published size and the cgroup extension.
#[repr(C)]
#[derive(Default)]
struct RawArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Forks. The process must be single-threaded: the child goes on with ordinary code.
///
/// # Errors
/// The error of clone3(2).
pub fn clone3(args: CloneArgs<'_>) -> Result<Cloned, Errno> {
    let mut pidfd: libc::c_int = -1;
    let mut flags = args.namespaces | libc::CLONE_PIDFD as u64;
    if args.cgroup.is_some() {
        flags |= CLONE_INTO_CGROUP;
    }
    if args.sibling {
        flags |= libc::CLONE_PARENT as u64;
    }
    let mut raw = RawArgs {
        flags,
        pidfd: &raw mut pidfd as u64,
        // With CLONE_PARENT the kernel takes the caller's own exit signal and wants 0 here.
        exit_signal: if args.sibling {
            0
        } else {
            libc::SIGCHLD as u64
        },
        cgroup: args.cgroup.map_or(0, |fd| fd.as_raw_fd() as u64),
        ..RawArgs::default()
    };
    // SAFETY: `raw` is a clone_args of the size given and outlives the call, `pidfd` is writable;
    // no CLONE_VM, so the child runs on a copy of this stack.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut raw, size_of::<RawArgs>()) };
    match Errno::result(pid)? {
        0 => Ok(Cloned::Child),
        pid => Ok(Cloned::Parent {
            pid: Pid::from_raw(pid as i32),
            // SAFETY: with CLONE_PIDFD the kernel has stored a fresh descriptor that is ours.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        }),
    }
}

/// Ends the process at once: no destructors, no exit handlers. For the child of a fork, which
/// shares buffers and guards with its parent.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) has no preconditions.
    unsafe { libc::_exit(code) }
}

/// pidfd_open(2).
pub fn pidfd_open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: plain integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    // SAFETY: a non-negative result is a fresh descriptor that is ours.
    Errno::result(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// pidfd_send_signal(2): reaches the process or nobody, never a stranger with the same pid.
/// Signal 0 only asks.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    // SAFETY: a null siginfo pointer is allowed, the rest are plain integers.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    Errno::result(sent).map(drop)
}

/// setns(2) with namespace bits, for a pidfd (several at once, Linux 5.8) or a namespace file.
pub fn setns(fd: BorrowedFd<'_>, flags: i32) -> Result<(), Errno> {
    // SAFETY: plain integers.
    Errno::result(unsafe { libc::setns(fd.as_raw_fd(), flags) }).map(drop)
}

/// Which kind of namespace a file is, as its `CLONE_NEW*` bit (NS_GET_NSTYPE, ioctl_nsfs(2)).
///
/// # Errors
/// ENOTTY for a file that is no namespace.
pub fn namespace_kind(file: BorrowedFd<'_>) -> Result<i32, Errno> {
    /// `_IO(0xb7, 3)`
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: the request has no argument.
    Errno::result(unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::wait::{WaitStatus, waitpid};
    use std::os::fd::AsFd;

    #[test]
    fn the_child_has_its_namespaces_and_the_parent_a_pidfd() {
        let args = CloneArgs {
            namespaces: libc::CLONE_NEWUTS as u64 | libc::CLONE_NEWPID as u64,
            ..CloneArgs::default()
        };
        match clone3(args).unwrap() {
            Cloned::Child => exit_now(if std::process::id() == 1 { 7 } else { 1 }),
            Cloned::Parent { pid, pidfd } => {
                assert_eq!(pidfd_send_signal(pidfd.as_fd(), 0), Ok(()));
                assert_eq!(waitpid(pid, None), Ok(WaitStatus::Exited(pid, 7)));
                assert_eq!(
                    pidfd_send_signal(pidfd.as_fd(), 0),
                    Err(Errno::ESRCH),
                    "a reaped process can't be signalled"
                );
            }
        }
    }
}
