//! Archives of strangers: read, and unpacked below a directory that nothing may leave.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use pxrun::archive::reader::Reader;
use pxrun::archive::{BLOCK, Limits};
use pxrun::unpack::{Meaning, Unpacker};

/// Enough for what a few kilobytes can say honestly.
const LIMITS: Limits = Limits {
    bytes: 1 << 20,
    entries: 64,
};

/// Reads all entries and their content.
pub fn archive(data: &[u8]) {
    let bytes = with_checksums(data);
    let mut reader = Reader::new(&bytes[..], LIMITS);
    let mut entries = 0;
    while let Ok(Some(_)) = reader.next_entry() {
        entries += 1;
        while let Ok(content) = reader.content() {
            let length = content.len();
            if length == 0 {
                break;
            }
            reader.consume(length);
        }
    }
    assert!(entries <= LIMITS.entries);
}

/// Unpacks two archives over each other, the second as a layer. The first byte says of which kind,
/// the second where the first archive ends.
pub fn unpack(data: &[u8]) {
    let [kind, cut, rest @ ..] = data else { return };
    let place = place();
    let root = place.join("root");
    let _ = fs::remove_dir_all(&root);
    fs::create_dir(&root).expect("make the root");
    let (first, second) = rest.split_at((usize::from(*cut) * BLOCK).min(rest.len()));
    let meaning = match kind % 3 {
        0 => Meaning::Tree,
        1 => Meaning::Layer,
        _ => Meaning::OverlayLayer,
    };
    let never = || false;
    let held = OwnedFd::from(fs::File::open(&root).expect("open the root"));
    let mut unpacker = Unpacker::new(held, LIMITS, &never);
    let done = unpacker
        .add(&with_checksums(first)[..], Meaning::Tree)
        .is_ok()
        && unpacker.add(&with_checksums(second)[..], meaning).is_ok();
    if done {
        let _ = unpacker.finish();
    }
    let beside: Vec<_> = fs::read_dir(place)
        .expect("list the place")
        .flatten()
        .collect();
    assert_eq!(beside.len(), 2, "{beside:?}");
    assert_eq!(
        fs::read(place.join("canary")).expect("the canary"),
        b"untouched"
    );
}

/// A directory with the root and a canary beside it, for this process.
pub fn place() -> &'static Path {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    PLACE.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("pxrun-fuzz-{}", std::process::id()));
        fs::create_dir(&path).expect("make a place");
        fs::write(path.join("canary"), "untouched").expect("write the canary");
        path
    })
}

/// Each header's checksum made right, so that what is mutated is also read.
fn with_checksums(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    for block in bytes
        .chunks_exact_mut(BLOCK)
        .filter(|block| &block[257..262] == b"ustar")
    {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    bytes
}
