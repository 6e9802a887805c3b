//! `create` and `run`. Must not touch anything but arguments.

use std::path::PathBuf;

use clap::Args;

/// `create`.
#[derive(Debug, Args)]
pub struct Create {
    /// What liboci-cli knows of it.
    #[command(flatten)]
    pub common: liboci_cli::Create,
    /// unix socket that receives a pidfd of the container's init
    #[arg(long, value_name = "SOCKET")]
    pub pidfd_socket: Option<PathBuf>,
}

/// `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// What liboci-cli knows of it.
    #[command(flatten)]
    pub common: liboci_cli::Run,
    /// unix socket that receives a pidfd of the container's init
    #[arg(long, value_name = "SOCKET")]
    pub pidfd_socket: Option<PathBuf>,
}
