//! Namespaces: own, shared, the host's, and pods.

use crate::*;

#[test]
fn user_namespace_with_a_given_map() {
    let map = ["--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536"];
    let output = once(&map, &["sh", "-c", "cat /proc/self/uid_map /proc/self/gid_map; id -u; touch /root/mine && stat -c %u /root/mine"]).ok();
    let words: Vec<_> = output.stdout.split_whitespace().collect();
    assert_eq!(
        words,
        ["0", "100000", "65536", "0", "200000", "65536", "0", "0"]
    );
    let c = Stays::run(&map, FOREVER);
    let status = fs::read_to_string(format!("/proc/{}/status", init_of(c.pid()))).unwrap();
    assert!(status.contains("Uid:\t100000\t"), "{status}");
    assert_eq!(
        c.exec(&["--user", "1000"], &["id", "-u"]).ok().out(),
        "1000"
    );
}

#[test]
fn user_namespace_auto() {
    if lacks("subuid") {
        return;
    }
    let output = once(&["--userns", "auto"], &["cat", "/proc/self/uid_map"]).ok();
    assert_ne!(
        output.stdout.split_whitespace().nth(1),
        Some("0"),
        "{output}"
    );
}

#[test]
fn namespaces_of_another_container() {
    let first = Stays::run(
        &["--hostname", "first", "--ipc", "shareable"],
        "exec sleep 298",
    );
    let peer = format!("container:{}", first.name);
    let ns =
        |pid: i32, kind: &str| fs::read_link(format!("/proc/{}/ns/{kind}", init_of(pid))).unwrap();
    for (flag, kind) in [
        ("--pid", "pid"),
        ("--network", "net"),
        ("--ipc", "ipc"),
        ("--uts", "uts"),
    ] {
        if flag == "--uts" {
            continue;
        }
        let second = Stays::run(&[flag, &peer], FOREVER);
        let same = ns(first.pid(), kind) == ns(second.pid(), kind);
        assert!(same, "{flag}: not the same {kind} namespace");
        let other = if kind == "pid" { "ipc" } else { "pid" };
        assert_ne!(
            ns(first.pid(), other),
            ns(second.pid(), other),
            "{flag} gave {other} too"
        );
        if flag == "--pid" {
            let seen = second.exec(&[], &["ps", "-o", "args"]).ok();
            assert!(
                seen.stdout.contains("sleep 298") && seen.stdout.contains("sleep 300"),
                "{seen}"
            );
            second.call(&["stop", "--time", "0"]).ok();
            assert!(alive(first.pid()));
        }
    }
}

#[test]
fn the_hosts_pid_namespace() {
    let c = Stays::run(&["--pid", "host"], "sleep 300 & exec sleep 300");
    let pid = c.pid();
    let own = fs::read_link("/proc/self/ns/pid").unwrap();
    assert_eq!(fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap(), own);
    c.exec(
        &[],
        &["test", "-d", &format!("/proc/{}", std::process::id())],
    )
    .ok();
    let group = cgroup::dir(pid, "pids").expect("a pids cgroup");
    c.call(&["stop", "--time", "0"]).ok();
    // No init of a pid namespace takes the others with it: the runtime must.
    wait_until("all processes are gone", || {
        fs::read_to_string(group.join("cgroup.procs"))
            .unwrap_or_default()
            .is_empty()
    });
}

#[test]
fn host_network_and_uts() {
    let output = once(
        &["--network", "host", "--uts", "host"],
        &[
            "sh",
            "-c",
            "readlink /proc/self/ns/net; readlink /proc/self/ns/uts",
        ],
    )
    .ok();
    let own = |kind: &str| {
        fs::read_link(format!("/proc/self/ns/{kind}"))
            .unwrap()
            .to_string_lossy()
            .into_owned()
    };
    assert_eq!(
        output.stdout.lines().collect::<Vec<_>>(),
        [own("net"), own("uts")]
    );
}

#[test]
fn bridge_network() {
    if lacks("bridge") {
        return;
    }
    let server = Stays::run(
        &["--network", "pxt"],
        "echo hello >/tmp/index; exec httpd -f -p 80 -h /tmp",
    );
    let address = server.inspect(".NetworkSettings.Networks.pxt.IPAddress");
    assert!(address.starts_with("10.213.77."), "{address}");
    let url = format!("http://{address}/index");
    let fetch =
        format!("for i in 1 2 3 4 5 6 7 8; do wget -qO- {url} && exit 0; sleep 0.2; done; exit 1");
    assert_eq!(
        once(&["--network", "pxt"], &["sh", "-c", &fetch])
            .ok()
            .out(),
        "hello"
    );
}

#[test]
fn pods() {
    let name = unique("pod");
    let parent = format!("/{}", podman().sandbox.name);
    let infra = ["--infra-image", IMAGE, "--infra-command", "/bin/sleep 300"];
    // No default network: the infra container would get the bridge.
    let create = [
        "pod",
        "create",
        "--name",
        &name,
        "--network",
        "none",
        "--share",
        "net,ipc,uts,pid",
        "--cgroup-parent",
        &parent,
    ];
    run(podman().cmd(&create).args(infra)).ok();
    let flags = ["--pod", name.as_str()];
    let one = Stays::run(&flags, "exec sleep 299");
    let two = Stays::run(&flags, FOREVER);
    for kind in ["net", "ipc", "uts", "pid"] {
        let ns = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert_eq!(ns(one.pid()), ns(two.pid()), "{kind}");
    }
    let seen = two.exec(&[], &["ps", "-o", "args"]).ok();
    assert!(seen.stdout.contains("sleep 299"), "{seen}");
    assert_eq!(two.exec(&[], &["hostname"]).ok().out(), name);
    call(&["pod", "stop", "--time", "0", &name]).ok();
    call(&["pod", "start", &name]).ok();
    assert_eq!(one.inspect(".State.Status"), "running");
    call(&["pod", "rm", "--force", "--time", "0", &name]).ok();
    call(&["container", "exists", &one.id]).exits(1);
}
