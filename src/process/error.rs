//! What can go wrong between a standing sandbox and `execve`, and the words that callers match.
//! It must not add the cause to a message: whoever reports joins the chain.

use std::fmt;

use nix::errno::Errno;

/// An errno in the words that runc uses, which podman, Docker and containerd match.
///
/// They are strerror(3)'s with a small first letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason(pub Errno);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = std::io::Error::from(self.0).to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        let mut letters = text.chars();
        let first = letters.next().unwrap_or_default().to_ascii_lowercase();
        write!(f, "{first}{}", letters.as_str())
    }
}

impl std::error::Error for Reason {}

impl From<Errno> for Reason {
    fn from(errno: Errno) -> Self {
        Self(errno)
    }
}

impl From<std::io::Error> for Reason {
    fn from(error: std::io::Error) -> Self {
        let code = error.raw_os_error();
        Self(code.map_or(Errno::EIO, Errno::from_raw))
    }
}

/// A process that can't be set up. Wording with `exec:` and `chdir` is runc's, for its callers.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// `process.args` is missing or empty.
    #[error("args must not be empty")]
    NoArguments,
    /// A string that execve(2) can't take.
    #[error("{what} contains a null byte: {text:?}")]
    NullByte {
        /// The JSON path.
        what: &'static str,
        /// The string.
        text: String,
    },
    /// An entry of `process.env` without `=` or without a name.
    #[error("invalid environment variable: {0:?}")]
    Environment(String),
    /// A field that holds something unknown.
    #[error("{what} is `{value}`, expected {expected}")]
    Field {
        /// The JSON path.
        what: &'static str,
        /// What stood there.
        value: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// A profile on a host without AppArmor.
    #[error("apparmor is not enabled on this host, process.apparmorProfile is `{0}`")]
    NoAppArmor(String),
    /// A label on a host without SELinux.
    #[error("selinux is not enabled on this host, process.selinuxLabel is `{0}`")]
    NoSelinux(String),
    /// A label that the kernel module refuses.
    #[error("write `{label}` to `/proc/self/attr/{file}`")]
    Label {
        /// The text written.
        label: String,
        /// Below `/proc/self/attr`.
        file: &'static str,
        /// Why.
        source: Reason,
    },
    /// `/proc` is missing or isn't procfs.
    #[error("open `/proc/{path}` on a genuine procfs")]
    Proc {
        /// Below `/proc`.
        path: String,
        /// Why.
        source: Reason,
    },
    /// The OOM score can't be written.
    #[error("write {score} to `/proc/{pid}/oom_score_adj`")]
    OomScore {
        /// The score asked for.
        score: i32,
        /// The process.
        pid: i32,
        /// Why.
        source: Reason,
    },
    /// A resource limit that can't be set.
    #[error("set rlimit `{name}` to soft {soft}, hard {hard}")]
    Rlimit {
        /// `RLIMIT_*`.
        name: String,
        /// The soft limit.
        soft: u64,
        /// The hard limit.
        hard: u64,
        /// Why.
        source: Reason,
    },
    /// The session keyring can't be made.
    #[error("join session keyring `{name}`")]
    Keyring {
        /// `_ses.<id>`.
        name: String,
        /// Why.
        source: Reason,
    },
    /// A NUMA policy that can't be set.
    #[error("set linux.memoryPolicy")]
    MemoryPolicy(#[source] libcontainer::process::memory_policy::MemoryPolicyError),
    /// A cpu list that can't be read.
    #[error("parse process.execCPUAffinity")]
    CpuList(#[source] libcontainer::process::cpu_affinity::CPUAffinityError),
    /// The working directory can't be entered.
    #[error("chdir to cwd ({cwd:?}) set in config.json failed")]
    Chdir {
        /// `process.cwd`.
        cwd: String,
        /// Why.
        source: Reason,
    },
    /// The working directory lies outside the container (CVE-2024-21626).
    #[error(
        "current working directory is outside of container mount namespace root -- possible container breakout detected"
    )]
    Outside,
    /// A step without an object of its own.
    #[error("{step}")]
    Step {
        /// What was tried.
        step: &'static str,
        /// Why.
        source: Reason,
    },
    /// A bare name that is nowhere in PATH.
    #[error("exec: {0:?}: executable file not found in $PATH")]
    NotInPath(String),
    /// A bare name that only a relative entry of PATH leads to.
    #[error("exec: {0:?}: cannot run executable found relative to current directory")]
    Relative(String),
    /// A path that leads nowhere.
    #[error("exec: {0:?}: stat {0}")]
    Missing(String, #[source] Reason),
    /// A path that can't be executed.
    #[error("exec: {0:?}")]
    NotExecutable(String, #[source] Reason),
    /// execve(2) itself.
    #[error("exec: {0:?}")]
    Exec(String, #[source] Reason),
    /// The filter.
    #[error("seccomp")]
    Seccomp(#[from] crate::seccomp::SeccompError),
}

impl ProcessError {
    /// Makes a `Step` from an errno, for `map_err`.
    pub(super) fn step(step: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::Step {
            step,
            source: Reason(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_read_as_runc_writes_them() {
        for (errno, text) in [
            (Errno::ENOENT, "no such file or directory"),
            (Errno::EACCES, "permission denied"),
            (Errno::EPERM, "operation not permitted"),
            (Errno::ENOEXEC, "exec format error"),
            (Errno::EISDIR, "is a directory"),
            (Errno::ENOTDIR, "not a directory"),
        ] {
            assert_eq!(Reason(errno).to_string(), text);
        }
    }
}
