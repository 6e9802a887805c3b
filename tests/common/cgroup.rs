//! What the cgroup files of a process say, whichever hierarchy of version 1 or 2 holds them.
//! It must not write to a cgroup.

use std::fs;
use std::path::{Path, PathBuf};

/// A controller's directory of the process, or `None` where this machine lacks the controller.
pub fn dir(pid: i32, controller: &str) -> Option<PathBuf> {
    let own =
        fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("read the process's cgroups");
    for line in own.lines() {
        // cgroups(7): hierarchy-ID:controller-list:cgroup-path
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        if controllers.split(',').any(|c| c == controller) {
            return Some(below(&v1_mount(controller)?, path));
        }
    }
    let dir = unified(&own)?;
    let on = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    on.split_whitespace()
        .any(|c| c == controller)
        .then_some(dir)
}

/// A directory that lists the processes beside this one, whatever controllers there are.
pub fn any_dir(pid: i32) -> PathBuf {
    let own =
        fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("read the process's cgroups");
    dir(pid, "pids")
        .or_else(|| unified(&own))
        .expect("a cgroup of pids or of version 2")
}

/// The process's directory in the hierarchy of version 2, or `None` where there is none.
pub fn v2_dir(pid: i32) -> Option<PathBuf> {
    let own =
        fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("read the process's cgroups");
    unified(&own)
}

fn unified(own: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|l| l.strip_prefix("0::"))?;
    Some(below(&v2_mount()?, path))
}

/// Whether the machine's controller is one of version 1.
pub fn is_v1(controller: &str) -> bool {
    v1_mount(controller).is_some()
}

/// Content of the file that holds a limit: `v1` or `v2`, whichever hierarchy has the controller.
#[track_caller]
pub fn value(pid: i32, controller: &str, v1: &str, v2: &str) -> String {
    let dir =
        dir(pid, controller).unwrap_or_else(|| panic!("process {pid} has no {controller} cgroup"));
    let file = dir.join(if is_v1(controller) { v1 } else { v2 });
    let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("read {}: {e}", file.display()));
    text.trim().to_owned()
}

/// Every cgroup directory of this machine whose path has `part` in it.
pub fn all_with(part: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), part, &mut found);
    found
}

/// Whether a process is in any cgroup whose path has `part` in it.
pub fn populated(part: &str) -> bool {
    let has =
        |dir: &PathBuf| fs::read_to_string(dir.join("cgroup.procs")).is_ok_and(|p| !p.is_empty());
    all_with(part).iter().any(has)
}

fn walk(dir: &Path, part: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            let path = entry.path();
            if path.to_string_lossy().contains(part) {
                found.push(path.clone());
            }
            walk(&path, part, found);
        }
    }
}

fn below(mount: &Path, path: &str) -> PathBuf {
    mount.join(path.trim_start_matches('/'))
}

fn v1_mount(controller: &str) -> Option<PathBuf> {
    mount("cgroup", |options| {
        options.split(',').any(|o| o == controller)
    })
}

fn v2_mount() -> Option<PathBuf> {
    mount("cgroup2", |_| true)
}

/// proc_pid_mountinfo(5): field 5 is the mount point; after ` - ` stand type, source, options.
fn mount(kind: &str, fits: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let info = fs::read_to_string("/proc/self/mountinfo").ok()?;
    info.lines().find_map(|line| {
        let (place, fs_type) = line.split_once(" - ")?;
        let mut words = fs_type.split(' ');
        let right = words.next() == Some(kind) && fits(words.nth(1).unwrap_or_default());
        right.then(|| place.split(' ').nth(4).map(PathBuf::from))?
    })
}
