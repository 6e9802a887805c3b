//! Answers ENOSYS to system calls newer than the profile, in front of libseccomp's program.
//! It must not decide about calls that the profile's author could know.
//!
//! A C library tries a new call and falls back to an old one on ENOSYS; the profile's own EPERM would
//! make it give up. "Newer" means: numbered above the highest call that the profile names for that
//! architecture, as in runc.

use libseccomp::{ScmpArch, ScmpSyscall};
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction as Action};

/// Set in the number of each call of the x32 ABI, which shares its audit architecture with x86_64.
const X32_BIT: u32 = 0x4000_0000;
/// `struct seccomp_data`: number and architecture of the call.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// Instruction codes, linux/bpf_common.h.
const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_GREATER: u16 = 0x25;
const IF_SET: u16 = 0x45;
const RETURN: u16 = 0x06;
/// `SECCOMP_RET_ERRNO | ENOSYS`.
const ENOSYS: u32 = 0x0005_0000 | libc::ENOSYS as u32;

/// One instruction: code, jump if true, jump if false, operand.
type Instruction = (u16, u8, u8, u32);

/// The instructions to put first; none for a profile that allows, or answers ENOSYS, by default.
pub fn prologue(seccomp: &LinuxSeccomp, architectures: &[ScmpArch]) -> Vec<u8> {
    let lenient = match seccomp.default_action() {
        // A tracer is thought to answer ENOSYS itself.
        Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace => true,
        Action::ScmpActErrno => seccomp.default_errno_ret() == Some(libc::ENOSYS as u32),
        _ => false,
    };
    if lenient {
        return Vec::new();
    }
    let last = |architecture| last(seccomp, architecture);
    let x32 = architectures
        .contains(&ScmpArch::X32)
        .then(|| last(ScmpArch::X32))
        .flatten();
    let mut program = vec![(LOAD, 0, 0, ARCHITECTURE)];
    for architecture in architectures.iter().filter(|a| **a != ScmpArch::X32) {
        if let (Some(token), Some(highest)) = (token(*architecture), last(*architecture)) {
            let x32 = (*architecture == ScmpArch::X8664).then_some(x32);
            program.extend(section(token, highest, x32));
        }
    }
    program.into_iter().flat_map(encode).collect()
}

/// For one architecture; every way out but the return leaves at the end of the section. `x32` is
/// `None` where that ABI doesn't exist, `Some(None)` where the profile leaves it to libseccomp.
fn section(token: u32, highest: u32, x32: Option<Option<u32>>) -> Vec<Instruction> {
    let mut inner: Vec<Instruction> = vec![(LOAD, 0, 0, NUMBER)];
    match x32 {
        None => inner.push((IF_GREATER, 0, 1, highest)),
        // x32 calls skip the return.
        Some(None) => inner.extend([(IF_SET, 2, 0, X32_BIT), (IF_GREATER, 0, 1, highest)]),
        Some(Some(highest_x32)) => inner.extend([
            (IF_SET, 1, 0, X32_BIT),
            (IF_GREATER, 1, 2, highest),
            (IF_GREATER, 0, 1, highest_x32),
        ]),
    }
    inner.push((RETURN, 0, 0, ENOSYS));
    // The next section compares the architecture again.
    inner.push((LOAD, 0, 0, ARCHITECTURE));
    let skip = inner.len() as u8;
    let mut section = vec![(IF_EQUAL, 0, skip, token)];
    section.extend(inner);
    section
}

/// The highest number that the profile names for `architecture`, whatever the action.
fn last(seccomp: &LinuxSeccomp, architecture: ScmpArch) -> Option<u32> {
    let rules = seccomp.syscalls().iter().flatten();
    let names = rules.flat_map(|rule| rule.names());
    let numbers = names.filter_map(|name| ScmpSyscall::from_name_by_arch(name, architecture).ok());
    // libseccomp's pseudo numbers are negative: calls that this architecture doesn't have.
    let real = numbers.filter_map(|call| u32::try_from(call.as_raw_syscall()).ok());
    real.max().filter(|highest| *highest > 0)
}

/// `AUDIT_ARCH_*` of linux/audit.h; libseccomp's tokens are the same, but it doesn't give them out.
fn token(architecture: ScmpArch) -> Option<u32> {
    let token = match architecture {
        ScmpArch::X86 => 0x4000_0003,
        ScmpArch::X8664 => 0xc000_003e,
        ScmpArch::Arm => 0x4000_0028,
        ScmpArch::Aarch64 => 0xc000_00b7,
        ScmpArch::Loongarch64 => 0xc000_0102,
        ScmpArch::M68k => 0x0000_0004,
        ScmpArch::Mips => 0x0000_0008,
        ScmpArch::Mips64 => 0x8000_0008,
        ScmpArch::Mips64N32 => 0xa000_0008,
        ScmpArch::Mipsel => 0x4000_0008,
        ScmpArch::Mipsel64 => 0xc000_0008,
        ScmpArch::Mipsel64N32 => 0xe000_0008,
        ScmpArch::Ppc => 0x0000_0014,
        ScmpArch::Ppc64 => 0x8000_0015,
        ScmpArch::Ppc64Le => 0xc000_0015,
        ScmpArch::Parisc => 0x0000_000f,
        ScmpArch::Parisc64 => 0x8000_000f,
        ScmpArch::Riscv64 => 0xc000_00f3,
        ScmpArch::Sh => 0x4000_002a,
        ScmpArch::Sheb => 0x0000_002a,
        // s390 shows unknown calls as number 0, so "newer" can't be told by number.
        _ => return None,
    };
    Some(token)
}

fn encode((code, yes, no, operand): Instruction) -> [u8; 8] {
    let [c0, c1] = code.to_ne_bytes();
    let [k0, k1, k2, k3] = operand.to_ne_bytes();
    [c0, c1, yes, no, k0, k1, k2, k3]
}

#[cfg(test)]
mod tests {
    use crate::seccomp::Program;
    use crate::seccomp::machine::{X86, X86_64, run};
    use serde_json::json;

    const ALLOW: u32 = 0x7fff_0000;
    const EPERM: u32 = 0x0005_0001;
    const ENOSYS: u32 = 0x0005_0026;
    const KILL: u32 = 0;

    /// The profile names openat2, 437 everywhere, and mkdir; close_range (436) it could know.
    fn program(default: &str, errno: Option<u32>, architectures: &[&str]) -> Program {
        let mut profile = json!({
            "defaultAction": default, "architectures": architectures,
            "syscalls": [{"names": ["openat2", "mkdir"], "action": "SCMP_ACT_ALLOW"}],
        });
        if let Some(errno) = errno {
            profile["defaultErrnoRet"] = errno.into();
        }
        if default == "SCMP_ACT_ALLOW" {
            profile["syscalls"][0]["action"] = "SCMP_ACT_ERRNO".into();
        }
        Program::compile(&serde_json::from_value(profile).unwrap()).unwrap()
    }

    #[test]
    fn calls_newer_than_the_profile_answer_enosys() {
        let x32 = 0x4000_0000;
        let two = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"];
        let three = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];
        for (default, errno, architectures, arch, number, expected) in [
            ("SCMP_ACT_ERRNO", None, &two[..], X86_64, 437, ALLOW),
            ("SCMP_ACT_ERRNO", None, &two, X86_64, 436, EPERM),
            ("SCMP_ACT_ERRNO", None, &two, X86_64, 438, ENOSYS),
            ("SCMP_ACT_ERRNO", None, &two, X86, 437, ALLOW),
            ("SCMP_ACT_ERRNO", None, &two, X86, 436, EPERM),
            ("SCMP_ACT_ERRNO", None, &two, X86, 438, ENOSYS),
            ("SCMP_ACT_ERRNO", None, &two, X86_64, x32 + 438, KILL),
            ("SCMP_ACT_ERRNO", None, &three, X86_64, x32 + 438, ENOSYS),
            ("SCMP_ACT_ERRNO", None, &three, X86_64, x32 + 436, EPERM),
            ("SCMP_ACT_ERRNO", None, &three, X86_64, x32 + 437, ALLOW),
            ("SCMP_ACT_ERRNO", None, &three, X86_64, 438, ENOSYS),
            ("SCMP_ACT_ERRNO", None, &three, X86, 438, ENOSYS),
            ("SCMP_ACT_ERRNO", None, &two, 0xc000_00b7, 438, KILL),
            ("SCMP_ACT_ERRNO", Some(71), &two, X86_64, 436, 0x0005_0047),
            ("SCMP_ACT_ERRNO", Some(71), &two, X86_64, 438, ENOSYS),
            (
                "SCMP_ACT_KILL_PROCESS",
                None,
                &two,
                X86_64,
                436,
                0x8000_0000,
            ),
            ("SCMP_ACT_KILL_PROCESS", None, &two, X86_64, 438, ENOSYS),
            ("SCMP_ACT_ALLOW", None, &two, X86_64, 438, ALLOW),
            ("SCMP_ACT_LOG", None, &two, X86_64, 438, 0x7ffc_0000),
        ] {
            let program = program(default, errno, architectures);
            let result = run(&program.bpf, arch, number, [0; 6]);
            assert_eq!(
                result, expected,
                "{default} {architectures:?} {arch:#x} {number}"
            );
        }
    }

    #[test]
    fn a_profile_that_answers_enosys_anyway_is_left_as_it_is() {
        let (with, without) = (
            program("SCMP_ACT_ERRNO", Some(1), &[]),
            program("SCMP_ACT_ERRNO", Some(libc::ENOSYS as u32), &[]),
        );
        assert!(without.instructions() < with.instructions());
        assert_eq!(run(&without.bpf, X86_64, 436, [0; 6]), ENOSYS);
    }
}
