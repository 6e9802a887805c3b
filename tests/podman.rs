//! podman drives the runtime under test for real: a private storage, a private configuration,
//! conmon from the distribution. Everything runs without a network unless a test is about one.

mod common;

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
    alive, backend_flags, cgroup, image, runc_differs, runtime, runtime_name, unique, wait_until,
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

// --- run ---

#[test]
fn run_prints_and_returns_the_code() {
    let output = once(&[], &["sh", "-c", "echo out; echo err >&2; exit 3"]).exits(3);
    assert_eq!((output.out(), output.stderr.trim()), ("out", "err"));
    once(&[], &["true"]).ok();
}

/// callers.md §3: by the runtime's texts alone.
#[test]
fn missing_is_127_and_not_executable_126() {
    once(&[], &["no-such-command"]).exits(127);
    once(&[], &["/no/such/command"]).exits(127);
    once(&[], &["/bin/not-executable"]).exits(126);
    once(&[], &["/etc"]).exits(126);
}

#[test]
fn exec_missing_is_127_and_not_executable_126() {
    let c = Stays::run(&[], FOREVER);
    c.exec(&[], &["no-such-command"]).exits(127);
    c.exec(&[], &["/no/such/command"]).exits(127);
    c.exec(&[], &["/bin/not-executable"]).exits(126);
    assert_eq!(c.exec(&[], &["echo", "still"]).ok().out(), "still");
}

#[test]
fn a_missing_working_directory_is_no_success() {
    once(&["--workdir", "/no/such/directory"], &["true"]).fails();
}

#[test]
fn stdin_passes_through() {
    let input: Vec<u8> = (0..200_000_u32).flat_map(|n| n.to_le_bytes()).collect();
    let output = feed(
        &mut container("run", &["--rm", "--interactive"], &["cat"]),
        &input,
    )
    .ok();
    assert!(
        output.bytes == input,
        "{} of {} bytes",
        output.bytes.len(),
        input.len()
    );
}

#[test]
fn ten_megabytes_come_out_unchanged() {
    let script = "i=0; while [ $i -lt 10 ]; do head -c 1048576 /dev/urandom; i=$((i+1)); done >/dev/shm/d; sha256sum </dev/shm/d >&2; cat /dev/shm/d";
    let output = once(&[], &["sh", "-c", script]).ok();
    assert_eq!(output.bytes.len(), 10 << 20);
    let told = output.stderr.split_whitespace().next().unwrap();
    assert_eq!(sha256(&output.bytes), told);
}

#[test]
fn tty_has_the_callers_size() {
    let podman = podman();
    let mut inner = container(
        "run",
        &["--rm", "--tty", "--interactive"],
        &["sh", "-c", "sleep 0.3; tty; stty size; exit 5"],
    );
    let line: Vec<_> = inner
        .get_args()
        .map(|a| format!("'{}'", a.to_string_lossy()))
        .collect();
    let line = format!("stty rows 33 cols 101; exec podman {}", line.join(" "));
    let mut script = podman.sandbox.cmd("script");
    script
        .env("CONTAINERS_CONF", &podman.conf)
        .args(["-qec", &line, "/dev/null"]);
    let output = run(&mut script).exits(5);
    assert!(output.stdout.contains("/dev/pts/0\r\n"), "{output}");
    assert!(output.stdout.contains("33 101"), "{output}");
    // Without a terminal of the caller's, it is one all the same.
    run(inner.env("NOTHING", ""))
        .exits(5)
        .says("/dev/pts/0\r\n");
}

#[test]
fn hostname_user_workdir_environment_and_groups() {
    let script = "hostname; id -u; id -g; id -G; pwd; echo $COLOUR; umask";
    let flags = [
        "--hostname",
        "named",
        "--user",
        "user",
        "--workdir",
        "/tmp",
        "--env",
        "COLOUR=green",
        "--group-add",
        "2000",
        "--umask",
        "0077",
    ];
    let output = once(&flags, &["sh", "-c", script]).ok();
    assert_eq!(
        output.stdout,
        "named\n1000\n1000\n1000 2000\n/tmp\ngreen\n0077\n"
    );
}

#[test]
fn init_reaps_and_passes_signals() {
    let c = Stays::run(
        &["--init"],
        "trap 'exit 21' TERM; (sleep 0.1 &) ; echo ready; while :; do sleep 0.05; done",
    );
    c.until("ready");
    let first = c.exec(&[], &["cat", "/proc/1/comm"]).ok().stdout;
    assert!(
        ["podman-init", "tini-static", "init"].contains(&first.trim()),
        "{first}"
    );
    c.call(&["stop", "--time", "10"]).ok();
    assert_eq!(c.wait(), "21");
}

#[test]
fn read_only_with_tmpfs_that_copies_up() {
    let script = "touch /etc/no 2>&1; touch /tmp/yes /run/yes && echo writable; stat -c '%U %a' /copyup/file; cat /copyup/file; touch /copyup/yes && echo copied";
    let output = once(
        &["--read-only", "--tmpfs", "/copyup"],
        &["sh", "-c", script],
    )
    .ok();
    for text in [
        "Read-only file system",
        "writable",
        "user 640",
        "copied up",
        "copied",
    ] {
        assert!(output.stdout.contains(text), "no `{text}`: {output}");
    }
}

#[test]
fn tmpfs_options_and_shm_size() {
    let script = "grep -E ' (/data|/dev/shm) ' /proc/mounts";
    let output = once(
        &[
            "--tmpfs",
            "/data:size=1m,mode=700,noexec",
            "--shm-size",
            "2m",
        ],
        &["sh", "-c", script],
    )
    .ok();
    let line = |place: &str| {
        output
            .stdout
            .lines()
            .find(|l| l.contains(place))
            .unwrap_or_default()
            .to_owned()
    };
    assert!(
        line(" /data ").contains("noexec") && line(" /data ").contains("size=1024k"),
        "{output}"
    );
    assert!(line(" /dev/shm ").contains("size=2048k"), "{output}");
}

#[test]
fn devices() {
    let script = "stat -c '%F %t:%T' /dev/mynull; echo x >/dev/mynull && echo written; cat /dev/mynull && echo read";
    let output = once(
        &["--device", "/dev/null:/dev/mynull:rw"],
        &["sh", "-c", script],
    )
    .ok();
    assert_eq!(output.stdout, "character special file 1:3\nwritten\nread\n");
    // A node that the container makes itself is not allowed by the device rules.
    let script = "mknod /tmp/kmsg c 1 11 && head -c1 /tmp/kmsg";
    once(&["--cap-add", "MKNOD"], &["sh", "-c", script])
        .fails()
        .says("Operation not permitted");
}

#[test]
fn sysctl_and_ulimit() {
    let script = "cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_default_ttl; ulimit -n; awk '/Max processes/ {print $3, $4}' /proc/self/limits";
    let flags = [
        "--sysctl",
        "kernel.msgmax=12345",
        "--sysctl",
        "net.ipv4.ip_default_ttl=33",
        "--ulimit",
        "nofile=512:512",
        "--ulimit",
        "nproc=900:900",
    ];
    assert_eq!(
        once(&flags, &["sh", "-c", script]).ok().stdout,
        "12345\n33\n512\n900 900\n"
    );
}

#[test]
fn preserved_descriptors() {
    let podman = podman();
    let file = podman.sandbox.write("preserved", "kept");
    let inner = container(
        "run",
        &["--rm", "--preserve-fds", "1"],
        &["sh", "-c", "cat <&3"],
    );
    let words: Vec<_> = inner
        .get_args()
        .map(|a| format!("'{}'", a.to_string_lossy()))
        .collect();
    let line = format!("exec 3<{}; exec podman {}", file.display(), words.join(" "));
    let output = run(sh(&line)
        .env("CONTAINERS_CONF", &podman.conf)
        .env(common::sandbox::MARK, &podman.sandbox.dir))
    .ok();
    assert_eq!(output.out(), "kept");
}

#[test]
fn oom_score_adj_and_cgroup_namespace() {
    let output = once(
        &["--oom-score-adj", "500", "--cgroupns", "private"],
        &[
            "sh",
            "-c",
            "cat /proc/self/oom_score_adj; cat /proc/self/cgroup",
        ],
    );
    let output = output.ok();
    assert_eq!(output.stdout.lines().next(), Some("500"));
    assert!(
        !output.stdout.contains(&podman().sandbox.name),
        "the host's path shows: {output}"
    );
    let output = once(&["--cgroupns", "host"], &["cat", "/proc/self/cgroup"]).ok();
    assert!(output.stdout.contains(&podman().sandbox.name), "{output}");
}

#[test]
fn masked_and_read_only_paths() {
    let script = "cat /proc/kcore | head -c1 | wc -c; echo 1 >/proc/sys/kernel/dmesg_restrict; ls /sys/firmware | wc -l";
    let output = once(&[], &["sh", "-c", script]);
    assert!(
        output.stdout.starts_with("0\n") && output.all().contains("Read-only file system"),
        "{output}"
    );
    assert_eq!(output.stdout, "0\n0\n");
    let output = once(
        &["--privileged"],
        &[
            "sh",
            "-c",
            "grep -c ' /proc/sys ' /proc/mounts; grep CapEff /proc/self/status",
        ],
    );
    assert!(output.stdout.starts_with("0\n"), "{output}");
}

// --- security ---

#[test]
fn capabilities_dropped_and_added() {
    let show = [
        "sh",
        "-c",
        "grep -E 'Cap(Eff|Bnd|Prm)' /proc/self/status | tr -d '\\t'",
    ];
    let none = once(&["--cap-drop", "all"], &show).ok();
    assert_eq!(
        none.stdout,
        "CapPrm:0000000000000000\nCapEff:0000000000000000\nCapBnd:0000000000000000\n"
    );
    let one = once(&["--cap-drop", "all", "--cap-add", "net_admin"], &show).ok();
    assert_eq!(
        one.stdout,
        "CapPrm:0000000000001000\nCapEff:0000000000001000\nCapBnd:0000000000001000\n"
    );
    let flags = [
        "--cap-drop",
        "all",
        "--cap-add",
        "net_admin",
        "--user",
        "1000",
    ];
    let ambient = once(&flags, &["grep", "CapAmb", "/proc/self/status"]).ok();
    assert!(ambient.stdout.ends_with("1000\n"), "{ambient}");
}

#[test]
fn no_new_privileges() {
    let show = ["grep", "NoNewPrivs", "/proc/self/status"];
    assert_eq!(
        once(&["--security-opt", "no-new-privileges"], &show)
            .ok()
            .stdout,
        "NoNewPrivs:\t1\n"
    );
    assert_eq!(once(&[], &show).ok().stdout, "NoNewPrivs:\t0\n");
}

fn no_mkdir() -> String {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    });
    let file = podman()
        .sandbox
        .write(&unique("seccomp"), &profile.to_string());
    format!("seccomp={}", file.display())
}

#[test]
fn seccomp_holds_in_run_and_in_exec() {
    let profile = no_mkdir();
    once(&["--security-opt", &profile], &["mkdir", "/tmp/no"])
        .fails()
        .says("Operation not permitted");
    let c = Stays::run(&["--security-opt", &profile], FOREVER);
    c.exec(&[], &["mkdir", "/tmp/no"])
        .fails()
        .says("Operation not permitted");
    c.exec(&["--user", "1000"], &["mkdir", "/tmp/no"])
        .fails()
        .says("Operation not permitted");
    assert!(
        c.exec(&[], &["grep", "Seccomp:", "/proc/self/status"])
            .ok()
            .stdout
            .ends_with("2\n")
    );
    // podman's own profile is a filter too; unconfined is none.
    let show = ["grep", "Seccomp:", "/proc/self/status"];
    assert!(once(&[], &show).ok().stdout.ends_with("2\n"));
    assert!(
        once(&["--security-opt", "seccomp=unconfined"], &show)
            .ok()
            .stdout
            .ends_with("0\n")
    );
}

// --- namespaces ---

#[test]
fn user_namespace_with_a_given_map() {
    let map = ["--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536"];
    let output = once(&map, &["sh", "-c", "cat /proc/self/uid_map /proc/self/gid_map; id -u; touch /root/mine && stat -c %u /root/mine"]).ok();
    let words: Vec<_> = output.stdout.split_whitespace().collect();
    assert_eq!(
        words,
        ["0", "100000", "65536", "0", "200000", "65536", "0", "0"]
    );
    let c = Stays::run(&map, FOREVER);
    let status = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap();
    assert!(status.contains("Uid:\t100000\t"), "{status}");
    assert_eq!(
        c.exec(&["--user", "1000"], &["id", "-u"]).ok().out(),
        "1000"
    );
}

#[test]
fn user_namespace_auto() {
    if lacks("subuid") {
        return;
    }
    let output = once(&["--userns", "auto"], &["cat", "/proc/self/uid_map"]).ok();
    assert_ne!(
        output.stdout.split_whitespace().nth(1),
        Some("0"),
        "{output}"
    );
}

#[test]
fn namespaces_of_another_container() {
    let first = Stays::run(
        &["--hostname", "first", "--ipc", "shareable"],
        "exec sleep 298",
    );
    let peer = format!("container:{}", first.name);
    let ns = |pid: i32, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
    for (flag, kind) in [
        ("--pid", "pid"),
        ("--network", "net"),
        ("--ipc", "ipc"),
        ("--uts", "uts"),
    ] {
        if flag == "--uts" {
            continue;
        }
        let second = Stays::run(&[flag, &peer], FOREVER);
        let same = ns(first.pid(), kind) == ns(second.pid(), kind);
        assert!(same, "{flag}: not the same {kind} namespace");
        let other = if kind == "pid" { "ipc" } else { "pid" };
        assert_ne!(
            ns(first.pid(), other),
            ns(second.pid(), other),
            "{flag} gave {other} too"
        );
        if flag == "--pid" {
            let seen = second.exec(&[], &["ps", "-o", "args"]).ok();
            assert!(
                seen.stdout.contains("sleep 298") && seen.stdout.contains("sleep 300"),
                "{seen}"
            );
            second.call(&["stop", "--time", "0"]).ok();
            assert!(alive(first.pid()));
        }
    }
}

#[test]
fn the_hosts_pid_namespace() {
    let c = Stays::run(&["--pid", "host"], "sleep 300 & exec sleep 300");
    let pid = c.pid();
    let own = fs::read_link("/proc/self/ns/pid").unwrap();
    assert_eq!(fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap(), own);
    c.exec(
        &[],
        &["test", "-d", &format!("/proc/{}", std::process::id())],
    )
    .ok();
    let group = cgroup::dir(pid, "pids").expect("a pids cgroup");
    c.call(&["stop", "--time", "0"]).ok();
    // No init of a pid namespace takes the others with it: the runtime must.
    wait_until("all processes are gone", || {
        fs::read_to_string(group.join("cgroup.procs"))
            .unwrap_or_default()
            .is_empty()
    });
}

#[test]
fn host_network_and_uts() {
    let output = once(
        &["--network", "host", "--uts", "host"],
        &[
            "sh",
            "-c",
            "readlink /proc/self/ns/net; readlink /proc/self/ns/uts",
        ],
    )
    .ok();
    let own = |kind: &str| {
        fs::read_link(format!("/proc/self/ns/{kind}"))
            .unwrap()
            .to_string_lossy()
            .into_owned()
    };
    assert_eq!(
        output.stdout.lines().collect::<Vec<_>>(),
        [own("net"), own("uts")]
    );
}

#[test]
fn bridge_network() {
    if lacks("bridge") {
        return;
    }
    let server = Stays::run(
        &["--network", "pxt"],
        "echo hello >/tmp/index; exec httpd -f -p 80 -h /tmp",
    );
    let address = server.inspect(".NetworkSettings.Networks.pxt.IPAddress");
    assert!(address.starts_with("10.213.77."), "{address}");
    let url = format!("http://{address}/index");
    let fetch =
        format!("for i in 1 2 3 4 5 6 7 8; do wget -qO- {url} && exit 0; sleep 0.2; done; exit 1");
    assert_eq!(
        once(&["--network", "pxt"], &["sh", "-c", &fetch])
            .ok()
            .out(),
        "hello"
    );
}

#[test]
fn pods() {
    let name = unique("pod");
    let parent = format!("/{}", podman().sandbox.name);
    let infra = ["--infra-image", IMAGE, "--infra-command", "/bin/sleep 300"];
    // No default network: the infra container would get the bridge.
    let create = [
        "pod",
        "create",
        "--name",
        &name,
        "--network",
        "none",
        "--share",
        "net,ipc,uts,pid",
        "--cgroup-parent",
        &parent,
    ];
    run(podman().cmd(&create).args(infra)).ok();
    let flags = ["--pod", name.as_str()];
    let one = Stays::run(&flags, "exec sleep 299");
    let two = Stays::run(&flags, FOREVER);
    for kind in ["net", "ipc", "uts", "pid"] {
        let ns = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert_eq!(ns(one.pid()), ns(two.pid()), "{kind}");
    }
    let seen = two.exec(&[], &["ps", "-o", "args"]).ok();
    assert!(seen.stdout.contains("sleep 299"), "{seen}");
    assert_eq!(two.exec(&[], &["hostname"]).ok().out(), name);
    call(&["pod", "stop", "--time", "0", &name]).ok();
    call(&["pod", "start", &name]).ok();
    assert_eq!(one.inspect(".State.Status"), "running");
    call(&["pod", "rm", "--force", "--time", "0", &name]).ok();
    call(&["container", "exists", &one.id]).exits(1);
}

// --- limits ---

#[test]
fn memory_pids_and_cpu_limits_reach_the_cgroup() {
    let flags = [
        "--memory",
        "64m",
        "--pids-limit",
        "50",
        "--cpus",
        "0.5",
        "--cpu-shares",
        "512",
        "--cpuset-cpus",
        "0",
    ];
    let c = Stays::run(&flags, FOREVER);
    let pid = c.pid();
    if !lacks("memory-controller") {
        assert_eq!(
            cgroup::value(pid, "memory", "memory.limit_in_bytes", "memory.max"),
            "67108864"
        );
    }
    assert_eq!(cgroup::value(pid, "pids", "pids.max", "pids.max"), "50");
    assert_eq!(
        cgroup::value(pid, "cpuset", "cpuset.cpus", "cpuset.cpus"),
        "0"
    );
    let quota = cgroup::value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max");
    assert!(
        ["50000", "50000 100000"].contains(&quota.as_str()),
        "{quota}"
    );
    // kernel.org, cgroup-v2: shares 2..262144 are mapped to weights 1..10000.
    let shares = cgroup::value(pid, "cpu", "cpu.shares", "cpu.weight");
    assert!(["512", "20", "59"].contains(&shares.as_str()), "{shares}");
    let bomb = c.exec(
        &[],
        &[
            "sh",
            "-c",
            "i=0; while [ $i -lt 80 ]; do sleep 5 & i=$((i+1)); done",
        ],
    );
    assert!(
        bomb.all().contains("can't fork"),
        "the pids limit holds nobody: {bomb}"
    );
}

#[test]
fn the_memory_limit_kills() {
    if lacks("memory-controller") {
        return;
    }
    let grow = "x=0123456789; while :; do x=$x$x; done";
    let c = Stays::run(&["--memory", "16m", "--memory-swap", "16m"], grow);
    // `.State.OOMKilled` is conmon's, which hears nothing from cgroup v1 on Linux 6.18.
    assert_eq!(c.wait(), "137");
}

#[test]
fn update_of_a_running_container() {
    let c = Stays::run(&["--cpu-shares", "512"], FOREVER);
    call(&["update", "--cpus", "0.25", &c.name]).ok();
    let quota = cgroup::value(c.pid(), "cpu", "cpu.cfs_quota_us", "cpu.max");
    assert!(
        ["25000", "25000 100000"].contains(&quota.as_str()),
        "{quota}"
    );
    if !lacks("memory-controller") {
        call(&["update", "--memory", "96m", &c.name]).ok();
        assert_eq!(
            cgroup::value(c.pid(), "memory", "memory.limit_in_bytes", "memory.max"),
            "100663296"
        );
    }
}

// --- volumes ---

#[test]
fn volumes() {
    let sandbox = &podman().sandbox;
    let dir = sandbox.mkdir(&unique("volume"));
    fs::write(dir.join("file"), "content\n").unwrap();
    let at = |options: &str| format!("{}:/data{options}", dir.display());
    let output = once(
        &["--volume", &at(":ro")],
        &["sh", "-c", "cat /data/file; touch /data/no"],
    )
    .fails();
    assert!(
        output.stdout == "content\n" && output.stderr.contains("Read-only"),
        "{output}"
    );
    for options in [
        "",
        ":rw",
        ":Z",
        ":z",
        ":rprivate",
        ":rslave",
        ":nosuid,nodev,noexec",
    ] {
        let name = unique("file");
        once(
            &["--volume", &at(options)],
            &["touch", &format!("/data/{name}")],
        )
        .ok();
        assert!(dir.join(&name).exists(), "{options}");
    }
    let output = once(
        &["--volume", &at(":noexec,nodev")],
        &["grep", " /data ", "/proc/mounts"],
    )
    .ok();
    assert!(
        output.stdout.contains("noexec") && output.stdout.contains("nodev"),
        "{output}"
    );
    let file = format!("{}:/etc/one-file:ro", dir.join("file").display());
    assert_eq!(
        once(&["--volume", &file], &["cat", "/etc/one-file"])
            .ok()
            .out(),
        "content"
    );
}

#[test]
fn a_shared_volume_shows_the_containers_mounts_to_the_host() {
    let sandbox = &podman().sandbox;
    let dir = sandbox.mkdir(&unique("shared"));
    run(sh("mount --bind \"$0\" \"$0\" && mount --make-rshared \"$0\"").arg(&dir)).ok();
    let volume = format!("{}:/data:rshared", dir.display());
    fs::create_dir(dir.join("sub")).unwrap();
    let mount = [
        "sh",
        "-c",
        "mount -t tmpfs inner /data/sub && echo seen >/data/sub/file",
    ];
    once(
        &[
            "--volume",
            &volume,
            "--cap-add",
            "SYS_ADMIN",
            "--security-opt",
            "seccomp=unconfined",
        ],
        &mount,
    )
    .ok();
    let seen = fs::read_to_string(dir.join("sub/file"));
    run(sh("umount -l \"$0/sub\" 2>/dev/null; umount -l \"$0\"").arg(&dir)).ok();
    assert_eq!(seen.expect("the mount reached the host"), "seen\n");
}

#[test]
fn private_volumes_keep_mounts_inside() {
    let sandbox = &podman().sandbox;
    let dir = sandbox.mkdir(&unique("private"));
    fs::create_dir(dir.join("sub")).unwrap();
    let volume = format!("{}:/data:rprivate", dir.display());
    let mount = [
        "sh",
        "-c",
        "mount -t tmpfs inner /data/sub && echo seen >/data/sub/file",
    ];
    once(
        &[
            "--volume",
            &volume,
            "--cap-add",
            "SYS_ADMIN",
            "--security-opt",
            "seccomp=unconfined",
        ],
        &mount,
    )
    .ok();
    assert!(!dir.join("sub/file").exists());
}

#[test]
fn idmapped_volume() {
    // Option `idmap` without mappings of its own: those of the user namespace (config.md, mounts).
    if runc_differs("the mount option `idmap` is taken for data and dropped without a word") {
        return;
    }
    let dir = podman().sandbox.mkdir(&unique("idmap"));
    fs::write(dir.join("file"), "").unwrap();
    let volume = format!("{}:/data:idmap", dir.display());
    let flags = [
        "--uidmap",
        "0:100000:65536",
        "--gidmap",
        "0:100000:65536",
        "--volume",
        volume.as_str(),
    ];
    assert_eq!(
        once(&flags, &["stat", "-c", "%u", "/data/file"]).ok().out(),
        "0"
    );
}

#[test]
fn named_and_anonymous_volumes_are_copied_up() {
    let name = unique("vol");
    let volume = format!("{name}:/copyup");
    once(
        &["--volume", &volume],
        &[
            "sh",
            "-c",
            "stat -c %U /copyup/file; echo more >/copyup/more",
        ],
    )
    .ok()
    .says("user");
    assert_eq!(
        once(&["--volume", &volume], &["cat", "/copyup/more"])
            .ok()
            .out(),
        "more"
    );
    call(&["volume", "rm", &name]).ok();
}

// --- exec ---

#[test]
fn exec_code_user_workdir_environment_stdin() {
    let c = Stays::run(&["--env", "BASE=there"], FOREVER);
    c.exec(&[], &["sh", "-c", "exit 42"]).exits(42);
    let line = "echo $(id -u):$(id -g) $(pwd) $BASE $MORE $HOME";
    let flags = ["--user", "user", "--workdir", "/tmp", "--env", "MORE=here"];
    assert_eq!(
        c.exec(&flags, &["sh", "-c", line]).ok().out(),
        "1000:1000 /tmp there here /home/user"
    );
    let output = feed(
        podman()
            .cmd(&["exec", "--interactive", &c.name, "cat"])
            .env("X", ""),
        b"through",
    )
    .ok();
    assert_eq!(output.out(), "through");
    let output = c.exec(&[], &["sh", "-c", "kill -9 $$"]);
    assert_eq!(output.code(), 137, "{output}");
    c.exec(
        &["--privileged"],
        &[
            "sh",
            "-c",
            "test $(grep CapEff /proc/self/status | cut -f2) != 00000000a80425fb",
        ],
    )
    .ok();
}

#[test]
fn exec_with_a_tty() {
    let c = Stays::run(&[], FOREVER);
    let output = c
        .exec(&["--tty"], &["sh", "-c", "tty; echo line; exit 6"])
        .exits(6);
    assert!(
        output.stdout.contains("/dev/pts/") && output.stdout.contains("line\r\n"),
        "{output}"
    );
}

#[test]
fn exec_detached() {
    let c = Stays::run(&[], FOREVER);
    c.exec(
        &["--detach"],
        &["sh", "-c", "echo done >/tmp/mark; exec sleep 297"],
    )
    .ok();
    wait_until("the mark", || {
        c.exec(&[], &["cat", "/tmp/mark"]).stdout == "done\n"
    });
    assert!(c.call(&["top"]).ok().stdout.contains("sleep 297"));
    c.call(&["stop", "--time", "0"]).ok();
}

#[test]
fn ten_execs_at_once() {
    let c = Stays::run(&[], FOREVER);
    let running: Vec<_> = (0..10)
        .map(|n| {
            start(&mut podman().cmd(&["exec", &c.name, "sh", "-c", &format!("echo {n}; exit {n}")]))
        })
        .collect();
    for (n, one) in running.into_iter().enumerate() {
        assert_eq!(one.end().exits(n as i32).out(), n.to_string());
    }
}

// --- life ---

#[test]
fn logs_and_follow() {
    let c = Stays::run(&[], "echo one; echo two >&2; sleep 0.5; echo three");
    let output = call(&["logs", "--follow", &c.name]).ok();
    assert_eq!(output.stdout, "one\nthree\n");
    assert_eq!(output.stderr, "two\n");
}

#[test]
fn stop_is_term_first() {
    let c = Stays::run(
        &[],
        "trap 'echo bye; exit 11' TERM; echo ready; while :; do sleep 0.05; done",
    );
    c.until("ready");
    let from = Instant::now();
    c.call(&["stop", "--time", "20"]).ok();
    assert!(
        from.elapsed() < Duration::from_secs(10),
        "TERM was not honoured"
    );
    assert_eq!(
        (c.wait().as_str(), c.inspect(".State.ExitCode").as_str()),
        ("11", "11")
    );
    assert!(c.logs().ends_with("bye\n"));
}

#[test]
fn stop_is_kill_after_the_time() {
    let c = Stays::run(
        &[],
        "trap '' TERM; echo ready; while :; do sleep 0.05; done",
    );
    c.until("ready");
    let pid = c.pid();
    c.call(&["stop", "--time", "1"]).ok();
    assert!(!alive(pid));
    assert_eq!(c.wait(), "137");
}

#[test]
fn stop_signal_of_the_containers_choice() {
    let c = Stays::run(
        &["--stop-signal", "USR2"],
        "trap 'exit 14' USR2; echo ready; while :; do sleep 0.05; done",
    );
    c.until("ready");
    c.call(&["stop", "--time", "10"]).ok();
    assert_eq!(c.wait(), "14");
}

#[test]
fn kill_with_a_signal() {
    let c = Stays::run(
        &[],
        "trap 'echo usr1' USR1; echo ready; while :; do sleep 0.05; done",
    );
    c.until("ready");
    call(&["kill", "--signal", "USR1", &c.name]).ok();
    c.until("usr1");
    call(&["kill", "--signal", "KILL", &c.name]).ok();
    assert_eq!(c.wait(), "137");
    call(&["kill", &c.name]).fails();
}

/// Without a handler TERM doesn't reach an init; with `--init` the child dies of it.
#[test]
fn exit_code_after_a_signal() {
    let c = Stays::run(&["--init"], "exec sleep 300");
    wait_until("init's child", || {
        c.call(&["top"]).ok().stdout.contains("sleep")
    });
    call(&["kill", "--signal", "TERM", &c.name]).ok();
    assert_eq!(c.wait(), "143");
    let c = Stays::run(&[], FOREVER);
    call(&["kill", "--signal", "9", &c.name]).ok();
    assert_eq!(c.wait(), "137");
    assert_eq!(c.inspect(".State.ExitCode"), "137");
}

#[test]
fn pause_and_unpause() {
    let c = Stays::run(
        &[],
        "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done",
    );
    c.until("3");
    c.call(&["pause"]).ok();
    assert_eq!(c.inspect(".State.Status"), "paused");
    std::thread::sleep(Duration::from_millis(100));
    let before = c.logs();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(c.logs(), before, "it runs while it is paused");
    c.exec(&[], &["true"]).fails();
    c.call(&["unpause"]).ok();
    wait_until("it goes on", || c.logs().len() > before.len());
    c.call(&["pause"]).ok();
    c.call(&["rm", "--force", "--time", "0"]).ok();
}

#[test]
fn restart() {
    let c = Stays::run(
        &[],
        "echo up >>/root/count; trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done",
    );
    c.until("ready");
    let first = c.pid();
    c.call(&["restart", "--time", "5"]).ok();
    assert_ne!(c.pid(), first);
    wait_until("second time", || {
        c.exec(&[], &["cat", "/root/count"]).stdout == "up\nup\n"
    });
}

#[test]
fn restart_policy() {
    let c = Stays::run(&["--restart", "on-failure:2"], "echo once; exit 1");
    wait_until("three starts", || c.logs().matches("once").count() == 3);
}

#[test]
fn create_start_attach() {
    let c = Stays::make(
        "create",
        &["--interactive"],
        "read line; echo got $line; exit 9",
    );
    assert_eq!(c.inspect(".State.Status"), "created");
    let output = feed(
        &mut podman().cmd(&["start", "--attach", "--interactive", &c.name]),
        b"word\n",
    )
    .exits(9);
    assert_eq!(output.out(), "got word");
}

#[test]
fn attach_to_a_running_container() {
    let c = Stays::run(
        &["--interactive"],
        "while read line; do echo got $line; [ $line = end ] && exit 0; done",
    );
    let mut attach = podman().cmd(&["attach", "--sig-proxy=false", &c.name]);
    let mut running = start(attach.stdin(std::process::Stdio::piped()));
    let mut stdin = running.child.stdin.take().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    stdin.write_all(b"one\n").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    stdin.write_all(b"end\n").unwrap();
    assert_eq!(running.end().ok().out(), "got one\ngot end");
}

#[test]
fn healthcheck() {
    // No timer without systemd: it is run by hand.
    let c = Stays::run(
        &[
            "--health-cmd",
            "test -e /tmp/well",
            "--health-interval",
            "disable",
            "--health-retries",
            "1",
        ],
        FOREVER,
    );
    call(&["healthcheck", "run", &c.name]).exits(1);
    c.exec(&[], &["touch", "/tmp/well"]).ok();
    call(&["healthcheck", "run", &c.name]).ok();
}

#[test]
fn top_and_stats() {
    let c = Stays::run(&[], "sleep 296 & exec sleep 300");
    wait_until("two processes", || {
        c.call(&["top"]).ok().stdout.matches("sleep").count() == 2
    });
    let top = call(&["top", &c.name, "pid", "hpid", "user", "comm"]).ok();
    assert!(
        top.stdout
            .lines()
            .any(|l| l.starts_with("1 ") && l.contains(&c.pid().to_string())),
        "{top}"
    );
    let stats = call(&["stats", "--no-stream", "--format", "json", &c.name])
        .ok()
        .json();
    assert_eq!(stats[0]["pids"].as_str(), Some("2"), "{stats}");
}

#[test]
fn copy_and_commit() {
    let sandbox = &podman().sandbox;
    let file = sandbox.write(&unique("copy"), "from outside\n");
    let c = Stays::run(&[], FOREVER);
    call(&[
        "cp",
        &file.to_string_lossy(),
        &format!("{}:/root/in", c.name),
    ])
    .ok();
    assert_eq!(c.exec(&[], &["cat", "/root/in"]).ok().out(), "from outside");
    let back = sandbox.path(unique("back"));
    call(&[
        "cp",
        &format!("{}:/root/in", c.name),
        &back.to_string_lossy(),
    ])
    .ok();
    assert_eq!(fs::read_to_string(back).unwrap(), "from outside\n");
    let image = format!("pxrun.test/{}:1", unique("commit"));
    call(&["commit", "--quiet", &c.name, &image]).ok();
    let parent = format!("/{}", sandbox.name);
    let mut again = podman().cmd(&["run", "--rm", "--network=none", "--cgroup-parent", &parent]);
    assert_eq!(
        run(again.args([&image, "cat", "/root/in"])).ok().out(),
        "from outside"
    );
    call(&["rmi", "--force", &image]).ok();
}

#[test]
fn ten_containers_at_once() {
    let running: Vec<_> = (0..10)
        .map(|n| {
            start(&mut container(
                "run",
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
fn mass_of_short_runs() {
    for _ in 0..10 {
        assert_eq!(once(&[], &["echo", "x"]).ok().out(), "x");
    }
}

#[test]
fn network_of_a_pid_by_path() {
    let first = Stays::run(&[], FOREVER);
    let path = format!("ns:/proc/{}/ns/net", first.pid());
    let second = Stays::run(&["--network", &path], FOREVER);
    let ns = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    assert_eq!(ns(first.pid()), ns(second.pid()));
}

/// What podman and conmon do when conmon is killed: the container runs on, and can be removed.
#[test]
fn a_killed_conmon() {
    let c = Stays::run(&[], FOREVER);
    let pid = c.pid();
    let conmon: i32 = c.inspect(".State.ConmonPid").parse().unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(conmon),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    wait_until("conmon is gone", || !alive(conmon));
    assert!(alive(pid), "the container died with conmon");
    c.call(&["rm", "--force", "--time", "0"]).ok();
    // podman 4.3 forgets such a container without asking the runtime to delete it.
    run(common::command::cmd(runtime()).args(["delete", "--force", &c.id])).ok();
    wait_until("the container is gone", || !alive(pid));
    nothing_left(&c.id);
}

// --- nothing stays ---

fn runtime_knows(id: &str) -> bool {
    let output = run(common::command::cmd(runtime()).args(["state", id]));
    output.code() == 0
}

#[track_caller]
fn nothing_left(id: &str) {
    assert!(!runtime_knows(id), "the runtime still knows {id}");
    wait_until("its cgroups are gone", || cgroup::all_with(id).is_empty());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(id), "mounts stay: {mounts}");
    let root = Path::new("/run").join(runtime_name()).join(id);
    assert!(!root.exists(), "{} stays", root.display());
}

#[test]
fn rm_leaves_nothing() {
    let removals: [&[&str]; 3] = [&["stop", "--time", "0"], &["kill"], &["pause"]];
    for before in removals {
        let c = Stays::run(&["--memory", "64m", "--tmpfs", "/data"], FOREVER);
        let pid = c.pid();
        c.call(before).ok();
        c.call(&["rm", "--force", "--time", "0"]).ok();
        assert!(!alive(pid), "{before:?}");
        nothing_left(&c.id);
    }
}

#[test]
fn run_with_rm_leaves_nothing() {
    let file = podman().sandbox.path(unique("cid"));
    once(&["--cidfile", &file.to_string_lossy()], &["true"]).ok();
    let id = fs::read_to_string(&file).unwrap_or_default();
    if !id.is_empty() {
        nothing_left(&id);
    }
    assert!(
        !call(&["ps", "--all", "--no-trunc", "--format", "{{.ID}}"])
            .ok()
            .stdout
            .contains(&id)
            || id.is_empty()
    );
}

#[test]
fn a_failed_start_leaves_nothing() {
    let name = unique("bad");
    run(&mut container(
        "create",
        &["--name", &name],
        &["no-such-command"],
    ))
    .ok();
    let id = call(&["inspect", "--format", "{{.Id}}", &name])
        .ok()
        .out()
        .to_owned();
    call(&["start", &name]).fails();
    nothing_left(&id);
    call(&["rm", &name]).ok();
}
