//! Arguments of `template` and its commands: make, list, prune templates of a Proxmox node.
//! Data only.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::bundle::{From, Unpacking};
use super::list::Format;

/// Arguments of `template`.
#[derive(Debug, Clone, Args)]
pub struct Template {
    /// What to do.
    #[command(subcommand)]
    pub command: TemplateCommand,
}

/// The commands of `template`. The text of each variant is its help.
#[derive(Debug, Clone, Subcommand)]
pub enum TemplateCommand {
    /// make a template from an image, a bundle, a directory, an archive or a guest
    ///
    /// The same source gives the same bytes. The name tells the image and its digest.
    Create(Box<TemplateCreate>),
    /// list the templates that were made so
    List(TemplateList),
    /// say which of them nobody needs, and with --yes remove them
    Prune(TemplatePrune),
}

/// What a template is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Kind {
    /// tar.zst of a root file system, for `pct create` of any version
    #[default]
    Vztmpl,
    /// OCI archive, for nodes that import one by themselves
    Oci,
}

/// The storage whose templates are meant.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// storage of the node
    #[arg(long, value_name = "NAME", default_value = "local")]
    pub storage: String,
    /// directory instead of a storage
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// configuration of the storages
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/pve/storage.cfg",
        hide = true
    )]
    pub storage_config: PathBuf,
}

/// Arguments of `template create`.
#[derive(Debug, Clone, Args)]
pub struct TemplateCreate {
    /// Where files come from.
    #[command(flatten)]
    pub from: From,
    /// What archives may ask for.
    #[command(flatten)]
    pub unpacking: Unpacking,
    /// Where it goes.
    #[command(flatten)]
    pub place: Place,
    /// write this file instead of one with a name made from image and digest
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["dir", "name"])]
    pub output: Option<PathBuf>,
    /// name to begin the file's name with instead of the image's
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// what to make
    #[arg(long, value_enum, default_value_t)]
    pub kind: Kind,
    /// level of zstd
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=19))]
    pub level: i32,
    /// replace a file that is there
    #[arg(long)]
    pub force: bool,
    /// where pct is, for --from-guest
    #[arg(long, value_name = "DIR", hide = true)]
    pub pct_dir: Option<PathBuf>,
}

/// Arguments of `template list`.
#[derive(Debug, Clone, Args)]
pub struct TemplateList {
    /// Where they are.
    #[command(flatten)]
    pub place: Place,
    /// how to print
    #[arg(short, long, value_enum, default_value_t)]
    pub format: Format,
}

/// Arguments of `template prune`.
#[derive(Debug, Clone, Args)]
pub struct TemplatePrune {
    /// Where they are.
    #[command(flatten)]
    pub place: Place,
    /// those older than this, such as 30d or 12h
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub older_than: Option<Duration>,
    /// those that no guest and no container was made from
    #[arg(long)]
    pub unused: bool,
    /// those whose name has moved on to a newer one, and what broken off work left
    #[arg(long)]
    pub dangling: bool,
    /// remove them
    #[arg(long)]
    pub yes: bool,
    /// where the guests' configuration lies
    #[arg(long, value_name = "DIR", default_value = "/etc/pve", hide = true)]
    pub pve: PathBuf,
}

/// Like Go's durations, and days.
fn age(text: &str) -> Result<Duration, String> {
    let error = || "expected an age such as 30d, 12h or 90m".to_owned();
    match text.strip_suffix('d') {
        Some(days) => {
            let days: u64 = days.parse().map_err(|_| error())?;
            Ok(Duration::from_secs(days.saturating_mul(86_400)))
        }
        None => super::quantity::duration(text).map_err(|_| error()),
    }
}
