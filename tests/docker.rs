//! Docker drives the runtime under test for real: a private daemon with the runtime registered
//! by `--add-runtime`, through containerd's shim. No bridge, no packet filter, no network.

mod common;

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
    alive, backend, backend_flags, cgroup, image, runtime, unique, wait_at_most, wait_until,
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
        let config = sandbox.write("daemon.json", &settings.to_string());
        let socket = sandbox.path("s");
        // vfs copies each container's files: it works everywhere, slowly.
        let overlay = fs::read_to_string("/proc/filesystems").is_ok_and(|f| f.contains("overlay"));
        let driver = if overlay { "overlay2" } else { "vfs" };
        let log = fs::File::create(sandbox.path("log")).expect("make the daemon's log");
        let mut daemon = sandbox.cmd("dockerd");
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
            "--add-runtime",
            &format!("under-test={}", runtime().display()),
        ]);
        daemon.args([
            "--default-runtime=under-test",
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
    if backend().is_some() && !lacks("docker-annotations") {
        command.args(backend_flags());
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

#[test]
fn the_daemon_knows_the_runtime() {
    let info = call(&["info", "--format", "{{.DefaultRuntime}} {{json .Runtimes}}"]).ok();
    assert!(
        info.out().starts_with("under-test ")
            && info.stdout.contains(&*runtime().to_string_lossy()),
        "{info}"
    );
}

#[test]
fn run_prints_and_returns_the_code() {
    let output = once(&[], &["sh", "-c", "echo out; echo err >&2; exit 3"]).exits(3);
    assert_eq!((output.out(), output.stderr.trim()), ("out", "err"));
}

/// callers.md §6: by the runtime's texts alone.
#[test]
fn exit_codes_125_126_127() {
    once(&[], &["no-such-command"]).exits(127);
    once(&[], &["/no/such/command"]).exits(127);
    once(&[], &["/bin/not-executable"]).exits(126);
    once(&[], &["/etc"]).exits(126);
    once(&["--network=container:nobody"], &["true"]).exits(125);
    let c = Stays::run(&[], FOREVER);
    // Docker 20.10 answers 126 to each `exec` that can't start; 127 came later.
    let missing = |output: Output| assert!([126, 127].contains(&output.code()), "{output}");
    missing(
        c.exec(&[], &["/no/such/command"])
            .says("no such file or directory"),
    );
    missing(
        c.exec(&[], &["no-such-command"])
            .says("executable file not found"),
    );
    c.exec(&[], &["/bin/not-executable"])
        .exits(126)
        .says("permission denied");
    assert_eq!(c.exec(&[], &["echo", "still"]).ok().out(), "still");
}

#[test]
fn stdin_passes_through() {
    let input: Vec<u8> = (0..100_000_u32).flat_map(|n| n.to_le_bytes()).collect();
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

fn in_terminal(command: &Command, size: &str) -> Command {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words
        .map(|w| format!("'{}'", w.to_string_lossy()))
        .collect();
    let mut script = docker().sandbox.cmd("script");
    script.args([
        "-qec",
        &format!("stty {size}; exec {}", words.join(" ")),
        "/dev/null",
    ]);
    script
}

#[test]
fn tty_of_run_and_exec() {
    let inner = container(
        "run",
        &["--rm", "--tty", "--interactive"],
        &["sh", "-c", "tty; sleep 0.5; stty size; exit 5"],
    );
    let output = run(&mut in_terminal(&inner, "rows 33 cols 101")).exits(5);
    assert!(
        output.stdout.contains("/dev/pts/0") && output.stdout.contains("33 101"),
        "{output}"
    );
    let c = Stays::run(&[], FOREVER);
    let inner = docker().cmd(&[
        "exec",
        "--tty",
        "--interactive",
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
fn exec_code_user_workdir_environment() {
    let c = Stays::run(&["--env", "BASE=there"], FOREVER);
    c.exec(&[], &["sh", "-c", "exit 42"]).exits(42);
    let flags = ["--user", "user", "--workdir", "/tmp", "--env", "MORE=here"];
    let line = "echo $(id -u) $(pwd) $BASE $MORE $HOME";
    assert_eq!(
        c.exec(&flags, &["sh", "-c", line]).ok().out(),
        "1000 /tmp there here /home/user"
    );
    c.exec(
        &["--detach"],
        &["sh", "-c", "echo done >/tmp/mark; exec sleep 293"],
    )
    .ok();
    wait_until("the mark", || {
        c.exec(&[], &["cat", "/tmp/mark"]).stdout == "done\n"
    });
    c.exec(&[], &["sh", "-c", "kill -9 $$"]).exits(137);
}

#[test]
fn the_default_profile_holds_in_exec() {
    let c = Stays::run(&[], FOREVER);
    assert_eq!(
        c.exec(&[], &["grep", "Seccomp:", "/proc/self/status"])
            .ok()
            .out(),
        "Seccomp:\t2"
    );
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    });
    let file = docker().sandbox.write("seccomp.json", &profile.to_string());
    let c = Stays::run(
        &["--security-opt", &format!("seccomp={}", file.display())],
        FOREVER,
    );
    c.exec(&[], &["mkdir", "/tmp/no"])
        .fails()
        .says("Operation not permitted");
    once(
        &["--security-opt", "no-new-privileges"],
        &["grep", "NoNewPrivs:\t1", "/proc/self/status"],
    )
    .ok();
    let none = once(
        &["--cap-drop", "ALL"],
        &["grep", "CapEff", "/proc/self/status"],
    )
    .ok();
    assert!(none.out().ends_with("\t0000000000000000"), "{none}");
}

#[test]
fn stop_is_term_then_kill() {
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
    assert_eq!(c.inspect(".State.ExitCode"), "11");
    let c = Stays::run(
        &[],
        "trap '' TERM; echo ready; while :; do sleep 0.05; done",
    );
    c.until("ready");
    c.call(&["stop", "--time", "1"]).ok();
    assert_eq!(c.inspect(".State.ExitCode"), "137");
}

#[test]
fn kill_with_a_signal() {
    let c = Stays::run(
        &[],
        "trap 'echo usr1' USR1; echo ready; while :; do sleep 0.05; done",
    );
    c.until("ready");
    c.call(&["kill", "--signal", "USR1"]).ok();
    c.until("usr1");
    c.call(&["kill"]).ok();
    assert_eq!(c.wait(), "137");
    c.call(&["kill"]).fails();
}

#[test]
fn init_reaps_and_passes_signals() {
    let c = Stays::run(
        &["--init"],
        "trap 'exit 21' TERM; echo ready; while :; do sleep 0.05; done",
    );
    c.until("ready");
    assert!(
        c.exec(&[], &["cat", "/proc/1/comm"])
            .ok()
            .out()
            .contains("init")
    );
    c.call(&["stop", "--time", "10"]).ok();
    assert_eq!(c.wait(), "21");
}

#[test]
fn healthcheck() {
    let c = Stays::run(
        &[
            "--health-cmd",
            "test -e /tmp/well",
            "--health-interval",
            "300ms",
            "--health-retries",
            "1",
        ],
        FOREVER,
    );
    wait_until("unhealthy", || {
        c.inspect(".State.Health.Status") == "unhealthy"
    });
    c.exec(&[], &["touch", "/tmp/well"]).ok();
    wait_until("healthy", || c.inspect(".State.Health.Status") == "healthy");
}

#[test]
fn namespaces_of_another_container() {
    let first = Stays::run(
        &["--ipc", "shareable", "--hostname", "first"],
        "exec sleep 292",
    );
    let peer = format!("container:{}", first.0);
    let ns = |c: &Stays, kind: &str| fs::read_link(format!("/proc/{}/ns/{kind}", c.pid())).unwrap();
    for (flag, kind) in [("--pid", "pid"), ("--network", "net"), ("--ipc", "ipc")] {
        let second = Stays::run(&[flag, &peer].map(|f| f), FOREVER);
        assert_eq!(ns(&first, kind), ns(&second, kind), "{flag}");
        if flag == "--pid" {
            let seen = second.exec(&[], &["ps", "-o", "args"]).ok();
            assert!(
                seen.stdout.contains("sleep 292") && seen.stdout.contains("sleep 300"),
                "{seen}"
            );
            second.call(&["stop", "--time", "0"]).ok();
            assert!(alive(first.pid()));
        }
    }
    let host = Stays::run(
        &["--pid", "host", "--network", "host"],
        "sleep 300 & exec sleep 300",
    );
    let own = fs::read_link("/proc/self/ns/pid").unwrap();
    assert_eq!(ns(&host, "pid"), own);
    let group = cgroup::dir(host.pid(), "pids").expect("a pids cgroup");
    host.call(&["kill"]).ok();
    wait_until("all processes are gone", || {
        fs::read_to_string(group.join("cgroup.procs"))
            .unwrap_or_default()
            .is_empty()
    });
}

/// callers.md §0.3: dockerd binds /proc/PID/ns/net between create and start.
#[test]
fn the_sandbox_key_is_the_containers_network() {
    let c = Stays::run(&["--network=none"], FOREVER);
    let key = c.inspect(".NetworkSettings.SandboxKey");
    // The binding is in this mount namespace, below the daemon's private directory.
    let key = PathBuf::from(key.replace(
        "/var/run/docker",
        &docker().sandbox.path("exec").to_string_lossy(),
    ));
    use std::os::unix::fs::MetadataExt;
    let bound = fs::metadata(&key)
        .unwrap_or_else(|e| panic!("{}: {e}", key.display()))
        .ino();
    let link = fs::read_link(format!("/proc/{}/ns/net", c.pid())).unwrap();
    assert_eq!(link.to_string_lossy(), format!("net:[{bound}]"));
}

#[test]
fn logs_follow_top_stats() {
    let c = Stays::run(&[], "echo one; echo two >&2; sleep 0.5; echo three");
    let output = c.call(&["logs", "--follow"]).ok();
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("one\nthree\n", "two\n")
    );
    let c = Stays::run(&["--memory", "64m"], "sleep 291 & exec sleep 300");
    wait_until("two processes", || {
        c.call(&["top"]).ok().stdout.matches("sleep").count() == 2
    });
    let stats = call(&[
        "stats",
        "--no-stream",
        "--format",
        "{{.PIDs}} {{.MemUsage}}",
        &c.0,
    ])
    .ok();
    assert!(stats.out().starts_with("2 "), "{stats}");
}

#[test]
fn pause_and_unpause() {
    let c = Stays::run(&[], FOREVER);
    c.call(&["pause"]).ok();
    assert_eq!(c.inspect(".State.Status"), "paused");
    c.exec(&[], &["true"]).fails();
    c.call(&["unpause"]).ok();
    assert_eq!(c.inspect(".State.Status"), "running");
    c.call(&["pause"]).ok();
    c.call(&["rm", "--force"]).ok();
}

#[test]
fn limits_and_their_update() {
    let c = Stays::run(
        &["--memory", "64m", "--pids-limit", "50", "--cpus", "0.5"],
        FOREVER,
    );
    let pid = c.pid();
    assert_eq!(cgroup::value(pid, "pids", "pids.max", "pids.max"), "50");
    let quota = cgroup::value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max");
    assert!(
        ["50000", "50000 100000"].contains(&quota.as_str()),
        "{quota}"
    );
    call(&["update", "--pids-limit", "60", &c.0]).ok();
    assert_eq!(cgroup::value(pid, "pids", "pids.max", "pids.max"), "60");
    if lacks("memory-controller") {
        return;
    }
    let memory = || cgroup::value(pid, "memory", "memory.limit_in_bytes", "memory.max");
    assert_eq!(memory(), "67108864");
    call(&["update", "--memory", "96m", "--memory-swap", "-1", &c.0]).ok();
    assert_eq!(memory(), "100663296");
}

#[test]
fn volumes_tmpfs_devices_read_only_sysctl() {
    let dir = docker().sandbox.mkdir(&unique("volume"));
    fs::write(dir.join("file"), "content\n").unwrap();
    let volume = format!("{}:/data:ro,rprivate", dir.display());
    let script = "cat /data/file; touch /data/no 2>&1; touch /no 2>&1; touch /scratch/yes && echo written; cat /proc/sys/kernel/msgmax; hostname; ls -l /dev/mynull | cut -c1";
    let flags = [
        "--volume",
        &volume,
        "--read-only",
        "--tmpfs",
        "/scratch:size=1m",
        "--sysctl",
        "kernel.msgmax=12345",
        "--hostname",
        "named",
        "--device",
        "/dev/null:/dev/mynull",
        "--ulimit",
        "nofile=512:512",
    ];
    let output = once(&flags, &["sh", "-c", script]).ok();
    for text in ["content\n", "written\n12345\nnamed\nc\n"] {
        assert!(output.stdout.contains(text), "no `{text}`: {output}");
    }
    assert_eq!(
        output.stdout.matches("Read-only file system").count(),
        2,
        "{output}"
    );
}

#[test]
fn restart_and_start_again() {
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
    let policy = Stays::run(&["--restart", "on-failure:2"], "echo once; exit 1");
    wait_until("three starts", || {
        policy.call(&["logs"]).stdout.matches("once").count() == 3
    });
}

#[test]
fn copy_and_attach() {
    let file = docker().sandbox.write(&unique("copy"), "from outside\n");
    let c = Stays::run(
        &["--interactive"],
        "while read line; do echo got $line; [ $line = end ] && sleep 0.5 && exit 4; done",
    );
    call(&["cp", &file.to_string_lossy(), &format!("{}:/root/in", c.0)]).ok();
    assert_eq!(c.exec(&[], &["cat", "/root/in"]).ok().out(), "from outside");
    let mut attach = start(docker().cmd(&["attach", &c.0]).stdin(Stdio::piped()));
    let mut stdin = attach.child.stdin.take().expect("stdin is a pipe");
    for line in ["one\n", "end\n"] {
        // The client must be attached before the container writes.
        std::thread::sleep(Duration::from_millis(500));
        stdin
            .write_all(line.as_bytes())
            .expect("write to the container");
    }
    assert_eq!(attach.end().exits(4).stdout, "got one\ngot end\n");
}

#[test]
fn six_at_once() {
    let running: Vec<_> = (0..6)
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
fn ten_megabytes_come_out_unchanged() {
    let script =
        "head -c 10485760 /dev/urandom >/dev/shm/d; sha256sum </dev/shm/d >&2; cat /dev/shm/d";
    let output = once(&[], &["sh", "-c", script]).ok();
    assert_eq!(
        Some(image::sha256(&output.bytes).as_str()),
        output.stderr.split_whitespace().next()
    );
}

#[test]
fn rm_leaves_nothing() {
    for before in [&["stop", "--time", "0"][..], &["kill"], &["pause"]] {
        let c = Stays::run(&["--memory", "64m", "--tmpfs", "/data"], FOREVER);
        let (pid, id) = (c.pid(), c.0.clone());
        let record = || find_record(&docker().sandbox.path("exec"), &id);
        assert!(
            record().is_some(),
            "no record of the runtime found: this test looks in the wrong place"
        );
        c.call(before).ok();
        c.call(&["rm", "--force"]).ok();
        assert!(!alive(pid), "{before:?}");
        assert_eq!(record(), None, "{before:?}");
        wait_until("its cgroups are gone", || cgroup::all_with(&id).is_empty());
        wait_until("its mounts are gone", || {
            mounts_below(&docker().sandbox.dir)
                .iter()
                .all(|m| !m.contains(&id))
        });
    }
}

/// The runtime's own directory of a container, below `runtime-*` of the daemon's exec-root.
fn find_record(exec_root: &Path, id: &str) -> Option<PathBuf> {
    let roots = fs::read_dir(exec_root).ok()?.flatten().map(|e| e.path());
    let mut roots = roots.filter(|p| {
        p.file_name()
            .is_some_and(|n| n.to_string_lossy().starts_with("runtime-"))
    });
    roots.find_map(|root| Some(root.join("moby").join(id)).filter(|p| p.exists()))
}
