//! A snapshot of the cgroup hierarchies that this mount namespace shows.
//! It must not create, change or choose anything.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Component, Path, PathBuf};

use libcgroups::common::{CgroupSetup, get_cgroup_setup_with_root};
use procfs::process::MountInfo;
use procfs::{FromBufRead, ProcessCGroups};
use serde::{Deserialize, Serialize};

use super::CgroupError;

/// Where the hierarchies are mounted on every distribution (file-hierarchy of systemd).
pub const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// The version 1 controllers that a container joins, as runc has them.
const V1_CONTROLLERS: [&str; 13] = [
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "misc",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
];

/// The one named hierarchy that is joined: systemd finds its processes by it.
const SYSTEMD_HIERARCHY: &str = "name=systemd";

/// How a host arranges its hierarchies.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Setup {
    /// Version 1 only.
    Legacy,
    /// Version 1 with a version 2 hierarchy beside it, for process tracking.
    Hybrid,
    /// Version 2 only.
    Unified,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// The cgroup that the mount point shows, `/` outside of containers.
    pub root: PathBuf,
    /// Version 1 controllers, or `name=systemd`; empty for version 2, where they differ by directory.
    pub controllers: Vec<String>,
    /// Version 2.
    pub unified: bool,
}

/// What planning needs to know of the host.
#[derive(Clone, Debug)]
pub struct Host {
    /// How the hierarchies are arranged.
    pub setup: Setup,
    /// Where they are mounted.
    pub mounts: Vec<Mount>,
    /// The caller's own place in all hierarchies, read only for relative paths.
    pub own: PathBuf,
}

impl Host {
    /// Looks at `/sys/fs/cgroup`; on a unified host that is one statfs(2).
    pub fn read() -> Result<Self, CgroupError> {
        Self::read_at(Path::new(CGROUP_ROOT))
    }

    /// As [`Host::read`], for hierarchies that are mounted elsewhere.
    pub fn read_at(root: &Path) -> Result<Self, CgroupError> {
        let own = PathBuf::from("/proc/self/cgroup");
        let setup = match get_cgroup_setup_with_root(root) {
            Ok(CgroupSetup::Unified) => {
                let mounts = vec![unified(root)];
                return Ok(Self {
                    setup: Setup::Unified,
                    mounts,
                    own,
                });
            }
            Ok(CgroupSetup::Hybrid) => Setup::Hybrid,
            // A root that is no tmpfs may still hold version 1 mounts: mountinfo tells.
            Ok(CgroupSetup::Legacy) | Err(_) => Setup::Legacy,
        };
        let mut mounts = v1_mounts(root)?;
        if mounts.is_empty() {
            return Err(CgroupError::NoHierarchy(root.to_owned()));
        }
        if setup == Setup::Hybrid {
            mounts.push(unified(&root.join("unified")));
        }
        Ok(Self { setup, mounts, own })
    }

    /// The caller's own cgroup in `mount`, as a path below the mount point.
    pub fn own_path(&self, mount: &Mount) -> Result<PathBuf, CgroupError> {
        let own = self.own_cgroups()?;
        let entry = own.0.iter().find(|entry| match mount.unified {
            true => entry.hierarchy == 0 && entry.controllers.is_empty(),
            false => entry
                .controllers
                .iter()
                .any(|c| mount.controllers.contains(c)),
        });
        let path = entry.map_or(Path::new("/"), |entry| Path::new(&entry.pathname));
        let below = path.strip_prefix(&mount.root).unwrap_or(path);
        Ok(clean(below))
    }

    fn own_cgroups(&self) -> Result<ProcessCGroups, CgroupError> {
        let read = |source| CgroupError::Read {
            path: self.own.clone(),
            source,
        };
        let file = File::open(&self.own).map_err(read)?;
        ProcessCGroups::from_buf_read(BufReader::new(file))
            .map_err(|error| read(std::io::Error::other(error)))
    }
}

/// The path from `/`, without `.`, `..` and double slashes, and without leading slash:
/// `..` stops at the root, so the result never leaves the directory it is joined to.
pub fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    out
}

fn unified(point: &Path) -> Mount {
    Mount {
        point: point.to_owned(),
        root: PathBuf::from("/"),
        controllers: Vec::new(),
        unified: true,
    }
}

/// The version 1 hierarchies, each once, the mount below `root` first.
fn v1_mounts(root: &Path) -> Result<Vec<Mount>, CgroupError> {
    let path = PathBuf::from("/proc/self/mountinfo");
    let read = |source| CgroupError::Read {
        path: path.clone(),
        source,
    };
    let file = File::open(&path).map_err(read)?;
    let mut found: Vec<Mount> = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line.map_err(read)?;
        let Some(mount) = v1_mount(&line) else {
            continue;
        };
        match found
            .iter_mut()
            .find(|m| m.controllers == mount.controllers)
        {
            Some(other) if !other.point.starts_with(root) && mount.point.starts_with(root) => {
                *other = mount;
            }
            Some(_) => {}
            None => found.push(mount),
        }
    }
    Ok(found)
}

fn v1_mount(line: &str) -> Option<Mount> {
    // Cheap before exact: a container host has hundreds of other mounts.
    if !line.contains(" - cgroup ") {
        return None;
    }
    let info = MountInfo::from_line(line).ok()?;
    let options = info.super_options;
    let mut controllers: Vec<String> = V1_CONTROLLERS
        .iter()
        .filter(|name| options.contains_key(**name))
        .map(ToString::to_string)
        .collect();
    if options
        .get("name")
        .is_some_and(|name| name.as_deref() == Some("systemd"))
    {
        controllers.push(SYSTEMD_HIERARCHY.to_owned());
    }
    (!controllers.is_empty()).then(|| Mount {
        point: info.mount_point,
        root: PathBuf::from(info.root),
        controllers,
        unified: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning_never_leaves_the_root() {
        for (path, expected) in [
            ("/aa/../bb/./cc", "bb/cc"),
            ("../../bb//cc/", "bb/cc"),
            ("/", ""),
            ("..", ""),
            ("a/b/../../..", ""),
        ] {
            assert_eq!(clean(Path::new(path)), Path::new(expected), "{path}");
        }
    }

    #[test]
    fn mountinfo_lines_give_controllers() {
        let line = "31 25 0:27 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct";
        let mount = v1_mount(line).unwrap();
        assert_eq!(mount.controllers, ["cpu", "cpuacct"]);
        assert_eq!(mount.root, Path::new("/docker/abc"));
        let systemd =
            "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd";
        assert_eq!(v1_mount(systemd).unwrap().controllers, ["name=systemd"]);
        let other = "40 31 0:37 / /sys/fs/cgroup/x rw - cgroup cgroup rw,name=elogind";
        assert_eq!(v1_mount(other), None);
        let v2 = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
        assert_eq!(v1_mount(v2), None);
    }

    #[test]
    fn this_host_is_read() {
        let host = Host::read().unwrap();
        assert!(!host.mounts.is_empty());
        for mount in &host.mounts {
            assert!(mount.point.join("cgroup.procs").exists(), "{mount:?}");
        }
    }

    #[test]
    fn a_place_without_hierarchies_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut host = Host::read_at(dir.path());
        // The version 1 mounts of this machine are found wherever they are.
        if let Ok(found) = &mut host {
            assert_ne!(found.setup, Setup::Unified);
        } else {
            assert!(matches!(host, Err(CgroupError::NoHierarchy(_))));
        }
    }
}
