//! Seccomp filters: compiled once by libseccomp, kept, installed as late as can be. Must not touch
//! anything of a process but its filter.

mod cache;
mod compile;
pub mod notify;

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompFilterFlag};

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// libseccomp refused a part of it.
    #[error("linux.seccomp: {what}")]
    Compile {
        /// What was tried.
        what: String,
        /// The cause.
        #[source]
        source: libseccomp::error::SeccompError,
    },
    /// The configuration asks for something that has no meaning.
    #[error("linux.seccomp: {0}")]
    Invalid(String),
    /// The compiled program could not be taken out of libseccomp.
    #[error("linux.seccomp: export program")]
    Export(#[source] std::io::Error),
    /// The kernel refused the filter.
    #[error("linux.seccomp: install filter")]
    Install(#[source] Errno),
}

/// A filter in the kernel's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// BPF instructions, 8 bytes each, native byte order.
    bpf: Vec<u8>,
    /// SECCOMP_FILTER_FLAG_*, for seccomp(2).
    flags: u64,
}

impl Program {
    /// Takes the program from the cache directory, or compiles it and leaves it there. A cache
    /// that can't be read or written costs time, never correctness.
    pub fn load_or_compile(
        filter: &LinuxSeccomp,
        cache: Option<&Path>,
    ) -> Result<Program, SeccompError> {
        let flags = flags(filter);
        let Some(entry) = cache.and_then(|dir| cache::Entry::new(dir, filter)) else {
            return Program::compile(filter);
        };
        if let Some(bpf) = entry.load() {
            return Ok(Program { bpf, flags });
        }
        let program = Program::compile(filter)?;
        if let Err(error) = entry.store(&program.bpf) {
            tracing::debug!("keep compiled filter: {error}");
        }
        Ok(program)
    }

    /// Compiles a filter.
    pub fn compile(filter: &LinuxSeccomp) -> Result<Program, SeccompError> {
        Ok(Program {
            bpf: compile::compile(filter)?,
            flags: flags(filter),
        })
    }

    /// Installs the filter on this process; the listener's descriptor when it notifies.
    pub fn install(&self) -> Result<Option<OwnedFd>, SeccompError> {
        crate::sys::seccomp::install(&self.bpf, self.flags as libc::c_ulong)
            .map_err(SeccompError::Install)
    }

    /// Some calls are decided by another process.
    pub fn notifies(&self) -> bool {
        self.flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u64 != 0
    }
}

/// Whether any call is decided by an agent.
pub fn is_notifying(filter: &LinuxSeccomp) -> bool {
    let rules = filter.syscalls().iter().flatten();
    rules.map(|rule| rule.action()).any(|action| action == LinuxSeccompAction::ScmpActNotify)
}

fn flags(filter: &LinuxSeccomp) -> u64 {
    let asked = filter.flags().iter().flatten().fold(0, |flags, flag| {
        flags
            | match flag {
                LinuxSeccompFilterFlag::SeccompFilterFlagLog => libc::SECCOMP_FILTER_FLAG_LOG,
                LinuxSeccompFilterFlag::SeccompFilterFlagTsync => libc::SECCOMP_FILTER_FLAG_TSYNC,
                LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => {
                    libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW
                }
                LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => {
                    libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
                }
            }
    });
    let mut flags = asked as u64;
    if is_notifying(filter) {
        flags |= libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u64;
        // Both flags together need the error in another form (seccomp(2)); a container's init is
        // a single thread, so there is nothing to synchronise.
        flags &= !(libc::SECCOMP_FILTER_FLAG_TSYNC as u64);
    }
    flags
}
