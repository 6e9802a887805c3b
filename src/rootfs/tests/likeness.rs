//! The result beside runc's: mount tables, propagation, cgroups.
//! It must not change the host outside a private mount namespace.

use super::*;

/// The whole table of a usual configuration is runc's, line by line.
#[test]
fn looks_like_runc() {
    let mut bundle = Bundle::new();
    for mount in [
        json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options":
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]}),
        json!({"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options":
            ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]}),
        json!({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options":
            ["nosuid", "noexec", "nodev"]}),
        json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options":
            ["nosuid", "noexec", "nodev", "ro"]}),
        json!({"destination": "/ro", "type": "tmpfs", "options": ["ro", "noatime"]}),
        json!({"destination": "/ro/in/it", "type": "tmpfs", "source": "x"}),
    ] {
        bundle.mount(mount);
    }
    bundle.volume(&["rbind", "ro", "nosuid"]);
    bundle.config["root"]["readonly"] = json!(true);
    bundle.config["linux"]["readonlyPaths"] =
        json!(["/proc/sys", "/proc/bus", "/proc/missing", "/proc/sys"]);
    bundle.config["linux"]["maskedPaths"] = json!([
        "/proc/kcore",
        "/proc/acpi",
        "/proc/keys",
        "/sys/firmware",
        "/missing",
        "/proc/keys"
    ]);
    let ours = bundle.probe(mountinfo).unwrap();
    let Some(runc) = bundle.runc(|| ()) else {
        return;
    };
    // runc mounts a path that is listed twice twice.
    let mut expected = table(&runc);
    let twice = expected
        .iter()
        .rposition(|l| l.starts_with("/proc/sys "))
        .unwrap();
    expected.remove(twice);
    let twice = expected
        .iter()
        .rposition(|l| l.starts_with("/proc/keys "))
        .unwrap();
    expected.remove(twice);
    assert_eq!(table(&ours), expected);
}

/// Propagation of root and volumes, on a host whose mounts are shared, against runc.
#[test]
fn propagation_is_that_of_runc() {
    // (rootfsPropagation, options of the volume, the same as runc 1.1)
    let cases: &[(Option<&str>, &[&str], bool)] = &[
        (None, &["rbind"], true),
        (None, &["bind"], true),
        (None, &["rbind", "rprivate"], true),
        (None, &["rbind", "rshared"], true),
        (None, &["rbind", "shared"], true),
        (None, &["rbind", "slave"], true),
        (None, &["rbind", "runbindable"], true),
        (Some("rslave"), &["rbind"], true),
        (Some("rprivate"), &["rbind"], true),
        (Some("rprivate"), &["rbind", "rshared"], true),
        (Some("shared"), &["rbind", "rshared"], true),
        (Some("rshared"), &["rbind"], true),
        (Some("rshared"), &["rbind", "rslave"], true),
        // Cut from the host, where runc leaves volumes in its peer group.
        (Some("slave"), &["rbind"], false),
        (Some("private"), &["rbind"], false),
    ];
    for (root, options, same) in cases {
        let mut bundle = Bundle::new();
        let source = bundle.volume(options);
        if let Some(root) = root {
            bundle.config["linux"]["rootfsPropagation"] = json!(root);
        }
        let host = || {
            tmpfs(&source, MsFlags::empty());
            tmpfs(&source.join("sub"), MsFlags::empty());
            for path in [&source, &source.join("sub")] {
                propagate(path.to_str().unwrap(), MsFlags::MS_SHARED);
            }
        };
        let ours = bundle.probe_on(host, mountinfo).unwrap();
        let Some(runc) = bundle.runc(host) else {
            return;
        };
        let lines = |text: &str| -> Vec<String> {
            let table = table(text).into_iter();
            table.filter(|line| line.starts_with("/vol")).collect()
        };
        let what = format!("{root:?} {options:?}");
        if *same {
            assert_eq!(lines(&ours), lines(&runc), "{what}");
        } else {
            assert!(lines(&ours).iter().all(|l| !l.contains("shared")), "{what}");
        }
    }
}

/// runc 1.1 sets no propagation on the root and fails for unbindable; the specification asks for it.
#[test]
fn root_gets_its_propagation() {
    for (word, expected) in [
        ("shared", "[\"shared\"]"),
        ("rshared", "[\"shared\"]"),
        ("unbindable", "[\"unbindable\"]"),
        ("runbindable", "[\"unbindable\"]"),
        ("private", "[]"),
        ("rslave", "[\"master\"]"),
    ] {
        let mut bundle = Bundle::new();
        bundle.config["linux"]["rootfsPropagation"] = json!(word);
        let root = bundle.path("rootfs");
        let host = || {
            let flags = MsFlags::MS_BIND;
            mount(Some(&root), &root, None::<&str>, flags, None::<&str>).unwrap();
            propagate(root.to_str().unwrap(), MsFlags::MS_SHARED);
        };
        let line = line_of(&bundle.probe_on(host, mountinfo).unwrap(), "/");
        assert!(line.contains(expected), "{word}: {line}");
    }
}

/// The machine's own arrangement, with and without a cgroup namespace, against runc.
#[test]
fn cgroups_of_the_host() {
    if matches!(get_cgroup_setup().unwrap(), CgroupSetup::Unified) {
        println!("skipped: this host has no cgroup v1");
        return;
    }
    for namespaced in [false, true] {
        let mut bundle = Bundle::new();
        bundle.mount(json!({"destination": "/sys", "type": "sysfs", "source": "sysfs"}));
        bundle.mount(
            json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}),
        );
        if namespaced {
            bundle.namespace("cgroup", CloneFlags::CLONE_NEWCGROUP);
        }
        let ours = bundle.probe(mountinfo).unwrap();
        let Some(runc) = bundle.runc(|| ()) else {
            return;
        };
        let points = |text: &str| -> Vec<String> {
            let table = table(text).into_iter();
            let cgroups = table.filter(|line| line.starts_with("/sys/fs/cgroup/"));
            // The cgroup itself differs: runc made one.
            cgroups
                .map(|line| {
                    let fields: Vec<&str> = line.split(' ').collect();
                    format!("{} {} {}", fields[0], fields[2], fields[4])
                })
                .collect()
        };
        assert_eq!(points(&ours), points(&runc), "namespaced: {namespaced}");
        assert!(points(&ours).len() > 1);
        assert!(line_of(&ours, "/sys/fs/cgroup").contains("ro,nosuid"));
    }
}

#[test]
fn unified_cgroups() {
    for namespaced in [false, true] {
        let mut bundle = Bundle::new();
        bundle.mount(json!({"destination": "/sys", "type": "sysfs", "source": "sysfs"}));
        bundle.mount(
            json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}),
        );
        if namespaced {
            bundle.namespace("cgroup", CloneFlags::CLONE_NEWCGROUP);
        }
        let host = || {
            let none = None::<&str>;
            nix::mount::umount2("/sys/fs/cgroup", nix::mount::MntFlags::MNT_DETACH).unwrap();
            mount(
                Some("cgroup2"),
                "/sys/fs/cgroup",
                Some("cgroup2"),
                MsFlags::empty(),
                none,
            )
            .unwrap();
        };
        let inside = bundle.probe_on(host, mountinfo).unwrap();
        let line = line_of(&inside, "/sys/fs/cgroup");
        assert!(
            line.contains("/sys/fs/cgroup / ro,nosuid,nodev,noexec") && line.ends_with("cgroup2"),
            "{line}"
        );
    }
}
