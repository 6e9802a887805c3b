//! What somebody else took away: cgroups, the bundle, the rootfs, the init process.

use crate::*;

/// Writes to a file that is there: what isn't a cgroup must not become one.
fn join(dir: &Path, pid: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .open(dir.join("cgroup.procs"))?;
    file.write_all(pid.as_bytes())
}

/// Moves all processes of the container elsewhere and removes its cgroups.
fn take_cgroups(place: &Place, id: &str) {
    let part = format!("{}/{id}", place.cgroup);
    let mut dirs = cgroup::all_with(&part);
    assert!(!dirs.is_empty(), "the container has cgroups");
    dirs.sort();
    for dir in dirs.iter().rev() {
        let pids = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        for pid in pids.lines() {
            // On version 2 a cgroup that hands controllers down takes no process, but the root does.
            let mut up = dir.ancestors().skip(1);
            let moved = up.any(|dir| join(dir, pid).is_ok());
            assert!(moved, "move {pid} out of {}", dir.display());
        }
        fs::remove_dir(dir).unwrap_or_else(|e| panic!("remove {}: {e}", dir.display()));
    }
}

#[test]
fn cgroups_that_are_gone() {
    let place = Place::new("nocgroup");
    let c = place.create("c", SLEEP, nothing);
    c.start();
    take_cgroups(&place, "c");
    assert_eq!(place.status("c"), "running");
    for args in [
        &["pause", "c"][..],
        &["update", "--memory", "100000000", "c"],
        &["ps", "c"],
        &["events", "--stats", "c"],
    ] {
        let output = place.run(args);
        if output.code() != 0 {
            is_clear(&output);
        }
    }
    place.run(&["delete", "--force", "c"]).ok();
    c.reap();
    is_gone(&place, "c");
}

#[test]
fn a_created_container_without_cgroups_is_deletable() {
    let place = Place::new("nocgroupyet");
    let c = place.create("c", SLEEP, nothing);
    take_cgroups(&place, "c");
    assert_eq!(place.status("c"), "created");
    place.run(&["delete", "--force", "c"]).ok();
    c.reap();
    is_gone(&place, "c");
}

/// The bundle and the rootfs: a running container needs neither, nor does its end.
#[test]
fn a_bundle_that_is_gone() {
    let place = Place::new("nobundle");
    let disk = Tmpfs::new(&place.dir.join("disk"), "size=8m");
    let rootfs = place.dir.join("disk/rootfs");
    common::image::rootfs(&rootfs);
    let bundle = place.bundle("c", SLEEP, |config| config["root"]["path"] = json!(rootfs));
    let c = place.create_in("c", &bundle);
    c.start();
    drop(disk);
    fs::remove_dir_all(&bundle.dir).expect("remove the bundle");
    assert!(!rootfs.join("bin").exists());
    assert_eq!(place.status("c"), "running");
    assert_eq!(place.run(&["exec", "c", "echo", "in"]).ok().out(), "in");
    c.remove();
    is_gone(&place, "c");
}

/// The start socket of a container whose init was killed.
#[test]
fn an_init_that_is_gone() {
    let place = Place::new("noinit");
    let c = place.create("c", SLEEP, nothing);
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(c.pid),
        nix::sys::signal::Signal::SIGKILL,
    )
    .expect("kill init");
    c.reap();
    assert_eq!(place.status("c"), "stopped");
    for args in [
        &["start", "c"][..],
        &["exec", "c", "true"],
        &["kill", "c", "9"],
        &["pause", "c"],
    ] {
        is_clear(&place.run(args));
    }
    settle(&place, "c");
}
