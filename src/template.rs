//! Proxmox templates (`vztmpl`) and OCI archives for a node: made, listed, pruned. It must not know
//! guests beyond the text of their configuration, nor arguments or terminals.

pub mod create;
pub mod list;
pub mod mark;
pub mod name;
mod oci;
pub mod prune;
pub mod storage;

use std::io;
use std::path::Path;

use crate::archive::ArchiveError;
use crate::assemble::AssembleError;
use crate::image::ImageError;
use crate::pack::PackError;

/// What goes wrong with templates.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The source.
    #[error(transparent)]
    Source(#[from] AssembleError),
    /// The image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The files that go into it.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
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
    /// The storage.
    #[error("storage `{name}`: {text}")]
    Storage {
        /// Its name.
        name: String,
        /// What is wrong with it.
        text: String,
    },
}

fn file<'p>(doing: &'static str, path: &'p Path) -> impl Fn(io::Error) -> TemplateError + 'p {
    move |source| TemplateError::File {
        doing,
        path: path.display().to_string(),
        source,
    }
}
