//! System calls that shape the calling process: limits, scheduling, capabilities, keyrings, signals.
//! It must not know the OCI specification: numbers in, errno out.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::Result;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::unistd::Pid;

/// `_LINUX_CAPABILITY_VERSION_3` of capget(2): two 32-bit words a set.
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
/// `IOPRIO_WHO_PROCESS` of ioprio_set(2).
const IOPRIO_WHO_PROCESS: libc::c_int = 1;
/// keyctl(2) operations, from linux/keyctl.h.
const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
const KEYCTL_SETPERM: libc::c_int = 5;
const KEYCTL_DESCRIBE: libc::c_int = 6;

/// The arguments of sched_setattr(2); `Default` asks for SCHED_OTHER with nice 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SchedAttr {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// -20 to 19, for SCHED_OTHER and SCHED_BATCH.
    pub nice: i32,
    /// 1 to 99, for SCHED_FIFO and SCHED_RR.
    pub priority: u32,
    /// Nanoseconds, for SCHED_DEADLINE.
    pub runtime: u64,
    /// Nanoseconds, for SCHED_DEADLINE.
    pub deadline: u64,
    /// Nanoseconds, for SCHED_DEADLINE.
    pub period: u64,
}

/// The three sets that capset(2) changes at once, one bit a capability.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapSets {
    /// What the kernel checks.
    pub effective: u64,
    /// What may become effective.
    pub permitted: u64,
    /// What an executable's own inheritable set may keep.
    pub inheritable: u64,
}

/// What execve(2) takes, laid out beforehand: once a seccomp filter is in, the allocator may not ask
/// the kernel for memory any more.
#[derive(Debug)]
pub struct Image {
    path: CString,
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    /// What `argv` and `envp` point into; a CString's bytes don't move with it.
    _strings: Vec<CString>,
}

impl Image {
    /// Prepares `path` to be executed with the arguments `argv` and the environment `envp`.
    #[must_use]
    pub fn new(path: CString, argv: Vec<CString>, envp: Vec<CString>) -> Self {
        let pointers = |strings: &[CString]| {
            let ends = std::iter::once(std::ptr::null());
            strings.iter().map(|s| s.as_ptr()).chain(ends).collect()
        };
        Self {
            path,
            argv: pointers(&argv),
            envp: pointers(&envp),
            _strings: argv.into_iter().chain(envp).collect(),
        }
    }

    /// The path that is executed.
    #[must_use]
    pub fn path(&self) -> &CStr {
        &self.path
    }

    /// Replaces the process; comes back only with the reason why not. One system call, no memory.
    #[must_use]
    pub fn exec(&self) -> Errno {
        // SAFETY: both arrays end in null and point at terminated strings that `self` owns.
        unsafe { libc::execve(self.path.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr()) };
        Errno::last()
    }
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapWord {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Sets one resource limit of `pid` (0: the caller), see prlimit(2).
///
/// # Errors
/// EPERM without CAP_SYS_RESOURCE over the target, EINVAL when `soft` is above `hard`.
pub fn prlimit(pid: Pid, resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: `limit` lives across the call and the old limit is not asked for.
    let rc = unsafe { libc::prlimit64(pid.as_raw(), resource as _, &limit, std::ptr::null_mut()) };
    Errno::result(rc).map(drop)
}

/// Sets the scheduling policy of `pid` (0: the caller), see sched_setattr(2).
///
/// # Errors
/// EPERM, EINVAL, and EBUSY when a deadline can't be granted.
pub fn sched_setattr(pid: Pid, attr: &SchedAttr) -> Result<()> {
    let raw = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: attr.policy,
        sched_flags: attr.flags,
        sched_nice: attr.nice,
        sched_priority: attr.priority,
        sched_runtime: attr.runtime,
        sched_deadline: attr.deadline,
        sched_period: attr.period,
    };
    // SAFETY: `raw` lives across the call and carries its own size.
    let rc = unsafe { libc::syscall(libc::SYS_sched_setattr, pid.as_raw(), &raw, 0) };
    Errno::result(rc).map(drop)
}

/// Sets the I/O priority of `pid` (0: the caller), see ioprio_set(2).
///
/// # Errors
/// EPERM for a real-time class without CAP_SYS_NICE, EINVAL.
pub fn ioprio_set(pid: Pid, class: u32, priority: u32) -> Result<()> {
    let value = (class << 13) | priority;
    // SAFETY: plain numbers, no memory is shared with the kernel.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_ioprio_set,
            IOPRIO_WHO_PROCESS,
            pid.as_raw(),
            value,
        )
    };
    Errno::result(rc).map(drop)
}

/// Replaces effective, permitted and inheritable set of the caller in one step, see capset(2).
///
/// # Errors
/// EPERM when a set grows beyond what the caller holds.
pub fn capset(sets: &CapSets) -> Result<()> {
    let header = CapHeader {
        version: CAPABILITY_VERSION_3,
        pid: 0,
    };
    let word = |shift: u32| CapWord {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let data = [word(0), word(32)];
    // SAFETY: version 3 reads exactly the two words that `data` holds.
    let rc = unsafe { libc::syscall(libc::SYS_capset, &header, data.as_ptr()) };
    Errno::result(rc).map(drop)
}

/// Reads the caller's effective, permitted and inheritable sets, see capget(2).
///
/// # Errors
/// None that a valid header can give.
pub fn capget() -> Result<CapSets> {
    let mut header = CapHeader {
        version: CAPABILITY_VERSION_3,
        pid: 0,
    };
    let mut data = [CapWord::default(); 2];
    // SAFETY: version 3 writes exactly the two words that `data` holds.
    let rc = unsafe { libc::syscall(libc::SYS_capget, &mut header, data.as_mut_ptr()) };
    Errno::result(rc)?;
    let join = |low: u32, high: u32| u64::from(low) | (u64::from(high) << 32);
    Ok(CapSets {
        effective: join(data[0].effective, data[1].effective),
        permitted: join(data[0].permitted, data[1].permitted),
        inheritable: join(data[0].inheritable, data[1].inheritable),
    })
}

/// Tells whether capability number `cap` is in the bounding set, see PR_CAPBSET_READ(2const).
///
/// # Errors
/// EINVAL when the kernel doesn't know the number.
pub fn bounding_has(cap: u32) -> Result<bool> {
    // SAFETY: plain numbers.
    let rc = unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(cap), 0, 0, 0) };
    Errno::result(rc).map(|rc| rc == 1)
}

/// Drops capability number `cap` from the bounding set, see PR_CAPBSET_DROP(2const).
///
/// # Errors
/// EPERM without CAP_SETPCAP, EINVAL when the kernel doesn't know the number.
pub fn bounding_drop(cap: u32) -> Result<()> {
    // SAFETY: plain numbers.
    let rc = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(cap), 0, 0, 0) };
    Errno::result(rc).map(drop)
}

/// Empties the ambient set, see PR_CAP_AMBIENT(2const).
///
/// # Errors
/// EINVAL on a kernel without ambient capabilities.
pub fn ambient_clear() -> Result<()> {
    // SAFETY: plain numbers.
    let rc = unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong,
            0,
            0,
            0,
        )
    };
    Errno::result(rc).map(drop)
}

/// Adds capability number `cap` to the ambient set, see PR_CAP_AMBIENT(2const).
///
/// # Errors
/// EPERM when it is not both permitted and inheritable.
pub fn ambient_raise(cap: u32) -> Result<()> {
    // SAFETY: plain numbers.
    let rc = unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong,
            libc::c_ulong::from(cap),
            0,
            0,
        )
    };
    Errno::result(rc).map(drop)
}

/// Gives up every capability but those of `kept` (one bit a capability), for this process and
/// whatever it executes.
///
/// # Errors
/// EPERM without CAP_SETPCAP.
pub fn keep_capabilities(kept: u64) -> Result<()> {
    let unwanted = |cap: &u32| kept & (1 << cap) == 0;
    for cap in (0..64).filter(unwanted) {
        match bounding_drop(cap) {
            // The kernel knows no more.
            Err(Errno::EINVAL) => break,
            result => result?,
        }
    }
    ambient_clear()?;
    capset(&CapSets {
        effective: kept,
        permitted: kept,
        inheritable: 0,
    })
}

/// Joins the session keyring `name`, creating it if need be, and returns its serial number.
///
/// # Errors
/// ENOSYS without key management, EDQUOT when the user's key quota is used up.
pub fn join_session_keyring(name: &CStr) -> Result<i64> {
    // SAFETY: `name` is a terminated string that lives across the call.
    let rc = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    Errno::result(rc)
}

/// Describes a key as `type;uid;gid;perm;description`, see KEYCTL_DESCRIBE(2const).
///
/// # Errors
/// ENOKEY, EACCES.
pub fn describe_key(serial: i64) -> Result<String> {
    let mut buffer = [0u8; 512];
    // SAFETY: the kernel writes at most the length given.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_DESCRIBE,
            serial,
            buffer.as_mut_ptr(),
            buffer.len(),
        )
    };
    let length = (Errno::result(rc)? as usize).min(buffer.len());
    let text = String::from_utf8_lossy(&buffer[..length]);
    Ok(text.trim_end_matches('\0').to_owned())
}

/// Sets the permission mask of a key, see KEYCTL_SETPERM(2const).
///
/// # Errors
/// EACCES, ENOKEY.
pub fn set_key_permission(serial: i64, mask: u32) -> Result<()> {
    // SAFETY: plain numbers.
    let rc = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, serial, mask) };
    Errno::result(rc).map(drop)
}

/// Gives every signal its default action and unblocks all of them.
///
/// nix can't name real-time signals, and glibc hides two of them from sigaction(3): hence the raw
/// call. SIGKILL, SIGSTOP and numbers the kernel doesn't have answer EINVAL, which is meant.
pub fn reset_signals() {
    /// The kernel's own sigaction, large enough for every architecture: all zero is SIG_DFL.
    const ACTION: [u64; 8] = [0; 8];
    const SIGSET_SIZE: usize = 8;
    let none: u64 = 0;
    for signal in 1..=64 {
        // SAFETY: the kernel reads no more than its struct, which is smaller than ACTION.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                ACTION.as_ptr(),
                std::ptr::null_mut::<u64>(),
                SIGSET_SIZE,
            );
        }
    }
    // SAFETY: the new mask is eight bytes long, as told.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &none,
            std::ptr::null_mut::<u64>(),
            SIGSET_SIZE,
        );
    }
}

/// Opens `path` below `dir` by openat2(2), close-on-exec. nix 0.29 returns a bare number here.
///
/// # Errors
/// EXDEV or ELOOP when `resolve` forbids what the path does; those of open(2).
pub fn open_below(
    dir: BorrowedFd<'_>,
    path: &str,
    flags: OFlag,
    resolve: ResolveFlag,
) -> Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(resolve);
    let fd = openat2(dir.as_raw_fd(), path, how)?;
    // SAFETY: the call has just returned this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
