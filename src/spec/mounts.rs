//! `mounts`: what is mounted where, and `linux.rootfsPropagation`.
//! It must not look at any file system, nor know what each option does: `rootfs` does.

use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, Mount, Spec};
use serde_json::Value;

use super::report::{Report, show, show_text};
use super::shape::{Field, Shape, TEXTS, blank, opt, req};
use super::warned::MOUNT_DESTINATION;
use super::{HostFacts, mappings, namespaces};

/// config.md, "Mounts".
pub const SHAPE: Shape = Shape::Object(&[
    req("destination", &Shape::Name),
    blank("type", &Shape::Text),
    blank("source", &Shape::Text),
    opt("options", &TEXTS),
    opt("uidMappings", &mappings::SHAPE),
    opt("gidMappings", &mappings::SHAPE),
]);

/// config-linux.md, "Rootfs Mount Propagation", and the recursive forms that runc adds.
pub const ROOTFS_PROPAGATION: Field = blank(
    "rootfsPropagation",
    &Shape::OneOf {
        names: PROPAGATIONS,
        what: "a propagation",
    },
);

const PROPAGATIONS: &[&str] = &[
    "private",
    "rprivate",
    "rshared",
    "rslave",
    "runbindable",
    "shared",
    "slave",
    "unbindable",
];

/// Options that start with `r` and are flags: the recursive ones (config.md, "Linux mount
/// options") and their namesakes.
const R_FLAGS: &[&str] = &[
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
];

/// "destination (string, REQUIRED) ... This value MUST be an absolute path"; runc warns.
pub fn edit(mounts: &mut Value, report: &mut Report) {
    let mounts = mounts.as_array_mut().into_iter().flatten();
    for (index, mount) in mounts.enumerate() {
        let destination = &mut mount["destination"];
        let Some(text) = destination.as_str().filter(|text| !text.starts_with('/')) else {
            continue;
        };
        let absolute = Value::from(format!("/{text}"));
        let path = format!("mounts[{index}].destination");
        report.warn(&MOUNT_DESTINATION, &path, &show(destination));
        *destination = absolute;
    }
}

pub fn check(spec: &Spec, host: &HostFacts, report: &mut Report) {
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        let path = format!("mounts[{index}]");
        check_kind(&path, mount, report);
        check_id_map(&path, mount, spec, host, report);
        if host.rootless {
            check_owner_options(&path, mount, spec, report);
        }
    }
}

/// Whether the mount shows a file or directory that exists, rather than a new file system.
pub fn is_bind(mount: &Mount) -> bool {
    mount.typ().as_deref() == Some("bind") || has(mount, &["bind", "rbind"])
}

fn has(mount: &Mount, names: &[&str]) -> bool {
    let mut options = mount.options().iter().flatten();
    options.any(|option| names.contains(&option.as_str()))
}

fn check_kind(path: &str, mount: &Mount, report: &mut Report) {
    if !is_bind(mount) {
        if mount.typ().is_none() && !has(mount, &["remount"]) && !has(mount, PROPAGATIONS) {
            let expected = "a file system type, or the option `bind`";
            report.missing(&format!("{path}.type"), expected);
        }
        return;
    }
    if mount.source().is_none() {
        report.missing(&format!("{path}.source"), "the path to bind");
    }
    // A flag misspelt is no option of any file system here: a bind mount has none.
    for (index, option) in mount.options().iter().flatten().enumerate() {
        let flag = option.starts_with('r') && !option.contains('=');
        if flag && !R_FLAGS.contains(&option.as_str()) {
            let path = format!("{path}.options[{index}]");
            report.bad(&path, &show_text(option), "a mount option");
        }
    }
}

/// config.md, "POSIX-platform Mounts": both lists or none, and only for bind mounts. The options
/// `idmap` and `ridmap` alone take the mappings of the container's user namespace.
fn check_id_map(path: &str, mount: &Mount, spec: &Spec, host: &HostFacts, report: &mut Report) {
    let lists = [
        ("uidMappings", list(mount.uid_mappings())),
        ("gidMappings", list(mount.gid_mappings())),
    ];
    let [uids, gids] = lists.map(|(_, list)| !list.is_empty());
    let option = has(mount, &["idmap", "ridmap"]);
    if !uids && !gids && !option {
        return;
    }
    for (name, list) in lists {
        mappings::check_map(&format!("{path}.{name}"), list, report);
        if list.is_empty() && (uids || gids) {
            let expected = "mappings: uidMappings and gidMappings go together";
            report.missing(&format!("{path}.{name}"), expected);
        }
    }
    if !is_bind(mount) {
        let text = "id mappings, which only bind mounts can have";
        report.rule(path, text);
    }
    if host.rootless {
        report.rule(path, "id mappings, which only root can mount with");
    }
    let userns = namespaces::has(spec.linux().as_ref(), LinuxNamespaceType::User);
    if !uids && !gids && !userns {
        let text = "`idmap` without mappings, expected a `user` entry in linux.namespaces";
        report.rule(&format!("{path}.options"), text);
    }
}

/// Without root, `uid=` and `gid=` can only name ids that the user namespace maps.
fn check_owner_options(path: &str, mount: &Mount, spec: &Spec, report: &mut Report) {
    let Some(linux) = spec.linux() else { return };
    if !namespaces::has_new(linux, LinuxNamespaceType::User) {
        return;
    }
    let maps = [
        ("uid=", "linux.uidMappings", list(linux.uid_mappings())),
        ("gid=", "linux.gidMappings", list(linux.gid_mappings())),
    ];
    for (index, option) in mount.options().iter().flatten().enumerate() {
        for (prefix, name, map) in maps {
            let id = option.strip_prefix(prefix).and_then(|id| id.parse().ok());
            if id.is_some_and(|id| mappings::lookup(map, id).is_none()) {
                let path = format!("{path}.options[{index}]");
                let expected = format!("an id that {name} maps");
                report.bad(&path, &show_text(option), &expected);
            }
        }
    }
}

fn list(map: &Option<Vec<LinuxIdMapping>>) -> &[LinuxIdMapping] {
    map.as_deref().unwrap_or_default()
}
