//! The cluster file system as pxrun uses it: who has which number, this node's name, guests'
//! configurations under Proxmox's own locks. It must not know what a configuration says.
//!
//! pmxcfs knows neither symbolic links nor chmod, and creating with O_EXCL isn't atomic between
//! nodes; mkdir is (pmxcfs(8), "POSIX compatibility"). Guests' files are replaced by rename, as
//! Proxmox does, and changed under the flock that `pct` takes.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::settings::Settings;

/// How often a lock that somebody else holds is tried.
const PAUSE: Duration = Duration::from_millis(25);

/// How often `.vmlist` is read again when it can't be understood: pmxcfs may make it anew between
/// the two reads that a long one takes.
const TEARS: u32 = 5;

/// Largest file of the cluster file system that is read, in bytes: pmxcfs takes no more.
const MAX_BYTES: u64 = 1 << 20;

/// Why the cluster file system didn't do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// It isn't mounted: no Proxmox node, or `pve-cluster` is down.
    #[error("`{}` is not mounted: the host is no Proxmox node, or pve-cluster is down", .0.display())]
    Absent(PathBuf),
    /// It takes no writing.
    #[error("the cluster has no quorum: its configuration is read-only")]
    ReadOnly,
    /// The number belongs to another guest of the cluster.
    #[error("VMID {vmid} belongs to another guest{}", on(.node))]
    Taken {
        /// The number.
        vmid: u32,
        /// Where the other guest is, if that is known.
        node: Option<String>,
    },
    /// Somebody else holds the guest's configuration.
    #[error("guest {0}: another Proxmox task holds its configuration")]
    Busy(u32),
    /// What stands there can't be understood.
    #[error("`{}` cannot be understood", .0.display())]
    Odd(PathBuf),
    /// A file operation failed.
    #[error("{what} `{}`", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

fn on(node: &Option<String>) -> String {
    node.as_ref()
        .map_or_else(String::new, |node| format!(", on node `{node}`"))
}

/// A guest as the whole cluster knows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Known {
    /// The node that it is on.
    pub node: String,
    /// `lxc` or `qemu`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// The part of the cluster that this node's containers need.
#[derive(Debug, Clone)]
pub struct Cluster {
    conf_dir: PathBuf,
    lock_dir: PathBuf,
    node: String,
}

/// Holds Proxmox's lock on a guest's configuration.
#[derive(Debug)]
pub struct GuestLock {
    _file: File,
}

impl Cluster {
    /// Looks the node up.
    ///
    /// # Errors
    /// The cluster file system isn't there, or doesn't say which node this is.
    pub fn open(settings: &Settings) -> Result<Cluster, ClusterError> {
        let conf_dir = settings.conf_dir.clone();
        let node = match &settings.node {
            Some(node) => node.clone(),
            None => node_name(&conf_dir)?,
        };
        let cluster = Cluster {
            conf_dir,
            lock_dir: settings.lock_dir.clone(),
            node,
        };
        match cluster.guests_dir().is_dir() {
            true => Ok(cluster),
            false => Err(ClusterError::Absent(cluster.conf_dir)),
        }
    }

    /// This node's name.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The guest's configuration file.
    pub fn path(&self, vmid: u32) -> PathBuf {
        self.guests_dir().join(format!("{vmid}.conf"))
    }

    fn guests_dir(&self) -> PathBuf {
        self.conf_dir.join("nodes").join(&self.node).join("lxc")
    }

    /// Every guest of the cluster by its number. A file that pmxcfs makes, so no Perl is needed.
    pub fn guests(&self) -> Result<BTreeMap<u32, Known>, ClusterError> {
        #[derive(Deserialize)]
        struct List {
            ids: BTreeMap<u32, Known>,
        }
        let path = self.conf_dir.join(".vmlist");
        for _ in 0..TEARS {
            let text = read(&path)?.ok_or_else(|| ClusterError::Absent(self.conf_dir.clone()))?;
            if let Ok(list) = serde_json::from_str::<List>(&text) {
                return Ok(list.ids);
            }
        }
        Err(ClusterError::Odd(path))
    }

    /// Takes Proxmox's lock on a guest's configuration, waiting at most `patience`.
    pub fn lock(&self, vmid: u32, patience: Duration) -> Result<GuestLock, ClusterError> {
        let path = self.lock_dir.join(format!("pve-config-{vmid}.lock"));
        let file = self.lock_file(&path)?;
        let end = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(GuestLock { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() >= end => {
                    return Err(ClusterError::Busy(vmid));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
                Err(TryLockError::Error(source)) => return Err(io("take lock", &path)(source)),
            }
        }
    }

    /// The directory is Proxmox's, made by whoever needs it first.
    fn lock_file(&self, path: &Path) -> Result<File, ClusterError> {
        std::fs::create_dir_all(&self.lock_dir)
            .map_err(io("make lock directory", &self.lock_dir))?;
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o644)
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC)
            .open(path)
            .map_err(io("open lock", path))
    }

    /// The guest's configuration; `None` when this node has no such guest.
    pub fn read(&self, vmid: u32) -> Result<Option<String>, ClusterError> {
        read(&self.path(vmid))
    }

    /// Replaces the guest's configuration in one step; its lock is held.
    pub fn write(&self, vmid: u32, text: &str) -> Result<(), ClusterError> {
        self.put(&self.path(vmid), vmid, text)
    }

    /// Another file of the cluster's; `None` when it isn't there.
    pub fn read_file(&self, name: &str) -> Result<Option<String>, ClusterError> {
        read(&self.conf_dir.join(name))
    }

    /// Replaces such a file in one step; its lock is claimed.
    pub fn write_file(&self, name: &str, text: &str) -> Result<(), ClusterError> {
        self.put(&self.conf_dir.join(name), 0, text)
    }

    fn put(&self, path: &Path, vmid: u32, text: &str) -> Result<(), ClusterError> {
        let end = format!("tmp.{}", std::process::id());
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{end}"));
        let temporary = PathBuf::from(temporary);
        let written = File::create(&temporary)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| std::fs::rename(&temporary, path));
        written.map_err(|error| {
            let _ = std::fs::remove_file(&temporary);
            self.explain("write guest configuration", path, vmid, error)
        })
    }

    /// Takes the guest's configuration away; its lock is held. Gone already is fine.
    pub fn remove(&self, vmid: u32) -> Result<(), ClusterError> {
        let path = self.path(vmid);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(self.explain("remove guest configuration", &path, vmid, error))
            }
            _ => Ok(()),
        }
    }

    /// Claims a name in the whole cluster until it is released; `false` when somebody else has it.
    pub fn claim(&self, name: &str) -> Result<bool, ClusterError> {
        let path = self.claim_path(name);
        match std::fs::create_dir(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                ask_back(&path);
                Ok(false)
            }
            Err(error) => Err(self.explain("claim", &path, 0, error)),
        }
    }

    /// Gives a claim back.
    pub fn release(&self, name: &str) {
        if let Err(error) = std::fs::remove_dir(self.claim_path(name)) {
            tracing::debug!("release claim `{name}`: {error}");
        }
    }

    fn claim_path(&self, name: &str) -> PathBuf {
        self.conf_dir.join("priv/lock").join(name)
    }

    fn explain(
        &self,
        what: &'static str,
        path: &Path,
        vmid: u32,
        source: std::io::Error,
    ) -> ClusterError {
        match source.kind() {
            // pmxcfs answers EACCES to root when there is no quorum.
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => ClusterError::ReadOnly,
            ErrorKind::AlreadyExists => ClusterError::Taken { vmid, node: None },
            ErrorKind::NotConnected => ClusterError::Absent(self.conf_dir.clone()),
            _ => io(what, path)(source),
        }
    }
}

/// Asks for a claim whose holder died: pmxcfs drops it when it is older than two minutes.
fn ask_back(path: &Path) {
    let epoch = std::time::UNIX_EPOCH;
    let times = std::fs::FileTimes::new()
        .set_accessed(epoch)
        .set_modified(epoch);
    let _ = File::open(path).and_then(|dir| dir.set_times(times));
}

fn node_name(conf_dir: &Path) -> Result<String, ClusterError> {
    #[derive(Deserialize)]
    struct Members {
        nodename: String,
    }
    let path = conf_dir.join(".members");
    let text = read(&path)?.ok_or_else(|| ClusterError::Absent(conf_dir.to_owned()))?;
    let name = serde_json::from_str::<Members>(&text).map(|members| members.nodename);
    match name {
        Ok(name) if super::options::dns(&name) => Ok(name),
        _ => Err(ClusterError::Odd(path)),
    }
}

fn read(path: &Path) -> Result<Option<String>, ClusterError> {
    use std::io::Read;
    // Room for all of it, so that one read does.
    let mut bytes = Vec::with_capacity(256 * 1024);
    let file = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
    match file {
        Ok(_) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io("read", path)(error)),
    }
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ClusterError {
    let path = path.to_owned();
    move |source| ClusterError::Io { what, path, source }
}
