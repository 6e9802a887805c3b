//! Containers that make it hard for whoever stands for them, and bundles with everything optional.

use std::process::Command;

use crate::*;

#[test]
fn one_that_ends_at_once() {
    let place = Place::new("atonce");
    for round in 0..5 {
        let c = place.started_sh("c", "exit 3");
        assert_eq!(c.reap(), exited(c.pid, 3), "round {round}");
        assert_eq!(place.status("c"), "stopped");
        place.run(&["delete", "c"]).ok();
    }
}

#[test]
fn one_that_ignores_term() {
    let place = Place::new("ignores");
    let c = place.started_sh(
        "c",
        "trap '' TERM; echo ready; while :; do sleep 0.05; done",
    );
    std::thread::sleep(Duration::from_millis(300));
    c.kill("TERM").ok();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(place.status("c"), "running");
    place.run(&["delete", "--force", "c"]).ok();
    let by = WaitStatus::Signaled(Pid::from_raw(c.pid), Signal::SIGKILL, false);
    assert_eq!(c.reap(), by);
    assert!(!cgroup::populated(&format!("{}/c", place.cgroup)));
}

#[test]
fn one_with_a_thousand_children() {
    let place = Place::new("thousand");
    let script = "i=0; while [ $i -lt 1000 ]; do sleep 300 & i=$((i+1)); done; wait";
    let c = place.started_sh("c", script);
    let count = || {
        let pids = place.run(&["ps", "--format", "json", "c"]).ok().json();
        pids.as_array().unwrap().len()
    };
    common::wait_at_most(Duration::from_secs(60), "a thousand and one", || {
        count() == 1001
    });
    place.run(&["delete", "--force", "c"]).ok();
    c.reap();
    assert_eq!(cgroup::all_with(&format!("{}/c", place.cgroup)).len(), 0);
}

#[test]
fn one_whose_init_is_stopped() {
    let place = Place::new("stopped");
    let c = place.started_sh("c", "exec sleep 300");
    kill(Pid::from_raw(c.init()), Signal::SIGSTOP).unwrap();
    assert_eq!(place.status("c"), "running");
    assert_eq!(place.run(&["exec", "c", "echo", "in"]).ok().out(), "in");
    c.kill("TERM").ok();
    assert_eq!(
        place.status("c"),
        "running",
        "a stopped process takes no SIGTERM"
    );
    place.run(&["delete", "--force", "c"]).ok();
    c.reap();
    place.run(&["state", "c"]).fails().says("does not exist");
}

/// Ten megabytes for a reader, and for nobody.
#[test]
fn one_with_much_output() {
    let place = Place::new("much");
    let script = "dd if=/dev/zero bs=1024 count=10240 2>/dev/null | tr '\\0' x; exit 4";
    let c = place.started_sh("read", script);
    assert_eq!(c.reap(), exited(c.pid, 4));
    assert_eq!(c.streams.stdout.text().len(), 10 << 20);
    place.run(&["delete", "read"]).ok();

    let bundle = place.bundle("unread", &["sh", "-c", script], nothing);
    let (_unread, out) = nix::unistd::pipe().unwrap();
    let mut create = place.cmd(&["create", "--bundle"]);
    create
        .arg(&bundle.dir)
        .arg("--pid-file")
        .arg(bundle.path("pid"));
    create.arg("unread").stdout(Stdio::from(out));
    assert!(common::command::status(&mut create).success());
    drop(create);
    place.run(&["start", "unread"]).ok();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(place.status("unread"), "running", "it waits for its reader");
    place.run(&["delete", "--force", "unread"]).ok();
    reap(pid_in(&bundle.path("pid")));
}

#[test]
fn one_without_a_standard_input() {
    let place = Place::new("closed");
    let bundle = place.bundle("c", &["sh", "-c", "cat; exit 5"], nothing);
    let mut create = cmd("sh");
    create.args(["-c", "exec \"$@\" <&-", "sh"]);
    create.arg(runtime()).arg("--root").arg(&place.root);
    create.args(["create", "--bundle"]).arg(&bundle.dir);
    create.arg("--pid-file").arg(bundle.path("pid")).arg("c");
    assert!(common::command::status(&mut create).success());
    place.run(&["start", "c"]).ok();
    let pid = pid_in(&bundle.path("pid"));
    assert_eq!(reap(pid), exited(pid, 5));
    place.run(&["delete", "c"]).ok();
}

/// What few bundles ask for takes effect, each seen from inside.
#[test]
fn one_with_much_that_is_optional() {
    let place = Place::new("optional");
    let source = place.dir.join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "here").unwrap();
    let device = format!("pxt{}", std::process::id() % 100_000);
    let add = ["link", "add", &device, "type", "dummy"];
    let net = Command::new("ip").args(add).status();
    let net = net.is_ok_and(|status| status.success());
    let numa = Path::new("/proc/self/numa_maps").exists();
    let time = Path::new("/proc/self/timens_offsets").exists();
    for (there, what) in [
        (net, "dummy device"),
        (numa, "NUMA"),
        (time, "time namespace"),
    ] {
        if !there {
            println!("LEFT OUT: no {what} on this machine");
        }
    }
    let script = "echo machine $(uname -m); echo policy $(awk '{print $41, $19}' /proc/self/stat); \
        echo io $(ionice); echo owner $(stat -c %u /mnt/mapped/file); \
        echo copied $(ls /copyup | wc -l); touch /mnt/locked/x 2>/dev/null || echo locked; \
        echo uptime $(awk '{print int($1 / 1000000)}' /proc/uptime); \
        echo memory $(grep -c bind:0 /proc/self/numa_maps); \
        echo device $(grep -c inside0: /proc/net/dev)";
    let c = place.create("c", &["sh", "-c", script], |c| {
        c["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 5});
        c["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 5});
        c["linux"]["personality"] = json!({"domain": "LINUX32"});
        if numa {
            c["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "0"});
        }
        if time {
            let offset = json!({"secs": 1_000_000, "nanosecs": 0});
            c["linux"]["timeOffsets"] = json!({"boottime": offset});
            let namespaces = c["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.push(json!({"type": "time"}));
        }
        if net {
            c["linux"]["netDevices"] = json!({&device: {"name": "inside0"}});
        }
        let ids = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        c["mounts"].as_array_mut().unwrap().extend([
            json!({"destination": "/mnt/mapped", "type": "bind", "source": source,
                   "options": ["bind", "idmap"], "uidMappings": ids, "gidMappings": ids}),
            json!({"destination": "/mnt/locked", "type": "bind", "source": source,
                   "options": ["rbind", "rro"]}),
            json!({"destination": "/copyup", "type": "tmpfs", "source": "tmpfs",
                   "options": ["tmpcopyup"]}),
        ]);
    });
    c.start();
    c.reap();
    let said = c.streams.stdout.text();
    let all = format!("{said}{}", c.streams.stderr.text());
    let copied = fs::read_dir(Place::rootfs().join("copyup"))
        .unwrap()
        .count();
    let mut expected = vec![
        "machine i686".to_owned(),
        "policy 3 5".to_owned(),
        "io best-effort: prio 5".to_owned(),
        "owner 1000".to_owned(),
        format!("copied {copied}"),
        "locked".to_owned(),
    ];
    if time {
        expected.push("uptime 1".to_owned());
    }
    if net {
        expected.push("device 1".to_owned());
    }
    for line in expected {
        assert!(said.lines().any(|l| l == line), "no `{line}` in {all}");
    }
    let policies = said.lines().find_map(|l| l.strip_prefix("memory "));
    assert!(!numa || policies.is_some_and(|n| n != "0"), "{all}");
    place.run(&["delete", "c"]).ok();
    let _ = Command::new("ip").args(["link", "del", &device]).status();
}
