//! Runs OCI hooks: programs of the bundle's author that get the state on standard input. Knows
//! neither when a hook's turn is nor what its failure means.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use oci_spec::runtime::Hook;
use serde_json::Value;

use crate::sys::clone::pidfd_open;

/// How much of a hook's output is kept for the error message, in bytes.
const KEPT_OUTPUT: usize = 4096;

/// A hook failed. Which one, and how, stands first.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// It could not be started, fed or waited for.
    #[error("{stage} hook #{index} `{path}`: {what}")]
    Run {
        /// `prestart`, `createRuntime` …
        stage: &'static str,
        /// Position in the list, from 0.
        index: usize,
        /// The program.
        path: String,
        /// What was tried.
        what: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It ended with another status than 0.
    #[error("{stage} hook #{index} `{path}`: {status}{}", output_suffix(output))]
    Failed {
        /// `prestart`, `createRuntime` …
        stage: &'static str,
        /// Position in the list, from 0.
        index: usize,
        /// The program.
        path: String,
        /// How it ended.
        status: ExitStatus,
        /// The first bytes that it wrote.
        output: String,
    },
    /// It ran longer than its `timeout`.
    #[error("{stage} hook #{index} `{path}`: still running after its timeout of {seconds} s")]
    TimedOut {
        /// `prestart`, `createRuntime` …
        stage: &'static str,
        /// Position in the list, from 0.
        index: usize,
        /// The program.
        path: String,
        /// Its `timeout`.
        seconds: i64,
    },
}

fn output_suffix(output: &str) -> String {
    match output.trim() {
        "" => String::new(),
        text => format!(", output: {}", text.replace('\n', " | ")),
    }
}

/// Runs the hooks of one stage in order and stops at the first that fails.
///
/// `state` is what they read on standard input. `environment` is used for hooks that name none;
/// without it they get pxrun's own.
///
/// # Errors
/// [`HookError`], with the stage, position and path of the hook.
pub fn run_all(
    stage: &'static str,
    hooks: Option<&Vec<Hook>>,
    state: &Value,
    environment: Option<&[String]>,
) -> Result<(), HookError> {
    for (index, hook) in hooks.into_iter().flatten().enumerate() {
        run(stage, index, hook, state, environment)?;
    }
    Ok(())
}

/// Runs the hooks of one stage, all of them whatever fails, with a warning for each failure
/// (runtime.md, "Lifecycle": poststop).
pub fn run_all_warning(stage: &'static str, hooks: Option<&Vec<Hook>>, state: &Value) {
    for (index, hook) in hooks.into_iter().flatten().enumerate() {
        if let Err(error) = run(stage, index, hook, state, None) {
            let cause =
                std::error::Error::source(&error).map_or(String::new(), |c| format!(": {c}"));
            tracing::warn!("{error}{cause}");
        }
    }
}

fn run(
    stage: &'static str,
    index: usize,
    hook: &Hook,
    state: &Value,
    environment: Option<&[String]>,
) -> Result<(), HookError> {
    let path = hook.path().display().to_string();
    let failed = |what| {
        let path = path.clone();
        move |source| HookError::Run {
            stage,
            index,
            path,
            what,
            source,
        }
    };
    let mut child = command(hook, environment)
        .spawn()
        .map_err(failed("start"))?;
    let deadline = hook
        .timeout()
        .map(|seconds| Instant::now() + Duration::from_secs(seconds.max(0) as u64));
    let outcome = attend(&mut child, state.to_string().as_bytes(), deadline);
    match outcome {
        Ok(Some((status, _))) if status.success() => Ok(()),
        Ok(Some((status, output))) => Err(HookError::Failed {
            stage,
            index,
            path,
            status,
            output,
        }),
        Ok(None) => {
            end(&mut child);
            Err(HookError::TimedOut {
                stage,
                index,
                path,
                seconds: hook.timeout().unwrap_or(0),
            })
        }
        Err(source) => {
            end(&mut child);
            Err(failed("wait")(source))
        }
    }
}

fn command(hook: &Hook, environment: Option<&[String]>) -> Command {
    let mut command = Command::new(hook.path());
    if let Some((name, rest)) = hook.args().as_ref().and_then(|args| args.split_first()) {
        command.arg0(name).args(rest);
    }
    if let Some(variables) = hook.env().as_deref().or(environment) {
        command.env_clear();
        command.envs(variables.iter().filter_map(|v| v.split_once('=')));
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Feeds the hook, drains its output and waits for its end; `None` when the deadline came first.
/// Output is drained to the end of the process, not of the pipe: a hook may leave a daemon behind
/// that keeps the pipe open.
fn attend(
    child: &mut Child,
    input: &[u8],
    deadline: Option<Instant>,
) -> std::io::Result<Option<(ExitStatus, String)>> {
    let pidfd = pidfd_open(child.id() as i32)?;
    let mut stdin = child.stdin.take();
    let mut outputs: Vec<Box<dyn Pipe>> = Vec::new();
    outputs.extend(child.stdout.take().map(|o| Box::new(o) as Box<dyn Pipe>));
    outputs.extend(child.stderr.take().map(|o| Box::new(o) as Box<dyn Pipe>));
    for fd in outputs
        .iter()
        .map(|o| o.as_fd())
        .chain(stdin.iter().map(|s| s.as_fd()))
    {
        fcntl(fd.as_raw_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    let mut written = 0;
    let mut kept = Vec::new();
    loop {
        if written == input.len() {
            stdin = None;
        }
        let Some(ready) = wait_for_any(pidfd.as_fd(), stdin.as_ref(), &outputs, deadline)? else {
            return Ok(None);
        };
        if let Some(pipe) = stdin.as_mut() {
            match pipe.write(&input[written..]) {
                Ok(n) => written += n,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                // A hook need not read its input.
                Err(_) => written = input.len(),
            }
        }
        outputs.retain_mut(|pipe| drain(pipe.as_mut(), &mut kept));
        if ready {
            let status = child.wait()?;
            return Ok(Some((status, String::from_utf8_lossy(&kept).into_owned())));
        }
    }
}

trait Pipe: Read + AsFd {}
impl<T: Read + AsFd> Pipe for T {}

/// Reads what is there; false once the pipe has ended.
fn drain(pipe: &mut dyn Pipe, kept: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return false,
            Ok(n) => {
                let room = KEPT_OUTPUT.saturating_sub(kept.len()).min(n);
                kept.extend_from_slice(&buffer[..room]);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return true,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

/// Sleeps until something happens. `Some(true)`: the process has ended; `None`: deadline.
fn wait_for_any(
    pidfd: BorrowedFd<'_>,
    stdin: Option<&std::process::ChildStdin>,
    outputs: &[Box<dyn Pipe>],
    deadline: Option<Instant>,
) -> std::io::Result<Option<bool>> {
    let mut fds = vec![PollFd::new(pidfd, PollFlags::POLLIN)];
    fds.extend(stdin.map(|s| PollFd::new(s.as_fd(), PollFlags::POLLOUT)));
    fds.extend(
        outputs
            .iter()
            .map(|o| PollFd::new(o.as_fd(), PollFlags::POLLIN)),
    );
    loop {
        let timeout = match deadline.map(|d| d.saturating_duration_since(Instant::now())) {
            None => PollTimeout::NONE,
            Some(left) if left.is_zero() => return Ok(None),
            Some(left) => {
                PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
            }
        };
        match poll(&mut fds, timeout) {
            Ok(0) | Err(Errno::EINTR) => continue,
            Ok(_) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(Some(fds[0].any().unwrap_or(false)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::HookBuilder;
    use serde_json::json;

    fn shell(script: &str) -> Hook {
        HookBuilder::default()
            .path("/bin/sh")
            .args(vec!["sh".into(), "-c".into(), script.into()])
            .build()
            .unwrap()
    }

    fn outcome(hook: Hook) -> Result<(), HookError> {
        run_all("prestart", Some(&vec![hook]), &json!({"id": "x"}), None)
    }

    #[test]
    fn the_state_arrives_on_standard_input() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state");
        outcome(shell(&format!("cat > {}", file.display()))).unwrap();
        assert_eq!(std::fs::read_to_string(file).unwrap(), r#"{"id":"x"}"#);
    }

    #[test]
    fn a_failure_names_the_hook_and_what_it_said() {
        let error = outcome(shell("echo no; echo luck >&2; exit 3")).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("prestart hook #0 `/bin/sh`: exit status: 3, output: "),
            "{text}"
        );
        assert!(text.contains("no") && text.contains("luck"), "{text}");
    }

    #[test]
    fn a_timeout_ends_the_hook() {
        let mut hook = shell("sleep 100");
        hook.set_timeout(Some(1));
        let begun = Instant::now();
        let error = outcome(hook).unwrap_err();
        assert!(
            matches!(error, HookError::TimedOut { seconds: 1, .. }),
            "{error}"
        );
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_hook_that_reads_nothing_and_writes_much_is_fine() {
        outcome(shell("exec 0<&-; head -c 1000000 /dev/zero")).unwrap();
    }

    #[test]
    fn a_daemon_that_keeps_the_pipe_does_not_hold_us_up() {
        let begun = Instant::now();
        outcome(shell("sleep 30 & exit 0")).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn the_environment_is_the_hooks_own() {
        let mut hook = shell("test \"$A\" = 1 && test -z \"$HOME\"");
        hook.set_env(Some(vec!["A=1".into()]));
        outcome(hook).unwrap();
        let missing = HookBuilder::default().path("/no/such").build().unwrap();
        let error = outcome(missing).unwrap_err();
        assert_eq!(error.to_string(), "prestart hook #0 `/no/such`: start");
    }
}
