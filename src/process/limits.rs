//! Resource limits and the out-of-memory score, set by pid from the host's side.

use nix::errno::Errno;
use nix::libc;
use oci_spec::runtime::{PosixRlimit, PosixRlimitType};

use super::{ProcessError, system};

/// Sets the limits of a process.
pub fn set(pid: i32, limits: &[PosixRlimit]) -> Result<(), ProcessError> {
    for limit in limits {
        let (soft, hard) = (limit.soft(), limit.hard());
        crate::sys::process::prlimit(pid, resource(limit.typ()), soft, hard).map_err(|errno| {
            let name = limit.typ();
            let what = format!("process.rlimits: set `{name}` to soft {soft}, hard {hard}");
            match errno {
                Errno::EPERM => system(what + " (raising a hard limit needs CAP_SYS_RESOURCE)")(errno),
                _ => system(what)(errno),
            }
        })?;
    }
    Ok(())
}

fn resource(kind: PosixRlimitType) -> u32 {
    match kind {
        PosixRlimitType::RlimitCpu => libc::RLIMIT_CPU,
        PosixRlimitType::RlimitFsize => libc::RLIMIT_FSIZE,
        PosixRlimitType::RlimitData => libc::RLIMIT_DATA,
        PosixRlimitType::RlimitStack => libc::RLIMIT_STACK,
        PosixRlimitType::RlimitCore => libc::RLIMIT_CORE,
        PosixRlimitType::RlimitRss => libc::RLIMIT_RSS,
        PosixRlimitType::RlimitNproc => libc::RLIMIT_NPROC,
        PosixRlimitType::RlimitNofile => libc::RLIMIT_NOFILE,
        PosixRlimitType::RlimitMemlock => libc::RLIMIT_MEMLOCK,
        PosixRlimitType::RlimitAs => libc::RLIMIT_AS,
        PosixRlimitType::RlimitLocks => libc::RLIMIT_LOCKS,
        PosixRlimitType::RlimitSigpending => libc::RLIMIT_SIGPENDING,
        PosixRlimitType::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        PosixRlimitType::RlimitNice => libc::RLIMIT_NICE,
        PosixRlimitType::RlimitRtprio => libc::RLIMIT_RTPRIO,
        PosixRlimitType::RlimitRttime => libc::RLIMIT_RTTIME,
    }
}

/// Writes `process.oomScoreAdj`. What isn't asked for stays as the caller has it.
pub fn set_oom_score(pid: i32, score: Option<i32>) -> Result<(), ProcessError> {
    let Some(score) = score else { return Ok(()) };
    std::fs::write(format!("/proc/{pid}/oom_score_adj"), score.to_string()).map_err(|source| {
        ProcessError::File {
            what: format!("process.oomScoreAdj: set to {score}"),
            source,
        }
    })
}
