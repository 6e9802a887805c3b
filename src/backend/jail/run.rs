//! The one place through which commands of the host are run. It must not know which.

use std::path::Path;
use std::process::{Command, Stdio};

/// A command of FreeBSD's base system: absolute path and arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The program.
    pub program: &'static str,
    /// Its arguments.
    pub args: Vec<String>,
}

impl Call {
    /// A command.
    pub fn new<T: Into<String>>(program: &'static str, args: impl IntoIterator<Item = T>) -> Call {
        Call {
            program,
            args: args.into_iter().map(Into::into).collect(),
        }
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.program)?;
        self.args.iter().try_for_each(|arg| write!(f, " {arg}"))
    }
}

/// Why a command didn't do it.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It can't be started.
    #[error("run `{program}`")]
    Start {
        /// The program.
        program: &'static str,
        /// The cause.
        #[source]
        cause: std::io::Error,
    },
    /// It said no.
    #[error("`{call}`: {words}")]
    Failed {
        /// The command.
        call: Box<Call>,
        /// Its standard error.
        words: String,
    },
}

/// Runs commands, or writes them down.
pub trait Runner {
    /// Runs one to its end; what it printed.
    ///
    /// # Errors
    /// It can't be started, or fails.
    fn run(&mut self, call: &Call) -> Result<String, RunError>;
    /// The directory that `relative` leads to below `root`, made if it is absent. No link is
    /// followed: the root belongs to a stranger.
    ///
    /// # Errors
    /// Something else is in the way.
    fn directory(&mut self, root: &Path, relative: &Path) -> Result<(), RunError>;
}

/// The host itself.
pub struct Host;

impl Runner for Host {
    fn run(&mut self, call: &Call) -> Result<String, RunError> {
        let output = Command::new(call.program)
            .args(&call.args)
            .env_clear()
            .env("PATH", "/sbin:/bin:/usr/sbin:/usr/bin")
            .stdin(Stdio::null())
            .output()
            .map_err(|cause| RunError::Start {
                program: call.program,
                cause,
            })?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(RunError::Failed {
                call: Box::new(call.clone()),
                words: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            }),
        }
    }

    fn directory(&mut self, root: &Path, relative: &Path) -> Result<(), RunError> {
        let failed = |cause| RunError::Start {
            program: "mkdir",
            cause,
        };
        let mut path = root.to_owned();
        for part in relative.components() {
            path.push(part);
            match std::fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_dir() => {}
                Ok(_) => {
                    let what = format!("`{}` is in the way", path.display());
                    return Err(failed(std::io::Error::other(what)));
                }
                Err(_) => std::fs::create_dir(&path).map_err(failed)?,
            }
        }
        Ok(())
    }
}
