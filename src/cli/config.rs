//! Arguments of `config`.
//! Data only; which file it is about is a global option.

use clap::{Args, ValueEnum};

/// Arguments of `config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct Config {
    /// what to do
    #[arg(value_enum)]
    pub action: Action,
}

/// What to do with the configuration. The texts of the variants are help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Action {
    /// say whether the file can be used, and what in it is of no use on this host
    Check,
    /// print what is in force, and from where each value comes
    Show,
}
