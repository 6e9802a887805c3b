//! From "the sandbox stands" to the user's process: sets it up, reports, waits for `start`, executes.
//! Must not touch mounts or namespaces, nor know who made them.

use std::convert::Infallible;
use std::fs::File;
use std::os::unix::net::UnixListener;

use oci_spec::runtime::{Hooks, Spec};
use serde_json::Value;

use super::channel::{ChannelError, End, Report};
use crate::process::Setup;
use crate::seccomp::notify::container_process_state;
use crate::state::may_go_on;
use crate::sys::clone::exit_now;

/// The container's first process before it is the user's.
pub struct Waiting<'a> {
    /// The configuration.
    pub spec: &'a Spec,
    /// The user's process.
    pub setup: &'a Setup,
    /// For the state on a hook's standard input; `status` and `pid` are filled in here.
    pub state: Value,
    /// This process's pid as the host sees it.
    pub pid: i32,
    /// The command's end of the conversation is elsewhere.
    pub channel: End,
    /// `start` knocks here.
    pub listener: UnixListener,
    /// The waiting lock, which execve lets go.
    pub lock: File,
}

impl Waiting<'_> {
    /// Runs to the execve. Once `start` has knocked a failure goes to `start` and ends the process.
    ///
    /// # Errors
    /// What fails before that; it is for the command that makes the container.
    pub fn run(self) -> anyhow::Result<Infallible> {
        let mut ready = self.setup.prepare()?;
        if ready.wants_container_state() {
            ready.container_state(container_process_state(
                &self.state,
                self.pid,
                self.listener_metadata(),
            ));
        }
        self.channel.send(&Report::Ready)?;
        match self.channel.await_go() {
            // The command was killed between the last thing that it had to do and its last word.
            Err(ChannelError::Closed) if may_go_on(&self.lock) => {}
            other => drop(other?),
        }
        drop(self.channel);

        let knock = accept(&self.listener)?;
        drop(self.listener);
        let outcome = start_hooks(self.spec.hooks().as_ref(), &self.state, ready.environment())
            .and_then(|()| Ok(knock.send(&Report::Executing)?))
            .and_then(|()| Err(ready.exec().into()));
        if let Err(error) = &outcome {
            knock.fail(&crate::error::one_line(error));
            // The failure is told: nobody waits on the other channel any more.
            exit_now(1);
        }
        outcome
    }

    fn listener_metadata(&self) -> Option<&str> {
        let linux = self.spec.linux().as_ref();
        let filter = linux.and_then(|l| l.seccomp().as_ref());
        filter.and_then(|f| f.listener_metadata().as_deref())
    }
}

fn accept(listener: &UnixListener) -> anyhow::Result<End> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => return Ok(End::from(std::os::fd::OwnedFd::from(stream))),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn start_hooks(hooks: Option<&Hooks>, state: &Value, environment: &[String]) -> anyhow::Result<()> {
    let hooks = hooks.and_then(|h| h.start_container().as_ref());
    let state = with_status(state, "created", std::process::id());
    crate::hooks::run_all("startContainer", hooks, &state, Some(environment))?;
    Ok(())
}

/// The pid is the one that init sees: these hooks run in the container's namespaces (runtime.md,
/// "State").
pub fn with_status(state: &Value, status: &str, pid: u32) -> Value {
    let mut state = state.clone();
    state["status"] = status.into();
    state["pid"] = pid.into();
    state
}
