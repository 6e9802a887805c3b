//! `linux.uidMappings` and `linux.gidMappings`: who is who inside and outside a user namespace.
//! It must not write any mapping.

use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType, Process, Spec};

use super::report::Report;
use super::shape::{Shape, U32, opt};
use super::warned::USERNS_MAPPINGS;
use super::{HostFacts, namespaces};

pub const SHAPE: Shape = Shape::List(&Shape::Object(&[
    opt("containerID", &U32),
    opt("hostID", &U32),
    opt("size", &U32),
]));

/// Most lines that the kernel takes in a map (user_namespaces(7), since Linux 4.15).
const MOST: usize = 340;

/// config-linux.md, "User namespace mappings", and what user_namespaces(7) asks of a map.
pub fn check(linux: &Linux, host: &HostFacts, report: &mut Report) {
    let maps = [
        ("linux.uidMappings", slice(linux.uid_mappings())),
        ("linux.gidMappings", slice(linux.gid_mappings())),
    ];
    let exists = namespaces::has(Some(linux), LinuxNamespaceType::User);
    let new = namespaces::has_new(linux, LinuxNamespaceType::User);
    if host.rootless && !exists {
        let text = "no `user` entry, which a runtime without root needs";
        report.rule("linux.namespaces", text);
    }
    for (path, map) in maps {
        check_map(path, map, report);
        match (map.is_empty(), exists) {
            (false, false) => {
                report.rule(
                    path,
                    "mappings, expected a `user` entry in linux.namespaces",
                );
            }
            (false, true) if !new => report.warn(&USERNS_MAPPINGS, path, &show(map)),
            (true, true) if new => {
                report.missing(path, "at least one mapping for the new user namespace");
            }
            (false, true) if lookup(map, 0).is_none() => {
                report.bad(path, &show(map), "a mapping for id 0 in the container");
            }
            _ => {}
        }
    }
}

/// The ids of the process must have a meaning inside a new user namespace. Of one that is joined
/// only the kernel knows the map.
pub fn check_user(process: &Process, spec: &Spec, report: &mut Report) {
    let Some(linux) = spec.linux() else { return };
    if !namespaces::has_new(linux, LinuxNamespaceType::User) {
        return;
    }
    let (uids, gids) = (slice(linux.uid_mappings()), slice(linux.gid_mappings()));
    let user = process.user();
    let mut each = |path: &str, map: &[LinuxIdMapping], list: &str, id: u32| {
        if !map.is_empty() && lookup(map, id).is_none() {
            report.bad(path, &id.to_string(), &format!("an id that {list} maps"));
        }
    };
    each("process.user.uid", uids, "linux.uidMappings", user.uid());
    each("process.user.gid", gids, "linux.gidMappings", user.gid());
    for (index, gid) in user.additional_gids().iter().flatten().enumerate() {
        let path = format!("process.user.additionalGids[{index}]");
        each(&path, gids, "linux.gidMappings", *gid);
    }
}

/// The id on the host that `id` in the container stands for.
pub fn lookup(map: &[LinuxIdMapping], id: u32) -> Option<u32> {
    map.iter().find_map(|entry| {
        let offset = id.checked_sub(entry.container_id())?;
        (offset < entry.size()).then(|| entry.host_id().checked_add(offset))?
    })
}

/// Rules for one map, wherever it stands: sizes, bounds, overlaps, length.
pub fn check_map(path: &str, map: &[LinuxIdMapping], report: &mut Report) {
    if map.len() > MOST {
        report.bad(path, &map.len().to_string(), "at most 340 mappings");
        return;
    }
    for (index, entry) in map.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if entry.size() == 0 {
            report.bad(
                &format!("{path}.size"),
                "0",
                "a number of ids greater than 0",
            );
        }
        // The kernel's ids end at 2^32 - 2.
        let last = |first: u32| first.checked_add(entry.size()).is_none();
        if last(entry.container_id()) || last(entry.host_id()) {
            report.bad(&path, &one(entry), "ids that end before 4294967295");
        }
        let others = map.iter().take(index);
        if others.clone().any(|other| {
            overlap(
                other.container_id(),
                other.size(),
                entry.container_id(),
                entry.size(),
            ) || overlap(other.host_id(), other.size(), entry.host_id(), entry.size())
        }) {
            report.bad(&path, &one(entry), "ids that no earlier mapping has");
        }
    }
}

fn overlap(a: u32, a_size: u32, b: u32, b_size: u32) -> bool {
    let (a, b) = (u64::from(a), u64::from(b));
    a < b + u64::from(b_size) && b < a + u64::from(a_size)
}

fn slice(map: &Option<Vec<LinuxIdMapping>>) -> &[LinuxIdMapping] {
    map.as_deref().unwrap_or_default()
}

fn show(map: &[LinuxIdMapping]) -> String {
    map.iter().take(3).map(one).collect::<Vec<_>>().join(", ")
}

/// As in `/proc/PID/uid_map`: first id inside, first id outside, size.
fn one(entry: &LinuxIdMapping) -> String {
    format!(
        "{} {} {}",
        entry.container_id(),
        entry.host_id(),
        entry.size()
    )
}
