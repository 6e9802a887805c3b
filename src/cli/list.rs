//! Arguments of `list`.
//! Data only.

use clap::{Args, ValueEnum};

/// Arguments of `list`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct List {
    /// how to print
    #[arg(short, long, value_enum, default_value_t)]
    pub format: Format,
    /// print only the ids
    #[arg(short, long)]
    pub quiet: bool,
}

/// How `list` and `ps` print. The texts of the variants are help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// for people
    #[default]
    Table,
    /// for programs
    Json,
}
