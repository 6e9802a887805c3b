//! A process that is set up and waits for `start`: only the filter and `execve` are left.
//! It must not do anything that can fail for a reason known at `create`.

use std::sync::Arc;

use serde_json::Value;

use super::{ProcessError, Reason};
use crate::seccomp::notify::{self, Listener};
use crate::seccomp::{Program, SeccompError};
use crate::sys::process::{Image, reset_signals};

/// What [`super::Setup::prepare`] leaves to do.
#[derive(Debug)]
pub struct Ready {
    pub(super) image: Image,
    pub(super) environment: Vec<String>,
    pub(super) seccomp: Option<Program>,
    pub(super) listener: Option<Arc<Listener>>,
    pub(super) state: Value,
}

impl Ready {
    /// The final environment, `NAME=value` in order: startContainer hooks may want it.
    #[must_use]
    pub fn environment(&self) -> &[String] {
        &self.environment
    }

    /// Whether [`Ready::container_state`] must be called before [`Ready::exec`].
    #[must_use]
    pub fn wants_container_state(&self) -> bool {
        self.seccomp.as_ref().is_some_and(Program::notifies)
    }

    /// Gives the ContainerProcessState (config-linux.md) that the seccomp agent gets with its
    /// descriptor; see [`notify::container_process_state`].
    pub fn container_state(&mut self, state: Value) {
        self.state = state;
    }

    /// Resets the signals, loads the filter and executes the user's process.
    ///
    /// Comes back only with the reason why not. With a filter in place the process may be unable to
    /// report it: nothing between the filter and execve(2) makes another system call, so a profile
    /// may deny whatever it likes, capset(2) too (see `Sets::apply`); but execve(2) itself can fail.
    #[must_use]
    pub fn exec(self) -> ProcessError {
        // Rust ignores SIGPIPE, and a caller may ignore SIGHUP: both would outlive execve(2).
        reset_signals();
        if let Err(error) = self.filter() {
            return error.into();
        }
        let reason = Reason(self.image.exec());
        let path = self.image.path().to_string_lossy().into_owned();
        ProcessError::Exec(path, reason)
    }

    fn filter(&self) -> Result<(), SeccompError> {
        match (&self.seccomp, &self.listener) {
            (None, _) => Ok(()),
            (Some(program), Some(listener)) if program.notifies() => {
                notify::load_and_send(program, listener, &self.state)
            }
            (Some(program), _) if program.notifies() => Err(SeccompError::NoListener),
            (Some(program), _) => program.load().map(drop),
        }
    }
}
