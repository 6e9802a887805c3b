//! No descriptors, no processes, no memory: at every number of them from none to enough.

use std::cell::RefCell;

use crate::*;

/// Calls `create` with `before` for each of `limits`, and settles each time. Some must fail and some
/// succeed, or the limits show nothing.
#[track_caller]
fn each(
    place: &Place,
    limits: impl Iterator<Item = u32>,
    before: impl Fn(u32) -> String,
    change: fn(&mut Value),
) {
    let (mut failed, mut made) = (Vec::new(), Vec::new());
    for limit in limits {
        let id = format!("c{limit}");
        let bundle = place.bundle(&id, SLEEP, change);
        let output = create_after(place, &before(limit), &bundle, &id);
        if output.code() == 0 {
            made.push(limit);
            let pid = place.state(&id)["pid"].as_i64().expect("a pid") as i32;
            place.run(&["start", &id]).ok();
            settle(place, &id);
            reap(pid);
        } else {
            failed.push(limit);
            assert!(!output.all().contains("panicked"), "{limit}: {output}");
            settle(place, &id);
        }
    }
    println!("failed at {failed:?}, made at {made:?}");
    assert!(
        !failed.is_empty() && !made.is_empty(),
        "failed at {failed:?}, made at {made:?}"
    );
}

fn hooks_and_userns(config: &mut Value) {
    let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    let list = config["linux"]["namespaces"]
        .as_array_mut()
        .expect("a list");
    list.push(json!({"type": "user"}));
    config["hooks"] =
        json!({"createRuntime": [{"path": "/bin/true"}], "poststop": [{"path": "/bin/true"}]});
}

#[test]
fn too_few_descriptors() {
    let place = Place::new("emfile");
    // Three is what every program has; lxc-start needs the most. The soft limit only: raising a hard
    // one is another right.
    each(&place, 3..56, |n| format!("ulimit -S -n {n}"), nothing);
}

#[test]
fn too_few_descriptors_with_a_user_namespace_and_hooks() {
    let place = Place::new("emfileuser");
    each(
        &place,
        3..56,
        |n| format!("ulimit -S -n {n}"),
        hooks_and_userns,
    );
}

/// RLIMIT_AS: mmap(2) and clone3(2) answer ENOMEM. What ends by abort(3) is found like a crash.
#[test]
fn too_little_memory() {
    let place = Place::new("enomem");
    let steps = [4, 8, 12, 14, 16, 18, 20, 24, 32, 64, 256].map(|mib| mib * 1024);
    each(
        &place,
        steps.into_iter(),
        |kib| format!("ulimit -v {kib}"),
        nothing,
    );
}

/// A pids cgroup around the runtime: fork answers EAGAIN. RLIMIT_NPROC doesn't count for root.
#[test]
fn too_few_processes() {
    let Some(own) = cgroup::dir(std::process::id() as i32, "pids") else {
        println!("NOT RUN HERE: no pids controller on this machine");
        return;
    };
    let place = Place::new("eagain");
    let name = place.cgroup.trim_start_matches('/').replace('/', "-");
    // A cgroup a limit: what a failed create leaves to its subreaper counts until it is waited for.
    let made = RefCell::new(Vec::new());
    let limit = |limit: u32| {
        let dir = own.join(format!("{name}-{limit}"));
        fs::create_dir(&dir).expect("make a cgroup");
        fs::write(dir.join("pids.max"), limit.to_string()).expect("set the limit");
        made.borrow_mut().push(dir.clone());
        dir
    };
    let before = |n: u32| format!("echo $$ >{}/cgroup.procs", limit(n).display());
    // One is the runtime itself.
    each(&place, 1..9, before, hooks_and_userns);
    let limited = limit(100);
    fs::write(limited.join("pids.max"), "1").expect("set the limit");
    let c = place.create("c", SLEEP, nothing);
    c.start();
    let exec = |limit: &str| {
        fs::write(limited.join("pids.max"), limit).expect("set the limit");
        let line = format!(
            "echo $$ >{}/cgroup.procs; exec {} --root {} exec c echo in",
            limited.display(),
            runtime().display(),
            place.root.display()
        );
        run(&mut sh(&line))
    };
    is_clear(&exec("1"));
    assert_eq!(exec("max").ok().out(), "in");
    c.remove();
    for dir in made.take() {
        wait_until("the cgroup is empty", || fs::remove_dir(&dir).is_ok());
    }
}
