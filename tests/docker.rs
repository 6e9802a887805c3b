//! Docker drives the runtime under test for real: a private daemon with the runtime registered
//! by `pxrun setup docker`, through containerd's shim. No bridge, no packet filter, no network.

mod common;

/// The tests, a file a topic.
mod docker {
    mod commands;
    mod isolation;
    mod life;
}

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use common::command::{Output, feed, run, start};
use common::lacks::lacks;
use common::sandbox::{Sandbox, mounts_below};
use common::{
    alive, cgroup, image, keepers, runtime, set_default_backend, setup, unique, wait_at_most,
    wait_until,
};
use serde_json::json;

const IMAGE: &str = "pxrun.test/box:1";
const FOREVER: &str = "exec sleep 300";

struct Docker {
    sandbox: Sandbox,
    socket: PathBuf,
    _daemon: Child,
}

/// The distribution's client first: machines may have a stand-in of that name on the PATH.
fn client() -> &'static str {
    let own = "/usr/bin/docker";
    if Path::new(own).exists() {
        own
    } else {
        "docker"
    }
}

fn docker() -> &'static Docker {
    static DOCKER: OnceLock<Docker> = OnceLock::new();
    DOCKER.get_or_init(Docker::set_up)
}

impl Docker {
    fn set_up() -> Self {
        let sandbox = Sandbox::new("dock", "");
        let settings = json!({"deprecated-key-path": sandbox.path("key.json")});
        let config = sandbox.write("etc/docker/daemon.json", &settings.to_string());
        setup("docker", &sandbox);
        let socket = sandbox.path("s");
        // vfs copies each container's files: it works everywhere, slowly.
        let overlay = fs::read_to_string("/proc/filesystems").is_ok_and(|f| f.contains("overlay"));
        let driver = if overlay { "overlay2" } else { "vfs" };
        let log = fs::File::create(sandbox.path("log")).expect("make the daemon's log");
        let mut daemon = sandbox.cmd("dockerd");
        // Docker before 24 passes no annotations, and commands by its API never do.
        set_default_backend(&mut daemon, &sandbox);
        daemon
            .arg("--config-file")
            .arg(config)
            .arg("--data-root")
            .arg(sandbox.path("data"));
        daemon
            .arg("--exec-root")
            .arg(sandbox.path("exec"))
            .arg("--pidfile")
            .arg(sandbox.path("pid"));
        daemon
            .arg("--host")
            .arg(format!("unix://{}", socket.display()));
        daemon.args([
            "--default-runtime=pxrun",
            "--iptables=false",
            "--ip6tables=false",
            "--bridge=none",
        ]);
        daemon.args([
            "--storage-driver",
            driver,
            "--cgroup-parent",
            &format!("/{}", sandbox.name),
        ]);
        daemon.args(["--init-path", "/usr/bin/tini-static"]);
        let daemon = daemon
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("start dockerd");
        let this = Self {
            sandbox,
            socket,
            _daemon: daemon,
        };
        wait_at_most(Duration::from_secs(40), "dockerd answers", || {
            this.cmd(&["version"])
                .output()
                .is_ok_and(|o| o.status.success())
        });
        let rootfs = this.sandbox.path("rootfs");
        image::rootfs(&rootfs);
        let archive = this.sandbox.path("image.tar");
        image::tar(&rootfs, &archive);
        run(this.cmd(&["import"]).arg(&archive).arg(IMAGE)).ok();
        this
    }

    fn cmd(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.cmd(client());
        command
            .arg("--host")
            .arg(format!("unix://{}", self.socket.display()));
        command
            .env("DOCKER_CONFIG", self.sandbox.path("client"))
            .args(args);
        command
    }
}

#[track_caller]
fn call(args: &[&str]) -> Output {
    run(&mut docker().cmd(args))
}

fn container(verb: &str, flags: &[&str], args: &[&str]) -> Command {
    let mut command = docker().cmd(&[verb]);
    if !flags.iter().any(|f| f.starts_with("--net")) {
        command.arg("--network=none");
    }
    command.args(flags).arg(IMAGE).args(args);
    command
}

#[track_caller]
fn once(flags: &[&str], args: &[&str]) -> Output {
    run(&mut container("run", &[&["--rm"], flags].concat(), args))
}

/// A detached container, removed when it goes out of scope.
struct Stays(String);

impl Stays {
    #[track_caller]
    fn run(flags: &[&str], script: &str) -> Self {
        let output = run(&mut container(
            "run",
            &[&["--detach"], flags].concat(),
            &["sh", "-c", script],
        ))
        .ok();
        Self(output.out().to_owned())
    }

    #[track_caller]
    fn inspect(&self, what: &str) -> String {
        call(&["inspect", "--format", &format!("{{{{{what}}}}}"), &self.0])
            .ok()
            .out()
            .to_owned()
    }

    #[track_caller]
    fn pid(&self) -> i32 {
        self.inspect(".State.Pid").parse().expect("a pid")
    }

    #[track_caller]
    fn exec(&self, flags: &[&str], args: &[&str]) -> Output {
        run(docker().cmd(&["exec"]).args(flags).arg(&self.0).args(args))
    }

    #[track_caller]
    fn call(&self, args: &[&str]) -> Output {
        run(docker().cmd(args).arg(&self.0))
    }

    #[track_caller]
    fn wait(&self) -> String {
        self.call(&["wait"]).ok().out().to_owned()
    }

    #[track_caller]
    fn until(&self, text: &str) {
        wait_until(text, || self.call(&["logs"]).stdout.contains(text));
    }
}

impl Drop for Stays {
    fn drop(&mut self) {
        let _ = docker()
            .cmd(&["rm", "--force", "--volumes", &self.0])
            .output();
    }
}
