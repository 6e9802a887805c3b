//! seccomp(2). Holds no policy: which filter, and when, is decided elsewhere.
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

/// Bytes of one BPF instruction (`struct sock_filter`).
pub const INSTRUCTION: usize = 8;

/// Installs a filter given as the bytes of its instructions. With the new-listener flag the
/// listener's descriptor is returned.
///
/// # Errors
/// `EINVAL` for an empty, too long or malformed program; else the call's own.
pub fn install(program: &[u8], flags: libc::c_ulong) -> Result<Option<OwnedFd>, Errno> {
    let count = u16::try_from(program.len() / INSTRUCTION).map_err(|_| Errno::EINVAL)?;
    if count == 0 || !program.len().is_multiple_of(INSTRUCTION) {
        return Err(Errno::EINVAL);
    }
    let instructions: Vec<libc::sock_filter> = program
        .chunks_exact(INSTRUCTION)
        .map(|i| libc::sock_filter {
            code: u16::from_ne_bytes([i[0], i[1]]),
            jt: i[2],
            jf: i[3],
            k: u32::from_ne_bytes([i[4], i[5], i[6], i[7]]),
        })
        .collect();
    let program = libc::sock_fprog {
        len: count,
        filter: instructions.as_ptr().cast_mut(),
    };
    // SAFETY: the program's length is that of the instructions, which outlive the call; the kernel
    // only reads them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    let result = Errno::result(result)? as i32;
    if flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER != 0 {
        // SAFETY: with that flag the result is a fresh descriptor that is ours.
        return Ok(Some(unsafe { OwnedFd::from_raw_fd(result) }));
    }
    // With TSYNC alone a positive result is a thread that could not follow.
    if result == 0 { Ok(None) } else { Err(Errno::ESRCH) }
}
