//! The one error type of this room: where in `config.json`, what was tried, why it failed.
//! It must not know how errors are printed or which exit code they become.

use std::fmt::Display;

use libcontainer::syscall::SyscallError;
use nix::errno::Errno;

/// Why a root file system could not be planned, prepared or attached.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// A system call failed.
    #[error("{at}: {what}")]
    Sys {
        /// The JSON path and the object, such as ``mounts[3] `/data` ``.
        at: String,
        /// What was tried.
        what: String,
        /// The errno.
        #[source]
        source: Errno,
    },
    /// The configuration asks for something that can't or must not be done.
    #[error("{at}: {why}")]
    Refused {
        /// The JSON path and the object.
        at: String,
        /// The reason.
        why: String,
    },
}

impl RootfsError {
    /// For `map_err`: a failed system call at `at` while trying `what`.
    pub(super) fn sys(at: impl Display, what: impl Display) -> impl FnOnce(Errno) -> Self {
        move |source| Self::Sys {
            at: at.to_string(),
            what: what.to_string(),
            source,
        }
    }

    /// A request that is turned down.
    pub(super) fn refused(at: impl Display, why: impl Display) -> Self {
        Self::Refused {
            at: at.to_string(),
            why: why.to_string(),
        }
    }
}

/// The errno inside libcontainer's error; every call used here fails with one.
pub(super) fn errno(error: SyscallError) -> Errno {
    match error {
        SyscallError::Nix(errno) => errno,
        SyscallError::IO(error) => error.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
        _ => Errno::EINVAL,
    }
}
