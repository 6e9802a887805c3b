//! System calls that set up a process and that no library wraps: keyrings, scheduling attributes,
//! priorities and limits by pid, signal dispositions. Holds no policy.
#![allow(unsafe_code)]

use std::ffi::CString;

use nix::errno::Errno;
use nix::libc;

/// Joins a new session keyring (keyctl(2), KEYCTL_JOIN_SESSION_KEYRING) and returns its serial.
pub fn join_session_keyring(name: &CString) -> Result<i32, Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: the name is a C string that outlives the call.
    let serial =
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    Errno::result(serial).map(|s| s as i32)
}

/// Sets a key's permissions (KEYCTL_SETPERM).
pub fn set_key_permissions(serial: i32, permissions: u32) -> Result<(), Errno> {
    const KEYCTL_SETPERM: libc::c_int = 5;
    // SAFETY: plain integers.
    let set = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, serial, permissions) };
    Errno::result(set).map(drop)
}

/// A key's description: `type;uid;gid;perm;description` (KEYCTL_DESCRIBE).
pub fn describe_key(serial: i32) -> Result<String, Errno> {
    const KEYCTL_DESCRIBE: libc::c_int = 6;
    let mut buffer = [0u8; 4096];
    // SAFETY: the buffer is writable for the length given.
    let length = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_DESCRIBE,
            serial,
            buffer.as_mut_ptr(),
            buffer.len(),
        )
    };
    let length = (Errno::result(length)? as usize).min(buffer.len());
    Ok(String::from_utf8_lossy(&buffer[..length.saturating_sub(1)]).into_owned())
}

/// `struct sched_attr`, first published size (sched_setattr(2)).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SchedAttr {
    /// Filled in by [`sched_setattr`].
    pub size: u32,
    /// SCHED_*.
    pub policy: u32,
    /// SCHED_FLAG_*.
    pub flags: u64,
    /// For SCHED_OTHER and SCHED_BATCH.
    pub nice: i32,
    /// For SCHED_FIFO and SCHED_RR.
    pub priority: u32,
    /// For SCHED_DEADLINE, in nanoseconds.
    pub runtime: u64,
    /// For SCHED_DEADLINE, in nanoseconds.
    pub deadline: u64,
    /// For SCHED_DEADLINE, in nanoseconds.
    pub period: u64,
    /// SCHED_FLAG_UTIL_CLAMP_MIN.
    pub util_min: u32,
    /// SCHED_FLAG_UTIL_CLAMP_MAX.
    pub util_max: u32,
}

/// sched_setattr(2); pid 0 is the caller.
pub fn sched_setattr(pid: i32, mut attr: SchedAttr) -> Result<(), Errno> {
    attr.size = size_of::<SchedAttr>() as u32;
    // SAFETY: the structure is as large as its size says.
    let set = unsafe { libc::syscall(libc::SYS_sched_setattr, pid, &raw const attr, 0) };
    Errno::result(set).map(drop)
}

/// ioprio_set(2) for one process; pid 0 is the caller.
pub fn ioprio_set(pid: i32, class: u16, level: u16) -> Result<(), Errno> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    let value = libc::c_int::from(class) << 13 | libc::c_int::from(level);
    // SAFETY: plain integers.
    let set = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid, value) };
    Errno::result(set).map(drop)
}

/// prlimit(2); pid 0 is the caller.
pub fn prlimit(pid: i32, resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the new limit is readable, a null old limit is allowed.
    let set = unsafe { libc::prlimit64(pid, resource, &raw const limit, std::ptr::null_mut()) };
    Errno::result(set).map(drop)
}

/// All dispositions back to default, nothing blocked: Rust's runtime ignores SIGPIPE, callers may
/// ignore or block others, and execve would hand all of that down.
pub fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        if signal == libc::SIGKILL || signal == libc::SIGSTOP {
            continue;
        }
        // SAFETY: setting the default disposition installs no handler.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let _ = nix::sys::signal::sigprocmask(
        nix::sys::signal::SigmaskHow::SIG_SETMASK,
        Some(&nix::sys::signal::SigSet::empty()),
        None,
    );
}

/// faccessat2(2) with the effective ids, following symbolic links.
pub fn may_execute(path: &CString) -> Result<(), Errno> {
    // SAFETY: the path is a C string that outlives the call.
    let allowed =
        unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::X_OK, libc::AT_EACCESS) };
    Errno::result(allowed).map(drop)
}
