//! Guests that own their root: filled from the bundle, freed by `delete`, taken back whatever fails.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::{BTreeSet, Place};

/// Annotations of a container on a volume.
fn volume(storage: &str, size: &str) -> Value {
    json!({
        "dev.pxrun.proxmox.mode": "volume",
        "dev.pxrun.proxmox.storage": storage,
        "dev.pxrun.proxmox.size": size,
    })
}

fn create(place: &Place, id: &str, annotations: Value) {
    let bundle = place.bundle(id, "exec sleep 1000", annotations);
    place.ok(&["create", "--bundle", bundle.to_str().unwrap(), id]);
}

#[test]
fn a_volume_of_each_kind_is_filled_used_and_freed() {
    let place = Place::new(5000);
    let root = place.dir.path().join("rootfs");
    fs::create_dir(root.join("data")).unwrap();
    fs::write(root.join("data/file"), "from the bundle\n").unwrap();
    std::os::unix::fs::chown(root.join("data/file"), Some(70_001), Some(7)).unwrap();
    fs::set_permissions(root.join("data/file"), fs::Permissions::from_mode(0o4755)).unwrap();
    symlink("file", root.join("data/link")).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o711)).unwrap();
    for (storage, size, volume_id) in [
        ("local", "0", "local:5000/subvol-5000-disk-0.subvol,size=0T"),
        ("local", "1", "local:5000/vm-5000-disk-0.raw,size=1G"),
        ("tank", "2", "tank:subvol-5000-disk-0,size=2G"),
    ] {
        create(&place, "v", volume(storage, size));
        let conf = place.pct(&["config", "5000"]);
        assert!(conf.contains(&format!("rootfs: {volume_id}\n")), "{conf}");
        place.ok(&["start", "v"]);
        assert_eq!(
            place.ok(&["exec", "v", "cat", "/data/link"]),
            "from the bundle\n"
        );
        let stat = [
            "exec",
            "v",
            "busybox",
            "stat",
            "-c",
            "%a %u %g %n",
            "/",
            "/data/file",
        ];
        assert_eq!(place.ok(&stat), "711 0 0 /\n4755 70001 7 /data/file\n");
        // What it writes is its own.
        place.ok(&[
            "exec",
            "v",
            "sh",
            "-c",
            "echo own > /data/new; busybox rm /data/link",
        ]);
        assert!(!root.join("data/new").exists() && root.join("data/link").is_symlink());
        place.ok(&["delete", "--force", "v"]);
        place.nothing_is_left();
        place.storages_are_empty();
    }
    let calls = place.calls();
    let ours: Vec<&str> = calls
        .iter()
        .filter(|c| !c.starts_with("pct config"))
        .map(|c| c.split(' ').nth(1).unwrap())
        .collect();
    assert_eq!(ours, ["create", "start", "destroy"].repeat(3), "{calls:?}");
}

#[test]
fn a_read_only_root_and_a_user_namespace_on_a_volume() {
    let ranges = fs::read_to_string("/etc/subuid").unwrap_or_default();
    if !ranges.lines().any(|line| line == "root:100000:65536") {
        println!("skipped: root has no range `root:100000:65536` in /etc/subuid, as a node has");
        return;
    }
    let place = Place::new(5100);
    let bundle = place.bundle("v", "exec sleep 1000", volume("tank", "1"));
    let file = bundle.join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    config["root"]["readonly"] = true.into();
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({"type": "user"}));
    fs::write(&file, config.to_string()).unwrap();
    // As a caller hands a root over to mapped ids: on disk they are the host's.
    let root = place.dir.path().join("rootfs");
    let own = |path: &Path| std::os::unix::fs::lchown(path, Some(100_000), Some(100_000)).unwrap();
    own(&root);
    for dir in ["bin", "tmp", "dev", "proc", "sys"] {
        own(&root.join(dir));
    }
    own(&root.join("bin/busybox"));
    place.ok(&["create", "--bundle", bundle.to_str().unwrap(), "v"]);
    let conf = place.pct(&["config", "5100"]);
    assert!(
        conf.contains("unprivileged: 1\n") && conf.contains("lxc.idmap: u 0 100000 65536\n"),
        "{conf}"
    );
    place.ok(&["start", "v"]);
    let stat = [
        "exec",
        "v",
        "busybox",
        "stat",
        "-c",
        "%u %g",
        "/",
        "/bin/busybox",
    ];
    assert_eq!(place.ok(&stat), "0 0\n0 0\n");
    let refused = place.run(&["exec", "v", "busybox", "touch", "/tmp/x"]);
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("Read-only"),
        "{refused:?}"
    );
    place.ok(&["delete", "--force", "v"]);
    place.nothing_is_left();
    place.storages_are_empty();
}

#[test]
fn each_failing_call_is_taken_back() {
    let place = Place::new(5200);
    let bundle = place.bundle("c", "exec sleep 100", volume("tank", "1"));
    let bundle = bundle.to_str().unwrap();
    for (fault, words) in [
        (
            vec![
                "pct create:before",
                "--at",
                "fail",
                "--text",
                "storage 'x' does not exist",
            ],
            "storage `x` is unknown",
        ),
        (
            vec!["pct create:before", "--at", "crash"],
            "killed by signal 9",
        ),
        (
            vec!["pct create:claimed", "--at", "crash"],
            "killed by signal 9",
        ),
        (
            vec!["pct create:unlock", "--at", "crash"],
            "killed by signal 9",
        ),
        (
            vec!["pct create:unlock", "--at", "fail", "--text", "weird"],
            "exit code 255",
        ),
        (
            vec!["pct create:after", "--at", "fail", "--text", "weird"],
            "exit code 255",
        ),
        (
            vec!["pct start:before", "--at", "crash"],
            "killed by signal 9",
        ),
        (
            vec!["pct start:unit", "--at", "fail", "--text", "weird"],
            "exit code 255",
        ),
        (
            vec!["hook prestart", "--at", "crash"],
            "LXC can't start the container",
        ),
        (vec!["storage-full"], "the storage is full"),
        (vec!["no-quorum"], "no quorum"),
    ] {
        place.node.control(&[vec!["fault"], fault.clone()].concat());
        let error = place.fails(&["create", "--bundle", bundle, "c"]);
        assert!(error.contains(words), "{fault:?}: {error}");
        assert!(!error.contains("does not exist"), "{error}");
        place.node.control(&["heal"]);
        // Without a quorum the number can't even be given back.
        let again = place.run(&["delete", "--force", "c"]);
        assert!(again.status.success(), "{fault:?}: {again:?}");
        place.release_claims();
        place.nothing_is_left();
        place.storages_are_empty();
    }
    for (storage, word) in [
        ("nosuch", "storage `nosuch` is unknown"),
        ("isos", "is not set up for container"),
    ] {
        let bundle = place.bundle("d", "exec sleep 100", volume(storage, "1"));
        let error = place.fails(&["create", "--bundle", bundle.to_str().unwrap(), "d"]);
        assert!(error.contains(word), "{error}");
    }
    place.nothing_is_left();
    place.storages_are_empty();
}

#[test]
fn a_create_that_is_killed_leaves_nothing_after_delete() {
    let place = Place::new(5300);
    let bundle = place.bundle("c", "exec sleep 100", volume("tank", "1"));
    place
        .node
        .control(&["fault", "slow", "--text", r#"{"pct create": 0.3}"#]);
    for wait in [20, 60, 120, 250, 400, 550, 700, 900, 1200] {
        let args = ["create", "--bundle", bundle.to_str().unwrap(), "c"];
        place.kill_after(&args, Duration::from_millis(wait));
        let deleted = place.run(&["delete", "--force", "c"]);
        assert!(deleted.status.success(), "after {wait} ms: {deleted:?}");
        place.release_claims();
        place.nothing_is_left();
        place.storages_are_empty();
    }
}

#[test]
fn a_node_that_loses_power_over_a_create_is_tidied_up() {
    let place = Place::new(5400);
    let bundle = place.bundle("c", "exec sleep 100", volume("tank", "1"));
    for point in ["pct create:claimed", "pct create:unlock"] {
        // The tool dies by itself, and pxrun before it can take anything back.
        let fault = ["fault", point, "--at", "crash"];
        place.node.control(&fault);
        place
            .node
            .control(&["fault", "pct destroy:before", "--at", "fail", "--always"]);
        let args = ["create", "--bundle", bundle.to_str().unwrap(), "c"];
        assert!(!place.run(&args).status.success());
        assert!(!place.guests().is_empty(), "{point}");
        place.node.control(&["heal"]);
        place.ok(&["delete", "--force", "c"]);
        place.nothing_is_left();
        place.storages_are_empty();
    }
}

#[test]
fn ten_at_once() {
    let place = Place::new(5500);
    let ids: Vec<String> = (0..10).map(|i| format!("c{i}")).collect();
    std::thread::scope(|scope| {
        for id in &ids {
            scope.spawn(|| create(&place, id, volume("tank", "1")));
        }
    });
    assert_eq!(place.guests().len(), 10);
    let volumes: BTreeSet<String> = place
        .below("tank")
        .into_iter()
        .filter(|p| p.contains("-disk-0") && !p.contains("-disk-0/"))
        .collect();
    assert_eq!(volumes.len(), 10);
    std::thread::scope(|scope| {
        for id in &ids {
            scope.spawn(|| place.ok(&["delete", "--force", id]));
        }
    });
    place.nothing_is_left();
    place.storages_are_empty();
}

#[test]
fn a_number_that_somebody_takes_meanwhile_is_passed_by() {
    let place = Place::new(5600);
    place.node.control(&["fault", "rival", "--times", "2"]);
    create(&place, "c", volume("tank", "1"));
    assert_eq!(place.guests(), BTreeSet::from(["5602.conf".to_owned()]));
    for vmid in [5600, 5601] {
        let theirs = place
            .node
            .path(&format!("etc/pve/nodes/pve2/qemu-server/{vmid}.conf"));
        assert_eq!(fs::read_to_string(theirs).unwrap(), "name: rival\n");
    }
    place.ok(&["delete", "--force", "c"]);
    place.nothing_is_left();
    place.storages_are_empty();
}
