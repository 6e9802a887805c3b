//! A bundle whose root file system is another one, used in place, with what changes kept in the
//! bundle: overlayfs (Documentation/filesystems/overlayfs.rst). It must not change the lower one.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount as mount2, umount2};

use super::bundle::ROOTFS;
use super::{AssembleError, file};
use crate::bundle::Bundle;
use crate::staging;

/// What changes, and overlayfs's own directory beside it.
const UPPER: &str = "upper";
const WORK: &str = "work";

/// Longest line of options that mount(2) takes: a page with its NUL.
const LONGEST: usize = 4095;

/// Makes the directories of an overlay over `lower` in the bundle `here`. The mount comes when the
/// bundle is in its place, so that its options name the paths that people see.
///
/// # Errors
/// From the file system.
pub fn prepare(lower: &Path, here: &Path) -> Result<(), AssembleError> {
    let meta = fs::metadata(lower).map_err(file("open root file system", lower))?;
    for name in [ROOTFS, UPPER, WORK] {
        let dir = here.join(name);
        let make = DirBuilder::new().mode(0o755).create(&dir);
        make.map_err(file("make directory", &dir))?;
    }
    // The root's own owner and mode are the upper directory's.
    let upper = here.join(UPPER);
    std::os::unix::fs::chown(&upper, Some(meta.uid()), Some(meta.gid()))
        .and_then(|()| fs::set_permissions(&upper, fs::Permissions::from_mode(meta.mode())))
        .map_err(file("make directory", &upper))
}

/// Mounts the overlay of `bundle`.
///
/// # Errors
/// A path that the options can't hold; the kernel can't, here: [`AssembleError::Refused`].
pub fn mount(lower: &Path, bundle: &Path) -> Result<(), AssembleError> {
    let bundle = fs::canonicalize(bundle).map_err(file("open bundle", bundle))?;
    let named = [
        ("lowerdir", lower.to_owned()),
        ("upperdir", bundle.join(UPPER)),
        ("workdir", bundle.join(WORK)),
    ];
    let mut options = Vec::new();
    for (name, path) in &named {
        options.push(format!("{name}={}", plain(path)?));
    }
    let options = options.join(",");
    if options.len() > LONGEST {
        return Err(AssembleError::Refused(
            "--overlay: the paths are too long for mount(2)".to_owned(),
        ));
    }
    let at = bundle.join(ROOTFS);
    let (kind, data) = (Some("overlay"), Some(options.as_str()));
    mount2(Some("overlay"), &at, kind, MsFlags::empty(), data).map_err(|errno| {
        let why = match errno {
            Errno::ENODEV => "this kernel has no overlayfs".to_owned(),
            Errno::EPERM => "mounting takes root".to_owned(),
            Errno::EINVAL => format!(
                "`{}` lies on a file system that overlayfs can't write to",
                bundle.display()
            ),
            other => other.desc().to_owned(),
        };
        AssembleError::Refused(format!("--overlay: {why}; leave it out for a copy"))
    })
}

fn plain(path: &Path) -> Result<&str, AssembleError> {
    let text = path
        .to_str()
        .filter(|text| !text.contains([',', ':', '\\']));
    text.ok_or_else(|| {
        AssembleError::Refused(format!(
            "--overlay: `{}` has a character that mount options can't hold",
            path.display()
        ))
    })
}

/// Unmounts what is mounted over the root of `bundle`; nothing mounted is fine.
///
/// # Errors
/// It is in use.
pub fn unmount(bundle: &Path) -> Result<(), AssembleError> {
    let at = bundle.join(ROOTFS);
    match umount2(&at, MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT | Errno::ENOTDIR) => Ok(()),
        Err(errno) => Err(file("unmount", &at)(errno.into())),
    }
}

/// Removes a bundle, its overlay unmounted first.
///
/// # Errors
/// It is no bundle, or in use; nothing is removed then.
pub fn remove(path: &Path) -> Result<PathBuf, AssembleError> {
    let bundle = Bundle::load(path)?.path;
    unmount(&bundle)?;
    staging::remove(&bundle).map_err(file("remove", &bundle))?;
    Ok(bundle)
}
