//! Which directories a container gets, from `linux.cgroupsPath` and what the host has.
//! It must not create anything; relative paths alone make it read `/proc/self/cgroup`.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::host::{Mount, clean};
use super::{Cgroup, CgroupError, Hierarchy, Host, Result, Scope, Setup};

/// Containers of this runtime root live in `/pxrun`, those of others in `/pxrun-<hash>`.
const DEFAULT_ROOT: &str = "/run/pxrun";
const DEFAULT_PARENT: &str = "pxrun";

impl Cgroup {
    /// Decides the directories in all hierarchies.
    ///
    /// `cgroups_path` is the bundle's `linux.cgroupsPath`: absolute from the root of the hierarchies,
    /// relative from the caller's own cgroup (on version 2 from its parent, since a cgroup with
    /// processes can't have controllers below it), or `slice:prefix:name` with `systemd`.
    /// `root` is the runtime's root directory: equal ids under different roots never meet.
    pub fn plan(
        cgroups_path: Option<&Path>,
        id: &str,
        root: &Path,
        systemd: bool,
        rootless: bool,
    ) -> Result<Self> {
        Self::plan_on(&Host::read()?, cgroups_path, id, root, systemd, rootless)
    }

    /// As [`Cgroup::plan`], on a host that was looked at before.
    pub fn plan_on(
        host: &Host,
        cgroups_path: Option<&Path>,
        id: &str,
        root: &Path,
        systemd: bool,
        rootless: bool,
    ) -> Result<Self> {
        let given = cgroups_path.filter(|path| !path.as_os_str().is_empty());
        let mut cgroup = Self {
            setup: host.setup,
            hierarchies: Vec::new(),
            own_parent: given.is_none() && !systemd,
            explicit: given.is_some(),
            rootless,
            systemd: None,
        };
        let wanted = if systemd {
            let scope = Scope::plan(host, given, id, &parent_name(root), rootless)?;
            let path = scope.path().to_owned();
            cgroup.systemd = Some(scope);
            path
        } else {
            wanted_path(given, id, root, rootless)?
        };
        for mount in &host.mounts {
            cgroup.hierarchies.push(place(host, mount, &wanted)?);
        }
        Ok(cgroup)
    }
}

/// The path before it is laid on a hierarchy: absolute, or relative to the caller.
fn wanted_path(given: Option<&Path>, id: &str, root: &Path, rootless: bool) -> Result<PathBuf> {
    let Some(path) = given else {
        let relative = Path::new(&parent_name(root)).join(single(id)?);
        // A user without rights over the tree may only have some below where he is.
        return Ok(if rootless {
            relative
        } else {
            Path::new("/").join(relative)
        });
    };
    let cleaned = clean(path);
    if cleaned.as_os_str().is_empty() {
        let path = path.display().to_string();
        let reason = "is the root of the hierarchy, which no container can have for itself";
        return Err(CgroupError::Path { path, reason });
    }
    Ok(if path.is_absolute() {
        Path::new("/").join(cleaned)
    } else {
        cleaned
    })
}

/// An id as one directory name; ids are checked long before, this is the last door.
fn single(id: &str) -> Result<&str> {
    match id {
        "" | "." | ".." => Err(()),
        id if id.contains('/') => Err(()),
        id => Ok(id),
    }
    .map_err(|()| CgroupError::Path {
        path: id.to_owned(),
        reason: "can't be made from this container id",
    })
}

/// The directory for all containers of one runtime root.
fn parent_name(root: &Path) -> String {
    let root = clean(root);
    if root == clean(Path::new(DEFAULT_ROOT)) {
        return DEFAULT_PARENT.to_owned();
    }
    let digest = Sha256::digest(root.as_os_str().as_encoded_bytes());
    let hash: String = digest
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{DEFAULT_PARENT}-{hash}")
}

fn place(host: &Host, mount: &Mount, wanted: &Path) -> Result<Hierarchy> {
    let below = match wanted.strip_prefix("/") {
        Ok(absolute) => absolute.to_owned(),
        Err(_) => start(host, mount)?.join(wanted),
    };
    Ok(Hierarchy {
        mount: mount.point.clone(),
        dir: mount.point.join(below),
        controllers: mount.controllers.clone(),
        unified: mount.unified,
    })
}

/// Where relative paths start.
fn start(host: &Host, mount: &Mount) -> Result<PathBuf> {
    let mut own = host.own_path(mount)?;
    if host.setup == Setup::Unified {
        own.pop();
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::testing::FakeHost;

    fn dirs(host: &Host, path: Option<&str>, root: &str, rootless: bool) -> Result<Vec<String>> {
        let path = path.map(Path::new);
        let cgroup = Cgroup::plan_on(host, path, "web", Path::new(root), false, rootless)?;
        let below = |h: &Hierarchy| {
            let below = h.dir.strip_prefix(h.mount.parent().unwrap()).unwrap();
            below.display().to_string()
        };
        Ok(cgroup.hierarchies.iter().map(below).collect())
    }

    #[test]
    fn legacy_paths() {
        let fake = FakeHost::legacy(&["cpu", "memory"]);
        fake.own("2:memory:/user/me\n1:cpu:/\n");
        for (path, root, rootless, expected) in [
            (
                None,
                "/run/pxrun",
                false,
                ["cpu/pxrun/web", "memory/pxrun/web"],
            ),
            (
                None,
                "/run/pxrun",
                true,
                ["cpu/pxrun/web", "memory/user/me/pxrun/web"],
            ),
            (Some("/a/../b/./c"), "/x", false, ["cpu/b/c", "memory/b/c"]),
            (
                Some("../b/c"),
                "/x",
                false,
                ["cpu/b/c", "memory/user/me/b/c"],
            ),
            (
                Some("s.slice:p:n"),
                "/x",
                false,
                ["cpu/s.slice:p:n", "memory/user/me/s.slice:p:n"],
            ),
        ] {
            assert_eq!(
                dirs(&fake.host, path, root, rootless).unwrap(),
                expected,
                "{path:?}"
            );
        }
    }

    #[test]
    fn unified_relative_paths_start_at_the_parent() {
        let fake = FakeHost::unified();
        fake.own("0::/user.slice/session-1.scope\n");
        let name = fake.host.mounts[0]
            .point
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let expected = [format!("{name}/user.slice/a")];
        assert_eq!(dirs(&fake.host, Some("a"), "/x", false).unwrap(), expected);
    }

    #[test]
    fn a_mount_of_a_part_of_the_hierarchy_is_seen_through() {
        let mut fake = FakeHost::legacy(&["cpu"]);
        fake.host.mounts[0].root = PathBuf::from("/docker/abc");
        fake.own("1:cpu:/docker/abc/inner\n");
        assert_eq!(
            dirs(&fake.host, Some("a"), "/x", false).unwrap(),
            ["cpu/inner/a"]
        );
    }

    #[test]
    fn the_root_of_the_hierarchy_is_refused() {
        let fake = FakeHost::unified();
        for path in ["/", "/..", ".", "a/.."] {
            let error = dirs(&fake.host, Some(path), "/x", false).unwrap_err();
            assert!(matches!(error, CgroupError::Path { .. }), "{path}");
        }
    }

    #[test]
    fn ids_are_single_names() {
        let fake = FakeHost::unified();
        for id in ["", ".", "..", "a/b"] {
            let plan = Cgroup::plan_on(&fake.host, None, id, Path::new("/x"), false, false);
            assert!(plan.is_err(), "{id:?}");
        }
    }

    #[test]
    fn equal_ids_under_different_roots_never_meet() {
        let names: Vec<_> = ["/run/pxrun", "/run/pxrun/a", "/run/b"]
            .iter()
            .map(|root| parent_name(Path::new(root)))
            .collect();
        assert_eq!(names[0], "pxrun");
        assert!(
            names[1].starts_with("pxrun-") && names[1] != names[2],
            "{names:?}"
        );
        assert_eq!(parent_name(Path::new("/run/x/../b/")), names[2]);
    }

    #[test]
    fn the_record_survives_json() {
        let fake = FakeHost::legacy(&["cpu", "memory"]);
        let cgroup = Cgroup::plan_on(&fake.host, None, "a", Path::new("/r"), false, false).unwrap();
        let json = serde_json::to_string(&cgroup).unwrap();
        assert_eq!(serde_json::from_str::<Cgroup>(&json).unwrap(), cgroup);
    }
}
