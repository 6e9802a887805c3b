//! What the LXC backend keeps of a container in its record. Must not act on it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::state::{ProcessId, Record};

/// The record's `own` part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// The container's name for LXC, unique on this host.
    pub name: String,
    /// LXC's monitor, `lxc-start`.
    pub monitor: Option<ProcessId>,
    /// The real first process; the record's `init` is the keeper, which callers are told of.
    pub init: Option<ProcessId>,
    /// What the launcher keeps for itself.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub launcher: Value,
}

impl Own {
    /// Reads it; of a container that `create` hadn't got far with, it is empty.
    pub fn of(record: &Record) -> Own {
        serde_json::from_value(record.own.clone()).unwrap_or_default()
    }

    /// Puts it into the record.
    pub fn keep_in(&self, record: &mut Record) {
        record.own = serde_json::to_value(self).unwrap_or_default();
    }

    /// The real first process while it lives.
    pub fn live_init(&self) -> Option<&ProcessId> {
        self.init.as_ref().filter(|init| init.is_alive())
    }
}
