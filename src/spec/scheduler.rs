//! `process.scheduler`, `process.ioPriority` and `process.execCPUAffinity`.
//! It must not look what the caller may set.

use oci_spec::runtime::{LinuxSchedulerPolicy as Policy, Process, Scheduler};
use serde_json::Value;

use super::cpu_list;
use super::report::{Report, show_text};
use super::shape::{I32, Shape, U64, blank, opt, req};

const POLICIES: &[&str] = &[
    "SCHED_OTHER",
    "SCHED_FIFO",
    "SCHED_RR",
    "SCHED_BATCH",
    "SCHED_ISO",
    "SCHED_IDLE",
    "SCHED_DEADLINE",
];

const FLAGS: &[&str] = &[
    "SCHED_FLAG_RESET_ON_FORK",
    "SCHED_FLAG_RECLAIM",
    "SCHED_FLAG_DL_OVERRUN",
    "SCHED_FLAG_KEEP_POLICY",
    "SCHED_FLAG_KEEP_PARAMS",
    "SCHED_FLAG_UTIL_CLAMP_MIN",
    "SCHED_FLAG_UTIL_CLAMP_MAX",
];

/// Flags that the typed form spells otherwise than the spec.
const RESPELT: &[(&str, &str)] = &[
    ("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"),
    ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
];

pub const SHAPE: Shape = Shape::Object(&[
    req(
        "policy",
        &Shape::OneOf {
            names: POLICIES,
            what: "a scheduling policy",
        },
    ),
    opt(
        "nice",
        &Shape::Int {
            min: -20,
            max: 19,
            what: "a number from -20 to 19",
        },
    ),
    opt("priority", &I32),
    opt(
        "flags",
        &Shape::List(&Shape::OneOf {
            names: FLAGS,
            what: "a scheduling flag",
        }),
    ),
    opt("runtime", &U64),
    opt("deadline", &U64),
    opt("period", &U64),
]);

/// ioprio_set(2).
pub const IO_PRIORITY: Shape = Shape::Object(&[
    req(
        "class",
        &Shape::OneOf {
            names: &["IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"],
            what: "a class",
        },
    ),
    opt(
        "priority",
        &Shape::Int {
            min: 0,
            max: 7,
            what: "a number from 0 to 7",
        },
    ),
]);

pub const EXEC_CPU_AFFINITY: Shape =
    Shape::Object(&[blank("initial", &Shape::Text), blank("final", &Shape::Text)]);

/// Spells the flags as the typed form wants them, and checks the CPU lists, of which it would
/// not tell the path.
pub fn edit(process: &mut Value, report: &mut Report) {
    let flags = process.pointer_mut("/scheduler/flags");
    for flag in flags.and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some((_, typed)) = RESPELT.iter().find(|(name, _)| flag == name) {
            *flag = Value::from(*typed);
        }
    }
    for name in ["initial", "final"] {
        let text = process.pointer(&format!("/execCPUAffinity/{name}"));
        match text.and_then(Value::as_str) {
            Some(text) if !cpu_list::plain(text) => {
                let path = format!("process.execCPUAffinity.{name}");
                report.bad(&path, &show_text(text), "a list of CPUs such as `0-1,3`");
            }
            _ => {}
        }
    }
}

/// sched_setattr(2): which parameters belong to which policy.
pub fn check(process: &Process, report: &mut Report) {
    let Some(scheduler) = process.scheduler() else {
        return;
    };
    check_priority(scheduler, report);
    check_deadline(scheduler, report);
}

fn check_priority(scheduler: &Scheduler, report: &mut Report) {
    let path = "process.scheduler.priority";
    let priority = scheduler.priority().unwrap_or(0);
    let (fits, expected) = match scheduler.policy() {
        Policy::SchedFifo | Policy::SchedRr => {
            ((1..=99).contains(&priority), "a number from 1 to 99")
        }
        _ => (priority == 0, "a priority only with SCHED_FIFO or SCHED_RR"),
    };
    if !fits {
        report.bad(path, &priority.to_string(), expected);
    }
}

fn check_deadline(scheduler: &Scheduler, report: &mut Report) {
    let times = [
        ("runtime", scheduler.runtime()),
        ("deadline", scheduler.deadline()),
        ("period", scheduler.period()),
    ];
    let [runtime, deadline, period] = times.map(|(_, time)| time.unwrap_or(0));
    if *scheduler.policy() != Policy::SchedDeadline {
        for (name, time) in times.into_iter().filter(|(_, time)| time.unwrap_or(0) != 0) {
            let path = format!("process.scheduler.{name}");
            let found = time.unwrap_or(0).to_string();
            report.bad(&path, &found, "a time only with SCHED_DEADLINE");
        }
        return;
    }
    // A period of 0 stands for the deadline (sched(7), "SCHED_DEADLINE").
    let period = if period == 0 { deadline } else { period };
    // 1024 ns is the resolution: the kernel refuses a shorter run time.
    if runtime < 1024 || runtime > deadline || deadline > period {
        let found = format!("{runtime}, {deadline}, {period}");
        let expected = "1024 ns <= runtime <= deadline <= period";
        report.bad("process.scheduler", &found, expected);
    }
}
