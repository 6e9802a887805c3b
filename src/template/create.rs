//! One template out of a source: written beside its place, moved there when it is on disk.
//! The same source gives the same bytes. It must not choose a storage.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use sha2::{Digest, Sha256};

use super::{TemplateError, file, mark, name, oci};
use crate::archive::compression::hex;
use crate::assemble::{Files, open_root, rootfs_of_bundle};
use crate::image::Image;
use crate::image::config::RunConfig;
use crate::image::select::Platform;
use crate::pack::{PackError, Packed, Packer};
use crate::progress::Progress;
use crate::source::Source;
use crate::staging::{Existing, Staging};

/// Where a template goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Into this directory, under a name that tells image and digest.
    Dir(PathBuf),
    /// This very file.
    File(PathBuf),
}

/// What a template is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `tar.zst` of a root file system.
    Vztmpl,
    /// An OCI archive.
    Oci,
}

/// What is to be made.
pub struct Job<'a> {
    /// What from; a guest is mounted already, and a directory here.
    pub source: &'a Source,
    /// How files are taken.
    pub files: Files<'a>,
    /// Where to.
    pub place: Place,
    /// What the file's name begins with instead of the image's.
    pub name: Option<String>,
    /// What it becomes.
    pub form: Form,
    /// Level of zstd.
    pub level: i32,
    /// What may be there.
    pub existing: Existing,
}

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// The file.
    pub path: PathBuf,
    /// Sockets, which no archive can hold.
    pub sockets: u64,
}

/// Makes a template.
///
/// # Errors
/// [`TemplateError`]; nothing is left then.
pub fn make(job: &Job<'_>) -> Result<Made, TemplateError> {
    let unnamed = match &job.place {
        Place::File(path) => path.clone(),
        Place::Dir(dir) => dir.join("template"),
    };
    let (mut staging, out) = Staging::file(&unnamed).map_err(file("write", &unnamed))?;
    let image = match job.source {
        Source::Image { path, wanted } => {
            Some(Image::open(path, wanted.as_deref(), job.files.platform)?)
        }
        _ => None,
    };
    let written = match (job.form, &image) {
        (Form::Oci, Some(image)) => oci::of_image(image, &out, job)?,
        (form, image) => of_tree(job, form, image.as_ref(), &unnamed, &out)?,
    };
    if let Place::Dir(dir) = &job.place {
        let extension = match job.form {
            Form::Vztmpl => "tar.zst",
            Form::Oci => "tar",
        };
        let base = job.name.clone();
        let base = base.unwrap_or_else(|| name::base(&written.run, &fallback(job.source)));
        let file = name::file_name(&base, &written.digest, &arch(&written.run), extension);
        staging.aim(&dir.join(file));
    }
    let target = staging.target().to_path_buf();
    // As Proxmox's own downloads are.
    out.set_permissions(fs::Permissions::from_mode(0o644))
        .and_then(|()| out.sync_all())
        .map_err(file("write", &target))?;
    if job.files.interrupt.pending_now() {
        return Err(PackError::Interrupted.into());
    }
    staging
        .commit(job.existing)
        .map_err(file("move template to", &target))?;
    Ok(Made {
        path: target,
        sockets: written.sockets,
    })
}

/// What stands in the file, for its name.
pub(super) struct Written {
    pub run: RunConfig,
    pub digest: String,
    pub sockets: u64,
}

fn of_tree(
    job: &Job<'_>,
    form: Form,
    image: Option<&Image>,
    beside: &Path,
    out: &File,
) -> Result<Written, TemplateError> {
    let (rootfs, mut run, _unpacked) = tree(job, image, beside)?;
    if run.os.is_empty() {
        run.os = "linux".into();
    }
    if run.arch.is_empty() {
        run.arch = Platform::host().arch;
    }
    if form == Form::Oci {
        return oci::of_tree(&rootfs, run, beside, out, job);
    }
    let comment = mark::text(&run);
    let manifest = run
        .digest
        .as_deref()
        .and_then(|d| d.strip_prefix("sha256:"));
    let sum = match manifest {
        Some(_) => Sum::None,
        None => Sum::Compressed,
    };
    let (digest, packed) = pack(&rootfs, Some(&comment), out, job, sum)?;
    Ok(Written {
        digest: manifest.map_or(digest, ToOwned::to_owned),
        run,
        sockets: packed.sockets,
    })
}

/// The root file system, what its source says, and what has to stay until it was read.
fn tree(
    job: &Job<'_>,
    image: Option<&Image>,
    beside: &Path,
) -> Result<(PathBuf, RunConfig, Option<Staging>), TemplateError> {
    match (job.source, image) {
        (Source::Dir(path), _) => Ok((path.clone(), RunConfig::default(), None)),
        (Source::Bundle(path), _) => {
            let (rootfs, run) = rootfs_of_bundle(path)?;
            Ok((rootfs, run, None))
        }
        (source, image) => {
            let staging = Staging::dir(beside).map_err(file("unpack beside", beside))?;
            // An archive need not say what its root is: the mode of the hidden directory is not it.
            let rootfs = staging.path().join("rootfs");
            let mut builder = fs::DirBuilder::new();
            builder
                .mode(0o755)
                .create(&rootfs)
                .map_err(file("make directory", &rootfs))?;
            let root = open_root(&rootfs)?;
            let run = match image {
                Some(image) => {
                    job.files.image(image, root)?;
                    crate::assemble::run_config(image)
                }
                None => job.files.fill(source, root)?,
            };
            Ok((rootfs, run, Some(staging)))
        }
    }
}

/// What of an archive is digested while it is written. Digests are the dearest part of packing after
/// the compression itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    /// Nothing: the digest is known.
    None,
    /// The archive before it is compressed, as images want it.
    Plain,
    /// The file.
    Compressed,
}

/// Packs and compresses a tree; gives the digest that `sum` asks for.
pub(super) fn pack(
    rootfs: &Path,
    comment: Option<&[u8]>,
    out: &File,
    job: &Job<'_>,
    sum: Sum,
) -> Result<(String, Packed), TemplateError> {
    let progress = Progress::new("pack", 0, job.files.quiet);
    let watch = |bytes| {
        progress.add(bytes);
        job.files.interrupt.pending()
    };
    let done = compress(rootfs, comment, out, job.level, sum, &watch)?;
    progress.done();
    Ok(done)
}

/// Packs and compresses a tree into `out`; gives the digest that `sum` asks for. `watch` is told of
/// the bytes that were read and says whether to stop.
///
/// # Errors
/// [`TemplateError`]; what `out` has got then is no archive.
pub fn compress(
    rootfs: &Path,
    comment: Option<&[u8]>,
    out: &File,
    level: i32,
    sum: Sum,
    watch: &dyn Fn(u64) -> bool,
) -> Result<(String, Packed), TemplateError> {
    let root = open_root(rootfs)?;
    let write = |source| PackError::from(crate::archive::ArchiveError::Write(source));
    let mut encoder =
        zstd::Encoder::new(Summed::new(out, sum == Sum::Compressed), level).map_err(write)?;
    // One worker or more: the bytes depend on there being workers, not on their number.
    let workers = available_parallelism().map_or(1, usize::from);
    let set = encoder
        .multithread(u32::try_from(workers).unwrap_or(1))
        .and_then(|()| encoder.include_checksum(true));
    set.map_err(write)?;
    let mut packer = Packer::new(Summed::new(encoder, sum == Sum::Plain), watch).skip_dev();
    if let Some(comment) = comment {
        packer.comment(comment)?;
    }
    packer.tree(root.as_fd())?;
    let (plain, packed) = packer.finish()?;
    let compressed = plain.into.finish().map_err(write)?;
    let digest = plain.sum.or(compressed.sum).map(hex);
    Ok((digest.unwrap_or_default(), packed))
}

/// The digest of a tree that is the same for each container of an image: without the times of what
/// callers make in it before a container runs, which are directories, links and empty files.
///
/// # Errors
/// The tree can't be read.
pub fn digest(rootfs: &Path) -> Result<String, TemplateError> {
    let root = open_root(rootfs)?;
    let watch = |_| false;
    let mut packer = Packer::new(Summed::new(io::sink(), true), &watch)
        .skip_dev()
        .timeless();
    packer.tree(root.as_fd())?;
    let (summed, _) = packer.finish()?;
    Ok(summed.sum.map(hex).unwrap_or_default())
}

/// Keeps the sum of what passes, where it is wanted.
struct Summed<W> {
    into: W,
    sum: Option<Sha256>,
}

impl<W> Summed<W> {
    fn new(into: W, wanted: bool) -> Self {
        Self {
            into,
            sum: wanted.then(Sha256::new),
        }
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.into.write(bytes)?;
        if let Some(sum) = &mut self.sum {
            sum.update(&bytes[..count]);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.into.flush()
    }
}

fn arch(run: &RunConfig) -> String {
    match run.arch.as_str() {
        "" => Platform::host().arch,
        arch => arch.to_owned(),
    }
}

/// A name where there is no image: the source's own.
fn fallback(source: &Source) -> String {
    let path = match source {
        Source::Guest(id) => return format!("guest-{id}"),
        Source::Image { path, .. }
        | Source::Bundle(path)
        | Source::Dir(path)
        | Source::Tar(path) => path,
    };
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let ends = [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz"];
    let plain = ends.iter().find_map(|end| name.strip_suffix(end));
    let plain = plain.unwrap_or(&name);
    // A template made of a template keeps the name that the first one had.
    name::parts(&name)
        .map_or(plain, |(base, _)| base)
        .to_owned()
}
