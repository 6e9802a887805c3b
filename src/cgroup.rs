//! Cgroups of a container: path, limits, devices, freezer, statistics, removal.
//! It must not look at spec fields outside of `linux.cgroupsPath` and `linux.resources`.

mod apply;
mod create;
mod devices;
mod error;
mod file;
mod freeze;
mod host;
mod join;
mod oom;
mod path;
mod pids;
mod remove;
mod stats;
mod systemd;
#[cfg(test)]
mod testing;
mod tree;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use apply::{WARNED, Warning, weight};
pub use error::CgroupError;
pub use host::{CGROUP_ROOT, Host, Mount, Setup, clean};
pub use join::{Gate, SubCgroup, pass};
pub use oom::{OomWatch, Wake};
pub use stats::{Event, Stats};
pub use systemd::Scope;

type Result<T, E = CgroupError> = std::result::Result<T, E>;

/// The cgroups of one container. Stored in its state record; all operations work from it alone.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cgroup {
    setup: Setup,
    /// One per hierarchy; none at all when cgroups are disabled.
    hierarchies: Vec<Hierarchy>,
    /// The directory above is pxrun's own, and goes when the last container in it goes.
    #[serde(default)]
    own_parent: bool,
    /// The bundle gave a path: failing to create it is an error even for an unprivileged user.
    #[serde(default)]
    explicit: bool,
    /// The user has no rights over the tree as a whole.
    #[serde(default)]
    rootless: bool,
    /// The transient unit, when systemd manages the cgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    systemd: Option<Scope>,
}

/// The container's directory in one hierarchy.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Hierarchy {
    mount: PathBuf,
    dir: PathBuf,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    controllers: Vec<String>,
    #[serde(default)]
    unified: bool,
}

impl Cgroup {
    /// No cgroups at all (`--cgroup-manager disabled`): the container stays in its caller's.
    /// Asking such a container for a limit is an error.
    pub fn disabled() -> Self {
        Self {
            setup: Setup::Unified,
            hierarchies: Vec::new(),
            own_parent: false,
            explicit: false,
            rootless: false,
            systemd: None,
        }
    }

    /// How the host arranges its hierarchies.
    pub fn setup(&self) -> Setup {
        self.setup
    }

    /// The directory that stands for the container: on version 2 the one there is, else the one
    /// of `devices`, as in runc. For `state`, hooks and messages.
    pub fn path(&self) -> Option<&Path> {
        self.main().map(|hierarchy| hierarchy.dir.as_path())
    }

    /// True when the cgroup exists only after a process was put in it, because systemd makes it:
    /// then `join` comes before `apply`, and there is nothing to clone into.
    pub fn needs_process_first(&self) -> bool {
        self.systemd.is_some()
    }

    /// The same for a process whose working directory is the host's root, whatever its own is.
    #[must_use]
    pub fn below_root(&self) -> Cgroup {
        let relative = |path: &Path| path.strip_prefix("/").unwrap_or(path).to_owned();
        let mut cgroup = self.clone();
        for hierarchy in &mut cgroup.hierarchies {
            hierarchy.mount = relative(&hierarchy.mount);
            hierarchy.dir = relative(&hierarchy.dir);
        }
        cgroup
    }

    /// Whether the container's cgroup is there.
    pub fn exists(&self) -> bool {
        self.path().is_some_and(Path::exists)
    }

    fn main(&self) -> Option<&Hierarchy> {
        match self.setup {
            Setup::Unified => self.unified(),
            Setup::Legacy | Setup::Hybrid => self
                .v1("devices")
                .or_else(|| self.v1("pids"))
                .or_else(|| self.hierarchies.first()),
        }
    }

    fn unified(&self) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.unified)
    }

    fn v1(&self, controller: &str) -> Option<&Hierarchy> {
        self.hierarchies
            .iter()
            .find(|hierarchy| hierarchy.controllers.iter().any(|c| c == controller))
    }

    /// The directory that a controller's files are in, whether or not they exist.
    fn dir_of(&self, controller: &str) -> Option<&Path> {
        let hierarchy = match self.setup {
            Setup::Unified => self.unified(),
            Setup::Legacy | Setup::Hybrid => self.v1(controller),
        };
        hierarchy.map(|hierarchy| hierarchy.dir.as_path())
    }

    /// An unprivileged user who asked for no path and has no rights runs without a cgroup, as with runc.
    fn may_lack_dir(&self, dir: &Path) -> bool {
        self.rootless && !self.explicit && !dir.exists()
    }
}
