//! Turns `linux.seccomp` into a program, with libseccomp.
//! It must not load anything: the program is only exported.

use std::fs::File;
use std::io::{Read, Seek};
use std::str::FromStr;

use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use nix::sys::memfd::{MemFdCreateFlag, memfd_create};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg,
    LinuxSeccompFilterFlag as Flag, LinuxSeccompOperator as Operator, LinuxSyscall,
};

use super::{Program, SeccompError, enosys};
use crate::process::Reason;
use crate::sys::seccomp::INSTRUCTION;

/// System calls take six arguments, syscall(2).
const ARGUMENTS: usize = 6;
/// `BPF_MAXINSNS` of linux/bpf_common.h.
const MAX_INSTRUCTIONS: usize = 4096;
/// From so many rules on, a binary tree is worth its longer program. With none at all libseccomp
/// 2.5.4 builds a wrong one.
const TREE_FROM: usize = 8;

/// See [`Program::compile`].
pub fn compile(seccomp: &LinuxSeccomp) -> Result<Program, SeccompError> {
    let rules = seccomp.syscalls().as_deref().unwrap_or_default();
    refuse_bad_notify(seccomp, rules)?;
    let default = action(
        seccomp.default_action(),
        seccomp.default_errno_ret(),
        "linux.seccomp.defaultErrnoRet",
    )?;
    let mut filter = ScmpFilterContext::new(default).map_err(library("create a filter"))?;
    let architectures = architectures(seccomp)?;
    for architecture in &architectures {
        let step = format!("add architecture {architecture:?}");
        filter.add_arch(*architecture).map_err(library(step))?;
    }
    if rules.len() > TREE_FROM {
        let level = filter.set_ctl_optimize(2);
        level.map_err(library("ask for a binary tree"))?;
    }
    for rule in rules {
        add(&mut filter, rule, default)?;
    }
    let mut bpf = enosys::prologue(seccomp, &architectures);
    bpf.extend(export(&filter)?);
    let instructions = bpf.len() / INSTRUCTION;
    if instructions > MAX_INSTRUCTIONS {
        return Err(SeccompError::TooLong(instructions));
    }
    Ok(Program {
        bpf,
        flags: flags(seccomp),
        notify: rules
            .iter()
            .any(|rule| rule.action() == Action::ScmpActNotify),
    })
}

/// The architectures of the profile, the native one first and each once.
fn architectures(seccomp: &LinuxSeccomp) -> Result<Vec<ScmpArch>, SeccompError> {
    let mut all = vec![ScmpArch::native()];
    for architecture in seccomp.architectures().iter().flatten() {
        let found = match architecture {
            Arch::ScmpArchNative => ScmpArch::native(),
            other => {
                let name = spelling(other);
                ScmpArch::from_str(&name).map_err(library(format!("use architecture `{name}`")))?
            }
        };
        if !all.contains(&found) {
            all.push(found);
        }
    }
    Ok(all)
}

/// How the OCI spec spells a word of an enumeration.
fn spelling(word: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(word).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// config-linux.md: an errno where the action has none MUST be an error.
fn action(action: Action, errno: Option<u32>, place: &str) -> Result<ScmpAction, SeccompError> {
    let code = errno.unwrap_or(libc::EPERM as u32);
    let code = u16::try_from(code)
        .map_err(|_| SeccompError::Profile(format!("{place} is {code}, expected at most 65535")))?;
    let found = match action {
        Action::ScmpActErrno => return Ok(ScmpAction::Errno(code.into())),
        Action::ScmpActTrace => return Ok(ScmpAction::Trace(code)),
        Action::ScmpActKill | Action::ScmpActKillThread => ScmpAction::KillThread,
        Action::ScmpActKillProcess => ScmpAction::KillProcess,
        Action::ScmpActTrap => ScmpAction::Trap,
        Action::ScmpActNotify => ScmpAction::Notify,
        Action::ScmpActLog => ScmpAction::Log,
        Action::ScmpActAllow => ScmpAction::Allow,
    };
    match errno {
        None => Ok(found),
        Some(errno) => Err(SeccompError::Profile(format!(
            "{place} is {errno}, and `{}` takes none",
            spelling(&action)
        ))),
    }
}

/// The process could not even report to its agent, as in runc.
fn refuse_bad_notify(seccomp: &LinuxSeccomp, rules: &[LinuxSyscall]) -> Result<(), SeccompError> {
    let text = if seccomp.default_action() == Action::ScmpActNotify {
        "SCMP_ACT_NOTIFY cannot be used as default action"
    } else if rules.iter().any(|rule| {
        rule.action() == Action::ScmpActNotify && rule.names().iter().any(|name| name == "write")
    }) {
        "SCMP_ACT_NOTIFY cannot be used for the write syscall"
    } else {
        return Ok(());
    };
    Err(SeccompError::Profile(text.to_owned()))
}

fn add(
    filter: &mut ScmpFilterContext,
    rule: &LinuxSyscall,
    default: ScmpAction,
) -> Result<(), SeccompError> {
    let action = action(
        rule.action(),
        rule.errno_ret(),
        "linux.seccomp.syscalls.errnoRet",
    )?;
    // libseccomp refuses a rule that says what holds anyway.
    if action == default {
        return Ok(());
    }
    let alternatives = conditions(rule.args().as_deref().unwrap_or_default())?;
    for name in rule.names() {
        let Ok(syscall) = ScmpSyscall::from_name(name) else {
            tracing::debug!("unknown seccomp syscall `{name}` ignored");
            continue;
        };
        for comparators in &alternatives {
            let added = filter.add_rule_conditional(action, syscall, comparators);
            added.map_err(library(format!("add a rule for `{name}`")))?;
        }
    }
    Ok(())
}

/// The rules that the conditions make: one where all hold, or, when two speak of the same argument
/// (libseccomp can't join those), one for each, as in runc.
fn conditions(args: &[LinuxSeccompArg]) -> Result<Vec<Vec<ScmpArgCompare>>, SeccompError> {
    let all: Vec<_> = args.iter().map(comparator).collect::<Result<_, _>>()?;
    let twice = |index| args.iter().filter(|arg| arg.index() == index).count() > 1;
    Ok(match (0..ARGUMENTS).any(twice) {
        true => all.into_iter().map(|one| vec![one]).collect(),
        false => vec![all],
    })
}

fn comparator(arg: &LinuxSeccompArg) -> Result<ScmpArgCompare, SeccompError> {
    let index = arg.index();
    if index >= ARGUMENTS {
        let text = format!("linux.seccomp.syscalls.args.index is {index}, expected 0 to 5");
        return Err(SeccompError::Profile(text));
    }
    let (value, second) = (arg.value(), arg.value_two().unwrap_or(0));
    let (operator, datum) = match arg.op() {
        Operator::ScmpCmpNe => (ScmpCompareOp::NotEqual, value),
        Operator::ScmpCmpLt => (ScmpCompareOp::Less, value),
        Operator::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, value),
        Operator::ScmpCmpEq => (ScmpCompareOp::Equal, value),
        Operator::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, value),
        Operator::ScmpCmpGt => (ScmpCompareOp::Greater, value),
        // `value` masks, `valueTwo` is what must be left.
        Operator::ScmpCmpMaskedEq => (ScmpCompareOp::MaskedEqual(value), second),
    };
    Ok(ScmpArgCompare::new(index as u32, operator, datum))
}

/// Without a list runc and crun allow speculation; an empty list means no flag at all.
fn flags(seccomp: &LinuxSeccomp) -> u32 {
    let Some(flags) = seccomp.flags() else {
        return libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW as u32;
    };
    let bit = |flag: &Flag| match flag {
        Flag::SeccompFilterFlagLog => libc::SECCOMP_FILTER_FLAG_LOG,
        Flag::SeccompFilterFlagTsync => libc::SECCOMP_FILTER_FLAG_TSYNC,
        Flag::SeccompFilterFlagSpecAllow => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
        Flag::SeccompFilterFlagWaitKillableRecv => libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
    };
    flags.iter().fold(0, |all, flag| all | bit(flag) as u32)
}

/// libseccomp 2.5 exports to a descriptor only.
fn export(filter: &ScmpFilterContext) -> Result<Vec<u8>, SeccompError> {
    let failed = |errno| SeccompError::Export(Reason(errno));
    let memory = memfd_create(c"seccomp", MemFdCreateFlag::MFD_CLOEXEC).map_err(failed)?;
    let mut file = File::from(memory);
    filter
        .export_bpf(&file)
        .map_err(library("export the program"))?;
    let mut bpf = Vec::new();
    let read = file.rewind().and_then(|()| file.read_to_end(&mut bpf));
    read.map_err(|error| SeccompError::Export(error.into()))?;
    Ok(bpf)
}

fn library(
    step: impl Into<String>,
) -> impl FnOnce(libseccomp::error::SeccompError) -> SeccompError {
    let step = step.into();
    move |source| SeccompError::Library { step, source }
}
