//! The content of a regular file: pieces to their places, holes left alone.
//! It must not look at names.

use std::fs::File;
use std::io::BufRead;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;

use super::{UnpackError, kernel};
use crate::archive::Piece;
use crate::archive::reader::Reader;

/// Writes the current entry's content into `file`, which is empty. `go_on` is asked for each
/// stretch.
pub fn content<R: BufRead>(
    file: &File,
    path: &[u8],
    reader: &mut Reader<R>,
    size: u64,
    map: Option<&[Piece]>,
    go_on: &mut dyn FnMut() -> Result<(), UnpackError>,
) -> Result<(), UnpackError> {
    let whole = [Piece {
        offset: 0,
        length: size,
    }];
    let io = |error: std::io::Error| {
        let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
        kernel("write", path)(errno)
    };
    for piece in map.unwrap_or(&whole) {
        let (mut at, end) = (piece.offset, piece.offset + piece.length);
        while at < end {
            go_on()?;
            let bytes = reader.content()?;
            let count = bytes
                .len()
                .min(usize::try_from(end - at).unwrap_or(usize::MAX));
            file.write_all_at(&bytes[..count], at).map_err(io)?;
            reader.consume(count);
            at += count as u64;
        }
    }
    if map.is_some() {
        file.set_len(size).map_err(io)?;
    }
    Ok(())
}
