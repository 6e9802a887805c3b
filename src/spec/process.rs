//! `process`: what is run, as whom and where.
//! It must not look for the program: that needs the container's root.

use oci_spec::runtime::{Process, Spec};
use serde_json::{Map, Value, json};

use super::report::{Report, show_text};
use super::shape::{Field, ID, Shape, TEXTS, U64, opt, req};
use super::{SpecError, capabilities, labels, rlimits, scheduler};

/// config.md, "Process".
pub const SHAPE: Shape = Shape::Object(&[
    opt("terminal", &Shape::Bool),
    opt("consoleSize", &CONSOLE_SIZE),
    opt("user", &USER),
    req("args", &TEXTS),
    opt("env", &TEXTS),
    req("cwd", &Shape::AbsolutePath),
    opt("capabilities", &capabilities::SHAPE),
    opt("rlimits", &rlimits::SHAPE),
    opt("noNewPrivileges", &Shape::Bool),
    OOM_SCORE_ADJ,
    labels::APPARMOR_PROFILE,
    labels::SELINUX_LABEL,
    opt("scheduler", &scheduler::SHAPE),
    opt("ioPriority", &scheduler::IO_PRIORITY),
    opt("execCPUAffinity", &scheduler::EXEC_CPU_AFFINITY),
]);

const CONSOLE_SIZE: Shape = Shape::Object(&[opt("height", &U64), opt("width", &U64)]);

const USER: Shape = Shape::Object(&[
    opt("uid", &ID),
    opt("gid", &ID),
    opt(
        "umask",
        &Shape::Int {
            min: 0,
            max: 0o777,
            what: "file mode bits from 0 to 511 (0777)",
        },
    ),
    opt("additionalGids", &Shape::List(&ID)),
]);

const OOM_SCORE_ADJ: Field = opt(
    "oomScoreAdj",
    &Shape::Int {
        min: -1000,
        max: 1000,
        what: "a number from -1000 to 1000",
    },
);

/// Members that the process of `exec` has from the container's own when its document lacks them.
/// Where runc would go without (`user`, `cwd`, `env`), the container's are never more powerful.
const INHERITED: [&str; 8] = [
    "user",
    "cwd",
    "env",
    "capabilities",
    "rlimits",
    "apparmorProfile",
    "selinuxLabel",
    "execCPUAffinity",
];

/// Completes a `process.json` from the process of the container. `noNewPrivileges` stays out: Go
/// leaves `false` away, so its absence says something.
pub fn inherit(raw: &mut Value, base: &Spec) -> Result<(), SpecError> {
    let Some(members) = raw.as_object_mut() else {
        return Ok(());
    };
    let base = serde_json::to_value(base.process())
        .map_err(|source| SpecError::Typed("process", source))?;
    for name in INHERITED {
        if members.get(name).is_none_or(is_nothing) {
            match base.get(name) {
                Some(value) => members.insert(name.to_owned(), value.clone()),
                None => members.shift_remove(name),
            };
        }
    }
    Ok(())
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// The typed form wants a user, and takes no `noNewPrivileges: false` for absence.
pub fn edit(process: &mut Value) {
    let Some(members) = process.as_object_mut() else {
        return;
    };
    members.entry("user").or_insert_with(|| json!(Map::new()));
    if members.get("noNewPrivileges") == Some(&Value::Bool(false)) {
        members.shift_remove("noNewPrivileges");
    }
}

/// Most supplementary groups (credentials(7), `NGROUPS_MAX`).
const NGROUPS_MAX: usize = 65536;

/// config.md, "Process" and "POSIX process".
pub fn check(process: &Process, report: &mut Report) {
    check_args(process, report);
    check_env(process, report);
    check_console(process, report);
    let groups = process.user().additional_gids().iter().flatten().count();
    if groups > NGROUPS_MAX {
        let path = "process.user.additionalGids";
        report.bad(path, &groups.to_string(), "at most 65536 groups");
    }
}

/// An empty name is answered with what every caller reads as "no such command" (exit status 127):
/// that is what runc's look-up makes of it.
fn check_args(process: &Process, report: &mut Report) {
    match process.args().iter().flatten().next().map(String::as_str) {
        None => report.rule(
            "process.args",
            "empty, expected a program and its arguments",
        ),
        Some("") => {
            let text = "exec: \"\": executable file not found in $PATH";
            report.rule("process.args[0]", text);
        }
        Some(_) => {}
    }
}

/// `environ`, of which environ(7) says that each is `NAME=value`.
fn check_env(process: &Process, report: &mut Report) {
    for (index, pair) in process.env().iter().flatten().enumerate() {
        if pair.find('=').is_none_or(|at| at == 0) {
            let path = format!("process.env[{index}]");
            report.bad(&path, &show_text(pair), "NAME=value");
        }
    }
}

/// "Runtimes MUST ignore consoleSize if terminal is false or unset"; TIOCSWINSZ has 16 bits.
fn check_console(process: &Process, report: &mut Report) {
    let size = process.console_size();
    let Some(size) = size.filter(|_| process.terminal() == Some(true)) else {
        return;
    };
    for (name, length) in [("height", size.height()), ("width", size.width())] {
        if length > u64::from(u16::MAX) {
            let path = format!("process.consoleSize.{name}");
            let expected = "a number of characters up to 65535";
            report.bad(&path, &length.to_string(), expected);
        }
    }
}
