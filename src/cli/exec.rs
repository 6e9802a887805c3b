//! `exec`. Own type: liboci-cli's takes no user names, no `-e KEY` and no pidfd socket.

use std::path::PathBuf;

use clap::Args;

/// `exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// json file that describes the process; the command and the flags on it are then ignored
    #[arg(short, long, value_name = "FILE")]
    pub process: Option<PathBuf>,
    /// unix socket that receives the terminal's master
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// unix socket that receives a pidfd of the process
    #[arg(long, value_name = "SOCKET")]
    pub pidfd_socket: Option<PathBuf>,
    /// write the process's pid to this file
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// return once the process runs
    #[arg(short, long)]
    pub detach: bool,
    /// give the process a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// working directory
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// environment variable as KEY=VALUE, or KEY alone for pxrun's own value of it
    #[arg(short, long, value_name = "VAR")]
    pub env: Vec<String>,
    /// user and group, by number or name: uid[:gid]
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// additional group
    #[arg(short = 'g', long, value_name = "GID")]
    pub additional_gids: Vec<u32>,
    /// capability to add to the sets of the process
    #[arg(short, long, value_name = "CAP")]
    pub cap: Vec<String>,
    /// forbid the process to gain privileges
    #[arg(long)]
    pub no_new_privs: bool,
    /// selinux label of the process
    #[arg(long, value_name = "LABEL")]
    pub process_label: Option<String>,
    /// apparmor profile of the process
    #[arg(long, value_name = "PROFILE")]
    pub apparmor: Option<String>,
    /// accepted and without effect: there is no subreaper
    #[arg(long)]
    pub no_subreaper: bool,
    /// pass N descriptors to the process beside the standard ones
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: i32,
    /// sub-cgroup to run in: [CONTROLLER[,…]:]PATH
    #[arg(long, value_name = "PATH")]
    pub cgroup: Vec<String>,
    /// run the process even if the container is paused
    #[arg(long)]
    pub ignore_paused: bool,
    /// name of the container
    pub container_id: String,
    /// command and arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}
