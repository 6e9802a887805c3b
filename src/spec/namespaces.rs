//! `linux.namespaces`: which namespaces are new, joined or the caller's own.
//! It must not open any.

use std::collections::HashSet;

use oci_spec::runtime::{Linux, LinuxNamespace, LinuxNamespaceType};

use super::report::Report;
use super::shape::{Shape, blank, req};

/// The recognised types (config-linux.md, "Namespaces"), sorted.
pub const TYPES: &[&str] = &[
    "cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts",
];

pub const SHAPE: Shape = Shape::Object(&[
    req(
        "type",
        &Shape::OneOf {
            names: TYPES,
            what: "a namespace type",
        },
    ),
    blank("path", &Shape::AbsolutePath),
]);

/// "If a namespaces field contains duplicated namespaces with same type, the runtime MUST generate
/// an error."
pub fn check(linux: &Linux, report: &mut Report) {
    let mut seen = HashSet::new();
    for (index, namespace) in linux.namespaces().iter().flatten().enumerate() {
        if !seen.insert(namespace.typ()) {
            let name = oci_name(namespace.typ());
            let path = format!("linux.namespaces[{index}].type");
            report.bad(&path, name, "each type once");
        }
    }
}

/// Whether the container has a namespace of this type apart from the runtime's own, new or joined.
pub fn has(linux: Option<&Linux>, typ: LinuxNamespaceType) -> bool {
    linux.is_some_and(|linux| find(linux, typ).is_some())
}

/// Whether the container gets a new namespace of this type.
pub fn has_new(linux: &Linux, typ: LinuxNamespaceType) -> bool {
    find(linux, typ).is_some_and(|namespace| namespace.path().is_none())
}

fn find(linux: &Linux, typ: LinuxNamespaceType) -> Option<&LinuxNamespace> {
    let mut all = linux.namespaces().iter().flatten();
    all.find(|namespace| namespace.typ() == typ)
}

/// The name in the document; the type's own `Display` is the one in `/proc/PID/ns`.
fn oci_name(typ: LinuxNamespaceType) -> &'static str {
    match typ {
        LinuxNamespaceType::Cgroup => "cgroup",
        LinuxNamespaceType::Ipc => "ipc",
        LinuxNamespaceType::Mount => "mount",
        LinuxNamespaceType::Network => "network",
        LinuxNamespaceType::Pid => "pid",
        LinuxNamespaceType::Time => "time",
        LinuxNamespaceType::User => "user",
        LinuxNamespaceType::Uts => "uts",
    }
}
