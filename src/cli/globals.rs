//! The options that stand before the command.
//! It must not look at the process's own user or environment: both are passed in.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::logging;

/// Options that every command shares. Each may be repeated; the last one counts.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Globals {
    /// directory of the container records (default: /run/pxrun, for a user $XDG_RUNTIME_DIR/pxrun)
    #[arg(long, global = true, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// configuration file (default: $PXRUN_CONFIG, then /etc/pxrun/config.toml)
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// append log lines to this file
    #[arg(long, global = true, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// form of the lines in the log file
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    pub log_format: logging::Format,
    /// log this much (default: warnings, with --log-format json only the error that ends a command)
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        value_enum,
        ignore_case = true
    )]
    pub log_level: Option<logging::Level>,
    /// same as --log-level debug, unless that is given too
    #[arg(long, global = true)]
    pub debug: bool,
    /// let systemd manage the cgroups
    #[arg(long, global = true)]
    pub systemd_cgroup: bool,
    /// who manages the cgroups (default: cgroupfs; stronger than --systemd-cgroup)
    #[arg(long, global = true, value_name = "MANAGER", value_enum)]
    cgroup_manager: Option<CgroupManager>,
    /// whether to leave out what an unprivileged user can't do; true without a value
    // Not global: `spec` has a flag of that name.
    #[arg(
        long,
        value_name = "MODE",
        value_enum,
        ignore_case = true,
        num_args = 0..=1,
        require_equals = true,
        default_value_t,
        default_missing_value = "true"
    )]
    pub rootless: Rootless,
}

/// Who writes the limits of a container's cgroup. The texts of the variants are help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum CgroupManager {
    /// pxrun itself, in the cgroup file system
    #[default]
    Cgroupfs,
    /// systemd, asked over D-Bus
    Systemd,
    /// nobody: the container stays in its caller's cgroup
    Disabled,
}

/// Whether to run as an unprivileged user would have to. The texts of the variants are help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Rootless {
    /// when the effective user isn't root
    #[default]
    Auto,
    /// always
    #[value(alias = "1")]
    True,
    /// never
    #[value(alias = "0")]
    False,
}

impl Globals {
    /// The directory of the container records: `--root`, or [`default_root`].
    #[must_use]
    pub fn root_dir(&self, euid: u32, xdg_runtime_dir: Option<&Path>) -> PathBuf {
        self.root
            .clone()
            .unwrap_or_else(|| default_root(euid, xdg_runtime_dir))
    }

    /// The log level that was asked for, if any: `--log-level` is stronger than `--debug`.
    #[must_use]
    pub fn level(&self) -> Option<logging::Level> {
        self.log_level
            .or(self.debug.then_some(logging::Level::Debug))
    }

    /// Who manages the cgroups: `--cgroup-manager` is stronger than `--systemd-cgroup`.
    #[must_use]
    pub fn cgroup_manager(&self) -> CgroupManager {
        let switch = if self.systemd_cgroup {
            CgroupManager::Systemd
        } else {
            CgroupManager::Cgroupfs
        };
        self.cgroup_manager.unwrap_or(switch)
    }
}

impl Rootless {
    /// Whether to run rootless, given the effective user.
    #[must_use]
    pub fn resolve(self, euid: u32) -> bool {
        match self {
            Self::Auto => euid != 0,
            Self::True => true,
            Self::False => false,
        }
    }
}

/// Where records live without `--root`: `/run/pxrun`, for other users than root
/// `$XDG_RUNTIME_DIR/pxrun` when that variable holds an absolute path.
#[must_use]
pub fn default_root(euid: u32, xdg_runtime_dir: Option<&Path>) -> PathBuf {
    match xdg_runtime_dir {
        // podman gives root's runtime an XDG_RUNTIME_DIR too, and relies on its being ignored.
        Some(dir) if euid != 0 && dir.is_absolute() => dir.join("pxrun"),
        _ => PathBuf::from("/run/pxrun"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_follows_user_and_environment() {
        let rows = [
            (0, None, "/run/pxrun"),
            (0, Some("/run/user/0"), "/run/pxrun"),
            (1000, Some("/run/user/1000"), "/run/user/1000/pxrun"),
            (1000, Some(""), "/run/pxrun"),
            (1000, Some("relative"), "/run/pxrun"),
            (1000, None, "/run/pxrun"),
        ];
        for (euid, xdg, want) in rows {
            let got = default_root(euid, xdg.map(Path::new));
            assert_eq!(got, Path::new(want), "{euid} {xdg:?}");
        }
    }

    #[test]
    fn rootless_auto_asks_the_user_id() {
        assert!(Rootless::Auto.resolve(1000) && !Rootless::Auto.resolve(0));
        assert!(Rootless::True.resolve(0) && !Rootless::False.resolve(1000));
    }
}
