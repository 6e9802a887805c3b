//! Processes that join: detached as the shim and conmon do it, in the foreground as CRI-O does.

use crate::*;

#[test]
fn exec_in_the_foreground_returns_the_code() {
    let place = Place::new("execcode");
    let c = place.started_sh("c", "exec sleep 300");
    assert_eq!(place.run(&["exec", "c", "echo", "hi"]).ok().out(), "hi");
    place.run(&["exec", "c", "sh", "-c", "exit 42"]).exits(42);
    // 128 + the signal, as a shell has it.
    place
        .run(&["exec", "c", "sh", "-c", "kill -TERM $$"])
        .exits(143);
    place
        .run(&["exec", "c", "sh", "-c", "kill -KILL $$"])
        .exits(137);
    let input = feed(&mut place.cmd(&["exec", "c", "cat"]), b"through").ok();
    assert_eq!(input.out(), "through");
    c.remove();
}

/// The shim and conmon: process.json, detached, the pid is the process itself.
#[test]
fn exec_detached_with_process_and_pid_file() {
    let place = Place::new("execdetach");
    let c = place.started_sh("c", "exec sleep 300");
    let mut spec = process(&[
        "sh",
        "-c",
        "echo $GREETING from $(pwd) as $(id -u):$(id -g); exec 1>/dev/null 2>&1; sleep 0.3; exit 9",
    ]);
    spec["env"] = json!(["PATH=/bin", "GREETING=hi"]);
    spec["cwd"] = json!("/home/user");
    spec["user"] = json!({"uid": 1000, "gid": 1000, "additionalGids": [2000]});
    let file = place.dir.join("process.json");
    fs::write(&file, spec.to_string()).unwrap();
    let pid_file = place.dir.join("exec.pid");
    let mut command = place.cmd(&["exec", "--process"]);
    command
        .arg(&file)
        .arg("--detach")
        .arg("--pid-file")
        .arg(&pid_file)
        .arg("c");
    let streams = Streams::give(&mut command);
    limited(&mut command);
    drop(command);
    let pid = pid_in(&pid_file);
    let ns = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap();
    assert_eq!(
        ns(pid),
        ns(c.init()),
        "the pid is the process in the container"
    );
    assert_eq!(streams.stdout.text(), "hi from /home/user as 1000:1000\n");
    assert_eq!(reap(pid), exited(pid, 9));
    c.remove();
}

#[test]
fn exec_process_is_in_the_containers_cgroup_and_killed_with_it() {
    let place = Place::new("execcgroup");
    let c = place.started_sh("c", "exec sleep 300");
    let pid_file = place.dir.join("exec.pid");
    let mut command = place.cmd(&["exec", "-d", "--pid-file"]);
    detach(command.arg(&pid_file).args(["c", "sleep", "300"]));
    let pid = pid_in(&pid_file);
    let groups = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_eq!(groups(pid), groups(c.pid));
    place.run(&["kill", "--all", "c", "9"]).ok();
    // pid_namespaces(7): init ends after all others of its namespace are reaped.
    reap(pid);
    c.reap();
    place.run(&["delete", "c"]).ok();
}

/// conmon-rs: argv form, twice the globals; user, env and cwd come from config.json.
#[test]
fn exec_as_conmon_rs_does() {
    let place = Place::new("conmonrs");
    let c = place.create("c", &["sleep", "300"], |c| {
        c["process"]["cwd"] = json!("/home/user");
        c["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        c["process"]["env"] = json!(["PATH=/bin", "COLOUR=green"]);
    });
    c.start();
    let root = format!("--root={}", place.root.display());
    let pid_file = place.dir.join("exec.pid");
    let pid_flag = format!("--pid-file={}", pid_file.display());
    let mut command = cmd(runtime());
    command.args([
        &root,
        &root,
        "exec",
        "-d",
        &pid_flag,
        "c",
        "sh",
        "-c",
        "echo $COLOUR $(pwd) $(id -u); exit 3",
    ]);
    let streams = Streams::give(&mut command);
    limited(&mut command);
    drop(command);
    assert_eq!(streams.stdout.text(), "green /home/user 1000\n");
    let pid = pid_in(&pid_file);
    assert_eq!(reap(pid), exited(pid, 3));
    c.remove();
}

#[test]
fn exec_flags() {
    let place = Place::new("execflags");
    let c = place.started_sh("c", "exec sleep 300");
    let line = "echo $(id -u):$(id -g) $(pwd) $A";
    let out = place
        .run(&[
            "exec",
            "--user",
            "1000:2000",
            "--cwd",
            "/tmp",
            "--env",
            "A=b",
            "c",
            "sh",
            "-c",
            line,
        ])
        .ok();
    assert_eq!(out.out(), "1000:2000 /tmp b");
    // HOME comes from the container's /etc/passwd when nobody sets it.
    let spec = json!({"args": ["sh", "-c", "echo $HOME"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 1000, "gid": 1000}});
    let file = place.dir.join("process.json");
    fs::write(&file, spec.to_string()).unwrap();
    let out = run(place.cmd(&["exec", "--process"]).arg(&file).arg("c")).ok();
    assert_eq!(out.out(), "/home/user");
    c.remove();
}

const NO_MKDIR: &[&str] = &["mkdir", "mkdirat"];

fn deny_mkdir(config: &mut Value) {
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": NO_MKDIR, "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    });
}

/// A filter that an exec'd process escapes is none.
#[test]
fn exec_keeps_the_containers_seccomp_filter() {
    let place = Place::new("seccomp");
    let c = place.create("c", SLEEP, deny_mkdir);
    c.start();
    place
        .run(&["exec", "c", "mkdir", "/tmp/no"])
        .fails()
        .says("Operation not permitted");
    // process.json of the caller holds no filter: it is the container's.
    let file = place.dir.join("process.json");
    fs::write(&file, process(&["mkdir", "/tmp/no"]).to_string()).unwrap();
    run(place.cmd(&["exec", "--process"]).arg(&file).arg("c"))
        .fails()
        .says("Operation not permitted");
    c.remove();
}

/// A container that manages cgroups of its own may take no processes at its top ("no internal
/// processes" in the kernel's cgroup-v2.rst); a new one goes where init is.
#[test]
fn exec_into_a_container_with_cgroups_of_its_own() {
    let place = Place::new("execbusy");
    let c = place.started_sh("c", "exec sleep 300");
    let Some(dir) = cgroup::v2_dir(c.pid) else {
        println!("NOT RUN HERE: no hierarchy of cgroup v2");
        return;
    };
    let controllers = fs::read_to_string(dir.join("cgroup.controllers")).unwrap();
    let Some(controller) = controllers.split_whitespace().next() else {
        println!("NOT RUN HERE: cgroup v2 has no controller to hand on");
        return;
    };
    fs::create_dir(dir.join("inner")).unwrap();
    fs::write(dir.join("inner/cgroup.procs"), c.init().to_string()).unwrap();
    fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
    // The pid that callers are told of is where the container's process is.
    assert_eq!(cgroup::v2_dir(c.pid), Some(dir.join("inner")));
    let command = ["exec", "c", "cat", "/proc/self/cgroup"];
    let seen = place.run(&command).ok();
    let v2 = seen.stdout.lines().find(|l| l.starts_with("0::"));
    assert!(v2.unwrap().ends_with("/inner"), "{seen}");
    // By its name below the container it is found, too.
    place
        .run(&["exec", "--cgroup", "none", "c", "true"])
        .fails();
    place.run(&["delete", "--force", "c"]).ok();
    c.reap();
    assert!(!dir.exists(), "the inner cgroup keeps the outer");
}
