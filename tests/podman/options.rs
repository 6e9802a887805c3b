//! `podman run` and its options.

use crate::*;

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
