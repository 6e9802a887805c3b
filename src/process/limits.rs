//! Resource limits of the user's process.
//! It must not lower what it can't raise: a limit that can't be set is an error.

use nix::unistd::Pid;
use oci_spec::runtime::{PosixRlimit, PosixRlimitType as Type};

use super::{ProcessError, Reason};
use crate::sys::process::prlimit;

/// Sets `limits` on `pid` (0: the caller) with prlimit(2).
///
/// # Errors
/// EPERM when a hard limit would rise without CAP_SYS_RESOURCE, EINVAL when soft is above hard.
pub fn apply(pid: Pid, limits: &[PosixRlimit]) -> Result<(), ProcessError> {
    for limit in limits {
        let (soft, hard) = (limit.soft(), limit.hard());
        prlimit(pid, number(limit.typ()), soft, hard).map_err(|errno| ProcessError::Rlimit {
            name: limit.typ().to_string(),
            soft,
            hard,
            source: Reason(errno),
        })?;
    }
    Ok(())
}

fn number(kind: Type) -> u32 {
    match kind {
        Type::RlimitCpu => libc::RLIMIT_CPU,
        Type::RlimitFsize => libc::RLIMIT_FSIZE,
        Type::RlimitData => libc::RLIMIT_DATA,
        Type::RlimitStack => libc::RLIMIT_STACK,
        Type::RlimitCore => libc::RLIMIT_CORE,
        Type::RlimitRss => libc::RLIMIT_RSS,
        Type::RlimitNproc => libc::RLIMIT_NPROC,
        Type::RlimitNofile => libc::RLIMIT_NOFILE,
        Type::RlimitMemlock => libc::RLIMIT_MEMLOCK,
        Type::RlimitAs => libc::RLIMIT_AS,
        Type::RlimitLocks => libc::RLIMIT_LOCKS,
        Type::RlimitSigpending => libc::RLIMIT_SIGPENDING,
        Type::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        Type::RlimitNice => libc::RLIMIT_NICE,
        Type::RlimitRtprio => libc::RLIMIT_RTPRIO,
        Type::RlimitRttime => libc::RLIMIT_RTTIME,
    }
}
