//! Golden argument lists: what callers type, and what the other runtime gets.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::*;
use crate::cli::Cli;

fn runtime(args: &[&str]) -> Runtime {
    Runtime {
        name: "crun".into(),
        program: "/usr/bin/crun".into(),
        args: args.iter().map(|&a| a.to_owned()).collect(),
        env: BTreeMap::new(),
        root: "/r".into(),
    }
}

fn parsed(line: &str) -> Cli {
    let argv = std::iter::once("pxrun").chain(line.split(' '));
    Cli::parse_from_args(argv.map(OsString::from)).unwrap()
}

/// The call with every option known, or with those of `abilities` only.
fn mapped(line: &str, abilities: Option<&Abilities>) -> Result<String, DelegateError> {
    let cli = parsed(line);
    let mut call = match &cli.command {
        Command::Create(args) => calls::create(args),
        other => calls::of(other).unwrap(),
    };
    call.globals = calls::globals(&cli.global);
    let argv = call.argv(&runtime(&[]), abilities)?;
    let words: Vec<_> = argv.iter().map(|word| word.to_string_lossy()).collect();
    Ok(words.join(" "))
}

#[test]
fn what_callers_type_reaches_the_runtime() {
    let rows = [
        // conmon
        (
            "--log-format=json --log /l create --bundle /b --pid-file /p c",
            "--root /r --log=/l --log-format=json create --bundle=/b --pid-file=/p c",
        ),
        (
            "--systemd-cgroup create --bundle /b --pid-file /p --no-pivot --no-new-keyring --preserve-fds 2 --console-socket /s c",
            "--root /r --systemd-cgroup create --bundle=/b --console-socket=/s --pid-file=/p --no-pivot --no-new-keyring --preserve-fds=2 c",
        ),
        (
            "exec --pid-file /p --process /f --detach c",
            "--root /r exec --process=/f --detach --pid-file=/p c",
        ),
        // containerd's shim
        (
            "--root /x --log /b/log.json --log-format json kill --all c 9",
            "--root /r --log=/b/log.json --log-format=json kill --all c 9",
        ),
        ("update --resources=- c", "--root /r update --resources=- c"),
        ("ps --format json c", "--root /r ps --format=json c"),
        ("events --stats c", "--root /r events --stats c"),
        (
            "events --interval 1s c",
            "--root /r events --interval=1000ms c",
        ),
        (
            "checkpoint --image-path /i --work-path /w --tcp-established --ext-unix-sk --file-locks --empty-ns network --leave-running c",
            "--root /r checkpoint --image-path=/i --work-path=/w --leave-running --tcp-established --ext-unix-sk --file-locks --empty-ns=network c",
        ),
        (
            "restore --image-path /i --work-path /w --detach --pid-file /p -no-subreaper --bundle /b c",
            "--root /r restore --bundle=/b --pid-file=/p --image-path=/i --work-path=/w --detach --no-subreaper c",
        ),
        // people
        ("kill c", "--root /r kill c 15"),
        ("state c", "--root /r state c"),
        (
            "exec -t -e A=1 -u 1:2 -g 3,4 --cwd /d --cap CAP_KILL c ls -l --",
            "--root /r exec --tty --cwd=/d --env=A=1 --user=1:2 --additional-gids=3 --additional-gids=4 --cap=CAP_KILL c ls -l --",
        ),
        (
            "update --memory 1k --pids-limit 5 --cpuset-cpus 0-1 c",
            "--root /r update --cpuset-cpus=0-1 --memory=1024 --pids-limit=5 c",
        ),
        (
            "--debug --rootless=true --cgroup-manager disabled start c",
            "--root /r --debug --cgroup-manager=disabled --rootless=true start c",
        ),
    ];
    for (typed, want) in rows {
        assert_eq!(mapped(typed, None).unwrap(), want, "{typed}");
    }
}

#[test]
fn what_it_does_not_know_is_left_out_or_refused() {
    let knows_little: Abilities = serde_json::from_value(serde_json::json!({
        "file": {"path": "/usr/bin/crun", "device": 0, "inode": 0, "changed": [0, 0], "size": 0},
        "version": "", "features": null,
        "options": {"": ["debug"], "create": ["no-pivot"], "exec": [], "ps": []},
    }))
    .unwrap();
    let rows = [
        (
            "--rootless=true create --no-new-keyring --no-pivot c",
            Ok("--root /r create --bundle=. --no-pivot c"),
        ),
        ("exec --no-subreaper c ls", Ok("--root /r exec c ls")),
        ("--systemd-cgroup create c", Err("--systemd-cgroup")),
        ("create --preserve-fds 1 c", Err("--preserve-fds")),
        ("create --pidfd-socket /s c", Err("--pidfd-socket")),
        ("exec --ignore-paused c ls", Err("--ignore-paused")),
        ("events --stats c", Err("the command `events`")),
        ("checkpoint c", Err("the command `checkpoint`")),
    ];
    for (typed, want) in rows {
        let got = mapped(typed, Some(&knows_little)).map_err(|error| error.to_string());
        match want {
            Ok(want) => assert_eq!(got.as_deref(), Ok(want), "{typed}"),
            Err(what) => assert_eq!(got, Err(format!("backend `crun` doesn't know {what}"))),
        }
    }
}

#[test]
fn configured_arguments_come_first() {
    let call = Call::new("state", ["c".into()]);
    let argv = call.argv(&runtime(&["--criu", "/opt/criu"]), None).unwrap();
    assert_eq!(argv, ["--criu", "/opt/criu", "--root", "/r", "state", "c"]);
}

#[test]
fn the_common_commands_need_no_question() {
    for line in [
        "create --bundle /b --pid-file /p --console-socket /s c",
        "start c",
        "state c",
        "kill --all c 9",
        "delete --force c",
    ] {
        let cli = parsed(line);
        let call = match &cli.command {
            Command::Create(args) => calls::create(args),
            Command::Delete(_) => continue,
            other => calls::of(other).unwrap(),
        };
        assert!(!call.needs_asking(), "{line}");
    }
    let cli = parsed("exec --detach --process /p c");
    assert!(calls::of(&cli.command).is_ok_and(|call| !call.needs_asking()));
}
