//! Containers by `ctr` with `--runc-binary`.

use crate::*;

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
    wait_until("three processes", || count() == 3 + keepers());
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
    let pid = init_of(c.task().0).to_string();
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
    assert_eq!(
        metrics["pids"]["current"].as_u64(),
        Some(2 + keepers() as u64),
        "{metrics}"
    );
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
