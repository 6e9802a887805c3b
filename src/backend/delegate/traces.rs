//! What another runtime's `create` leaves for pxrun to find: the pid, the cgroup; and the copy of a
//! bundle for where a document can't go to the runtime as it is. It must not run anything.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::abilities::Abilities;
use super::program::locate;
use crate::bundle::CONFIG_FILE;
use crate::route::Need;
use crate::state::{ContainerDir, write_atomically};

/// The pid in a pid-file that a runtime wrote.
///
/// # Errors
/// There is none.
pub fn read_pid(file: &Path) -> anyhow::Result<i32> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("read pid-file `{}`", file.display()))?;
    let pid = text.trim().parse::<i32>().ok().filter(|pid| *pid > 0);
    pid.with_context(|| format!("pid-file `{}` holds no pid", file.display()))
}

/// The path of a process's cgroup, as `linux.cgroupsPath` would have it: where the container is
/// accounted, whatever the runtime made of the caller's wish.
pub fn cgroup_of(pid: i32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    path_in(&text).filter(|path| path != "/")
}

/// cgroups(7): `ID:CONTROLLERS:PATH`. Of version 1 the hierarchies that runtimes always use count
/// more than the unified one beside them.
fn path_in(text: &str) -> Option<String> {
    let rows = text.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        Some((controllers, path))
    });
    let rows: Vec<(&str, &str)> = rows.collect();
    let of = |wanted: &str| {
        let found = rows
            .iter()
            .find(|(names, _)| names.split(',').any(|name| name == wanted));
        found.map(|(_, path)| (*path).to_owned())
    };
    of("devices").or_else(|| of("pids")).or_else(|| of(""))
}

/// A bundle in the container's own directory with that document. The root's path stays the one of
/// the caller's bundle.
///
/// # Errors
/// It can't be written.
pub fn bundle_copy(
    dir: &ContainerDir,
    bundle: &Path,
    mut config: Value,
) -> anyhow::Result<PathBuf> {
    let root = config["root"]["path"].as_str().unwrap_or("rootfs");
    config["root"]["path"] = json!(bundle.join(root));
    let copy = dir.path().join("bundle");
    std::fs::create_dir_all(&copy).context("make a copy of the bundle")?;
    write_atomically(
        &copy.join(CONFIG_FILE),
        &serde_json::to_vec(&config)?,
        0o600,
    )
    .context("make a copy of the bundle")?;
    Ok(copy)
}

/// Whether the runtime can save a container on this host.
///
/// # Errors
/// Why not.
pub fn can_checkpoint(asked: &Abilities) -> Result<(), String> {
    let ability = super::ability::lacks(asked, |program| locate(program.as_ref()).is_some());
    match ability.lacks.get(&Need::Checkpoint.to_string()) {
        Some(why) => Err(why.clone()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::path_in;

    #[test]
    fn the_cgroup_is_found_on_every_kind_of_host() {
        let rows = [
            ("0::/a/b\n", Some("/a/b")),
            ("5:pids:/p\n4:cpu,devices:/d\n0::/u\n", Some("/d")),
            ("5:pids:/p\n0::/u\n", Some("/p")),
            ("1:name=systemd:/s:x\n0::/u:y\n", Some("/u:y")),
            ("nonsense\n", None),
        ];
        for (text, want) in rows {
            assert_eq!(path_in(text).as_deref(), want, "{text:?}");
        }
    }
}
