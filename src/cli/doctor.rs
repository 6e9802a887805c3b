//! Arguments of `doctor`.
//! Data only.

use clap::Args;

/// Arguments of `doctor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct Doctor {
    /// print json
    #[arg(long)]
    pub json: bool,
}
