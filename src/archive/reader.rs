//! Entries out of a stream, one after the other, in memory that doesn't grow with the archive.
//! It must not trust a number of the stream: every one is checked before anything is reserved.

use std::io::{self, BufRead};

use tar::{EntryType, Header};

use super::extensions::{Extensions, id, mtime, numbered, path, xattrs};
use super::sparse::{self, BadMap, MapReader};
use super::{ArchiveError, BLOCK, Entry, Kind, Limits, Pairs, Piece, pax};

/// Most bytes that extended headers or long names may have: xattrs hold up to 64 KiB each.
const LONGEST_EXTENSION: u64 = 4 << 20;
/// PATH_MAX, which no system call takes more of.
const LONGEST_PATH: usize = 4096;

/// Reads an uncompressed archive.
pub struct Reader<R> {
    from: R,
    limits: Limits,
    headers: u64,
    entries: u64,
    bytes: u64,
    /// Bytes of the current entry that are still in the stream, and the padding behind them.
    content: u64,
    padding: u64,
    comment: Option<Vec<u8>>,
}

impl<R: BufRead> Reader<R> {
    /// Reads from `from`.
    pub fn new(from: R, limits: Limits) -> Self {
        Self {
            from,
            limits,
            headers: 0,
            entries: 0,
            bytes: 0,
            content: 0,
            padding: 0,
            comment: None,
        }
    }

    /// The `comment` of the global header, once the first entry was read.
    pub fn comment(&self) -> Option<&[u8]> {
        self.comment.as_deref()
    }

    /// Bytes of files so far, as limits count them.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Entries so far, as limits count them.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The stream itself, for one who can seek in it.
    pub fn stream(&mut self) -> &mut R {
        &mut self.from
    }

    /// Takes the current entry's content for skipped; says how long it is with its padding.
    pub fn forget_content(&mut self) -> u64 {
        std::mem::take(&mut self.content) + std::mem::take(&mut self.padding)
    }

    /// The next entry, whatever was left of the last one's content; `None` at the end.
    ///
    /// # Errors
    /// [`ArchiveError`]; the reader can't be used any more then.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ArchiveError> {
        self.skip_content()?;
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.header()? else {
                return match extensions.is_empty() {
                    true => Ok(None),
                    false => Err(ArchiveError::Read(io::ErrorKind::UnexpectedEof.into())),
                };
            };
            self.content = header.entry_size().map_err(|_| self.bad("size"))?;
            self.padding = padding(self.content);
            match header.entry_type() {
                EntryType::GNULongName => extensions.long_name = Some(self.text()?),
                EntryType::GNULongLink => extensions.long_link = Some(self.text()?),
                EntryType::XHeader => extensions.pax = self.records()?,
                EntryType::XGlobalHeader => self.global()?,
                // A volume label of GNU tar: about the archive, no file.
                label if label.as_byte() == b'V' => self.skip_content()?,
                _ => return self.entry(&header, &extensions).map(Some),
            }
        }
    }

    fn limit_entries(&self, count: u64) -> Result<(), ArchiveError> {
        match count > self.limits.entries {
            true => Err(ArchiveError::Limit {
                what: "entries",
                limit: self.limits.entries,
            }),
            false => Ok(()),
        }
    }

    fn bad(&self, text: &'static str) -> ArchiveError {
        ArchiveError::Malformed {
            entry: self.entries + 1,
            text,
        }
    }

    /// The next header; `None` at the end, which is a block of zeros or the stream's own.
    fn header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        if !self.block(block)? || block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        // Extended headers count less, but they count: an archive of nothing else must end too.
        self.headers += 1;
        self.limit_entries(self.headers / 4)?;
        // The checksum field itself counts as eight spaces (POSIX, ustar "chksum").
        let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        let sum = sum(&block[..148]) + sum(&block[156..]) + 8 * 32;
        match header.cksum() {
            Ok(expected) if expected == sum => Ok(Some(header)),
            _ => Err(self.bad("checksum of the header")),
        }
    }

    /// Fills a block; false when the stream ends before it.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, ArchiveError> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.from.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(ArchiveError::Read(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ArchiveError::Read(error)),
            }
        }
        Ok(true)
    }

    fn data_block(&mut self) -> Result<[u8; BLOCK], ArchiveError> {
        let mut block = [0; BLOCK];
        match self.block(&mut block)? {
            true => Ok(block),
            false => Err(ArchiveError::Read(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// The content of an extension.
    fn extension(&mut self) -> Result<Vec<u8>, ArchiveError> {
        if self.content > LONGEST_EXTENSION {
            return Err(ArchiveError::Limit {
                what: "bytes in an extended header",
                limit: LONGEST_EXTENSION,
            });
        }
        let mut bytes = vec![0; self.content as usize];
        self.from
            .read_exact(&mut bytes)
            .map_err(ArchiveError::Read)?;
        self.content = 0;
        self.skip_content()?;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<Vec<u8>, ArchiveError> {
        let mut text = self.extension()?;
        if text.last() == Some(&0) {
            text.pop();
        }
        Ok(text)
    }

    fn records(&mut self) -> Result<Pairs, ArchiveError> {
        let bytes = self.extension()?;
        let records = pax::parse(&bytes).ok_or_else(|| self.bad("extended header"))?;
        let own = |(k, v): (&[u8], &[u8])| (k.to_vec(), v.to_vec());
        Ok(records.into_iter().map(own).collect())
    }

    fn global(&mut self) -> Result<(), ArchiveError> {
        for (key, value) in self.records()? {
            if key == b"comment" && self.comment.is_none() {
                self.comment = Some(value);
            }
        }
        Ok(())
    }

    fn entry(&mut self, header: &Header, extensions: &Extensions) -> Result<Entry, ArchiveError> {
        self.entries += 1;
        self.limit_entries(self.entries)?;
        let number = self.entries;
        let bad = move |text| ArchiveError::Malformed {
            entry: number,
            text,
        };
        let path = path(header, extensions);
        let kind = header.entry_type();
        let target = || {
            let link = extensions
                .get("linkpath")
                .or(extensions.long_link.as_deref());
            let link = link.map(<[u8]>::to_vec);
            link.or_else(|| header.link_name_bytes().map(|link| link.to_vec()))
        };
        if let Some(size) = extensions.number("size").map_err(bad)? {
            self.content = size;
            self.padding = padding(size);
        }
        let device = || -> Option<(u32, u32)> {
            Some((header.device_major().ok()??, header.device_minor().ok()??))
        };
        let kind = match kind {
            EntryType::Regular if path.ends_with(b"/") => Kind::Dir,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(header, extensions)?
            }
            EntryType::Link => Kind::HardLink(target().ok_or(bad("hard link without a target"))?),
            EntryType::Symlink => Kind::Symlink(target().ok_or(bad("link without a target"))?),
            EntryType::Directory => Kind::Dir,
            EntryType::Fifo => Kind::Fifo,
            EntryType::Char => device()
                .map(|(major, minor)| Kind::Char(major, minor))
                .ok_or(bad("device number"))?,
            EntryType::Block => device()
                .map(|(major, minor)| Kind::Block(major, minor))
                .ok_or(bad("device number"))?,
            _ => return Err(bad("unknown type")),
        };
        let target_length = match &kind {
            Kind::HardLink(target) | Kind::Symlink(target) => {
                if target.contains(&0) || target.is_empty() {
                    return Err(bad("target of a link"));
                }
                target.len()
            }
            _ => 0,
        };
        if path.len().max(target_length) > LONGEST_PATH {
            return Err(ArchiveError::Limit {
                what: "bytes in a path",
                limit: LONGEST_PATH as u64,
            });
        }
        if path.contains(&0) {
            return Err(bad("path with a NUL byte"));
        }
        Ok(Entry {
            mode: header.mode().map_err(|_| bad("mode"))? & 0o7777,
            uid: id(header.uid(), extensions, "uid").map_err(bad)?,
            gid: id(header.gid(), extensions, "gid").map_err(bad)?,
            mtime: mtime(header, extensions).map_err(bad)?,
            xattrs: xattrs(extensions).map_err(bad)?,
            path,
            kind,
        })
    }

    /// A regular file: its length, its map, and a look at the limits.
    fn file(&mut self, header: &Header, extensions: &Extensions) -> Result<Kind, ArchiveError> {
        let (size, map) = match self.sparse(header, extensions)? {
            Some((size, pieces)) => {
                if !sparse::is_sound(&pieces, size, self.content) {
                    return Err(self.bad("map of a sparse file"));
                }
                (size, Some(pieces))
            }
            None => (self.content, None),
        };
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.limits.bytes {
            return Err(ArchiveError::Limit {
                what: "bytes of files",
                limit: self.limits.bytes,
            });
        }
        Ok(Kind::File { size, map })
    }

    fn sparse(
        &mut self,
        header: &Header,
        extensions: &Extensions,
    ) -> Result<Option<(u64, Vec<Piece>)>, ArchiveError> {
        let entry = self.entries;
        let bad = move |text| ArchiveError::Malformed { entry, text };
        let number = |key| extensions.number(key).map_err(bad);
        if header.entry_type() == EntryType::GNUSparse {
            return self.old_sparse(header).map(Some);
        }
        let real = number("GNU.sparse.realsize")?;
        if let (Some(1), Some(size)) = (number("GNU.sparse.major")?, real) {
            return Ok(Some((size, self.leading_map()?)));
        }
        let Some(size) = number("GNU.sparse.size")?.or(real) else {
            return Ok(None);
        };
        let pieces = match extensions.get("GNU.sparse.map") {
            Some(list) => sparse::from_list(list),
            None => numbered(extensions),
        };
        pieces
            .map(|pieces| Some((size, pieces)))
            .ok_or(bad("map of a sparse file"))
    }

    /// The oldest form: in the header and in blocks behind it that its size doesn't count.
    fn old_sparse(&mut self, header: &Header) -> Result<(u64, Vec<Piece>), ArchiveError> {
        let bad = || self.bad("map of a sparse file");
        let gnu = header.as_gnu().ok_or_else(bad)?;
        let size = gnu.real_size().map_err(|_| bad())?;
        let mut pieces = Vec::new();
        sparse::old_pieces(&gnu.sparse, &mut pieces).ok_or_else(bad)?;
        let mut more = gnu.is_extended();
        while more {
            let mut extended = tar::GnuExtSparseHeader::new();
            *extended.as_mut_bytes() = self.data_block()?;
            let read = sparse::old_pieces(extended.sparse(), &mut pieces);
            if read.is_none() || pieces.len() > sparse::MOST_PIECES {
                return Err(self.bad("map of a sparse file"));
            }
            more = extended.is_extended();
        }
        // GNU tar ends the map with an empty piece at the end of the file.
        pieces.retain(|piece| piece.length > 0);
        Ok((size, pieces))
    }

    /// Form 1.0: at the head of the content.
    fn leading_map(&mut self) -> Result<Vec<Piece>, ArchiveError> {
        let mut map = MapReader::default();
        loop {
            if self.content < BLOCK as u64 {
                return Err(self.bad("map of a sparse file"));
            }
            let block = self.data_block()?;
            self.content -= BLOCK as u64;
            match map.block(&block) {
                Ok(None) => {}
                Ok(Some(mut pieces)) => {
                    pieces.retain(|piece| piece.length > 0);
                    return Ok(pieces);
                }
                Err(BadMap) => return Err(self.bad("map of a sparse file")),
            }
        }
    }

    /// The next stretch of the current entry's content; empty at its end. Tell with
    /// [`Reader::consume`] how much of it was used.
    pub fn content(&mut self) -> Result<&[u8], ArchiveError> {
        if self.content == 0 {
            return Ok(&[]);
        }
        let bytes = self.from.fill_buf().map_err(ArchiveError::Read)?;
        if bytes.is_empty() {
            return Err(ArchiveError::Read(io::ErrorKind::UnexpectedEof.into()));
        }
        let count = usize::try_from(self.content).map_or(bytes.len(), |c| c.min(bytes.len()));
        Ok(&bytes[..count])
    }

    /// `count` bytes of [`Reader::content`] are done with.
    pub fn consume(&mut self, count: usize) {
        self.from.consume(count);
        self.content -= count as u64;
    }

    fn skip_content(&mut self) -> Result<(), ArchiveError> {
        self.content += std::mem::take(&mut self.padding);
        while self.content > 0 {
            let count = self.content()?.len();
            self.consume(count);
        }
        Ok(())
    }
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}
