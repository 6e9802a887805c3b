//! Arguments of `pct`.
//! Data only.

use clap::Args;

/// Arguments of `pct`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Pct {
    /// container whose guest is meant
    pub container_id: String,
    /// command of pct and its arguments, without the guest's number
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true,
        value_name = "COMMAND"
    )]
    pub command: Vec<String>,
}
