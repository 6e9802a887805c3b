//! Links at every path of the rootfs that the runtime touches: they stay inside, or are refused.

use crate::*;

/// What a configuration wants at a path of the rootfs.
struct Touch {
    path: &'static str,
    change: fn(&mut Value, &Trap),
}

fn push(config: &mut Value, mount: Value) {
    config["mounts"]
        .as_array_mut()
        .expect("a list of mounts")
        .push(mount);
}

const TOUCHES: &[Touch] = &[
    Touch {
        path: "/mnt/dir",
        change: |c, t| {
            push(
                c,
                json!({"destination": "/mnt/dir/sub", "type": "bind", "source": t.inside("/home"), "options": ["rbind"]}),
            )
        },
    },
    Touch {
        path: "/mnt/file",
        change: |c, _| {
            push(
                c,
                json!({"destination": "/mnt/file", "type": "bind", "source": "/etc/hostname", "options": ["bind", "ro"]}),
            )
        },
    },
    Touch {
        path: "/run",
        change: |c, _| {
            push(
                c,
                json!({"destination": "/run/secrets/one", "type": "tmpfs", "source": "tmpfs"}),
            )
        },
    },
    Touch {
        path: "/copyup",
        change: |c, _| {
            push(
                c,
                json!({"destination": "/copyup", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}),
            )
        },
    },
    Touch {
        path: "/copyup/below",
        change: |c, _| {
            push(
                c,
                json!({"destination": "/copyup", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}),
            )
        },
    },
    Touch {
        path: "/sys/fs/cgroup",
        change: |c, _| {
            c["mounts"]
                .as_array_mut()
                .unwrap()
                .retain(|m| m["destination"] != "/sys");
            push(
                c,
                json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}),
            );
            c["linux"]["maskedPaths"] = json!([]);
        },
    },
    Touch {
        path: "/dev",
        change: |c, _| {
            c["mounts"]
                .as_array_mut()
                .unwrap()
                .retain(|m| m["destination"] != "/dev")
        },
    },
    Touch {
        path: "/dev",
        change: |_, _| (),
    },
    Touch {
        path: "/mnt/node",
        change: |c, _| c["linux"]["devices"] = json!([{"path": "/mnt/node", "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0}]),
    },
    Touch {
        path: "/mnt/masked",
        change: |c, _| c["linux"]["maskedPaths"] = json!(["/mnt/masked"]),
    },
    Touch {
        path: "/mnt/readonly",
        change: |c, _| {
            c["linux"]["readonlyPaths"] = json!(["/mnt/readonly", "/mnt/readonly/canary"])
        },
    },
    Touch {
        path: "/etc/passwd",
        change: |_, _| (),
    },
    Touch {
        path: "/etc",
        change: |c, _| c["process"]["user"]["uid"] = json!(1000),
    },
    Touch {
        path: "/home/user",
        change: |c, _| c["process"]["cwd"] = json!("/home/user/made"),
    },
    Touch {
        path: "/mnt/here",
        change: |c, _| {
            push(
                c,
                json!({"destination": "/mnt/here/link", "type": "bind", "source": "/proc/self/exe", "options": ["copy-symlink"]}),
            )
        },
    },
];

/// Absolute and relative links to a directory of the host, one that climbs, and the doors of
/// procfs: whatever becomes of the container, the host stays as it was.
#[test]
fn no_link_of_the_rootfs_leads_to_the_host() {
    for (n, touch) in TOUCHES.iter().enumerate() {
        let names = ["absolute", "climbing", "file", "root", "cwd"];
        for name in names {
            let trap = Trap::new("links");
            let outside = trap.outside.to_string_lossy().into_owned();
            let target = match name {
                "absolute" => outside,
                "climbing" => format!("{UP}{outside}"),
                "file" => format!("{outside}/canary"),
                "root" => format!("/proc/1/root{outside}"),
                _ => format!("/proc/self/cwd/{UP}{outside}"),
            };
            trap.link(touch.path, &target);
            let before = trap.look();
            let id = format!("c{n}-{name}");
            let show = format!(
                "cat {path} {path}/canary 2>/dev/null; true",
                path = touch.path
            );
            let output = trap.run(&id, &["sh", "-c", &show], |c| (touch.change)(c, &trap));
            assert_eq!(trap.look(), before, "{} -> {target}: {output}", touch.path);
            assert!(
                !output.stdout.contains("untouched"),
                "{} -> {target}: {output}",
                touch.path
            );
        }
    }
}

/// By hand, so that the test above means something: who follows the links changes the outside.
#[test]
fn a_follower_of_links_would_be_seen() {
    let trap = Trap::new("links");
    trap.link("/mnt/dir", &trap.outside);
    let before = trap.look();
    fs::create_dir(trap.inside("/mnt/dir/sub")).expect("follow the link");
    assert_ne!(trap.look(), before);
    let text = fs::read_to_string(trap.inside("/mnt/dir/canary")).expect("follow the link");
    assert!(text.contains("untouched"));
    fs::remove_dir(trap.inside("/mnt/dir/sub")).expect("take it back");
    let before = trap.look();
    fs::write(trap.inside("/mnt/dir/canary"), "untouched\n").expect("follow the link");
    assert_ne!(trap.look(), before, "the same text, another time");
}

/// What is no file where a file is read or copied must neither block nor be read without end.
#[test]
fn pipes_and_devices_in_place_of_files() {
    let trap = Trap::new("pipes");
    for path in ["/etc/passwd", "/etc/group", "/copyup/pipe"] {
        let _ = fs::remove_file(trap.inside(path));
        nix::unistd::mkfifo(&trap.inside(path), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    }
    symlink("/dev/zero", trap.inside("/copyup/zero")).expect("a link");
    let bundle = trap.bundle("c", &["sleep", "300"], |config| {
        push(config, json!({"destination": "/copyup", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}));
    });
    let c = trap.place.create_in("c", &bundle);
    c.start();
    let kinds = "test -p /copyup/pipe && test -L /copyup/zero && test -f /copyup/file && echo all";
    assert_eq!(
        trap.place.run(&["exec", "c", "sh", "-c", kinds]).ok().out(),
        "all"
    );
    trap.place
        .run(&["exec", "--user", "user", "c", "true"])
        .fails()
        .says("unable to find user");
    trap.place.run(&["exec", "--user", "0", "c", "true"]).ok();
    c.remove();
}
