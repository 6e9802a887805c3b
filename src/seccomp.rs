//! Seccomp filters: compiled once, cached, loaded right before `execve`.
//! It must not touch the process otherwise, and knows nothing of containers.

mod cache;
mod compile;
mod enosys;
#[cfg(test)]
mod machine;
pub mod notify;
#[cfg(test)]
mod speed;

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use oci_spec::runtime::LinuxSeccomp;

use crate::process::Reason;
use crate::sys::seccomp as sys;

/// A filter that can't be compiled, loaded or handed over.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// libseccomp refuses something.
    #[error("{step}")]
    Library {
        /// What was asked of it.
        step: String,
        /// Its answer.
        source: libseccomp::error::SeccompError,
    },
    /// A profile that means nothing.
    #[error("{0}")]
    Profile(String),
    /// The program can't be read back from libseccomp.
    #[error("export the program")]
    Export(#[source] Reason),
    /// The program is longer than the kernel takes (`BPF_MAXINSNS`).
    #[error("program has {0} instructions, the kernel takes 4096")]
    TooLong(usize),
    /// The kernel refuses the program.
    #[error("load the filter")]
    Load(#[source] Reason),
    /// A profile that notifies, and nobody to notify.
    #[error("listenerPath is not set, and the profile has SCMP_ACT_NOTIFY")]
    NoListener,
    /// The agent can't be reached.
    #[error("{step} `{path}`")]
    Agent {
        /// What was tried.
        step: &'static str,
        /// `linux.seccomp.listenerPath`.
        path: String,
        /// Why.
        source: Reason,
    },
}

/// A filter in the kernel's own form.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Program {
    /// Instructions of classic BPF, native byte order.
    bpf: Vec<u8>,
    /// `SECCOMP_FILTER_FLAG_*`, without NEW_LISTENER.
    flags: u32,
    /// Whether a rule has SCMP_ACT_NOTIFY.
    notify: bool,
}

impl Program {
    /// Compiles `linux.seccomp`.
    ///
    /// # Errors
    /// A profile that the OCI spec or libseccomp refuses. Names of system calls that libseccomp
    /// doesn't know are left out, as in runc.
    pub fn compile(seccomp: &LinuxSeccomp) -> Result<Self, SeccompError> {
        compile::compile(seccomp)
    }

    /// Takes the program from the cache in `directory`, or compiles it and keeps it there.
    ///
    /// A cache that can't be read, written or trusted only costs time.
    ///
    /// # Errors
    /// Those of [`Program::compile`].
    pub fn load_or_compile(
        seccomp: &LinuxSeccomp,
        directory: Option<&Path>,
    ) -> Result<Self, SeccompError> {
        match directory {
            Some(directory) => cache::load_or_compile(seccomp, directory),
            None => Self::compile(seccomp),
        }
    }

    /// Whether the filter asks an agent, see [`notify`].
    #[must_use]
    pub fn notifies(&self) -> bool {
        self.notify
    }

    /// How many instructions the kernel will check.
    #[must_use]
    pub fn instructions(&self) -> usize {
        self.bpf.len() / sys::INSTRUCTION
    }

    /// Puts the filter on the calling thread and, for a filter that notifies, returns the agent's
    /// end. After success no memory is allocated or freed: the filter may forbid that.
    ///
    /// # Errors
    /// EACCES without no_new_privs and CAP_SYS_ADMIN, EBUSY when the process already has a listener.
    pub fn load(&self) -> Result<Option<OwnedFd>, SeccompError> {
        let mut flags = libc::c_ulong::from(self.flags);
        if self.notify {
            flags |= libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
            // The kernel refuses both together, and the one other thread must stay unfiltered.
            flags &= !libc::SECCOMP_FILTER_FLAG_TSYNC;
        } else {
            // It says how the notified wait; the kernel refuses it where nobody is notified.
            flags &= !libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
        }
        sys::load(&self.bpf, flags).map_err(|errno: Errno| SeccompError::Load(Reason(errno)))
    }
}
