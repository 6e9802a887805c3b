//! A tree of files into an archive: sorted, numeric owners, nothing of this host in it, so that the
//! same tree gives the same bytes. It must not change the tree, nor know where the bytes go.

mod file;
mod read;

use std::collections::HashMap;
use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::stat::{FileStat, fstat, major, minor};

use crate::archive::writer::Writer;
use crate::archive::{ArchiveError, Entry, Kind, Pairs, Time};

/// Why a tree can't be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The archive can't be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
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
    /// Somebody changed the tree meanwhile.
    #[error("`{0}` changed while it was read")]
    Changed(String),
    /// The caller doesn't want any more.
    #[error("interrupted")]
    Interrupted,
}

/// What was packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// Entries.
    pub entries: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// Sockets, which no archive can hold.
    pub sockets: u64,
}

/// Packs trees into one archive.
pub struct Packer<'a, W> {
    writer: Writer<W>,
    /// Where a file with several names stands in the archive, by device and inode.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// Told of each stretch of content; true from it means stop.
    watch: &'a dyn Fn(u64) -> bool,
    skip_dev: bool,
    timeless: bool,
    packed: Packed,
    buffer: Vec<u8>,
}

impl<'a, W: Write> Packer<'a, W> {
    /// Packs into `into`. `watch` gets the bytes that were read since the last time, and says
    /// whether to stop.
    pub fn new(into: W, watch: &'a dyn Fn(u64) -> bool) -> Self {
        Self {
            writer: Writer::new(into),
            links: HashMap::new(),
            watch,
            skip_dev: false,
            timeless: false,
            packed: Packed::default(),
            buffer: vec![0; file::BUFFER],
        }
    }

    /// Leaves out what lies in `/dev`, but not the directory.
    #[must_use]
    pub fn skip_dev(mut self) -> Self {
        self.skip_dev = true;
        self
    }

    /// Gives directories, links and empty files no time of their own.
    #[must_use]
    pub fn timeless(mut self) -> Self {
        self.timeless = true;
        self
    }

    /// Puts a comment at the head of the archive.
    ///
    /// # Errors
    /// [`PackError::Archive`].
    pub fn comment(&mut self, text: &[u8]) -> Result<(), PackError> {
        Ok(self.writer.comment(text)?)
    }

    /// Packs the tree below `root`, the root itself first.
    ///
    /// # Errors
    /// [`PackError`].
    pub fn tree(&mut self, root: BorrowedFd<'_>) -> Result<(), PackError> {
        let root = read::open_dir(root, c".").map_err(kernel("open", b""))?;
        let stat = fstat(root.as_raw_fd()).map_err(kernel("look at", b""))?;
        self.dir(&root, &stat, b"", stat.st_dev)
    }

    /// Ends the archive; gives the stream back and what was packed.
    ///
    /// # Errors
    /// [`PackError::Archive`].
    pub fn finish(self) -> Result<(W, Packed), PackError> {
        Ok((self.writer.finish()?, self.packed))
    }

    fn watch(&self, bytes: u64) -> Result<(), PackError> {
        match (self.watch)(bytes) {
            true => Err(PackError::Interrupted),
            false => Ok(()),
        }
    }

    fn dir(
        &mut self,
        dir: &OwnedFd,
        stat: &FileStat,
        path: &[u8],
        device: u64,
    ) -> Result<(), PackError> {
        let xattrs = read::xattrs(dir.as_fd()).map_err(kernel("read the attributes of", path))?;
        self.begin(&entry(path, Kind::Dir, stat, xattrs))?;
        // Another file system is mounted here: not part of the tree.
        if stat.st_dev != device || (self.skip_dev && path == b"dev") {
            return Ok(());
        }
        for name in read::sorted_names(dir.as_fd()).map_err(kernel("read directory", path))? {
            self.watch(0)?;
            let mut child = path.to_vec();
            if !path.is_empty() {
                child.push(b'/');
            }
            child.extend(name.to_bytes());
            self.child(dir, &name, &child, device)?;
        }
        Ok(())
    }

    fn child(
        &mut self,
        dir: &OwnedFd,
        name: &CString,
        path: &[u8],
        device: u64,
    ) -> Result<(), PackError> {
        let stat = read::stat_at(dir.as_fd(), name).map_err(kernel("look at", path))?;
        let kind = stat.st_mode & libc::S_IFMT;
        if kind == libc::S_IFDIR {
            let inner = read::open_dir(dir.as_fd(), name).map_err(kernel("open", path))?;
            let stat = fstat(inner.as_raw_fd()).map_err(kernel("look at", path))?;
            return self.dir(&inner, &stat, path, device);
        }
        if stat.st_nlink > 1 {
            let key = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&key) {
                let link = Kind::HardLink(dotted(first, false));
                return self.begin(&entry(path, link, &stat, Vec::new()));
            }
            self.links.insert(key, path.to_vec());
        }
        let kind = match kind {
            libc::S_IFREG => return self.file(dir, name, path),
            libc::S_IFLNK => {
                let target = read::link(dir.as_fd(), name).map_err(kernel("read link", path))?;
                Kind::Symlink(target)
            }
            libc::S_IFCHR => Kind::Char(number(major(stat.st_rdev)), number(minor(stat.st_rdev))),
            libc::S_IFBLK => Kind::Block(number(major(stat.st_rdev)), number(minor(stat.st_rdev))),
            libc::S_IFIFO => Kind::Fifo,
            _ => {
                self.packed.sockets += 1;
                return Ok(());
            }
        };
        let xattrs =
            read::xattrs_at(dir.as_fd(), name).map_err(kernel("read the attributes of", path))?;
        self.begin(&entry(path, kind, &stat, xattrs))
    }

    fn begin(&mut self, entry: &Entry) -> Result<(), PackError> {
        self.packed.entries += 1;
        let full = matches!(&entry.kind, Kind::File { size, .. } if *size > 0);
        if !self.timeless || full {
            return Ok(self.writer.entry(entry)?);
        }
        let mut entry = entry.clone();
        entry.mtime = Time::default();
        Ok(self.writer.entry(&entry)?)
    }
}

/// The same directory, for reading.
///
/// # Errors
/// `ENOTDIR` for anything else.
pub fn reopen(dir: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    read::open_dir(dir, c".")
}

fn entry(path: &[u8], kind: Kind, stat: &FileStat, xattrs: Pairs) -> Entry {
    Entry {
        path: dotted(path, kind == Kind::Dir),
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Time {
            seconds: stat.st_mtime,
            nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        },
        xattrs,
    }
}

/// `./etc/passwd`: the form of Proxmox's own templates, whose `./dev/*` its import leaves out by
/// that name.
fn dotted(path: &[u8], is_dir: bool) -> Vec<u8> {
    let mut dotted = b"./".to_vec();
    dotted.extend(path);
    if is_dir && !path.is_empty() {
        dotted.push(b'/');
    }
    dotted
}

fn number(part: u64) -> u32 {
    u32::try_from(part).unwrap_or(u32::MAX)
}

fn kernel(doing: &'static str, path: &[u8]) -> impl Fn(Errno) -> PackError {
    let path = show(path);
    move |errno| PackError::Kernel {
        doing,
        path: path.clone(),
        errno,
    }
}

fn show(path: &[u8]) -> String {
    crate::spec::report::show_text(format!("/{}", String::from_utf8_lossy(path)))
}
