//! `process.rlimits`: resource limits of the process.
//! It must not look what the caller may raise.

use std::collections::HashSet;

use oci_spec::runtime::Process;

use super::report::Report;
use super::shape::{Shape, U64, opt, req};

/// The known names (getrlimit(2)).
pub const TYPES: &[&str] = &[
    "RLIMIT_AS",
    "RLIMIT_CORE",
    "RLIMIT_CPU",
    "RLIMIT_DATA",
    "RLIMIT_FSIZE",
    "RLIMIT_LOCKS",
    "RLIMIT_MEMLOCK",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_NOFILE",
    "RLIMIT_NPROC",
    "RLIMIT_RSS",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
    "RLIMIT_SIGPENDING",
    "RLIMIT_STACK",
];

pub const SHAPE: Shape = Shape::List(&Shape::Object(&[
    req(
        "type",
        &Shape::OneOf {
            names: TYPES,
            what: "the name of a limit such as RLIMIT_NOFILE",
        },
    ),
    opt("soft", &U64),
    opt("hard", &U64),
]));

/// config.md, "POSIX process": each type once; setrlimit(2): the hard limit is the ceiling.
pub fn check(process: &Process, report: &mut Report) {
    let mut seen = HashSet::new();
    for (index, limit) in process.rlimits().iter().flatten().enumerate() {
        let path = format!("process.rlimits[{index}]");
        let name = limit.typ().to_string();
        if limit.soft() > limit.hard() {
            let expected = format!("at most the hard limit `{}`", limit.hard());
            report.bad(
                &format!("{path}.soft"),
                &limit.soft().to_string(),
                &expected,
            );
        }
        if seen.contains(&name) {
            report.bad(&format!("{path}.type"), &name, "each type once");
        }
        seen.insert(name);
    }
}
