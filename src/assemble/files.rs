//! The files of a source into an open directory, and what the source says about running them.
//! It must not make or remove the directory.

use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{AssembleError, IMAGE_FILE, file};
use crate::archive::Limits;
use crate::archive::compression::Stream;
use crate::bundle::Bundle;
use crate::image::Image;
use crate::image::config::RunConfig;
use crate::image::select::Platform;
use crate::interrupt::Interrupt;
use crate::pack::{PackError, Packer};
use crate::progress::Progress;
use crate::source::Source;
use crate::sys::mounts::{How, openat2};
use crate::template::mark;
use crate::unpack::{Meaning, UnpackError, Unpacker};

/// Reads of an archive at once.
const BUFFER: usize = 256 << 10;

/// How files are taken from a source.
pub struct Files<'a> {
    /// What archives may ask for.
    pub limits: Limits,
    /// Which of an image's platforms.
    pub platform: Option<&'a Platform>,
    /// Whether somebody wants it to stop.
    pub interrupt: &'a Interrupt,
    /// Show no progress.
    pub quiet: bool,
}

impl Files<'_> {
    /// Fills `root` from `source`.
    ///
    /// # Errors
    /// [`AssembleError`]; `root` is half made then.
    pub fn fill(&self, source: &Source, root: OwnedFd) -> Result<RunConfig, AssembleError> {
        match source {
            Source::Image { path, wanted } => {
                let image = Image::open(path, wanted.as_deref(), self.platform)?;
                self.image(&image, root)?;
                Ok(run_config(&image))
            }
            Source::Tar(path) => self.tar(path, root),
            Source::Dir(path) => {
                self.copy(&open_root(path)?, root)?;
                Ok(RunConfig::default())
            }
            Source::Bundle(path) => {
                let (rootfs, run) = rootfs_of_bundle(path)?;
                self.copy(&open_root(&rootfs)?, root)?;
                Ok(run)
            }
            Source::Guest(id) => Err(AssembleError::Refused(format!(
                "guest `{id}` is not mounted"
            ))),
        }
    }

    /// The layers of an image, one on top of the other.
    pub fn image(&self, image: &Image, root: OwnedFd) -> Result<(), AssembleError> {
        let progress = Progress::new("unpack", image.size(), self.quiet);
        let stop = || self.interrupt.pending();
        let mut unpacker = Unpacker::new(root, self.limits, &stop);
        for number in 0..image.layers() {
            let mut layer = image.layer(number, &progress)?;
            let added = unpacker.add(&mut layer, Meaning::Layer);
            if let Err(error) = added {
                // A damaged blob mostly breaks the archive first: that it is damaged says more.
                let broken = matches!(error, UnpackError::Archive(_));
                if broken {
                    image.verify(number, layer)?;
                }
                return Err(error.into());
            }
            image.verify(number, layer)?;
        }
        unpacker.finish()?;
        progress.done();
        Ok(())
    }

    fn tar(&self, path: &Path, root: OwnedFd) -> Result<RunConfig, AssembleError> {
        let archive = File::open(path).map_err(file("open archive", path))?;
        let meta = archive.metadata().map_err(file("open archive", path))?;
        let size = if meta.is_file() { meta.len() } else { 0 };
        let progress = Progress::new("unpack", size, self.quiet);
        let stream = Stream::new(progress.read(archive), false);
        let mut stream = stream.map_err(file("read archive", path))?;
        let stop = || self.interrupt.pending();
        let mut unpacker = Unpacker::new(root, self.limits, &stop);
        let comment = unpacker.add(&mut stream, Meaning::Tree)?;
        // The rest, so that what is cut behind the last entry is noticed too.
        stream.finish().map_err(file("read archive", path))?;
        unpacker.finish()?;
        progress.done();
        Ok(comment
            .and_then(|text| mark::read(&text))
            .unwrap_or_default())
    }

    /// A tree as it is: through an archive that never touches a disk.
    pub fn copy(&self, from: &OwnedFd, root: OwnedFd) -> Result<(), AssembleError> {
        let progress = Progress::new("copy", 0, self.quiet);
        let pipe = |source| AssembleError::File {
            doing: "make",
            path: "pipe".into(),
            source,
        };
        let (read, write) = io::pipe().map_err(pipe)?;
        let stopped = AtomicBool::new(false);
        let watch = |bytes| {
            progress.add(bytes);
            stopped.load(Ordering::Relaxed)
        };
        let stop = || {
            let pending = self.interrupt.pending();
            stopped.fetch_or(pending, Ordering::Relaxed);
            pending
        };
        std::thread::scope(|scope| {
            let packing = scope.spawn(|| {
                let mut packer = Packer::new(BufWriter::with_capacity(BUFFER, write), &watch);
                packer.tree(from.as_fd())?;
                let (into, _) = packer.finish()?;
                into.into_inner()
                    .map(drop)
                    .map_err(|e| crate::archive::ArchiveError::Write(e.into_error()).into())
            });
            let mut unpacker = Unpacker::new(root, Limits::none(), &stop);
            let mut read = BufReader::with_capacity(BUFFER, read);
            let added = unpacker.add(&mut read, Meaning::Tree);
            // The packer notices that nobody reads any more.
            drop(read);
            let packed: Result<(), PackError> =
                packing.join().unwrap_or(Err(PackError::Interrupted));
            match (added, packed) {
                // What goes wrong on one side ends the other: the cause is not "broken pipe".
                (Err(error @ UnpackError::Kernel { .. }), _) => {
                    return Err(AssembleError::from(error));
                }
                (Err(UnpackError::Interrupted), _) => {
                    return Err(UnpackError::Interrupted.into());
                }
                (_, Err(error)) => return Err(error.into()),
                (added, Ok(())) => added?,
            };
            unpacker.finish()?;
            progress.done();
            Ok(())
        })
    }
}

/// What the image says, with its name and digest.
pub fn run_config(image: &Image) -> RunConfig {
    RunConfig {
        image: image.name.clone(),
        digest: Some(image.digest()),
        ..RunConfig::of_image(&image.config)
    }
}

/// Opens a directory of this host that is to be read as a root file system.
pub fn open_root(path: &Path) -> Result<OwnedFd, AssembleError> {
    let how = How {
        flags: libc::O_RDONLY | libc::O_DIRECTORY,
        ..How::default()
    };
    openat2(None, path, how).map_err(|errno| file("open root file system", path)(errno.into()))
}

/// Where the root file system of a bundle lies, and what its image said.
pub fn rootfs_of_bundle(path: &Path) -> Result<(PathBuf, RunConfig), AssembleError> {
    let bundle = Bundle::load(path)?;
    let root = bundle.raw["root"]["path"].as_str().unwrap_or("rootfs");
    let rootfs = bundle.path.join(root);
    let kept = bundle.path.join(IMAGE_FILE);
    let run = match crate::bundle::load_json(&kept) {
        Ok(value) => serde_json::from_value(value)
            .map_err(|error| file("read", &kept)(io::Error::other(error)))?,
        Err(crate::bundle::BundleError::NoFile(_)) => of_config(&bundle.raw),
        Err(error) => return Err(error.into()),
    };
    Ok((rootfs, run))
}

/// What a bundle that no image left a trace in would say if it were one.
fn of_config(config: &serde_json::Value) -> RunConfig {
    let texts = |value: &serde_json::Value| -> Vec<String> {
        let list = value.as_array().into_iter().flatten();
        list.filter_map(|v| v.as_str().map(ToOwned::to_owned))
            .collect()
    };
    let process = &config["process"];
    let user = &process["user"];
    let id = |key: &str| user[key].as_u64().unwrap_or(0);
    RunConfig {
        os: "linux".into(),
        arch: Platform::host().arch,
        user: match (id("uid"), id("gid")) {
            (0, 0) => String::new(),
            (uid, gid) => format!("{uid}:{gid}"),
        },
        cmd: texts(&process["args"]),
        env: texts(&process["env"]),
        cwd: process["cwd"].as_str().unwrap_or_default().to_owned(),
        ..RunConfig::default()
    }
}
