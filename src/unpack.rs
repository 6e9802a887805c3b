//! Archives into a directory, the layers of an image on top of each other. Works on a root that it
//! was given as a descriptor; must not know images, bundles or where that root lies.
//!
//! Nothing of an archive is trusted. Directories are opened below the root with openat2(2) and
//! `RESOLVE_IN_ROOT`, all else is one plain component below such a descriptor that is never
//! followed: there is no way out by `..`, absolute names, symbolic or hard links, and no file that
//! was there before is ever opened.

mod attributes;
mod layer;
mod place;
#[cfg(test)]
mod tests;
mod tree;

use std::io::BufRead;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::archive::reader::Reader;
use crate::archive::{ArchiveError, Entry, Kind, Limits};
pub use attributes::is_wanted;
use tree::Tree;

/// Why an archive can't be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive itself.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// An entry that wants out, or has no name that a file can have.
    #[error("entry `{path}` of the archive: {text}")]
    Refused {
        /// As it stands in the archive.
        path: String,
        /// What is wrong with it.
        text: &'static str,
    },
    /// The kernel says no.
    #[error("{doing} `{path}`")]
    Kernel {
        /// What was tried.
        doing: &'static str,
        /// On what, below the root.
        path: String,
        /// Its answer.
        #[source]
        errno: Errno,
    },
    /// The caller doesn't want any more.
    #[error("interrupted")]
    Interrupted,
}

/// What an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// A tree of files.
    Tree,
    /// A layer of an image: names that begin with `.wh.` remove what lower layers have
    /// (image-spec, layer.md, "Whiteouts").
    Layer,
    /// The same as overlayfs wants it: removals become devices 0:0 and an attribute.
    OverlayLayer,
}

/// Unpacks into one root.
pub struct Unpacker<'a> {
    tree: Tree,
    limits: Limits,
    stop: &'a dyn Fn() -> bool,
    skip_dev: bool,
}

impl<'a> Unpacker<'a> {
    /// Unpacks into `root`, a directory. `stop` is asked now and then.
    pub fn new(root: OwnedFd, limits: Limits, stop: &'a dyn Fn() -> bool) -> Self {
        Self {
            tree: Tree::new(root),
            limits,
            stop,
            skip_dev: false,
        }
    }

    /// Leaves out what lies in `/dev`, but not the directory.
    #[must_use]
    pub fn skip_dev(mut self) -> Self {
        self.skip_dev = true;
        self
    }

    /// Unpacks one archive over what is there. Gives the comment at its head.
    ///
    /// # Errors
    /// [`UnpackError`]; the root is half made then.
    pub fn add(
        &mut self,
        from: impl BufRead,
        meaning: Meaning,
    ) -> Result<Option<Vec<u8>>, UnpackError> {
        let mut reader = Reader::new(from, self.limits);
        let mut layer = layer::Layer::new(meaning, self.tree.is_empty());
        while let Some(entry) = reader.next_entry()? {
            self.interrupted()?;
            let path = clean(&entry.path)?;
            if self.skip_dev && path.starts_with(b"dev/") {
                continue;
            }
            if meaning != Meaning::Tree && layer.whiteout(&mut self.tree, &path)? {
                continue;
            }
            layer.note(&path);
            self.entry(&entry, &path, &mut reader)?;
            if entry.kind == Kind::Dir && meaning == Meaning::OverlayLayer {
                layer.made_dir(&mut self.tree, &path)?;
            }
        }
        // Limits hold of all layers together.
        self.limits.bytes -= reader.bytes().min(self.limits.bytes);
        self.limits.entries -= reader.entries().min(self.limits.entries);
        Ok(reader.comment().map(<[u8]>::to_vec))
    }

    /// Sets what would have changed while files were added: times of directories.
    ///
    /// # Errors
    /// [`UnpackError::Kernel`].
    pub fn finish(self) -> Result<(), UnpackError> {
        self.tree.finish()
    }

    fn interrupted(&self) -> Result<(), UnpackError> {
        match (self.stop)() {
            true => Err(UnpackError::Interrupted),
            false => Ok(()),
        }
    }

    fn entry<R: BufRead>(
        &mut self,
        entry: &Entry,
        path: &[u8],
        reader: &mut Reader<R>,
    ) -> Result<(), UnpackError> {
        if path.is_empty() {
            return match entry.kind {
                Kind::Dir => self.tree.root_dir(entry),
                _ => Err(refused(&entry.path, "the root is no directory")),
            };
        }
        match &entry.kind {
            Kind::File { size, map } => {
                let file = self.tree.new_file(path, entry)?;
                let mut left = || match (self.stop)() {
                    true => Err(UnpackError::Interrupted),
                    false => Ok(()),
                };
                place::content(&file, path, reader, *size, map.as_deref(), &mut left)?;
                attributes::of_file(&file, path, entry)
            }
            Kind::HardLink(target) => {
                let target = clean(target)?;
                self.tree.hard_link(&target, path)
            }
            Kind::Dir => self.tree.dir_entry(path, entry),
            _ => self.tree.special(path, entry),
        }
    }
}

/// A path of an archive as plain components: relative, without `.`, and never `..`.
fn clean(path: &[u8]) -> Result<Vec<u8>, UnpackError> {
    let mut clean = Vec::with_capacity(path.len());
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return Err(refused(path, "`..` in the path")),
            name if name.len() > 255 => return Err(refused(path, "name of more than 255 bytes")),
            name => {
                if !clean.is_empty() {
                    clean.push(b'/');
                }
                clean.extend(name);
            }
        }
    }
    Ok(clean)
}

fn refused(path: &[u8], text: &'static str) -> UnpackError {
    UnpackError::Refused {
        path: show(path),
        text,
    }
}

fn kernel(doing: &'static str, path: &[u8]) -> impl Fn(Errno) -> UnpackError {
    let path = show(path);
    move |errno| UnpackError::Kernel {
        doing,
        path: path.clone(),
        errno,
    }
}

/// A path as one short printable line.
fn show(path: &[u8]) -> String {
    crate::spec::report::show_text(
        PathBuf::from(String::from_utf8_lossy(path).as_ref()).to_string_lossy(),
    )
}
