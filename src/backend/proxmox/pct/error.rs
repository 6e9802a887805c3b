//! Why a call failed, in pxrun's own words. pct's are for the log alone: callers read more into
//! some of them than they say ("does not exist" in a failed delete means success to containerd).

use std::path::PathBuf;
use std::time::Duration;

use super::Said;

/// A call that didn't do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum PctError {
    /// The tool isn't installed.
    #[error("`{0}` is not installed: this host is no Proxmox node")]
    Absent(&'static str),
    /// It can't be run.
    #[error("run `{}`", tool.display())]
    Spawn {
        /// Its path.
        tool: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It was ended by us.
    #[error("`{call}` took longer than {} s and was ended", limit.as_secs())]
    Late {
        /// The call.
        call: String,
        /// How long it was given.
        limit: Duration,
    },
    /// It ended with an error.
    #[error("`{call}`")]
    Failed {
        /// The call.
        call: String,
        /// What its text says.
        #[source]
        reason: Reason,
        /// The text itself, for the record and the log.
        said: Box<Said>,
    },
}

impl PctError {
    /// What the text of a failed call says.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            PctError::Failed { reason, .. } => Some(reason),
            _ => None,
        }
    }
}

/// What the tools' texts can say. The names in [`Reason::name`] are those of the facts that the
/// table is tested with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// There is no such guest on this node.
    #[error("the guest is gone from this node")]
    Gone,
    /// The guest doesn't run.
    #[error("the guest does not run")]
    NotRunning,
    /// The guest runs already.
    #[error("the guest runs already")]
    AlreadyRunning,
    /// The guest runs, and mustn't for that.
    #[error("the guest still runs")]
    Running,
    /// The number belongs to another guest.
    #[error("VMID {vmid} belongs to another guest, on node `{node}`")]
    Taken {
        /// The number.
        vmid: String,
        /// Where the other guest is.
        node: String,
    },
    /// A `lock:` entry: a backup, a snapshot, a migration is at work.
    #[error("the guest is locked by Proxmox: {0}")]
    Locked(String),
    /// Another process holds the guest's configuration lock.
    #[error("another Proxmox task holds the guest's configuration")]
    Busy,
    /// `protection: 1`.
    #[error("the guest is protected (`protection: 1`)")]
    Protected,
    /// No storage of that name.
    #[error("storage `{0}` is unknown to this node")]
    NoStorage(String),
    /// The storage mustn't hold that.
    #[error("storage `{0}` is not set up for container volumes (content type `rootdir`)")]
    ContentType(String),
    /// No space left.
    #[error("the storage is full")]
    Full,
    /// No volume of that name, such as a template.
    #[error("volume `{0}` is missing")]
    NoVolume(String),
    /// A directory to be mounted is missing.
    #[error("directory `{0}` is missing on this node")]
    NoDirectory(String),
    /// No node of that name.
    #[error("node `{0}` is not in the cluster")]
    NoNode(String),
    /// No snapshot of that name.
    #[error("snapshot `{0}` is missing")]
    NoSnapshot(String),
    /// The guest's storage can't.
    #[error("the guest's storage cannot do that")]
    Unsupported,
    /// The guest is a template.
    #[error("the guest is a template")]
    Template,
    /// The cluster has no quorum.
    #[error("the cluster has no quorum: its configuration is read-only")]
    NoQuorum,
    /// A parameter that pct doesn't take.
    #[error("Proxmox refuses the option `{0}`")]
    Parameter(String),
    /// lxc-start failed.
    #[error("the container did not start; its messages are in /run/pve/ct-VMID.stderr")]
    StartFailed,
    /// It started and ended before Proxmox looked.
    #[error("the container ended as soon as it was started")]
    EndedAtOnce,
    /// LXC can't read the configuration.
    #[error("LXC cannot read the guest's configuration; a file that it includes may be missing")]
    BadLxcConfig,
    /// systemd doesn't answer, or isn't there.
    #[error("systemd does not answer on this host")]
    NoSystemd,
    /// Not root, or pmxcfs is down.
    #[error("the cluster file system does not answer")]
    NoAccess,
    /// A volume can't be made.
    #[error("the storage could not make the volume")]
    VolumeFailed,
    /// The guest's own script can't be run, or ended with an error.
    #[error("the guest's hook script cannot be run, or it failed")]
    HookScript,
    /// A base of clones.
    #[error("a linked clone still needs the volume")]
    InUse,
    /// No pool of that name.
    #[error("pool `{0}` is unknown to this cluster")]
    NoPool(String),
    /// The archive can't be unpacked.
    #[error("the root file system could not be unpacked into the volume")]
    UnpackFailed,
    /// A file of the guest.
    #[error("the guest's file `{0}` cannot be reached")]
    File(String),
    /// A command that pct runs failed.
    #[error("a command that it runs failed: `{0}`")]
    Command(String),
    /// Ended by a signal that isn't ours.
    #[error("it was killed by signal {0}")]
    Killed(i32),
    /// A text that no row knows.
    #[error("it failed with exit code {0}; its messages are in the debug log")]
    Unknown(i32),
}

impl Reason {
    /// A short name, stable.
    pub fn name(&self) -> &'static str {
        match self {
            Reason::Gone => "gone",
            Reason::NotRunning => "not-running",
            Reason::AlreadyRunning => "already-running",
            Reason::Running => "running",
            Reason::Taken { .. } => "taken",
            Reason::Locked(_) => "locked",
            Reason::Busy => "busy",
            Reason::Protected => "protected",
            Reason::NoStorage(_) => "no-storage",
            Reason::ContentType(_) => "content-type",
            Reason::Full => "full",
            Reason::NoVolume(_) => "no-volume",
            Reason::NoDirectory(_) => "no-directory",
            Reason::NoNode(_) => "no-node",
            Reason::NoSnapshot(_) => "no-snapshot",
            Reason::Unsupported => "unsupported",
            Reason::Template => "template",
            Reason::NoQuorum => "no-quorum",
            Reason::Parameter(_) => "parameter",
            Reason::StartFailed => "start-failed",
            Reason::EndedAtOnce => "ended-at-once",
            Reason::BadLxcConfig => "bad-lxc-config",
            Reason::NoSystemd => "no-systemd",
            Reason::NoAccess => "no-access",
            Reason::VolumeFailed => "volume-failed",
            Reason::HookScript => "hook-script",
            Reason::InUse => "in-use",
            Reason::NoPool(_) => "no-pool",
            Reason::UnpackFailed => "unpack-failed",
            Reason::File(_) => "file",
            Reason::Command(_) => "command",
            Reason::Killed(_) => "killed",
            Reason::Unknown(_) => "unknown",
        }
    }

    /// Whether the same call may succeed a little later, with nobody doing anything about it.
    pub fn passes(&self) -> bool {
        matches!(self, Reason::Locked(_) | Reason::Busy | Reason::NoAccess)
    }
}
