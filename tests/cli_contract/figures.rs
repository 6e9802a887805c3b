//! What tools read and change: list, ps, events, update, pause.

use crate::*;

/// Keys and kinds of runc 1.1.5's answers.
fn keys(value: &Value) -> Vec<String> {
    let mut keys: Vec<_> = value
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect();
    keys.sort();
    keys
}

#[test]
fn state_and_list_have_runcs_shape() {
    let place = Place::new("shapes");
    let c = place.create("c", SLEEP, |c| {
        c["annotations"]["org.example"] = json!("kept")
    });
    c.start();
    let state = place.state("c");
    for key in [
        "ociVersion",
        "id",
        "pid",
        "status",
        "bundle",
        "rootfs",
        "created",
        "annotations",
        "owner",
    ] {
        assert!(!state[key].is_null(), "state has no {key}: {state}");
    }
    assert_eq!(state["annotations"]["org.example"], "kept");
    let list = place.run(&["list", "--format=json"]).ok().json();
    let mut of_list = keys(&list[0]);
    // pxrun's own addition.
    of_list.retain(|key| *key != "backend");
    assert_eq!(of_list, keys(&state));
    assert_eq!(list[0]["id"], "c");
    let table = place.run(&["list"]).ok().stdout;
    let head: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(
        head[..6],
        ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    );
    assert_eq!(place.run(&["list", "-q"]).ok().out(), "c");
    c.remove();
    assert!(
        place.run(&["list", "--format", "json"]).ok().out() == "null",
        "an empty list is null, as in runc"
    );
}

#[test]
fn ps_gives_host_pids() {
    let place = Place::new("ps");
    let c = place.started_sh("c", "sleep 300 & exec sleep 300");
    wait_until("two processes", || {
        place
            .run(&["ps", "--format", "json", "c"])
            .json()
            .as_array()
            .unwrap()
            .len()
            == 2
    });
    let pids = place.run(&["ps", "--format", "json", "c"]).ok().json();
    assert!(
        pids.as_array().unwrap().contains(&json!(c.init())),
        "{pids}"
    );
    let table = place.run(&["ps", "--format", "table", "c"]).ok().stdout;
    assert!(table.starts_with("UID"), "{table}");
    assert_eq!(table.lines().count(), 3, "{table}");
    let table = place.run(&["ps", "c", "-o", "pid,comm"]).ok().stdout;
    assert!(table.contains("sleep"), "{table}");
    c.remove();
}

#[test]
fn events_stats_have_runcs_shape() {
    let place = Place::new("events");
    let c = place.started_sh("c", "exec sleep 300");
    let event = place.run(&["events", "--stats", "c"]).ok().json();
    assert_eq!(keys(&event), ["data", "id", "type"]);
    assert_eq!(
        (&event["type"], &event["id"]),
        (&json!("stats"), &json!("c"))
    );
    let yardstick = [
        "cpu",
        "cpuset",
        "memory",
        "pids",
        "blkio",
        "hugetlb",
        "intel_rdt",
        "network_interfaces",
    ];
    for key in yardstick {
        let there = event["data"].as_object().unwrap().contains_key(key);
        assert!(there, "data has no {key}: {event}");
    }
    assert!(
        event["data"]["cpu"]["usage"]["total"].as_u64().is_some(),
        "{event}"
    );
    if !lacks("memory-controller") {
        let usage = &event["data"]["memory"]["usage"]["usage"];
        assert!(usage.as_u64().is_some_and(|n| n > 0), "{event}");
    }
    if !lacks("pids-controller") {
        assert_eq!(event["data"]["pids"]["current"], 1, "{event}");
    }
    c.remove();
    place.run(&["events", "--stats", "c"]).fails();
}

/// Statistics at each interval, a line for want of memory, and an end with the container.
#[test]
fn events_follow_the_container_to_its_end() {
    let place = Place::new("follow");
    let c = place.create("c", SLEEP, |c| {
        if !lacks("memory-controller") {
            c["linux"]["resources"]["memory"] = json!({"limit": 16 << 20});
        }
    });
    c.start();
    let events = start(&mut place.cmd(&["events", "--interval", "300ms", "c"]));
    std::thread::sleep(Duration::from_millis(500));
    if !lacks("memory-controller") {
        let hog = "head -c 100000000 /dev/zero | tail -c 90000000 >/dev/null";
        place.run(&["exec", "c", "sh", "-c", hog]);
    }
    std::thread::sleep(Duration::from_millis(500));
    place.run(&["delete", "--force", "c"]).ok();
    c.reap();
    let seen = events.end().exits(0);
    let lines: Vec<Value> = seen
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |kind: &str| lines.iter().filter(|l| l["type"] == kind).count();
    assert!(of("stats") >= 2, "{seen}");
    if !lacks("memory-controller") {
        assert!(lines.contains(&json!({"type": "oom", "id": "c"})), "{seen}");
    }
    assert_eq!(of("stats") + of("oom"), lines.len());
    assert!(!seen.stderr.contains("error"), "{seen}");
    let zero = place.run(&["events", "--interval", "0s", "c"]).fails();
    zero.says("--interval");
}

/// Without resctrl on the host, as on most, the flags are refused before anything is changed.
#[test]
fn update_of_intel_rdt() {
    let place = Place::new("rdt");
    let c = place.started_sh("c", "exec sleep 300");
    let wrong = place
        .run(&["update", "--mem-bw-schema", "L3:0=f", "c"])
        .fails();
    wrong.says("--mem-bw-schema: `L3:0=f`, expected one line that starts with `MB:`");
    if Path::new("/sys/fs/resctrl/schemata").exists() {
        println!("NOT RUN HERE: this host has resctrl, and the test would change it");
    } else {
        let flags = ["--l3-cache-schema", "L3:0=f", "--mem-bw-schema", "MB:0=20"];
        let update = [&["update"], &flags[..], &["c"]].concat();
        place
            .run(&update)
            .fails()
            .says("no resctrl file system is mounted");
        let bundle = place.bundle("d", SLEEP, |c| {
            c["linux"]["intelRdt"] = json!({"l3CacheSchema": "L3:0=f"});
        });
        let mut create = place.cmd(&["create", "--bundle"]);
        let refused = run(create.arg(&bundle.dir).arg("d")).fails();
        refused.says("linux.intelRdt: no resctrl file system is mounted on this host");
        place.run(&["state", "d"]).fails().says("does not exist");
    }
    c.remove();
}

#[test]
fn update_reaches_the_cgroup() {
    if lacks("memory-controller") || lacks("pids-controller") {
        return;
    }
    let place = Place::new("update");
    let c = place.create("c", SLEEP, |c| {
        c["linux"]["resources"]["pids"] = json!({"limit": 100})
    });
    let pids = || cgroup::value(c.pid, "pids", "pids.max", "pids.max");
    let memory = || cgroup::value(c.pid, "memory", "memory.limit_in_bytes", "memory.max");
    assert_eq!(pids(), "100");
    c.start();
    place.run(&["update", "--pids-limit", "77", "c"]).ok();
    assert_eq!(pids(), "77");
    // CRI-O's form, the shim's form, podman's form.
    let json =
        |limit: u32| json!({"pids": {"limit": limit}, "memory": {"limit": 100 << 20}}).to_string();
    feed(
        &mut place.cmd(&["update", "--resources", "-", "c"]),
        json(66).as_bytes(),
    )
    .ok();
    assert_eq!((pids(), memory()), ("66".into(), (100 << 20).to_string()));
    feed(
        &mut place.cmd(&["update", "--resources=-", "c"]),
        json(55).as_bytes(),
    )
    .ok();
    assert_eq!(pids(), "55");
    let file = place.dir.join("resources");
    fs::write(&file, json(44)).unwrap();
    place
        .run(&["update", &format!("--resources={}", file.display()), "c"])
        .ok();
    assert_eq!(pids(), "44");
    place
        .run(&[
            "update",
            "--memory",
            "67108864",
            "--cpu-quota",
            "50000",
            "--cpu-period",
            "100000",
            "c",
        ])
        .ok();
    assert_eq!(memory(), (64 << 20).to_string());
    let v2 = |v1: &str| cgroup::value(c.pid, "cpu", v1, "cpu.max");
    assert!(["50000", "50000 100000"].contains(&v2("cpu.cfs_quota_us").as_str()));
    place.run(&["update", "--memory", "-1", "c"]).ok();
    assert_ne!(memory(), (64 << 20).to_string());
    c.remove();
}

#[test]
fn pause_and_resume() {
    let place = Place::new("pause");
    let c = place.started_sh("c", "exec sleep 300");
    place.run(&["pause", "c"]).ok();
    assert_eq!(place.status("c"), "paused");
    place.run(&["exec", "c", "true"]).fails().says("paused");
    place.run(&["resume", "c"]).ok();
    assert_eq!(place.status("c"), "running");
    place.run(&["resume", "c"]).fails();
    place.run(&["pause", "c"]).ok();
    place.run(&["delete", "--force", "c"]).ok();
    c.reap();
}
