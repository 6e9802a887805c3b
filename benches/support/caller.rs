//! One runtime, called the way conmon and the containerd shim call it: this process is the
//! subreaper, the pid comes from the pid-file, the init is reaped here.
//! It must not judge what it is told: times and failures go back as they are.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::Result;

/// A runtime with a root of its own.
#[derive(Debug, Clone)]
pub struct Caller {
    /// For tables.
    pub name: String,
    /// The executable.
    pub path: PathBuf,
    /// `--root`.
    pub root: PathBuf,
    /// pxrun's `--config`.
    pub config: Option<PathBuf>,
}

/// What a call took.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    /// From before the fork to after the wait.
    pub wall: Duration,
    /// Processor time of the runtime and of what it waited for, however busy the machine is.
    pub cpu: Duration,
}

/// A container that was created; its init is a child of this process.
#[derive(Debug)]
pub struct Container<'a> {
    caller: &'a Caller,
    /// Its name.
    pub id: String,
    /// Its init.
    pub pid: Pid,
}

/// Makes orphans of the runtime children of this process, as conmon does.
///
/// # Errors
/// Those of prctl(2).
pub fn become_subreaper() -> Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// Reaps every orphan that has ended, as conmon and the shim do: LXC leaves its monitor to them.
/// Not while a container's own end is still to be asked for.
pub fn reap_orphans() {
    let flags = Some(WaitPidFlag::WNOHANG);
    while waitpid(None, flags).is_ok_and(|status| status != WaitStatus::StillAlive) {}
}

impl Caller {
    /// `path` with a root below `place`.
    pub fn new(name: &str, path: &Path, place: &Path) -> Caller {
        Caller {
            name: name.to_owned(),
            path: path.to_owned(),
            root: place.join(format!("root-{}", name.replace(' ', "-"))),
            config: None,
        }
    }

    /// The command line of one call.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command.arg("--root").arg(&self.root);
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        command.args(args);
        command
    }

    /// Calls the runtime and says what it took.
    ///
    /// # Errors
    /// It fails; with what it wrote on standard error.
    pub fn call(&self, args: &[&str]) -> Result<Took> {
        run(&mut self.command(args))
    }

    /// `create`, and who the init is.
    ///
    /// # Errors
    /// The runtime's.
    pub fn create(&self, id: &str, bundle: &Path) -> Result<(Container<'_>, Took)> {
        let pid_file = self.pid_file(id);
        let took = run(&mut self.create_command(id, bundle))?;
        let pid = std::fs::read_to_string(&pid_file)?;
        std::fs::remove_file(&pid_file)?;
        let container = Container {
            caller: self,
            id: id.to_owned(),
            pid: Pid::from_raw(pid.trim().parse()?),
        };
        Ok((container, took))
    }

    /// The command of [`Caller::create`].
    pub fn create_command(&self, id: &str, bundle: &Path) -> Command {
        let mut command = self.command(&["create", "--bundle"]);
        command
            .arg(bundle)
            .arg("--pid-file")
            .arg(self.pid_file(id))
            .arg(id);
        command
    }

    /// The container that [`Caller::create_command`] has made.
    ///
    /// # Errors
    /// It has made none.
    pub fn adopt(&self, id: &str) -> Result<Container<'_>> {
        let pid = std::fs::read_to_string(self.pid_file(id))?;
        Ok(Container {
            caller: self,
            id: id.to_owned(),
            pid: Pid::from_raw(pid.trim().parse()?),
        })
    }

    fn pid_file(&self, id: &str) -> PathBuf {
        self.root.with_extension(format!("{id}.pid"))
    }
}

impl Container<'_> {
    /// `start`.
    ///
    /// # Errors
    /// The runtime's.
    pub fn start(&self) -> Result<Took> {
        self.caller.call(&["start", &self.id])
    }

    /// `state`.
    ///
    /// # Errors
    /// The runtime's.
    pub fn state(&self) -> Result<Took> {
        self.caller.call(&["state", &self.id])
    }

    /// `exec` in the foreground.
    ///
    /// # Errors
    /// The runtime's, or the command's own failure.
    pub fn exec(&self, command: &[&str]) -> Result<Took> {
        self.caller.call(&[&["exec", &self.id], command].concat())
    }

    /// `kill`.
    ///
    /// # Errors
    /// The runtime's.
    pub fn signal(&self, signal: &str) -> Result<Took> {
        self.caller.call(&["kill", &self.id, signal])
    }

    /// Ends the init without the runtime, and reaps it.
    ///
    /// # Errors
    /// There is no such child.
    pub fn end(&self) -> Result<()> {
        kill(self.pid, Signal::SIGKILL)?;
        self.reap()
    }

    /// Waits for the init's end.
    ///
    /// # Errors
    /// There is no such child.
    pub fn reap(&self) -> Result<()> {
        waitpid(self.pid, None)?;
        Ok(())
    }

    /// `delete`.
    ///
    /// # Errors
    /// The runtime's.
    pub fn delete(&self) -> Result<Took> {
        self.caller.call(&["delete", &self.id])
    }
}

/// Runs a command without a standard input and output. Its standard error is a file: a pipe would
/// be held open by the container.
fn run(command: &mut Command) -> Result<Took> {
    let mut said = tempfile::tempfile()?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said.try_clone()?);
    let (begun, used) = (Instant::now(), children_used()?);
    let status = command.status()?;
    let took = Took {
        wall: begun.elapsed(),
        cpu: children_used()? - used,
    };
    match status.success() {
        true => Ok(took),
        false => Err(format!("{command:?}: {status}: {}", all_of(&mut said)).into()),
    }
}

/// Processor time of all children that were waited for, with theirs.
fn children_used() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let [user, system] = [usage.user_time(), usage.system_time()]
        .map(|time| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000));
    Ok(user + system)
}

fn all_of(file: &mut File) -> String {
    use std::io::Seek;
    let mut text = String::new();
    let _ = file.rewind();
    let _ = file.read_to_string(&mut text);
    text.trim_end().to_owned()
}
