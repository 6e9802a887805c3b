//! Ids, annotations, environments, arguments and paths that try to be more than one word.

use crate::*;

/// An id becomes file names and cgroup names: what isn't one plain name is refused by every
/// command before anything is touched. By hand: a plain id is taken.
#[test]
fn ids_are_plain_names() {
    let trap = Trap::new("ids");
    let bundle = trap.bundle("good", &["true"], nothing);
    let bundle = bundle.dir.to_string_lossy().into_owned();
    let look = |dir: &Path| {
        let mut look = Look::new();
        see(dir, &mut look);
        look
    };
    // A directory that `../victim` would name.
    let victim = trap.place.dir.join("victim");
    fs::create_dir(&victim).expect("make the victim");
    fs::write(victim.join("state.json"), "{}").expect("write its record");
    fs::create_dir(&trap.place.root).expect("make the root");
    let before = (look(&victim), look(&trap.place.root));
    let long = "a".repeat(1025);
    let ids = [
        "../victim",
        "..",
        ".",
        "",
        "a/b",
        "a\nlxc.hook.start = x",
        "a b",
        "a;b",
        "$(touch x)",
        "@filters",
        "%n",
        "a\u{202e}b",
        &long,
    ];
    for id in ids {
        for args in [
            &["state", id][..],
            &["delete", "--force", id],
            &["kill", id, "9"],
            &["start", id],
            &["exec", id, "true"],
            &["create", "--bundle", &bundle, id],
            &["run", "--bundle", &bundle, id],
            &["update", "--memory", "1", id],
        ] {
            trap.place.run(args).fails();
        }
    }
    assert_eq!((look(&victim), look(&trap.place.root)), before);
    trap.place.run(&["run", "--bundle", &bundle, "good"]).ok();
}

/// Arguments and environment arrive as they are, one each, whatever is in them.
#[test]
fn words_stay_words() {
    let trap = Trap::new("words");
    let word = "a\nb=c; $(touch /x) `touch /x` 'q' \"d\" \\ \u{1b}[0m\tlxc.init.cmd = /bin/evil";
    let value = format!("V={word}");
    let annotations = json!({"dev.test/\nkey = x": word});
    let bundle = trap.bundle(
        "c",
        &[
            "sh",
            "-c",
            "printf '%s|%s|' \"$1\" \"$V\"; env | grep -c ^V=; ls /x",
            "sh",
            word,
        ],
        |config| {
            config["process"]["env"] = json!(["PATH=/bin", value]);
            let given = annotations.as_object().unwrap().clone();
            let map = config
                .as_object_mut()
                .unwrap()
                .entry("annotations")
                .or_insert(json!({}));
            map.as_object_mut().unwrap().extend(given);
        },
    );
    let c = trap.place.create_in("c", &bundle);
    let state = trap.place.state("c");
    assert_eq!(state["annotations"]["dev.test/\nkey = x"], word);
    c.start();
    c.reap();
    let out = c.streams.stdout.text();
    assert_eq!(
        out,
        format!("{word}|{word}|1\n"),
        "{}",
        c.streams.stderr.text()
    );
    trap.place.run(&["delete", "c"]).ok();
}

/// A cgroup path that climbs stays below the hierarchies. By hand: the same path, as a path, leads
/// out.
#[test]
fn cgroup_paths_stay_below_the_hierarchies() {
    let trap = Trap::new("climb");
    let outside = trap.outside.join("made");
    let climbing = format!("{UP}{}", outside.display());
    assert!(
        Path::new("/sys/fs/cgroup")
            .join(&climbing)
            .parent()
            .unwrap()
            .exists()
    );
    let before = trap.look();
    for prefix in ["/", ""] {
        let part = format!("{}/hostile", trap.place.cgroup);
        let path = format!("{prefix}{UP}{part}");
        let output = trap.run("c", &["true"], |config| {
            config["linux"]["cgroupsPath"] = json!(format!("{prefix}{climbing}"));
        });
        assert_eq!(trap.look(), before, "{output}");
        let output = trap.run("d", &["cat", "/proc/self/cgroup"], |config| {
            config["linux"]["cgroupsPath"] = json!(path);
        });
        assert!(output.ok().stdout.contains("hostile"));
    }
    // What the attack left below the hierarchies goes with this place.
    for dir in common::cgroup::all_with(&trap.outside.to_string_lossy())
        .iter()
        .rev()
    {
        let _ = fs::remove_dir(dir);
    }
}

/// The container's user database is a stranger's: no entry makes more of it than ids and a path.
#[test]
fn the_user_database_is_data() {
    let trap = Trap::new("passwd");
    let lines = "evil:x:0:0::/root\u{7}:/bin/sh\nuser:x:4294967296:1:::\nuser:x:-1:-1:::\nbig:x:4294967295:0:::\n:x:::::\nuser:x:1000:1000::relative:/bin/sh\n";
    let long = format!("{lines}{}\n", "l".repeat(1 << 20));
    fs::write(trap.inside("/etc/passwd"), long).expect("write passwd");
    let bundle = trap.bundle("c", &["sleep", "300"], nothing);
    let c = trap.place.create_in("c", &bundle);
    c.start();
    let id = |user: &str| trap.place.run(&["exec", "--user", user, "c", "id", "-u"]);
    assert_eq!(id("user").ok().out(), "1000");
    id("big").fails();
    id("4294967295").fails();
    id("nobody\nroot").fails();
    id("").fails();
    c.remove();
}
