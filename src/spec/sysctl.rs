//! `linux.sysctl`: kernel parameters of the container's namespaces.
//! It must not write any.

use oci_spec::runtime::{Linux, LinuxNamespaceType as Ns};

use super::namespaces;
use super::report::{Report, show_text};
use super::shape::Shape;

pub const SHAPE: Shape = Shape::Map(&Shape::Text);

/// Parameters of the IPC namespace (ipc_namespaces(7)), beside `fs.mqueue.*`.
const IPC: &[&str] = &[
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Any parameter that no namespace of the container holds would change the host.
pub fn check(linux: &Linux, report: &mut Report) {
    let mut keys: Vec<_> = linux.sysctl().iter().flat_map(|map| map.keys()).collect();
    keys.sort_unstable();
    for key in keys {
        let path = format!("linux.sysctl[{}]", show_text(key));
        if let Some(text) = objection(linux, key) {
            report.rule(&path, text);
        }
    }
}

/// The file below `/proc/sys` that a parameter stands for, or `None` for a name that leaves the
/// tree or has empty parts. The first separator tells `.` from `/` (sysctl.d(5)).
pub fn file(key: &str) -> Option<String> {
    let path = match key.find(['.', '/']).map(|at| key.as_bytes()[at]) {
        Some(b'.') => key.chars().map(swap).collect(),
        _ => key.to_owned(),
    };
    let sound = |part: &str| !part.is_empty() && part != "." && part != "..";
    path.split('/').all(sound).then_some(path)
}

fn swap(c: char) -> char {
    match c {
        '.' => '/',
        '/' => '.',
        other => other,
    }
}

fn objection(linux: &Linux, key: &str) -> Option<&'static str> {
    let has = |typ| namespaces::has(Some(linux), typ);
    let Some(file) = file(key) else {
        return Some("expected the name of a kernel parameter");
    };
    let name: String = file.chars().map(swap).collect();
    if IPC.contains(&name.as_str()) || name.starts_with("fs.mqueue.") {
        return (!has(Ns::Ipc)).then_some("expected an `ipc` entry in linux.namespaces");
    }
    if name.starts_with("net.") {
        return (!has(Ns::Network)).then_some("expected a `network` entry in linux.namespaces");
    }
    match name.as_str() {
        "kernel.domainname" => {
            (!has(Ns::Uts)).then_some("expected a `uts` entry in linux.namespaces")
        }
        "kernel.hostname" => Some("conflicts with the field `hostname`"),
        _ => Some("belongs to no namespace, setting it would change the host"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn finds_the_file() {
        let table = [
            ("net.ipv4.ip_forward", Some("net/ipv4/ip_forward")),
            ("net/ipv4/ip_forward", Some("net/ipv4/ip_forward")),
            ("net.ipv4.conf.eno2/100.x", Some("net/ipv4/conf/eno2.100/x")),
            ("net/ipv4/conf/eno2.100/x", Some("net/ipv4/conf/eno2.100/x")),
            ("net/../kernel/core_pattern", None),
            ("net.//.kernel.core_pattern", None),
            ("net..x", None),
            ("/net/x", None),
            ("", None),
            ("net", Some("net")),
        ];
        for (key, expected) in table {
            assert_eq!(super::file(key).as_deref(), expected, "{key}");
        }
    }
}
