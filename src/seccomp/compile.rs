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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::machine::{X86, X86_64, run};
    use serde_json::{Value, json};

    const ALLOW: u32 = 0x7fff_0000;
    const ERRNO: u32 = 0x0005_0000;

    fn program(profile: Value) -> Result<Program, SeccompError> {
        compile(&serde_json::from_value(profile).unwrap())
    }

    fn rule(action: &str, extra: Value) -> Value {
        let mut rule = json!({"names": ["mkdir"], "action": action});
        rule.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
    }

    #[test]
    fn actions_return_what_the_kernel_expects() {
        for (action, extra, expected) in [
            ("SCMP_ACT_KILL", json!({}), 0),
            ("SCMP_ACT_KILL_THREAD", json!({}), 0),
            ("SCMP_ACT_KILL_PROCESS", json!({}), 0x8000_0000),
            ("SCMP_ACT_TRAP", json!({}), 0x0003_0000),
            ("SCMP_ACT_ERRNO", json!({}), ERRNO | 1),
            ("SCMP_ACT_ERRNO", json!({"errnoRet": 71}), ERRNO | 71),
            ("SCMP_ACT_NOTIFY", json!({}), 0x7fc0_0000),
            ("SCMP_ACT_TRACE", json!({}), 0x7ff0_0001),
            ("SCMP_ACT_TRACE", json!({"errnoRet": 7}), 0x7ff0_0007),
            ("SCMP_ACT_LOG", json!({}), 0x7ffc_0000),
            ("SCMP_ACT_ALLOW", json!({}), ALLOW),
        ] {
            let program = program(rule(action, extra)).unwrap();
            assert_eq!(run(&program.bpf, X86_64, 83, [0; 6]), expected, "{action}");
            assert_eq!(run(&program.bpf, X86_64, 0, [0; 6]), ALLOW);
            assert_eq!(program.notify, action == "SCMP_ACT_NOTIFY");
        }
    }

    #[test]
    fn operators_compare_as_the_spec_says() {
        for (operator, value, two, hits, misses) in [
            ("SCMP_CMP_NE", 5, 0, [4, 6], [5, 5]),
            ("SCMP_CMP_LT", 5, 0, [0, 4], [5, 6]),
            ("SCMP_CMP_LE", 5, 0, [4, 5], [6, 7]),
            ("SCMP_CMP_EQ", 5, 0, [5, 5], [4, 6]),
            ("SCMP_CMP_GE", 5, 0, [5, 6], [3, 4]),
            ("SCMP_CMP_GT", 5, 0, [6, 7], [4, 5]),
            ("SCMP_CMP_EQ", u64::MAX, 0, [u64::MAX; 2], [0, 1 << 32]),
            (
                "SCMP_CMP_MASKED_EQ",
                0b1100,
                0b0100,
                [0b0111, 0b0100],
                [0b1100, 0b1000],
            ),
        ] {
            let args = json!([{"index": 1, "value": value, "valueTwo": two, "op": operator}]);
            let program = program(rule("SCMP_ACT_ERRNO", json!({"args": args}))).unwrap();
            let result = |argument| run(&program.bpf, X86_64, 83, [9, argument, 9, 9, 9, 9]);
            for (argument, expected) in [(hits, ERRNO | 1), (misses, ALLOW)] {
                for argument in argument {
                    assert_eq!(result(argument), expected, "{operator} {value} {argument}");
                }
            }
        }
    }

    #[test]
    fn two_conditions_on_one_argument_are_alternatives() {
        let args = |second| {
            json!([
                {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
                {"index": second, "value": 2, "op": "SCMP_CMP_EQ"},
            ])
        };
        for (second, given, expected) in [
            (0, [1, 9], ERRNO | 1),
            (0, [2, 9], ERRNO | 1),
            (0, [3, 9], ALLOW),
            (1, [1, 2], ERRNO | 1),
            (1, [1, 9], ALLOW),
            (1, [9, 2], ALLOW),
        ] {
            let program = program(rule("SCMP_ACT_ERRNO", json!({"args": args(second)}))).unwrap();
            let arguments = [given[0], given[1], 0, 0, 0, 0];
            assert_eq!(
                run(&program.bpf, X86_64, 83, arguments),
                expected,
                "{second} {given:?}"
            );
        }
    }

    #[test]
    fn architectures_are_added_to_the_native_one() {
        let mut profile = rule("SCMP_ACT_ERRNO", json!({}));
        let alone = program(profile.clone()).unwrap();
        // mkdir is 39 for i386; an architecture that isn't in the filter kills.
        assert_eq!(run(&alone.bpf, X86, 39, [0; 6]), 0);
        profile["architectures"] = json!(["SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_NATIVE"]);
        let both = program(profile).unwrap();
        assert_eq!(run(&both.bpf, X86, 39, [0; 6]), ERRNO | 1);
        assert_eq!(run(&both.bpf, X86_64, 83, [0; 6]), ERRNO | 1);
    }

    #[test]
    fn every_architecture_of_the_spec_has_a_name_that_libseccomp_knows() {
        for architecture in [
            "NATIVE",
            "X86",
            "X86_64",
            "X32",
            "ARM",
            "AARCH64",
            "MIPS",
            "MIPS64",
            "MIPS64N32",
            "MIPSEL",
            "MIPSEL64",
            "MIPSEL64N32",
            "PPC",
            "PPC64",
            "PPC64LE",
            "S390",
            "S390X",
            "PARISC",
            "PARISC64",
            "RISCV64",
            "LOONGARCH64",
            "M68K",
            "SH",
            "SHEB",
        ] {
            let profile = json!({"defaultAction": "SCMP_ACT_ALLOW",
                "architectures": [format!("SCMP_ARCH_{architecture}")]});
            let profile = serde_json::from_value(profile).unwrap();
            assert!(architectures(&profile).is_ok(), "{architecture}");
        }
    }

    #[test]
    fn unknown_calls_and_rules_like_the_default_are_left_out() {
        let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["no_such_call", "mkdir"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["no_such_call", "rmdir"], "action": "SCMP_ACT_ERRNO"},
        ]});
        let program = program(profile).unwrap();
        assert_eq!(run(&program.bpf, X86_64, 83, [0; 6]), ALLOW);
        assert_eq!(run(&program.bpf, X86_64, 84, [0; 6]), ERRNO | 1);
    }

    #[test]
    fn profiles_that_mean_nothing_are_refused() {
        for (profile, text) in [
            (
                rule("SCMP_ACT_ALLOW", json!({"errnoRet": 1})),
                "linux.seccomp.syscalls.errnoRet is 1, and `SCMP_ACT_ALLOW` takes none",
            ),
            (
                json!({"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1}),
                "linux.seccomp.defaultErrnoRet is 1, and `SCMP_ACT_KILL` takes none",
            ),
            (
                rule("SCMP_ACT_ERRNO", json!({"errnoRet": 70_000})),
                "linux.seccomp.syscalls.errnoRet is 70000, expected at most 65535",
            ),
            (
                json!({"defaultAction": "SCMP_ACT_NOTIFY"}),
                "SCMP_ACT_NOTIFY cannot be used as default action",
            ),
            (
                json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["write"], "action": "SCMP_ACT_NOTIFY"}]}),
                "SCMP_ACT_NOTIFY cannot be used for the write syscall",
            ),
            (
                rule(
                    "SCMP_ACT_ERRNO",
                    json!({"args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]}),
                ),
                "linux.seccomp.syscalls.args.index is 6, expected 0 to 5",
            ),
            (
                json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_MIPS"]}),
                "add architecture Mips",
            ),
        ] {
            assert_eq!(program(profile).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn flags_are_the_kernel_s() {
        for (given, expected) in [
            (json!(null), 4),
            (json!([]), 0),
            (json!(["SECCOMP_FILTER_FLAG_LOG"]), 2),
            (
                json!([
                    "SECCOMP_FILTER_FLAG_TSYNC",
                    "SECCOMP_FILTER_FLAG_SPEC_ALLOW"
                ]),
                5,
            ),
            (json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]), 32),
        ] {
            let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": given});
            assert_eq!(program(profile).unwrap().flags, expected, "{given}");
        }
    }
}
