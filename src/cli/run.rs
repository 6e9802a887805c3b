//! Arguments of `run`: those of `create`, and what becomes of the container afterwards.
//! Data only.

use clap::Args;

use super::Create;

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// How the container is created.
    #[command(flatten)]
    pub create: Create,
    /// don't wait for the container's end
    #[arg(short, long)]
    pub detach: bool,
    /// keep the container's record and cgroup when it has ended
    #[arg(long)]
    pub keep: bool,
    /// don't adopt processes that the container leaves behind
    #[arg(long)]
    pub no_subreaper: bool,
}
