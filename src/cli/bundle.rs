//! Arguments of `bundle` and its commands: make a bundle, judge one.
//! Data only; how a source is told apart is decided elsewhere.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{list::Format, quantity};
use crate::image::select::Platform;

/// Arguments of `bundle`.
#[derive(Debug, Clone, Args)]
pub struct Bundle {
    /// What to do.
    #[command(subcommand)]
    pub command: BundleCommand,
}

/// The commands of `bundle`. The text of each variant is its help.
#[derive(Debug, Clone, Subcommand)]
pub enum BundleCommand {
    /// make a bundle from an image, a directory, an archive, a template or a guest
    ///
    /// The configuration is what podman would make of the image; arguments after -- replace the
    /// image's command. Nothing is left behind when it fails or is interrupted.
    Create(Box<BundleCreate>),
    /// say what in a config.json breaks the OCI's rules, what this host lacks, and what each backend
    /// refuses
    ///
    /// The exit status is 0 when the bundle would run here, 1 when not.
    Validate(BundleValidate),
    /// remove a bundle, its overlay unmounted first
    ///
    /// A bundle that a container runs from is refused.
    Remove(BundleRemove),
}

/// Arguments of `bundle remove`.
#[derive(Debug, Clone, Args)]
pub struct BundleRemove {
    /// directory of the bundle
    pub bundle: PathBuf,
}

/// Where files come from.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct From {
    /// image, bundle, directory or archive: PATH, where needed with oci:, oci-archive:, bundle:, dir:
    /// or tar: before it and :TAG or @DIGEST behind it
    #[arg(long, value_name = "SOURCE")]
    pub from: Option<String>,
    /// template by its file, or by its name in the storage
    #[arg(long, value_name = "TEMPLATE")]
    pub from_template: Option<PathBuf>,
    /// Proxmox guest that is stopped, mounted with pct as long as it is read
    #[arg(long, value_name = "VMID")]
    pub from_guest: Option<String>,
}

/// What archives may ask for, and who is told how far it is.
#[derive(Debug, Clone, Args)]
pub struct Unpacking {
    /// which of an image's platforms (default: this host's)
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = Platform::parse)]
    pub platform: Option<Platform>,
    /// most bytes that all files of an archive may have together
    #[arg(long, value_name = "BYTES", default_value = "256g", value_parser = quantity::bytes)]
    pub max_size: i64,
    /// most entries that an archive may have
    #[arg(long, value_name = "N", default_value_t = 4 << 20)]
    pub max_files: u64,
    /// show no progress
    #[arg(short, long)]
    pub quiet: bool,
}

/// Arguments of `bundle create`.
#[derive(Debug, Clone, Args)]
pub struct BundleCreate {
    /// Where files come from.
    #[command(flatten)]
    pub from: From,
    /// What archives may ask for.
    #[command(flatten)]
    pub unpacking: Unpacking,
    /// replace what is at BUNDLE
    #[arg(long)]
    pub force: bool,
    /// use a source that is a directory where it is, without a copy
    #[arg(long)]
    pub in_place: bool,
    /// use a source that is a directory or a bundle where it is, below an overlay: what changes stays
    /// in the new bundle, which `bundle remove` takes away
    #[arg(long, conflicts_with = "in_place")]
    pub overlay: bool,
    /// storage of --from-template
    #[arg(long, value_name = "NAME", default_value = "local")]
    pub storage: String,
    /// configuration of the storages
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/pve/storage.cfg",
        hide = true
    )]
    pub storage_config: PathBuf,
    /// where pct is, for --from-guest
    #[arg(long, value_name = "DIR", hide = true)]
    pub pct_dir: Option<PathBuf>,
    /// What config.json is to say.
    #[command(flatten)]
    pub config: Config,
    /// path of the new bundle
    pub bundle: PathBuf,
    /// command instead of the image's
    #[arg(last = true, value_name = "ARG")]
    pub args: Vec<String>,
}

/// What config.json is to say otherwise than the image.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// entrypoint instead of the image's, a JSON array or one word; empty for none
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Option<String>,
    /// environment variable more; can be repeated
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = env)]
    pub env: Vec<String>,
    /// user instead of the image's, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// working directory instead of the image's
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,
    /// host name (default: the name of the bundle)
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// with a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// with a root that can't be written to
    #[arg(long)]
    pub read_only: bool,
    /// without ways to more privileges, such as setuid programs
    #[arg(long)]
    pub no_new_privs: bool,
    /// with the host's network instead of an empty one
    #[arg(long)]
    pub host_network: bool,
    /// capability more, or ALL; can be repeated
    #[arg(long, value_name = "CAP")]
    pub cap_add: Vec<String>,
    /// capability less, or ALL; can be repeated
    #[arg(long, value_name = "CAP")]
    pub cap_drop: Vec<String>,
    /// annotation; can be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub annotation: Vec<(String, String)>,
    /// bind mount; can be repeated
    #[arg(short = 'v', long, value_name = "SOURCE:DESTINATION[:OPTIONS]", value_parser = volume)]
    pub volume: Vec<(String, String, Vec<String>)>,
    /// memory limit in bytes, such as 512m
    #[arg(long, value_name = "BYTES", value_parser = quantity::bytes)]
    pub memory: Option<i64>,
    /// processors, such as 1.5
    #[arg(long, value_name = "N", value_parser = cpus)]
    pub cpus: Option<f64>,
    /// most processes, -1 for any number (default: 2048)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub pids_limit: Option<i64>,
    /// seccomp profile of podman's, Docker's or the OCI's form; `unconfined` for none (default:
    /// podman's where the host has it, else a built-in one that means the same)
    #[arg(long, value_name = "FILE")]
    pub seccomp: Option<PathBuf>,
    /// JSON that is merged over config.json at the end (RFC 7396)
    #[arg(long, value_name = "FILE")]
    pub patch: Option<PathBuf>,
}

/// Arguments of `bundle validate`.
#[derive(Debug, Clone, Args)]
pub struct BundleValidate {
    /// judge by this backend only; can be repeated
    #[arg(long, value_name = "NAME")]
    pub backend: Vec<String>,
    /// same as --format json
    #[arg(long)]
    pub json: bool,
    /// how to print
    #[arg(short, long, value_enum, default_value_t)]
    pub format: Format,
    /// directory of the bundle
    #[arg(default_value = ".")]
    pub bundle: PathBuf,
}

fn env(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((name, _)) if !name.is_empty() => Ok(text.to_owned()),
        _ => Err("expected NAME=VALUE".into()),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".into()),
    }
}

fn volume(text: &str) -> Result<(String, String, Vec<String>), String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, destination, options) = match parts[..] {
        [source, destination] => (source, destination, "rw"),
        [source, destination, options] => (source, destination, options),
        _ => return Err("expected SOURCE:DESTINATION[:OPTIONS]".into()),
    };
    if !source.starts_with('/') || !destination.starts_with('/') {
        return Err("expected absolute paths".into());
    }
    let options = options.split(',').map(ToOwned::to_owned).collect();
    Ok((source.to_owned(), destination.to_owned(), options))
}

fn cpus(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.parse().ok();
    number
        .filter(|n| (0.01..=65536.0).contains(n))
        .ok_or_else(|| "expected a number from 0.01".into())
}
