//! Arguments of `restore`: all that runc, go-runc, conmon and podman send.
//! Data only; whether a backend can do it is decided there.

use std::path::PathBuf;

use clap::Args;

use super::checkpoint::CgroupsMode;

/// Arguments of `restore`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Restore {
    /// directory with config.json and the root file system
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// socket that receives the master end of the terminal
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// file to write the process id to
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// directory with the images
    #[arg(long, value_name = "DIR", default_value = "checkpoint")]
    pub image_path: PathBuf,
    /// directory for working files and logs
    #[arg(long, value_name = "DIR")]
    pub work_path: Option<PathBuf>,
    /// directory of the previous images; accepted as go-runc sends it
    #[arg(long, value_name = "DIR", hide = true)]
    pub parent_path: Option<PathBuf>,
    /// fetch memory from the page server at this address; accepted as go-runc sends it
    #[arg(long, value_name = "ADDRESS:PORT", hide = true)]
    pub page_server: Option<String>,
    /// don't wait for the container's end
    #[arg(short, long)]
    pub detach: bool,
    /// restore open tcp connections
    #[arg(long)]
    pub tcp_established: bool,
    /// close tcp connections instead of restoring them
    #[arg(long)]
    pub tcp_close: bool,
    /// link deleted files back when that is possible
    #[arg(long)]
    pub link_remap: bool,
    /// allow unix sockets that lead outside
    #[arg(long)]
    pub ext_unix_sk: bool,
    /// allow a terminal
    #[arg(long)]
    pub shell_job: bool,
    /// allow file locks
    #[arg(long)]
    pub file_locks: bool,
    /// what to restore of the cgroups
    #[arg(long, value_name = "MODE", value_enum)]
    pub manage_cgroups_mode: Option<CgroupsMode>,
    /// namespace to create without restoring its properties; can be repeated
    #[arg(long, value_name = "NAMESPACE")]
    pub empty_ns: Vec<String>,
    /// drop memory from older images that newer ones hold
    #[arg(long)]
    pub auto_dedup: bool,
    /// fetch memory page by page
    #[arg(long)]
    pub lazy_pages: bool,
    /// don't adopt processes that the container leaves behind
    #[arg(long)]
    pub no_subreaper: bool,
    /// use MS_MOVE and chroot instead of pivot_root
    #[arg(long)]
    pub no_pivot: bool,
    /// don't create a session keyring
    #[arg(long)]
    pub no_new_keyring: bool,
    /// security profile to restore into
    #[arg(long, value_name = "TYPE:NAME")]
    pub lsm_profile: Option<String>,
    /// security context for the mounts
    #[arg(long, value_name = "CONTEXT")]
    pub lsm_mount_context: Option<String>,
    /// id of the restored container
    pub container_id: String,
}
