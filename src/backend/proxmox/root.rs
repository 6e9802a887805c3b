//! Whether the host sees a bundle's root: systemd starts guests in the host's mount namespace, where
//! Proxmox's own hook mounts what their configuration names. It must not know what is in the root.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Whether the process `host`, whose mount namespace is the host's, sees the same directory at that
/// path. Where it can't be looked at, this process is in no other namespace that anybody could name.
pub fn is_visible(path: &Path, host: u32) -> bool {
    let Ok(relative) = path.strip_prefix("/") else {
        return false;
    };
    let theirs = std::fs::metadata(PathBuf::from(format!("/proc/{host}/root")).join(relative));
    match (std::fs::metadata(path), theirs) {
        (Ok(ours), Ok(theirs)) => ours.dev() == theirs.dev() && ours.ino() == theirs.ino(),
        (_, Err(error)) => error.kind() == ErrorKind::PermissionDenied,
        (Err(_), Ok(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_directory_is_seen_and_another_is_not() {
        let own = std::process::id();
        let dir = tempfile::tempdir().unwrap();
        assert!(is_visible(dir.path(), own));
        assert!(!is_visible(&dir.path().join("absent"), own));
        assert!(!is_visible(Path::new("relative"), own));
        // A process that isn't there shows nothing.
        assert!(!is_visible(dir.path(), u32::MAX));
    }
}
