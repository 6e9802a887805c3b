//! Golden files: a bundle, and every command in its order. `PXRUN_UPDATE_GOLDEN=1` writes them anew.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::life::Plan;
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
