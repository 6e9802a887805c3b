//! Flags that stand before the command. Must not read the environment: what depends on it is a
//! pure function.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct Globals {
    /// directory of the container records [default: /run/pxrun, or $XDG_RUNTIME_DIR/pxrun for a
    /// user]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// append log lines, and the error if the command fails, to this file
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// form of the log file
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// what to log: error, warn, info, debug or trace [default: warn]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<tracing::Level>,
    /// log everything that helps to find a fault
    #[arg(long)]
    pub debug: bool,
    /// manage cgroups through systemd
    #[arg(long)]
    pub systemd_cgroup: bool,
    /// who manages cgroups: cgroupfs, systemd, or disabled
    #[arg(long, value_name = "MANAGER")]
    pub cgroup_manager: Option<String>,
    /// ignore errors that an unprivileged caller can't avoid: true, false or auto
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "auto")]
    pub rootless: String,
}

/// Form of the log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `time="…" level=… msg="…"`
    Text,
    /// one object a line, with `level`, `msg` and `time`
    Json,
}

impl Globals {
    /// `--systemd-cgroup`, or the other spelling of it.
    pub fn uses_systemd(&self) -> bool {
        self.systemd_cgroup || self.cgroup_manager.as_deref() == Some("systemd")
    }

    /// `--debug` is a level, unless one is named.
    pub fn level(&self) -> tracing::Level {
        self.log_level.unwrap_or(if self.debug {
            tracing::Level::DEBUG
        } else {
            tracing::Level::WARN
        })
    }
}

/// Where records are kept when `--root` doesn't say.
pub fn default_root(euid: u32, runtime_dir: Option<PathBuf>) -> PathBuf {
    match runtime_dir.filter(|dir| euid != 0 && dir.is_absolute()) {
        Some(dir) => dir.join("pxrun"),
        None => PathBuf::from("/run/pxrun"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_users_own_only_for_a_user() {
        let dir = Some(PathBuf::from("/run/user/7"));
        assert_eq!(default_root(0, dir.clone()), PathBuf::from("/run/pxrun"));
        assert_eq!(default_root(7, dir), PathBuf::from("/run/user/7/pxrun"));
        assert_eq!(default_root(7, None), PathBuf::from("/run/pxrun"));
        let relative = Some(PathBuf::from("x"));
        assert_eq!(default_root(7, relative), PathBuf::from("/run/pxrun"));
    }
}
