//! seccomp(2): puts a classic BPF program in front of every later system call of this thread.
//! It must not build programs: `crate::seccomp` does.
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd};

use nix::Result;
use nix::errno::Errno;

/// Bytes of one instruction, `struct sock_filter` of linux/filter.h.
pub const INSTRUCTION: usize = 8;

/// Loads `program` (whole instructions, native byte order) with `flags` (`SECCOMP_FILTER_FLAG_*`).
///
/// Returns the notification descriptor when `flags` holds NEW_LISTENER; it is close-on-exec.
///
/// # Errors
/// EACCES without no_new_privs and CAP_SYS_ADMIN, EINVAL for a program the kernel refuses or for
/// an empty one, ESRCH when another thread could not be synchronised.
pub fn load(program: &[u8], flags: libc::c_ulong) -> Result<Option<OwnedFd>> {
    let mut filter = instructions(program)?;
    let fprog = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| Errno::E2BIG)?,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: `fprog` points at `len` instructions that live across the call; the kernel copies.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &fprog,
        )
    };
    let rc = Errno::result(rc)?;
    // The allocator may want a system call for this, and the filter is in by now.
    std::mem::forget(filter);
    if flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER != 0 {
        // SAFETY: with NEW_LISTENER the result is a descriptor that nobody else owns.
        return Ok(Some(unsafe { OwnedFd::from_raw_fd(rc as i32) }));
    }
    match rc {
        0 => Ok(None),
        // With TSYNC the kernel names the thread that it could not move.
        _ => Err(Errno::ESRCH),
    }
}

fn instructions(program: &[u8]) -> Result<Vec<libc::sock_filter>> {
    if program.is_empty() || !program.len().is_multiple_of(INSTRUCTION) {
        return Err(Errno::EINVAL);
    }
    let one = |bytes: &[u8]| libc::sock_filter {
        code: u16::from_ne_bytes([bytes[0], bytes[1]]),
        jt: bytes[2],
        jf: bytes[3],
        k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    };
    Ok(program.chunks_exact(INSTRUCTION).map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_programs_are_refused_before_the_kernel_sees_them() {
        for program in [&[][..], &[0u8; 7], &[0u8; 9]] {
            assert_eq!(load(program, 0).unwrap_err(), Errno::EINVAL);
        }
    }
}
