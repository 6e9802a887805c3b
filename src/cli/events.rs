//! Arguments of `events`.
//! Data only.

use std::time::Duration;

use clap::Args;

use super::quantity;

/// Arguments of `events`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Events {
    /// time between two statistics: 5s, 1m30s, 500ms
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = quantity::duration)]
    pub interval: Duration,
    /// print the statistics once and stop
    #[arg(long)]
    pub stats: bool,
    /// container to watch
    pub container_id: String,
}
