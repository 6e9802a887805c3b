//! The default devices and `linux.devices`. It must not make or open a node.

use std::fmt;
use std::path::{Path, PathBuf};

use nix::sys::stat::SFlag;
use oci_spec::runtime::{Linux, LinuxDevice, LinuxDeviceType};

use super::mounts::{Kind, PlannedMount};
use crate::rootfs::error::RootfsError;
use crate::rootfs::resolve::lexical;

/// One device node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedDevice {
    /// Its index in `linux.devices`, `None` for a default device.
    pub(in crate::rootfs) index: Option<usize>,
    pub(in crate::rootfs) path: PathBuf,
    pub(in crate::rootfs) kind: SFlag,
    pub(in crate::rootfs) mode: u32,
    pub(in crate::rootfs) major: u64,
    pub(in crate::rootfs) minor: u64,
    pub(in crate::rootfs) uid: u32,
    pub(in crate::rootfs) gid: u32,
}

impl PlannedDevice {
    /// Whether it is a node of a driver, which a user namespace may not make.
    pub(in crate::rootfs) fn is_driver(&self) -> bool {
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

/// Whether `/dev` is pxrun's to fill: a bundle that binds one keeps it as it is.
pub(super) fn sets_up_dev(mounts: &[PlannedMount]) -> bool {
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
pub(super) fn plan_devices(
    linux: &Linux,
    mounts: &[PlannedMount],
) -> Result<Vec<PlannedDevice>, RootfsError> {
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
