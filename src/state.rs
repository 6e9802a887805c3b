//! The record of one container under the runtime root: who it is, where it runs, what has to be
//! taken down with it. This room must not touch backends, the meaning of the spec or the current
//! configuration: what a container needs later is written here at `create`.

mod dir;
mod inits;
mod proc;

pub use dir::{ContainerDir, Lock, Root, may_go_on, write_atomically};
pub use proc::{ProcStat, ProcessId, boot_id};

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Version of the record's form. A record of another version is refused, never guessed at.
pub const RECORD_VERSION: u32 = 1;

/// Why a record can't be read, written or found.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// No directory of that name stands under the root.
    #[error("container does not exist")]
    NotExist,
    /// The directory stands, but its `create` has not written the record yet, or was killed before
    /// it did.
    #[error("container is not recorded yet in `{}`", .0.display())]
    NoRecord(PathBuf),
    /// Another container, or a half-made one, has the name.
    #[error("container with given ID already exists")]
    AlreadyExists,
    /// A file operation failed.
    #[error("{what} `{}`", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The record isn't what pxrun writes.
    #[error("state record `{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// Another user made the directory: what its record says isn't to be acted on.
    #[error("state directory `{}` belongs to uid {uid}, not to this user", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// The record comes from another version of pxrun.
    #[error("state record `{}` has version {found}, this pxrun reads {RECORD_VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version that stands there.
        found: u32,
    },
}

/// Everything that later commands need, as it was when the container was created.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// The caller's name for the container.
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Absolute path of the root file system.
    pub rootfs: PathBuf,
    /// Name of the backend that runs it.
    pub backend: String,
    /// Why that one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What the backend keeps for itself; other rooms don't look into it.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub own: serde_json::Value,
    /// RFC 3339, UTC, nanoseconds: the form of `runc list`.
    pub created: String,
    /// The boot in which it was created: pids, start times and cgroups mean nothing in another.
    #[serde(default)]
    pub boot: Option<String>,
    /// Uid of the caller of `create`.
    pub uid: u32,
    /// The bundle's annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The `create` that makes the container: while it lives, the container is being created.
    pub creator: ProcessId,
    /// The container's init, once it exists.
    pub init: Option<ProcessId>,
    /// All of `create` is done, for a container of another runtime. Of pxrun's own it is
    /// [`ContainerDir::let_go`] that says so.
    pub ready: bool,
    /// The init process has a pid namespace of its own, so its end ends the others.
    pub own_pid_namespace: bool,
    /// The init process has a mount namespace of its own.
    pub own_mount_namespace: bool,
    /// Where the container's processes are accounted.
    pub cgroup: crate::cgroup::Cgroup,
    /// Their class of service in resctrl, written down before it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rdt: Option<crate::rdt::Group>,
}

/// The five states that callers see, plus `paused` as in runc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// `create` is at work.
    Creating,
    /// The sandbox stands, the user's process doesn't run.
    Created,
    /// The user's process runs.
    Running,
    /// Frozen by `pause`.
    Paused,
    /// Nothing runs any more, or `create` never finished.
    Stopped,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        })
    }
}

impl Record {
    /// The init process if it still lives: same boot, same pid, same start time, not a zombie.
    pub fn live_init(&self) -> Option<&ProcessId> {
        let init = self.init.as_ref().filter(|_| self.is_of_this_boot());
        init.filter(|init| init.is_alive())
    }

    /// The `create` that makes the container, while it lives.
    pub fn live_creator(&self) -> Option<&ProcessId> {
        let creator = Some(&self.creator).filter(|_| self.is_of_this_boot());
        creator.filter(|creator| creator.is_alive())
    }

    /// Whether the host hasn't been booted since `create`. After a boot nothing in the kernel is
    /// the container's, and what looks like it belongs to somebody else.
    pub fn is_of_this_boot(&self) -> bool {
        match (self.boot.as_deref(), boot_id()) {
            (Some(then), Some(now)) => then == now,
            _ => true,
        }
    }

    /// The state JSON that hooks and seccomp agents get (runtime.md, "State").
    /// `pid` is as seen from where the reader runs.
    pub fn oci_state(&self, status: Status, pid: Option<i32>) -> serde_json::Value {
        let mut state = serde_json::json!({
            "ociVersion": crate::spec::OCI_VERSION,
            "id": self.id,
            "status": status,
            "bundle": self.bundle,
        });
        if let Some(pid) = pid {
            state["pid"] = pid.into();
        }
        if !self.annotations.is_empty() {
            state["annotations"] = serde_json::json!(self.annotations);
        }
        state
    }
}
