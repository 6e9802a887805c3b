//! Arguments of `route`.
//! Data only.

use std::path::PathBuf;

use clap::Args;

use super::{id, list::Format};

/// Arguments of `route`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Route {
    /// directory with config.json
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// id that the container would have
    #[arg(long, value_name = "ID", default_value = "unnamed", value_parser = id::check)]
    pub id: String,
    /// how to print
    #[arg(short, long, value_enum, default_value_t)]
    pub format: Format,
}
