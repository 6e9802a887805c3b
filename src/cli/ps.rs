//! Arguments of `ps`.
//! Data only.

use clap::Args;

use super::list::Format;

/// Arguments of `ps`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Ps {
    /// how to print: a table, or a json array of process ids
    #[arg(short, long, value_enum, default_value_t)]
    pub format: Format,
    /// container to look into
    pub container_id: String,
    /// options for ps(1), such as -ef
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub ps_options: Vec<String>,
}
