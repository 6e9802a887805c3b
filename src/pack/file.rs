//! A regular file into the archive, its holes left out. It must not trust that nobody else writes.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::sys::stat::fstat;
use nix::unistd::{Whence, lseek};

use super::{PackError, Packer, entry, kernel, read, show};
use crate::archive::sparse::MOST_PIECES;
use crate::archive::{Kind, Piece};

/// Bytes that are read at once.
pub const BUFFER: usize = 256 << 10;

impl<W: Write> Packer<'_, W> {
    pub(super) fn file(
        &mut self,
        dir: &OwnedFd,
        name: &std::ffi::CStr,
        path: &[u8],
    ) -> Result<(), PackError> {
        let fd = read::open_file(dir.as_fd(), name).map_err(kernel("open", path))?;
        let stat = fstat(fd.as_raw_fd()).map_err(kernel("look at", path))?;
        if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
            return Err(PackError::Changed(show(path)));
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let xattrs = read::xattrs(fd.as_fd()).map_err(kernel("read the attributes of", path))?;
        // Fewer blocks than bytes: there may be holes (st_blocks counts 512 bytes, stat(2)).
        let map = match u64::try_from(stat.st_blocks)
            .unwrap_or(0)
            .saturating_mul(512)
            < size
        {
            true => pieces(&fd, size).map_err(kernel("look for holes in", path))?,
            false => None,
        };
        let whole = [Piece {
            offset: 0,
            length: size,
        }];
        let kind = Kind::File {
            size,
            map: map.clone(),
        };
        self.begin(&entry(path, kind, &stat, xattrs))?;
        let file = File::from(fd);
        for piece in map.as_deref().unwrap_or(&whole) {
            self.piece(&file, path, *piece)?;
        }
        Ok(())
    }

    fn piece(&mut self, file: &File, path: &[u8], piece: Piece) -> Result<(), PackError> {
        let mut done = 0;
        while done < piece.length {
            let left = usize::try_from(piece.length - done).unwrap_or(usize::MAX);
            let into = &mut self.buffer[..left.min(BUFFER)];
            let count = match file.read_at(into, piece.offset + done) {
                Ok(0) => return Err(PackError::Changed(show(path))),
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
                    return Err(kernel("read", path)(errno));
                }
            };
            self.writer.data(&self.buffer[..count])?;
            done += count as u64;
            self.packed.bytes += count as u64;
            self.watch(count as u64)?;
        }
        Ok(())
    }
}

/// Where a file has data; `None` when that is everywhere.
fn pieces(fd: &OwnedFd, size: u64) -> Result<Option<Vec<Piece>>, Errno> {
    let seek = |at: u64, whence| lseek(fd.as_raw_fd(), at.cast_signed(), whence);
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < size && pieces.len() < MOST_PIECES {
        let begin = match seek(at, Whence::SeekData) {
            // Nothing but a hole to the end.
            Err(Errno::ENXIO) => break,
            // The file system doesn't tell.
            Err(Errno::EINVAL | Errno::ENOTSUP) => return Ok(None),
            begin => begin?.cast_unsigned().min(size),
        };
        let end = seek(begin, Whence::SeekHole)?.cast_unsigned().min(size);
        if end <= begin {
            break;
        }
        pieces.push(Piece {
            offset: begin,
            length: end - begin,
        });
        at = end;
    }
    let whole = pieces.len() == 1 && pieces[0].offset == 0 && pieces[0].length == size;
    let too_many = pieces.len() >= MOST_PIECES;
    Ok((!whole && !too_many).then_some(pieces))
}
