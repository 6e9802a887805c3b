//! Directories that an image calls volumes: each gets one of its own in the bundle, with what the
//! image has there. It must not follow a link out of the root file system.

use std::fs::{self, DirBuilder};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path};

use nix::errno::Errno;

use super::files::{Files, open_root};
use super::{AssembleError, file};
use crate::rootfs::resolve::{self, Links};

/// Directory in the bundle.
const VOLUMES: &str = "volumes";

/// Makes the directories; gives their paths below the bundle, in the order of `volumes`.
pub fn make(
    files: &Files<'_>,
    bundle: &Path,
    rootfs: &Path,
    volumes: &[String],
) -> Result<Vec<String>, AssembleError> {
    if volumes.is_empty() {
        return Ok(Vec::new());
    }
    let mut builder = DirBuilder::new();
    let parent = bundle.join(VOLUMES);
    builder
        .mode(0o700)
        .create(&parent)
        .map_err(file("make directory", &parent))?;
    let root = open_root(rootfs)?;
    let mut made = Vec::new();
    for (number, volume) in volumes.iter().enumerate() {
        check(volume)?;
        let name = format!("{VOLUMES}/{number}");
        let place = bundle.join(&name);
        builder
            .mode(0o755)
            .create(&place)
            .map_err(file("make directory", &place))?;
        match resolve::open(root.as_fd(), Path::new(volume), Links::Follow) {
            Ok(from) => match crate::pack::reopen(from.as_fd()) {
                Ok(from) => files.copy(&from, open_root(&place)?)?,
                // A file stands there: the runtime will say so when it mounts.
                Err(Errno::ENOTDIR) => {
                    fs::remove_dir(&place).map_err(file("remove", &place))?;
                    return Err(AssembleError::Refused(format!(
                        "volume `{volume}` of the image is no directory"
                    )));
                }
                Err(errno) => return Err(file("open volume", Path::new(volume))(errno.into())),
            },
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(file("open volume", Path::new(volume))(errno.into())),
        }
        made.push(name);
    }
    Ok(made)
}

fn check(volume: &str) -> Result<(), AssembleError> {
    let plain = |component| matches!(component, Component::Normal(_) | Component::RootDir);
    let path = Path::new(volume);
    let names_something = path.file_name().is_some();
    match names_something && path.components().all(plain) {
        true => Ok(()),
        false => Err(AssembleError::Refused(format!(
            "volume `{}` of the image is no plain path",
            crate::spec::report::show_text(volume)
        ))),
    }
}
