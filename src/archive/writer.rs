//! Entries into a stream: pax headers that GNU tar, bsdtar and Go read, the same bytes for the same
//! entries. It must not ask the file system or the clock for anything.

use std::io::{self, Write};

use tar::{EntryType, Header};

use super::sparse::map_bytes;
use super::{ArchiveError, BLOCK, Entry, Kind, acl, pax};

/// Longest name in a plain header; anything longer goes into an extended one.
const SHORT: usize = 100;

/// Writes an uncompressed archive.
pub struct Writer<W> {
    into: W,
    /// Bytes of content that the current entry still has to get, and the padding behind them.
    content: u64,
    padding: usize,
}

impl<W: Write> Writer<W> {
    /// Writes to `into`.
    pub fn new(into: W) -> Self {
        Self {
            into,
            content: 0,
            padding: 0,
        }
    }

    /// A global header with a comment: every reader of pax skips it in silence.
    ///
    /// # Errors
    /// [`ArchiveError::Write`], as all that follows.
    pub fn comment(&mut self, text: &[u8]) -> Result<(), ArchiveError> {
        let mut records = Vec::new();
        pax::push(&mut records, b"comment", text);
        self.extended(EntryType::XGlobalHeader, "pax_global_header", &records)
    }

    /// Begins an entry. A file's content, the pieces of its map only, has to follow.
    pub fn entry(&mut self, entry: &Entry) -> Result<(), ArchiveError> {
        let mut header = Header::new_ustar();
        let mut records = Vec::new();
        let map = match &entry.kind {
            Kind::File {
                size,
                map: Some(map),
            } => Some(map_bytes(map, *size)),
            _ => None,
        };
        let stored = stored_size(&entry.kind);
        let size = stored + map.as_ref().map_or(0, Vec::len) as u64;
        name(&mut header, &mut records, entry, map.is_some());
        kind(&mut header, &mut records, entry)?;
        numbers(&mut header, &mut records, entry, size);
        attributes(&mut records, entry)?;
        header.set_cksum();
        if !records.is_empty() {
            self.extended(EntryType::XHeader, "./PaxHeaders/entry", &records)?;
        }
        self.write(header.as_bytes())?;
        self.content = size;
        self.padding = padding(size);
        if let Some(map) = map {
            self.data(&map)?;
        }
        self.pad()
    }

    /// Content of the current entry.
    pub fn data(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        debug_assert!(bytes.len() as u64 <= self.content);
        self.write(bytes)?;
        self.content -= bytes.len() as u64;
        self.pad()
    }

    /// Ends the archive and gives the stream back.
    pub fn finish(mut self) -> Result<W, ArchiveError> {
        self.write(&[0; 2 * BLOCK])?;
        Ok(self.into)
    }

    fn pad(&mut self) -> Result<(), ArchiveError> {
        if self.content > 0 {
            return Ok(());
        }
        let zeros = [0; BLOCK];
        let count = std::mem::take(&mut self.padding);
        self.write(&zeros[..count])
    }

    fn extended(
        &mut self,
        kind: EntryType,
        name: &str,
        records: &[u8],
    ) -> Result<(), ArchiveError> {
        let mut header = Header::new_ustar();
        put_name(&mut header, name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(records.len() as u64);
        for clear in [Header::set_uid, Header::set_gid, Header::set_mtime] {
            clear(&mut header, 0);
        }
        header.set_cksum();
        self.write(header.as_bytes())?;
        self.write(records)?;
        self.padding = padding(records.len() as u64);
        self.pad()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.into.write_all(bytes).map_err(ArchiveError::Write)
    }
}

/// Bytes of content that stand in the archive for a file.
fn stored_size(kind: &Kind) -> u64 {
    match kind {
        Kind::File { map: Some(map), .. } => map.iter().map(|piece| piece.length).sum(),
        Kind::File { size, .. } => *size,
        _ => 0,
    }
}

fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK as u64) as usize
}

/// The name goes in as it is: `Header::set_path` would tidy it.
fn put_name(header: &mut Header, name: &[u8]) {
    let field = &mut header.as_old_mut().name;
    let count = name.len().min(field.len());
    field[..count].copy_from_slice(&name[..count]);
}

fn name(header: &mut Header, records: &mut Vec<u8>, entry: &Entry, sparse: bool) {
    put_name(header, &entry.path);
    if sparse {
        // Readers that know nothing of sparse files find the stored form under a name of its own.
        put_name(header, b"./GNUSparseFile/entry");
        pax::push(records, b"GNU.sparse.name", &entry.path);
    } else if entry.path.len() > SHORT {
        pax::push(records, b"path", &entry.path);
    }
}

fn kind(header: &mut Header, records: &mut Vec<u8>, entry: &Entry) -> Result<(), ArchiveError> {
    header.set_entry_type(match &entry.kind {
        Kind::File { .. } => EntryType::Regular,
        Kind::HardLink(_) => EntryType::Link,
        Kind::Symlink(_) => EntryType::Symlink,
        Kind::Char(..) => EntryType::Char,
        Kind::Block(..) => EntryType::Block,
        Kind::Dir => EntryType::Directory,
        Kind::Fifo => EntryType::Fifo,
    });
    match &entry.kind {
        Kind::HardLink(target) | Kind::Symlink(target) => {
            let field = &mut header.as_old_mut().linkname;
            let count = target.len().min(field.len());
            field[..count].copy_from_slice(&target[..count]);
            if target.len() > SHORT {
                pax::push(records, b"linkpath", target);
            }
        }
        Kind::Char(major, minor) | Kind::Block(major, minor) => {
            let set = |header: &mut Header| -> io::Result<()> {
                header.set_device_major(*major)?;
                header.set_device_minor(*minor)
            };
            set(header).map_err(ArchiveError::Write)?;
        }
        Kind::File {
            size, map: Some(_), ..
        } => {
            pax::push(records, b"GNU.sparse.major", b"1");
            pax::push(records, b"GNU.sparse.minor", b"0");
            pax::push(records, b"GNU.sparse.realsize", size.to_string().as_bytes());
        }
        _ => {}
    }
    Ok(())
}

/// Numbers that fit go into octal fields, others into records.
fn numbers(header: &mut Header, records: &mut Vec<u8>, entry: &Entry, size: u64) {
    header.set_mode(entry.mode);
    const OCTAL_7: u64 = 1 << 21;
    const OCTAL_11: u64 = 1 << 33;
    let mut number = |value: u64, most: u64, key: &[u8], set: fn(&mut Header, u64)| {
        let fits = value < most;
        set(header, if fits { value } else { 0 });
        if !fits {
            pax::push(records, key, value.to_string().as_bytes());
        }
    };
    number(u64::from(entry.uid), OCTAL_7, b"uid", Header::set_uid);
    number(u64::from(entry.gid), OCTAL_7, b"gid", Header::set_gid);
    number(size, OCTAL_11, b"size", Header::set_size);
    let seconds = u64::try_from(entry.mtime.seconds).ok();
    let plain = seconds.filter(|seconds| *seconds < OCTAL_11 && entry.mtime.nanos == 0);
    header.set_mtime(seconds.filter(|seconds| *seconds < OCTAL_11).unwrap_or(0));
    if plain.is_none() {
        pax::push(records, b"mtime", pax::time_text(entry.mtime).as_bytes());
    }
}

fn attributes(records: &mut Vec<u8>, entry: &Entry) -> Result<(), ArchiveError> {
    for (name, value) in &entry.xattrs {
        let acl_key = match name.as_slice() {
            acl::ACCESS => Some(pax::ACL_ACCESS),
            acl::DEFAULT => Some(pax::ACL_DEFAULT),
            _ => None,
        };
        match acl_key {
            Some(key) => {
                let text = acl::to_text(value)
                    .ok_or_else(|| ArchiveError::Write(io::ErrorKind::InvalidData.into()))?;
                pax::push(records, key.as_bytes(), text.as_bytes());
            }
            None => {
                let key = [pax::XATTR.as_bytes(), name].concat();
                pax::push(records, &key, value);
            }
        }
    }
    Ok(())
}
