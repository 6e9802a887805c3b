//! What can go wrong with a cgroup, as one typed list.
//! It must not print or log: `main` joins the chain of causes.

use std::io;
use std::path::PathBuf;

/// An error of the cgroup room; the cause is in `source()`, never in the text.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// Nothing that looks like cgroups is mounted.
    #[error("no cgroup hierarchy is mounted under `{0}`")]
    NoHierarchy(PathBuf),
    /// `linux.cgroupsPath` can't be used; says why.
    #[error("linux.cgroupsPath: `{path}` {reason}")]
    Path { path: String, reason: &'static str },
    /// The wording is runc's: callers' users search for it.
    #[error(
        "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"{0}\" instead"
    )]
    SystemdPath(String),
    /// Processes live in the cgroup that a container is to get (runc's wording).
    #[error("container's cgroup is not empty: {0} process(es) found")]
    NotEmpty(usize),
    /// A container that starts in a frozen cgroup would hang (runc's wording).
    #[error("container's cgroup unexpectedly frozen")]
    Frozen,
    /// The cgroup can't have domain controllers, because it or an ancestor is threaded.
    #[error("cgroup `{path}` is of type `{kind}`, which can't hold the limits asked for")]
    Threaded { path: PathBuf, kind: String },
    #[error("create cgroup `{path}`")]
    Create { path: PathBuf, source: io::Error },
    #[error("remove cgroup `{path}`")]
    Remove { path: PathBuf, source: io::Error },
    #[error("open cgroup `{path}`")]
    Open { path: PathBuf, source: io::Error },
    #[error("read `{path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error("write `{value}` to `{path}`")]
    Write {
        path: PathBuf,
        value: String,
        source: io::Error,
    },
    #[error("give cgroup file `{path}` to uid {uid}")]
    Chown {
        path: PathBuf,
        uid: u32,
        source: io::Error,
    },
    #[error("`{path}` holds `{value}`, which isn't in the form expected")]
    Malformed { path: PathBuf, value: String },
    /// A limit was asked for that can't take effect; `json` names it.
    #[error("{json}: {reason}")]
    Limit { json: String, reason: String },
    /// A limit was refused by the kernel; `json` names it.
    #[error("{json}: not accepted")]
    Refused {
        json: String,
        source: Box<CgroupError>,
    },
    /// The device filter couldn't be installed.
    #[error("linux.resources.devices: {step}")]
    DeviceFilter {
        step: &'static str,
        source: io::Error,
    },
    #[error("cgroup `{path}` isn't frozen after {seconds} s")]
    FreezeTimeout { path: PathBuf, seconds: u64 },
    #[error("the cgroup has new processes after {0} rounds of signals")]
    StillForking(usize),
    #[error("signal {signal} to process {pid}")]
    Signal {
        signal: i32,
        pid: i32,
        source: io::Error,
    },
    /// An operation needs a controller that the container has no cgroup for.
    #[error("the container has no `{0}` cgroup")]
    NoController(&'static str),
    /// `exec --cgroup` doesn't name a place below the container's cgroup.
    #[error("--cgroup `{value}` {reason}")]
    SubCgroup { value: String, reason: &'static str },
    #[error("systemd cgroup driver: {step}")]
    Systemd {
        step: &'static str,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("wait for an event of `{path}`")]
    Wait { path: PathBuf, source: io::Error },
}

impl CgroupError {
    /// The errno at the bottom of the chain, if there is one.
    pub(super) fn errno(&self) -> Option<i32> {
        match self {
            Self::Create { source, .. }
            | Self::Remove { source, .. }
            | Self::Open { source, .. }
            | Self::Read { source, .. }
            | Self::Write { source, .. }
            | Self::Chown { source, .. }
            | Self::DeviceFilter { source, .. }
            | Self::Signal { source, .. }
            | Self::Wait { source, .. } => source.raw_os_error(),
            Self::Refused { source, .. } => source.errno(),
            _ => None,
        }
    }

    /// True where a user without rights over the tree is expected to fail (as runc's rootless mode).
    pub(super) fn is_permission(&self) -> bool {
        matches!(self.errno(), Some(libc::EPERM | libc::EACCES | libc::EROFS))
    }
}
