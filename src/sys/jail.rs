//! FreeBSD's calls between the fork and the execve of a jail's process. Type-checked for that system
//! and never run on one. It must not choose the order.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// jail_attach(2).
pub fn attach(jid: i32) -> io::Result<()> {
    // SAFETY: takes a number.
    checked(unsafe { libc::jail_attach(jid) })
}

/// setsid(2).
pub fn new_session() -> io::Result<()> {
    // SAFETY: takes nothing.
    checked(unsafe { libc::setsid() })
}

/// The terminal becomes the session's controlling one and the standard streams (tty(4)).
pub fn take_terminal(terminal: BorrowedFd<'_>) -> io::Result<()> {
    let fd = terminal.as_raw_fd();
    // SAFETY: a live descriptor and numbers.
    checked(unsafe { libc::ioctl(fd, libc::TIOCSCTTY, 0) })?;
    for stream in 0..=2 {
        // SAFETY: a live descriptor; the standard streams belong to the process that is to be.
        checked(unsafe { libc::dup2(fd, stream) })?;
    }
    Ok(())
}

/// setrlimit(2), by the limit's name.
pub fn limit(name: &str, soft: u64, hard: u64) -> io::Result<()> {
    let resource = match name {
        "RLIMIT_AS" => libc::RLIMIT_AS,
        "RLIMIT_CORE" => libc::RLIMIT_CORE,
        "RLIMIT_CPU" => libc::RLIMIT_CPU,
        "RLIMIT_DATA" => libc::RLIMIT_DATA,
        "RLIMIT_FSIZE" => libc::RLIMIT_FSIZE,
        "RLIMIT_KQUEUES" => libc::RLIMIT_KQUEUES,
        "RLIMIT_MEMLOCK" => libc::RLIMIT_MEMLOCK,
        "RLIMIT_NOFILE" => libc::RLIMIT_NOFILE,
        "RLIMIT_NPROC" => libc::RLIMIT_NPROC,
        "RLIMIT_NPTS" => libc::RLIMIT_NPTS,
        "RLIMIT_RSS" => libc::RLIMIT_RSS,
        "RLIMIT_SBSIZE" => libc::RLIMIT_SBSIZE,
        "RLIMIT_STACK" => libc::RLIMIT_STACK,
        "RLIMIT_SWAP" => libc::RLIMIT_SWAP,
        "RLIMIT_UMTXP" => libc::RLIMIT_UMTXP,
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    // rlim_t is signed there, and its largest value means no limit.
    let number = |value: u64| libc::rlim_t::try_from(value).unwrap_or(libc::RLIM_INFINITY);
    let limit = libc::rlimit {
        rlim_cur: number(soft),
        rlim_max: number(hard),
    };
    // SAFETY: points to a whole structure that outlives the call.
    checked(unsafe { libc::setrlimit(resource, &limit) })
}

/// setgroups(2).
pub fn set_groups(groups: &[u32]) -> io::Result<()> {
    let count = i32::try_from(groups.len()).map_err(io::Error::other)?;
    // SAFETY: as many numbers as are told.
    checked(unsafe { libc::setgroups(count, groups.as_ptr()) })
}

/// setresgid(2), all three.
pub fn set_group(id: u32) -> io::Result<()> {
    // SAFETY: takes numbers.
    checked(unsafe { libc::setresgid(id, id, id) })
}

/// setresuid(2), all three.
pub fn set_user(id: u32) -> io::Result<()> {
    // SAFETY: takes numbers.
    checked(unsafe { libc::setresuid(id, id, id) })
}

/// umask(2), which never fails.
pub fn set_mask(mask: u32) {
    // SAFETY: takes a number.
    unsafe { libc::umask(mask as libc::mode_t) };
}

/// execve(2) of the first of `programs` that is there; returns only when that fails.
pub fn execute(programs: &[CString], args: &[CString], env: &[CString]) -> io::Error {
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        let null = std::iter::once(std::ptr::null());
        list.iter().map(|text| text.as_ptr()).chain(null).collect()
    };
    let (argv, envp) = (pointers(args), pointers(env));
    let mut error = io::Error::from(io::ErrorKind::NotFound);
    for program in programs {
        // SAFETY: both lists end with a null pointer and point into strings that outlive the call.
        unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
        error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::NotFound {
            break;
        }
    }
    error
}

fn checked(answer: libc::c_int) -> io::Result<()> {
    match answer {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
