//! `kill`. Own type: liboci-cli's wants a signal, callers may leave it out.

use clap::Args;

/// `kill`.
#[derive(Debug, Args)]
pub struct Kill {
    /// signal every process of the container
    #[arg(short, long)]
    pub all: bool,
    /// name of the container
    pub container_id: String,
    /// number or name, with or without SIG
    #[arg(default_value = "SIGTERM", value_parser = super::signal::parse, allow_hyphen_values = true)]
    pub signal: i32,
}
