//! Tar as this project reads and writes it: entries with everything a file system keeps, streamed,
//! with limits. It must not touch a file system: `unpack` and `pack` do.

pub mod acl;
pub mod compression;
mod extensions;
pub mod pax;
pub mod reader;
pub mod sparse;
pub mod writer;

use std::io;

/// Size of a header and of what everything is padded to (ustar, POSIX.1-1988).
pub const BLOCK: usize = 512;

/// Why an archive can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// What carries the bytes fails.
    #[error("read archive")]
    Read(#[source] io::Error),
    /// Whatever takes the bytes fails.
    #[error("write archive")]
    Write(#[source] io::Error),
    /// The bytes are no archive.
    #[error("entry {entry} of the archive: {text}")]
    Malformed {
        /// Number of the entry, from 1.
        entry: u64,
        /// What is wrong with it.
        text: &'static str,
    },
    /// One of [`Limits`].
    #[error("archive has more than {limit} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// As much would have been allowed.
        limit: u64,
    },
}

/// What an untrusted archive may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files together, holes included.
    pub bytes: u64,
    /// Entries.
    pub entries: u64,
}

impl Limits {
    /// For what comes from this host's own disk.
    pub fn none() -> Self {
        Self {
            bytes: u64::MAX,
            entries: u64::MAX,
        }
    }
}

impl Default for Limits {
    /// Far above any image that people run, far below what a bomb needs to hurt.
    fn default() -> Self {
        Self {
            bytes: 256 << 30,
            entries: 4 << 20,
        }
    }
}

/// A point in time, before 1970 as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970, rounded down.
    pub seconds: i64,
    /// Nanoseconds on top.
    pub nanos: u32,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file of this length; its pieces when it has holes.
    File {
        /// Length with holes.
        size: u64,
        /// Where there is data; `None` for a file without holes.
        map: Option<Vec<Piece>>,
    },
    /// Another name of the entry at this path.
    HardLink(Vec<u8>),
    /// A symbolic link with this text.
    Symlink(Vec<u8>),
    /// A character device: major, minor.
    Char(u32, u32),
    /// A block device: major, minor.
    Block(u32, u32),
    /// A directory.
    Dir,
    /// A named pipe.
    Fifo,
}

/// A stretch of a sparse file that holds data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

/// Names and values, both of any bytes.
pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// One file of an archive. Its content follows in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As it stands in the archive: untrusted.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the content.
    pub mtime: Time,
    /// Extended attributes in the kernel's own form, access control lists among them.
    pub xattrs: Pairs,
}
