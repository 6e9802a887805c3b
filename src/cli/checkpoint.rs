//! `checkpoint`. Own type: liboci-cli spells it otherwise and lacks flags that callers send.

use std::path::PathBuf;

use clap::Args;

/// `checkpoint`.
#[derive(Debug, Args)]
pub struct Checkpoint {
    /// directory for the image
    #[arg(long, value_name = "DIR")]
    pub image_path: Option<PathBuf>,
    /// directory for work files and logs
    #[arg(long, value_name = "DIR")]
    pub work_path: Option<PathBuf>,
    /// directory of an earlier image, for pre-dumps
    #[arg(long, value_name = "DIR")]
    pub parent_path: Option<PathBuf>,
    /// let the container run on
    #[arg(long)]
    pub leave_running: bool,
    /// allow open tcp connections
    #[arg(long)]
    pub tcp_established: bool,
    /// skip tcp connections that are being set up
    #[arg(long)]
    pub tcp_skip_in_flight: bool,
    /// allow unix sockets of outside
    #[arg(long)]
    pub ext_unix_sk: bool,
    /// allow a shell job
    #[arg(long)]
    pub shell_job: bool,
    /// keep file locks
    #[arg(long)]
    pub file_locks: bool,
    /// dump memory only, the container runs on
    #[arg(long)]
    pub pre_dump: bool,
    /// leave pages to a page server
    #[arg(long)]
    pub lazy_pages: bool,
    /// descriptor that is written to once lazy pages are served
    #[arg(long, value_name = "FD")]
    pub status_fd: Option<i32>,
    /// address of a page server
    #[arg(long, value_name = "ADDRESS")]
    pub page_server: Option<String>,
    /// drop pages that a parent image holds
    #[arg(long)]
    pub auto_dedup: bool,
    /// cgroups: soft, full, strict or ignore
    #[arg(long, value_name = "MODE")]
    pub manage_cgroups_mode: Option<String>,
    /// namespace to make empty
    #[arg(long, value_name = "NAMESPACE")]
    pub empty_ns: Vec<String>,
    /// name of the container
    pub container_id: String,
}
