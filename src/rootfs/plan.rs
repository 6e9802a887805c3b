//! Turns `config.json` into a list of what to mount, make and cover, with every rule that needs no
//! host. It must not open, stat or mount anything.

use std::fmt;
use std::path::{Path, PathBuf};

use libcgroups::common::CgroupSetup;
use nix::mount::MsFlags;
use nix::sys::stat::SFlag;
use oci_spec::runtime::{Linux, LinuxDevice, LinuxDeviceType, LinuxNamespaceType, Mount, Spec};

use super::error::RootfsError;
use super::idmap::Mapping;
use super::options::{Attrs, Options, Scope};
use super::propagation::RootPropagation;
use super::resolve::lexical;

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

/// One entry of `mounts`.
#[derive(Clone, Debug)]
pub struct PlannedMount {
    pub(super) index: usize,
    /// Absolute; not yet resolved.
    pub(super) destination: PathBuf,
    pub(super) kind: Kind,
    /// Empty for a bind.
    pub(super) fstype: String,
    pub(super) source: Option<PathBuf>,
    pub(super) options: Options,
    pub(super) mapping: Option<Mapping>,
}

/// How a mount is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// From a host path.
    Bind,
    /// A change of what is mounted at the destination.
    Remount,
    /// A fresh procfs.
    Proc,
    /// sysfs, or the host's where the kernel refuses one.
    Sysfs,
    /// A fresh tmpfs.
    Tmpfs,
    /// The unified cgroup hierarchy in a cgroup namespace.
    Cgroup2,
    /// One mount for each hierarchy of cgroup v1.
    Cgroup1,
    /// Anything else.
    Other,
}

impl PlannedMount {
    /// Whether it becomes read-only only after the pivot: things are still put into it.
    pub(super) fn read_only_late(&self) -> bool {
        self.kind == Kind::Tmpfs
            || (self.kind != Kind::Bind && lexical(&self.destination) == Path::new("/dev"))
    }
}

impl fmt::Display for PlannedMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mounts[{}] `{}`", self.index, self.destination.display())
    }
}

/// One device node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedDevice {
    /// Its index in `linux.devices`, `None` for a default device.
    pub(super) index: Option<usize>,
    pub(super) path: PathBuf,
    pub(super) kind: SFlag,
    pub(super) mode: u32,
    pub(super) major: u64,
    pub(super) minor: u64,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl PlannedDevice {
    /// Whether it is a node of a driver, which a user namespace may not make.
    pub(super) fn is_driver(&self) -> bool {
        self.kind != SFlag::S_IFIFO
    }
}

impl fmt::Display for PlannedDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "linux.devices[{index}] `{}`", self.path.display()),
            None => write!(f, "default device `{}`", self.path.display()),
        }
    }
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

fn plan_mounts(
    spec: &Spec,
    linux: &Linux,
    bundle: &Path,
    facts: &Facts,
) -> Result<Vec<PlannedMount>, RootfsError> {
    let fallback = container_mapping(linux);
    let list = spec.mounts().as_deref().unwrap_or_default();
    list.iter()
        .enumerate()
        .map(|(index, mount)| {
            let planned = plan_mount(index, mount, bundle, facts);
            let planned = plan_mapping(planned, mount, fallback.as_ref())?;
            check_destination(&planned)?;
            warn_of_ignored(&planned);
            Ok(planned)
        })
        .collect()
}

/// The container's own mapping, for idmapped mounts that bring none.
fn container_mapping(linux: &Linux) -> Option<Mapping> {
    let list = linux.namespaces().as_ref()?;
    let user = list
        .iter()
        .find(|ns| ns.typ() == LinuxNamespaceType::User)?;
    match user.path() {
        Some(path) if !path.as_os_str().is_empty() => Some(Mapping::Namespace(path.clone())),
        _ => Mapping::from_spec(linux.uid_mappings().as_ref(), linux.gid_mappings().as_ref()),
    }
}

fn plan_mount(index: usize, mount: &Mount, bundle: &Path, facts: &Facts) -> PlannedMount {
    let words = mount.options().as_deref().unwrap_or_default();
    let mut options = Options::parse(words.iter().map(String::as_str));
    let fstype = mount.typ().clone().unwrap_or_default();
    let mut source = mount.source().clone();
    let kind = kind_of(&fstype, &options, facts);
    if kind == Kind::Bind {
        if options.bind.is_none() && fstype.starts_with("cgroup") {
            // A cgroup2 mounted from the host's cgroup namespace would take the host's mount
            // options with it (cgroup_namespaces(7), kernel `apply_cgroup_root_flags`).
            source = Some(PathBuf::from("/sys/fs/cgroup"));
            let scope = if facts.userns {
                Scope::Tree
            } else {
                Scope::Top
            };
            options.bind = Some(scope);
            options.data.clear();
        }
        source = source.map(|path| bundle.join(path));
        options.bind.get_or_insert(Scope::Top);
    }
    PlannedMount {
        index,
        destination: Path::new("/").join(mount.destination()),
        kind,
        fstype,
        source,
        options,
        mapping: None,
    }
}

fn kind_of(fstype: &str, options: &Options, facts: &Facts) -> Kind {
    let unified = facts.unified;
    match fstype {
        _ if options.remount => Kind::Remount,
        _ if options.bind.is_some() => Kind::Bind,
        "bind" => Kind::Bind,
        "proc" => Kind::Proc,
        "sysfs" => Kind::Sysfs,
        "tmpfs" => Kind::Tmpfs,
        "cgroup" | "cgroup2" if unified && !facts.cgroup_ns => Kind::Bind,
        "cgroup" | "cgroup2" if unified => Kind::Cgroup2,
        "cgroup" => Kind::Cgroup1,
        _ => Kind::Other,
    }
}

fn plan_mapping(
    mut planned: PlannedMount,
    mount: &Mount,
    fallback: Option<&Mapping>,
) -> Result<PlannedMount, RootfsError> {
    let given = |list: &Option<Vec<_>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let (uids, gids) = (mount.uid_mappings(), mount.gid_mappings());
    if planned.options.idmap.is_none() && !given(uids) && !given(gids) {
        return Ok(planned);
    }
    let refuse = |why| Err(RootfsError::refused(&planned, why));
    if planned.kind != Kind::Bind {
        return refuse("only a bind mount can be idmapped");
    }
    if given(uids) != given(gids) {
        return refuse("uidMappings and gidMappings need each other");
    }
    let own = Mapping::from_spec(uids.as_ref(), gids.as_ref());
    let Some(mapping) = own.or_else(|| fallback.cloned()) else {
        return refuse("idmap needs uidMappings and gidMappings, or a user namespace");
    };
    planned.mapping = Some(mapping);
    planned.options.idmap.get_or_insert(Scope::Top);
    Ok(planned)
}

/// What lxcfs and the like may put over files of `/proc`, the list of runc's `checkProcMount`.
const OVER_PROC: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// Whether a mount inside procfs is allowed at this destination, judged by its text.
pub(super) fn may_cover_proc(destination: &Path) -> bool {
    let clean = lexical(destination);
    OVER_PROC.iter().any(|allowed| clean == Path::new(allowed))
}

fn check_destination(mount: &PlannedMount) -> Result<(), RootfsError> {
    let refuse = |why| Err(RootfsError::refused(mount, why));
    let clean = lexical(&mount.destination);
    let proc = Path::new("/proc");
    if mount.kind == Kind::Remount {
        return Ok(());
    }
    if clean == Path::new("/") {
        return refuse("the root itself can't be mounted over");
    }
    if clean == proc && !matches!(mount.kind, Kind::Proc | Kind::Bind) {
        return refuse("only procfs may be mounted on /proc");
    }
    if clean != proc && clean.starts_with(proc) && !may_cover_proc(&clean) {
        return refuse("lies inside /proc");
    }
    if mount.kind == Kind::Bind && mount.source.is_none() {
        return refuse("a bind mount needs a source");
    }
    if mount.kind == Kind::Other && mount.fstype.is_empty() {
        return refuse("type is missing");
    }
    if mount.options.copy_up && mount.kind != Kind::Tmpfs {
        return refuse("tmpcopyup is only for tmpfs");
    }
    Ok(())
}

/// What runc takes without a word and without effect, and pxrun with a word.
pub const WARNED: &[(&str, &str)] = &[
    (
        "mounts[].options: data on a bind mount",
        "mount(2) ignores the data of a bind, and callers pass options of their own",
    ),
    (
        "mounts[].options: flags of the super block on a bind mount",
        "they belong to the file system, which a bind doesn't own",
    ),
];

fn warn_of_ignored(mount: &PlannedMount) {
    if mount.kind != Kind::Bind {
        return;
    }
    if !mount.options.data.is_empty() {
        let data = mount.options.data.join(",");
        tracing::warn!("{mount}: options `{data}` have no effect: {}", WARNED[0].1);
    }
    if !mount.options.super_flags.is_empty() {
        tracing::warn!("{mount}: flags have no effect: {}", WARNED[1].1);
    }
}

fn sets_up_dev(mounts: &[PlannedMount]) -> bool {
    !mounts
        .iter()
        .any(|m| m.kind == Kind::Bind && lexical(&m.destination) == Path::new("/dev"))
}

/// runtime-spec `config-linux.md`, "Default devices"; `ptmx` is a link.
const DEFAULT_DEVICES: &[(&str, u64, u64)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// The defaults, then `linux.devices`. One that the specification lists itself replaces the default,
/// and one that a mount covers isn't made: the mount is what the caller wants to see there.
fn plan_devices(linux: &Linux, mounts: &[PlannedMount]) -> Result<Vec<PlannedDevice>, RootfsError> {
    let listed = linux.devices().as_deref().unwrap_or_default();
    let listed = listed
        .iter()
        .enumerate()
        .map(|(index, device)| plan_device(index, device))
        .collect::<Result<Vec<_>, _>>()?;
    let defaults = DEFAULT_DEVICES
        .iter()
        .map(|&(path, major, minor)| default_device(path, major, minor))
        .filter(|default| listed.iter().all(|device| device.path != default.path));
    let covered = |path: &Path| mounts.iter().any(|m| lexical(&m.destination) == path);
    Ok(defaults
        .chain(listed.iter().cloned())
        .filter(|device| !covered(&device.path) && device.path != Path::new("/dev/ptmx"))
        .collect())
}

fn default_device(path: &str, major: u64, minor: u64) -> PlannedDevice {
    PlannedDevice {
        index: None,
        path: path.into(),
        kind: SFlag::S_IFCHR,
        mode: 0o666,
        major,
        minor,
        uid: 0,
        gid: 0,
    }
}

fn plan_device(index: usize, device: &LinuxDevice) -> Result<PlannedDevice, RootfsError> {
    let at = format!("linux.devices[{index}] `{}`", device.path().display());
    let kind = match device.typ() {
        LinuxDeviceType::B => SFlag::S_IFBLK,
        LinuxDeviceType::C | LinuxDeviceType::U => SFlag::S_IFCHR,
        LinuxDeviceType::P => SFlag::S_IFIFO,
        LinuxDeviceType::A => return Err(RootfsError::refused(at, "type `a` is not a device")),
    };
    let path = lexical(device.path());
    if path == Path::new("/") {
        return Err(RootfsError::refused(at, "path is missing"));
    }
    let number = |name: &str, value: i64| {
        u64::try_from(value)
            .map_err(|_| RootfsError::refused(&at, format_args!("{name} {value} is negative")))
    };
    let numbered = kind != SFlag::S_IFIFO;
    Ok(PlannedDevice {
        index: Some(index),
        path,
        kind,
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        major: if numbered {
            number("major", device.major())?
        } else {
            0
        },
        minor: if numbered {
            number("minor", device.minor())?
        } else {
            0
        },
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
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

/// How a bind's clone is changed: one mount_setattr(2) for the tree, one for its top, then what is
/// left of its propagation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindChanges {
    pub(super) tree: Attrs,
    pub(super) tree_propagation: Option<MsFlags>,
    pub(super) top: Attrs,
    pub(super) rest: Vec<(Scope, MsFlags)>,
}

impl BindChanges {
    /// For a mount with these options, after `host` (what the clone takes over from the host).
    pub(super) fn new(options: &Options, host: Option<MsFlags>) -> Self {
        let mut rest = options.propagation.clone();
        let mut tree_propagation = host;
        // A recursive type that doesn't build on the one before replaces it in the same call.
        if let Some(&(Scope::Tree, flag)) = rest.first() {
            let replaces = flag == MsFlags::MS_PRIVATE || Some(flag) == host || host.is_none();
            if replaces {
                tree_propagation = Some(flag);
                rest.remove(0);
            }
        }
        Self {
            tree: options.tree,
            tree_propagation,
            top: options.top,
            rest,
        }
    }
}
