//! Nothing stays of a removed container.

use crate::*;

fn runtime_knows(id: &str) -> bool {
    let output = run(common::command::cmd(runtime()).args(["state", id]));
    output.code() == 0
}

#[track_caller]
pub fn nothing_left(id: &str) {
    assert!(!runtime_knows(id), "the runtime still knows {id}");
    wait_until("its cgroups are gone", || cgroup::all_with(id).is_empty());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(id), "mounts stay: {mounts}");
    let root = Path::new("/run").join(runtime_name()).join(id);
    assert!(!root.exists(), "{} stays", root.display());
}

#[test]
fn rm_leaves_nothing() {
    let removals: [&[&str]; 3] = [&["stop", "--time", "0"], &["kill"], &["pause"]];
    for before in removals {
        let c = Stays::run(&["--memory", "64m", "--tmpfs", "/data"], FOREVER);
        let pid = c.pid();
        c.call(before).ok();
        c.call(&["rm", "--force", "--time", "0"]).ok();
        assert!(!alive(pid), "{before:?}");
        nothing_left(&c.id);
    }
}

#[test]
fn run_with_rm_leaves_nothing() {
    let file = podman().sandbox.path(unique("cid"));
    once(&["--cidfile", &file.to_string_lossy()], &["true"]).ok();
    let id = fs::read_to_string(&file).unwrap_or_default();
    if !id.is_empty() {
        nothing_left(&id);
    }
    assert!(
        !call(&["ps", "--all", "--no-trunc", "--format", "{{.ID}}"])
            .ok()
            .stdout
            .contains(&id)
            || id.is_empty()
    );
}

#[test]
fn a_failed_start_leaves_nothing() {
    let name = unique("bad");
    run(&mut container(
        "create",
        &["--name", &name],
        &["no-such-command"],
    ))
    .ok();
    let id = call(&["inspect", "--format", "{{.Id}}", &name])
        .ok()
        .out()
        .to_owned();
    call(&["start", &name]).fails();
    nothing_left(&id);
    call(&["rm", &name]).ok();
}
