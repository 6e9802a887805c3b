//! What bundles and templates are made from, as a user names it: an image, a directory, an archive,
//! a guest. It must not unpack anything.

use std::io;
use std::path::{Path, PathBuf};

use crate::image::store::{self, Found};

/// Where files and configuration come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An OCI image: layout or archive, and which of its images.
    Image {
        /// The layout or archive.
        path: PathBuf,
        /// A name, a tag or a digest.
        wanted: Option<String>,
    },
    /// A bundle.
    Bundle(PathBuf),
    /// A directory that is a root file system.
    Dir(PathBuf),
    /// A tar of one, compressed or not: a Proxmox template as well.
    Tar(PathBuf),
    /// A Proxmox guest that is stopped, by its number.
    Guest(u32),
}

/// Prefixes that say what a path is, where looking at it is not enough.
const PREFIXES: [&str; 6] = ["oci-archive:", "oci:", "bundle:", "dir:", "tar:", "guest:"];

/// A source that can't be told.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It can't be looked at.
    #[error("source `{0}`")]
    Look(String, #[source] io::Error),
    /// Not a number of a guest.
    #[error("`{0}` is no guest: expected a number from 100")]
    Guest(String),
}

impl Source {
    /// Parses `[PREFIX:]PATH[:TAG|@DIGEST]`; looks at the path where no prefix says what it is.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let prefix = PREFIXES.iter().find(|prefix| text.starts_with(**prefix));
        let rest = prefix.map_or(text, |prefix| &text[prefix.len()..]);
        match prefix.copied() {
            Some("oci-archive:" | "oci:") => {
                let (path, wanted) = split(rest);
                Ok(Self::Image { path, wanted })
            }
            Some("bundle:") => Ok(Self::Bundle(rest.into())),
            Some("dir:") => Ok(Self::Dir(rest.into())),
            Some("tar:") => Ok(Self::Tar(rest.into())),
            Some(_) => guest(rest),
            None => Self::look(rest),
        }
    }

    fn look(text: &str) -> Result<Self, SourceError> {
        let whole = Path::new(text);
        let (path, wanted) = match whole.exists() {
            true => (whole.to_path_buf(), None),
            false => split(text),
        };
        let error = |source| SourceError::Look(path.display().to_string(), source);
        let found = store::look(&path).map_err(error)?;
        Ok(match (found, &wanted) {
            (Found::Image, _) => Self::Image { path, wanted },
            (_, Some(_)) => {
                let source = io::Error::other("a tag or digest, but no OCI image layout");
                return Err(SourceError::Look(text.to_owned(), source));
            }
            (Found::Dir, None) if path.join(crate::bundle::CONFIG_FILE).is_file() => {
                Self::Bundle(path)
            }
            (Found::Dir, None) => Self::Dir(path),
            (Found::File, None) => Self::Tar(path),
        })
    }
}

/// A guest by its number; Proxmox begins at 100.
///
/// # Errors
/// [`SourceError::Guest`].
pub fn guest(text: &str) -> Result<Source, SourceError> {
    let number = text.parse().ok().filter(|number| *number >= 100);
    number
        .map(Source::Guest)
        .ok_or_else(|| SourceError::Guest(text.to_owned()))
}

/// `PATH@DIGEST`, `PATH:TAG` or `PATH`, as skopeo spells them.
fn split(text: &str) -> (PathBuf, Option<String>) {
    if let Some((path, digest)) = text.split_once("@sha256:") {
        return (path.into(), Some(format!("sha256:{digest}")));
    }
    match text.split_once(':') {
        Some((path, tag)) if !tag.is_empty() => (path.into(), Some(tag.to_owned())),
        _ => (text.into(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_tell_what_it_is() {
        let image = |path: &str, wanted: Option<&str>| Source::Image {
            path: path.into(),
            wanted: wanted.map(ToOwned::to_owned),
        };
        let rows = [
            ("oci:/i", image("/i", None)),
            ("oci:/i:latest", image("/i", Some("latest"))),
            ("oci:/i:host:5000/n:1", image("/i", Some("host:5000/n:1"))),
            (
                "oci-archive:i.tar@sha256:ab",
                image("i.tar", Some("sha256:ab")),
            ),
            ("dir:/r", Source::Dir("/r".into())),
            ("tar:/t", Source::Tar("/t".into())),
            ("bundle:b", Source::Bundle("b".into())),
            ("guest:101", Source::Guest(101)),
        ];
        for (text, expected) in rows {
            assert_eq!(Source::parse(text).unwrap(), expected, "{text}");
        }
        for bad in ["guest:99", "guest:x", "/does/not/exist"] {
            assert!(Source::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_look_tells_the_rest() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        for dir in ["rootfs", "bundle", "image"] {
            std::fs::create_dir(at(dir)).unwrap();
        }
        std::fs::write(at("bundle/config.json"), "{}").unwrap();
        std::fs::write(at("image/oci-layout"), "{}").unwrap();
        std::fs::write(at("image/index.json"), "{}").unwrap();
        std::fs::write(at("file"), "").unwrap();
        let parse = |name: &str| Source::parse(at(name).to_str().unwrap());
        assert_eq!(parse("rootfs").unwrap(), Source::Dir(at("rootfs")));
        assert_eq!(parse("bundle").unwrap(), Source::Bundle(at("bundle")));
        assert_eq!(parse("file").unwrap(), Source::Tar(at("file")));
        let tagged = Source::Image {
            path: at("image"),
            wanted: Some("x".into()),
        };
        assert_eq!(parse("image:x").unwrap(), tagged);
        assert!(parse("file:x").is_err());
    }
}
