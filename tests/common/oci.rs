//! The runtime called directly, the way conmon and the containerd shim do: this process is the
//! subreaper, the runtime's stdio is the container's, the pid comes from the pid-file.
//! It must not check what a test is about.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2};
use serde_json::Value;

use super::bundle::Bundle;
use super::command::{Output, cmd, run};
use super::sandbox::Sandbox;
use super::{image, runtime, unique, wait_until};

/// What the tests of one file share.
struct Shared {
    sandbox: Sandbox,
    rootfs: PathBuf,
}

fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        nix::sys::prctl::set_child_subreaper(true).expect("become the subreaper");
        let sandbox = Sandbox::new("cli", "");
        let rootfs = sandbox.path("rootfs");
        image::rootfs(&rootfs);
        Shared { sandbox, rootfs }
    })
}

/// One test's own root of the runtime, and its bundles.
#[derive(Debug)]
pub struct Place {
    pub root: PathBuf,
    pub dir: PathBuf,
    /// Cgroup below which this test's containers live.
    pub cgroup: String,
}

impl Place {
    /// A fresh place.
    pub fn new(test: &str) -> Self {
        let name = unique(test);
        let dir = shared().sandbox.mkdir(&name);
        let cgroup = format!("/{}/{name}", shared().sandbox.name);
        Self {
            root: dir.join("root"),
            dir,
            cgroup,
        }
    }

    /// The root filesystem, the same for all tests of a file: containers don't write to it.
    pub fn rootfs() -> &'static Path {
        &shared().rootfs
    }

    /// The runtime with `--root` and `args`.
    pub fn cmd(&self, args: &[&str]) -> Command {
        let mut command = self.bare();
        command.args(args);
        command
    }

    /// The runtime with `--root` only.
    pub fn bare(&self) -> Command {
        let mut command = cmd(runtime());
        command.arg("--root").arg(&self.root);
        command
    }

    /// Runs the runtime with `args`.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Output {
        run(&mut self.cmd(args))
    }

    /// A bundle for container `id`.
    pub fn bundle(&self, id: &str, args: &[&str], change: impl FnOnce(&mut Value)) -> Bundle {
        let cgroup = format!("{}/{id}", self.cgroup);
        Bundle::new(&self.dir.join(id), Self::rootfs(), &cgroup, args, change)
    }

    /// Creates a container in a bundle of its own.
    #[track_caller]
    pub fn create(
        &self,
        id: &str,
        args: &[&str],
        change: impl FnOnce(&mut Value),
    ) -> Container<'_> {
        self.create_in(id, &self.bundle(id, args, change))
    }

    /// Creates a container that runs a shell script.
    #[track_caller]
    pub fn create_sh(&self, id: &str, script: &str) -> Container<'_> {
        self.create(id, &["sh", "-c", script], |_| ())
    }

    /// Creates a container of `bundle` and starts it.
    #[track_caller]
    pub fn started_sh(&self, id: &str, script: &str) -> Container<'_> {
        let container = self.create_sh(id, script);
        container.start();
        container
    }

    /// conmon's and go-runc's `create`.
    #[track_caller]
    pub fn create_in(&self, id: &str, bundle: &Bundle) -> Container<'_> {
        let pid_file = bundle.path("init.pid");
        let mut command = self.cmd(&["create", "--bundle"]);
        command
            .arg(&bundle.dir)
            .arg("--pid-file")
            .arg(&pid_file)
            .arg(id);
        let streams = Streams::give(&mut command);
        let status = super::command::status(&mut command);
        drop(command);
        if !status.success() {
            panic!("create `{id}`: {status}: {}", streams.stderr.text());
        }
        Container {
            place: self,
            id: id.into(),
            pid: pid_in(&pid_file),
            streams,
            bundle: bundle.clone(),
        }
    }

    /// `state ID` as JSON.
    #[track_caller]
    pub fn state(&self, id: &str) -> Value {
        self.run(&["state", id]).ok().json()
    }

    /// `status` of `state ID`.
    #[track_caller]
    pub fn status(&self, id: &str) -> String {
        self.state(id)["status"]
            .as_str()
            .expect("status is a string")
            .to_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let entries = std::fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .flatten();
        for entry in entries {
            let id = entry.file_name();
            let _ = self.bare().args(["delete", "--force"]).arg(id).output();
        }
    }
}

/// A created container.
#[derive(Debug)]
pub struct Container<'a> {
    place: &'a Place,
    pub id: String,
    pub pid: i32,
    pub streams: Streams,
    pub bundle: Bundle,
}

impl Container<'_> {
    #[track_caller]
    pub fn start(&self) {
        self.place.run(&["start", &self.id]).ok();
    }

    /// The container's first process as the host sees it. In LXC the pid that callers are told is
    /// that of a keeper, which is in all but the pid and user namespaces of the container.
    #[track_caller]
    pub fn init(&self) -> i32 {
        if !super::has_keeper() {
            return self.pid;
        }
        let pids = self
            .place
            .run(&["ps", "--format", "json", &self.id])
            .ok()
            .json();
        let first = pids[0].as_i64().expect("the container has processes");
        i32::try_from(first).expect("a pid")
    }

    /// How the container's process ended, as its subreaper learns it.
    #[track_caller]
    pub fn reap(&self) -> WaitStatus {
        reap(self.pid)
    }

    #[track_caller]
    pub fn kill(&self, signal: &str) -> Output {
        self.place.run(&["kill", &self.id, signal])
    }

    /// Kills, reaps and deletes.
    #[track_caller]
    pub fn remove(self) {
        self.kill("KILL").ok();
        self.reap();
        self.place.run(&["delete", &self.id]).ok();
    }
}

/// The container's standard output and error.
#[derive(Debug)]
pub struct Streams {
    pub stdout: Stream,
    pub stderr: Stream,
}

impl Streams {
    /// Gives pipes to `command`, which keeps their other ends until it is dropped.
    pub fn give(command: &mut Command) -> Self {
        let (stdout, end) = pipe();
        command.stdout(Stdio::from(end));
        let (stderr, end) = pipe();
        command.stderr(Stdio::from(end));
        Self { stdout, stderr }
    }
}

/// The reading end of a pipe, read by a thread until end of file.
#[derive(Debug)]
pub struct Stream(Receiver<Vec<u8>>);

impl Stream {
    /// Everything until end of file, which must come within ten seconds.
    #[track_caller]
    pub fn text(&self) -> String {
        let bytes = self.0.recv_timeout(Duration::from_secs(10));
        let bytes = bytes.expect("no end of file: somebody holds the container's stdio open");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn pipe() -> (Stream, OwnedFd) {
    let (read, write) = pipe2(OFlag::O_CLOEXEC).expect("make a pipe");
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = File::from(read).read_to_end(&mut all);
        let _ = send.send(all);
    });
    (Stream(receive), write)
}

/// The pid in a pid-file, read as strictly as go-runc and conmon-rs do: digits and nothing else.
#[track_caller]
pub fn pid_in(file: &Path) -> i32 {
    let text = std::fs::read_to_string(file)
        .unwrap_or_else(|e| panic!("pid-file {}: {e}", file.display()));
    text.parse()
        .unwrap_or_else(|e| panic!("pid-file holds {text:?}: {e}"))
}

/// Waits at most ten seconds for a child, adopted or own.
#[track_caller]
pub fn reap(pid: i32) -> WaitStatus {
    let mut status = WaitStatus::StillAlive;
    wait_until(&format!("end of process {pid}"), || {
        status = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG))
            .unwrap_or_else(|e| panic!("process {pid} is not this subreaper's child: {e}"));
        status != WaitStatus::StillAlive
    });
    status
}

/// The exit status that `code` gives.
pub fn exited(pid: i32, code: i32) -> WaitStatus {
    WaitStatus::Exited(Pid::from_raw(pid), code)
}
