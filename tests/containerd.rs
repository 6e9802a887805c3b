//! containerd drives the runtime under test for real: a private daemon, `ctr` with
//! `--runc-binary`, and the runtime registered as a handler in the configuration, used through
//! the CRI as kubelet does.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use common::command::{Output, feed, run, start};
use common::cri::{Cri, Message};
use common::lacks::lacks;
use common::sandbox::{Sandbox, mounts_below};
use common::{
    BACKEND_ANNOTATION, alive, backend, backend_flags, cgroup, image, runtime, unique,
    wait_at_most, wait_until,
};
use serde_json::json;

const IMAGE: &str = "pxrun.test/box:1";
const PAUSE: &str = "pxrun.test/pause:1";

struct Containerd {
    sandbox: Sandbox,
    socket: PathBuf,
    /// The runtime's root that ctr passes.
    root: PathBuf,
    _daemon: Child,
}

fn containerd() -> &'static Containerd {
    static CONTAINERD: OnceLock<Containerd> = OnceLock::new();
    CONTAINERD.get_or_init(Containerd::set_up)
}

impl Containerd {
    fn set_up() -> Self {
        let sandbox = Sandbox::new("ctrd", "");
        let config = sandbox.write("config.toml", &configuration(&sandbox));
        network_plugin(&sandbox);
        let log = fs::File::create(sandbox.path("log")).expect("make the daemon's log");
        let mut daemon = sandbox.cmd("containerd");
        daemon
            .arg("--config")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(log);
        let daemon = daemon.spawn().expect("start containerd");
        let this = Self {
            socket: sandbox.path("s"),
            root: sandbox.path("runs"),
            sandbox,
            _daemon: daemon,
        };
        wait_at_most(Duration::from_secs(30), "containerd answers", || {
            this.ctr("default", &["version"])
                .output()
                .is_ok_and(|o| o.status.success())
        });
        this.import();
        this
    }

    fn import(&self) {
        let rootfs = self.sandbox.path("rootfs");
        image::rootfs(&rootfs);
        for (name, dir, command) in [
            (IMAGE, "box", &["sh"][..]),
            (PAUSE, "pause", &["sleep", "1000"]),
        ] {
            let archive = image::oci_archive(&rootfs, &self.sandbox.path(dir), name, command);
            for namespace in ["default", "k8s.io"] {
                run(self.ctr(namespace, &["images", "import"]).arg(&archive)).ok();
            }
        }
    }

    fn ctr(&self, namespace: &str, args: &[&str]) -> Command {
        let mut command = self.sandbox.cmd("ctr");
        command
            .arg("--address")
            .arg(&self.socket)
            .args(["--namespace", namespace])
            .args(args);
        command
    }
}

fn configuration(sandbox: &Sandbox) -> String {
    let path = |name: &str| format!("{:?}", sandbox.path(name));
    let cri = r#"plugins."io.containerd.grpc.v1.cri""#;
    [
        "version = 2".to_owned(),
        format!("root = {}\nstate = {}", path("root"), path("state")),
        format!("[grpc]\naddress = {}", path("s")),
        format!("[{cri}]\nsandbox_image = {PAUSE:?}\ndisable_apparmor = true\nnetns_mounts_under_state_dir = true"),
        // A pause container has -998, which takes CAP_SYS_RESOURCE.
        "restrict_oom_score_adj = true".into(),
        format!("[{cri}.cni]\nbin_dir = {}\nconf_dir = {}", path("cni/bin"), path("cni/conf")),
        format!("[{cri}.containerd]\ndefault_runtime_name = \"under-test\""),
        format!("[{cri}.containerd.runtimes.under-test]\nruntime_type = \"io.containerd.runc.v2\""),
        "pod_annotations = [\"dev.pxrun.*\"]\ncontainer_annotations = [\"dev.pxrun.*\"]".into(),
        format!("[{cri}.containerd.runtimes.under-test.options]"),
        format!("BinaryName = {:?}\nRoot = {}", runtime(), path("handler")),
    ]
    .join("\n")
}

/// A network plugin that says yes to all: pods need one, these tests need no network.
fn network_plugin(sandbox: &Sandbox) {
    let script = r#"#!/bin/sh
cat >/dev/null
case $CNI_COMMAND in
ADD) echo '{"cniVersion":"0.4.0","interfaces":[{"name":"eth0","sandbox":"'$CNI_NETNS'"}],"ips":[{"version":"4","interface":0,"address":"10.99.0.2/24"}]}' ;;
VERSION) echo '{"cniVersion":"0.4.0","supportedVersions":["0.3.1","0.4.0"]}' ;;
esac
"#;
    for name in ["yes", "loopback"] {
        let file = sandbox.write(&format!("cni/bin/{name}"), script);
        run(common::command::cmd("chmod").arg("755").arg(file)).ok();
    }
    let list = json!({"cniVersion": "0.4.0", "name": "pxt", "plugins": [{"type": "yes"}]});
    sandbox.write("cni/conf/10-pxt.conflist", &list.to_string());
}

// --- ctr with --runc-binary ---

fn ctr(args: &[&str]) -> Command {
    containerd().ctr("default", args)
}

#[track_caller]
fn call(args: &[&str]) -> Output {
    run(&mut ctr(args))
}

/// `ctr run` with the runtime under test.
fn ctr_run(id: &str, flags: &[&str], args: &[&str]) -> Command {
    let group = format!("/{}/{id}", containerd().sandbox.name);
    let mut command = ctr(&["run", "--runc-binary"]);
    command
        .arg(runtime())
        .arg("--runc-root")
        .arg(&containerd().root);
    command
        .args(["--cgroup", &group])
        .args(backend_flags())
        .args(flags)
        .args([IMAGE, id])
        .args(args);
    command
}

#[track_caller]
fn once(flags: &[&str], args: &[&str]) -> Output {
    let flags = [&["--rm"], flags].concat();
    run(&mut ctr_run(&unique("c"), &flags, args))
}

/// A detached container, removed when it goes out of scope.
struct Stays(String);

impl Stays {
    #[track_caller]
    fn run(flags: &[&str], script: &str) -> Self {
        let id = unique("c");
        run(&mut ctr_run(
            &id,
            &[&["--detach", "--null-io"], flags].concat(),
            &["sh", "-c", script],
        ))
        .ok();
        Self(id)
    }

    #[track_caller]
    fn exec(&self, args: &[&str]) -> Output {
        self.exec_with(&[], args)
    }

    #[track_caller]
    fn exec_with(&self, flags: &[&str], args: &[&str]) -> Output {
        let exec = unique("e");
        run(ctr(&["tasks", "exec", "--exec-id", &exec])
            .args(flags)
            .arg(&self.0)
            .args(args))
    }

    #[track_caller]
    fn kill(&self, signal: &str) {
        call(&["tasks", "kill", "--signal", signal, &self.0]).ok();
    }

    /// Pid and status of the task.
    #[track_caller]
    fn task(&self) -> (i32, String) {
        let list = call(&["tasks", "ls"]).ok();
        let line = list
            .stdout
            .lines()
            .map(|l| l.split_whitespace().collect::<Vec<_>>())
            .find(|w| w[0] == self.0);
        let words = line.unwrap_or_else(|| panic!("no task {}: {list}", self.0));
        (words[1].parse().expect("a pid"), words[2].to_owned())
    }

    #[track_caller]
    fn until(&self, status: &str) {
        wait_until(status, || self.task().1 == status);
    }
}

impl Drop for Stays {
    fn drop(&mut self) {
        let _ = ctr(&["tasks", "rm", "--force", &self.0]).output();
        let _ = ctr(&["containers", "rm", &self.0]).output();
    }
}

const FOREVER: &str = "exec sleep 300";

#[test]
fn run_prints_and_returns_the_code() {
    let output = once(&[], &["sh", "-c", "echo out; echo err >&2; exit 3"]).exits(3);
    assert_eq!((output.out(), output.stderr.trim()), ("out", "err"));
}

#[test]
fn a_missing_command_is_told() {
    let output = once(&[], &["no-such-command"]).fails();
    assert!(
        output.stderr.contains("executable file not found"),
        "{output}"
    );
    let output = once(&[], &["/bin/not-executable"]).fails();
    assert!(output.stderr.contains("permission denied"), "{output}");
}

#[test]
fn stdin_passes_through() {
    let input = vec![b'y'; 100_000];
    let output = feed(
        &mut ctr_run(&unique("c"), &["--rm"], &["head", "-c", "100000"]),
        &input,
    )
    .ok();
    assert_eq!(output.bytes.len(), input.len());
}

fn in_terminal(command: &Command, size: &str) -> Command {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words
        .map(|w| format!("'{}'", w.to_string_lossy()))
        .collect();
    let mut script = containerd().sandbox.cmd("script");
    script.args([
        "-qec",
        &format!("stty {size}; exec {}", words.join(" ")),
        "/dev/null",
    ]);
    script
}

#[test]
fn tty_of_run_and_exec() {
    let inner = ctr_run(
        &unique("c"),
        &["--rm", "--tty"],
        &["sh", "-c", "tty; sleep 0.5; stty size; exit 5"],
    );
    let output = run(&mut in_terminal(&inner, "rows 33 cols 101")).exits(5);
    assert!(
        output.stdout.contains("/dev/pts/0") && output.stdout.contains("33 101"),
        "{output}"
    );
    let c = Stays::run(&[], FOREVER);
    let exec = unique("e");
    let inner = ctr(&[
        "tasks",
        "exec",
        "--tty",
        "--exec-id",
        &exec,
        &c.0,
        "sh",
        "-c",
        "tty; sleep 0.5; stty size; exit 6",
    ]);
    let output = run(&mut in_terminal(&inner, "rows 34 cols 102")).exits(6);
    assert!(
        output.stdout.contains("/dev/pts/") && output.stdout.contains("34 102"),
        "{output}"
    );
}

#[test]
fn exec_codes_and_streams() {
    let c = Stays::run(&[], FOREVER);
    let output = c
        .exec(&["sh", "-c", "echo out; echo err >&2; exit 42"])
        .exits(42);
    assert_eq!((output.out(), output.stderr.trim()), ("out", "err"));
    assert_eq!(
        c.exec_with(
            &["--cwd", "/tmp", "--user", "user"],
            &["sh", "-c", "pwd; id -u"]
        )
        .ok()
        .stdout,
        "/tmp\n1000\n"
    );
    c.exec(&["sh", "-c", "kill -9 $$"]).exits(137);
    let output = c.exec(&["no-such-command"]).fails();
    assert!(
        output.stderr.contains("executable file not found"),
        "{output}"
    );
    assert_eq!(c.task().1, "RUNNING");
}

#[test]
fn exec_keeps_the_seccomp_filter() {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    });
    let file = containerd()
        .sandbox
        .write("seccomp.json", &profile.to_string());
    let c = Stays::run(
        &["--seccomp", "--seccomp-profile", &file.to_string_lossy()],
        FOREVER,
    );
    c.exec(&["mkdir", "/tmp/no"])
        .fails()
        .says("Operation not permitted");
    assert!(
        c.exec(&["grep", "Seccomp:", "/proc/self/status"])
            .ok()
            .out()
            .ends_with('2')
    );
}

#[test]
fn kill_and_the_exit_code_after_a_signal() {
    let c = Stays::run(
        &[],
        "trap 'exit 12' TERM; touch /tmp/ready; while :; do sleep 0.05; done",
    );
    wait_until("the trap", || {
        c.exec(&["test", "-e", "/tmp/ready"]).code() == 0
    });
    c.kill("SIGTERM");
    c.until("STOPPED");
    call(&["tasks", "rm", &c.0]).ok().says("exit code 12");
    let running = start(&mut ctr_run(
        &unique("killed"),
        &["--rm", "--null-io"],
        &["sleep", "300"],
    ));
    let list = || call(&["tasks", "ls"]).ok().stdout;
    wait_until("it runs", || {
        list()
            .lines()
            .any(|l| l.starts_with("killed") && l.contains("RUNNING"))
    });
    let id = list()
        .lines()
        .find(|l| l.starts_with("killed"))
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .to_owned();
    call(&["tasks", "kill", "--signal", "KILL", &id]).ok();
    running.end().exits(137);
}

#[test]
fn kill_of_a_finished_task_says_so() {
    let c = Stays::run(&[], "exit 0");
    c.until("STOPPED");
    call(&["tasks", "kill", "--signal", "KILL", &c.0])
        .fails()
        .says("process already finished");
}

#[test]
fn kill_all_without_a_pid_namespace_of_its_own() {
    let own = format!("pid:/proc/{}/ns/pid", std::process::id());
    let c = Stays::run(&["--with-ns", &own], "sleep 300 & sleep 300 & wait");
    let (pid, _) = c.task();
    let group = cgroup::dir(pid, "pids").expect("a pids cgroup");
    let count = || {
        fs::read_to_string(group.join("cgroup.procs"))
            .unwrap_or_default()
            .lines()
            .count()
    };
    wait_until("three processes", || count() == 3);
    call(&["tasks", "kill", "--all", "--signal", "KILL", &c.0]).ok();
    c.until("STOPPED");
    wait_until("all are gone", || count() == 0);
}

#[test]
fn pause_and_resume() {
    let c = Stays::run(&[], FOREVER);
    call(&["tasks", "pause", &c.0]).ok();
    assert_eq!(c.task().1, "PAUSED");
    call(&["tasks", "resume", &c.0]).ok();
    assert_eq!(c.task().1, "RUNNING");
    assert_eq!(c.exec(&["echo", "alive"]).ok().out(), "alive");
}

#[test]
fn metrics_and_ps() {
    let c = Stays::run(&[], "sleep 295 & exec sleep 300");
    wait_until("two processes", || {
        call(&["tasks", "ps", &c.0]).ok().stdout.lines().count() == 3
    });
    let pid = c.task().0.to_string();
    let ps = call(&["tasks", "ps", &c.0]).ok();
    assert!(
        ps.stdout
            .lines()
            .any(|l| l.split_whitespace().next() == Some(&pid)),
        "{ps}"
    );
    let metrics = call(&["tasks", "metrics", "--format", "json", &c.0])
        .ok()
        .json();
    assert_eq!(metrics["pids"]["current"].as_u64(), Some(2), "{metrics}");
    let table = call(&["tasks", "metrics", &c.0]).ok();
    assert!(
        table.stdout.contains("pids.current") || table.stdout.contains("cpuacct"),
        "{table}"
    );
}

#[test]
fn limits_reach_the_cgroup() {
    let c = Stays::run(&["--memory-limit", "67108864", "--cpus", "0.5"], FOREVER);
    let (pid, _) = c.task();
    let quota = cgroup::value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max");
    assert!(
        ["50000", "50000 100000"].contains(&quota.as_str()),
        "{quota}"
    );
    if !lacks("memory-controller") {
        assert_eq!(
            cgroup::value(pid, "memory", "memory.limit_in_bytes", "memory.max"),
            "67108864"
        );
    }
}

#[test]
fn namespaces_read_only_mounts_devices_capabilities() {
    let c = Stays::run(&[], FOREVER);
    let net = format!("network:/proc/{}/ns/net", c.task().0);
    let link = fs::read_link(format!("/proc/{}/ns/net", c.task().0)).unwrap();
    let output = once(&["--with-ns", &net], &["readlink", "/proc/self/ns/net"]).ok();
    assert_eq!(output.out(), link.to_string_lossy());
    once(&["--read-only"], &["touch", "/no"])
        .fails()
        .says("Read-only file system");
    let dir = containerd().sandbox.mkdir(&unique("mount"));
    fs::write(dir.join("file"), "seen").unwrap();
    let mount = format!("type=bind,src={},dst=/data,options=rbind:ro", dir.display());
    assert_eq!(
        once(&["--mount", &mount], &["cat", "/data/file"])
            .ok()
            .out(),
        "seen"
    );
    once(&["--device", "/dev/null"], &["test", "-c", "/dev/null"]).ok();
    let output = once(
        &["--cap-drop", "CAP_KILL"],
        &["grep", "CapEff", "/proc/self/status"],
    )
    .ok();
    let bits = u64::from_str_radix(output.out().split_whitespace().last().unwrap(), 16).unwrap();
    assert_eq!(bits >> 5 & 1, 0, "CAP_KILL is still there");
}

#[test]
fn user_namespace() {
    let flags = ["--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"];
    let output = once(&flags, &["cat", "/proc/self/uid_map"]).ok();
    assert_eq!(
        output.stdout.split_whitespace().collect::<Vec<_>>(),
        ["0", "100000", "65536"]
    );
}

#[test]
fn eight_at_once() {
    let running: Vec<_> = (0..8)
        .map(|n| {
            start(&mut ctr_run(
                &unique("many"),
                &["--rm"],
                &["sh", "-c", &format!("sleep 0.2; echo {n}; exit {n}")],
            ))
        })
        .collect();
    for (n, one) in running.into_iter().enumerate() {
        assert_eq!(one.end().exits(n as i32).out(), n.to_string());
    }
}

#[test]
fn five_megabytes_come_out_unchanged() {
    let script =
        "head -c 5242880 /dev/urandom >/dev/shm/d; sha256sum </dev/shm/d >&2; cat /dev/shm/d";
    let output = once(&[], &["sh", "-c", script]).ok();
    assert_eq!(
        Some(image::sha256(&output.bytes).as_str()),
        output.stderr.split_whitespace().next()
    );
}

#[test]
fn a_container_of_a_whole_config() {
    let place = containerd().sandbox.mkdir(&unique("config"));
    let group = format!("/{}/config", containerd().sandbox.name);
    let rootfs = containerd().sandbox.path("rootfs");
    let bundle = common::bundle::Bundle::new(
        &place,
        &rootfs,
        &group,
        &["sh", "-c", "hostname; exit 9"],
        |_| (),
    );
    let config = bundle.path("config.json");
    let mut command = ctr(&["run", "--rm", "--runc-binary"]);
    command
        .arg(runtime())
        .arg("--runc-root")
        .arg(&containerd().root)
        .arg("--config")
        .arg(config);
    let id = unique("c");
    assert_eq!(run(command.arg(id)).exits(9).out(), "inside");
}

#[test]
fn delete_leaves_nothing() {
    let c = Stays::run(&[], FOREVER);
    let (pid, _) = c.task();
    let id = c.0.clone();
    assert!(
        containerd().root.join("default").join(&id).exists(),
        "the runtime's root is not the one that ctr named"
    );
    drop(c);
    assert!(!alive(pid));
    assert!(
        !containerd().root.join("default").join(&id).exists(),
        "the runtime's record stays"
    );
    assert!(cgroup::all_with(&id).is_empty(), "cgroups stay");
    wait_until("mounts are gone", || {
        mounts_below(&containerd().sandbox.dir)
            .iter()
            .all(|m| !m.contains(&id))
    });
}

#[test]
fn a_killed_shim_takes_its_own_container_only() {
    let (one, two) = (Stays::run(&[], FOREVER), Stays::run(&[], FOREVER));
    let (pid, _) = one.task();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let shim: i32 = stat
        .rsplit(") ")
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let name = fs::read_to_string(format!("/proc/{shim}/comm")).unwrap();
    assert!(
        name.starts_with("containerd-shim"),
        "the container's parent is the shim, its subreaper, not {name}"
    );
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(shim),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    // containerd then calls `delete --force` itself.
    wait_until("containerd cleans up", || !alive(pid));
    assert_eq!(two.task().1, "RUNNING");
}

// --- the handler, through the CRI ---

/// NamespaceMode of the CRI.
const POD: u64 = 0;
const CONTAINER: u64 = 1;
const NODE: u64 = 2;

struct Pod {
    cri: Cri,
    id: String,
    config: Message,
    logs: PathBuf,
    containers: Vec<String>,
}

impl Pod {
    /// RunPodSandbox with our handler; None when the machine can't speak the CRI.
    fn run(network: u64, pid: u64) -> Option<Self> {
        if lacks("cri") {
            return None;
        }
        let sandbox = &containerd().sandbox;
        let name = unique("pod");
        let logs = sandbox.mkdir(&format!("{name}-logs"));
        let metadata = Message::new()
            .text(1, &name)
            .text(2, &name)
            .text(3, "default");
        let options = Message::new().number(1, network).number(2, pid);
        let linux = Message::new()
            .text(1, format!("/{}", sandbox.name))
            .message(2, Message::new().message(1, options));
        let mut config = Message::new()
            .message(1, metadata)
            .text(3, logs.to_string_lossy().as_bytes());
        if network != NODE {
            config = config.text(2, "in-a-pod");
        }
        if let Some(backend) = backend() {
            config = config.entry(7, BACKEND_ANNOTATION, &backend);
        }
        let config = config.message(8, linux);
        let cri = Cri {
            socket: containerd().socket.clone(),
        };
        let request = Message::new()
            .message(1, config.clone())
            .text(2, "under-test");
        let id = cri.call("RunPodSandbox", request).text_at(1);
        Some(Self {
            cri,
            id,
            config,
            logs,
            containers: Vec::new(),
        })
    }

    /// CreateContainer and StartContainer.
    #[track_caller]
    fn start(&mut self, name: &str, script: &str, linux: Message) -> String {
        let config = Message::new()
            .message(1, Message::new().text(1, name))
            .message(2, Message::new().text(1, IMAGE))
            .texts(3, &["sh", "-c", script])
            .message(6, Message::new().text(1, "COLOUR").text(2, "green"))
            .text(11, format!("{name}.log"))
            .message(15, linux);
        let config = match backend() {
            Some(backend) => config.entry(10, BACKEND_ANNOTATION, &backend),
            None => config,
        };
        let request = Message::new()
            .text(1, &self.id)
            .message(2, config)
            .message(3, self.config.clone());
        let id = self.cri.call("CreateContainer", request).text_at(1);
        self.containers.push(id.clone());
        self.cri.call("StartContainer", Message::new().text(1, &id));
        id
    }

    /// LinuxContainerConfig that shares the pod's pid namespace or not.
    fn linux(network: u64, pid: u64) -> Message {
        let options = Message::new().number(1, network).number(2, pid);
        Message::new().message(2, Message::new().message(3, options))
    }

    /// State (1 running, 2 exited) and exit code.
    #[track_caller]
    fn status(&self, id: &str) -> (u64, u64) {
        let status = self
            .cri
            .call("ContainerStatus", Message::new().text(1, id))
            .message_at(1);
        (status.number_at(3), status.number_at(7))
    }

    #[track_caller]
    fn exec(&self, id: &str, args: &[&str]) -> (u64, String) {
        let request = Message::new().text(1, id).texts(2, args).number(3, 20);
        let response = self.cri.call("ExecSync", request);
        (response.number_at(3), response.text_at(1))
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.logs.join(format!("{name}.log"))).unwrap_or_default()
    }

    #[track_caller]
    fn pid(&self, id: &str) -> i32 {
        let list = run(&mut containerd().ctr("k8s.io", &["tasks", "ls"])).ok();
        let line = list.stdout.lines().find(|l| l.starts_with(id));
        line.and_then(|l| l.split_whitespace().nth(1))
            .expect("its task")
            .parse()
            .expect("a pid")
    }

    /// StopPodSandbox and RemovePodSandbox, containers first.
    #[track_caller]
    fn remove(&mut self) {
        for id in self.containers.drain(..) {
            self.cri
                .call("StopContainer", Message::new().text(1, &id).number(2, 0));
            self.cri
                .call("RemoveContainer", Message::new().text(1, &id));
        }
        self.cri
            .call("StopPodSandbox", Message::new().text(1, &self.id));
        self.cri
            .call("RemovePodSandbox", Message::new().text(1, &self.id));
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        for method in ["StopPodSandbox", "RemovePodSandbox"] {
            let _ = self
                .cri
                .try_call("RuntimeService", method, Message::new().text(1, &self.id));
        }
    }
}

#[test]
fn a_pod_of_the_registered_handler() {
    let Some(mut pod) = Pod::run(POD, CONTAINER) else {
        return;
    };
    let handler = containerd().sandbox.path("handler/k8s.io");
    assert!(
        handler.join(&pod.id).exists(),
        "the handler's runtime didn't run the sandbox"
    );
    let script = "echo $COLOUR from $(hostname); trap 'exit 0' TERM; while :; do sleep 0.05; done";
    let one = pod.start("one", script, Pod::linux(POD, CONTAINER));
    let two = pod.start("two", "echo error >&2; exit 7", Pod::linux(POD, CONTAINER));
    wait_until("one's log", || {
        pod.log("one").contains("stdout F green from in-a-pod")
    });
    wait_until("two's end", || pod.status(&two) == (2, 7));
    assert!(pod.log("two").contains("stderr F error"));
    let ns = |pid: i32, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
    for kind in ["net", "ipc", "uts"] {
        assert_eq!(
            ns(pod.pid(&pod.id), kind),
            ns(pod.pid(&one), kind),
            "{kind}"
        );
    }
    assert_ne!(ns(pod.pid(&pod.id), "pid"), ns(pod.pid(&one), "pid"));
    assert_eq!(
        pod.exec(&one, &["sh", "-c", "echo $COLOUR; exit 5"]),
        (5, "green\n".into())
    );
    pod.cri
        .call("StopContainer", Message::new().text(1, &one).number(2, 10));
    assert_eq!(pod.status(&one), (2, 0));
    let (ids, pid) = (pod.containers.clone(), pod.pid(&pod.id));
    pod.remove();
    assert!(!alive(pid));
    for id in ids.iter().chain([&pod.id]) {
        assert!(
            !handler.join(id).exists(),
            "the runtime's record of {id} stays"
        );
        assert!(cgroup::all_with(id).is_empty(), "cgroups of {id} stay");
    }
}

#[test]
fn a_pod_that_shares_its_pid_namespace() {
    let Some(mut pod) = Pod::run(POD, POD) else {
        return;
    };
    let one = pod.start("one", "exec sleep 294", Pod::linux(POD, POD));
    let two = pod.start("two", FOREVER, Pod::linux(POD, POD));
    let (code, seen) = pod.exec(&two, &["ps", "-o", "args"]);
    assert_eq!(code, 0);
    for text in ["sleep 1000", "sleep 294", "sleep 300"] {
        assert!(seen.contains(text), "no `{text}` in {seen}");
    }
    pod.cri
        .call("StopContainer", Message::new().text(1, &one).number(2, 0));
    assert_eq!(pod.status(&one), (2, 137));
    assert_eq!(pod.status(&two).0, 1);
    pod.remove();
}

#[test]
fn a_pod_in_the_hosts_network_with_limits_that_change() {
    let Some(mut pod) = Pod::run(NODE, CONTAINER) else {
        return;
    };
    let resources = |memory: u64, quota: u64| {
        Message::new()
            .number(1, 100_000)
            .number(2, quota)
            .number(3, 512)
            .number(4, memory)
    };
    let linux = Message(
        [
            Message::new().message(1, resources(64 << 20, 50_000)).0,
            Pod::linux(NODE, CONTAINER).0,
        ]
        .concat(),
    );
    let one = pod.start("one", FOREVER, linux);
    let pid = pod.pid(&one);
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(fs::read_link(format!("/proc/{pid}/ns/net")).unwrap(), own);
    let quota = || cgroup::value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max");
    assert!(["50000", "50000 100000"].contains(&quota().as_str()));
    // The shim's `update --resources=-`.
    let update = Message::new()
        .text(1, &one)
        .message(2, resources(96 << 20, 25_000));
    pod.cri.call("UpdateContainerResources", update);
    assert!(
        ["25000", "25000 100000"].contains(&quota().as_str()),
        "{}",
        quota()
    );
    if !lacks("memory-controller") {
        assert_eq!(
            cgroup::value(pid, "memory", "memory.limit_in_bytes", "memory.max"),
            (96 << 20).to_string()
        );
    }
    let stats = pod
        .cri
        .call("ContainerStats", Message::new().text(1, &one))
        .message_at(1);
    assert!(!stats.bytes_at(2).is_empty(), "no cpu figures");
    pod.remove();
}

#[test]
fn pods_at_once() {
    if lacks("cri") {
        return;
    }
    let threads: Vec<_> = (0..3)
        .map(|n| {
            std::thread::spawn(move || {
                let mut pod = Pod::run(POD, CONTAINER).expect("the CRI is there");
                let id = pod.start("one", &format!("exit {n}"), Pod::linux(POD, CONTAINER));
                wait_until("its end", || pod.status(&id) == (2, n));
                pod.remove();
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("a pod's whole life");
    }
}
