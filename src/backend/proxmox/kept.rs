//! What the record of a container keeps of its guest, so that every later command finds it,
//! whatever the configuration file says by then. It must not act on it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::guest::Guest;
use super::settings::Settings;
use crate::backend::lxc::own::Own;
use crate::state::Record;

/// The launcher's part of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// A number is being taken: which one, the guests themselves say.
    Claiming {
        /// The container.
        id: String,
        /// The root below which its record is.
        root: PathBuf,
        /// The node's settings.
        settings: Box<Settings>,
        /// What is needed only meanwhile.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        work: Option<PathBuf>,
    },
    /// A tool of Proxmox's makes the guest with its volumes, or was killed over it.
    Making {
        /// Which.
        guest: Box<Guest>,
        /// What is needed only meanwhile; the tool holds the lock in it.
        work: PathBuf,
    },
    /// There is a guest.
    Guest {
        /// Which.
        guest: Box<Guest>,
    },
}

impl Kept {
    /// Reads it; `None` while nothing was tried.
    pub fn of(record: &Record) -> Option<Kept> {
        Self::from_own(&Own::of(record))
    }

    /// The same from the engine's part.
    pub fn from_own(own: &Own) -> Option<Kept> {
        serde_json::from_value(own.launcher.clone()).ok()
    }

    /// As the engine keeps it.
    pub fn value(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Puts it into the record.
    pub fn keep_in(&self, record: &mut Record) {
        let mut own = Own::of(record);
        own.launcher = self.value();
        own.keep_in(record);
    }

    /// The guest's number.
    pub fn vmid(&self) -> Option<u32> {
        match self {
            Kept::Claiming { .. } => None,
            Kept::Making { guest, .. } | Kept::Guest { guest } => Some(guest.vmid),
        }
    }
}
