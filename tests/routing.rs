//! Routing, delegation, `config` and `doctor` by the command line, with runc as the other runtime.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::command::{Output, run};
use common::oci::{Place, Streams, exited, pid_in, reap};
use common::{alive, wait_until};
use serde_json::{Value, json};

const RUNC: &str = "/usr/sbin/runc";

/// A place with a configuration of its own.
struct Fleet {
    place: Place,
    config: PathBuf,
}

impl Fleet {
    fn new(test: &str, config: &str) -> Self {
        let place = Place::new(test);
        let file = place.dir.join("pxrun.toml");
        let this = Self {
            place,
            config: file,
        };
        this.write(config);
        this
    }

    fn write(&self, config: &str) {
        std::fs::write(&self.config, config).expect("write the configuration");
    }

    fn cmd(&self, args: &[&str]) -> Command {
        let mut command = self.place.bare();
        command.arg("--config").arg(&self.config).args(args);
        command
    }

    #[track_caller]
    fn call(&self, args: &[&str]) -> Output {
        run(&mut self.cmd(args))
    }

    /// `create`; the pid.
    #[track_caller]
    fn create(&self, id: &str, script: &str, change: impl FnOnce(&mut Value)) -> i32 {
        let bundle = self.place.bundle(id, &["sh", "-c", script], |config| {
            // The tests choose by the configuration.
            config["annotations"] = json!({});
            change(config);
        });
        let pid_file = bundle.path("pid");
        let mut command = self.cmd(&["create", "--bundle"]);
        command
            .arg(&bundle.dir)
            .arg("--pid-file")
            .arg(&pid_file)
            .arg(id);
        let streams = Streams::give(&mut command);
        let status = common::command::status(&mut command);
        drop(command);
        assert!(status.success(), "{}", streams.stderr.text());
        pid_in(&pid_file)
    }

    #[track_caller]
    fn backend_of(&self, id: &str) -> String {
        let list = self.call(&["list", "--format", "json"]).ok().json();
        let all = list.as_array().expect("a list");
        let found = all.iter().find(|entry| entry["id"] == id);
        let found = found.unwrap_or_else(|| panic!("no `{id}` in {list}"));
        found["backend"].as_str().expect("a name").to_owned()
    }

    #[track_caller]
    fn remove(&self, id: &str, pid: i32) {
        self.call(&["delete", "--force", id]).ok();
        reap(pid);
    }
}

#[test]
fn mistakes_are_told_with_their_place_and_stop_nothing_but_new_containers() {
    let fleet = Fleet::new("mistakes", "[default]\nbackend = \"embedded\"\n");
    let pid = fleet.create("c", "exec sleep 300", |_| ());
    fleet.write("[default]\nbackend = \"embedded\"\n[[rule]]\nmatch = { id = { regex = '(' } }\nbackend = \"runc\"\n");
    let refused = fleet.call(&["config", "check"]).fails();
    assert!(refused.stderr.contains("line 4 column"), "{refused}");
    fleet.call(&["create", "d"]).fails();
    fleet.call(&["state", "c"]).ok();
    fleet.call(&["start", "c"]).ok();
    fleet.call(&["kill", "c", "KILL"]).ok();
    reap(pid);
    fleet.call(&["delete", "c"]).ok();
}

#[test]
fn a_decision_is_kept_whatever_becomes_of_the_file() {
    let fleet = Fleet::new(
        "kept",
        "[[rule]]\nmatch = { id = \"r-*\" }\nbackend = \"runc\"\n",
    );
    let pid = fleet.create(
        "r-1",
        "trap 'exit 9' TERM; while :; do sleep 0.05; done",
        |_| (),
    );
    let other = fleet.create("e-1", "exec sleep 300", |_| ());
    assert_eq!(
        (fleet.backend_of("r-1"), fleet.backend_of("e-1")),
        ("runc".into(), "embedded".into())
    );
    fleet.write("[default]\nbackend = \"embedded\"\n");
    fleet.call(&["start", "r-1"]).ok();
    assert_eq!(fleet.backend_of("r-1"), "runc");
    fleet.call(&["exec", "r-1", "echo", "in"]).ok().says("in");
    let pids = fleet.call(&["ps", "--format", "json", "r-1"]).ok().json();
    assert!(
        pids.as_array().is_some_and(|all| all.contains(&json!(pid))),
        "{pids}"
    );
    fleet
        .call(&["events", "--stats", "r-1"])
        .ok()
        .says("\"cpu\"");
    fleet.call(&["delete", "r-1"]).fails();
    std::thread::sleep(std::time::Duration::from_millis(200));
    fleet.call(&["kill", "r-1"]).ok();
    assert_eq!(reap(pid), exited(pid, 9));
    fleet.call(&["delete", "r-1"]).ok();
    fleet.call(&["state", "r-1"]).fails().says("does not exist");
    fleet.remove("e-1", other);
}

#[test]
fn pods_stay_together() {
    let fleet = Fleet::new("pods", "");
    let sandbox = fleet.create("sandbox", "exec sleep 300", |_| ());
    fleet.write("[[rule]]\nbackend = \"runc\"\n");
    let joins = |config: &mut Value| {
        config["linux"]["namespaces"][1]["path"] = json!(format!("/proc/{sandbox}/ns/net"));
    };
    let by_path = fleet.create("by-path", "exec sleep 300", joins);
    let by_word = fleet.create("by-word", "exec sleep 300", |config| {
        config["annotations"]["io.kubernetes.cri.sandbox-id"] = json!("sandbox");
    });
    let alone = fleet.create("alone", "exec sleep 300", |_| ());
    assert_eq!(fleet.backend_of("by-path"), "embedded");
    assert_eq!(fleet.backend_of("by-word"), "embedded");
    assert_eq!(fleet.backend_of("alone"), "runc");
    for (id, pid) in [
        ("alone", alone),
        ("by-word", by_word),
        ("by-path", by_path),
        ("sandbox", sandbox),
    ] {
        fleet.remove(id, pid);
    }
}

#[test]
fn what_no_backend_can_do_is_refused_with_the_field() {
    let strict = "[[rule]]\nname = \"all\"\nbackend = \"runc\"\n";
    let fleet = Fleet::new("refused", strict);
    let bundle = fleet.place.bundle("c", &["true"], |config| {
        config["annotations"] = json!({"dev.pxrun.needs": "checkpoint,wasm"});
    });
    let dir = bundle.dir.to_str().expect("a text");
    let told = fleet
        .call(&["route", "--bundle", dir, "--format", "json"])
        .fails();
    let told: Value = told.json();
    assert_eq!(told["backend"], Value::Null);
    let refused = told["refused"].as_str().expect("a reason");
    assert!(
        refused.starts_with("annotations[\"dev.pxrun.needs\"]: backend `runc` can't do"),
        "{refused}"
    );
    let create = fleet.call(&["create", "--bundle", dir, "c"]).fails();
    assert!(create.stderr.contains(refused), "{create}");
    fleet.call(&["state", "c"]).fails().says("does not exist");

    let plain = fleet
        .place
        .bundle("d", &["true"], |config| config["annotations"] = json!({}));
    let dir = plain.dir.to_str().expect("a text");
    fleet.write(
        "[[rule]]\nbackend = \"no-such-runtime\"\nfallback = true\n[[rule]]\nbackend = \"runc\"\n",
    );
    let told = fleet
        .call(&["route", "--bundle", dir, "--format", "json"])
        .ok()
        .json();
    assert_eq!(told["backend"], "runc");
    assert!(
        told["before"][0]
            .as_str()
            .is_some_and(|s| s.contains("no-such-runtime")),
        "{told}"
    );
}

#[test]
fn a_runtime_that_has_gone_leaves_nothing_that_cannot_be_removed() {
    let fleet = Fleet::new("gone", "");
    let program = fleet.place.dir.join("runc");
    std::fs::copy(RUNC, &program).expect("copy runc");
    fleet.write(&format!(
        "[default]\nbackend = \"mine\"\n[backend.mine]\npath = {program:?}\n"
    ));
    let pid = fleet.create("c", "exec sleep 300", |_| ());
    fleet.call(&["start", "c"]).ok();
    let init_cgroup = common::cgroup::dir(pid, "pids").expect("its cgroup");
    std::fs::remove_file(&program).expect("remove runc");
    fleet.call(&["state", "c"]).fails().says("has gone");
    fleet.call(&["exec", "c", "true"]).fails().says("has gone");
    fleet.call(&["list"]).ok().says("mine");
    assert!(alive(pid));
    fleet.call(&["delete", "--force", "c"]).ok();
    reap(pid);
    wait_until("its cgroup is gone", || !Path::new(&init_cgroup).exists());
    fleet.call(&["list", "--quiet"]).ok();
    fleet.call(&["state", "c"]).fails().says("does not exist");
    assert!(!fleet.place.root.join("@mine/c").exists());
}

#[test]
fn run_in_the_foreground_has_the_process_own_exit_code() {
    let fleet = Fleet::new("foreground", "[default]\nbackend = \"runc\"\n");
    let bundle = fleet
        .place
        .bundle("c", &["sh", "-c", "echo out; exit 5"], |config| {
            config["annotations"] = json!({});
        });
    let dir = bundle.dir.to_str().expect("a text");
    let output = fleet.call(&["run", "--bundle", dir, "c"]).exits(5);
    assert_eq!(output.out(), "out");
    fleet.call(&["state", "c"]).fails().says("does not exist");
    let kept = fleet
        .call(&["run", "--keep", "--bundle", dir, "k"])
        .exits(5);
    assert_eq!(kept.out(), "out");
    let state = fleet.call(&["state", "k"]).ok().json();
    assert_eq!(state["status"], "stopped");
    fleet.call(&["delete", "k"]).ok();
}

#[test]
fn doctor_fails_only_for_what_the_configuration_needs() {
    let fleet = Fleet::new(
        "doctor",
        "[[rule]]\nbackend = \"no-such-runtime\"\nfallback = true\n",
    );
    let good = fleet.call(&["doctor", "--json"]).ok().json();
    let backends = good["backends"].as_array().expect("backends");
    let absent = backends
        .iter()
        .find(|b| b["name"] == "no-such-runtime")
        .expect("told");
    assert_eq!(absent["needed"], false);
    assert!(
        absent["unusable"]
            .as_str()
            .is_some_and(|why| why.contains("installed")),
        "{absent}"
    );
    assert_eq!(good["leftovers"], json!([]));

    fleet.write("[default]\nbackend = \"no-such-runtime\"\n");
    fleet
        .call(&["doctor"])
        .exits(1)
        .says("no program `no-such-runtime`");
    fleet.write("nonsense = 1\n");
    fleet.call(&["doctor"]).exits(1).says("line 1 column 1");

    fleet.write("");
    let pid = fleet.create("c", "true", |_| ());
    fleet.call(&["start", "c"]).ok();
    reap(pid);
    let told = fleet.call(&["doctor", "--json"]).ok().json();
    let mend = told["leftovers"][0]["mend"]
        .as_str()
        .expect("a command")
        .to_owned();
    let mend: Vec<&str> = mend.split(' ').skip(1).collect();
    run(common::command::cmd(common::runtime()).args(mend)).ok();
    let again = fleet.call(&["doctor", "--json"]).ok().json();
    assert_eq!(again["leftovers"], json!([]));
}

#[test]
fn checkpoint_without_criu_is_refused_in_words() {
    let fleet = Fleet::new("criu", "[default]\nbackend = \"runc\"\n");
    if Path::new("/usr/sbin/criu").exists() {
        println!("NOT RUN HERE: criu is installed");
        return;
    }
    let pid = fleet.create("c", "exec sleep 300", |_| ());
    fleet.call(&["start", "c"]).ok();
    fleet
        .call(&["checkpoint", "c"])
        .fails()
        .says("criu is not installed");
    assert!(alive(pid));
    fleet.remove("c", pid);
    let bundle = fleet
        .place
        .bundle("d", &["true"], |config| config["annotations"] = json!({}));
    let mut command = fleet.cmd(&["restore", "--bundle"]);
    run(command.arg(&bundle.dir).arg("d"))
        .fails()
        .says("criu is not installed");
}

const CRUN: &str = "/usr/bin/crun";

/// A command in a mount namespace without the version 2 part of hybrid cgroups, which crun refuses.
fn without_hybrid(program: &Path, args: &[&str]) -> Command {
    let script = "umount --lazy /sys/fs/cgroup/unified 2>/dev/null; exec \"$@\"";
    let mut command = common::command::cmd("unshare");
    command
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
            "sh",
        ])
        .arg(program)
        .args(args);
    command
}

#[test]
fn doctor_says_of_crun_what_crun_does() {
    let fleet = Fleet::new("crun", "[default]\nbackend = \"crun\"\n");
    let bundle = fleet
        .place
        .bundle("c", &["true"], |config| config["annotations"] = json!({}));
    let dir = bundle.dir.to_str().expect("a text");
    let root = fleet.place.dir.join("crun-root");
    let root = root.to_str().expect("a text");
    let run_it = ["--root", root, "run", "--bundle", dir, "c"];
    let config = fleet.config.to_str().expect("a text");
    let ask = ["--config", config, "doctor", "--json"];
    let plain = |program: &Path, args: &[&str]| {
        let mut command = common::command::cmd(program);
        command.args(args);
        command
    };
    for hybrid in [true, false] {
        let view = |program, args| match hybrid {
            true => plain(program, args),
            false => without_hybrid(program, args),
        };
        let ran = run(&mut view(Path::new(CRUN), &run_it));
        let told = run(&mut view(&common::runtime(), &ask));
        let told: Value = serde_json::from_str(&told.stdout).expect("json");
        let backends = told["backends"].as_array().expect("backends");
        let crun = backends.iter().find(|b| b["name"] == "crun").expect("told");
        assert_eq!(
            crun["unusable"].is_null(),
            ran.status.success(),
            "{ran}\n{crun}"
        );
    }
}

#[test]
fn a_runtime_gets_a_document_that_it_takes_and_pxrun_keeps_it() {
    let fleet = Fleet::new("version", "[default]\nbackend = \"crun\"\n");
    let bundle = fleet.place.bundle("c", &["sh", "-c", "exit 3"], |config| {
        config["annotations"] = json!({});
        config["ociVersion"] = json!("1.3.0");
    });
    let dir = bundle.dir.to_str().expect("a text");
    let root = fleet.place.root.to_str().expect("a text");
    let config = fleet.config.to_str().expect("a text");
    let pxrun = |args: &[&str]| {
        let all = [&["--root", root, "--config", config], args].concat();
        run(&mut without_hybrid(&common::runtime(), &all))
    };
    pxrun(&["run", "--keep", "--bundle", dir, "c"]).exits(3);
    let kept = std::fs::read(fleet.place.root.join("c/config.json")).expect("kept");
    let kept: Value = serde_json::from_slice(&kept).expect("json");
    assert_eq!(kept["process"]["args"], json!(["sh", "-c", "exit 3"]));
    pxrun(&["delete", "c"]).ok();
    // What is newer than the runtime isn't hidden from it.
    let bundle = fleet.place.bundle("d", &["true"], |config| {
        config["annotations"] = json!({});
        config["ociVersion"] = json!("1.3.0");
        config["linux"]["netDevices"] = json!({"none": {}});
    });
    let dir = bundle.dir.to_str().expect("a text");
    pxrun(&["run", "--bundle", dir, "d"])
        .fails()
        .says("net-devices");
}

#[test]
fn a_runtime_that_hangs_is_not_waited_for() {
    let fleet = Fleet::new("hangs", "");
    let program = fleet.place.dir.join("hanging");
    std::fs::write(&program, "#!/bin/sh\nsleep 300\n").expect("write");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).expect("chmod");
    let table = format!("[backend.hanging]\npath = \"{}\"\n", program.display());
    fleet.write(&format!("{table}[default]\nbackend = \"hanging\"\n"));
    let bundle = fleet
        .place
        .bundle("c", &["true"], |config| config["annotations"] = json!({}));
    let begun = std::time::Instant::now();
    let dir = bundle.dir.to_str().expect("a text");
    fleet
        .call(&["create", "--bundle", dir, "c"])
        .fails()
        .says("`--version` took longer than 10 s");
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    fleet.call(&["state", "c"]).fails().says("does not exist");
}

#[test]
fn without_rules_a_proxmox_node_makes_guests() {
    let fleet = Fleet::new("node", "");
    let bundle = fleet
        .place
        .bundle("c", &["true"], |config| config["annotations"] = json!({}));
    let dir = bundle.dir.to_str().expect("a text");
    let routed = || {
        let told = fleet.call(&["route", "--format", "json", "--bundle", dir]);
        told.ok().json()["backend"].clone()
    };
    let node = fleet.place.dir.join("node");
    let (conf, tools) = (node.join("etc/pve"), node.join("bin"));
    std::fs::create_dir_all(conf.join("nodes/here/lxc")).expect("a node's directories");
    std::fs::create_dir_all(&tools).expect("a directory of tools");
    fleet.write(&format!(
        "[backend.proxmox]\nconf_dir = \"{}\"\ntool_dir = \"{}\"\n",
        conf.display(),
        tools.display()
    ));
    assert_eq!(routed(), "embedded", "no cluster, no tool");
    std::fs::write(conf.join(".members"), "{\"nodename\": \"here\"}").expect("write");
    assert_eq!(routed(), "embedded", "no tool");
    std::fs::write(tools.join("pct"), "").expect("write");
    assert_eq!(routed(), "proxmox");
    let told = fleet.call(&["config", "show"]).ok();
    assert!(told.stdout.contains("\"proxmox\""), "{told}");
}
