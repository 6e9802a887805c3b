//! What the container finds in its root: files, devices, attributes, covers.
//! It must not change the host outside a private mount namespace.

use super::*;

#[test]
fn tmpfs_begins_with_what_it_covers() {
    let mut bundle = Bundle::new();
    let etc = bundle.path("rootfs/etc");
    fs::create_dir(etc.join("d")).unwrap();
    fs::write(etc.join("d/f"), "text").unwrap();
    chown(etc.join("d/f"), Some(5), Some(6)).unwrap();
    fs::set_permissions(etc.join("d/f"), PermissionsExt::from_mode(0o640)).unwrap();
    fs::set_permissions(&etc, PermissionsExt::from_mode(0o711)).unwrap();
    symlink("/bin/x", etc.join("link")).unwrap();
    bundle.mount(json!({"destination": "/etc", "type": "tmpfs",
        "options": ["tmpcopyup", "ro", "size=1m"]}));
    fs::set_permissions(bundle.path("rootfs/bin"), PermissionsExt::from_mode(0o1710)).unwrap();
    bundle.mount(json!({"destination": "/bin", "type": "tmpfs"}));
    bundle.mount(json!({"destination": "/tmp", "type": "tmpfs", "options": ["mode=700"]}));
    let probed = bundle
        .probe(|| {
            let file = fs::metadata("/etc/d/f").unwrap();
            assert!(is_read_only("/etc"));
            assert_eq!(fs::read_link("/etc/link").unwrap(), Path::new("/bin/x"));
            let mode = |path| fs::metadata(path).unwrap().mode();
            format!(
                "{} {}:{} {:o} {:o} {:o} {:o}",
                fs::read_to_string("/etc/d/f").unwrap(),
                file.uid(),
                file.gid(),
                file.mode(),
                mode("/etc"),
                mode("/bin"),
                mode("/tmp"),
            )
        })
        .unwrap();
    assert_eq!(probed, "text 5:6 100640 40711 41710 40700");
}

#[test]
fn idmapped_mounts_show_mapped_owners() {
    let mapping = json!([{"containerID": 0, "hostID": 5000, "size": 100}]);
    // (option, owner of the top file, owner of a file in a mount below)
    for (option, top, below) in [("idmap", 5003, 3), ("ridmap", 5003, 5003), ("", 5003, 3)] {
        let mut bundle = Bundle::new();
        let source = bundle.volume(&["rbind", option]);
        bundle.config["mounts"][2]["uidMappings"] = mapping.clone();
        bundle.config["mounts"][2]["gidMappings"] = mapping.clone();
        let host = || {
            tmpfs(&source.join("sub"), MsFlags::empty());
            for file in [source.join("f"), source.join("sub/f")] {
                fs::write(&file, "").unwrap();
                chown(&file, Some(3), Some(4)).unwrap();
            }
        };
        let probed = bundle.probe_on(host, || {
            let owner = |path| fs::metadata(path).unwrap().uid();
            format!("{} {}", owner("/vol/f"), owner("/vol/sub/f"))
        });
        assert_eq!(probed.unwrap(), format!("{top} {below}"), "{option}");
    }
}

#[test]
fn attributes_reach_as_far_as_they_say() {
    // (options, top read-only, mount below read-only)
    let cases: &[(&[&str], bool, bool)] = &[
        (&["rbind", "ro"], true, false),
        (&["rbind", "rro"], true, true),
        (&["rbind", "ro", "rrw"], true, false),
        (&["rbind", "rro", "rw"], false, true),
        (&["rbind"], false, false),
    ];
    for (options, top, below) in cases {
        let mut bundle = Bundle::new();
        let source = bundle.volume(options);
        let host = || tmpfs(&source.join("sub"), MsFlags::MS_NOSUID);
        let probed = bundle.probe_on(host, || {
            let options = |point| line_of(&mountinfo(), point).contains(" ro,");
            format!("{} {}", options("/vol"), options("/vol/sub"))
        });
        assert_eq!(probed.unwrap(), format!("{top} {below}"), "{options:?}");
    }
}

#[test]
fn devices_and_links() {
    let mut bundle = Bundle::new();
    bundle.config["linux"]["devices"] = json!([
        {"path": "/dev/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600, "uid": 3, "gid": 4},
        {"path": "/dev/a/b/fuse", "type": "c", "major": 10, "minor": 229},
        {"path": "/pipe", "type": "p", "fileMode": 0o622},
        {"path": "/dev/disk", "type": "b", "major": 7, "minor": 300},
    ]);
    let probed = bundle
        .probe(|| {
            let mut text = String::new();
            for name in [
                "null", "zero", "full", "random", "urandom", "tty", "a/b/fuse", "disk", "../pipe",
            ] {
                let meta = fs::symlink_metadata(format!("/dev/{name}")).unwrap();
                let (major, minor) = (
                    nix::sys::stat::major(meta.rdev()),
                    nix::sys::stat::minor(meta.rdev()),
                );
                text += &format!(
                    "{name} {:o} {major}:{minor} {}:{}\n",
                    meta.mode(),
                    meta.uid(),
                    meta.gid()
                );
            }
            for name in ["fd", "stdin", "stdout", "stderr", "ptmx"] {
                text += &format!(
                    "{name} {}\n",
                    fs::read_link(format!("/dev/{name}")).unwrap().display()
                );
            }
            text
        })
        .unwrap();
    assert_eq!(
        probed,
        "null 20666 1:3 0:0\nzero 20600 1:5 3:4\nfull 20666 1:7 0:0\nrandom 20666 1:8 0:0\n\
         urandom 20666 1:9 0:0\ntty 20666 5:0 0:0\na/b/fuse 20666 10:229 0:0\ndisk 60666 7:300 0:0\n\
         ../pipe 10622 0:0 0:0\nfd /proc/self/fd\nstdin /proc/self/fd/0\nstdout /proc/self/fd/1\n\
         stderr /proc/self/fd/2\nptmx pts/ptmx\n"
    );
}

#[test]
fn a_bound_dev_is_left_alone() {
    let mut bundle = Bundle::new();
    let dev = bundle.path("mydev");
    fs::create_dir(&dev).unwrap();
    bundle.config["mounts"][1] = json!({"destination": "/dev", "type": "bind", "source": dev});
    bundle.probe(String::new).unwrap();
    assert_eq!(fs::read_dir(&dev).unwrap().count(), 0);
}

/// An image without a mount on /dev gets the nodes itself, and nothing goes through its links.
#[test]
fn devices_without_a_mount_on_dev() {
    let mut bundle = Bundle::new();
    bundle.config["mounts"].as_array_mut().unwrap().pop();
    let dev = bundle.path("rootfs/dev");
    fs::write(dev.join("ptmx"), "").unwrap();
    bundle.probe(String::new).unwrap();
    assert!(
        fs::metadata(dev.join("null"))
            .unwrap()
            .file_type()
            .is_char_device()
    );
    assert_eq!(
        fs::read_link(dev.join("ptmx")).unwrap(),
        Path::new("pts/ptmx")
    );

    fs::remove_file(dev.join("null")).unwrap();
    symlink("/etc/passwd", dev.join("null")).unwrap();
    let error = bundle.probe(String::new).unwrap_err();
    assert_eq!(
        error,
        "default device `/dev/null`: something else is there already"
    );
    assert!(!bundle.path("rootfs/etc/passwd").exists());
}

#[test]
fn masked_and_readonly_paths() {
    let mut bundle = Bundle::new();
    let root = bundle.path("rootfs");
    fs::create_dir(root.join("etc/dir")).unwrap();
    fs::create_dir(root.join("etc/dir2")).unwrap();
    for file in ["etc/dir/secret", "etc/dir2/secret", "etc/secret", "tmp/x"] {
        fs::write(root.join(file), "secret").unwrap();
    }
    symlink("/etc/secret", root.join("etc/link")).unwrap();
    bundle.config["linux"]["maskedPaths"] = json!([
        "/etc/dir",
        "/etc/dir2",
        "/etc/link",
        "/etc/none",
        "/etc/secret/below",
        "/etc/dir"
    ]);
    bundle.config["linux"]["readonlyPaths"] = json!(["/tmp", "/etc/none", "/proc/sys"]);
    bundle
        .probe(|| {
            for dir in ["/etc/dir", "/etc/dir2"] {
                assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
                assert!(is_read_only(dir));
            }
            assert_eq!(fs::read("/etc/secret").unwrap(), b"");
            assert!(is_read_only("/tmp"));
            assert!(line_of(&mountinfo(), "/proc/sys").contains(" ro,"));
            fs::write("/etc/new", "").unwrap();
            String::new()
        })
        .unwrap();

    // What stands in for /dev/null must be it.
    bundle.config["mounts"].as_array_mut().unwrap().pop();
    bundle
        .mount(json!({"destination": "/dev", "type": "bind", "source": bundle.path("rootfs/etc")}));
    fs::write(root.join("etc/null"), "").unwrap();
    let error = bundle.probe(String::new).unwrap_err();
    assert_eq!(
        error,
        "linux.maskedPaths[2] `/etc/link`: /dev/null is not the null device"
    );
}

#[test]
fn read_only_root_and_dev() {
    let mut bundle = Bundle::new();
    bundle.config["root"]["readonly"] = json!(true);
    let options = bundle.config["mounts"][1]["options"]
        .as_array_mut()
        .unwrap();
    options.push(json!("ro"));
    bundle
        .probe(|| {
            assert!(is_read_only("/") && is_read_only("/dev"));
            fs::write("/dev/null", "x").unwrap();
            String::new()
        })
        .unwrap();
}

#[test]
fn other_file_systems() {
    let mut bundle = Bundle::new();
    for name in ["lower", "upper", "work"] {
        fs::create_dir(bundle.path(name)).unwrap();
    }
    fs::write(bundle.path("lower/f"), "below").unwrap();
    let option = |name: &str| format!("{name}dir={}", bundle.path(name).display());
    let options = json!([option("lower"), option("upper"), option("work")]);
    bundle.mount(
        json!({"destination": "/o", "type": "overlay", "source": "overlay", "options": options}),
    );
    // iversion has no name in fsconfig(2): this one goes through mount(2).
    bundle.mount(
        json!({"destination": "/i", "type": "tmpfs", "options": ["iversion", "ro", "noexec"]}),
    );
    bundle.mount(
        json!({"destination": "/o", "type": "none", "options": ["remount", "ro", "nosuid"]}),
    );
    bundle.mount(
        json!({"destination": "/link", "type": "bind", "source": bundle.path("link"),
        "options": ["bind", "copy-symlink"]}),
    );
    symlink("to/nowhere", bundle.path("link")).unwrap();
    let inside = bundle
        .probe(|| {
            assert_eq!(fs::read_to_string("/o/f").unwrap(), "below");
            assert_eq!(fs::read_link("/link").unwrap(), Path::new("to/nowhere"));
            mountinfo()
        })
        .unwrap();
    assert!(line_of(&inside, "/o").contains("ro,nosuid,"), "{inside}");
    assert!(line_of(&inside, "/i").contains("ro,noexec,"), "{inside}");
}

/// A descriptor of the host's null device would be a file of the host in the container.
#[test]
fn descriptors_of_the_null_device_are_the_containers() {
    let bundle = Bundle::new();
    let host = || {
        let null = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")
            .unwrap();
        for fd in [0, 2] {
            nix::unistd::dup2(std::os::fd::AsRawFd::as_raw_fd(&null), fd).unwrap();
        }
    };
    let before = fs::metadata("/dev/null").unwrap().dev();
    bundle
        .probe_on(host, || {
            let own = fs::metadata("/dev/null").unwrap().dev();
            assert_ne!(own, before);
            for fd in [0, 2] {
                let stat = nix::sys::stat::fstat(fd).unwrap();
                assert_eq!(stat.st_dev, own);
                let flags = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_GETFD).unwrap();
                assert_eq!(flags, 0, "closed on exec");
            }
            String::new()
        })
        .unwrap();
}

/// Nothing that the room opened survives execve.
#[test]
fn all_descriptors_close_on_exec() {
    let mut bundle = Bundle::new();
    bundle.volume(&["rbind", "ro"]);
    bundle.mount(json!({"destination": "/t", "type": "tmpfs", "options": ["ro"]}));
    let (dir, spec) = (bundle.dir.path(), bundle.config.clone());
    let prepared = forked::run(
        CloneFlags::empty(),
        |_| (),
        || {
            let spec: Spec = serde_json::from_value(spec).unwrap();
            let open = || -> Vec<i32> {
                let flags = |fd: &i32| nix::fcntl::fcntl(*fd, nix::fcntl::FcntlArg::F_GETFD);
                (3..256).filter(|fd| flags(fd) == Ok(0)).collect()
            };
            let before = open();
            let facts = Facts::new(&spec, &get_cgroup_setup().unwrap(), false);
            let prepared = Plan::new(&spec, dir, &facts).map_err(chain)?.prepare();
            let _prepared = prepared.map_err(chain)?;
            assert_eq!(before, open());
            Ok(String::new())
        },
    );
    prepared.unwrap();
}
