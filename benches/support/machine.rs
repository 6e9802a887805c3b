//! The machine that is measured on: what it is, and what of it is set up for the measurement.
//! It must not measure.

use std::path::Path;
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use super::Result;

const CGROUP: &str = "/sys/fs/cgroup";

/// Gives this process a view of the cgroups in which runc, crun and pxrun all work, and says which.
///
/// crun refuses hybrid hosts; in a mount namespace without the version 2 part it sees version 1
/// alone. Pure hosts stay as they are. Must be called while this process has one thread.
///
/// # Errors
/// No right to unshare or to unmount.
pub fn common_cgroup_view() -> Result<&'static str> {
    private_mounts()?;
    let unified = Path::new(CGROUP).join("unified");
    if unified.join("cgroup.procs").exists() {
        umount2(&unified, MntFlags::MNT_DETACH)?;
        return Ok("version 1");
    }
    match Path::new(CGROUP).join("cgroup.controllers").exists() {
        true => Ok("version 2"),
        false => Ok("version 1"),
    }
}

/// Gives this process mounts of its own, so that others' comings and goings don't count.
///
/// # Errors
/// No right to unshare.
pub fn private_mounts() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, private, nothing)?;
    Ok(())
}

/// Puts this process, and so all its children, before others. Not allowed is fine.
pub fn go_first() {
    // No crate in use wraps setpriority(2).
    let own = std::process::id().to_string();
    let _ = Command::new("renice")
        .args(["-n", "-10", "-p", &own])
        .output();
}

/// One line: processor, kernel, load.
pub fn describe() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<&str> = cpuinfo
        .lines()
        .filter_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map(|(_, name)| name)
        .collect();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{} × {}, Linux {}",
        models.len(),
        models.first().unwrap_or(&"unknown processor"),
        release.trim(),
    )
}

/// The load average of the last minute.
pub fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split(' ').next().and_then(|word| word.parse().ok());
    first.unwrap_or(0.0)
}

/// The version that a runtime tells, without its name.
pub fn version(path: &Path) -> String {
    let output = Command::new(path).arg("--version").output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
    let text = text.unwrap_or_default();
    let word = text.lines().next().and_then(|line| line.rsplit(' ').next());
    word.unwrap_or("?").to_owned()
}
