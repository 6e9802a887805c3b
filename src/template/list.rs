//! The templates in a directory that this project made, told by their mark or their layout.
//! It must not open what others made further than its first block.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::create::Form;
use super::{TemplateError, file, mark, name};
use crate::archive::Limits;
use crate::archive::reader::Reader;
use crate::image::config::RunConfig;

/// One template.
#[derive(Clone, Debug)]
pub struct Template {
    /// The file.
    pub path: PathBuf,
    /// Its name.
    pub file: String,
    /// What it is.
    pub form: Form,
    /// What the name begins with: image and tag.
    pub base: String,
    /// The digits of the digest in the name.
    pub digest: String,
    /// What its image says; nothing for an OCI archive, which says it by itself.
    pub run: RunConfig,
    /// Bytes on disk.
    pub size: u64,
    /// When it was written.
    pub written: SystemTime,
}

impl Template {
    /// How long ago it was written.
    pub fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.written).unwrap_or_default()
    }
}

/// All of them in `dir`, sorted by name, of one name the newest first.
///
/// # Errors
/// The directory can't be read; one that isn't there has none.
pub fn list(dir: &Path) -> Result<Vec<Template>, TemplateError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(file("read directory", dir))?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry.map_err(file("read directory", dir))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(template) = look(&entry.path(), name) {
            all.push(template);
        }
    }
    all.sort_by(|a, b| (&a.base, b.written, &a.file).cmp(&(&b.base, a.written, &b.file)));
    Ok(all)
}

/// A file, if it is a template of ours.
fn look(path: &Path, file: String) -> Option<Template> {
    let (base, digest) = name::parts(&file)?;
    let form = match &file {
        name if name.ends_with(".tar.zst") => Form::Vztmpl,
        name if name.ends_with(".tar") => Form::Oci,
        _ => return None,
    };
    let mut options = fs::OpenOptions::new();
    options
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let open = options.open(path).ok()?;
    let meta = open.metadata().ok().filter(fs::Metadata::is_file)?;
    let run = match form {
        Form::Vztmpl => marked(open)?,
        Form::Oci => is_layout(open).then(RunConfig::default)?,
    };
    Some(Template {
        path: path.to_path_buf(),
        form,
        base: base.to_owned(),
        digest: digest.to_owned(),
        run,
        size: meta.len(),
        written: meta.modified().ok()?,
        file,
    })
}

/// The mark at the head of a compressed tar.
fn marked(file: File) -> Option<RunConfig> {
    let decoder = zstd::Decoder::new(file).ok()?;
    // The mark is small: a foreign file must not make this read on and on.
    let mut reader = Reader::new(BufReader::new(decoder.take(8 << 20)), Limits::default());
    reader.next_entry().ok()?;
    mark::read(reader.comment()?)
}

fn is_layout(file: File) -> bool {
    let mut reader = Reader::new(BufReader::new(file), Limits::default());
    matches!(reader.next_entry(), Ok(Some(entry)) if entry.path == b"oci-layout")
}
