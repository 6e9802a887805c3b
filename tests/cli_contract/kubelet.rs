//! The argument lists of CRI-O and the namespaces of a pod, as their sources build them.

use crate::*;

/// callers.md §5: CRI-O's own calls.
#[test]
fn crio_calls() {
    let place = Place::new("crio");
    let c = place.create("c", SLEEP, nothing);
    let root = place.root.to_string_lossy().into_owned();
    let crio = |args: &[&str]| run(cmd(runtime()).args(["--root", &root]).args(args));
    crio(&["start", "c"]).ok();
    let state = crio(&["state", "c"]).ok().json();
    assert_eq!(state["status"], "running");
    // exec in the foreground: our exit code is the command's.
    let file = place.dir.join("process.json");
    fs::write(
        &file,
        process(&["sh", "-c", "echo out; echo err >&2; exit 17"]).to_string(),
    )
    .unwrap();
    let output = crio(&["exec", "--process", &file.to_string_lossy(), "c"]).exits(17);
    assert_eq!((output.out(), output.stderr.trim()), ("out", "err"));
    // With a terminal but no console socket, the runtime makes the pty.
    let mut spec = process(&["sh", "-c", "tty && echo terminal; exit 18"]);
    spec["terminal"] = json!(true);
    fs::write(&file, spec.to_string()).unwrap();
    let line = format!(
        "{} --root {root} exec --process {} c",
        runtime().display(),
        file.display()
    );
    run(cmd("script").args(["-qec", &line, "/dev/null"]))
        .exits(18)
        .says("terminal");
    crio(&["kill", "c", "KILL"]).ok();
    c.reap();
    crio(&["kill", "c", "9"])
        .fails()
        .says("container not running");
    assert_eq!(crio(&["state", "c"]).ok().json()["status"], "stopped");
    crio(&["delete", "--force", "c"]).ok();
    crio(&["delete", "--force", "c"]).ok();
    crio(&["checkpoint", "--help"]).ok();
}

/// kubelet through CRI: a pause container, and others that join its namespaces by /proc paths.
#[test]
fn sandbox_and_app_containers() {
    let place = Place::new("pod");
    let sandbox = place.create("pause", SLEEP, nothing);
    sandbox.start();
    let joined = |name: &str| format!("/proc/{}/ns/{name}", sandbox.pid);
    let join = |c: &mut Value, kinds: &[(&str, &str)]| {
        for n in c["linux"]["namespaces"].as_array_mut().unwrap() {
            if let Some((_, file)) = kinds.iter().find(|(kind, _)| n["type"] == *kind) {
                n["path"] = json!(joined(file));
            }
        }
        c.as_object_mut().unwrap().remove("hostname");
    };
    let script = "readlink /proc/self/ns/net; hostname; exec sleep 300";
    let app = place.create("app", &["sh", "-c", script], |c| {
        join(c, &[("network", "net"), ("ipc", "ipc"), ("uts", "uts")])
    });
    app.start();
    // shareProcessNamespace: the pid namespace too.
    let peer = place.create(
        "peer",
        &["sh", "-c", "ps -o comm | grep -c sleep; exit 8"],
        |c| {
            join(
                c,
                &[
                    ("network", "net"),
                    ("ipc", "ipc"),
                    ("uts", "uts"),
                    ("pid", "pid"),
                ],
            );
        },
    );
    peer.start();
    assert_eq!(peer.reap(), exited(peer.pid, 8));
    assert_eq!(
        peer.streams.stdout.text(),
        "1\n",
        "it sees the pause container's process"
    );
    for (kind, ns) in [("net", "net"), ("ipc", "ipc"), ("uts", "uts")] {
        let link = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/{ns}")).unwrap();
        assert_eq!(link(app.pid), link(sandbox.pid), "{kind}");
    }
    let output = {
        app.kill("KILL").ok();
        app.reap();
        app.streams.stdout.text()
    };
    assert_eq!(output.lines().nth(1), Some("inside"), "{output}");
    place.run(&["delete", "app"]).ok();
    place.run(&["delete", "peer"]).ok();
    sandbox.remove();
}
