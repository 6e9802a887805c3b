//! New file systems as detached mounts: tmpfs, proc, sysfs, devpts, mqueue, overlay, anything.
//! It must not resolve destinations: the mount is made, somebody else attaches it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use libcontainer::syscall::linux as k;
use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::sys::stat::fstat;

use super::cgroups::clone_with;
use super::copyup::copy_up;
use super::error::RootfsError;
use super::kernel::{self, NewFs};
use super::options::Attrs;
use super::plan::{Kind, PlannedMount};
use super::prepare::Prepared;
use super::resolve::Target;
use crate::sys::mounts::{How, openat2, set_xattr};

/// Makes the file system of `plan`. `None`: it can't be made detached, mount(2) must do it.
pub fn make(
    prepared: &Prepared,
    plan: &PlannedMount,
    target: &Target,
) -> Result<Option<OwnedFd>, RootfsError> {
    let mut set = plan.options.top.set | plan.options.tree.set;
    if plan.read_only_late() {
        set &= !k::MOUNT_ATTR_RDONLY;
    }
    if super_options(plan).is_none() {
        return Ok(None);
    }
    let data = data(plan, target)?;
    let made = build(plan, &plan.fstype, set, &data, label(prepared, plan));
    match made {
        Err(RootfsError::Sys {
            source: Errno::ENOSYS,
            ..
        }) => Ok(None),
        // A user namespace without a network namespace of its own may not mount sysfs.
        Err(RootfsError::Sys {
            source: Errno::EPERM,
            ..
        }) if plan.kind == Kind::Sysfs => host_sysfs(plan).map(Some),
        Err(error) => Err(error),
        Ok(mount) => {
            finish(prepared, plan, target, &mount)?;
            Ok(Some(mount))
        }
    }
}

/// A detached mount of a new file system.
pub fn build(
    plan: &PlannedMount,
    fstype: &str,
    set: u64,
    data: &[String],
    label: Option<&str>,
) -> Result<OwnedFd, RootfsError> {
    let fs = NewFs::open(fstype).map_err(RootfsError::sys(
        plan,
        format_args!("mount type `{fstype}`"),
    ))?;
    let failed = |what: String| {
        let said = fs.complaint();
        let what = match said {
            Some(said) => format!("{what}: {said}"),
            None => what,
        };
        RootfsError::sys(plan, what)
    };
    if let Some(source) = plan.source.as_deref().and_then(Path::to_str) {
        fs.set("source", source)
            .map_err(|e| failed(format!("source `{source}`"))(e))?;
    }
    for option in super_options(plan).into_iter().flatten() {
        fs.option(option)
            .map_err(|e| failed(format!("option `{option}`"))(e))?;
    }
    for option in data {
        fs.option(option)
            .map_err(|e| failed(format!("option `{option}`"))(e))?;
    }
    if let Some(label) = label {
        fs.set("context", label)
            .map_err(|e| failed(format!("linux.mountLabel `{label}`"))(e))?;
    }
    fs.mount(set)
        .map_err(|e| failed(format!("mount type `{fstype}`"))(e))
}

/// The super block flags as fsconfig(2) keys; `None` when only mount(2) has them.
fn super_options(plan: &PlannedMount) -> Option<Vec<&'static str>> {
    const KEYS: &[(MsFlags, &str)] = &[
        (MsFlags::MS_SYNCHRONOUS, "sync"),
        (MsFlags::MS_DIRSYNC, "dirsync"),
        (MsFlags::MS_MANDLOCK, "mand"),
        (MsFlags::MS_LAZYTIME, "lazytime"),
    ];
    let mut rest = plan.options.super_flags;
    let mut keys = Vec::new();
    for &(flag, key) in KEYS {
        if rest.contains(flag) {
            keys.push(key);
            rest.remove(flag);
        }
    }
    // A read-only device can only be mounted by a read-only super block. The virtual file systems
    // may share theirs with the host, so only the mount is read-only there.
    if plan.kind == Kind::Other && plan.options.read_only() && !is_virtual(&plan.fstype) {
        keys.push("ro");
    }
    rest.is_empty().then_some(keys)
}

fn is_virtual(fstype: &str) -> bool {
    matches!(fstype, "devpts" | "mqueue" | "cgroup" | "cgroup2" | "tmpfs")
}

/// The options of the file system. A tmpfs over a directory that was there takes its mode unless
/// the options name one, as in runc.
fn data(plan: &PlannedMount, target: &Target) -> Result<Vec<String>, RootfsError> {
    let mut data = plan.options.data.clone();
    let has_mode = data.iter().any(|option| option.starts_with("mode="));
    if plan.kind == Kind::Tmpfs && !target.created && !has_mode {
        let stat = fstat(target.fd.as_raw_fd()).map_err(RootfsError::sys(plan, "stat"))?;
        data.push(format!("mode={:o}", stat.st_mode & 0o7777));
    }
    Ok(data)
}

/// proc and sysfs can't be labelled; mqueue's root is labelled afterwards.
fn label<'p>(prepared: &'p Prepared, plan: &PlannedMount) -> Option<&'p str> {
    let labelled = !matches!(plan.kind, Kind::Proc | Kind::Sysfs) && plan.fstype != "mqueue";
    prepared.label.as_deref().filter(|_| labelled)
}

fn finish(
    prepared: &Prepared,
    plan: &PlannedMount,
    target: &Target,
    mount: &OwnedFd,
) -> Result<(), RootfsError> {
    if plan.options.copy_up && !target.created {
        copy_up(target.fd.as_fd(), mount.as_fd()).map_err(|(path, errno)| {
            let what = format!("copy `{}` up", path.display());
            RootfsError::sys(plan, what)(errno)
        })?;
    }
    match prepared.label.as_deref() {
        Some(label) if plan.fstype == "mqueue" => {
            label_root(mount.as_fd(), label).map_err(RootfsError::sys(plan, "label"))
        }
        _ => Ok(()),
    }
}

fn label_root(mount: BorrowedFd<'_>, label: &str) -> Result<(), Errno> {
    let how = How {
        flags: libc::O_RDONLY | libc::O_DIRECTORY,
        ..How::default()
    };
    let root = openat2(Some(mount), Path::new("."), how)?;
    set_xattr(root.as_fd(), c"security.selinux", label.as_bytes())
}

fn host_sysfs(plan: &PlannedMount) -> Result<OwnedFd, RootfsError> {
    let attrs = Attrs {
        set: plan.options.top.set | k::MOUNT_ATTR_RDONLY,
        clear: 0,
    };
    clone_with(Path::new("/sys"), attrs).map_err(RootfsError::sys(plan, "bind the host's sysfs"))
}

/// The same by mount(2), attached at once.
pub fn mount_classic(
    prepared: &Prepared,
    plan: &PlannedMount,
    target: &Target,
    extra: MsFlags,
) -> Result<(), RootfsError> {
    let mut data = data(plan, target)?;
    if let Some(label) = label(prepared, plan) {
        data.push(format!("context=\"{label}\""));
    }
    if plan.options.copy_up && !target.created {
        return Err(RootfsError::refused(
            plan,
            "tmpcopyup can't go together with these options",
        ));
    }
    let mut flags = classic_flags(plan) | extra;
    if plan.read_only_late() && !plan.options.remount {
        flags.remove(MsFlags::MS_RDONLY);
    }
    kernel::mount_classic(
        plan.source.as_deref(),
        target.fd.as_fd(),
        &plan.fstype,
        flags,
        &data.join(","),
    )
    .map_err(RootfsError::sys(
        plan,
        format_args!("mount type `{}`", plan.fstype),
    ))
}

fn classic_flags(plan: &PlannedMount) -> MsFlags {
    const BITS: &[(u64, MsFlags)] = &[
        (k::MOUNT_ATTR_RDONLY, MsFlags::MS_RDONLY),
        (k::MOUNT_ATTR_NOSUID, MsFlags::MS_NOSUID),
        (k::MOUNT_ATTR_NODEV, MsFlags::MS_NODEV),
        (k::MOUNT_ATTR_NOEXEC, MsFlags::MS_NOEXEC),
        (k::MOUNT_ATTR_NOATIME, MsFlags::MS_NOATIME),
        (k::MOUNT_ATTR_STRICTATIME, MsFlags::MS_STRICTATIME),
        (k::MOUNT_ATTR_NODIRATIME, MsFlags::MS_NODIRATIME),
        (
            k::MOUNT_ATTR_NOSYMFOLLOW,
            MsFlags::from_bits_retain(libc::MS_NOSYMFOLLOW),
        ),
    ];
    let set = plan.options.top.set | plan.options.tree.set;
    BITS.iter()
        .filter(|(bit, _)| set & bit != 0)
        .fold(plan.options.super_flags, |flags, (_, flag)| flags | *flag)
}
