//! Device nodes and the links of `/dev`, see runtime-spec `config-linux.md`, "Devices" and
//! `runtime-linux.md`, "Dev symbolic links". It must not follow a link of the root to a last component.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, major, makedev, minor, mknodat, stat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, symlinkat, unlinkat};

use super::error::RootfsError;
use super::kernel;
use super::plan::PlannedDevice;
use super::prepare::{Prepared, PreparedDevice, clone_node};
use super::resolve::{self, Links, Want};

/// `(name in /dev, what it points to)`.
const DEV_LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

impl PlannedDevice {
    /// Whether a file is this device.
    pub(super) fn is(&self, stat: &FileStat) -> bool {
        let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        let number = (major(stat.st_rdev), minor(stat.st_rdev));
        kind == self.kind && (!self.is_driver() || number == (self.major, self.minor))
    }
}

impl Prepared {
    /// The devices and links, unless the bundle brings its own `/dev`.
    pub(super) fn make_devices(&self) -> Result<(), RootfsError> {
        let Some(devices) = &self.devices else {
            return Ok(());
        };
        let at = "/dev";
        let dev =
            resolve::open_or_create(self.root.as_fd(), Path::new(at), Want::Dir, Links::Follow)
                .map_err(RootfsError::sys(at, "open"))?;
        for device in devices {
            self.make_device(device, dev.fd.as_fd())?;
        }
        make_links(dev.fd.as_fd())
    }

    fn make_device(&self, device: &PreparedDevice, dev: BorrowedFd<'_>) -> Result<(), RootfsError> {
        let plan = &device.plan;
        let parent;
        let (dir, name) = match below_dev(&plan.path) {
            Some(name) => (dev, name),
            None => {
                let (fd, name) = resolve::parent_of(self.root.as_fd(), &plan.path)
                    .map_err(RootfsError::sys(plan, "open its directory"))?;
                parent = fd;
                (parent.as_fd(), name)
            }
        };
        match &device.node {
            Some(node) => bind_node(plan, node, dir, name),
            None => make_node(plan, dir, name),
        }
    }

    /// Points descriptors 0 to 2 that are the host's `/dev/null` at the container's, as runc does.
    /// To be called in the container's root.
    ///
    /// # Errors
    /// [`RootfsError`] at `/dev/null`.
    pub fn reopen_dev_null(&self) -> Result<(), RootfsError> {
        if self.devices.is_none() {
            return Ok(());
        }
        let at = "/dev/null";
        let mut null: Option<OwnedFd> = None;
        for fd in 0..=2 {
            match fstat(fd) {
                Ok(stat) if is_null(&stat) => {}
                _ => continue,
            }
            let null = match &null {
                Some(null) => null,
                None => null.insert(open_null(libc::O_RDWR)?),
            };
            nix::unistd::dup2(null.as_raw_fd(), fd).map_err(RootfsError::sys(
                at,
                format_args!("replace descriptor {fd}"),
            ))?;
        }
        Ok(())
    }
}

/// Whether a file is the null device.
pub(super) fn is_null(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFCHR
        && stat.st_rdev == makedev(1, 3)
}

/// Opens the container's `/dev/null` and makes sure that it is the null device: an image could put
/// something else there (CVE-2025-31133).
pub(super) fn open_null(flags: libc::c_int) -> Result<OwnedFd, RootfsError> {
    let at = "/dev/null";
    let null = crate::sys::mounts::openat2(
        None,
        Path::new(at),
        crate::sys::mounts::How {
            flags: flags | libc::O_NOFOLLOW,
            resolve: libc::RESOLVE_NO_MAGICLINKS,
            ..Default::default()
        },
    )
    .map_err(RootfsError::sys(at, "open"))?;
    let stat = fstat(null.as_raw_fd()).map_err(RootfsError::sys(at, "stat"))?;
    if !is_null(&stat) {
        return Err(RootfsError::refused(at, "is not the null device"));
    }
    Ok(null)
}

/// The name of a device that lies in `/dev` itself, the common case.
fn below_dev(path: &Path) -> Option<&OsStr> {
    (path.parent() == Some(Path::new("/dev")))
        .then(|| path.file_name())
        .flatten()
}

fn make_node(plan: &PlannedDevice, dir: BorrowedFd<'_>, name: &OsStr) -> Result<(), RootfsError> {
    let at = Some(dir.as_raw_fd());
    let mode = Mode::from_bits_truncate(plan.mode);
    let number = makedev(plan.major, plan.minor);
    match mknodat(at, name, plan.kind, mode, number) {
        Ok(()) => own_node(plan, dir, name),
        Err(Errno::EEXIST) => check_node(plan, dir, name),
        // No CAP_MKNOD, or an outer container's device rules.
        Err(Errno::EPERM) if plan.is_driver() => bind_node(plan, &clone_node(plan)?, dir, name),
        Err(errno) => Err(RootfsError::sys(plan, "make the node")(errno)),
    }
}

fn own_node(plan: &PlannedDevice, dir: BorrowedFd<'_>, name: &OsStr) -> Result<(), RootfsError> {
    if (plan.uid, plan.gid) == (0, 0) {
        return Ok(());
    }
    fchownat(
        Some(dir.as_raw_fd()),
        name,
        Some(Uid::from_raw(plan.uid)),
        Some(Gid::from_raw(plan.gid)),
        AtFlags::AT_SYMLINK_NOFOLLOW,
    )
    .map_err(RootfsError::sys(plan, "set the owner"))
}

/// A node of the image may stay if it is the device that was asked for.
fn check_node(plan: &PlannedDevice, dir: BorrowedFd<'_>, name: &OsStr) -> Result<(), RootfsError> {
    let stat = fstatat(Some(dir.as_raw_fd()), name, AtFlags::AT_SYMLINK_NOFOLLOW)
        .map_err(RootfsError::sys(plan, "stat"))?;
    if plan.is(&stat) {
        Ok(())
    } else {
        Err(RootfsError::refused(
            plan,
            "something else is there already",
        ))
    }
}

fn bind_node(
    plan: &PlannedDevice,
    node: &OwnedFd,
    dir: BorrowedFd<'_>,
    name: &OsStr,
) -> Result<(), RootfsError> {
    let place = resolve::open_or_create(dir, Path::new(name), Want::File, Links::Refuse)
        .map_err(RootfsError::sys(plan, "make a place for the host's node"))?;
    kernel::attach(node.as_fd(), place.fd.as_fd())
        .map_err(RootfsError::sys(plan, "bind the host's node"))
}

fn make_links(dev: BorrowedFd<'_>) -> Result<(), RootfsError> {
    for (name, text) in DEV_LINKS {
        make_link(dev, name, text)?;
    }
    // The host's /proc is still in place and says whether this kernel has it.
    if stat("/proc/kcore").is_ok() {
        make_link(dev, "core", "/proc/kcore")?;
    }
    make_ptmx(dev)
}

/// Whatever the image has there already stays, as in runc.
fn make_link(dev: BorrowedFd<'_>, name: &str, text: &str) -> Result<(), RootfsError> {
    match symlinkat(text, Some(dev.as_raw_fd()), name) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(RootfsError::sys(
            format_args!("/dev/{name}"),
            "make the symbolic link",
        )(errno)),
    }
}

/// `ptmx` must be the container's own: whatever else is there gives way.
fn make_ptmx(dev: BorrowedFd<'_>) -> Result<(), RootfsError> {
    let dir = Some(dev.as_raw_fd());
    let (name, text) = ("ptmx", "pts/ptmx");
    let link = || symlinkat(text, dir, name);
    let made = match link() {
        Err(Errno::EEXIST) if readlinkat(dir, name).is_ok_and(|there| there == text) => Ok(()),
        Err(Errno::EEXIST) => unlinkat(dir, name, UnlinkatFlags::NoRemoveDir).and_then(|()| link()),
        made => made,
    };
    made.map_err(RootfsError::sys("/dev/ptmx", "make the symbolic link"))
}
