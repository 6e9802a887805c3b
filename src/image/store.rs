//! Where the blobs of images lie: in a directory (image-spec, image-layout.md) or in a tar of one,
//! as skopeo, podman and buildah write `oci-archive`. It must not know what a blob holds.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{ImageError, LARGEST_DOCUMENT};
use crate::archive::compression::Compression;
use crate::archive::reader::Reader;
use crate::archive::{Kind, Limits};
use crate::sys::mounts::{How, openat2};

/// The file that says "this is a layout".
pub const LAYOUT: &str = "oci-layout";
const INDEX: &str = "index.json";

/// A layout, wherever it lies.
pub struct Store {
    path: PathBuf,
    place: Place,
}

enum Place {
    Dir(OwnedFd),
    /// The archive, and where in it each file's bytes begin and how many there are.
    Archive(Arc<File>, HashMap<String, (u64, u64)>),
}

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A layout or an archive of one.
    Image,
    /// Any other directory.
    Dir,
    /// Any other file.
    File,
}

/// Looks what `path` is.
///
/// # Errors
/// It can't be read.
pub fn look(path: &Path) -> io::Result<Found> {
    let meta = std::fs::metadata(path)?;
    if meta.is_dir() {
        let is_layout = path.join(LAYOUT).is_file() && path.join(INDEX).is_file();
        return Ok(if is_layout { Found::Image } else { Found::Dir });
    }
    if !meta.is_file() {
        return Err(io::Error::other("neither a file nor a directory"));
    }
    match index(&mut BufReader::new(File::open(path)?)) {
        Ok(files) if files.contains_key(LAYOUT) => Ok(Found::Image),
        _ => Ok(Found::File),
    }
}

impl Store {
    /// Opens the layout at `path`.
    ///
    /// # Errors
    /// It isn't one.
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        let read = |source| ImageError::Read {
            path: path.display().to_string(),
            source,
        };
        let not = |text: &str| ImageError::Not {
            path: path.display().to_string(),
            text: text.to_owned(),
        };
        let meta = std::fs::metadata(path).map_err(read)?;
        let place = if meta.is_dir() {
            let how = How {
                flags: libc::O_PATH | libc::O_DIRECTORY,
                ..How::default()
            };
            Place::Dir(openat2(None, path, how).map_err(|errno| read(errno.into()))?)
        } else {
            let mut file = BufReader::with_capacity(8 << 10, File::open(path).map_err(read)?);
            let mut head = [0; 4];
            let count = file.read(&mut head).map_err(read)?;
            if Compression::of(&head[..count]) != Compression::None {
                return Err(not(
                    "the archive as a whole is compressed, decompress it first",
                ));
            }
            file.rewind().map_err(read)?;
            let files = index(&mut file).map_err(|_| not("no archive of an image layout"))?;
            Place::Archive(Arc::new(file.into_inner()), files)
        };
        let store = Self {
            path: path.to_path_buf(),
            place,
        };
        match store.document(LAYOUT) {
            Ok(bytes) if is_version_1(&bytes) => Ok(store),
            Ok(_) => Err(not("image layout of another version than 1")),
            Err(_) => Err(not("no OCI image layout (file `oci-layout` is missing)")),
        }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of `index.json`.
    ///
    /// # Errors
    /// [`ImageError::Read`].
    pub fn index(&self) -> Result<Vec<u8>, ImageError> {
        self.document(INDEX).map_err(|source| ImageError::Read {
            path: self.path.join(INDEX).display().to_string(),
            source,
        })
    }

    fn document(&self, name: &str) -> io::Result<Vec<u8>> {
        let (file, _) = self.file(name)?;
        let mut bytes = Vec::new();
        file.take(LARGEST_DOCUMENT).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Opens the blob of a digest; tells its size.
    ///
    /// # Errors
    /// It isn't there.
    pub fn blob(&self, digest: &str) -> io::Result<(Box<dyn Read + Send>, u64)> {
        let (algorithm, hex) = digest.split_once(':').ok_or(io::ErrorKind::InvalidInput)?;
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric());
        if !plain(algorithm) || !plain(hex) || hex.is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.file(&format!("blobs/{algorithm}/{hex}"))
    }

    fn file(&self, name: &str) -> io::Result<(Box<dyn Read + Send>, u64)> {
        match &self.place {
            Place::Dir(dir) => {
                // Links are followed, but not out of the layout; a pipe neither blocks nor passes.
                let how = How {
                    flags: libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY,
                    resolve: libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS,
                    ..How::default()
                };
                let file = File::from(openat2(Some(dir.as_fd()), Path::new(name), how)?);
                let meta = file.metadata()?;
                if !meta.is_file() {
                    return Err(io::Error::other("no regular file"));
                }
                Ok((Box::new(file), meta.len()))
            }
            Place::Archive(file, files) => {
                let (at, size) = *files.get(name).ok_or(io::ErrorKind::NotFound)?;
                let section = Section {
                    file: file.clone(),
                    at,
                    end: at + size,
                };
                Ok((Box::new(section), size))
            }
        }
    }
}

fn is_version_1(bytes: &[u8]) -> bool {
    let layout: Option<serde_json::Value> = serde_json::from_slice(bytes).ok();
    let version = layout
        .as_ref()
        .and_then(|l| l["imageLayoutVersion"].as_str());
    version.is_some_and(|version| version.starts_with("1."))
}

/// Where the regular files of an archive begin, and how long they are.
fn index(file: &mut BufReader<File>) -> io::Result<HashMap<String, (u64, u64)>> {
    let limits = Limits {
        bytes: u64::MAX,
        entries: 1 << 16,
    };
    let mut files = HashMap::new();
    let mut reader = Reader::new(file, limits);
    while let Some(entry) = reader.next_entry().map_err(io::Error::other)? {
        let at = reader.stream().stream_position()?;
        let length = reader.forget_content();
        reader.stream().seek(SeekFrom::Start(at + length))?;
        let Kind::File { size, map: None } = entry.kind else {
            continue;
        };
        let path = entry.path.strip_prefix(b"./").unwrap_or(&entry.path);
        if let Ok(path) = std::str::from_utf8(path) {
            files.insert(path.to_owned(), (at, size));
        }
    }
    Ok(files)
}

/// A stretch of a file, read without moving the file's own position.
struct Section {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Section {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let most = left.min(into.len());
        let count = self.file.read_at(&mut into[..most], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
