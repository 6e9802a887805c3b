//! `docker run` and `docker exec`.

use crate::*;

#[test]
fn the_daemon_knows_the_runtime() {
    let info = call(&["info", "--format", "{{.DefaultRuntime}} {{json .Runtimes}}"]).ok();
    assert!(
        info.out().starts_with("pxrun ") && info.stdout.contains(&*runtime().to_string_lossy()),
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
    // Docker 20.10 knows no exit code for it; the words must arrive.
    once(&[], &["/etc"]).says("is a directory");
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
