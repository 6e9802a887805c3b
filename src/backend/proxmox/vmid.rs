//! Numbers for guests: one of the range, or the one that an annotation pins, never one that any
//! guest of the cluster or any container of pxrun has. It must not know what the guest will be.
//!
//! Claiming number N: the directory `priv/lock/pxrun-N` is made, which succeeds for one process of
//! the whole cluster; then Proxmox's own lock on N's configuration is taken, which `pct create` on
//! this node takes too; then the guest is written, and pmxcfs refuses it when another node has made
//! an N meanwhile; then it is read back. A process that dies in between leaves a directory that
//! others pass by, and that pmxcfs lets go after two minutes.

use std::collections::BTreeSet;
use std::time::Duration;

use super::cluster::{Cluster, ClusterError};
use super::pct::{PctError, Reason};
use super::settings::Range;
use crate::state::StateError;

/// Which numbers may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Any of the range.
    Any(Range),
    /// This one.
    This(u32),
}

/// Why there is no number.
#[derive(Debug, thiserror::Error)]
pub enum VmidError {
    /// All are taken.
    #[error("no VMID of {}-{} is free", .0.first, .0.last)]
    Exhausted(Range),
    /// The wanted one isn't free.
    #[error("VMID {0} is being taken by another process")]
    Contended(u32),
    /// One of pxrun's own records has it.
    #[error("VMID {0} belongs to another container of pxrun")]
    Recorded(u32),
    /// It was written and is another guest now.
    #[error("VMID {0} was taken by another node at the same time")]
    Lost(u32),
    /// The cluster file system's answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The answer of the tool that was to make the guest.
    #[error(transparent)]
    Pct(#[from] PctError),
    /// The number couldn't be written down.
    #[error(transparent)]
    State(#[from] StateError),
}

impl VmidError {
    /// Whether another number may still do.
    fn is_this_number(&self) -> bool {
        if let VmidError::Pct(error) = self {
            return matches!(error.reason(), Some(Reason::Taken { .. }));
        }
        matches!(
            self,
            VmidError::Contended(_)
                | VmidError::Recorded(_)
                | VmidError::Lost(_)
                | VmidError::Cluster(ClusterError::Taken { .. } | ClusterError::Busy(_))
        )
    }
}

/// Takes a number and writes the guest that `text` makes for it. `recorded` holds the numbers of
/// containers that still have a record, though their guest may be gone.
pub fn allocate(
    cluster: &Cluster,
    wish: Wish,
    recorded: &BTreeSet<u32>,
    text: impl Fn(u32) -> String,
) -> Result<u32, VmidError> {
    allocate_with(cluster, wish, recorded, &mut |vmid| {
        write(cluster, vmid, &text(vmid))
    })
}

/// Takes a number for a guest that `make` makes, such as by `pct create`: when that says that the
/// number is taken, the next one's turn has come.
pub fn allocate_with(
    cluster: &Cluster,
    wish: Wish,
    recorded: &BTreeSet<u32>,
    make: &mut dyn FnMut(u32) -> Result<(), VmidError>,
) -> Result<u32, VmidError> {
    let range = match wish {
        Wish::This(vmid) => {
            return take(cluster, vmid, recorded, make).map(|()| vmid);
        }
        Wish::Any(range) => range,
    };
    let guests = cluster.guests()?;
    let free = |vmid: &u32| !guests.contains_key(vmid) && !recorded.contains(vmid);
    for vmid in (range.first..=range.last).filter(free) {
        match take(cluster, vmid, recorded, make) {
            Ok(()) => return Ok(vmid),
            Err(error) if error.is_this_number() => tracing::debug!("{error}; next"),
            Err(error) => return Err(error),
        }
    }
    Err(VmidError::Exhausted(range))
}

fn take(
    cluster: &Cluster,
    vmid: u32,
    recorded: &BTreeSet<u32>,
    make: &mut dyn FnMut(u32) -> Result<(), VmidError>,
) -> Result<(), VmidError> {
    if recorded.contains(&vmid) {
        return Err(VmidError::Recorded(vmid));
    }
    let name = format!("pxrun-{vmid}");
    if !cluster.claim(&name)? {
        return Err(VmidError::Contended(vmid));
    }
    let taken = make(vmid);
    cluster.release(&name);
    taken
}

fn write(cluster: &Cluster, vmid: u32, text: &str) -> Result<(), VmidError> {
    let _lock = cluster.lock(vmid, Duration::ZERO)?;
    // Looked up once more: the list was read before the claim.
    if let Some(other) = cluster.guests()?.remove(&vmid) {
        let node = Some(other.node);
        return Err(ClusterError::Taken { vmid, node }.into());
    }
    cluster.write(vmid, text)?;
    let ours = cluster.read(vmid)?.as_deref() == Some(text);
    let known = cluster.guests()?.remove(&vmid);
    let here = known.is_some_and(|known| known.node == cluster.node() && known.kind == "lxc");
    match ours && here {
        true => Ok(()),
        // Not removed: whatever stands there now is somebody else's.
        false => Err(VmidError::Lost(vmid)),
    }
}
