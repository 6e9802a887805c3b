//! bpf(2) for programs that are attached to a cgroup: load, attach, query, detach.
//! What a program says, and whether it is needed, must not be decided here.
#![allow(unsafe_code)]

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// One instruction as the kernel reads it (`struct bpf_insn`, linux/bpf.h).
pub type Insn = [u8; 8];

const PROG_LOAD: i32 = 5;
const PROG_ATTACH: i32 = 8;
const PROG_DETACH: i32 = 9;
const PROG_GET_FD_BY_ID: i32 = 13;
const PROG_QUERY: i32 = 16;

const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;

/// The kernel lets several programs live on one cgroup, all of which must agree.
const ALLOW_MULTI: u32 = 1 << 1;
/// One program takes another's place without a moment between them (Linux 5.6).
const REPLACE: u32 = 1 << 2;

/// More programs than this on one cgroup are more than the kernel allows
/// (`BPF_CGROUP_MAX_PROGS`, 64).
const MAX_PROGS: usize = 64;

#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

#[repr(C)]
struct Attach {
    target_fd: u32,
    prog_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_fd: u32,
}

#[repr(C)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

#[repr(C)]
struct GetById {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// Loads a device program (`BPF_PROG_TYPE_CGROUP_DEVICE`); the descriptor is close-on-exec.
///
/// `PermissionDenied` without CAP_BPF or CAP_SYS_ADMIN in the first user namespace.
pub fn load_device_program(program: &[Insn]) -> io::Result<OwnedFd> {
    // SAFETY: all-zero bytes are a valid value of a struct of integers.
    let mut attr: Load = unsafe { zeroed() };
    attr.prog_type = PROG_TYPE_CGROUP_DEVICE;
    attr.insn_cnt = u32::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    attr.insns = program.as_ptr() as u64;
    attr.license = c"Apache-2.0".as_ptr() as u64;
    let fd = call(PROG_LOAD, &mut attr)?;
    // SAFETY: BPF_PROG_LOAD returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a device program to a cgroup, beside others or in the place of `replace`.
pub fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replace: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut attr = attach(cgroup, program);
    attr.attach_flags = ALLOW_MULTI;
    if let Some(old) = replace {
        attr.attach_flags |= REPLACE;
        attr.replace_fd = old.as_raw_fd() as u32;
    }
    call(PROG_ATTACH, &mut attr).map(drop)
}

/// Takes a device program off a cgroup.
pub fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    call(PROG_DETACH, &mut attach(cgroup, program)).map(drop)
}

/// The device programs that are attached to this very cgroup.
pub fn device_programs(cgroup: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut ids = [0u32; MAX_PROGS];
    // SAFETY: all-zero bytes are a valid value of a struct of integers.
    let mut attr: Query = unsafe { zeroed() };
    attr.target_fd = cgroup.as_raw_fd() as u32;
    attr.attach_type = ATTACH_CGROUP_DEVICE;
    attr.prog_ids = ids.as_mut_ptr() as u64;
    attr.prog_cnt = MAX_PROGS as u32;
    call(PROG_QUERY, &mut attr)?;
    ids.iter()
        .take(attr.prog_cnt as usize)
        .map(|&id| program_by_id(id))
        .collect()
}

fn program_by_id(id: u32) -> io::Result<OwnedFd> {
    let mut attr = GetById {
        id,
        next_id: 0,
        open_flags: 0,
    };
    let fd = call(PROG_GET_FD_BY_ID, &mut attr)?;
    // SAFETY: BPF_PROG_GET_FD_BY_ID returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn attach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Attach {
    Attach {
        target_fd: cgroup.as_raw_fd() as u32,
        prog_fd: program.as_raw_fd() as u32,
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: 0,
        replace_fd: 0,
    }
}

/// The attribute structs above are prefixes of `union bpf_attr`; the kernel takes the rest as zero.
fn call<T>(command: i32, attr: &mut T) -> io::Result<i32> {
    // SAFETY: `attr` lives over the call and is as long as we say; what its pointer fields
    // point to is borrowed by the callers over the call too.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attr),
            size_of::<T>(),
        )
    };
    match i32::try_from(result) {
        Ok(value) if value >= 0 => Ok(value),
        _ => Err(io::Error::last_os_error()),
    }
}
