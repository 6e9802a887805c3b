//! One guest of the node's: started, changed and destroyed, with Proxmox's locks waited for and
//! never broken, and never a guest that is somebody else's. It must not know what runs in it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::cluster::{Cluster, ClusterError};
use super::conf::Conf;
use super::pct::{PctError, Reason, Tool};
use super::settings::Settings;
use super::translate::{Marker, TAG};
use super::vmid::{self, VmidError, Wish};

/// How often a guest that Proxmox has locked is tried again.
const PAUSE: Duration = Duration::from_millis(250);

/// A guest, as it is kept in the record: everything that later commands need, whatever the
/// configuration file says by then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// Its number.
    pub vmid: u32,
    /// The node that it was made on.
    pub node: String,
    /// Whose it is.
    pub id: String,
    /// The root below which the container's record is.
    pub root: PathBuf,
    /// The node's settings at that time.
    pub settings: Settings,
    /// Volumes that it uses and that must outlive it, whatever their names say of their owner.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lent: Vec<String>,
}

/// Why something couldn't be done with a guest.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// The tools' answer.
    #[error(transparent)]
    Pct(#[from] PctError),
    /// The cluster file system's answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// There is no number for it.
    #[error(transparent)]
    Vmid(#[from] VmidError),
    /// It was moved.
    #[error("guest {vmid} is on node `{node}` now")]
    Moved {
        /// Its number.
        vmid: u32,
        /// Where it is.
        node: String,
    },
    /// Its number belongs to a guest that isn't this container's.
    #[error("VMID {0} belongs to another guest now")]
    Foreign(u32),
    /// `protection: 1`.
    #[error("guest {0} is protected (`protection: 1`)")]
    Protected(u32),
    /// A `lock:` entry that stays.
    #[error("guest {vmid} is locked by Proxmox: {lock}")]
    Locked {
        /// Its number.
        vmid: u32,
        /// What for.
        lock: String,
    },
    /// It isn't there any more.
    #[error("guest {0} is gone from this node")]
    Gone(u32),
}

/// Where a guest is.
#[derive(Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// On its node, with this configuration.
    Here(Conf),
    /// On another node.
    Moved(String),
    /// Nowhere.
    Gone,
    /// The number has another guest.
    Foreign,
}

impl Guest {
    /// Takes a number for a container and writes its guest. `recorded` holds the numbers that
    /// other records have.
    ///
    /// # Errors
    /// No number is free, or the cluster takes no writing.
    pub fn define(
        settings: &Settings,
        marker: &Marker,
        wish: Wish,
        recorded: &BTreeSet<u32>,
        conf: &Conf,
    ) -> Result<Guest, GuestError> {
        let cluster = Cluster::open(settings)?;
        let text = conf.to_string();
        let vmid = vmid::allocate(&cluster, wish, recorded, |_| text.clone())?;
        Ok(Guest::new(settings, marker, vmid, cluster.node()))
    }

    /// The guest with this number on this node.
    pub fn new(settings: &Settings, marker: &Marker, vmid: u32, node: &str) -> Guest {
        Guest {
            vmid,
            node: node.to_owned(),
            id: marker.id.clone(),
            root: marker.root.clone(),
            settings: settings.clone(),
            lent: Vec::new(),
        }
    }

    /// Finds a container's guest on this node by its marker: after a crash that came before the
    /// number was written down.
    pub fn find(settings: &Settings, marker: &Marker) -> Result<Option<Guest>, GuestError> {
        let cluster = Cluster::open(settings)?;
        for (vmid, known) in cluster.guests()? {
            if known.node != cluster.node() || known.kind != "lxc" {
                continue;
            }
            let conf = cluster.read(vmid)?.map(|text| Conf::parse(&text));
            if conf.and_then(|conf| Marker::of(&conf)).as_ref() == Some(marker) {
                return Ok(Some(Guest::new(settings, marker, vmid, &known.node)));
            }
        }
        Ok(None)
    }

    fn cluster(&self) -> Result<Cluster, ClusterError> {
        Cluster::open(&self.settings)
    }

    /// Runs pct, waiting for locks that others hold.
    fn pct(&self, args: &[&str]) -> Result<(), PctError> {
        let tool = Tool::find("pct", self.settings.tool_dir.as_deref())?;
        let limit = Duration::from_secs(self.settings.limit.into());
        let end = Instant::now() + self.patience();
        loop {
            match tool.call(args, limit) {
                Err(error)
                    if error.reason().is_some_and(Reason::passes) && Instant::now() < end =>
                {
                    tracing::debug!("{error}: again in {} ms", PAUSE.as_millis());
                    std::thread::sleep(PAUSE);
                }
                other => return other.map(drop),
            }
        }
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(self.settings.patience.into())
    }

    /// Looks where the guest is: three small files, no tool.
    pub fn whereabouts(&self) -> Result<Whereabouts, GuestError> {
        let cluster = self.cluster()?;
        let known = cluster.guests()?.remove(&self.vmid);
        let Some(known) = known else {
            return Ok(Whereabouts::Gone);
        };
        if known.kind != "lxc" {
            return Ok(Whereabouts::Foreign);
        }
        if known.node != cluster.node() {
            return Ok(Whereabouts::Moved(known.node));
        }
        let Some(text) = cluster.read(self.vmid)? else {
            return Ok(Whereabouts::Gone);
        };
        let conf = Conf::parse(&text);
        Ok(match Marker::of(&conf) {
            Some(marker) if marker.id == self.id && marker.root == self.root => {
                Whereabouts::Here(conf)
            }
            _ => Whereabouts::Foreign,
        })
    }

    fn here(&self) -> Result<Conf, GuestError> {
        match self.whereabouts()? {
            Whereabouts::Here(conf) => Ok(conf),
            Whereabouts::Gone => Err(GuestError::Gone(self.vmid)),
            Whereabouts::Foreign => Err(GuestError::Foreign(self.vmid)),
            Whereabouts::Moved(node) => Err(GuestError::Moved {
                vmid: self.vmid,
                node,
            }),
        }
    }

    /// Starts it: the one call of a tool that `create` makes.
    ///
    /// # Errors
    /// It isn't this container's any more, or Proxmox's answer.
    pub fn start(&self) -> Result<(), GuestError> {
        self.here()?;
        Ok(self.pct(&["start", &self.vmid.to_string()])?)
    }

    /// Ends all that runs in it, by Proxmox's way. Not running, and gone, is fine.
    pub fn stop(&self) -> Result<(), GuestError> {
        match self.whereabouts()? {
            Whereabouts::Here(_) => {}
            _ => return Ok(()),
        }
        match self.pct(&["stop", &self.vmid.to_string()]) {
            Err(error) if is(&error, &[Reason::NotRunning, Reason::Gone]) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Changes its configuration, which Proxmox then shows. Its container is not touched.
    pub fn edit(&self, change: impl FnOnce(&mut Conf)) -> Result<(), GuestError> {
        let cluster = self.cluster()?;
        let _lock = cluster.lock(self.vmid, self.patience())?;
        let mut conf = self.here()?;
        let before = conf.clone();
        change(&mut conf);
        if conf != before {
            cluster.write(self.vmid, &conf.to_string())?;
        }
        Ok(())
    }

    /// Puts a whole new configuration in place of its own, such as of its placeholder.
    pub fn replace(&self, conf: &Conf) -> Result<(), GuestError> {
        self.edit(|old| conf.clone_into(old))
    }

    /// Removes it with the volumes that it owns; what runs in it must have ended, or is ended by
    /// Proxmox. Gone already is fine, and a number that others use now is left alone.
    ///
    /// # Errors
    /// It is protected, locked for longer than the settings' patience, or on another node.
    pub fn destroy(&self) -> Result<(), GuestError> {
        self.destroy_with(&[])
    }

    fn destroy_with(&self, more: &[&str]) -> Result<(), GuestError> {
        let conf = match self.here() {
            Err(GuestError::Gone(_)) => return Ok(()),
            Err(GuestError::Foreign(vmid)) => {
                tracing::warn!("VMID {vmid} belongs to another guest now, which is left alone");
                return Ok(());
            }
            other => other?,
        };
        if conf.get("protection") == Some("1") {
            return Err(GuestError::Protected(self.vmid));
        }
        if is_placeholder(&conf) {
            self.edit(|conf| conf.remove("lock"))?;
        }
        self.await_unlocked()?;
        self.spare_lent(&conf)?;
        let number = self.vmid.to_string();
        let mut words = vec!["destroy", &number, "--force", "1", "--purge", "1"];
        words.extend(more);
        match self.pct(&words) {
            Err(error) if is(&error, &[Reason::Gone]) => Ok(()),
            Err(error) if is(&error, &[Reason::Protected]) => Err(GuestError::Protected(self.vmid)),
            other => Ok(other?),
        }
    }

    /// Proxmox frees the volumes that bear the guest's number, and has no way to be told which of
    /// them not to.
    fn spare_lent(&self, conf: &Conf) -> Result<(), GuestError> {
        let lent = |key: &str| {
            let value = conf.get(key).unwrap_or_default();
            let volume = value.split(',').next().unwrap_or_default();
            self.lent.iter().any(|lent| lent == volume)
        };
        let keys: Vec<String> = (0..256).map(|number| format!("mp{number}")).collect();
        let keys: Vec<&String> = keys.iter().filter(|key| lent(key)).collect();
        match keys.is_empty() {
            true => Ok(()),
            false => self.edit(|conf| keys.iter().for_each(|key| conf.remove(key))),
        }
    }

    /// Puts the marker and Proxmox's own lock entry on a guest that a tool has just made for this
    /// container, so that nobody starts it before it is whole; gives its configuration. What a
    /// clone has of its template is told from what the tool was given: the description.
    ///
    /// # Errors
    /// What stands under the number is another guest's.
    pub fn take_over(&self, tags: &str) -> Result<Conf, GuestError> {
        let cluster = self.cluster()?;
        let _lock = cluster.lock(self.vmid, self.patience())?;
        let text = cluster
            .read(self.vmid)?
            .ok_or(GuestError::Gone(self.vmid))?;
        let mut conf = Conf::parse(&text);
        if !self.is_described_in(&conf) {
            return Err(GuestError::Foreign(self.vmid));
        }
        conf.set("tags", tags);
        conf.set("lock", "create");
        cluster.write(self.vmid, &conf.to_string())?;
        Ok(conf)
    }

    fn is_described_in(&self, conf: &Conf) -> bool {
        let marker = Marker::described(&conf.description());
        marker.is_some_and(|marker| marker.id == self.id && marker.root == self.root)
    }

    /// Removes what a tool has left of making this guest; the tool runs no more. A guest that
    /// somebody else has made under the number is left alone.
    ///
    /// # Errors
    /// As [`Guest::destroy`].
    pub fn remove_half_made(&self) -> Result<(), GuestError> {
        let cluster = self.cluster()?;
        let known = cluster.guests()?.remove(&self.vmid);
        if known.is_none_or(|known| known.kind != "lxc" || known.node != cluster.node()) {
            return Ok(());
        }
        {
            let _lock = cluster.lock(self.vmid, self.patience())?;
            let Some(text) = cluster.read(self.vmid)? else {
                return Ok(());
            };
            let mut conf = Conf::parse(&text);
            let bare = conf.is_only("lock", "create") && !is_being_made(self.vmid);
            if !bare && !self.is_described_in(&conf) {
                tracing::warn!("VMID {} belongs to another guest now", self.vmid);
                return Ok(());
            }
            conf.set("tags", TAG);
            conf.set_description(&self.marker().line());
            conf.remove("lock");
            cluster.write(self.vmid, &conf.to_string())?;
        }
        // Volumes are made before the configuration names them.
        match self.lent.is_empty() {
            true => self.destroy_with(&["--destroy-unreferenced-disks", "1"]),
            false => self.destroy_with(&[]),
        }
    }

    fn marker(&self) -> Marker {
        Marker {
            id: self.id.clone(),
            root: self.root.clone(),
        }
    }

    /// A lock is read from the file: asking pct each time would cost a second.
    fn await_unlocked(&self) -> Result<(), GuestError> {
        let end = Instant::now() + self.patience();
        loop {
            let conf = match self.here() {
                Err(GuestError::Gone(_)) => return Ok(()),
                other => other?,
            };
            // `mounted` is `pct mount`'s: the guest can be destroyed with it.
            match conf.get("lock").filter(|lock| *lock != "mounted") {
                None => return Ok(()),
                Some(lock) if Instant::now() >= end => {
                    return Err(GuestError::Locked {
                        vmid: self.vmid,
                        lock: lock.to_owned(),
                    });
                }
                Some(_) => std::thread::sleep(PAUSE),
            }
        }
    }
}

/// Only pxrun writes a marked guest that is still being created: `pct create` takes the lock away
/// together with writing anything else.
fn is_placeholder(conf: &Conf) -> bool {
    conf.get("lock") == Some("create")
}

/// Whether a process of this node makes a guest with this number: `pct`, or a task of the web
/// interface, which has the number in its title.
fn is_being_made(vmid: u32) -> bool {
    const MAKING: [&str; 3] = ["create", "restore", "clone"];
    let number = vmid.to_string();
    let makes = |words: &[String]| {
        let by_tool =
            words.contains(&number) && MAKING.iter().any(|verb| words.iter().any(|w| w == verb));
        let title = words.join(" ");
        let task = |verb| title.contains(&format!(":vz{verb}:{number}:"));
        by_tool || MAKING.iter().any(task)
    };
    let processes = procfs::process::all_processes().into_iter().flatten();
    processes
        .filter_map(Result::ok)
        .any(|process| process.cmdline().is_ok_and(|words| makes(&words)))
}

fn is(error: &PctError, reasons: &[Reason]) -> bool {
    error
        .reason()
        .is_some_and(|reason| reasons.contains(reason))
}
