//! Finds the container that a new one belongs to: its pod's sandbox, or one whose namespaces it
//! joins. Reads records and `/proc`; it must not choose a backend.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::route::{Facts, Join, Partner};
use crate::state::{ContainerDir, Record, Root};

/// The container under `root` that the new one has to stay with.
pub fn find(root: &Root, facts: &Facts) -> Option<Partner> {
    by_annotation(root, facts).or_else(|| by_namespace(root, facts))
}

fn by_annotation(root: &Root, facts: &Facts) -> Option<Partner> {
    let sandbox = facts.sandbox.as_deref()?;
    // The annotation is the caller's word: it may hold anything.
    crate::cli::id::check(sandbox).ok()?;
    let record = root.find(sandbox).ok()?.load().ok()?;
    Some(partner(&record, "it is the sandbox of the pod".to_owned()))
}

fn by_namespace(root: &Root, facts: &Facts) -> Option<Partner> {
    let joins: Vec<(&Join, Identity)> = facts
        .joins
        .iter()
        .filter_map(|join| Some((join, Identity::of(&join.path)?)))
        .filter(|(join, identity)| !is_own(join, identity))
        .collect();
    if joins.is_empty() {
        return None;
    }
    let shared = |pid: i32| {
        joins.iter().find(|(join, identity)| {
            leads_to(&join.path, pid) || namespace_of(pid, &join.kind).as_ref() == Some(identity)
        })
    };
    // A look at each process is cheap; only what it finds is read.
    for (pid, dir) in inits(root)? {
        let Some((join, _)) = shared(pid) else {
            continue;
        };
        let Some(record) = dir.load().ok().filter(|record| record.id != facts.id) else {
            continue;
        };
        if record.live_init().is_some_and(|init| init.pid == pid) {
            let shares = format!("{}: joins its {} namespace", join.field, join.kind);
            return Some(partner(&record, shares));
        }
    }
    None
}

/// The first processes of all containers, by id. A version that wrote none down leaves records only.
fn inits(root: &Root) -> Option<Vec<(i32, ContainerDir)>> {
    let mut all = root.inits().or_else(|| {
        let dirs = root.all().ok()?.into_iter();
        let known = dirs.filter_map(|dir| Some((dir.load().ok()?.init?.pid, dir)));
        Some(known.collect())
    })?;
    all.sort_by(|a, b| a.1.id().cmp(b.1.id()));
    Some(all)
}

fn partner(record: &Record, shares: String) -> Partner {
    Partner {
        id: record.id.clone(),
        backend: record.backend.clone(),
        shares,
    }
}

/// A path below `/proc/PID`. What stands there may be a process that keeps a guest's namespaces,
/// so the pid counts beside the namespace itself.
fn leads_to(path: &Path, pid: i32) -> bool {
    path.starts_with(format!("/proc/{pid}/"))
}

/// The namespace that pxrun itself is in: every container that shares the host's is in it, and
/// none belongs to another for that.
fn is_own(join: &Join, identity: &Identity) -> bool {
    namespace_of(std::process::id() as i32, &join.kind).as_ref() == Some(identity)
}

fn namespace_of(pid: i32, kind: &str) -> Option<Identity> {
    let file = match kind {
        "network" => "net",
        "mount" => "mnt",
        other => other,
    };
    Identity::of(Path::new(&format!("/proc/{pid}/ns/{file}")))
}

/// Device and inode: what makes two paths lead to one namespace (namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity(u64, u64);

impl Identity {
    fn of(path: &Path) -> Option<Identity> {
        let meta = std::fs::metadata(path).ok()?;
        Some(Identity(meta.dev(), meta.ino()))
    }
}
