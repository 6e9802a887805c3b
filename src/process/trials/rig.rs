//! The rig: this test binary started once more, as the child that stands in the sandbox.
//! It must not use `fork`: the child begins as a fresh process with one test, ignored otherwise.

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::Pid;
use oci_spec::runtime::{Linux, LinuxSeccomp, Process};
use serde_json::{Value, json};

use crate::process::{Options, Setup};
use crate::seccomp::Program;
use crate::seccomp::notify::Listener;

/// Where the child finds its [`Trial`].
const VARIABLE: &str = "PXRUN_TRIAL";
/// Between what the test harness prints and what the user's process does.
const MARK: &str = "\n=====\n";

/// One trial: a process object, and what stands around it.
pub struct Trial {
    pub process: Value,
    pub linux: Value,
    pub init: bool,
    pub userns: bool,
    pub preserve_fds: u32,
    pub listen_fds: u32,
    /// Words for the child, see `spoil`.
    pub spoil: Vec<&'static str>,
    /// A shell line that starts the child, `exec "$@"` at its end.
    pub shell: &'static str,
    pub root: tempfile::TempDir,
}

impl Trial {
    /// Root in `/` with no capabilities, running busybox with `args`.
    pub fn new(args: &[&str]) -> Self {
        let mut all = vec!["/bin/busybox"];
        all.extend(args);
        Self {
            process: json!({
                "user": {"uid": 0, "gid": 0}, "cwd": "/", "args": all, "env": ["PATH=/bin"],
            }),
            linux: json!({}),
            init: true,
            userns: false,
            preserve_fds: 0,
            listen_fds: 0,
            spoil: Vec::new(),
            shell: "exec \"$@\"",
            root: root(),
        }
    }

    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.process[field] = value;
        self
    }

    pub fn linux(mut self, field: &str, value: Value) -> Self {
        self.linux[field] = value;
        self
    }

    /// Runs the trial and returns what the process printed, or the chain of errors.
    pub fn run(&self) -> String {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", self.shell, "sh"]);
        if self.userns {
            command.args(["unshare", "-U", "--map-root-user"]);
        }
        let name = "process::trials::rig::child";
        command.arg(std::env::current_exe().unwrap());
        command.args([
            "--exact",
            name,
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ]);
        command.env(VARIABLE, self.description());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        // The child says that it stands in its namespaces, and waits for the host's side.
        let head = read_to(&mut out, "\n-----\n");
        let setup = setup(&serde_json::from_str(&self.description()).unwrap());
        // The harness runs tests on a thread, and priorities belong to threads.
        let thread = head.lines().rev().find_map(|line| line.parse().ok());
        let thread = Pid::from_raw(thread.unwrap_or(child.id() as i32));
        let helped = setup.and_then(|setup| setup.from_host(thread));
        let mut stdin = child.stdin.take().unwrap();
        let _ = stdin.write_all(if helped.is_ok() { b"y" } else { b"n" });
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        let mut errors = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut errors)
            .unwrap();
        child.wait().unwrap();
        if let Err(error) = helped {
            return chain(&error);
        }
        match rest.split_once(MARK) {
            Some((_, printed)) => printed.to_owned() + &errors,
            None => panic!("the child never came to its process: {head}{rest}{errors}"),
        }
    }

    /// Runs the trial and reads `field` of the `/proc/self/status` that it printed.
    pub fn status(&self, field: &str) -> String {
        let printed = self.run();
        let line = printed
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        match line {
            Some(value) => value.trim().to_owned(),
            None => panic!("no {field} in {printed}"),
        }
    }

    fn description(&self) -> String {
        json!({
            "process": self.process, "linux": self.linux, "init": self.init,
            "userns": self.userns, "root": self.root.path(), "spoil": self.spoil,
            "preserve": self.preserve_fds, "listen": self.listen_fds,
        })
        .to_string()
    }
}

fn read_to(out: &mut impl Read, end: &str) -> String {
    let mut bytes = Vec::new();
    let mut one = [0];
    while !bytes.ends_with(end.as_bytes()) && out.read(&mut one).unwrap() == 1 {
        bytes.push(one[0]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A root file system: busybox, a passwd file, some traps.
fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    for directory in ["bin", "etc", "proc", "dev", "tmp", "rooms"] {
        fs::create_dir(path.join(directory)).unwrap();
    }
    crate::sys::forked::copy_program("/bin/busybox".as_ref(), &path.join("bin/busybox"));
    symlink("busybox", path.join("bin/env")).unwrap();
    fs::write(
        path.join("etc/passwd"),
        "root:x:0:0::/root:\nu:x:1000:1000::/home/u:\n",
    )
    .unwrap();
    fs::write(path.join("bin/garbage"), "no program").unwrap();
    for (name, mode) in [("", 0o755), ("bin/garbage", 0o755), ("tmp", 0o777)] {
        fs::set_permissions(path.join(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    root
}

fn setup(trial: &Value) -> Result<Setup, crate::process::ProcessError> {
    let process: Process = serde_json::from_value(trial["process"].clone()).unwrap();
    let linux: Linux = serde_json::from_value(trial["linux"].clone()).unwrap();
    let seccomp: Option<LinuxSeccomp> = linux.seccomp().clone();
    let path = seccomp
        .as_ref()
        .and_then(|seccomp| seccomp.listener_path().clone());
    let options = Options {
        init: trial["init"] == true,
        userns: trial["userns"] == true,
        preserve_fds: trial["preserve"].as_u64().unwrap() as u32,
        listen_fds: trial["listen"].as_u64().unwrap() as u32,
        id: format!("trial-{}", std::process::id()),
        seccomp: seccomp.as_ref().map(Program::compile).transpose()?,
        listener: path.map(|path| Listener::connect(&path)).transpose()?,
        ..Options::default()
    };
    Setup::new(&process, &trial["process"], Some(&linux), options)
}

/// What the sandbox would have done, and what a careless caller leaves behind.
fn stand_in_the_sandbox(root: &Path, userns: bool) {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let flags = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).unwrap();
    let proc = root.join("proc");
    let bound = MsFlags::MS_BIND | MsFlags::MS_REC;
    match userns {
        true => mount(Some("/proc"), &proc, None::<&str>, bound, None::<&str>).unwrap(),
        false => mount(
            Some("proc"),
            &proc,
            Some("proc"),
            MsFlags::empty(),
            None::<&str>,
        )
        .unwrap(),
    }
    nix::unistd::chroot(root).unwrap();
    std::env::set_current_dir("/").unwrap();
}

fn spoil(word: &str) {
    use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
    match word {
        "block" => {
            let mut set = SigSet::empty();
            set.add(Signal::SIGUSR1);
            sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None).unwrap();
        }
        "leak" => {
            let host = fs::File::open("/").unwrap();
            nix::unistd::dup2(std::os::fd::AsRawFd::as_raw_fd(&host), 9).unwrap();
        }
        "pin" => {
            let mut set = nix::sched::CpuSet::new();
            set.set(0).unwrap();
            nix::sched::sched_setaffinity(Pid::from_raw(0), &set).unwrap();
        }
        other => panic!("{other}"),
    }
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Not a test: the process of a trial.
#[test]
#[ignore = "the child of the other trials"]
fn child() {
    let Ok(description) = std::env::var(VARIABLE) else {
        return;
    };
    let trial: Value = serde_json::from_str(&description).unwrap();
    let root = Path::new(trial["root"].as_str().unwrap());
    let setup = setup(&trial).unwrap_or_else(|error| refuse(&error));
    for word in trial["spoil"].as_array().unwrap() {
        spoil(word.as_str().unwrap());
    }
    setup.pin_before_cgroup().unwrap();
    stand_in_the_sandbox(root, trial["userns"] == true);
    say(&format!("\n{}\n-----\n", nix::unistd::gettid()));
    let mut answer = [0];
    std::io::stdin().read_exact(&mut answer).unwrap();
    let mut ready = setup.prepare().unwrap_or_else(|error| refuse(&error));
    if ready.wants_container_state() {
        ready.container_state(json!({"a": "state"}));
    }
    say(MARK);
    let error = ready.exec();
    say(&chain(&error));
    std::process::exit(1);
}

fn refuse(error: &crate::process::ProcessError) -> ! {
    say("\n-----\n");
    say(MARK);
    say(&chain(error));
    std::process::exit(1)
}

fn say(text: &str) {
    nix::unistd::write(std::io::stdout(), text.as_bytes()).unwrap();
}
