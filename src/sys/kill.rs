//! kill(2) by number, because nix's `Signal` stops at 31 and real-time signals go to 64.
//! It must not choose whom to signal.
#![allow(unsafe_code)]

use std::io;

/// Sends `signal` (1 to 64, or 0 to ask only) to the one process `pid`.
///
/// `InvalidInput` for a pid that isn't positive: kill(2) would take it for a group.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    if pid <= 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: kill(2) takes two integers and touches no memory of ours.
    match unsafe { libc::kill(pid, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
