//! Arguments of `setup`.
//! Data only: the callers' files are read and changed elsewhere.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

/// Arguments of `setup`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Setup {
    /// whose configuration
    #[arg(value_enum)]
    pub caller: Caller,
    /// show what would change and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// take the change back
    #[arg(long)]
    pub undo: bool,
    /// look for the configuration below this directory, as for the file system of an image
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub prefix: PathBuf,
    /// the runtime that the caller is to run (default: this program)
    #[arg(long, value_name = "PATH", value_parser = absolute)]
    pub binary: Option<PathBuf>,
}

/// Who calls the runtime. The texts of the variants are help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Caller {
    /// a drop-in for containers.conf
    Podman,
    /// a handler in containerd's config.toml
    Containerd,
    /// a drop-in for crio.conf
    Crio,
    /// a runtime in Docker's daemon.json
    Docker,
    /// a RuntimeClass and a pod, on stdout
    Kubernetes,
}

/// Callers start the runtime from directories of their own.
fn absolute(text: &str) -> Result<PathBuf, &'static str> {
    let path = Path::new(text);
    match path.is_absolute() {
        true => Ok(path.to_owned()),
        false => Err("has to be an absolute path"),
    }
}
