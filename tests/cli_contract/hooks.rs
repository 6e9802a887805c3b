//! Hooks: their order, their input, their failure.

use crate::*;

#[test]
fn hooks_run_in_order_with_the_state_on_stdin() {
    let place = Place::new("hooks");
    let log = place.dir.join("hooks.log");
    let bundle = place.bundle("c", &["true"], |c| {
        let hook = |name: &str, file: &Path| {
            let line = format!("echo {name} $(cat) >>{}", file.display());
            json!([{"path": "/bin/sh", "args": ["sh", "-c", line], "env": ["PATH=/usr/bin:/bin"]}])
        };
        // These two run in the container's mount namespace: their log is bound there.
        c["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/mnt", "type": "bind", "source": place.dir, "options": ["rbind", "rw"],
        }));
        let inside = Path::new("/mnt/hooks.log");
        c["hooks"] = json!({
            "prestart": hook("prestart", &log),
            "createRuntime": hook("createRuntime", &log),
            "createContainer": hook("createContainer", &log),
            "startContainer": hook("startContainer", inside),
            "poststart": hook("poststart", &log),
            "poststop": hook("poststop", &log),
        });
    });
    let c = place.create_in("c", &bundle);
    let late = runc_differs("poststart hooks run at the end of `create` already");
    if !late {
        assert_eq!(
            names(&log),
            ["prestart", "createRuntime", "createContainer"]
        );
    }
    c.start();
    c.reap();
    place.run(&["delete", "c"]).ok();
    let all = [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
        "poststop",
    ];
    let mut run = names(&log);
    if late {
        run.swap(3, 4);
    }
    assert_eq!(run, all);
    for line in fs::read_to_string(&log).unwrap().lines() {
        let (name, state) = line.split_once(' ').unwrap();
        let state: Value = serde_json::from_str(state)
            .unwrap_or_else(|e| panic!("{name} got no state ({e}): {line}"));
        assert_eq!(
            (&state["id"], &state["bundle"]),
            (&json!("c"), &json!(bundle.dir)),
            "{name}"
        );
        let status = state["status"].as_str().unwrap();
        let expected = match name {
            "createRuntime" | "createContainer" => "creating",
            // The older hook's users look for the state of when it ran in `start`.
            "prestart" | "startContainer" => "created",
            "poststart" => "running",
            _ => "stopped",
        };
        if status != expected
            && !runc_differs(&format!("{name} hooks get status {status}, not {expected}"))
        {
            panic!("{name} got status {status}, not {expected}");
        }
        if name != "poststop" {
            assert!(
                state["pid"].as_i64().is_some_and(|p| p > 0),
                "{name} needs the pid: {line}"
            );
        }
    }
}

fn names(log: &Path) -> Vec<String> {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines()
        .map(|l| l.split(' ').next().unwrap().to_owned())
        .collect()
}

#[test]
fn a_failing_hook_fails_create_and_leaves_nothing() {
    let place = Place::new("badhook");
    let bundle = place.bundle("c", SLEEP, |c| {
        c["hooks"] = json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "echo so what >&2; exit 3"]}]});
    });
    let mut command = place.cmd(&["create", "--bundle"]);
    run(command.arg(&bundle.dir).arg("c")).fails();
    place.run(&["state", "c"]).fails().says("does not exist");
    assert_eq!(
        cgroup::all_with(&format!("{}/c", place.cgroup)),
        Vec::<std::path::PathBuf>::new()
    );
}
