//! `podman exec`.

use crate::*;

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
