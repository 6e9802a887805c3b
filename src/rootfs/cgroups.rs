//! `cgroup` mounts: the unified hierarchy, or a tmpfs with one mount for each v1 hierarchy.
//! It must not write to any cgroup.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use libcontainer::syscall::Syscall;
use libcontainer::syscall::linux::{
    self as k, LinuxSyscall, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
};
use nix::errno::Errno;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::symlinkat;
use procfs::process::Process;

use super::error::{RootfsError, errno};
use super::kernel;
use super::newfs;
use super::options::{Attrs, Scope};
use super::plan::PlannedMount;
use super::prepare::Prepared;

/// What runc gives every mount below the cgroup tmpfs.
const SAFE: u64 = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

/// One v1 hierarchy of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where the host has it mounted.
    mounted_at: PathBuf,
    /// Which of its cgroups is mounted there.
    root: PathBuf,
    /// `cpu`, `cpuacct` or `name=systemd`.
    controllers: Vec<String>,
}

impl Hierarchy {
    /// The directory's name in the container, the same as on the host.
    fn name(&self) -> &Path {
        self.mounted_at
            .file_name()
            .map_or(Path::new("cgroup"), Path::new)
    }
}

/// The v1 hierarchies that are mounted on the host, each once. Hybrid's `unified` isn't among them,
/// as in runc 1.1.
///
/// # Errors
/// [`RootfsError`] when `/proc/self/mountinfo` can't be read.
pub fn hierarchies(mount: &PlannedMount) -> Result<Vec<Hierarchy>, RootfsError> {
    let infos = Process::myself()
        .and_then(|me| me.mountinfo())
        .map_err(|error| RootfsError::refused(mount, format_args!("read mountinfo: {error}")))?;
    let mut found: Vec<Hierarchy> = Vec::new();
    for info in infos.0.into_iter().filter(|info| info.fs_type == "cgroup") {
        let mut controllers: Vec<String> = info
            .super_options
            .into_iter()
            .filter_map(|(key, value)| controller(key, value))
            .collect();
        controllers.sort();
        if found.iter().all(|other| other.controllers != controllers) {
            found.push(Hierarchy {
                mounted_at: info.mount_point,
                root: info.root.into(),
                controllers,
            });
        }
    }
    Ok(found)
}

/// A super block option that names a controller or a hierarchy, see cgroups(7).
fn controller(key: String, value: Option<String>) -> Option<String> {
    const OTHERS: &[&str] = &[
        "rw",
        "ro",
        "xattr",
        "noprefix",
        "clone_children",
        "cpuset_v2_mode",
        "favordynmods",
        "nofavordynmods",
    ];
    match value {
        Some(value) if key == "name" => Some(format!("name={value}")),
        None if !OTHERS.contains(&key.as_str()) => Some(key),
        _ => None,
    }
}

/// The unified hierarchy in the container's cgroup namespace, or the host's where that is refused.
pub fn mount_unified(prepared: &Prepared, plan: &PlannedMount) -> Result<OwnedFd, RootfsError> {
    let set = plan.options.top.set | plan.options.tree.set;
    let made = newfs::build(plan, "cgroup2", set, &plan.options.data, None);
    match made {
        Err(RootfsError::Sys {
            source: Errno::EPERM | Errno::EBUSY,
            ..
        }) => {
            let own = prepared.facts.own_cgroup.as_deref();
            let path = own.unwrap_or(Path::new("/sys/fs/cgroup"));
            clone_with(path, plan.options.top)
                .map_err(RootfsError::sys(plan, "bind the host's cgroup"))
        }
        made => made,
    }
}

/// A clone of a host path that stays below the container's reach.
pub fn clone_with(path: &Path, attrs: Attrs) -> Result<OwnedFd, Errno> {
    // Recursive, because a tree with locked mounts can't be cloned without them.
    let fd = kernel::clone_path(path, Scope::Tree, false)?;
    kernel::set_attrs(fd.as_fd(), Scope::Top, attrs, None, None)?;
    Ok(fd)
}

/// The tmpfs of v1, with its hierarchies in it. It is attached at `target` first: nothing can be
/// mounted on a detached mount before Linux 6.15.
pub fn mount_v1(
    prepared: &Prepared,
    plan: &PlannedMount,
    target: BorrowedFd<'_>,
) -> Result<OwnedFd, RootfsError> {
    let data = ["mode=755".to_owned()];
    let tmpfs = with_source(plan, "tmpfs");
    let top = newfs::build(&tmpfs, "tmpfs", SAFE, &data, prepared.label.as_deref())?;
    kernel::attach(top.as_fd(), target).map_err(RootfsError::sys(plan, "attach"))?;
    let own = own_cgroups(prepared, plan)?;
    for hierarchy in &prepared.hierarchies {
        mount_hierarchy(prepared, plan, &top, hierarchy, &own)
            .map_err(|error| name_hierarchy(error, hierarchy))?;
    }
    if plan.options.read_only() {
        kernel::set_read_only(top.as_fd()).map_err(RootfsError::sys(plan, "make read-only"))?;
    }
    Ok(top)
}

fn name_hierarchy(error: RootfsError, hierarchy: &Hierarchy) -> RootfsError {
    let name = hierarchy.name().display();
    match error {
        RootfsError::Sys { at, what, source } => RootfsError::Sys {
            at,
            what: format!("hierarchy `{name}`: {what}"),
            source,
        },
        other => other,
    }
}

/// The cgroups of this process, needed only to bind them: `(controllers, path)`.
fn own_cgroups(
    prepared: &Prepared,
    plan: &PlannedMount,
) -> Result<Vec<(Vec<String>, PathBuf)>, RootfsError> {
    if prepared.facts.cgroup_ns {
        return Ok(Vec::new());
    }
    let own = Process::myself()
        .and_then(|me| me.cgroups())
        .map_err(|error| RootfsError::refused(plan, format_args!("read own cgroups: {error}")))?;
    Ok(own
        .0
        .into_iter()
        .map(|mut cgroup| {
            cgroup.controllers.sort();
            (cgroup.controllers, cgroup.pathname.into())
        })
        .collect())
}

fn mount_hierarchy(
    prepared: &Prepared,
    plan: &PlannedMount,
    top: &OwnedFd,
    hierarchy: &Hierarchy,
    own: &[(Vec<String>, PathBuf)],
) -> Result<(), RootfsError> {
    let set = SAFE
        | if plan.options.read_only() {
            MOUNT_ATTR_RDONLY
        } else {
            0
        };
    let mount = if prepared.facts.cgroup_ns {
        new_hierarchy(plan, hierarchy, set)?
    } else {
        bind_hierarchy(hierarchy, own, set).map_err(RootfsError::sys(plan, "bind"))?
    };
    let name = hierarchy.name();
    mkdirat(Some(top.as_raw_fd()), name, Mode::from_bits_retain(0o755))
        .map_err(RootfsError::sys(plan, "make its directory"))?;
    attach_in(&mount, top, name).map_err(RootfsError::sys(plan, "attach"))?;
    link_controllers(top, name).map_err(RootfsError::sys(plan, "link its controllers"))
}

fn new_hierarchy(
    plan: &PlannedMount,
    hierarchy: &Hierarchy,
    set: u64,
) -> Result<OwnedFd, RootfsError> {
    let plan = with_source(plan, "cgroup");
    newfs::build(&plan, "cgroup", set, &hierarchy.controllers, None)
}

/// The names that mountinfo shows are runc's, whatever the specification calls the source.
fn with_source(plan: &PlannedMount, source: &str) -> PlannedMount {
    PlannedMount {
        source: Some(source.into()),
        ..plan.clone()
    }
}

fn bind_hierarchy(
    hierarchy: &Hierarchy,
    own: &[(Vec<String>, PathBuf)],
    set: u64,
) -> Result<OwnedFd, Errno> {
    let (_, own) = own
        .iter()
        .find(|(controllers, _)| *controllers == hierarchy.controllers)
        .ok_or(Errno::ENOENT)?;
    let below = own.strip_prefix(&hierarchy.root).unwrap_or(Path::new(""));
    clone_with(&hierarchy.mounted_at.join(below), Attrs { set, clear: 0 })
}

/// Attaches `mount` at the directory `name` of `top`, a file system that was made a moment ago.
fn attach_in(mount: &OwnedFd, top: &OwnedFd, name: &Path) -> Result<(), Errno> {
    let name = name.to_str().ok_or(Errno::EINVAL)?;
    LinuxSyscall
        .move_mount(
            mount.as_fd(),
            None,
            top.as_fd(),
            Some(name),
            k::MOVE_MOUNT_F_EMPTY_PATH,
        )
        .map_err(errno)
}

/// `cpu,cpuacct` gets the links `cpu` and `cpuacct`.
fn link_controllers(top: &OwnedFd, name: &Path) -> Result<(), Errno> {
    let bytes = name.as_os_str().as_bytes();
    if !bytes.contains(&b',') {
        return Ok(());
    }
    for part in bytes.split(|&byte| byte == b',') {
        let link = std::ffi::OsStr::from_bytes(part);
        match symlinkat(name, Some(top.as_raw_fd()), link) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_are_told_from_other_options() {
        let cases = [
            ("cpu", None, Some("cpu")),
            ("name", Some("systemd"), Some("name=systemd")),
            ("rw", None, None),
            ("xattr", None, None),
            ("release_agent", Some("/x"), None),
        ];
        for (key, value, expected) in cases {
            let got = controller(key.into(), value.map(str::to_owned));
            assert_eq!(got.as_deref(), expected, "{key}");
        }
    }
}
