//! What of the caller and the runtime must not reach the container, and what must.

use crate::*;

#[test]
fn no_descriptor_of_the_caller_is_in_the_container() {
    let place = Place::new("fds");
    let bundle = place.bundle(
        "c",
        &[
            "sh",
            "-c",
            "ls -l /proc/self/fd | sed 's/.* \\([0-9]* ->\\)/\\1/'",
        ],
        nothing,
    );
    // Descriptor 9 has no FD_CLOEXEC here, like those that a careless caller leaves open.
    let line = format!(
        "exec 9</etc/hostname; {} --root {} run --bundle {} c",
        runtime().display(),
        place.root.display(),
        bundle.dir.display()
    );
    let output = run(&mut sh(&line)).ok();
    let open: Vec<_> = output
        .stdout
        .lines()
        .filter_map(|l| l.split_once(" -> "))
        .collect();
    // 3 is ls's own, the directory.
    let stray: Vec<_> = open
        .iter()
        .filter(|(fd, to)| fd.parse::<u32>().is_ok_and(|n| n > 2) && !to.starts_with("/proc"))
        .collect();
    assert!(open.len() >= 3 && stray.is_empty(), "{output}");
}

#[test]
fn preserved_descriptors_arrive() {
    let place = Place::new("preserve");
    let file = place.dir.join("file");
    fs::write(&file, "preserved").unwrap();
    let bundle = place.bundle("c", &["sh", "-c", "cat <&3"], nothing);
    let line = format!(
        "exec 3<{}; {} --root {} run --preserve-fds 1 --bundle {} c",
        file.display(),
        runtime().display(),
        place.root.display(),
        bundle.dir.display()
    );
    assert_eq!(run(&mut sh(&line)).ok().out(), "preserved");
}

/// sd_listen_fds(3): LISTEN_FDS descriptors from 3 on, LISTEN_PID is the container's 1.
#[test]
fn listen_fds_arrive() {
    let place = Place::new("listen");
    let file = place.dir.join("file");
    fs::write(&file, "activated").unwrap();
    let bundle = place.bundle(
        "c",
        &["sh", "-c", "cat <&3; echo \" $LISTEN_FDS $LISTEN_PID\""],
        nothing,
    );
    let line = format!(
        "exec 3<{}; LISTEN_FDS=1 LISTEN_PID=$$ exec {} --root {} run --bundle {} c",
        file.display(),
        runtime().display(),
        place.root.display(),
        bundle.dir.display()
    );
    assert_eq!(run(&mut sh(&line)).ok().out(), "activated 1 1");
}

/// CVE-2019-5736: a process of the runtime that is in the container, or that the container makes
/// run as `/proc/self/exe`, must not lead to the runtime's file on the host. A watcher inside does
/// what the exploit did: it holds `/proc/PID/exe` of each newcomer open for reading, and writes
/// through `/proc/self/fd` once the newcomer is gone and the file no longer busy.
#[test]
fn proc_self_exe_never_leads_to_the_hosts_binary() {
    let place = Place::new("selfexe");
    // The victim is a copy: a runtime that fails must not lose its file.
    let victim = place.dir.join("copy").join(common::runtime_name());
    fs::create_dir(place.dir.join("copy")).unwrap();
    common::image::copy_program(&runtime(), &victim);
    let rootfs = hostile_rootfs(&place);
    let root = |c: &mut Value| {
        c["root"]["path"] = json!(rootfs);
        let all = json!([
            "CAP_SYS_PTRACE",
            "CAP_DAC_OVERRIDE",
            "CAP_SYS_ADMIN",
            "CAP_KILL"
        ]);
        c["process"]["capabilities"] = json!({"bounding": all, "effective": all, "permitted": all});
    };
    let c = place.create("c", &["sh", "-c", WATCHER], root);
    c.start();
    let victims = |args: &[&str]| run(cmd(&victim).arg("--root").arg(&place.root).args(args));
    for command in [
        "/proc/self/exe",
        "/bin/shebang",
        "/bin/library",
        "/bin/true",
    ] {
        for _ in 0..5 {
            // What becomes of the command doesn't matter, only that it ends.
            victims(&["exec", "c", command]);
        }
    }
    for (n, command) in ["/proc/self/exe", "/bin/shebang"].iter().enumerate() {
        let id = format!("args{n}");
        let bundle = place.bundle(&id, &[command, "--version"], root);
        victims(&["run", "--bundle", &bundle.dir.to_string_lossy(), &id]);
    }
    // Somebody whom the watcher must catch, or this test would show nothing.
    place
        .run(&["exec", "c", "/bin/busybox-bait", "sleep", "1"])
        .ok();
    place.run(&["exec", "c", "test", "-s", "/tmp/seen"]).ok();
    // The watcher tries for two seconds after each newcomer.
    std::thread::sleep(Duration::from_millis(2500));
    let hash = |file: &Path| common::image::sha256(&fs::read(file).unwrap());
    assert_eq!(
        hash(&victim),
        hash(&runtime()),
        "the container changed the runtime's file"
    );
    c.remove();
}

const WATCHER: &str = r#"
: >/tmp/seen
while :; do
  for p in /proc/[0-9]*; do
    [ $p = /proc/1 ] || [ $p/exe -ef /bin/busybox ] || (
      exec 7<$p/exe || exit
      echo $p >>/tmp/seen
      i=0
      while [ $i -lt 40 ]; do
        echo overwritten >>/proc/self/fd/7 && exit
        usleep 50000
        i=$((i+1))
      done
    ) 2>/dev/null &
  done
done
"#;

/// A root filesystem whose commands lead back to whoever executes them.
fn hostile_rootfs(place: &Place) -> std::path::PathBuf {
    let rootfs = place.dir.join("rootfs");
    common::image::rootfs(&rootfs);
    let script = place.dir.join("shebang");
    fs::write(&script, "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    common::image::copy_program(&script, &rootfs.join("bin/shebang"));
    let bait = rootfs.join("bin/busybox-bait");
    common::image::copy_program("/bin/busybox".as_ref(), &bait);
    std::os::unix::fs::symlink("/proc/self/exe", rootfs.join("bin/library")).unwrap();
    rootfs
}

/// The same, without luck: a process of the runtime that is in the container at this moment.
#[test]
fn the_waiting_init_is_no_way_to_the_hosts_binary() {
    let place = Place::new("initexe");
    let c = place.create("c", SLEEP, nothing);
    let exe = format!("/proc/{}/exe", c.init());
    let writable = fs::OpenOptions::new().append(true).open(&exe);
    let same = fs::metadata(&exe).unwrap();
    let host = fs::metadata(runtime()).unwrap();
    use std::os::unix::fs::MetadataExt;
    if (same.dev(), same.ino()) == (host.dev(), host.ino()) {
        assert!(
            writable.is_err(),
            "the waiting init runs the host's file, and it opens for writing"
        );
    }
    c.remove();
}

#[test]
fn spec_writes_a_config_that_runs() {
    let place = Place::new("spec");
    let dir = place.dir.join("made");
    fs::create_dir(&dir).unwrap();
    run(place.cmd(&["spec", "--bundle"]).arg(&dir)).ok();
    let file = dir.join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(config["process"]["terminal"], true);
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["echo", "made"]);
    config["process"].as_object_mut().unwrap().remove("rlimits");
    config["root"]["path"] = json!(Place::rootfs());
    config["linux"]["cgroupsPath"] = json!(format!("{}/spec", place.cgroup));
    fs::write(&file, config.to_string()).unwrap();
    assert_eq!(
        run(place.cmd(&["run", "--bundle"]).arg(&dir).arg("c"))
            .ok()
            .out(),
        "made"
    );
    run(place.cmd(&["spec", "--bundle"]).arg(&dir)).fails();
}
