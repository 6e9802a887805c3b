//! A bundle becomes a guest on a volume, and the stopped guest a bundle again: the same files.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::super::Place;

/// A digest of all that an archive can say of a tree.
fn sum(root: &Path) -> String {
    let script = "tar --format=pax --pax-option=delete=atime,delete=ctime --sort=name --numeric-owner \
                  --acls --xattrs --xattrs-include='*' --exclude=./lost+found -C \"$1\" -c . | sha256sum";
    let done = Command::new("sh")
        .args(["-ec", script, "sum"])
        .arg(root)
        .output()
        .unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

/// What is easily lost on the way.
fn fill(root: &Path) {
    let data = root.join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("set"), "x").unwrap();
    fs::set_permissions(data.join("set"), fs::Permissions::from_mode(0o6751)).unwrap();
    std::os::unix::fs::chown(data.join("set"), Some(1_234), Some(70_000)).unwrap();
    fs::set_permissions(data.join("set"), fs::Permissions::from_mode(0o6751)).unwrap();
    fs::hard_link(data.join("set"), data.join("again")).unwrap();
    symlink("../nowhere", data.join("link")).unwrap();
    let sparse = fs::File::create(data.join("sparse")).unwrap();
    sparse.set_len(50 << 20).unwrap();
    let set = Command::new("setfattr")
        .args(["-n", "user.note", "-v", "kept"])
        .arg(data.join("sparse"))
        .status();
    assert!(set.unwrap().success());
    let made = Command::new("mknod")
        .arg(data.join("null"))
        .args(["c", "1", "3"])
        .status();
    assert!(made.unwrap().success());
    let old = SystemTime::UNIX_EPOCH + Duration::new(981_173_106, 123_456_789);
    for path in [data.join("set"), data, root.join("bin"), root.to_owned()] {
        let times = fs::FileTimes::new().set_modified(old);
        fs::File::open(path).unwrap().set_times(times).unwrap();
    }
    fs::set_permissions(root, fs::Permissions::from_mode(0o711)).unwrap();
}

#[test]
fn a_round_trip_is_exact() {
    let place = Place::new(10_300);
    let root = place.dir.path().join("rootfs");
    fill(&root);
    let before = sum(&root);
    let pct = place.node.path("usr/bin");
    for (storage, size) in [("tank", "1"), ("local", "1"), ("local", "0")] {
        let annotations = json!({
            "dev.pxrun.proxmox.mode": "volume",
            "dev.pxrun.proxmox.storage": storage,
            "dev.pxrun.proxmox.size": size,
        });
        let bundle = place.bundle("c", "exec sleep 1000", annotations);
        place.ok(&["create", "--bundle", bundle.to_str().unwrap(), "c"]);
        let target = place.dir.path().join(format!("back-{storage}-{size}"));
        let target = target.to_str().unwrap();
        let words = ["bundle", "create", "--from-guest", "10300"];
        let words = [
            &words[..],
            &["--pct-dir", pct.to_str().unwrap(), target, "--", "sh"],
        ]
        .concat();
        let error = place.fails(&words);
        assert!(error.contains("not stopped"), "{error}");
        place.ok(&["kill", "c", "KILL"]);
        place.await_status("c", "stopped");
        place.await_unit_end(10_300);
        place.ok(&words);
        assert_eq!(
            sum(&Path::new(target).join("rootfs")),
            before,
            "{storage}:{size}"
        );
        let conf = place.pct(&["config", "10300"]);
        assert!(!conf.contains("lock:"), "{conf}");
        // And on: the new bundle runs.
        place.ok(&["delete", "c"]);
        place.ok(&["bundle", "validate", target]);
        place.nothing_is_left();
        place.storages_are_empty();
    }
    assert_eq!(sum(&root), before);
}
