//! Full and read-only file systems, for the runtime's root, the bundle and the pid-file.

use crate::*;

/// Each number of pages and of inodes, from too few to enough: at one of them every single write
/// of `create` is the first that fails.
#[test]
fn a_full_root_takes_everything_back() {
    let place = Place::new("full");
    let bundle = place.bundle("c", SLEEP, nothing);
    let (mut failed, mut made) = (0, 0);
    let sizes = (1..10).map(|pages| format!("size={}k", pages * 4));
    let inodes = (2..10).map(|inodes| format!("nr_inodes={inodes}"));
    for options in sizes.chain(inodes) {
        let root = Tmpfs::new(&place.root, &options);
        let output = create_after(&place, ":", &bundle, "c");
        if output.code() == 0 {
            made += 1;
            let pid = place.state("c")["pid"].as_i64().expect("a pid") as i32;
            settle(&place, "c");
            reap(pid);
        } else {
            failed += 1;
            is_clear(&output);
            assert!(output.stderr.contains("space"), "{options}: {output}");
            place.run(&["state", "c"]).fails().says("does not exist");
            settle(&place, "c");
        }
        drop(root);
    }
    assert!(failed > 1 && made > 1, "{failed} failed, {made} were made");
}

/// Once a container is created, no command needs space.
#[test]
fn a_root_that_fills_up_later_hinders_nothing() {
    let place = Place::new("fills");
    let root = Tmpfs::new(&place.root, "size=256k");
    let c = place.create("c", SLEEP, nothing);
    root.fill();
    assert_eq!(place.status("c"), "created");
    c.start();
    assert_eq!(place.run(&["exec", "c", "echo", "in"]).ok().out(), "in");
    place.run(&["pause", "c"]).ok();
    place.run(&["resume", "c"]).ok();
    let next = place.bundle("next", SLEEP, nothing);
    is_clear(&create_after(&place, ":", &next, "next"));
    is_gone(&place, "next");
    c.remove();
    is_gone(&place, "c");
}

#[test]
fn a_read_only_root_is_told_and_the_container_ends() {
    let place = Place::new("readonly");
    let root = Tmpfs::new(&place.root, "size=256k");
    let c = place.create("c", SLEEP, nothing);
    // While init waits its lock is open for writing, and the kernel won't make the root read-only.
    c.start();
    root.read_only(true);
    assert_eq!(place.status("c"), "running");
    place.run(&["exec", "c", "true"]).ok();
    let next = place.bundle("next", SLEEP, nothing);
    is_clear(&create_after(&place, ":", &next, "next"));
    let output = place.run(&["delete", "--force", "c"]).fails();
    is_clear(&output);
    assert!(
        output.stderr.to_lowercase().contains("read-only"),
        "{output}"
    );
    // What could go is gone, and says so.
    c.reap();
    assert_eq!(place.status("c"), "stopped");
    assert!(!cgroup::populated(&format!("{}/c", place.cgroup)));
    root.read_only(false);
    place.run(&["delete", "--force", "c"]).ok();
    is_gone(&place, "c");
}

/// A mount point that can't be made, and a pid-file that can't be written.
#[test]
fn a_full_bundle_takes_everything_back() {
    let place = Place::new("fullbundle");
    let disk = Tmpfs::new(&place.dir.join("disk"), "size=64k,nr_inodes=64");
    let rootfs = place.dir.join("disk/rootfs");
    for dir in ["proc", "sys", "dev", "tmp", "bin"] {
        fs::create_dir_all(rootfs.join(dir)).expect("make the rootfs");
    }
    let bundle = |id: &str, mounts: u32| {
        place.bundle(id, &["/bin/busybox", "sleep", "300"], |config| {
            config["root"]["path"] = json!(rootfs);
            let list = config["mounts"].as_array_mut().expect("a list");
            list.push(json!({"destination": "/bin", "type": "bind", "source": Place::rootfs().join("bin"), "options": ["rbind"]}));
            for n in 0..mounts {
                list.push(json!({"destination": format!("/made/{n}"), "type": "bind", "source": "/etc/hostname", "options": ["bind"]}));
            }
        })
    };
    let good = place.create_in("good", &bundle("good", 2));
    good.start();
    good.remove();
    let output = create_after(&place, ":", &bundle("many", 100), "many").fails();
    is_clear(&output);
    assert!(output.stderr.contains("mounts["), "{output}");
    is_gone(&place, "many");
    disk.fill();
    let pid_file = place.dir.join("disk/pid");
    let mut command = place.cmd(&["create", "--bundle"]);
    command
        .arg(&bundle("pid", 0).dir)
        .arg("--pid-file")
        .arg(&pid_file)
        .arg("pid");
    let output = run(&mut command).fails();
    is_clear(&output);
    assert!(output.stderr.contains("pid-file"), "{output}");
    assert!(!pid_file.exists(), "half a pid-file stays");
    is_gone(&place, "pid");
}
