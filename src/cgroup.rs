//! The cgroup of a container: where it is, its limits, its devices, its freezer, its end. Must not
//! know anything of the spec but `linux.resources` and `linux.cgroupsPath`.

mod control;
mod devices;
mod limits;
mod stats;

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use libcgroups::common::{CgroupSetup, get_cgroup_setup};
use nix::libc;
use serde::{Deserialize, Serialize};

/// Where the kernel's hierarchies are mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// Why a cgroup can't be made, changed or removed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The host's hierarchies can't be told.
    #[error("cgroups of this host: {0}")]
    Setup(String),
    /// The path has no meaning for the driver.
    #[error("linux.cgroupsPath: `{0}`, expected {1}")]
    Path(String, &'static str),
    /// A file of the cgroup can't be read or written.
    #[error("{what} `{}`", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Something runs in the cgroup already.
    #[error("container's cgroup is not empty: {0} process(es) found in `{1}`")]
    NotEmpty(usize, String),
    /// A limit that does not take effect.
    #[error("linux.resources: {0}")]
    Limit(String),
    /// Devices can't be restricted.
    #[error("linux.resources.devices: {what}")]
    Devices {
        /// What was tried.
        what: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Processes that outlive SIGKILL.
    #[error("{0} process(es) of the container do not end after SIGKILL")]
    Immortal(usize),
    /// The freezer does not come to the state asked for.
    #[error("unable to {0} the container's cgroup")]
    Freezer(&'static str),
}

pub(crate) fn file(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> CgroupError {
    let path = path.to_owned();
    move |source| CgroupError::File { what, path, source }
}

/// The kind of hierarchies, as it was at `create`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Version 2 alone.
    Unified,
    /// Version 1 controllers; perhaps a version 2 hierarchy without any.
    Legacy,
    /// The caller wants none (`--cgroup-manager disabled`).
    Disabled,
}

/// One container's cgroup. Everything later works from this value alone: it stands in the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    kind: Kind,
    /// Path below each hierarchy's mount point, absolute.
    path: PathBuf,
    /// systemd's driver manages it.
    systemd: bool,
    /// Directories, one a hierarchy: the version 2 one is the only one, or the last.
    dirs: Vec<Dir>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Dir {
    /// Controllers of a version 1 hierarchy; empty for version 2.
    controllers: Vec<String>,
    /// Where the hierarchy is mounted.
    mount: PathBuf,
}

impl Cgroup {
    /// Decides where the container's processes go. Nothing is made yet.
    ///
    /// # Errors
    /// The host's hierarchies can't be told; the path isn't one.
    pub fn plan(
        wanted: Option<&Path>,
        id: &str,
        root: &Path,
        systemd: bool,
    ) -> Result<Cgroup, CgroupError> {
        let setup = get_cgroup_setup().map_err(|error| CgroupError::Setup(error.to_string()))?;
        let unified = matches!(setup, CgroupSetup::Unified);
        let wanted = wanted.filter(|path| !path.as_os_str().is_empty());
        if systemd {
            return Err(CgroupError::Setup(
                "systemd's cgroup driver was asked for, but systemd does not run here".into(),
            ));
        }
        let path = match wanted {
            Some(path) => clean(path),
            None => default_path(id, root),
        };
        let dirs = if unified {
            vec![Dir {
                controllers: Vec::new(),
                mount: MOUNT.into(),
            }]
        } else {
            legacy_mounts()?
        };
        Ok(Cgroup {
            kind: if unified { Kind::Unified } else { Kind::Legacy },
            path,
            systemd,
            dirs,
        })
    }

    /// The directory in the version 2 hierarchy, as a path of the host.
    pub fn host_path(&self) -> Option<PathBuf> {
        self.unified_dir()
    }

    /// Version 2 alone.
    pub fn is_unified(&self) -> bool {
        self.kind == Kind::Unified
    }

    /// The container's directory in one hierarchy.
    fn dir(&self, hierarchy: &Dir) -> PathBuf {
        let relative = self.path.strip_prefix("/").unwrap_or(&self.path);
        hierarchy.mount.join(relative)
    }

    fn all_dirs(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.dirs.iter().map(|hierarchy| self.dir(hierarchy))
    }

    /// The directory of a version 1 controller.
    fn controller(&self, name: &str) -> Option<PathBuf> {
        let found = self.dirs.iter().find(|d| d.controllers.iter().any(|c| c == name));
        found.map(|hierarchy| self.dir(hierarchy))
    }

    /// The directory in the version 2 hierarchy.
    fn unified_dir(&self) -> Option<PathBuf> {
        let found = self.dirs.iter().find(|d| d.controllers.is_empty());
        found.map(|hierarchy| self.dir(hierarchy))
    }

    /// Makes the directories in all hierarchies.
    ///
    /// # Errors
    /// Something runs there already: another container's limits would be changed, and its
    /// processes killed at delete.
    pub fn create(&self) -> Result<(), CgroupError> {
        for hierarchy in &self.dirs {
            let dir = self.dir(hierarchy);
            if !make(&dir)? {
                let found = control::pids_below(&dir).len();
                if found > 0 {
                    return Err(CgroupError::NotEmpty(found, self.path.display().to_string()));
                }
            }
            if hierarchy.controllers.iter().any(|c| c == "cpuset") {
                inherit_cpuset(&hierarchy.mount, &dir)?;
            }
        }
        if self.is_unified() {
            self.enable_controllers();
        }
        Ok(())
    }

    /// All controllers for the children of every directory above ours; what the kernel refuses
    /// (a controller taken by version 1, a delegated tree) shows when a limit needs it.
    fn enable_controllers(&self) {
        let available = std::fs::read_to_string(Path::new(MOUNT).join("cgroup.controllers"));
        let available = available.unwrap_or_default();
        let mut dir = PathBuf::from(MOUNT);
        let parents = self.path.parent().unwrap_or(Path::new("/"));
        for component in parents.components() {
            if let Component::Normal(name) = component {
                dir.push(name);
            }
            let control = dir.join("cgroup.subtree_control");
            let enabled = std::fs::read_to_string(&control).unwrap_or_default();
            let enabled: Vec<&str> = enabled.split_whitespace().collect();
            for controller in available.split_whitespace().filter(|c| !enabled.contains(c)) {
                if let Err(error) = std::fs::write(&control, format!("+{controller}")) {
                    tracing::debug!("enable {controller} in `{}`: {error}", dir.display());
                }
            }
        }
    }

    /// The version 2 directory, for a clone into it.
    pub fn into_fd(&self) -> Option<OwnedFd> {
        let dir = self.unified_dir()?;
        let opened = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
            .open(dir);
        opened.ok().map(OwnedFd::from)
    }

    /// Moves a process that was cloned into the version 2 directory into all others.
    pub fn join(&self, pid: i32) -> Result<(), CgroupError> {
        for hierarchy in self.dirs.iter().filter(|d| !d.controllers.is_empty()) {
            enter(&self.dir(hierarchy), pid)?;
        }
        Ok(())
    }

    /// Moves a process into sub-cgroups: `PATH`, or `CONTROLLER[,…]:PATH` on version 1.
    ///
    /// # Errors
    /// A path that leads outside, or that isn't there.
    pub fn join_sub(&self, pid: i32, wanted: &[String]) -> Result<(), CgroupError> {
        let mut targets: Vec<PathBuf> = self.all_dirs().collect();
        for text in wanted {
            let (controllers, path) = match text.split_once(':') {
                Some((controllers, path)) => (controllers.split(',').collect(), path),
                None => (Vec::new(), text.as_str()),
            };
            let clean = clean(Path::new(path));
            let below = clean.strip_prefix("/").unwrap_or(&clean);
            for (hierarchy, target) in self.dirs.iter().zip(&mut targets) {
                let named = |c: &&str| hierarchy.controllers.iter().any(|own| own == c);
                if controllers.is_empty() || controllers.iter().any(named) {
                    *target = self.dir(hierarchy).join(below);
                }
            }
        }
        targets.iter().try_for_each(|dir| enter(dir, pid))
    }
}

/// What nobody asked for a place for goes where equal ids under different roots never meet.
fn default_path(id: &str, root: &Path) -> PathBuf {
    use sha2::{Digest, Sha256};
    if root == Path::new("/run/pxrun") {
        return Path::new("/pxrun").join(id);
    }
    let digest = Sha256::digest(root.as_os_str().as_encoded_bytes());
    let short: String = digest.iter().take(6).map(|b| format!("{b:02x}")).collect();
    PathBuf::from(format!("/pxrun-{short}")).join(id)
}

/// Absolute, without `.` and `..`.
fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => {
                out.pop();
            }
            _ => {}
        }
    }
    out
}

/// The version 1 hierarchies, and the version 2 one of a hybrid host, in mount order; a hierarchy
/// counts once.
fn legacy_mounts() -> Result<Vec<Dir>, CgroupError> {
    let path = Path::new("/proc/self/mountinfo");
    let text = std::fs::read_to_string(path).map_err(file("read", path))?;
    let mut dirs: Vec<Dir> = Vec::new();
    for line in text.lines() {
        let Some((front, back)) = line.split_once(" - ") else {
            continue;
        };
        let Some(mount) = front.split(' ').nth(4).filter(|m| m.starts_with(MOUNT)) else {
            continue;
        };
        let fields: Vec<&str> = back.split(' ').collect();
        let controllers = match fields.first() {
            Some(&"cgroup") => controllers_of(fields.get(2).unwrap_or(&"")),
            Some(&"cgroup2") => Vec::new(),
            _ => continue,
        };
        if dirs.iter().all(|d| d.controllers != controllers) {
            dirs.push(Dir {
                controllers,
                mount: mount.into(),
            });
        }
    }
    if dirs.iter().all(|d| d.controllers.is_empty()) {
        let text = format!("no hierarchy is mounted below `{MOUNT}`");
        return Err(CgroupError::Setup(text));
    }
    Ok(dirs)
}

/// `rw,cpu,cpuacct` → cpu, cpuacct; `rw,xattr,name=systemd` → name=systemd.
fn controllers_of(options: &str) -> Vec<String> {
    let general = ["rw", "ro", "xattr", "noprefix", "clone_children", "release_agent"];
    let names = options.split(',').filter(|o| {
        let name = o.split('=').next().unwrap_or(o);
        !general.contains(&name)
    });
    names.map(str::to_owned).collect()
}

/// Makes a directory and those above it; false when it was there.
fn make(dir: &Path) -> Result<bool, CgroupError> {
    match std::fs::create_dir(dir) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            std::fs::create_dir_all(dir).map_err(file("make cgroup", dir))?;
            Ok(true)
        }
        Err(error) => Err(file("make cgroup", dir)(error)),
    }
}

fn enter(dir: &Path, pid: i32) -> Result<(), CgroupError> {
    let procs = dir.join("cgroup.procs");
    std::fs::write(&procs, pid.to_string()).map_err(file("move process into cgroup", &procs))
}

/// A version 1 cpuset starts empty, and an empty one takes no process: each level gets what the
/// one above has.
fn inherit_cpuset(mount: &Path, dir: &Path) -> Result<(), CgroupError> {
    let mut level = mount.to_owned();
    let below = dir.strip_prefix(mount).unwrap_or(Path::new(""));
    for name in below.components() {
        let parent = level.clone();
        level.push(name);
        for name in ["cpuset.cpus", "cpuset.mems"] {
            let own = level.join(name);
            let now = std::fs::read_to_string(&own).map_err(file("read", &own))?;
            if now.trim().is_empty() {
                let above = parent.join(name);
                let value = std::fs::read_to_string(&above).map_err(file("read", &above))?;
                std::fs::write(&own, value.trim()).map_err(file("write", &own))?;
            }
        }
    }
    Ok(())
}

/// Reads a number from a file of a cgroup.
fn read_number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Opens a cgroup's directory for requests that want a descriptor.
fn open_dir(path: &Path) -> std::io::Result<File> {
    File::open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ids_under_different_roots_never_meet() {
        let at = |root: &str| default_path("c", Path::new(root));
        assert_eq!(at("/run/pxrun"), PathBuf::from("/pxrun/c"));
        assert_ne!(at("/run/a"), at("/run/b"));
    }

    #[test]
    fn paths_stay_below_the_hierarchy() {
        for (text, path) in [("a/b", "/a/b"), ("/a/../../b", "/b"), ("./x/.", "/x"), ("/", "/")] {
            assert_eq!(clean(Path::new(text)), PathBuf::from(path), "{text}");
        }
    }

    #[test]
    fn mount_options_tell_the_controllers() {
        assert_eq!(controllers_of("rw,cpu,cpuacct"), ["cpu", "cpuacct"]);
        assert_eq!(controllers_of("rw,xattr,name=systemd"), ["name=systemd"]);
    }
}
