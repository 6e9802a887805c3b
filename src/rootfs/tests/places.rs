//! Other ways in: user namespaces, no pivot_root, no mount namespace.
//! It must not change the host outside a private mount namespace.

use super::*;

/// Root of a user namespace gets sources that it can't reach, nodes that it can't make, and can't
/// undo what the host has set.
#[test]
fn user_namespace() {
    let mut bundle = Bundle::new();
    bundle.userns();
    let source = bundle.volume(&["rbind", "idmap"]);
    bundle.mount(json!({"destination": "/locked", "type": "bind",
        "source": bundle.path("locked"), "options": ["rbind"]}));
    bundle.mount(
        json!({"destination": "/sys", "type": "sysfs", "source": "sysfs",
        "options": ["nosuid", "noexec", "nodev", "ro"]}),
    );
    let locked = bundle.path("locked");
    fs::create_dir(&locked).unwrap();
    let hidden = bundle.path("source");
    let top = bundle.dir.path().to_path_buf();
    let host = || {
        fs::write(source.join("f"), "text").unwrap();
        fs::set_permissions(&hidden, PermissionsExt::from_mode(0o700)).unwrap();
        // The way to root and sources is closed to everybody but the host's root.
        fs::set_permissions(&top, PermissionsExt::from_mode(0o700)).unwrap();
        tmpfs(&locked, MsFlags::empty());
        tmpfs(&locked.join("sub"), MsFlags::empty());
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        mount(None::<&str>, &locked, None::<&str>, flags, None::<&str>).unwrap();
    };
    bundle
        .probe_on(host, || {
            assert_eq!(fs::read_to_string("/vol/f").unwrap(), "text");
            assert_eq!(fs::metadata("/vol/f").unwrap().uid(), 0);
            fs::write("/dev/null", "x").unwrap();
            assert!(line_of(&mountinfo(), "/dev/null").contains("/null"));
            assert!(line_of(&mountinfo(), "/sys").contains("ro,"));
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
            let rw = mount(None::<&str>, "/locked", None::<&str>, flags, None::<&str>);
            assert_eq!(rw, Err(nix::errno::Errno::EPERM));
            let bare = nix::mount::umount("/locked/sub");
            assert_eq!(bare, Err(nix::errno::Errno::EINVAL));
            String::new()
        })
        .unwrap();
}

#[test]
fn without_pivot_root() {
    let mut bundle = Bundle::new();
    bundle.no_pivot = true;
    bundle.mount(json!({"destination": "/tmp", "type": "tmpfs"}));
    let inside = bundle.probe(mountinfo).unwrap();
    assert!(line_of(&inside, "/tmp").ends_with("tmpfs"));
    let procs = table(&inside)
        .iter()
        .filter(|l| l.ends_with(" proc"))
        .count();
    assert_eq!(procs, 1, "{inside}");
}

/// Without a mount namespace the root is mounted in the caller's, as in runc.
#[test]
fn without_a_mount_namespace() {
    let mut bundle = Bundle::new();
    let list = bundle.config["linux"]["namespaces"].as_array_mut();
    list.unwrap().remove(0);
    bundle.namespaces.remove(CloneFlags::CLONE_NEWNS);
    let root = bundle.path("rootfs");
    let result = forked::run(
        CloneFlags::empty(),
        |_| (),
        || {
            nix::sched::unshare(CloneFlags::CLONE_NEWNS).unwrap();
            propagate("/", MsFlags::MS_PRIVATE | MsFlags::MS_REC);
            let prepared = bundle.plan().map_err(chain)?.prepare().map_err(chain)?;
            let probe = || fs::metadata("/dev/null").unwrap().rdev().to_string();
            let result = forked::run(bundle.namespaces, |_| (), || bundle.build(prepared, probe))?;
            nix::mount::umount2(&root, nix::mount::MntFlags::MNT_DETACH).unwrap();
            assert!(!mountinfo().contains(root.to_str().unwrap()));
            Ok(result)
        },
    );
    assert_eq!(result.unwrap(), 0x103.to_string());
}

/// Hooks such as nvidia's look for the root at its own path, through the container's mounts.
#[test]
fn root_lies_at_its_path_before_the_pivot() {
    let bundle = Bundle::new();
    let node = bundle.path("rootfs/dev/null");
    let result = forked::run(
        CloneFlags::empty(),
        |_| (),
        || {
            nix::sched::unshare(CloneFlags::CLONE_NEWNS).unwrap();
            propagate("/", MsFlags::MS_PRIVATE | MsFlags::MS_REC);
            let (mut prepared, own, namespaces) = bundle.prepare()?;
            let result = forked::run(
                namespaces,
                |_| (),
                || {
                    prepared.enter().map_err(chain)?;
                    prepared.mount_all().map_err(chain)?;
                    Ok(node.exists().to_string())
                },
            )?;
            drop(own);
            assert!(!node.exists());
            Ok(result)
        },
    );
    assert_eq!(result.unwrap(), "true");
}

/// What lies behind a magic link may be a mount of the host's own namespace.
#[test]
fn sources_behind_magic_links() {
    const FD: i32 = 200;
    let mut bundle = Bundle::new();
    let source = bundle.path("held");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("f"), "text").unwrap();
    for (destination, source) in [
        ("/fd", format!("/proc/self/fd/{FD}")),
        ("/root", format!("/proc/self/root{}", source.display())),
    ] {
        bundle.mount(json!({"destination": destination, "type": "bind",
            "source": source, "options": ["bind", "ro"]}));
    }
    let host = || {
        let held = fs::File::open(&source).unwrap();
        nix::unistd::dup2(held.as_raw_fd(), FD).unwrap();
    };
    let read = || {
        let files = ["/fd/f", "/root/f"].map(|file| fs::read_to_string(file).unwrap());
        assert!(is_read_only("/fd") && is_read_only("/root"));
        files.concat()
    };
    assert_eq!(bundle.probe_on(host, read).unwrap(), "texttext");
}

/// A bind of the host's whole tree shows the bundle as it is, not the container's mounts in it.
#[test]
fn the_hosts_tree_is_bound_without_the_containers_mounts() {
    let mut bundle = Bundle::new();
    bundle.mount(
        json!({"destination": "/host", "type": "bind", "source": "/",
        "options": ["rbind", "ro"]}),
    );
    let root = format!("/host{}", bundle.path("rootfs").display());
    let inside = bundle.probe(|| {
        assert!(fs::exists(format!("{root}/etc")).unwrap());
        mountinfo()
    });
    assert!(!inside.unwrap().contains(&root));
}
