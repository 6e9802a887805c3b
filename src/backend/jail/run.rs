//! The one place through which commands of the host are run. It must not know which.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::hooks::Hook;

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
    /// A hook didn't do it.
    #[error("hook `{path}`: {why}")]
    Hook {
        /// The program.
        path: String,
        /// Why.
        why: String,
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
    /// Runs a hook with `state` on its standard input: on the host, or in the jail of that number.
    ///
    /// # Errors
    /// It can't be started, fails or takes longer than it may.
    fn hook(&mut self, hook: &Hook, state: &str, jail: Option<i32>) -> Result<(), RunError>;
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

    fn hook(&mut self, hook: &Hook, state: &str, jail: Option<i32>) -> Result<(), RunError> {
        let failed = |why: String| RunError::Hook {
            path: hook.path.clone(),
            why,
        };
        let mut command = match jail {
            // jexec(8) names the program by its path: the hook's own argv[0] is lost in the jail.
            Some(jid) => {
                let mut command = Command::new("/usr/sbin/jexec");
                command.arg(jid.to_string()).arg(&hook.path);
                command
            }
            None => {
                use std::os::unix::process::CommandExt;
                let mut command = Command::new(&hook.path);
                command.arg0(hook.args.first().unwrap_or(&hook.path));
                command
            }
        };
        let env = hook.env.iter().filter_map(|text| text.split_once('='));
        let mut child = command
            .args(hook.args.iter().skip(1))
            .env_clear()
            .envs(env)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|cause| failed(cause.to_string()))?;
        if let Some(mut input) = child.stdin.take() {
            // A hook need not read it: the pipe holds more than a state.
            let _ = input.write_all(state.as_bytes());
        }
        let limit = hook.timeout.map(Duration::from_secs);
        match wait(&mut child, limit) {
            Ok(Some(status)) if status.success() => Ok(()),
            Ok(Some(status)) => Err(failed(status.to_string())),
            Ok(None) => Err(failed("it took longer than its `timeout`".to_owned())),
            Err(cause) => Err(failed(cause.to_string())),
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

/// `None` when the time was up and it was killed. There is no pidfd to wait with here.
fn wait(
    child: &mut Child,
    limit: Option<Duration>,
) -> std::io::Result<Option<std::process::ExitStatus>> {
    let Some(limit) = limit else {
        return child.wait().map(Some);
    };
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
