//! Who the processes are and what they may: capabilities, the cgroup tree, a set-user-ID runtime.

use crate::*;

fn status_line(output: &Output, name: &str) -> u64 {
    let line = output.stdout.lines().find_map(|l| l.strip_prefix(name));
    let hex = line
        .unwrap_or_else(|| panic!("no {name} in {output}"))
        .trim();
    u64::from_str_radix(hex, 16).unwrap_or_else(|e| panic!("{hex}: {e}"))
}

/// CVE-2022-29162: `exec` with inheritable capabilities that the container doesn't have. By hand:
/// where they are asked for they are seen.
#[test]
fn cve_2022_29162_nothing_is_inheritable_unasked() {
    let trap = Trap::new("inherit");
    let ask = |config: &mut Value| {
        let list = config["process"]["capabilities"]["permitted"].clone();
        config["process"]["capabilities"]["inheritable"] = list;
    };
    let asked = trap.run("asked", &["cat", "/proc/self/status"], ask);
    assert_ne!(status_line(&asked, "CapInh:"), 0, "{asked}");
    let bundle = trap.bundle("c", &["sleep", "300"], nothing);
    let c = trap.place.create_in("c", &bundle);
    c.start();
    for flags in [&[][..], &["--cap", "CAP_NET_RAW"], &["--user", "1000"]] {
        let args = [&["exec"], flags, &["c", "cat", "/proc/self/status"]].concat();
        let output = trap.place.run(&args).ok();
        assert_eq!(status_line(&output, "CapInh:"), 0, "{output}");
        assert_eq!(status_line(&output, "CapAmb:"), 0, "{output}");
    }
    c.remove();
}

/// CVE-2023-25809: in a user namespace without a cgroup namespace the host's cgroup tree was
/// writable. Root of the container is root of the host here, so no owner is in the way. By hand:
/// a tree that is bound writable is written to.
#[test]
fn cve_2023_25809_the_cgroup_tree_is_not_writable() {
    let trap = Trap::new("cgroupro");
    let identity = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    let with = |mount: Value| {
        let identity = identity.clone();
        move |config: &mut Value| {
            config["linux"]["uidMappings"] = identity.clone();
            config["linux"]["gidMappings"] = identity;
            let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.push(json!({"type": "user"}));
            config["mounts"].as_array_mut().unwrap().push(mount);
        }
    };
    let write = "for f in $(find /sys/fs/cgroup -name cgroup.procs); do echo $$ >$f && echo wrote $f; done 2>/dev/null; test -d /sys/fs/cgroup && echo looked";
    let writable = json!({"destination": "/sys/fs/cgroup", "type": "bind", "source": "/sys/fs/cgroup", "options": ["rbind", "rw"]});
    let open = trap.run("open", &["sh", "-c", write], with(writable));
    assert!(open.stdout.contains("wrote"), "by hand: {open}");
    let asked = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]});
    let output = trap.run("ro", &["sh", "-c", write], with(asked));
    assert!(output.stdout.contains("looked"), "{output}");
    assert!(!output.stdout.contains("wrote"), "{output}");
}

/// CVE-2022-47952: a set-user-ID helper of LXC told strangers which files exist. pxrun installs
/// none, and refuses to be one. By hand: without the bit the same file answers the same user.
#[test]
fn cve_2022_47952_no_set_user_id() {
    let trap = Trap::new("setuid");
    let copy = trap.place.dir.join("pxrun-setuid");
    image::copy_program(&runtime(), &copy);
    let as_nobody = |args: &[&str]| {
        let mut command = cmd("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        run(command.arg(&copy).args(args))
    };
    let mode = |mode| fs::set_permissions(&copy, fs::Permissions::from_mode(mode)).expect("chmod");
    mode(0o755);
    as_nobody(&["--version"]).ok().says("pxrun version");
    for bits in [0o4755, 0o2755] {
        mode(bits);
        for args in [
            &["--version"][..],
            &["--root", "/root/.ssh", "state", "x"],
            &["--log", "/root/x", "list"],
        ] {
            as_nobody(args).fails().says("set-user-ID");
        }
    }
}

/// What waits for `start` is the user's already: ids, capabilities, groups; and nobody of the
/// container may look into it (CVE-2016-9962). By hand: this process is open to its owner.
#[test]
fn the_waiting_init_has_only_the_users_rights() {
    let trap = Trap::new("rights");
    let bundle = trap.bundle("c", &["sleep", "300"], |config| {
        config["process"]["user"] = json!({"uid": 1000, "gid": 1000, "additionalGids": [2000]});
        let asked = json!(["CAP_KILL"]);
        config["process"]["capabilities"] =
            json!({"bounding": asked, "effective": asked, "permitted": asked});
    });
    let c = trap.place.create_in("c", &bundle);
    let init = c.init().to_string();
    let look = run(cmd("cat").arg(format!("/proc/{init}/status"))).ok();
    for (set, bits) in [
        ("CapEff:", 1 << 5),
        ("CapPrm:", 1 << 5),
        ("CapBnd:", 1 << 5),
    ] {
        assert_eq!(status_line(&look, set), bits, "{set} {look}");
    }
    for set in ["CapInh:", "CapAmb:"] {
        assert_eq!(status_line(&look, set), 0, "{set} {look}");
    }
    for line in [
        "Uid:\t1000\t1000\t1000\t1000",
        "Gid:\t1000\t1000\t1000\t1000",
        "Groups:\t2000",
    ] {
        assert!(look.stdout.contains(line), "{line} in {look}");
    }
    // proc_pid_fd(5): the directory of what isn't dumpable belongs to root, whoever runs it.
    let owner = |pid: &str| {
        fs::metadata(format!("/proc/{pid}/fd"))
            .expect("stat it")
            .uid()
    };
    assert_eq!(owner(&init), 0);
    c.start();
    wait_until("the user's program runs", || owner(&init) == 1000);
    c.remove();
}

/// Without root at all: refused with what is missing, and as root of a user namespace, which is what
/// rootless podman calls the runtime in, it runs.
#[test]
fn an_ordinary_user_needs_a_user_namespace() {
    if has_keeper() {
        println!("NOT RUN HERE: LXC and Proxmox need root");
        return;
    }
    let trap = Trap::new("rootless");
    let (copy, root) = (
        trap.place.dir.join("pxrun-rootless"),
        trap.place.dir.join("theirs"),
    );
    image::copy_program(&runtime(), &copy);
    fs::create_dir(&root).expect("make a root for them");
    std::os::unix::fs::chown(&root, Some(65534), Some(65534)).expect("give it to them");
    let bundle = trap.bundle("c", &["id", "-u"], |config| {
        let mine = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
        config["linux"]["uidMappings"] = mine.clone();
        config["linux"]["gidMappings"] = mine;
        config["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({"type": "user"}));
        config["linux"].as_object_mut().unwrap().remove("resources");
        config["linux"]
            .as_object_mut()
            .unwrap()
            .remove("cgroupsPath");
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|m| m["type"] != "devpts");
    });
    let as_nobody = |around: &[&str]| {
        let mut command = cmd("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.args(around).arg(&copy).arg("--root").arg(&root);
        command.args(["--cgroup-manager", "disabled", "run", "--bundle"]);
        run(command.arg(&bundle.dir).arg("c"))
    };
    let refused = as_nobody(&[]).fails().says("CAP_SYS_ADMIN is missing");
    assert_eq!(refused.stderr.trim().lines().count(), 1, "{refused}");
    let ran = as_nobody(&["unshare", "--map-root-user", "--mount"]).ok();
    assert_eq!(ran.out(), "0");
    let left = fs::read_dir(&root).expect("list it").flatten();
    let left: Vec<_> = left
        .map(|e| e.file_name())
        .filter(|n| n != "@filters")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
