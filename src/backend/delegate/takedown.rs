//! Takes a container of another runtime down: by the runtime while it works, else by hand.
//! It must not remove anything that the record doesn't name.

use std::path::Path;

use nix::libc::SIGKILL;

use super::program::Runtime;
use super::{Call, Without, ask};
use crate::state::Record;

/// Ends and removes the container, whatever state it is in. A runtime that has gone, or fails, is
/// replaced by what can be done without it.
///
/// # Errors
/// Something of the container is left.
pub fn take_down(record: &Record) -> anyhow::Result<()> {
    let runtime = Runtime::of(record)?;
    let call = Call::new("delete", [record.id.clone().into()]).flag("force", true, Without::Never);
    match ask(&runtime, &call) {
        Ok(output) if output.code == Some(0) => return Ok(()),
        Ok(output) => {
            let words = String::from_utf8_lossy(&output.err);
            tracing::debug!("`{}` could not delete: {}", runtime.name, words.trim());
        }
        Err(error) => tracing::warn!("{error}: removing what it left"),
    }
    by_hand(record, &runtime)
}

/// What the runtime would have done.
fn by_hand(record: &Record, runtime: &Runtime) -> anyhow::Result<()> {
    if let Some(init) = record.live_init() {
        crate::backend::linux::end(init)?;
    }
    if record.cgroup.exists() {
        record.cgroup.kill_all(SIGKILL)?;
        record.cgroup.remove()?;
    }
    forget(runtime, &record.id)
}

/// The runtime's own notes of the container. A directory it is not is left alone, and no link is
/// followed: `remove_dir_all` doesn't.
fn forget(runtime: &Runtime, id: &str) -> anyhow::Result<()> {
    let notes = runtime.root.join(id);
    let is_dir = std::fs::symlink_metadata(&notes).is_ok_and(|meta| meta.is_dir());
    if is_dir && is_below(&notes, &runtime.root) {
        std::fs::remove_dir_all(&notes)?;
    }
    Ok(())
}

/// Whether the runtime has something written down of the container, where most runtimes have it:
/// a look, where a question would cost another process.
pub fn has_notes(record: &Record, runtime: &Runtime) -> bool {
    record.live_init().is_some() || runtime.root.join(&record.id).is_dir()
}

/// An id can't hold a slash; a record can be damaged.
fn is_below(notes: &Path, root: &Path) -> bool {
    notes.parent() == Some(root) && notes.file_name().is_some()
}
