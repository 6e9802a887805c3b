use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use super::abilities::options_in;
use super::*;
use crate::route::Need;
use crate::state::Root;

/// A runtime made of a shell script.
fn script(dir: &Path, body: &str) -> PathBuf {
    let path = dir.join("runtime");
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn settings(program: &Path) -> Settings {
    Settings {
        path: Some(program.into()),
        args: vec!["--first".into()],
        env: BTreeMap::from([("MARK".into(), "yes".into())]),
        root: None,
    }
}

const TALKATIVE: &str = r#"
echo "$@" >>"$0.log"
case "$*" in
--version) echo "thing version 2.0"; echo "+CRIU" ;;
features) echo '{"linux":{"mountExtensions":{"idmap":{"enabled":false}}}}' ;;
"--help") printf '%s\n' "  --root=DIR" "  --debug  more" ;;
"create --help") printf '%s\n' "  -b, --bundle DIR" "  --no-pivot" ;;
"checkpoint --help") echo "--image-path" ;;
"restore --help") echo "--image-path" ;;
*) exit 1 ;;
esac"#;

#[test]
fn a_program_is_asked_once_and_again_when_it_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::new(dir.path().join("root"));
    let program = script(dir.path(), TALKATIVE);
    let runtime = Runtime::find("thing", &settings(&program), &root).unwrap();
    let log = dir.path().join("runtime.log");
    let calls = || std::fs::read_to_string(&log).unwrap().lines().count();

    let asked = Abilities::of(&runtime, &root).unwrap();
    assert!(asked.has("create") && !asked.has("events"));
    assert!(asked.knows("create", "no-pivot") && !asked.knows("create", "preserve-fds"));
    assert!(asked.knows("", "debug") && !asked.knows("", "bundle"));
    let first = calls();
    assert_eq!(Abilities::of(&runtime, &root).unwrap(), asked);
    assert_eq!(calls(), first, "the notes should have been enough");

    script(dir.path(), &format!("{TALKATIVE}\n# upgraded"));
    Abilities::of(&runtime, &root).unwrap();
    assert!(calls() > first, "another program has to be asked");
}

#[test]
fn what_it_says_of_itself_becomes_what_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::new(dir.path().join("root"));
    let program = script(dir.path(), TALKATIVE);
    let can = ability("thing", &settings(&program), &root);
    let lacks = |need: Need| can.lacks.contains_key(&need.to_string());
    assert_eq!(can.unusable, None);
    assert!(lacks(Need::IdmappedMounts) && lacks(Need::Vm) && lacks(Need::NetDevices));
    assert!(!lacks(Need::Checkpoint) && !lacks(Need::Seccomp));

    let gone = ability("thing", &settings(&dir.path().join("absent")), &root);
    assert!(gone.unusable.unwrap().contains("is installed"));
}

#[test]
fn options_are_found_in_every_style_of_help() {
    let help = "  --bundle value, -b value  path\n      --log-format=FORMAT\n  -d, --detach  no--option --\n[--tty[=TTY]]";
    let found: Vec<String> = options_in(help).into_iter().collect();
    assert_eq!(found, ["bundle", "detach", "log-format", "option", "tty"]);
}

#[test]
fn a_runtime_is_found_by_path_or_in_the_fixed_search_path() {
    assert_eq!(locate(Path::new("/bin/sh")), Some("/bin/sh".into()));
    assert!(locate(Path::new("sh")).is_some_and(|path| path.ends_with("bin/sh")));
    assert_eq!(locate(Path::new("/etc/passwd")), None, "not executable");
    assert_eq!(locate(Path::new("/etc")), None, "no file");
    assert_eq!(locate(Path::new("no-such-runtime")), None);
}

#[test]
fn its_root_is_below_ours_or_apart_for_each_of_ours() {
    let root = Root::new("/run/pxrun/k8s.io".into());
    let mut settings = Settings {
        path: Some("/bin/sh".into()),
        ..Settings::default()
    };
    let below = Runtime::find("crun", &settings, &root).unwrap().root;
    assert_eq!(below, Path::new("/run/pxrun/k8s.io/@crun"));
    settings.root = Some("/run/mine".into());
    let apart = Runtime::find("crun", &settings, &root).unwrap().root;
    assert_eq!(apart, Path::new("/run/mine/run/pxrun/k8s.io"));
}

/// What `delete --force` does when the runtime has gone: the process ends, the notes go.
#[test]
fn a_container_is_taken_down_without_its_runtime() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = Runtime {
        name: "gone".into(),
        program: dir.path().join("absent"),
        args: Vec::new(),
        env: BTreeMap::new(),
        root: dir.path().join("@gone"),
    };
    std::fs::create_dir_all(runtime.root.join("c/deep")).unwrap();
    std::fs::create_dir_all(runtime.root.join("other")).unwrap();
    let mut child = std::process::Command::new("/bin/sleep")
        .arg("100")
        .spawn()
        .unwrap();
    let record = record(&runtime, crate::state::ProcessId::of(child.id() as i32));
    let error = ask(&runtime, &Call::new("state", ["c".into()])).unwrap_err();
    assert!(error.to_string().contains("has gone"), "{error}");
    take_down(&record).unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(!runtime.root.join("c").exists());
    assert!(runtime.root.join("other").exists());
}

fn record(runtime: &Runtime, init: Option<crate::state::ProcessId>) -> Record {
    serde_json::from_value(json!({
        "version": crate::state::RECORD_VERSION, "id": "c", "bundle": "/b", "rootfs": "/b/rootfs",
        "backend": runtime.name, "own": runtime, "created": "", "uid": 0,
        "creator": {"pid": 1, "start_time": 1}, "init": init, "ready": true,
        "own_pid_namespace": true, "own_mount_namespace": true,
        "cgroup": crate::cgroup::Cgroup::disabled(),
    }))
    .unwrap()
}
