//! Bundles out of sources: unpack, resolve, write config.json, move into place. The pieces are in
//! other rooms; this one must not parse arguments, print, or know backends.

mod bundle;
mod files;
mod overlay;
mod volumes;

pub use bundle::{Job, Made, make};
pub use files::{Files, open_root, rootfs_of_bundle, run_config};
pub use overlay::remove;

use std::io;

use crate::image::ImageError;
use crate::image::spec::SpecError as ConfigError;
use crate::pack::PackError;
use crate::unpack::UnpackError;

/// The file of a bundle that keeps what its image says, for a template made of it later.
pub const IMAGE_FILE: &str = "image.json";

/// Why a bundle can't be made.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Files that go into the bundle.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// Files that come from elsewhere.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The configuration that comes out of image and options.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It would not run.
    #[error("the new config.json would be refused")]
    Invalid(#[from] crate::spec::SpecError),
    /// The user that the image names.
    #[error(transparent)]
    User(#[from] crate::users::UserError),
    /// The bundle that files come from.
    #[error(transparent)]
    Bundle(#[from] crate::bundle::BundleError),
    /// A file of this host.
    #[error("{doing} `{path}`")]
    File {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What the source or the options ask for can't be.
    #[error("{0}")]
    Refused(String),
}

fn file<'p>(
    doing: &'static str,
    path: &'p std::path::Path,
) -> impl Fn(io::Error) -> AssembleError + 'p {
    move |source| AssembleError::File {
        doing,
        path: path.display().to_string(),
        source,
    }
}
