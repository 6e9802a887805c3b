//! The one reader of `config.json`, `process.json` and other JSON that a caller hands over.
//! It must not know what any field means: that is `spec`'s room.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

/// Name of the configuration inside a bundle (bundle.md, "Filesystem Bundle").
pub const CONFIG_FILE: &str = "config.json";

/// Largest document that is read, in bytes. A real one has some tens of kilobytes.
pub const MAX_BYTES: u64 = 16 << 20;

/// Why a bundle or a document could not be read.
///
/// A missing path is told without the kernel's own words: callers take "no such file or
/// directory" and "not found" in any message as "the command is not in the image" (podman's
/// `getOCIRuntimeError`, moby's `setExitCodeFromError`) and answer with exit status 127.
#[derive(Debug, Error)]
pub enum BundleError {
    /// No such directory.
    #[error("bundle `{}` is missing or no directory", .0.display())]
    NoBundle(PathBuf),
    /// The directory has none.
    #[error("JSON specification file `{}` is missing", .0.display())]
    NoFile(PathBuf),
    /// A directory, a pipe, a device.
    #[error("`{}` is no regular file", .0.display())]
    NotRegular(PathBuf),
    /// Larger than any configuration.
    #[error("`{}` has more than {MAX_BYTES} bytes", .0.display())]
    TooLarge(PathBuf),
    /// open(2) or read(2) failed.
    #[error("read `{}`", .path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// No JSON document.
    #[error("parse JSON in `{}`", .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The cause, with line and column.
        #[source]
        source: serde_json::Error,
    },
}

/// A bundle as it was found on disk: read once, never again.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The bundle's directory, absolute and free of symbolic links.
    pub path: PathBuf,
    /// `config.json`, parsed and otherwise untouched.
    pub raw: Value,
    /// The bytes of `config.json`.
    pub bytes: Vec<u8>,
}

impl Bundle {
    /// Reads the bundle in `dir`, which may be relative to the working directory.
    pub fn load(dir: &Path) -> Result<Self, BundleError> {
        let path = fs::canonicalize(dir).map_err(|source| match missing(&source) {
            true => BundleError::NoBundle(dir.to_path_buf()),
            false => BundleError::Read {
                path: dir.to_path_buf(),
                source,
            },
        })?;
        if !path.is_dir() {
            return Err(BundleError::NoBundle(path));
        }
        let config = path.join(CONFIG_FILE);
        let bytes = read_file(&config)?;
        let raw = parse(&config, &bytes)?;
        Ok(Self { path, raw, bytes })
    }
}

/// Reads the `process.json` of `exec --process`.
pub fn load_process(path: &Path) -> Result<Value, BundleError> {
    load_json(path)
}

/// Reads one JSON document, such as the file of `update --resources`.
pub fn load_json(path: &Path) -> Result<Value, BundleError> {
    parse(path, &read_file(path)?)
}

/// Reads one JSON document from a stream (`update --resources -`); `name` stands in the errors.
pub fn read_json(name: &Path, from: impl Read) -> Result<Value, BundleError> {
    parse(name, &read_limited(name, from)?)
}

fn read_file(path: &Path) -> Result<Vec<u8>, BundleError> {
    let file = open(path).map_err(|source| match missing(&source) {
        true => BundleError::NoFile(path.to_path_buf()),
        false => BundleError::Read {
            path: path.to_path_buf(),
            source,
        },
    })?;
    let meta = file.metadata().map_err(|source| BundleError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    if !meta.is_file() {
        return Err(BundleError::NotRegular(path.to_path_buf()));
    }
    read_limited(path, file)
}

/// O_NONBLOCK: opening a FIFO must not wait for a writer; it is refused right after.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
}

/// Reads one byte more than allowed, so that a file that grows meanwhile is noticed too.
fn read_limited(path: &Path, from: impl Read) -> Result<Vec<u8>, BundleError> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| BundleError::Read {
            path: path.to_path_buf(),
            source,
        })?;
    match bytes.len() as u64 > MAX_BYTES {
        true => Err(BundleError::TooLarge(path.to_path_buf())),
        false => Ok(bytes),
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Value, BundleError> {
    serde_json::from_slice(bytes).map_err(|source| BundleError::Json {
        path: path.to_path_buf(),
        source,
    })
}

fn missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;
    use std::os::unix::fs::symlink;

    fn chain(error: BundleError) -> String {
        let mut text = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            text.push_str(&format!(": {cause}"));
            next = cause.source();
        }
        text
    }

    #[test]
    fn loads_a_bundle_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        let real = dir.path().join("real");
        fs::create_dir(&real).unwrap();
        symlink(&real, &link).unwrap();
        fs::write(
            real.join(CONFIG_FILE),
            "{\"ociVersion\":\"1.2.0\",\"x\":null}\n",
        )
        .unwrap();
        let bundle = Bundle::load(&link).unwrap();
        assert_eq!(bundle.path, fs::canonicalize(&real).unwrap());
        assert_eq!(
            bundle.raw,
            serde_json::json!({"ociVersion": "1.2.0", "x": null})
        );
        assert_eq!(
            bundle.bytes,
            b"{\"ociVersion\":\"1.2.0\",\"x\":null}\n".to_vec()
        );
    }

    #[test]
    fn says_what_is_wrong_in_words_no_caller_misreads() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        let file = |name: &str, text: &str| {
            fs::create_dir(at.join(name)).unwrap();
            fs::write(at.join(name).join(CONFIG_FILE), text).unwrap();
        };
        fs::create_dir(at.join("empty")).unwrap();
        fs::create_dir_all(at.join("dir").join(CONFIG_FILE)).unwrap();
        fs::create_dir(at.join("fifo")).unwrap();
        nix::unistd::mkfifo(
            &at.join("fifo").join(CONFIG_FILE),
            nix::sys::stat::Mode::S_IRUSR,
        )
        .unwrap();
        file("bad", "{\n  \"a\": }\n");
        file("trailing", "{} {}");
        fs::create_dir(at.join("large")).unwrap();
        let large = File::create(at.join("large").join(CONFIG_FILE)).unwrap();
        large.set_len(MAX_BYTES + 1).unwrap();

        let here = fs::canonicalize(at).unwrap();
        let here = here.display();
        let table = [
            (
                "nowhere",
                format!(
                    "bundle `{}` is missing or no directory",
                    at.join("nowhere").display()
                ),
            ),
            (
                "empty",
                format!("JSON specification file `{here}/empty/config.json` is missing"),
            ),
            (
                "dir",
                format!("`{here}/dir/config.json` is no regular file"),
            ),
            (
                "fifo",
                format!("`{here}/fifo/config.json` is no regular file"),
            ),
            (
                "large",
                format!("`{here}/large/config.json` has more than 16777216 bytes"),
            ),
            (
                "bad",
                format!(
                    "parse JSON in `{here}/bad/config.json`: expected value at line 2 column 8"
                ),
            ),
            (
                "trailing",
                format!(
                    "parse JSON in `{here}/trailing/config.json`: trailing characters at line 1 column 4"
                ),
            ),
            (
                "bad/config.json",
                format!("bundle `{here}/bad/config.json` is missing or no directory"),
            ),
        ];
        for (name, expected) in table {
            let text = chain(Bundle::load(&at.join(name)).unwrap_err());
            assert_eq!(text, expected, "{name}");
            for word in [
                "no such file",
                "not found",
                "does not exist",
                "not a directory",
            ] {
                assert!(!text.to_lowercase().contains(word), "{name}: {text}");
            }
        }
    }

    #[test]
    fn reads_a_process_and_a_stream() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("process.json");
        fs::write(&path, "{\"args\":[\"id\"]}").unwrap();
        let expected = serde_json::json!({"args": ["id"]});
        assert_eq!(load_process(&path).unwrap(), expected);
        let stream = File::open(&path).unwrap();
        assert_eq!(read_json(Path::new("-"), stream).unwrap(), expected);
    }
}
