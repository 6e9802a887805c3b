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
    Path {
        /// The file or directory.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
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
    Threaded {
        /// The file or directory.
        path: PathBuf,
        /// Its `cgroup.type`.
        kind: String,
    },
    /// mkdir(2) failed.
    #[error("create cgroup `{path}`")]
    Create {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// rmdir(2) failed.
    #[error("remove cgroup `{path}`")]
    Remove {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// open(2) failed.
    #[error("open cgroup `{path}`")]
    Open {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file can't be read.
    #[error("read `{path}`")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The kernel didn't take a value.
    #[error("write `{value}` to `{path}`")]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The value.
        value: String,
        /// The cause.
        source: io::Error,
    },
    /// chown(2) failed.
    #[error("give cgroup file `{path}` to uid {uid}")]
    Chown {
        /// The file or directory.
        path: PathBuf,
        /// The new owner.
        uid: u32,
        /// The cause.
        source: io::Error,
    },
    /// The kernel wrote something unknown.
    #[error("`{path}` holds `{value}`, which isn't in the form expected")]
    Malformed {
        /// The file or directory.
        path: PathBuf,
        /// The value.
        value: String,
    },
    /// A limit was asked for that can't take effect; `json` names it.
    #[error("{json}: {reason}")]
    Limit {
        /// Its place in `config.json`.
        json: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A limit was refused by the kernel; `json` names it.
    #[error("{json}: not accepted")]
    Refused {
        /// Its place in `config.json`.
        json: String,
        /// The cause.
        source: Box<CgroupError>,
    },
    /// The device filter couldn't be installed.
    #[error("linux.resources.devices: {step}")]
    DeviceFilter {
        /// What was tried.
        step: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The freezer takes too long.
    #[error("cgroup `{path}` isn't frozen after {seconds} s")]
    FreezeTimeout {
        /// The file or directory.
        path: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Processes fork faster than they can be signalled.
    #[error("the cgroup has new processes after {0} rounds of signals")]
    StillForking(usize),
    /// kill(2) failed.
    #[error("signal {signal} to process {pid}")]
    Signal {
        /// The signal.
        signal: i32,
        /// The process.
        pid: i32,
        /// The cause.
        source: io::Error,
    },
    /// An operation needs a controller that the container has no cgroup for.
    #[error("the container has no `{0}` cgroup")]
    NoController(&'static str),
    /// `exec --cgroup` doesn't name a place below the container's cgroup.
    #[error("--cgroup `{value}` {reason}")]
    SubCgroup {
        /// The value.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A unit of the name that the container is to get; runc's and systemd's word for it.
    #[error("systemd cgroup driver: unit `{0}` already exists")]
    UnitExists(String),
    /// systemd's answer, or none.
    #[error("systemd cgroup driver: {step}")]
    Systemd {
        /// What was tried.
        step: &'static str,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// poll(2) or inotify(7) failed.
    #[error("wait for an event of `{path}`")]
    Wait {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl CgroupError {
    /// True if the cgroup is somebody else's, who keeps it.
    pub fn is_taken(&self) -> bool {
        matches!(self, Self::NotEmpty(_) | Self::UnitExists(_))
    }

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
