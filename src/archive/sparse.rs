//! The maps of sparse files in the four forms that GNU tar has had ("Storing Sparse Files" in its
//! manual). It must not read the stream itself: blocks come in, pieces go out.

use super::{BLOCK, Piece};

/// Most pieces a file may have.
pub const MOST_PIECES: usize = 1 << 20;

/// Pieces in one block of the oldest form: four in the header, 21 in each block that follows.
pub fn old_pieces(slots: &[tar::GnuSparseHeader], into: &mut Vec<Piece>) -> Option<()> {
    for slot in slots.iter().filter(|slot| !slot.is_empty()) {
        into.push(Piece {
            offset: slot.offset().ok()?,
            length: slot.length().ok()?,
        });
    }
    Some(())
}

/// The map of form 0.1: `offset,length,offset,length…`.
pub fn from_list(text: &[u8]) -> Option<Vec<Piece>> {
    let text = std::str::from_utf8(text).ok()?;
    let numbers: Option<Vec<u64>> = text.split(',').map(|n| n.parse().ok()).collect();
    pieces_of(&numbers?)
}

/// Pairs of numbers as pieces.
pub fn pieces_of(numbers: &[u64]) -> Option<Vec<Piece>> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    let piece = |&[offset, length]: &[u64; 2]| Piece { offset, length };
    rest.is_empty().then(|| pairs.iter().map(piece).collect())
}

/// A map that is nonsense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("map of a sparse file")]
pub struct BadMap;

/// Reads the map of form 1.0 from the head of a file's data: a count, then offsets and lengths,
/// one number a line, padded to a block. Feed blocks until it gives the pieces.
#[derive(Debug, Default)]
pub struct MapReader {
    numbers: Vec<u64>,
    digits: Option<u64>,
}

impl MapReader {
    /// Takes one block. `Ok(Some)` with the last, an error for nonsense.
    pub fn block(&mut self, block: &[u8; BLOCK]) -> Result<Option<Vec<Piece>>, BadMap> {
        for byte in block {
            match byte {
                b'0'..=b'9' => {
                    let so_far = self.digits.unwrap_or(0).checked_mul(10);
                    let digit = u64::from(byte - b'0');
                    let sum = so_far.and_then(|n| n.checked_add(digit)).ok_or(BadMap)?;
                    self.digits = Some(sum);
                }
                b'\n' => self.numbers.push(self.digits.take().ok_or(BadMap)?),
                _ => return Err(BadMap),
            }
            let Some((&count, rest)) = self.numbers.split_first() else {
                continue;
            };
            if count > MOST_PIECES as u64 {
                return Err(BadMap);
            }
            if rest.len() as u64 == 2 * count && self.digits.is_none() {
                return pieces_of(rest).map(Some).ok_or(BadMap);
            }
        }
        Ok(None)
    }
}

/// The map of form 1.0 of a file of `size` bytes, padded. GNU tar takes the end of the last piece for
/// the end of the file, so a hole there needs an empty piece behind it.
pub fn map_bytes(pieces: &[Piece], size: u64) -> Vec<u8> {
    let end = pieces.last().map_or(0, |last| last.offset + last.length);
    let last = (end < size || pieces.is_empty()).then_some(Piece {
        offset: size,
        length: 0,
    });
    let mut text = format!("{}\n", pieces.len() + usize::from(last.is_some()));
    for piece in pieces.iter().chain(&last) {
        text.push_str(&format!("{}\n{}\n", piece.offset, piece.length));
    }
    let mut bytes = text.into_bytes();
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// Whether the pieces lie in order inside `size` bytes and are together `stored` bytes long.
pub fn is_sound(pieces: &[Piece], size: u64, stored: u64) -> bool {
    let mut end = 0;
    let mut sum: u64 = 0;
    for piece in pieces {
        let Some(next) = piece.offset.checked_add(piece.length) else {
            return false;
        };
        if piece.offset < end || next > size {
            return false;
        }
        end = next;
        sum += piece.length;
    }
    sum == stored
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(offset: u64, length: u64) -> Piece {
        Piece { offset, length }
    }

    #[test]
    fn maps_round_trip() {
        for count in [0_u64, 1, 3, 200] {
            let pieces: Vec<_> = (0..count).map(|n| piece(n << 30, 4096)).collect();
            let mut reader = MapReader::default();
            // The file ends with its last piece, or an empty one says where.
            let size = pieces.last().map_or(9, |last| last.offset + last.length);
            let bytes = map_bytes(&pieces, size);
            let (blocks, rest) = bytes.as_chunks::<BLOCK>();
            assert!(rest.is_empty());
            let last = blocks.len() - 1;
            for (number, block) in blocks.iter().enumerate() {
                let found = reader.block(block).unwrap();
                let found = found.map(|mut found| {
                    found.retain(|piece| piece.length > 0);
                    found
                });
                assert_eq!(found, (number == last).then(|| pieces.clone()));
            }
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "x",
            "\n",
            "99999999999\n",
            "99999999999999999999999\n",
            "1\n-1\n",
        ] {
            let mut block = [b' '; BLOCK];
            block[..bad.len()].copy_from_slice(bad.as_bytes());
            assert_eq!(MapReader::default().block(&block), Err(BadMap), "{bad}");
        }
        assert_eq!(from_list(b"1,2,3"), None);
        assert_eq!(from_list(b"1,2"), Some(vec![piece(1, 2)]));
    }

    #[test]
    fn pieces_must_be_in_order_and_inside() {
        assert!(is_sound(&[], 10, 0));
        assert!(is_sound(&[piece(0, 2), piece(2, 2), piece(8, 2)], 10, 6));
        assert!(!is_sound(&[piece(8, 3)], 10, 3));
        assert!(!is_sound(&[piece(4, 2), piece(5, 1)], 10, 3));
        assert!(!is_sound(&[piece(0, 2)], 10, 3));
        assert!(!is_sound(&[piece(u64::MAX, 2)], u64::MAX, 2));
    }
}
