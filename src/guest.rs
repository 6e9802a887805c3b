//! The files of a stopped guest, mounted by pct as long as they are read. It must not start, stop or
//! change a guest.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::backend::proxmox::pct::{PctError, Tool};

/// Mounting checks file systems first.
const LIMIT: Duration = Duration::from_secs(120);

/// Why a guest's files can't be read.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// The guest isn't as it has to be.
    #[error("guest `{id}`: {text}")]
    Unfit {
        /// Its number.
        id: u32,
        /// What is wrong with it.
        text: String,
    },
    /// pct says no.
    #[error(transparent)]
    Pct(#[from] PctError),
}

/// A guest's mounted root file system; unmounted when dropped.
#[derive(Debug)]
pub struct Mounted {
    pct: Tool,
    id: u32,
    path: PathBuf,
}

impl Mounted {
    /// Mounts guest `id`. `dir` is where pct is, when that isn't Proxmox's own place.
    ///
    /// # Errors
    /// There is no such guest, it runs, or pct can't mount it.
    pub fn new(id: u32, dir: Option<&Path>) -> Result<Self, GuestError> {
        let pct = Tool::find("pct", dir)?;
        let number = id.to_string();
        let status = pct.call(&["status", &number], LIMIT)?;
        if status.out.trim() != "status: stopped" {
            let text = format!("not stopped (`{}`)", status.out.trim());
            return Err(GuestError::Unfit { id, text });
        }
        let said = pct.call(&["mount", &number], LIMIT)?;
        // From here on it is mounted: whatever fails unmounts it.
        let mut mounted = Self {
            pct,
            id,
            path: PathBuf::new(),
        };
        match place(&said.out) {
            Some(path) => {
                mounted.path = path;
                Ok(mounted)
            }
            None => Err(GuestError::Unfit {
                id,
                text: format!(
                    "pct doesn't say where it is mounted (`{}`)",
                    said.out.trim()
                ),
            }),
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let number = self.id.to_string();
        if let Err(error) = self.pct.call(&["unmount", &number], LIMIT) {
            tracing::warn!("unmount guest `{}`: {error}", self.id);
        }
    }
}

/// `mounted CT 100 in '/var/lib/lxc/100/rootfs'`.
fn place(text: &str) -> Option<PathBuf> {
    let line = text.lines().find(|line| line.starts_with("mounted CT "))?;
    let (_, path) = line.split_once(" in '")?;
    let path = path.trim_end().strip_suffix('\'')?;
    path.starts_with('/').then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_in_pcts_answer() {
        let text = "/dev/dm-1\nmounted CT 100 in '/var/lib/lxc/100/rootfs'\n";
        assert_eq!(place(text), Some("/var/lib/lxc/100/rootfs".into()));
        for other in [
            "",
            "mounted CT 100",
            "mounted CT 100 in 'x'",
            "mounted CT 1 in '/x",
        ] {
            assert_eq!(place(other), None, "{other}");
        }
    }
}
