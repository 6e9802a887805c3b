//! Arguments of `create`.
//! Data only: what a bundle holds is read elsewhere.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `create`; [`crate::cli::Run`] takes them too.
#[derive(Debug, Args)]
// Derived groups are named after their types, and liboci-cli's has the same name.
#[group(skip)]
pub struct Create {
    /// The part that all OCI runtimes share. `preserve_fds` is never negative, `container_id`
    /// keeps the rule of [`crate::cli::id`].
    #[command(flatten)]
    pub oci: liboci_cli::Create,
    /// socket that receives a pidfd of the container's first process
    #[arg(long, value_name = "SOCKET")]
    pub pidfd_socket: Option<PathBuf>,
}
