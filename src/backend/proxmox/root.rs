//! A root that only the caller's mount namespace shows, shown to the host: systemd starts guests in
//! the host's namespace, where Proxmox's own hook mounts them. It must not know what is in the root.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::backend::linux::channel;
use crate::rootfs::Prepared;
use crate::sys::clone::{CloneArgs, Cloned, clone3, exit_now, setns};

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

/// Mounts the root at a directory of the host's.
pub fn show(rootfs: &Prepared, at: &Path, host: u32) -> anyhow::Result<()> {
    on_host(host, || Ok(rootfs.attach_root_at(at)?)).context("show the root to the host")
}

/// Takes it away again. Gone already is fine.
pub fn hide(at: &Path, host: u32) -> anyhow::Result<()> {
    on_host(host, || {
        match nix::mount::umount2(at, nix::mount::MntFlags::MNT_DETACH) {
            // Not mounted, or the directory isn't there.
            Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => Ok(()),
            other => Ok(other?),
        }
    })
    .with_context(|| format!("unmount `{}`", at.display()))
}

/// Runs in a child that has joined the host's mount namespace: this process must stay in its own,
/// where the bundle is.
fn on_host(host: u32, job: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let namespace = std::fs::File::open(format!("/proc/{host}/ns/mnt"))
        .context("open the host's mount namespace")?;
    let (ours, theirs) = channel::pair()?;
    match clone3(CloneArgs::default()).context("make process")? {
        Cloned::Parent { pid, .. } => {
            drop(theirs);
            let outcome = ours.await_exec();
            crate::backend::linux::spawn::reap(pid);
            Ok(outcome?)
        }
        Cloned::Child => {
            drop(ours);
            let done = setns(namespace.as_fd(), nix::libc::CLONE_NEWNS)
                .context("join the host's mount namespace")
                .and_then(|()| job());
            if let Err(error) = &done {
                theirs.fail(&crate::error::one_line(error));
            }
            exit_now(i32::from(done.is_err()))
        }
    }
}
