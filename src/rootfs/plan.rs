//! Turns `config.json` into a list of what to mount, make and cover, with every rule that needs no
//! host. It must not open, stat or mount anything.

mod devices;
mod mounts;

use std::fmt;
use std::path::{Path, PathBuf};

use libcgroups::common::CgroupSetup;
use oci_spec::runtime::{Linux, LinuxNamespaceType, Spec};

use super::error::RootfsError;
use super::propagation::RootPropagation;
use devices::{plan_devices, sets_up_dev};
use mounts::plan_mounts;

pub use mounts::WARNED;

pub(super) use devices::PlannedDevice;
pub(super) use mounts::{BindChanges, Kind, PlannedMount, may_cover_proc};

/// What the plan must know beside the specification.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The container has a user namespace of its own, new or joined.
    pub userns: bool,
    /// The container has a mount namespace of its own.
    pub mount_ns: bool,
    /// The container has a cgroup namespace of its own.
    pub cgroup_ns: bool,
    /// The host has the unified cgroup hierarchy alone.
    pub unified: bool,
    /// SELinux is enabled on the host, so that `linux.mountLabel` takes effect.
    pub selinux: bool,
    /// The container's directory in the unified hierarchy as a host path, shown instead of the
    /// whole tree where a namespaced cgroup2 can't be mounted.
    pub own_cgroup: Option<PathBuf>,
}

impl Facts {
    /// The namespaces as `spec` lists them, and what the caller knows of the host.
    pub fn new(spec: &Spec, setup: &CgroupSetup, selinux: bool) -> Self {
        let has =
            |kind| namespaces(spec).is_some_and(|list| list.iter().any(|ns| ns.typ() == kind));
        Self {
            userns: has(LinuxNamespaceType::User),
            mount_ns: has(LinuxNamespaceType::Mount),
            cgroup_ns: has(LinuxNamespaceType::Cgroup),
            unified: matches!(setup, CgroupSetup::Unified),
            selinux,
            own_cgroup: None,
        }
    }
}

fn namespaces(spec: &Spec) -> Option<&Vec<oci_spec::runtime::LinuxNamespace>> {
    spec.linux().as_ref()?.namespaces().as_ref()
}

/// A root file system as the specification wants it.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) facts: Facts,
    pub(super) root: PathBuf,
    pub(super) root_readonly: bool,
    pub(super) propagation: RootPropagation,
    pub(super) mounts: Vec<PlannedMount>,
    /// `None` when the bundle binds a `/dev` of its own: it is left alone, as runc does.
    pub(super) devices: Option<Vec<PlannedDevice>>,
    pub(super) masked: Vec<PlannedPath>,
    pub(super) readonly: Vec<PlannedPath>,
    /// The SELinux label of new file systems.
    pub(super) label: Option<String>,
}

/// One entry of `linux.maskedPaths` or `linux.readonlyPaths`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedPath {
    pub(super) list: &'static str,
    pub(super) index: usize,
    pub(super) path: PathBuf,
}

impl fmt::Display for PlannedPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "linux.{}[{}] `{}`",
            self.list,
            self.index,
            self.path.display()
        )
    }
}

impl Plan {
    /// Reads the parts of `spec` that concern the root file system. `bundle` is absolute; relative
    /// paths of the specification begin there.
    ///
    /// # Errors
    /// [`RootfsError::Refused`] with the JSON path of what can't or must not be mounted.
    pub fn new(spec: &Spec, bundle: &Path, facts: &Facts) -> Result<Self, RootfsError> {
        let root = spec
            .root()
            .as_ref()
            .ok_or_else(|| RootfsError::refused("root", "is missing"))?;
        let none = Linux::default();
        let linux = spec.linux().as_ref().unwrap_or(&none);
        let mounts = plan_mounts(spec, linux, bundle, facts)?;
        let devices = plan_devices(linux, &mounts)?;
        let plan = Self {
            facts: facts.clone(),
            root: bundle.join(root.path()),
            root_readonly: root.readonly().unwrap_or(false),
            propagation: propagation(linux)?,
            devices: sets_up_dev(&mounts).then_some(devices),
            mounts,
            masked: plan_paths("maskedPaths", linux.masked_paths())?,
            readonly: plan_paths("readonlyPaths", linux.readonly_paths())?,
            label: linux
                .mount_label()
                .clone()
                .filter(|label| facts.selinux && !label.is_empty()),
        };
        plan.check_mount_namespace()?;
        Ok(plan)
    }

    /// Covering a path of the host's own tree would cover it for everybody.
    fn check_mount_namespace(&self) -> Result<(), RootfsError> {
        let path = self.masked.iter().chain(&self.readonly).next();
        match path {
            Some(path) if !self.facts.mount_ns => {
                Err(RootfsError::refused(path, "needs a mount namespace"))
            }
            _ => Ok(()),
        }
    }
}

fn propagation(linux: &Linux) -> Result<RootPropagation, RootfsError> {
    let word = linux.rootfs_propagation().as_deref().unwrap_or("");
    RootPropagation::parse(word).ok_or_else(|| {
        RootfsError::refused(
            format_args!("linux.rootfsPropagation `{word}`"),
            "is not one of private, rprivate, slave, rslave, shared, rshared, unbindable, runbindable",
        )
    })
}

fn plan_paths(
    list: &'static str,
    paths: &Option<Vec<String>>,
) -> Result<Vec<PlannedPath>, RootfsError> {
    let mut planned: Vec<PlannedPath> = Vec::new();
    for (index, path) in paths.iter().flatten().enumerate() {
        let path = PathBuf::from(path);
        let entry = PlannedPath { list, index, path };
        if !entry.path.is_absolute() {
            return Err(RootfsError::refused(entry, "is not absolute"));
        }
        if planned.iter().all(|other| other.path != entry.path) {
            planned.push(entry);
        }
    }
    Ok(planned)
}
