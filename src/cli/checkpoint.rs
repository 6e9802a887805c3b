//! Arguments of `checkpoint`: all that runc and go-runc send.
//! Data only; whether a backend can do it is decided there.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Arguments of `checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Checkpoint {
    /// directory for the images
    #[arg(long, value_name = "DIR", default_value = "checkpoint")]
    pub image_path: PathBuf,
    /// directory for working files and logs
    #[arg(long, value_name = "DIR")]
    pub work_path: Option<PathBuf>,
    /// directory of the previous images, relative to --image-path
    #[arg(long, value_name = "DIR")]
    pub parent_path: Option<PathBuf>,
    /// let the container run on
    #[arg(long)]
    pub leave_running: bool,
    /// allow open tcp connections
    #[arg(long)]
    pub tcp_established: bool,
    /// leave out tcp connections that are still being made
    #[arg(long)]
    pub tcp_skip_in_flight: bool,
    /// link deleted files back when that is possible
    #[arg(long)]
    pub link_remap: bool,
    /// allow unix sockets that lead outside
    #[arg(long)]
    pub ext_unix_sk: bool,
    /// allow a terminal
    #[arg(long)]
    pub shell_job: bool,
    /// keep memory for a restore that fetches it page by page
    #[arg(long)]
    pub lazy_pages: bool,
    /// descriptor that gets a NUL once --lazy-pages is ready
    #[arg(long, value_name = "FD", allow_negative_numbers = true)]
    pub status_fd: Option<i32>,
    /// send memory to the page server at this address
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub page_server: Option<String>,
    /// allow file locks
    #[arg(long)]
    pub file_locks: bool,
    /// save only memory and let the container run on
    #[arg(long)]
    pub pre_dump: bool,
    /// what to save of the cgroups
    #[arg(long, value_name = "MODE", value_enum)]
    pub manage_cgroups_mode: Option<CgroupsMode>,
    /// namespace whose properties aren't saved; can be repeated
    #[arg(long, value_name = "NAMESPACE")]
    pub empty_ns: Vec<String>,
    /// drop memory from older images that newer ones hold
    #[arg(long)]
    pub auto_dedup: bool,
    /// container to save
    pub container_id: String,
}

/// How criu treats cgroups (criu(8), `--manage-cgroups`). The texts of the variants are help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CgroupsMode {
    /// properties of cgroups that are created anew
    Soft,
    /// properties of all cgroups
    Full,
    /// as full, and no cgroup may exist already
    Strict,
    /// no cgroups
    Ignore,
}
