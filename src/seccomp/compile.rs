//! OCI filter → libseccomp → BPF. Pure but for the library's own table of system calls.

use std::io::{Read, Seek};
use std::str::FromStr;

use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use nix::libc;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};

use super::SeccompError;

/// Highest errno that a filter can return (seccomp(2)).
const MAX_ERRNO: u32 = 4095;

/// Compiles to the bytes of the instructions.
pub fn compile(filter: &LinuxSeccomp) -> Result<Vec<u8>, SeccompError> {
    let default = action(filter.default_action(), filter.default_errno_ret(), "defaultAction")?;
    let mut context = ScmpFilterContext::new(default).map_err(failed("start filter"))?;
    for arch in filter.architectures().iter().flatten() {
        context
            .add_arch(architecture(*arch)?)
            .map_err(failed(format!("architectures: add `{arch:?}`")))?;
    }
    for (index, rule) in filter.syscalls().iter().flatten().enumerate() {
        add(&mut context, default, index, rule)?;
    }
    let mut bpf = export(&context)?;
    if matches!(default, ScmpAction::Errno(code) if code != libc::ENOSYS) {
        bpf = unknown_as_enosys(bpf, filter);
    }
    Ok(bpf)
}

fn failed(
    what: impl Into<String>,
) -> impl FnOnce(libseccomp::error::SeccompError) -> SeccompError {
    let what = what.into();
    move |source| SeccompError::Compile { what, source }
}

fn action(
    action: LinuxSeccompAction,
    errno: Option<u32>,
    place: &str,
) -> Result<ScmpAction, SeccompError> {
    if errno.is_some_and(|e| e > MAX_ERRNO) {
        let text = format!("{place}: errnoRet is over {MAX_ERRNO}");
        return Err(SeccompError::Invalid(text));
    }
    let code = errno.unwrap_or(libc::EPERM as u32);
    Ok(match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => {
            ScmpAction::KillThread
        }
        LinuxSeccompAction::ScmpActKillProcess => ScmpAction::KillProcess,
        LinuxSeccompAction::ScmpActTrap => ScmpAction::Trap,
        LinuxSeccompAction::ScmpActErrno => ScmpAction::Errno(code as i32),
        LinuxSeccompAction::ScmpActNotify => ScmpAction::Notify,
        LinuxSeccompAction::ScmpActTrace => ScmpAction::Trace(code as u16),
        LinuxSeccompAction::ScmpActLog => ScmpAction::Log,
        LinuxSeccompAction::ScmpActAllow => ScmpAction::Allow,
    })
}

fn architecture(arch: Arch) -> Result<ScmpArch, SeccompError> {
    let name = serde_json::to_value(arch).ok();
    name.as_ref()
        .and_then(|n| n.as_str())
        .and_then(|name| ScmpArch::from_str(name).ok())
        .ok_or_else(|| SeccompError::Invalid(format!("architectures: `{arch:?}` is unknown")))
}

fn add(
    context: &mut ScmpFilterContext,
    default: ScmpAction,
    index: usize,
    rule: &LinuxSyscall,
) -> Result<(), SeccompError> {
    let place = format!("syscalls[{index}]");
    let action = action(rule.action(), rule.errno_ret(), &place)?;
    if action == default {
        return Ok(());
    }
    for name in rule.names() {
        // A profile names calls that this kernel's or library's age doesn't know, as with runc.
        let Ok(syscall) = ScmpSyscall::from_name(name) else {
            tracing::debug!("linux.seccomp: skip unknown system call `{name}`");
            continue;
        };
        for comparisons in alternatives(rule.args().as_deref().unwrap_or_default())? {
            context
                .add_rule_conditional(action, syscall, &comparisons)
                .map_err(failed(format!("{place}: add rule for `{name}`")))?;
        }
    }
    Ok(())
}

/// libseccomp wants all comparisons of a rule on different arguments. Where a profile has two on
/// one argument, they are alternatives, as runc and Docker read them.
fn alternatives(args: &[LinuxSeccompArg]) -> Result<Vec<Vec<ScmpArgCompare>>, SeccompError> {
    let repeated = (0..6).any(|i| args.iter().filter(|arg| arg.index() == i).count() > 1);
    let compared: Vec<ScmpArgCompare> = args.iter().map(comparison).collect::<Result<_, _>>()?;
    Ok(if repeated {
        compared.into_iter().map(|c| vec![c]).collect()
    } else {
        vec![compared]
    })
}

fn comparison(arg: &LinuxSeccompArg) -> Result<ScmpArgCompare, SeccompError> {
    let second = arg.value_two().unwrap_or(0);
    let (operator, datum) = match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => (ScmpCompareOp::NotEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpLt => (ScmpCompareOp::Less, arg.value()),
        LinuxSeccompOperator::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpEq => (ScmpCompareOp::Equal, arg.value()),
        LinuxSeccompOperator::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpGt => (ScmpCompareOp::Greater, arg.value()),
        // The mask is `value`, what is compared with is `valueTwo` (config-linux.md, "Seccomp").
        LinuxSeccompOperator::ScmpCmpMaskedEq => (ScmpCompareOp::MaskedEqual(arg.value()), second),
    };
    let index = u32::try_from(arg.index()).unwrap_or(u32::MAX);
    if index > 5 {
        let text = format!("argument index is {index}, expected 0 to 5");
        return Err(SeccompError::Invalid(text));
    }
    Ok(ScmpArgCompare::new(index, operator, datum))
}

/// Debian 12's libseccomp can write a program only to a descriptor.
fn export(context: &ScmpFilterContext) -> Result<Vec<u8>, SeccompError> {
    let memory = nix::sys::memfd::memfd_create(
        c"filter",
        nix::sys::memfd::MemFdCreateFlag::MFD_CLOEXEC,
    )
    .map_err(|errno| SeccompError::Export(errno.into()))?;
    context.export_bpf(&memory).map_err(failed("export program"))?;
    let mut file = std::fs::File::from(memory);
    let mut bpf = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bpf))
        .map_err(SeccompError::Export)?;
    Ok(bpf)
}

/// A profile that answers everything it doesn't name with an error code would tell a C library
/// "not permitted" for calls that are younger than the profile, and the library would not fall back
/// to the older call. As in runc, calls beyond the highest number that the profile names are
/// answered `ENOSYS`: a prologue in front of the program, for the native architecture.
fn unknown_as_enosys(bpf: Vec<u8>, filter: &LinuxSeccomp) -> Vec<u8> {
    let native = native_audit_arch();
    let highest = filter
        .syscalls()
        .iter()
        .flatten()
        .flat_map(|rule| rule.names())
        .filter_map(|name| ScmpSyscall::from_name(name).ok())
        .map(|syscall| syscall.as_raw_syscall())
        .filter(|number| *number >= 0)
        .max();
    let (Some(arch), Some(highest)) = (native, highest) else {
        return bpf;
    };
    const LD_ABS: u16 = 0x20;
    const JEQ: u16 = 0x15;
    const JGE: u16 = 0x35;
    const JGT: u16 = 0x25;
    const RET: u16 = 0x06;
    // x32 numbers have this bit; they are another architecture's business.
    const X32: u32 = 0x4000_0000;
    let errno = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    // offsets in struct seccomp_data: 0 nr, 4 arch
    let prologue = [
        (LD_ABS, 0, 0, 4),
        (JEQ, 0, 4, arch),
        (LD_ABS, 0, 0, 0),
        (JGE, 2, 0, X32),
        (JGT, 0, 1, highest as u32),
        (RET, 0, 0, errno),
    ];
    let mut out = Vec::with_capacity(bpf.len() + prologue.len() * 8);
    for (code, jt, jf, k) in prologue {
        out.extend_from_slice(&code.to_ne_bytes());
        out.extend_from_slice(&[jt, jf]);
        out.extend_from_slice(&k.to_ne_bytes());
    }
    out.extend(bpf);
    out
}

fn native_audit_arch() -> Option<u32> {
    match std::env::consts::ARCH {
        "x86_64" => Some(0xc000_003e),
        "aarch64" => Some(0xc000_00b7),
        "riscv64" => Some(0xc000_00f3),
        _ => None,
    }
}
