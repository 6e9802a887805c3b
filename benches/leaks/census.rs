//! What containers could leave behind, counted. Others use the machine too, so only what bears our
//! name, hangs below our root or descends from this process counts.

use std::fs;
use std::path::Path;

use crate::common;
use crate::support::{Result, table};

/// Counts at one moment.
#[derive(Debug)]
pub struct Census {
    counts: Vec<(&'static str, usize)>,
}

impl Census {
    /// Counts. `root` is the runtime's, `name` stands in the paths of all cgroups
    /// and begins all ids.
    ///
    /// # Errors
    /// /proc can't be read.
    pub fn take(root: &Path, name: &str) -> Result<Census> {
        crate::support::caller::reap_orphans();
        let own = std::process::id();
        let descendants = descendants(own)?;
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        // A namespace outlives its processes where a mount holds it (namespaces(7)).
        let pinned = mounts.lines().filter(|line| line.contains(" - nsfs "));
        let keys = fs::read_to_string("/proc/keys").unwrap_or_default();
        let session = keys
            .lines()
            .filter(|line| line.contains(&format!("_ses.{name}")));
        Ok(Census {
            counts: vec![
                (
                    "descriptors of the caller",
                    entries(Path::new("/proc/self/fd")),
                ),
                ("processes and zombies", descendants.len()),
                ("namespaces with processes", namespaces(&descendants)),
                ("namespaces held by mounts", pinned.count()),
                ("mounts", mounts.lines().count()),
                ("cgroups", common::cgroup::all_with(name).len()),
                ("session keyrings", session.count()),
                ("records", records(root)),
                ("files and directories under the root", tree(root)),
            ],
        })
    }

    /// Counts again until nothing has grown, for two seconds at most: the kernel collects keyrings
    /// and namespaces a little later than it says.
    ///
    /// # Errors
    /// /proc can't be read.
    pub fn settled(&self, root: &Path, name: &str) -> Result<Census> {
        for _ in 0..20 {
            let now = Census::take(root, name)?;
            if self.is_no_less_than(&now) {
                return Ok(now);
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        Census::take(root, name)
    }

    /// Whether `later` has no more of anything.
    pub fn is_no_less_than(&self, later: &Census) -> bool {
        let mut pairs = self.counts.iter().zip(&later.counts);
        pairs.all(|((_, before), (_, after))| after <= before)
    }

    /// A table of both.
    pub fn compare(&self, later: &Census) -> String {
        let rows: Vec<Vec<String>> = self
            .counts
            .iter()
            .zip(&later.counts)
            .map(|((what, before), (_, after))| {
                vec![(*what).to_owned(), before.to_string(), after.to_string()]
            })
            .collect();
        table::markdown(&["what", "before", "after"], &rows)
    }
}

fn entries(dir: &Path) -> usize {
    fs::read_dir(dir).map_or(0, Iterator::count)
}

/// Names that no container can have are the runtime's own caches.
fn records(root: &Path) -> usize {
    let Ok(entries) = fs::read_dir(root) else {
        return 0;
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    names
        .filter(|name| !name.to_string_lossy().starts_with('@'))
        .count()
}

fn tree(dir: &Path) -> usize {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => 1 + tree(&entry.path()),
            _ => 1,
        })
        .sum()
}

/// All processes below `pid`; as the subreaper this one gets every orphan of its runtimes.
fn descendants(pid: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace() {
            let child = child.parse()?;
            found.push(child);
            // A child that ends meanwhile has no children any more.
            found.extend(descendants(child).unwrap_or_default());
        }
    }
    Ok(found)
}

fn namespaces(pids: &[u32]) -> usize {
    let links = |pid: u32| {
        let dir = fs::read_dir(format!("/proc/{pid}/ns"));
        let entries = dir.into_iter().flatten().flatten();
        entries
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .collect::<Vec<_>>()
    };
    let own = links(std::process::id());
    let mut all: Vec<_> = pids.iter().flat_map(|pid| links(*pid)).collect();
    all.retain(|namespace| !own.contains(namespace));
    all.sort();
    all.dedup();
    all.len()
}
