//! Images and configurations that try to get out, or into /proc, and what errors say.
//! It must not change the host outside a private mount namespace.

use super::*;

/// Hostile links stay inside the root, and only missing mount points are written to it.
#[test]
fn links_stay_inside() {
    let mut bundle = Bundle::new();
    let outside = bundle.path("outside");
    fs::create_dir(&outside).unwrap();
    let root = bundle.path("rootfs");
    fs::remove_dir(root.join("etc")).unwrap();
    symlink("/../../outside", root.join("etc")).unwrap();
    symlink("../../../../../../../../outside", root.join("run")).unwrap();
    bundle.mount(json!({"destination": "/etc/a", "type": "tmpfs"}));
    bundle.mount(json!({"destination": "/run/b", "type": "bind", "source": "/dev/null"}));
    let inside = bundle.probe(mountinfo).unwrap();
    assert!(line_of(&inside, "/outside/a").ends_with("tmpfs"));
    assert!(line_of(&inside, "/outside/b").contains("/null"));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    let made: Vec<_> = fs::read_dir(&root)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(made.len(), 8, "{made:?}");
    assert!(root.join("outside/b").is_file());
    assert_eq!(fs::read_dir(root.join("dev")).unwrap().count(), 0);
}

#[test]
fn proc_and_sysfs_need_an_ordinary_directory() {
    for (destination, fstype) in [("/proc", "proc"), ("/sys", "sysfs")] {
        for target in ["/etc", "/missing"] {
            let mut bundle = Bundle::new();
            let path = bundle.path("rootfs").join(&destination[1..]);
            fs::remove_dir(&path).unwrap();
            symlink(target, &path).unwrap();
            bundle.config["mounts"] = json!([{"destination": destination, "type": fstype}]);
            let error = bundle.probe(String::new).unwrap_err();
            assert_eq!(
                error,
                format!(
                    "mounts[0] `{destination}`: must be mounted on an ordinary directory, not \
                     through a symbolic link"
                )
            );
        }
    }
}

#[test]
fn nothing_gets_into_proc() {
    // (destination, type, source, link in the root, error)
    let cases = [
        ("/proc/sys", "bind", "/tmp", None, Some("lies inside /proc")),
        (
            "/tmp/../proc/x",
            "tmpfs",
            "x",
            None,
            Some("lies inside /proc"),
        ),
        (
            "/proc",
            "tmpfs",
            "x",
            None,
            Some("only procfs may be mounted on /proc"),
        ),
        (
            "/proc",
            "bind",
            "/tmp",
            None,
            Some("only procfs may be mounted on /proc"),
        ),
        (
            "/a/sys",
            "bind",
            "/tmp",
            Some(("a", "/proc")),
            Some("leads into /proc"),
        ),
        (
            "/a",
            "tmpfs",
            "x",
            Some(("a", "proc/self/attr")),
            Some("leads into /proc"),
        ),
        ("/proc", "bind", "/proc", None, None),
        ("/proc/uptime", "bind", "/dev/null", None, None),
        ("/proc/net/dev", "bind", "/dev/null", None, None),
    ];
    for (destination, fstype, source, link, expected) in cases {
        let mut bundle = Bundle::new();
        if let Some((name, target)) = link {
            symlink(target, bundle.path("rootfs").join(name)).unwrap();
        }
        bundle.mount(json!({"destination": destination, "type": fstype, "source": source}));
        let result = bundle.probe(String::new);
        let expected = expected.map(|why| format!("mounts[2] `{destination}`: {why}"));
        assert_eq!(result.err(), expected, "{destination} {fstype} {source}");
    }
}

/// A magic link would lead out of the root whatever openat2 is told about the rest.
#[test]
fn magic_links_are_refused() {
    let mut bundle = Bundle::new();
    symlink("/proc/self/root/etc", bundle.path("rootfs/a")).unwrap();
    bundle.mount(json!({"destination": "/a", "type": "tmpfs"}));
    let error = bundle.probe(String::new).unwrap_err();
    assert!(
        error.starts_with("mounts[2] `/a`: open the destination: ELOOP"),
        "{error}"
    );
}

#[test]
fn errors_name_the_place() {
    // (mount, beginning of the error)
    let cases = [
        (
            json!({"destination": "/v", "type": "bind", "source": "/no/such"}),
            "mounts[2] `/v`: open source `/no/such`: ENOENT",
        ),
        (
            json!({"destination": "/v", "type": "tmpfs", "options": ["size=huge"]}),
            "mounts[2] `/v`: option `size=huge`: tmpfs: Bad value for 'size': EINVAL",
        ),
        (
            json!({"destination": "/v", "type": "nosuchfs"}),
            "mounts[2] `/v`: mount type `nosuchfs`: ENODEV",
        ),
        (
            json!({"destination": "/v", "type": "bind", "source": "/dev/null", "options": ["idmap"]}),
            "mounts[2] `/v`: idmap needs uidMappings and gidMappings, or a user namespace",
        ),
        (
            json!({"destination": "/etc", "type": "bind", "source": "/dev/null"}),
            "mounts[2] `/etc`: attach a directory on a file or a file on a directory: ENOTDIR",
        ),
        (
            json!({"destination": "/", "type": "tmpfs"}),
            "mounts[2] `/`: the root itself",
        ),
        (
            json!({"destination": "/v"}),
            "mounts[2] `/v`: type is missing",
        ),
        (
            json!({"destination": "/v", "type": "bind"}),
            "mounts[2] `/v`: a bind mount needs a source",
        ),
    ];
    for (mount, expected) in cases {
        let mut bundle = Bundle::new();
        bundle.mount(mount);
        let error = bundle.probe(String::new).unwrap_err();
        assert!(error.starts_with(expected), "{error} instead of {expected}");
    }
    let mut bundle = Bundle::new();
    bundle.config["root"]["path"] = json!("missing");
    let error = bundle.probe(String::new).unwrap_err();
    assert!(
        error.contains("/missing`: open the root file system: ENOENT"),
        "{error}"
    );
}
