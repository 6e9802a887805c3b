//! Golden files: a bundle, and every command in its order. `PXRUN_UPDATE_GOLDEN=1` writes them anew.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::enter::{self, Kernel, Step};
use super::hooks::{self, Hook};
use super::life::Plan;
use super::look;
use super::ocijail;
use super::run::{Call, RunError, Runner};
use super::section::Section;

/// Writes commands down; the one that begins with `fails` fails.
#[derive(Default)]
struct Recorder {
    lines: Vec<String>,
    fails: Option<&'static str>,
}

impl Runner for Recorder {
    fn run(&mut self, call: &Call) -> Result<String, RunError> {
        self.lines.push(call.to_string());
        match self
            .fails
            .filter(|start| call.to_string().starts_with(start))
        {
            Some(_) => Err(RunError::Failed {
                call: Box::new(call.clone()),
                words: "no".to_owned(),
            }),
            // The answer of `jls -j PARENT children.max`.
            None => Ok("3\n".to_owned()),
        }
    }

    fn hook(&mut self, hook: &Hook, state: &str, jail: Option<i32>) -> Result<(), RunError> {
        let state: Value = serde_json::from_str(state).unwrap();
        let place = jail.map_or("host".to_owned(), |jid| format!("jail {jid}"));
        let line = format!("hook {} on {place}: {}", hook.path, state["status"]);
        self.lines.push(line.replace('"', ""));
        match self.fails == Some(hook.path.as_str()) {
            true => Err(RunError::Hook {
                path: hook.path.clone(),
                why: "no".to_owned(),
            }),
            false => Ok(()),
        }
    }

    fn directory(&mut self, root: &Path, relative: &Path) -> Result<(), RunError> {
        let line = format!("directory {} in {}", relative.display(), root.display());
        self.lines.push(line);
        Ok(())
    }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/jail")
        .join(name)
}

fn plan(config: &Value) -> Result<Plan, super::JailError> {
    Plan::new(
        "web",
        config,
        Path::new("/bundles/web"),
        Path::new("/var/run/pxrun/web"),
    )
}

fn config(name: &str) -> Value {
    let text = std::fs::read_to_string(golden(&format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn compare(name: &str, got: &str) {
    let file = golden(name);
    if std::env::var_os("PXRUN_UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, got).unwrap();
    }
    let want = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(got, want, "{}", file.display());
}

const NAMES: [&str; 3] = ["classic", "section", "vnet"];

#[test]
fn a_bundle_becomes_these_commands_and_goes_by_those() {
    for name in NAMES {
        let plan = plan(&config(name)).unwrap();
        let mut made = Recorder::default();
        plan.make(&mut made).unwrap();
        let mut gone = Recorder::default();
        plan.take_down(&mut gone).unwrap();
        let process = serde_json::to_string_pretty(&plan.process).unwrap();
        let text = format!(
            "# make\n{}\n# take down\n{}\n# process\n{process}\n",
            made.lines.join("\n"),
            gone.lines.join("\n")
        );
        compare(&format!("{name}.txt"), &text);
    }
}

#[test]
fn ocijail_gets_annotations_and_an_older_version() {
    let translated = ocijail::translated(&config("classic-section")).unwrap();
    let text = serde_json::to_string_pretty(&translated).unwrap();
    compare("classic-section.ocijail.json", &format!("{text}\n"));
    assert!(translated.get("freebsd").is_none());
    let refused = ocijail::translated(&config("vnet")).unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("freebsd.jail.vnetInterfaces"),
        "{refused}"
    );
}

/// Whichever command fails, what ran before it is taken back in reverse.
#[test]
fn whatever_fails_is_taken_back() {
    let plan = plan(&config("section")).unwrap();
    let mut whole = Recorder::default();
    plan.make(&mut whole).unwrap();
    for fails in [
        "/sbin/mount -t tmpfs",
        "/sbin/devfs",
        "/usr/sbin/jail -m",
        "/sbin/ifconfig em0 inet",
        "/usr/sbin/jail -c",
    ] {
        let mut recorder = Recorder {
            fails: Some(fails),
            ..Recorder::default()
        };
        let error = plan.make(&mut recorder).unwrap_err();
        assert_eq!(error.to_string(), "make jail `prison.web`");
        let failed = recorder
            .lines
            .iter()
            .position(|line| line.starts_with(fails))
            .unwrap();
        assert_eq!(recorder.lines[..=failed], whole.lines[..=failed], "{fails}");
        let mounted = |line: &&String| line.starts_with("/sbin/mount");
        let targets = recorder.lines[..failed].iter().filter(mounted);
        let mut undone: Vec<String> = targets
            .map(|line| format!("/sbin/umount -f {}", line.rsplit(' ').next().unwrap()))
            .collect();
        undone.reverse();
        let after = &recorder.lines[failed + 1..];
        let unmounted: Vec<&String> = after
            .iter()
            .filter(|l| l.starts_with("/sbin/umount"))
            .collect();
        assert_eq!(unmounted, undone.iter().collect::<Vec<_>>(), "{fails}");
        if fails == "/usr/sbin/jail -c" {
            assert!(
                after.iter().any(|l| l.contains("children.max=3")),
                "{after:?}"
            );
            assert!(after.iter().any(|l| l.ends_with("-alias")), "{after:?}");
        }
        assert!(
            !after.iter().any(|l| l.contains("jail -r")),
            "it was never made: {after:?}"
        );
    }
}

#[test]
fn taking_down_goes_on_after_a_failure_and_tells_the_first() {
    let plan = plan(&config("section")).unwrap();
    let mut recorder = Recorder {
        fails: Some("/usr/sbin/jail -r"),
        ..Recorder::default()
    };
    let error = plan.take_down(&mut recorder).unwrap_err();
    assert!(error.to_string().contains("jail -r prison.web"), "{error}");
    assert!(recorder.lines.last().unwrap().ends_with("/root"));
}

#[test]
fn what_a_jail_cant_be_is_refused_with_its_field() {
    let base = json!({"process": {"args": ["sh"]}, "root": {"path": "rootfs"}});
    let rows = [
        (
            "/freebsd",
            json!({"jails": {}}),
            "freebsd.jails: unknown field",
        ),
        (
            "/freebsd",
            json!({"jail": {"ip4": "yes"}}),
            "freebsd.jail.ip4: `yes`",
        ),
        (
            "/freebsd",
            json!({"jail": {"ip4Addr": ["::1"]}}),
            "freebsd.jail.ip4Addr[0]: `::1`",
        ),
        (
            "/freebsd",
            json!({"jail": {"ip4Addr": ["10.0.0.1/33"]}}),
            "freebsd.jail.ip4Addr[0]",
        ),
        (
            "/freebsd",
            json!({"jail": {"ip4": "inherit", "ip4Addr": ["10.0.0.1"]}}),
            "freebsd.jail.ip4: addresses",
        ),
        (
            "/freebsd",
            json!({"jail": {"vnet": "new", "ip4Addr": ["10.0.0.1"]}}),
            "freebsd.jail.vnet",
        ),
        (
            "/freebsd",
            json!({"jail": {"vnetInterfaces": ["em0"]}}),
            "freebsd.jail.vnetInterfaces: needs",
        ),
        (
            "/freebsd",
            json!({"jail": {"vnet": "new", "vnetInterfaces": ["-a"]}}),
            "freebsd.jail.vnetInterfaces[0]: `-a`",
        ),
        (
            "/freebsd",
            json!({"jail": {"parent": "a b"}}),
            "freebsd.jail.parent: `a b`",
        ),
        (
            "/freebsd",
            json!({"jail": {"enforceStatfs": 3}}),
            "freebsd.jail.enforceStatfs",
        ),
        (
            "/freebsd",
            json!({"jail": {"allow": {"fly": true}}}),
            "freebsd.jail.allow.fly: unknown",
        ),
        (
            "/freebsd",
            json!({"jail": {"allow": {"mount": ["a,b"]}}}),
            "freebsd.jail.allow.mount[0]",
        ),
        (
            "/freebsd",
            json!({"devices": [{"path": "/dev/../etc"}]}),
            "freebsd.devices[0].path",
        ),
        (
            "/freebsd",
            json!({"devices": [{"path": "null mode 777"}]}),
            "freebsd.devices[0].path",
        ),
        (
            "/annotations",
            json!({"org.freebsd.jail.vnet": "maybe"}),
            "annotations.org.freebsd.jail.vnet: `maybe`",
        ),
        ("/hostname", json!("a b"), "hostname: `a b`"),
        (
            "/mounts",
            json!([{"destination": "/x", "type": "ext4"}]),
            "mounts[0].type: `ext4`",
        ),
        (
            "/mounts",
            json!([{"destination": "/a/../../x"}]),
            "mounts[0].destination",
        ),
        (
            "/mounts",
            json!([{"destination": "/x", "type": "tmpfs", "options": ["size=1,suid"]}]),
            "mounts[0].options[0]",
        ),
        ("/process", json!({"args": []}), "process.args"),
        (
            "/process",
            json!({"args": ["a"], "cwd": "x"}),
            "process.cwd",
        ),
        (
            "/process",
            json!({"args": ["a"], "rlimits": [{"type": "RLIMIT_RTPRIO"}]}),
            "process.rlimits[0].type",
        ),
    ];
    for (pointer, value, want) in rows {
        let mut config = base.clone();
        config[&pointer[1..]] = value;
        let text = plan(&config).unwrap_err().to_string();
        assert!(text.starts_with(want), "{text}");
    }
    let mut both = base.clone();
    both["hostname"] = json!("a");
    both["freebsd"] = json!({"jail": {"host": "inherit"}});
    assert!(
        plan(&both)
            .unwrap_err()
            .to_string()
            .starts_with("freebsd.jail.host")
    );
    for id in ["a.b", "12", ""] {
        let refused = Plan::new(id, &base, Path::new("/b"), Path::new("/s")).unwrap_err();
        assert_eq!(refused.field, "id");
    }
}

#[test]
fn the_section_is_stronger_than_annotations() {
    let config = json!({
        "annotations": {"org.freebsd.jail.sysvshm": "new", "org.freebsd.jail.allow.mlock": "true"},
        "freebsd": {"jail": {"sysvshm": "disable", "allow": {"mlock": false}}},
    });
    let jail = Section::read(&config).unwrap().jail;
    assert_eq!(jail.sysv, [("sysvshm", "disable")]);
    assert_eq!(jail.allow, [("mlock".to_owned(), false)]);
}

/// The host's own runner makes no directory through a link of the container's.
#[test]
fn no_link_of_the_root_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), dir.path().join("etc")).unwrap();
    let mut host = super::run::Host;
    host.directory(dir.path(), Path::new("a/b")).unwrap();
    assert!(dir.path().join("a/b").is_dir());
    host.directory(dir.path(), Path::new("etc/x")).unwrap_err();
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

fn hooked() -> Value {
    let hook = |name: &str| json!([{"path": format!("/{name}"), "args": [name, "x"]}]);
    json!({
        "ociVersion": "1.3.0",
        "process": {"args": ["sh"]},
        "root": {"path": "rootfs"},
        "hooks": {
            "poststop": hook("poststop"),
            "startContainer": hook("startContainer"),
            "createContainer": hook("createContainer"),
            "createRuntime": hook("createRuntime"),
            "prestart": hook("prestart"),
            "poststart": hook("poststart"),
        },
    })
}

fn hooks_of(lines: &[String]) -> Vec<&str> {
    let hooks = lines.iter().filter_map(|line| line.strip_prefix("hook /"));
    hooks.collect()
}

#[test]
fn hooks_run_in_their_order_and_place() {
    let config = hooked();
    let plan = plan(&config).unwrap();
    let state = |point| hooks::state("web", &config, Path::new("/bundles/web"), 7, point);
    let mut recorder = Recorder::default();
    let jid = plan.create(&mut recorder, &state).unwrap();
    assert_eq!(jid, 3);
    let made = recorder.lines.len();
    let mut gone = false;
    plan.start(&mut recorder, &state, jid, || {
        gone = true;
        Ok(())
    })
    .unwrap()
    .unwrap();
    assert!(gone);
    plan.delete(&mut recorder, &state).unwrap();
    assert_eq!(
        hooks_of(&recorder.lines),
        [
            "prestart on host: creating",
            "createRuntime on host: creating",
            "createContainer on host: creating",
            "startContainer on jail 3: created",
            "poststart on host: running",
            "poststop on host: stopped",
        ]
    );
    let jail = recorder.lines.iter().position(|l| l.contains("jail -c"));
    assert!(jail.is_some_and(|at| at < made - 3));
    assert!(recorder.lines.last().unwrap().starts_with("hook /poststop"));
}

#[test]
fn a_hook_that_fails_takes_the_jail_with_it() {
    let config = hooked();
    let plan = plan(&config).unwrap();
    let state = |point| hooks::state("web", &config, Path::new("/bundles/web"), 7, point);
    let mut recorder = Recorder {
        fails: Some("/createRuntime"),
        ..Recorder::default()
    };
    plan.create(&mut recorder, &state).unwrap_err();
    let ran: Vec<&str> = hooks_of(&recorder.lines);
    assert_eq!(ran.len(), 3, "{ran:?}");
    assert!(ran[2].starts_with("poststop"), "{ran:?}");
    assert!(
        recorder
            .lines
            .iter()
            .any(|line| line.contains("jail -r web"))
    );
    // A poststart that fails is told, and the container runs.
    let mut late = Recorder {
        fails: Some("/poststart"),
        ..Recorder::default()
    };
    plan.start(&mut late, &state, 3, || Ok(()))
        .unwrap()
        .unwrap_err();
    assert!(!late.lines.iter().any(|line| line.contains("jail -r")));
}

/// Takes steps until one that is to fail.
struct Steps(Vec<Step>, Option<fn(&Step) -> bool>);

impl Kernel for Steps {
    fn step(&mut self, step: &Step) -> std::io::Result<()> {
        self.0.push(step.clone());
        match self.1.is_some_and(|fails| fails(step)) {
            true => Err(std::io::ErrorKind::PermissionDenied.into()),
            false => Ok(()),
        }
    }
}

#[test]
fn rights_are_given_up_after_what_needs_them() {
    let config = json!({"process": {
        "args": ["sh", "-c", "id"], "env": ["PATH=/bin"], "cwd": "/w", "terminal": true,
        "user": {"uid": 80, "gid": 81, "additionalGids": [5], "umask": 18},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}],
    }});
    let process = super::process::Process::read(&config).unwrap();
    let mut kernel = Steps(Vec::new(), None);
    enter::enter(&process, 4, &mut kernel).unwrap();
    let want = [
        Step::Session,
        Step::Terminal,
        Step::Limit("RLIMIT_NOFILE", 10, 20),
        Step::Attach(4),
        Step::Directory("/w".into()),
        Step::Groups(vec![81, 5]),
        Step::Group(81),
        Step::Mask(18),
        Step::User(80),
        Step::Execute {
            args: vec!["sh".into(), "-c".into(), "id".into()],
            env: vec!["PATH=/bin".into()],
        },
    ];
    assert_eq!(kernel.0, want);
    let words = |list: &[&str]| {
        list.iter()
            .map(ToString::to_string)
            .collect::<Vec<String>>()
    };
    for (program, path, want) in [
        ("sh", "PATH=/bin:/x", vec!["/bin/sh", "/x/sh"]),
        ("sh", "PATH=", vec!["./sh"]),
        ("sh", "HOME=/", vec!["/usr/bin/sh", "/bin/sh"]),
        ("./sh", "PATH=/bin", vec!["./sh"]),
    ] {
        assert_eq!(enter::programs(&words(&[program]), &words(&[path])), want);
    }
    // Nothing goes on in the host's root after a jail that can't be attached to.
    let mut fails = Steps(Vec::new(), Some(|step| matches!(step, Step::Attach(_))));
    let error = enter::enter(&process, 4, &mut fails).unwrap_err();
    assert_eq!(error.to_string(), "attach to jail `4`");
    assert_eq!(fails.0.last(), Some(&Step::Attach(4)));
}

/// Answers with what it was given, or fails without a word.
struct Answers(Option<&'static str>, Vec<String>);

impl Runner for Answers {
    fn run(&mut self, call: &Call) -> Result<String, RunError> {
        self.1.push(call.to_string());
        self.0.map(str::to_owned).ok_or_else(|| RunError::Failed {
            call: Box::new(call.clone()),
            words: String::new(),
        })
    }

    fn hook(&mut self, _: &Hook, _: &str, _: Option<i32>) -> Result<(), RunError> {
        unreachable!("nobody looks by a hook")
    }

    fn directory(&mut self, _: &Path, _: &Path) -> Result<(), RunError> {
        unreachable!("nobody looks by making a directory")
    }
}

#[test]
fn answers_of_jls_and_ps_are_read_or_refused() {
    let mut answers = Answers(Some(" 12\n"), Vec::new());
    assert_eq!(look::jid("web", &mut answers).unwrap(), 12);
    let mut answers = Answers(Some("  30\n   7\n"), answers.1);
    assert_eq!(look::pids(12, &mut answers).unwrap(), [7, 30]);
    let mut answers = Answers(None, answers.1);
    assert_eq!(look::pids(12, &mut answers).unwrap(), [] as [i32; 0]);
    assert!(look::jid("web", &mut answers).is_err());
    for (letter, started, want) in [
        (Some("Ss\n"), true, "running"),
        (Some("I\n"), false, "created"),
        (Some("Z\n"), true, "stopped"),
        (None, true, "stopped"),
    ] {
        let mut answers = Answers(letter, Vec::new());
        assert_eq!(look::status(7, started, &mut answers), want);
    }
    let mut odd = Answers(Some("7\nx\n"), Vec::new());
    let error = look::pids(12, &mut odd).unwrap_err().to_string();
    assert!(error.contains("unexpected answer"), "{error}");
    assert_eq!(
        answers.1,
        [
            "/usr/sbin/jls -j web jid",
            "/bin/ps -J 12 -o pid=",
            "/bin/ps -J 12 -o pid=",
            "/usr/sbin/jls -j web jid",
        ]
    );
    let table = look::table(12, &["-o".to_owned(), "pid,comm".to_owned()]);
    assert_eq!(table.to_string(), "/bin/ps -J 12 -o pid,comm");
}

#[test]
fn the_hosts_runner_gives_hooks_their_state_and_their_time() {
    let dir = tempfile::tempdir().unwrap();
    let told = dir.path().join("told");
    let hook = |script: String, timeout| Hook {
        point: hooks::Point::CreateRuntime,
        path: "/bin/sh".to_owned(),
        args: vec!["hook".to_owned(), "-c".to_owned(), script],
        env: vec!["A=b".to_owned()],
        timeout,
    };
    let mut host = super::run::Host;
    let write = format!("read line; echo \"$0 $A $line\" >{}", told.display());
    host.hook(&hook(write, Some(20)), "{}\n", None).unwrap();
    assert_eq!(std::fs::read_to_string(&told).unwrap(), "hook b {}\n");
    let late = host.hook(&hook("exec sleep 60".to_owned(), Some(1)), "{}", None);
    assert!(late.unwrap_err().to_string().contains("timeout"));
    let bad = host.hook(&hook("exit 3".to_owned(), None), "{}", None);
    assert!(bad.unwrap_err().to_string().contains("exit status: 3"));
}
