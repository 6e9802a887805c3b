//! `restore`: `run`'s flags and `checkpoint`'s. Must not touch anything but arguments.

use std::path::PathBuf;

use clap::Args;

/// `restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// bundle directory
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// directory of the image
    #[arg(long, value_name = "DIR")]
    pub image_path: Option<PathBuf>,
    /// directory for work files and logs
    #[arg(long, value_name = "DIR")]
    pub work_path: Option<PathBuf>,
    /// unix socket that receives the terminal's master
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// write the pid of the container's init to this file
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// return once the container runs
    #[arg(short, long)]
    pub detach: bool,
    /// accepted and without effect: there is no subreaper
    #[arg(long)]
    pub no_subreaper: bool,
    /// change the root without pivot_root
    #[arg(long)]
    pub no_pivot: bool,
    /// keep the record of the container after its end
    #[arg(long)]
    pub keep: bool,
    /// restore open tcp connections
    #[arg(long)]
    pub tcp_established: bool,
    /// close tcp connections
    #[arg(long)]
    pub tcp_close: bool,
    /// allow unix sockets of outside
    #[arg(long)]
    pub ext_unix_sk: bool,
    /// allow a shell job
    #[arg(long)]
    pub shell_job: bool,
    /// restore file locks
    #[arg(long)]
    pub file_locks: bool,
    /// get pages from a page server
    #[arg(long)]
    pub lazy_pages: bool,
    /// drop pages that a parent image holds
    #[arg(long)]
    pub auto_dedup: bool,
    /// cgroups: soft, full, strict or ignore
    #[arg(long, value_name = "MODE")]
    pub manage_cgroups_mode: Option<String>,
    /// namespace to make empty
    #[arg(long, value_name = "NAMESPACE")]
    pub empty_ns: Vec<String>,
    /// label for the processes: apparmor:NAME or selinux:LABEL
    #[arg(long, value_name = "PROFILE")]
    pub lsm_profile: Option<String>,
    /// selinux context of mounts
    #[arg(long, value_name = "CONTEXT")]
    pub lsm_mount_context: Option<String>,
    /// name of the container
    pub container_id: String,
}
