//! Compressed streams: told by their first bytes, decompressed and digested by a thread of their
//! own, so that reading overlaps with what the reader does. It must not know what the bytes mean.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use sha2::{Digest, Sha256};

/// Size of the pieces that go from the thread to the reader, and how many wait at most.
const PIECE: usize = 256 << 10;
const WAITING: usize = 8;
/// Memory that a zstd or xz stream may ask for, in bytes: what their own tools allow by default.
const WINDOW_LOG: u32 = 27;
const XZ_MEMORY_KIB: u32 = 256 << 10;

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, RFC 1952.
    Gzip,
    /// zstd, RFC 8878.
    Zstd,
    /// xz, as older Proxmox templates have it.
    Xz,
}

impl Compression {
    /// Told by the first bytes of a stream; four are enough.
    pub fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or a frame to be skipped (RFC 8878, 3.1).
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', ..] => Self::Xz,
            _ => Self::None,
        }
    }
}

/// Digests of a stream, in hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Of the bytes as they came.
    pub compressed: String,
    /// Of the bytes as they were read.
    pub plain: String,
    /// Length as it came.
    pub size: u64,
}

type Piece = io::Result<Vec<u8>>;

/// A stream that is decompressed ahead of its reader.
pub struct Stream {
    pieces: Receiver<Piece>,
    spare: Sender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
    ended: bool,
    thread: Option<JoinHandle<io::Result<Sums>>>,
}

impl Stream {
    /// Reads `source`. With `digest` its sums are kept, which costs time.
    pub fn new(source: impl Read + Send + 'static, digest: bool) -> io::Result<Self> {
        let (send, pieces) = sync_channel(WAITING);
        let (spare, reuse) = channel();
        let work = move || work(source, digest, &send, &reuse);
        let thread = std::thread::Builder::new()
            .name("decompress".into())
            .spawn(work)?;
        Ok(Self {
            pieces,
            spare,
            current: Vec::new(),
            at: 0,
            ended: false,
            thread: Some(thread),
        })
    }

    /// Reads what is left and gives the sums of the whole stream.
    ///
    /// # Errors
    /// What the source or the decompressor says.
    pub fn finish(mut self) -> io::Result<Sums> {
        while !self.fill_buf()?.is_empty() {
            self.at = self.current.len();
        }
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(sums)) => sums,
            _ => Err(io::Error::other("decompression stopped")),
        }
    }
}

impl BufRead for Stream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.current.len() && !self.ended {
            let used = std::mem::take(&mut self.current);
            let _ = self.spare.send(used);
            self.at = 0;
            match self.pieces.recv() {
                Ok(piece) => self.current = piece?,
                Err(_) => self.ended = true,
            }
        }
        Ok(&self.current[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at = (self.at + count).min(self.current.len());
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

/// The thread: decompresses into pieces until the source ends or nobody reads any more.
fn work(
    source: impl Read,
    digest: bool,
    send: &SyncSender<Piece>,
    reuse: &Receiver<Vec<u8>>,
) -> io::Result<Sums> {
    match decompress(source, digest, send, reuse) {
        Ok(sums) => Ok(sums),
        Err(error) => {
            let copy = io::Error::new(error.kind(), error.to_string());
            let _ = send.send(Err(error));
            Err(copy)
        }
    }
}

fn decompress(
    source: impl Read,
    digest: bool,
    send: &SyncSender<Piece>,
    reuse: &Receiver<Vec<u8>>,
) -> io::Result<Sums> {
    let mut source = Digesting::new(source, digest);
    let mut head = vec![0; 4];
    let count = read_full(&mut source, &mut head)?;
    head.truncate(count);
    let compression = Compression::of(&head);
    let mut plain = digest.then(Sha256::new);
    {
        let mut decoder = decoder(compression, io::Cursor::new(head).chain(&mut source))?;
        loop {
            let mut piece = reuse.try_recv().unwrap_or_default();
            piece.resize(PIECE, 0);
            let count = read_full(&mut decoder, &mut piece)?;
            piece.truncate(count);
            if count == 0 {
                break;
            }
            if let Some(plain) = &mut plain {
                plain.update(&piece);
            }
            if send.send(Ok(piece)).is_err() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
    }
    // Bytes behind the last frame belong to the digest too.
    io::copy(&mut source, &mut io::sink())?;
    Ok(Sums {
        plain: plain.map(hex).unwrap_or_default(),
        size: source.size,
        compressed: source.sum.map(hex).unwrap_or_default(),
    })
}

fn decoder<'a>(compression: Compression, from: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let buffered = io::BufReader::with_capacity(PIECE, from);
    Ok(match compression {
        Compression::None => Box::new(buffered),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(buffered)?;
            decoder.window_log_max(WINDOW_LOG)?;
            Box::new(decoder)
        }
        Compression::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(
            buffered,
            true,
            XZ_MEMORY_KIB,
        )),
    })
}

/// Reads until the buffer is full or the source ends.
fn read_full(from: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match from.read(&mut into[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

struct Digesting<R> {
    from: R,
    sum: Option<Sha256>,
    size: u64,
}

impl<R> Digesting<R> {
    fn new(from: R, digest: bool) -> Self {
        Self {
            from,
            sum: digest.then(Sha256::new),
            size: 0,
        }
    }
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(into)?;
        self.size += count as u64;
        if let Some(sum) = &mut self.sum {
            sum.update(&into[..count]);
        }
        Ok(count)
    }
}

/// A digest as image references spell it.
pub fn hex(sum: Sha256) -> String {
    sum.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn text() -> Vec<u8> {
        (0..2_000_000_u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .collect()
    }

    fn read(bytes: Vec<u8>) -> io::Result<(Vec<u8>, Sums)> {
        let mut stream = Stream::new(io::Cursor::new(bytes), true)?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        Ok((all, stream.finish()?))
    }

    fn sum(bytes: &[u8]) -> String {
        hex(Sha256::new().chain_update(bytes))
    }

    #[test]
    fn every_compression_is_told_and_read() {
        let text = text();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let zstd = zstd::encode_all(&text[..], 1).unwrap();
        for bytes in [text.clone(), gzip.finish().unwrap(), zstd] {
            let (plain, sums) = read(bytes.clone()).unwrap();
            assert!(plain == text);
            assert_eq!(sums.plain, sum(&text));
            assert_eq!(sums.compressed, sum(&bytes));
            assert_eq!(sums.size, bytes.len() as u64);
        }
    }

    #[test]
    fn several_frames_are_one_stream() {
        let mut two = zstd::encode_all(&b"one "[..], 1).unwrap();
        two.extend([0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9]);
        two.extend(zstd::encode_all(&b"two"[..], 1).unwrap());
        assert_eq!(read(two).unwrap().0, b"one two");
    }

    #[test]
    fn a_cut_stream_is_an_error() {
        let whole = zstd::encode_all(&text()[..], 1).unwrap();
        assert!(read(whole[..whole.len() / 2].to_vec()).is_err());
    }

    #[test]
    fn a_reader_that_goes_ends_the_thread() {
        let mut stream = Stream::new(io::repeat(7), false).unwrap();
        stream.read_exact(&mut [0; 10]).unwrap();
        let thread = stream.thread.take().unwrap();
        drop(stream);
        assert!(thread.join().unwrap().is_err());
    }
}
