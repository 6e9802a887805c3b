//! podman drives the runtime under test for real: a private storage, a private configuration,
//! conmon from the distribution. Everything runs without a network unless a test is about one.

mod common;

/// The tests, a file a topic.
mod podman {
    mod exec;
    mod leftovers;
    mod life;
    mod limits;
    mod namespaces;
    mod options;
    mod security;
    mod volumes;
}

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use common::command::{Output, feed, run, sh, start};
use common::image::sha256;
use common::lacks::lacks;
use common::sandbox::Sandbox;
use common::{
    alive, backend_flags, cgroup, image, init_of, keepers, runc_differs, runtime, runtime_name,
    unique, wait_until,
};
use serde_json::{Value, json};

struct Podman {
    sandbox: Sandbox,
    flags: Vec<String>,
    conf: PathBuf,
}

/// The image that all tests use.
const IMAGE: &str = "pxrun.test/box:1";

fn podman() -> &'static Podman {
    static PODMAN: OnceLock<Podman> = OnceLock::new();
    PODMAN.get_or_init(Podman::set_up)
}

impl Podman {
    fn set_up() -> Self {
        let last_words = "env CONTAINERS_CONF={dir}/containers.conf $(cat {dir}/podman) rm --all --force --time 0";
        let sandbox = Sandbox::new("podman", last_words);
        let conf = sandbox.write("containers.conf", &configuration(&sandbox));
        sandbox.write("networks/pxt.json", &network(&sandbox).to_string());
        let path = |name: &str| sandbox.path(name).to_string_lossy().into_owned();
        let driver = if has_overlay() { "overlay" } else { "vfs" };
        let flags = [
            "--root",
            &path("root"),
            "--runroot",
            &path("runroot"),
            "--tmpdir",
            &path("tmp"),
        ];
        let more = [
            "--storage-driver",
            driver,
            "--cgroup-manager",
            "cgroupfs",
            "--events-backend",
            "file",
        ];
        let flags: Vec<String> = flags.iter().chain(&more).map(|f| (*f).to_owned()).collect();
        sandbox.write("podman", &format!("podman {}", flags.join(" ")));
        let podman = Self {
            sandbox,
            flags,
            conf,
        };
        let rootfs = podman.sandbox.path("rootfs");
        image::rootfs(&rootfs);
        let archive = podman.sandbox.path("image.tar");
        image::tar(&rootfs, &archive);
        run(podman.cmd(&["import", "--quiet"]).arg(&archive).arg(IMAGE)).ok();
        podman
    }

    fn cmd(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.cmd("podman");
        command
            .env("CONTAINERS_CONF", &self.conf)
            .args(&self.flags)
            .args(args);
        command
    }
}

/// callers.md §3: without our name in `runtime_supports_json` podman sees no error texts.
fn configuration(sandbox: &Sandbox) -> String {
    let name = runtime_name();
    let lines = [
        "[containers]".to_owned(),
        // Machines without CAP_SYS_RESOURCE can't raise the limits that podman wants by default.
        r#"default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]"#.into(),
        r#"log_driver = "k8s-file""#.into(),
        r#"init_path = "/usr/bin/tini-static""#.into(),
        "[engine]".into(),
        format!("runtime = {name:?}"),
        format!("runtime_supports_json = [{name:?}]"),
        // Semaphores in shared memory would be those of the machine's own podman.
        r#"lock_type = "file""#.into(),
        "[engine.runtimes]".into(),
        format!("{name} = [{:?}]", runtime()),
        "[network]".into(),
        r#"network_backend = "netavark""#.into(),
        r#"default_network = "pxt""#.into(),
        format!("network_config_dir = {:?}", sandbox.path("networks")),
    ];
    lines.join("\n")
}

fn network(sandbox: &Sandbox) -> Value {
    json!({
        "name": "pxt", "id": sha256(sandbox.name.as_bytes()), "driver": "bridge",
        "network_interface": format!("pxt{}", std::process::id() % 100_000),
        "created": "2024-01-01T00:00:00Z",
        "subnets": [{"subnet": "10.213.77.0/24", "gateway": "10.213.77.1"}],
        "ipv6_enabled": false, "internal": true, "dns_enabled": false, "ipam_options": {"driver": "host-local"},
    })
}

fn has_overlay() -> bool {
    fs::read_to_string("/proc/filesystems").is_ok_and(|f| f.contains("overlay"))
}

/// Runs podman with `args`.
#[track_caller]
fn call(args: &[&str]) -> Output {
    run(&mut podman().cmd(args))
}

/// `podman run` or `create` with what every container gets.
fn container(verb: &str, flags: &[&str], args: &[&str]) -> Command {
    let parent = format!("/{}", podman().sandbox.name);
    let mut command = podman().cmd(&[verb, "--cgroup-parent", &parent]);
    if !flags
        .iter()
        .any(|f| f.starts_with("--net") || f.starts_with("--pod"))
    {
        command.arg("--network=none");
    }
    command
        .args(backend_flags())
        .args(flags)
        .arg(IMAGE)
        .args(args);
    command
}

/// `podman run --rm`.
#[track_caller]
fn once(flags: &[&str], args: &[&str]) -> Output {
    let flags: Vec<&str> = ["--rm"].iter().chain(flags).copied().collect();
    run(&mut container("run", &flags, args))
}

/// A container that stays; removed when it goes out of scope.
struct Stays {
    name: String,
    id: String,
}

impl Stays {
    /// `podman run --detach`.
    #[track_caller]
    fn run(flags: &[&str], script: &str) -> Self {
        Self::make("run", &[&["--detach"], flags].concat(), script)
    }

    #[track_caller]
    fn make(verb: &str, flags: &[&str], script: &str) -> Self {
        let name = unique("c");
        let flags = [&["--name", name.as_str()], flags].concat();
        let output = run(&mut container(verb, &flags, &["sh", "-c", script])).ok();
        let id = output.out().to_owned();
        Self { name, id }
    }

    #[track_caller]
    fn inspect(&self, what: &str) -> String {
        call(&[
            "inspect",
            "--format",
            &format!("{{{{{what}}}}}"),
            &self.name,
        ])
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
        run(podman()
            .cmd(&["exec"])
            .args(flags)
            .arg(&self.name)
            .args(args))
    }

    #[track_caller]
    fn call(&self, args: &[&str]) -> Output {
        run(podman().cmd(args).arg(&self.name))
    }

    #[track_caller]
    fn wait(&self) -> String {
        self.call(&["wait"]).ok().out().to_owned()
    }

    #[track_caller]
    fn logs(&self) -> String {
        self.call(&["logs"]).ok().stdout
    }

    /// Waits until the log has `text`.
    #[track_caller]
    fn until(&self, text: &str) {
        wait_until(text, || self.logs().contains(text));
    }
}

impl Drop for Stays {
    fn drop(&mut self) {
        let _ = podman()
            .cmd(&["rm", "--force", "--time", "0", &self.name])
            .output();
    }
}

const FOREVER: &str = "exec sleep 300";
