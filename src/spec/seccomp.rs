//! `linux.seccomp`: the filter for system calls.
//! It must not know libseccomp: names of system calls that it lacks are no error here.

use oci_spec::runtime::{Linux, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSyscall};
use serde_json::Value;

use super::report::Report;
use super::shape::{Shape, TEXTS, U32, U64, blank, opt, req};
use super::warned::{SECCOMP_EMPTY, SECCOMP_NAMES};

/// The recognised names (config-linux.md, "Seccomp"), sorted.
pub const ACTIONS: &[&str] = &[
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];
pub const OPERATORS: &[&str] = &[
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
];
pub const ARCHS: &[&str] = &[
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
];
pub const FLAGS: &[&str] = &[
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

const ACTION: Shape = Shape::OneOf {
    names: ACTIONS,
    what: "an action",
};

pub const SHAPE: Shape = Shape::Object(&[
    blank("defaultAction", &ACTION),
    opt("defaultErrnoRet", &U32),
    opt(
        "architectures",
        &Shape::List(&Shape::OneOf {
            names: ARCHS,
            what: "an architecture such as SCMP_ARCH_X86_64",
        }),
    ),
    opt(
        "flags",
        &Shape::List(&Shape::OneOf {
            names: FLAGS,
            what: "a filter flag",
        }),
    ),
    blank("listenerPath", &Shape::AbsolutePath),
    blank("listenerMetadata", &Shape::Text),
    opt("syscalls", &Shape::List(&SYSCALL)),
]);

const SYSCALL: Shape = Shape::Object(&[
    opt("names", &TEXTS),
    req("action", &ACTION),
    opt("errnoRet", &U32),
    opt("args", &Shape::List(&ARG)),
]);

const ARG: Shape = Shape::Object(&[
    req(
        "index",
        &Shape::Int {
            min: 0,
            max: 5,
            what: "the index of an argument from 0 to 5",
        },
    ),
    req("value", &U64),
    opt("valueTwo", &U64),
    req(
        "op",
        &Shape::OneOf {
            names: OPERATORS,
            what: "an operator",
        },
    ),
]);

/// Takes out what filters nothing.
pub fn edit(linux: &mut Value, report: &mut Report) {
    let Some(seccomp) = linux.get_mut("seccomp") else {
        return;
    };
    let rules = seccomp.get("syscalls").and_then(Value::as_array);
    let rules = rules.map_or(0, Vec::len);
    match (seccomp.get("defaultAction"), rules) {
        (Some(_), _) => drop_nameless(seccomp, report),
        (None, 0) => {
            report.warn(&SECCOMP_EMPTY, "linux.seccomp", &seccomp.to_string());
            linux
                .as_object_mut()
                .map(|linux| linux.shift_remove("seccomp"));
        }
        (None, _) => report.missing("linux.seccomp.defaultAction", "an action"),
    }
}

fn drop_nameless(seccomp: &mut Value, report: &mut Report) {
    let Some(rules) = seccomp.get_mut("syscalls").and_then(Value::as_array_mut) else {
        return;
    };
    let mut index = 0;
    rules.retain(|rule| {
        let names = rule.get("names").and_then(Value::as_array);
        let named = names.is_some_and(|names| !names.is_empty());
        if !named {
            let path = format!("linux.seccomp.syscalls[{index}].names");
            report.warn(&SECCOMP_NAMES, &path, "[]");
        }
        index += 1;
        named
    });
}

/// config-linux.md, "Seccomp".
pub fn check(linux: &Linux, report: &mut Report) {
    let Some(seccomp) = linux.seccomp() else {
        return;
    };
    check_errno(
        "linux.seccomp.defaultErrnoRet",
        seccomp.default_action(),
        seccomp.default_errno_ret(),
        report,
    );
    let rules = seccomp.syscalls().iter().flatten().enumerate();
    for (index, rule) in rules.clone() {
        let path = format!("linux.seccomp.syscalls[{index}]");
        let errno = format!("{path}.errnoRet");
        check_errno(&errno, rule.action(), rule.errno_ret(), report);
        if rule.names().iter().any(String::is_empty) {
            report.bad(&format!("{path}.names"), "", "names of system calls");
        }
    }
    check_notify(seccomp, report);
}

/// "When the action doesn't support an errno, the runtime MUST print and error and fail." The
/// kernel keeps 16 bits of it, and 4095 is its largest errno.
fn check_errno(path: &str, action: Action, errno: Option<u32>, report: &mut Report) {
    let Some(errno) = errno else { return };
    let (fits, expected) = match action {
        Action::ScmpActErrno => (errno <= 4095, "an errno up to 4095".to_owned()),
        Action::ScmpActTrace => (errno <= 65535, "a number up to 65535".to_owned()),
        other => (false, format!("no errno with {other}")),
    };
    if !fits {
        report.bad(path, &errno.to_string(), &expected);
    }
}

/// The agent that answers notifications must be reachable: the filter's descriptor is sent to it
/// with sendmsg(2) and its name goes through write(2) after the filter is on.
fn check_notify(seccomp: &LinuxSeccomp, report: &mut Report) {
    let notifies = |rule: &LinuxSyscall| rule.action() == Action::ScmpActNotify;
    let rules = seccomp.syscalls().iter().flatten();
    if seccomp.default_action() == Action::ScmpActNotify {
        let path = "linux.seccomp.defaultAction";
        report.bad(path, "SCMP_ACT_NOTIFY", "any other action");
    }
    for rule in rules.clone().filter(|rule| notifies(rule)) {
        if rule.names().iter().any(|name| name == "write") {
            let text = "SCMP_ACT_NOTIFY for `write`, which the runtime itself needs";
            report.rule("linux.seccomp.syscalls", text);
        }
    }
    if rules.clone().any(notifies) && seccomp.listener_path().is_none() {
        let expected = "the socket of the agent for SCMP_ACT_NOTIFY";
        report.missing("linux.seccomp.listenerPath", expected);
    }
    if seccomp.listener_metadata().is_some() && seccomp.listener_path().is_none() {
        let text = "metadata, expected a listenerPath";
        report.rule("linux.seccomp.listenerMetadata", text);
    }
}
