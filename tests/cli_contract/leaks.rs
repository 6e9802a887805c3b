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

/// CVE-2019-5736: what runs as `/proc/self/exe` before the container's own binary is loaded must
/// not be the runtime's file on the host, or writing to it would replace the runtime.
#[test]
fn proc_self_exe_never_leads_to_the_hosts_binary() {
    let place = Place::new("selfexe");
    let before = common::image::sha256(&fs::read(runtime()).unwrap());
    let rootfs = place.dir.join("rootfs");
    common::image::rootfs(&rootfs);
    let shebang = rootfs.join("bin/shebang");
    fs::write(&shebang, "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(&shebang, fs::Permissions::from_mode(0o755)).unwrap();
    // Inside, a watcher with all rights tries to open for writing whatever binary a new process has.
    let watcher = "end=$(($(date +%s) + 300)); while [ $(date +%s) -lt $end ]; do for p in /proc/[0-9]*; do \
                   [ $p = /proc/$$ ] || [ $p = /proc/1 ] || sh -c 'exec 7>>'$p/exe 2>/dev/null && readlink $p/exe >>/tmp/opened; done; done";
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
    let c = place.create("c", &["sh", "-c", watcher], root);
    c.start();
    for command in ["/proc/self/exe", "/bin/shebang", "/bin/true"] {
        for _ in 0..5 {
            // What the runtime's own binary does with such arguments doesn't matter, only that it ends.
            run(&mut place.cmd(&["exec", "c", command]));
        }
    }
    for (n, command) in ["/proc/self/exe", "/bin/shebang"].iter().enumerate() {
        let id = format!("args{n}");
        let bundle = place.bundle(&id, &[command, "--version"], root);
        run(place.cmd(&["run", "--bundle"]).arg(&bundle.dir).arg(&id));
    }
    let opened = place
        .run(&[
            "exec",
            "c",
            "sh",
            "-c",
            "cat /tmp/opened 2>/dev/null | sort -u",
        ])
        .ok();
    let host = runtime().to_string_lossy().into_owned();
    assert!(
        !opened.stdout.lines().any(|l| l == host),
        "opened for writing: {opened}"
    );
    let after = common::image::sha256(&fs::read(runtime()).unwrap());
    assert_eq!(before, after, "the runtime's binary changed");
    c.remove();
}

/// The same, without luck: a process of the runtime that is in the container at this moment.
#[test]
fn the_waiting_init_is_no_way_to_the_hosts_binary() {
    let place = Place::new("initexe");
    let c = place.create("c", SLEEP, nothing);
    let exe = format!("/proc/{}/exe", c.pid);
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
