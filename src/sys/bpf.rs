//! bpf(2) for device programs of cgroups: instructions, loading, attaching. Holds no policy.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::libc;

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_DETACH: libc::c_int = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// Registers that a program uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Register {
    /// The result.
    R0 = 0,
    /// The context at the start, then scratch.
    R1,
    /// Scratch.
    R2,
    /// Scratch.
    R3,
    /// Scratch.
    R4,
    /// Scratch.
    R5,
}

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

impl Instruction {
    const fn new(code: u8, to: Register, from: u8, offset: i16, immediate: i32) -> Instruction {
        Instruction {
            code,
            // The kernel's bit fields lie the other way round on big-endian machines.
            registers: if cfg!(target_endian = "little") {
                to as u8 | from << 4
            } else {
                (to as u8) << 4 | from
            },
            offset,
            immediate,
        }
    }

    /// `to = *(u32 *)(from + offset)`
    pub const fn load_word(to: Register, from: Register, offset: i16) -> Instruction {
        Self::new(0x61, to, from as u8, offset, 0)
    }

    /// `to &= value`, 32 bits.
    pub const fn and_immediate(to: Register, value: i32) -> Instruction {
        Self::new(0x54, to, 0, 0, value)
    }

    /// `to >>= bits`, 32 bits.
    pub const fn shift_right(to: Register, bits: i32) -> Instruction {
        Self::new(0x74, to, 0, 0, bits)
    }

    /// `to = value`
    pub const fn move_immediate(to: Register, value: i32) -> Instruction {
        Self::new(0xb7, to, 0, 0, value)
    }

    /// `to = from`, 32 bits.
    pub const fn move_register(to: Register, from: Register) -> Instruction {
        Self::new(0xbc, to, from as u8, 0, 0)
    }

    /// Skips `count` instructions when `register == value`.
    pub const fn jump_equal(register: Register, value: i32, count: i16) -> Instruction {
        Self::new(0x15, register, 0, count, value)
    }

    /// Skips `count` instructions when `register != value`.
    pub const fn jump_not_equal(register: Register, value: i32, count: i16) -> Instruction {
        Self::new(0x55, register, 0, count, value)
    }

    /// Ends the program; R0 is the answer.
    pub const fn exit() -> Instruction {
        Self::new(0x95, Register::R0, 0, 0, 0)
    }
}

#[repr(C)]
#[derive(Default)]
struct LoadAttr {
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
#[derive(Default)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

#[repr(C)]
#[derive(Default)]
struct IdAttr {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<i32> {
    // SAFETY: the attribute is as long as its size says; its addresses point to memory that
    // outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr as *mut T, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: only called with a descriptor that the kernel has just made for us.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Loads a device program and attaches it to a cgroup, then takes away those that were there: at
/// no time is there none.
pub fn attach_device_program(cgroup: &File, code: &[Instruction]) -> io::Result<()> {
    let before = attached(cgroup)?;
    let program = load(code)?;
    bpf(
        BPF_PROG_ATTACH,
        &mut AttachAttr {
            target_fd: cgroup.as_raw_fd() as u32,
            attach_bpf_fd: program.as_raw_fd() as u32,
            attach_type: BPF_CGROUP_DEVICE,
            attach_flags: BPF_F_ALLOW_MULTI,
            ..AttachAttr::default()
        },
    )?;
    for id in before {
        detach(cgroup, id)?;
    }
    Ok(())
}

fn load(code: &[Instruction]) -> io::Result<OwnedFd> {
    let license = c"Apache";
    let mut attr = LoadAttr {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: code.len() as u32,
        insns: code.as_ptr() as u64,
        license: license.as_ptr() as u64,
        ..LoadAttr::default()
    };
    bpf(BPF_PROG_LOAD, &mut attr).map(owned)
}

fn attached(cgroup: &File) -> io::Result<Vec<u32>> {
    let mut ids = [0u32; 64];
    let mut attr = QueryAttr {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: ids.len() as u32,
        ..QueryAttr::default()
    };
    bpf(BPF_PROG_QUERY, &mut attr)?;
    Ok(ids[..(attr.prog_cnt as usize).min(ids.len())].to_vec())
}

fn detach(cgroup: &File, id: u32) -> io::Result<()> {
    let mut by_id = IdAttr {
        id,
        ..IdAttr::default()
    };
    let program = bpf(BPF_PROG_GET_FD_BY_ID, &mut by_id).map(owned)?;
    bpf(
        BPF_PROG_DETACH,
        &mut AttachAttr {
            target_fd: cgroup.as_raw_fd() as u32,
            attach_bpf_fd: program.as_raw_fd() as u32,
            attach_type: BPF_CGROUP_DEVICE,
            ..AttachAttr::default()
        },
    )
    .map(drop)
}
