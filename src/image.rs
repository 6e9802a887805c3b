//! OCI images on disk: found in a layout or an archive, chosen by name, digest and platform, read
//! with every digest verified. It must not unpack anything nor know bundles.

pub mod config;
pub mod profile;
pub mod select;
pub mod spec;
pub mod store;

use std::io::{self, Read};
use std::path::Path;

use oci_spec::image::{Descriptor, ImageConfiguration, ImageManifest, MediaType};
use serde::de::DeserializeOwned;

use crate::archive::compression::{Stream, Sums};
use crate::progress::Progress;
use select::{Chosen, Platform};
use store::Store;

/// Why an image can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The layout or archive can't be read.
    #[error("read image `{path}`")]
    Read {
        /// The layout or archive.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is no image, or not one that this version reads.
    #[error("image `{path}`: {text}")]
    Not {
        /// The layout or archive.
        path: String,
        /// What is missing.
        text: String,
    },
    /// A document of the image doesn't have the form that it should.
    #[error("image document `{digest}`")]
    Document {
        /// Which.
        digest: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The bytes aren't those that the digest promises.
    #[error("blob `{digest}` of the image is damaged: {text}")]
    Damaged {
        /// Which.
        digest: String,
        /// What differs.
        text: String,
    },
    /// A blob that can't be read.
    #[error("read blob `{digest}` of the image")]
    Blob {
        /// Which.
        digest: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// No image, or more than one, matches.
    #[error("{0}")]
    Choice(String),
}

/// Largest document that is read: a manifest has some kilobytes.
const LARGEST_DOCUMENT: u64 = 8 << 20;

/// One image for one platform.
pub struct Image {
    store: Store,
    /// The manifest's own descriptor.
    pub descriptor: Descriptor,
    /// The name in the index, if it has one.
    pub name: Option<String>,
    /// The manifest.
    pub manifest: ImageManifest,
    /// The configuration, and how it stands in the image.
    pub config: ImageConfiguration,
}

impl Image {
    /// Opens the image that `wanted` (a name, a tag or a digest) and `platform` name.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn open(
        path: &Path,
        wanted: Option<&str>,
        platform: Option<&Platform>,
    ) -> Result<Self, ImageError> {
        let store = Store::open(path)?;
        let Chosen { descriptor, name } = select::choose(&store, wanted, platform)?;
        let manifest: ImageManifest = document(&store, &descriptor)?;
        let config: ImageConfiguration = document(&store, manifest.config())?;
        select::check_platform(&config, platform)?;
        let image = Self {
            store,
            descriptor,
            name,
            manifest,
            config,
        };
        image.check_layers()?;
        Ok(image)
    }

    /// Every layer must be of a type that is read, and have the digest of its content.
    fn check_layers(&self) -> Result<(), ImageError> {
        let (layers, ids) = (self.manifest.layers(), self.config.rootfs().diff_ids());
        if layers.len() != ids.len() {
            let text = format!("{} layers and {} diff_ids", layers.len(), ids.len());
            return Err(self.not(text));
        }
        for layer in layers {
            if !is_layer(layer.media_type()) {
                return Err(self.not(format!("layer of type `{}`", layer.media_type())));
            }
        }
        Ok(())
    }

    fn not(&self, text: String) -> ImageError {
        ImageError::Not {
            path: self.store.path().display().to_string(),
            text,
        }
    }

    /// The digest of the manifest: `sha256:…`.
    pub fn digest(&self) -> String {
        self.descriptor.digest().to_string()
    }

    /// Bytes of all layers as they are stored.
    pub fn size(&self) -> u64 {
        self.manifest.layers().iter().map(Descriptor::size).sum()
    }

    /// Number of layers.
    pub fn layers(&self) -> usize {
        self.manifest.layers().len()
    }

    /// The digest of a layer's content: `sha256:…`.
    pub fn diff_id(&self, number: usize) -> &str {
        &self.config.rootfs().diff_ids()[number]
    }

    /// Opens a layer, from the lowest, 0. Call [`Image::verify`] with the stream when it is read.
    ///
    /// # Errors
    /// [`ImageError::Blob`].
    pub fn layer(&self, number: usize, progress: &Progress) -> Result<Stream, ImageError> {
        let descriptor = &self.manifest.layers()[number];
        let blob = self.store.blob(descriptor.digest().as_ref());
        blob.and_then(|(blob, _)| Stream::new(progress.read(blob), true))
            .map_err(blob_error(descriptor))
    }

    /// Compares what was read with what the manifest and the configuration promise.
    ///
    /// # Errors
    /// [`ImageError::Damaged`].
    pub fn verify(&self, number: usize, stream: Stream) -> Result<(), ImageError> {
        let descriptor = &self.manifest.layers()[number];
        let sums = stream.finish().map_err(blob_error(descriptor))?;
        check_sums(descriptor, &sums)?;
        let id = self.diff_id(number);
        if id != format!("sha256:{}", sums.plain) {
            return Err(ImageError::Damaged {
                digest: descriptor.digest().to_string(),
                text: format!("its content is not `{id}`"),
            });
        }
        Ok(())
    }

    /// Every blob that belongs to the image: manifest, configuration, layers.
    pub fn blobs(&self) -> Vec<Descriptor> {
        let mut blobs = vec![self.descriptor.clone(), self.manifest.config().clone()];
        blobs.extend(self.manifest.layers().iter().cloned());
        blobs
    }

    /// Opens one of [`Image::blobs`].
    ///
    /// # Errors
    /// [`ImageError::Blob`].
    pub fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, ImageError> {
        let blob = self.store.blob(descriptor.digest().as_ref());
        Ok(blob.map_err(blob_error(descriptor))?.0)
    }
}

fn is_layer(kind: &MediaType) -> bool {
    match kind {
        MediaType::Other(name) => name.starts_with("application/vnd.docker.image.rootfs."),
        MediaType::ImageLayer
        | MediaType::ImageLayerGzip
        | MediaType::ImageLayerZstd
        | MediaType::ImageLayerNonDistributable
        | MediaType::ImageLayerNonDistributableGzip
        | MediaType::ImageLayerNonDistributableZstd => true,
        _ => false,
    }
}

fn blob_error(descriptor: &Descriptor) -> impl Fn(io::Error) -> ImageError {
    let digest = descriptor.digest().to_string();
    move |source| ImageError::Blob {
        digest: digest.clone(),
        source,
    }
}

/// Compares the bytes that were read with a descriptor.
///
/// # Errors
/// [`ImageError::Damaged`].
pub fn check_sums(descriptor: &Descriptor, sums: &Sums) -> Result<(), ImageError> {
    let damaged = |text| ImageError::Damaged {
        digest: descriptor.digest().to_string(),
        text,
    };
    if sums.size != descriptor.size() {
        let text = format!("{} bytes, expected {}", sums.size, descriptor.size());
        return Err(damaged(text));
    }
    match descriptor.as_digest_sha256() {
        Some(expected) if expected == sums.compressed => Ok(()),
        Some(_) => Err(damaged(format!("digest is `sha256:{}`", sums.compressed))),
        None => Err(damaged("only sha256 is verified by this version".into())),
    }
}

/// Reads a JSON document of the image, verified.
fn document<T: DeserializeOwned>(store: &Store, descriptor: &Descriptor) -> Result<T, ImageError> {
    use sha2::{Digest, Sha256};
    let (blob, _) = store
        .blob(descriptor.digest().as_ref())
        .map_err(blob_error(descriptor))?;
    let mut bytes = Vec::new();
    blob.take(LARGEST_DOCUMENT + 1)
        .read_to_end(&mut bytes)
        .map_err(blob_error(descriptor))?;
    let sums = Sums {
        compressed: crate::archive::compression::hex(Sha256::new().chain_update(&bytes)),
        plain: String::new(),
        size: bytes.len() as u64,
    };
    check_sums(descriptor, &sums)?;
    serde_json::from_slice(&bytes).map_err(|source| ImageError::Document {
        digest: descriptor.digest().to_string(),
        source,
    })
}
