//! Who the process is: ids, capabilities, directory, score, limits, also from a user namespace.
//! It must not compare with runc: `runc` does.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use serde_json::json;

use super::rig::Trial;

#[test]
fn user_groups_and_umask_are_as_asked() {
    let user = json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 0o27});
    let trial = Trial::new(&["sh", "-c", "id -u; id -g; id -G; umask"]).with("user", user);
    assert_eq!(trial.run(), "1000\n1001\n1001 5 6\n0027\n");
}

#[test]
fn umask_has_a_default_for_init_and_is_left_to_exec() {
    for (init, expected) in [(true, "0022\n"), (false, "0031\n")] {
        let mut trial = Trial::new(&["sh", "-c", "umask"]);
        trial.shell = "umask 031; exec \"$@\"";
        trial.init = init;
        assert_eq!(trial.run(), expected);
    }
}

#[test]
fn no_new_privileges_is_set_only_when_asked() {
    for (asked, expected) in [(true, "1"), (false, "0")] {
        let trial = Trial::new(&["cat", "/proc/self/status"]).with("noNewPrivileges", json!(asked));
        assert_eq!(trial.status("NoNewPrivs"), expected);
    }
}

#[test]
fn capabilities_that_are_not_permitted_are_refused() {
    let caps = json!({"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"]});
    let trial = Trial::new(&["true"]).with("capabilities", caps);
    assert_eq!(trial.run(), "unable to apply caps: operation not permitted");
}

#[test]
fn no_capabilities_leave_a_root_without_any() {
    let trial = Trial::new(&["cat", "/proc/self/status"]);
    for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(trial.status(field), "0000000000000000", "{field}");
    }
}

#[test]
fn the_directory_is_entered_as_root_or_as_the_user() {
    let user = json!({"uid": 1000, "gid": 1000});
    for (owner, mode) in [(0, 0o700), (1000, 0o700)] {
        let trial = Trial::new(&["sh", "-c", "pwd"]).with("user", user.clone());
        let room = trial.root.path().join("rooms");
        std::fs::set_permissions(&room, PermissionsExt::from_mode(mode)).unwrap();
        chown(&room, Some(owner), None).unwrap();
        assert_eq!(trial.with("cwd", json!("/rooms")).run(), "/rooms\n");
    }
    for (cwd, text) in [
        (
            "/nope",
            "chdir to cwd (\"/nope\") set in config.json failed: no such file or directory",
        ),
        (
            "/etc/passwd",
            "chdir to cwd (\"/etc/passwd\") set in config.json failed: not a directory",
        ),
    ] {
        assert_eq!(Trial::new(&["true"]).with("cwd", json!(cwd)).run(), text);
    }
}

#[test]
fn a_directory_outside_the_container_is_refused() {
    let mut trial = Trial::new(&["true"]).with("cwd", json!("/proc/self/fd/9"));
    trial.spoil = vec!["leak"];
    let text = "current working directory is outside of container mount namespace root -- \
                possible container breakout detected";
    assert_eq!(trial.run(), text);
}

#[test]
fn stdio_belongs_to_the_user() {
    let shell = "exec 2>\"$OUT\"; exec \"$@\"";
    let mut trial = Trial::new(&["true"]).with("user", json!({"uid": 1000, "gid": 1000}));
    let out = trial.root.path().join("tmp/out");
    let text = shell.replace("$OUT", out.to_str().unwrap());
    trial.shell = Box::leak(text.into_boxed_str());
    assert_eq!(trial.run(), "");
    let facts = std::fs::metadata(out).unwrap();
    assert_eq!((facts.uid(), facts.gid()), (1000, 0));
}

#[test]
fn the_oom_score_is_written_by_the_host() {
    let trial = Trial::new(&["cat", "/proc/self/oom_score_adj"]).with("oomScoreAdj", json!(123));
    assert_eq!(trial.run(), "123\n");
    let mut trial = trial;
    trial.userns = true;
    assert_eq!(trial.run(), "123\n");
    let text = trial.with("oomScoreAdj", json!(5000)).run();
    assert!(
        text.starts_with("write 5000 to `/proc/") && text.ends_with("invalid argument"),
        "{text}"
    );
}

#[test]
fn a_user_namespace_gets_its_limits_from_the_host() {
    let limits = json!([{"type": "RLIMIT_NOFILE", "soft": 701, "hard": 702}]);
    let mut trial =
        Trial::new(&["sh", "-c", "ulimit -n; ulimit -Hn; id -u"]).with("rlimits", limits);
    trial.userns = true;
    assert_eq!(trial.run(), "701\n702\n0\n");
}

#[test]
fn groups_that_a_user_namespace_denies_are_an_error_only_when_asked_for() {
    let mut trial = Trial::new(&["id", "-u"]);
    trial.userns = true;
    // --map-root-user writes deny to setgroups, which CAP_SETGID in the namespace can't undo.
    assert_eq!(trial.run(), "0\n");
    let trial = trial.with("user", json!({"uid": 0, "gid": 0, "additionalGids": [0]}));
    assert_eq!(
        trial.run(),
        "set additional groups: operation not permitted"
    );
}
