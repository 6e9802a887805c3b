//! Mounts and cgroups of containers that have no record any more. It must not remove them.

use std::path::{Path, PathBuf};

use super::Leftover;

/// Mounts below the runtime root that belong to no container.
pub fn stray_mounts(root: &Path, ids: &[&str]) -> Vec<Leftover> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let stray = mount_points(&text).into_iter().filter(|point| {
        let rest = point.strip_prefix(root).ok();
        let first = rest.and_then(|rest| rest.components().next());
        let first = first.map(|part| part.as_os_str().to_string_lossy().into_owned());
        first.is_some_and(|id| !id.starts_with('@') && !ids.contains(&id.as_str()))
    });
    stray
        .map(|point| {
            let path = point.display();
            Leftover::new(
                format!("mount `{path}` has no container"),
                format!("umount {path}"),
            )
        })
        .collect()
}

/// Mount points of proc_pid_mountinfo(5), its octal escapes undone.
pub(super) fn mount_points(text: &str) -> Vec<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let points = text.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .map(|point| PathBuf::from(std::ffi::OsString::from_vec(unescaped(point))))
        .collect()
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let octal = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (first, octal) {
            (b'\\', Some(byte)) => {
                out.push(byte);
                rest = &tail[3..];
            }
            _ => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

/// Cgroups in the directory that pxrun keeps for containers without a path of their own.
pub fn stray_cgroups(parent: &Path, ids: &[&str]) -> Vec<Leftover> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let stray = dirs.filter(|dir| !ids.contains(&dir.file_name().to_string_lossy().as_ref()));
    stray
        .map(|dir| {
            let path = dir.path();
            let path = path.display();
            let procs = std::fs::read_to_string(dir.path().join("cgroup.procs"));
            let pids: Vec<String> = procs
                .unwrap_or_default()
                .lines()
                .map(str::to_owned)
                .collect();
            let mend = match pids.is_empty() {
                true => format!("rmdir {path}"),
                false => format!("kill -KILL {} && rmdir {path}", pids.join(" ")),
            };
            Leftover::new(format!("cgroup `{path}` has no container"), mend)
        })
        .collect()
}
