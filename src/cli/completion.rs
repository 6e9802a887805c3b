//! `completion`. Must not touch anything but arguments.

use clap::Args;

/// `completion`.
#[derive(Debug, Args)]
pub struct Completion {
    /// the shell to write for
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}
