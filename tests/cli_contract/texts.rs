//! The texts that callers look for, and the log they read them from.

use crate::*;

#[test]
fn texts_for_what_is_not_there() {
    let place = Place::new("texts");
    place.run(&["delete", "--force", "nobody"]).ok();
    for (args, what) in [
        (&["state", "nobody"][..], "state of"),
        (&["kill", "nobody", "9"], "kill"),
        (&["delete", "nobody"], "delete"),
        (&["start", "nobody"], "start"),
        (&["exec", "nobody", "true"], "exec in"),
        (&["pause", "nobody"], "pause"),
        (&["resume", "nobody"], "resume"),
        (&["ps", "nobody"], "processes of"),
        (&["events", "--stats", "nobody"], "events of"),
        (&["update", "--pids-limit", "9", "nobody"], "update"),
    ] {
        let output = place.run(args).exits(1).says("does not exist");
        if common::runtime_name() == "pxrun" {
            let line = format!("{what} container `nobody`: container does not exist");
            assert_eq!(output.stderr.trim_end(), line);
        }
    }
}

/// checkKillError of the shim and CRI-O's runtimeCmd look for it in small letters.
#[test]
fn kill_of_a_stopped_container() {
    let place = Place::new("killstopped");
    let c = place.started_sh("c", "true");
    c.reap();
    for args in [
        &["kill", "c", "9"][..],
        &["kill", "c", "KILL"],
        &["kill", "c", "15"],
    ] {
        place.run(args).exits(1).says("container not running");
    }
    place.run(&["delete", "c"]).ok();
}

/// podman tells 127 from 126 by these texts, docker too.
#[test]
fn commands_that_cannot_run() {
    let place = Place::new("cannot");
    let cases = [
        (&["no-such-command"][..], "executable file not found in"),
        (&["/no/such/command"], "no such file or directory"),
        (&["/bin/not-executable"], "permission denied"),
        (&["/etc"], "is a directory"),
    ];
    for (n, (args, text)) in cases.iter().enumerate() {
        let id = format!("c{n}");
        let bundle = place.bundle(&id, args, nothing);
        let mut command = place.cmd(&["create", "--bundle"]);
        let output = run(command.arg(&bundle.dir).arg(&id)).fails();
        let differs =
            *text == "is a directory" && runc_differs("it says permission denied of a directory");
        assert!(
            differs || output.stderr.to_lowercase().contains(text),
            "{args:?} should say `{text}`: {output}"
        );
        place.run(&["state", &id]).fails().says("does not exist");
    }
}

#[test]
fn exec_of_commands_that_cannot_run() {
    let place = Place::new("execcannot");
    let c = place.started_sh("c", "exec sleep 300");
    let cases = [
        ("no-such-command", "executable file not found in"),
        ("/no/such/command", "no such file or directory"),
        ("/bin/not-executable", "permission denied"),
    ];
    for (command, text) in cases {
        let output = place.run(&["exec", "c", command]).fails();
        assert!(
            output.stderr.to_lowercase().contains(text),
            "{command} should say `{text}`: {output}"
        );
    }
    assert!(alive(c.pid));
    c.remove();
    place
        .run(&["exec", "c", "true"])
        .fails()
        .says("does not exist");
}

#[test]
fn exec_needs_a_running_container() {
    let place = Place::new("execstopped");
    let c = place.started_sh("c", "true");
    c.reap();
    place.run(&["exec", "c", "true"]).fails();
}

/// callers.md §0.6 and §0.7.
#[test]
fn an_error_is_one_json_object_and_one_line() {
    let place = Place::new("errors");
    let log = place.dir.join("log.json");
    let mut command = cmd(runtime());
    command
        .arg("--log")
        .arg(&log)
        .args(["--log-format", "json", "--root"])
        .arg(&place.root);
    let output = run(command.args(["start", "nobody"])).exits(1);
    assert_eq!(output.stdout, "");
    let text = fs::read_to_string(&log).unwrap();
    let entry: Value = serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("the whole file is one object ({e}): {text}"));
    assert_eq!(entry["level"], "error");
    let message = entry["msg"].as_str().unwrap();
    assert!(message.contains("does not exist"), "{message}");
    assert!(
        output.stderr.contains(message),
        "stderr says the same: {output}"
    );
    let time = entry["time"].as_str().unwrap();
    run(cmd("date").args(["-d", time])).ok();
    assert_eq!(&time[10..11], "T", "RFC 3339: {time}");
    let mode = fs::metadata(&log).unwrap().permissions().mode();
    if mode & 0o027 != 0 && !runc_differs("the log is readable by everybody") {
        panic!("log mode {mode:o}");
    }
}

#[test]
fn nothing_is_logged_when_all_is_well() {
    let place = Place::new("quiet");
    let log = place.dir.join("log.json");
    let bundle = place.bundle("c", &["echo", "hi"], nothing);
    let mut command = place.bare();
    command
        .arg("--log")
        .arg(&log)
        .args(["--log-format", "json", "run", "--bundle"])
        .arg(&bundle.dir);
    let output = run(command.arg("c")).ok();
    assert_eq!((output.out(), output.stderr.as_str()), ("hi", ""));
    assert_eq!(fs::read_to_string(&log).unwrap_or_default(), "");
}

#[test]
fn the_log_is_appended_to() {
    let place = Place::new("append");
    let log = place.dir.join("log.json");
    for _ in 0..2 {
        let mut command = place.bare();
        command
            .arg("--log")
            .arg(&log)
            .args(["--log-format", "json"]);
        run(command.args(["state", "nobody"])).fails();
    }
    let text = fs::read_to_string(&log).unwrap();
    let entries: Vec<Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(entries.len(), 2, "{text}");
}

/// callers.md §0.8: conmon-rs gives them twice.
#[test]
fn global_flags_may_be_repeated() {
    let place = Place::new("repeated");
    let mut command = place.bare();
    command
        .arg("--root")
        .arg(&place.root)
        .args(["--log-format=json", "--log-format", "json"]);
    command
        .arg("--log")
        .arg("/dev/null")
        .arg("--log")
        .arg(place.dir.join("log"));
    assert_eq!(run(command.args(["list", "-q"])).ok().out(), "");
}

/// callers.md §0.9: podman clears the environment, PATH too.
#[test]
fn an_empty_environment_is_enough() {
    let place = Place::new("noenv");
    let bundle = place.bundle("c", SLEEP, nothing);
    let naked = |args: &[&str]| run(place.cmd(args).env_clear()).ok();
    let dir = bundle.dir.to_string_lossy().into_owned();
    detach(
        place
            .cmd(&["run", "--detach", "--bundle", &dir, "c"])
            .env_clear(),
    );
    let pid = place.state("c")["pid"].as_i64().unwrap() as i32;
    assert_eq!(
        naked(&["exec", "c", "sh", "-c", "echo $PATH"]).out(),
        "/bin"
    );
    naked(&["pause", "c"]);
    naked(&["resume", "c"]);
    naked(&["kill", "c", "9"]);
    reap(pid);
    naked(&["delete", "--force", "c"]);
}

/// moby's parseRuntimeVersion, go-runc's parseVersion.
#[test]
fn version_and_features() {
    let version = run(cmd(runtime()).arg("--version").env_clear()).ok();
    let first = version.stdout.lines().next().unwrap();
    let words: Vec<_> = first.split(' ').collect();
    assert_eq!(words[1], "version", "{first}");
    assert!(
        words[2].starts_with(|c: char| c.is_ascii_digit()),
        "{first}"
    );
    assert!(
        version.stdout.lines().any(|l| l.starts_with("spec: 1.")),
        "{version}"
    );
    let features = run(cmd(runtime()).arg("features").env_clear()).ok();
    assert_eq!(features.stderr, "");
    let features = features.json();
    for key in [
        "ociVersionMin",
        "ociVersionMax",
        "hooks",
        "mountOptions",
        "linux",
    ] {
        assert!(!features[key].is_null(), "features has no {key}");
    }
    for key in ["namespaces", "capabilities", "cgroup", "seccomp"] {
        assert!(
            !features["linux"][key].is_null(),
            "features.linux has no {key}"
        );
    }
}

#[test]
fn colour_is_for_terminals_and_who_wants_it() {
    // This build, whichever runtime is under test.
    let line = format!("{} state none", env!("CARGO_BIN_EXE_pxrun"));
    let on_a_terminal = |env: &str| {
        // CI counts as a wish for colour, whatever the terminal.
        let output = run(&mut sh(&format!(
            "env -u CI {env} script -qec '{line}' /dev/null"
        )));
        output.stdout
    };
    let text = "state of container `none`: container does not exist";
    let plain = run(&mut sh(&line));
    assert_eq!(plain.stderr.trim_end(), text);
    assert!(on_a_terminal("TERM=xterm").contains(&format!("\x1b[31m{text}\x1b[0m")));
    for env in ["TERM=xterm NO_COLOR=1", "TERM=dumb"] {
        assert_eq!(on_a_terminal(env).trim_end(), text, "{env}");
    }
}
