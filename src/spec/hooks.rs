//! `hooks`: programs that run beside the container.
//! It must not look whether they are there.

use oci_spec::runtime::{Hook, Spec};

use super::report::Report;
use super::shape::{I64, Shape, TEXTS, opt, req};

/// The points in a container's life that have hooks, in their order (config.md, "POSIX-platform
/// Hooks").
pub const NAMES: &[&str] = &[
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

pub const SHAPE: Shape = Shape::Object(&[
    opt("prestart", &LIST),
    opt("createRuntime", &LIST),
    opt("createContainer", &LIST),
    opt("startContainer", &LIST),
    opt("poststart", &LIST),
    opt("poststop", &LIST),
]);

const LIST: Shape = Shape::List(&Shape::Object(&[
    req("path", &Shape::AbsolutePath),
    opt("args", &TEXTS),
    opt("env", &TEXTS),
    opt("timeout", &I64),
]));

/// "timeout ... if set, MUST be greater than zero", in seconds.
#[allow(deprecated)] // prestart is deprecated and still used
pub fn check(spec: &Spec, report: &mut Report) {
    let Some(hooks) = spec.hooks() else { return };
    let lists = [
        hooks.prestart(),
        hooks.create_runtime(),
        hooks.create_container(),
        hooks.start_container(),
        hooks.poststart(),
        hooks.poststop(),
    ];
    for (name, list) in NAMES.iter().zip(lists) {
        for (index, hook) in list.iter().flatten().enumerate() {
            check_timeout(&format!("hooks.{name}[{index}]"), hook, report);
        }
    }
}

fn check_timeout(path: &str, hook: &Hook, report: &mut Report) {
    if let Some(timeout @ ..=0) = hook.timeout() {
        let expected = "a number of seconds greater than 0";
        report.bad(&format!("{path}.timeout"), &timeout.to_string(), expected);
    }
}
