//! Records that are damaged, of another version or of another boot, and clocks that lie.

use crate::*;

/// What becomes of a record's text.
type Damage = fn(&str) -> Vec<u8>;

/// The file and the container whose record it is.
fn record(place: &Place, id: &str) -> PathBuf {
    place.root.join(id).join("state.json")
}

fn edit(place: &Place, id: &str, change: impl FnOnce(&mut Value)) {
    let file = record(place, id);
    let text = fs::read_to_string(&file).expect("read the record");
    let mut value: Value = serde_json::from_str(&text).expect("it is JSON");
    change(&mut value);
    fs::write(&file, value.to_string()).expect("write the record");
}

fn running<'a>(place: &'a Place, id: &str) -> Container<'a> {
    let c = place.create(id, SLEEP, nothing);
    c.start();
    c
}

/// `list` goes on without it, every command says one line, and a forced delete finds the processes
/// by the cgroup that the kept configuration names.
#[test]
fn a_damaged_record_is_told_and_force_cleans() {
    let damages: [(&str, Damage); 6] = [
        ("empty", |_| Vec::new()),
        ("half", |text| text[..text.len() / 2].into()),
        ("garbage", |_| vec![0xff; 4096]),
        ("other", |_| b"[1, 2, 3]".to_vec()),
        ("object", |_| b"{}".to_vec()),
        ("twice", |text| format!("{text}{text}").into()),
    ];
    let place = Place::new("damaged");
    let neighbour = running(&place, "neighbour");
    for (id, damage) in damages {
        let c = running(&place, id);
        let text = fs::read_to_string(record(&place, id)).expect("read the record");
        fs::write(record(&place, id), damage(&text)).expect("damage it");
        for args in [
            &["state", id][..],
            &["kill", id, "9"],
            &["exec", id, "true"],
            &["delete", id],
        ] {
            let output = place.run(args).fails();
            is_clear(&output);
            assert!(output.stderr.contains("damaged"), "{output}");
        }
        assert!(alive(c.pid), "{id}: no command acted on a damaged record");
        assert_eq!(place.run(&["list", "-q"]).ok().out(), "neighbour");
        place.run(&["delete", "--force", id]).ok();
        c.reap();
        is_gone(&place, id);
    }
    assert!(alive(neighbour.pid));
    neighbour.remove();
}

/// With its configuration damaged, too, all that can be removed is the record; that is said.
#[test]
fn a_record_without_a_configuration_is_removed_with_a_word() {
    let place = Place::new("lost");
    let c = running(&place, "c");
    for file in ["state.json", "config.json"] {
        fs::write(place.root.join("c").join(file), "{").expect("damage it");
    }
    place
        .run(&["delete", "--force", "c"])
        .ok()
        .says("only its record is removed");
    assert!(!place.root.join("c").exists());
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(c.pid),
        nix::sys::signal::Signal::SIGKILL,
    )
    .expect("kill what was lost");
    c.reap();
    for dir in cgroup::all_with(&format!("{}/c", place.cgroup)) {
        let _ = fs::remove_dir(dir);
    }
}

/// Two versions of pxrun on one root: what isn't understood is refused by its version, and a forced
/// delete works as long as the members that it needs are there.
#[test]
fn a_newer_record_is_refused_and_force_cleans() {
    let place = Place::new("newer");
    let c = running(&place, "c");
    edit(&place, "c", |r| {
        r["unknown"] = json!({"to": "this version"})
    });
    assert_eq!(place.status("c"), "running", "a new member changes nothing");
    edit(&place, "c", |r| r["version"] = json!(99));
    for args in [&["state", "c"][..], &["kill", "c", "9"], &["delete", "c"]] {
        let output = place.run(args).fails();
        is_clear(&output);
        assert!(output.stderr.contains("version 99"), "{output}");
    }
    assert!(alive(c.pid));
    let whole = fs::read_to_string(record(&place, "c")).expect("read the record");
    edit(&place, "c", |r| {
        drop(r.as_object_mut().expect("an object").remove("cgroup"))
    });
    let output = place.run(&["delete", "--force", "c"]).fails();
    is_clear(&output);
    assert!(
        output.stderr.contains("version 99") && alive(c.pid),
        "{output}"
    );
    fs::write(record(&place, "c"), whole).expect("put it back");
    place.run(&["delete", "--force", "c"]).ok();
    c.reap();
    is_gone(&place, "c");
}

#[test]
fn a_backend_of_another_version_is_named() {
    let place = Place::new("backend");
    let c = running(&place, "c");
    let whole = fs::read_to_string(record(&place, "c")).expect("read the record");
    edit(&place, "c", |r| r["backend"] = json!("future"));
    for args in [&["state", "c"][..], &["delete", "--force", "c"]] {
        let output = place.run(args).fails();
        is_clear(&output);
        assert!(output.stderr.contains("`future`"), "{output}");
    }
    fs::write(record(&place, "c"), whole).expect("put it back");
    c.remove();
    is_gone(&place, "c");
}

/// After a boot pid, start time and cgroup may be a stranger's: here they are those of a process
/// that lives, and only the boot tells. By hand: with the true boot, the same delete ends it.
#[test]
fn a_record_of_a_dead_boot_harms_nobody() {
    let place = Place::new("boot");
    let c = running(&place, "c");
    let whole = fs::read_to_string(record(&place, "c")).expect("read the record");
    let other_boot = json!("00000000-1111-2222-3333-444444444444");
    edit(&place, "c", |r| r["boot"] = other_boot.clone());
    let state = place.state("c");
    assert_eq!(
        (&state["status"], &state["pid"]),
        (&json!("stopped"), &json!(0))
    );
    place
        .run(&["kill", "c", "9"])
        .fails()
        .says("container not running");
    place.run(&["start", "c"]).fails();
    place.run(&["exec", "c", "true"]).fails();
    place.run(&["delete", "c"]).ok();
    place.run(&["state", "c"]).fails().says("does not exist");
    assert!(alive(c.pid), "the stranger lives");
    assert!(
        cgroup::populated(&format!("{}/c", place.cgroup)),
        "and keeps its cgroup"
    );
    fs::create_dir(place.root.join("c")).expect("make the directory again");
    fs::write(record(&place, "c"), whole).expect("put it back");
    place.run(&["delete", "--force", "c"]).ok();
    c.reap();
    is_gone(&place, "c");
}

/// A `create` of a dead boot that never finished: its pid is somebody else's now.
#[test]
fn an_unfinished_create_of_a_dead_boot_is_stopped() {
    let place = Place::new("bootcreate");
    let c = running(&place, "c");
    let mut stranger = cmd("sleep").arg("300").spawn().expect("start a stranger");
    let pid = stranger.id() as i32;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("its stat");
    let start: u64 = stat
        .rsplit(") ")
        .next()
        .and_then(|s| s.split(' ').nth(19))
        .and_then(|s| s.parse().ok())
        .expect("its start time");
    let unfinished = |boot: Option<&str>| {
        edit(&place, "c", |r| {
            r["creator"] = json!({"pid": pid, "start_time": start});
            r["init"] = Value::Null;
            if let Some(boot) = boot {
                r["boot"] = json!(boot);
            }
        });
    };
    // What `create` writes last.
    fs::write(place.root.join("c/waiting"), "").expect("take its last word back");
    unfinished(None);
    assert_eq!(
        place.status("c"),
        "creating",
        "by hand: this boot's creator counts"
    );
    unfinished(Some("00000000-1111-2222-3333-444444444444"));
    assert_eq!(place.status("c"), "stopped");
    place.run(&["delete", "--force", "c"]).ok();
    assert_eq!(
        stranger.try_wait().expect("look at the stranger"),
        None,
        "it lives"
    );
    stranger.kill().expect("end the stranger");
    stranger.wait().expect("reap it");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(c.pid),
        nix::sys::signal::Signal::SIGKILL,
    )
    .expect("end what the record no longer knew");
    c.reap();
    for dir in cgroup::all_with(&format!("{}/c", place.cgroup)) {
        let _ = fs::remove_dir(dir);
    }
}

/// No decision rests on the clock: a time of creation in the future, before 1970 or of no form at
/// all is shown and changes nothing.
#[test]
fn clocks_that_were_set_change_nothing() {
    let place = Place::new("clock");
    let c = running(&place, "c");
    for time in [
        "9999-12-31T23:59:59.999999999Z",
        "1969-12-31T23:59:59.000000000Z",
        "yesterday",
    ] {
        edit(&place, "c", |r| r["created"] = json!(time));
        assert_eq!(place.state("c")["created"], time);
        place.run(&["list"]).ok().says(time);
        assert_eq!(place.status("c"), "running");
    }
    c.remove();
    is_gone(&place, "c");
}

/// What stands in the root and isn't a container of this user's.
#[test]
fn strangers_in_the_root_are_left_alone() {
    let place = Place::new("strangers");
    let c = running(&place, "c");
    fs::write(place.root.join("file"), "").expect("a file");
    std::os::unix::fs::symlink(place.root.join("c"), place.root.join("link")).expect("a link");
    let other = place.root.join("other");
    fs::create_dir(&other).expect("a directory");
    fs::copy(record(&place, "c"), other.join("state.json")).expect("with a record");
    std::os::unix::fs::chown(&other, Some(65534), Some(65534)).expect("of another user");
    for id in ["file", "link"] {
        place.run(&["state", id]).fails().says("does not exist");
        place.run(&["delete", "--force", id]).ok();
    }
    for args in [
        &["state", "other"][..],
        &["kill", "other", "9"],
        &["delete", "--force", "other"],
    ] {
        let output = place.run(args).fails();
        is_clear(&output);
        assert!(output.stderr.contains("65534"), "{output}");
    }
    assert!(alive(c.pid));
    for name in ["file", "link"] {
        assert!(
            fs::symlink_metadata(place.root.join(name)).is_ok(),
            "{name}"
        );
    }
    c.remove();
}
