//! Two creates of one id, two roots, and a `create` that is killed.

use crate::*;

#[test]
fn an_id_is_taken_once() {
    let place = Place::new("double");
    let c = place.create("c", SLEEP, nothing);
    let again = place.bundle("again", SLEEP, nothing);
    let mut command = place.cmd(&["create", "--bundle"]);
    run(command.arg(&again.dir).arg("c")).fails();
    assert_eq!(place.state("c")["pid"], c.pid);
    assert_eq!(place.status("c"), "created");
    c.start();
    c.remove();
}

#[test]
fn of_eight_creates_of_one_id_one_wins() {
    if runc_differs("stat and MkdirAll race: several creates of one id may pass") {
        return;
    }
    let place = Place::new("race");
    for round in 0..5 {
        let id = format!("c{round}");
        let bundle = place.bundle(&id, SLEEP, nothing);
        let racers: Vec<_> = (0..8)
            .map(|n| {
                let pid_file = place.dir.join(format!("{id}.{n}.pid"));
                let mut command = place.cmd(&["create", "--bundle"]);
                command
                    .arg(&bundle.dir)
                    .arg("--pid-file")
                    .arg(&pid_file)
                    .arg(&id);
                command.stdout(Stdio::null()).stderr(Stdio::null());
                (command.spawn().expect("run `create`"), pid_file)
            })
            .collect();
        let ended = racers
            .into_iter()
            .map(|(mut child, file)| (child.wait().unwrap().success(), file));
        let won: Vec<_> = ended.filter(|(success, _)| *success).collect();
        assert_eq!(won.len(), 1, "round {round}");
        let pid = pid_in(&won[0].1);
        assert_eq!(place.state(&id)["pid"], pid);
        place.run(&["delete", "--force", &id]).ok();
        reap(pid);
    }
}

/// Equal ids under different roots never meet, in the cgroup neither when the path is left out.
#[test]
fn roots_do_not_know_each_other() {
    let (one, two) = (Place::new("rootone"), Place::new("roottwo"));
    let a = one.create("same", SLEEP, nothing);
    let b = two.create("same", SLEEP, nothing);
    one.run(&["delete", "--force", "same"]).ok();
    a.reap();
    assert!(alive(b.pid));
    assert_eq!(two.status("same"), "created");
    b.remove();
}

/// What a `create` that was killed leaves behind must be found and removed by `delete --force`.
#[test]
fn a_killed_create_leaves_nothing_after_delete_force() {
    let place = Place::new("crash");
    for round in 0..24_u64 {
        let id = format!("c{round}");
        let bundle = place.bundle(&id, SLEEP, nothing);
        let mut command = place.cmd(&["create", "--bundle"]);
        let mut child = command
            .arg(&bundle.dir)
            .arg(&id)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(round * 1500));
        child.kill().unwrap();
        child.wait().unwrap();
        let state = place.run(&["state", &id]);
        assert!(state.code() == 0 || state.code() == 1, "{state}");
        if round == 0
            && runc_differs(
                "processes and cgroups of a killed `create` stay: it has no record of them yet",
            )
        {
            return;
        }
        place.run(&["delete", "--force", &id]).ok();
        let part = format!("{}/{id}", place.cgroup);
        wait_until("no process of the container left", || {
            !cgroup::populated(&part)
        });
        assert_eq!(
            cgroup::all_with(&part),
            Vec::<std::path::PathBuf>::new(),
            "round {round}"
        );
        place.run(&["state", &id]).fails().says("does not exist");
        let record = fs::read_dir(&place.root)
            .into_iter()
            .flatten()
            .flatten()
            .find(|e| e.file_name() == *id);
        assert!(record.is_none(), "round {round}: {record:?} stays");
    }
}

/// What runs in the cgroup that a bundle names is somebody else's: nothing of it ends with the failed
/// `create`.
#[test]
fn an_occupied_cgroup_is_left_alone() {
    if runc_differs("a cgroup of version 1 that isn't empty is warned about, and shared") {
        return;
    }
    if common::backend().as_deref() == Some("proxmox") {
        println!("NOT RUN HERE: guests live in Proxmox's cgroups, whatever path the bundle names");
        return;
    }
    let place = Place::new("occupied");
    let first = place.create("first", SLEEP, nothing);
    first.start();
    let path = format!("{}/first", place.cgroup);
    let bundle = place.bundle("second", SLEEP, |config| {
        config["linux"]["cgroupsPath"] = path.into();
    });
    let mut command = place.cmd(&["create", "--bundle"]);
    let output = run(command.arg(&bundle.dir).arg("second"));
    output.fails().says("container's cgroup is not empty");
    place.run(&["state", "second"]).fails();
    place.run(&["delete", "--force", "second"]).ok();
    assert!(alive(first.init()));
    assert_eq!(place.status("first"), "running");
    first.remove();
}
