//! Linked clones of template guests: one template for each image, made once, kept while it is needed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::Place;

fn clone_of(image: Option<&str>) -> Value {
    let mut annotations = json!({
        "dev.pxrun.proxmox.mode": "clone",
        "dev.pxrun.proxmox.storage": "tank",
        "dev.pxrun.proxmox.size": "1",
    });
    if let Some(image) = image {
        annotations["dev.pxrun.proxmox.image"] = image.into();
    }
    annotations
}

fn create(place: &Place, id: &str, annotations: Value) {
    let bundle = place.bundle(id, "exec sleep 1000", annotations);
    place.ok(&["create", "--bundle", bundle.to_str().unwrap(), id]);
}

fn verbs(place: &Place) -> Vec<String> {
    let verb = |call: &String| call.split(' ').nth(1).unwrap().to_owned();
    place.calls().iter().map(verb).collect()
}

/// `pxrun template …` with the node's storage.
fn template(place: &Place, words: &[&str]) -> String {
    let config = place.node.path("etc/pve/storage.cfg");
    let pve = place.node.path("etc/pve");
    let mut args = vec![
        "template",
        words[0],
        "--storage-config",
        config.to_str().unwrap(),
    ];
    if words[0] == "prune" {
        args.extend(["--pve", pve.to_str().unwrap()]);
    }
    args.extend(&words[1..]);
    place.ok(&args)
}

/// Takes the templates away; nothing else may be left then.
fn end(place: &Place) {
    template(place, &["prune", "--unused", "--yes"]);
    place.nothing_is_left();
    place.storages_are_empty();
}

#[test]
fn the_second_container_of_an_image_costs_no_copy() {
    let place = Place::new(5700);
    let root = place.dir.path().join("rootfs");
    fs::set_permissions(&root, std::os::unix::fs::PermissionsExt::from_mode(0o751)).unwrap();
    create(&place, "a", clone_of(None));
    assert_eq!(verbs(&place), ["create", "template", "clone", "start"]);
    // What callers do before a container runs tells no image from another.
    let now = fs::FileTimes::new().set_modified(std::time::SystemTime::now());
    fs::File::open(root.join("tmp"))
        .unwrap()
        .set_times(now)
        .unwrap();
    create(&place, "b", clone_of(None));
    assert_eq!(verbs(&place)[4..], ["clone", "start"]);
    let conf = place.pct(&["config", "5702"]);
    assert!(
        conf.contains("rootfs: tank:basevol-5700-disk-0/subvol-5702-disk-0,size=1G\n"),
        "{conf}"
    );
    assert!(
        conf.contains("tags: pxrun\n") && !conf.contains("template: 1"),
        "{conf}"
    );
    for id in ["a", "b"] {
        place.ok(&["start", id]);
        place.ok(&["exec", id, "sh", "-c", &format!("echo {id} > /tmp/own")]);
        assert_eq!(
            place.ok(&["exec", id, "busybox", "stat", "-c", "%a", "/"]),
            "751\n"
        );
    }
    assert_eq!(place.ok(&["exec", "a", "cat", "/tmp/own"]), "a\n");
    assert!(!root.join("tmp/own").exists());
    // Another image has another template.
    fs::write(root.join("tmp/file"), "more").unwrap();
    create(&place, "c", clone_of(None));
    assert!(
        place
            .pct(&["config", "5704"])
            .contains("tank:basevol-5703-disk-0/")
    );
    for id in ["a", "b", "c"] {
        place.ok(&["delete", "--force", id]);
    }
    assert_eq!(place.guests().len(), 2);
    end(&place);
}

#[test]
fn an_annotation_names_the_image_or_the_template() {
    let place = Place::new(5800);
    create(&place, "a", clone_of(Some("sha256:abc")));
    let root = place.dir.path().join("rootfs");
    fs::write(root.join("tmp/file"), "not looked at").unwrap();
    create(&place, "b", clone_of(Some("sha256:abc")));
    let mut pinned = clone_of(None);
    pinned["dev.pxrun.proxmox.template"] = "5800".into();
    create(&place, "c", pinned);
    for vmid in ["5801", "5802", "5803"] {
        assert!(
            place
                .pct(&["config", vmid])
                .contains("tank:basevol-5800-disk-0/")
        );
    }
    for id in ["a", "b", "c"] {
        place.ok(&["delete", "--force", id]);
    }
    end(&place);
    let mut elsewhere = clone_of(None);
    elsewhere["dev.pxrun.proxmox.storage"] = "local".into();
    let bundle = place.bundle("d", "x", elsewhere);
    let error = place.fails(&["create", "--bundle", bundle.to_str().unwrap(), "d"]);
    assert!(
        error.contains("storage `local` (dir) makes no linked clones"),
        "{error}"
    );
    end(&place);
}

#[test]
fn a_template_leaves_a_pinned_number_to_its_container() {
    let place = Place::new(11_100);
    let mut annotations = clone_of(None);
    annotations["dev.pxrun.proxmox.vmid"] = "11100".into();
    create(&place, "a", annotations);
    let conf = place.pct(&["config", "11100"]);
    assert!(conf.contains("tank:basevol-11101-disk-0/"), "{conf}");
    place.ok(&["delete", "--force", "a"]);
    end(&place);
}

#[test]
fn ten_at_once_make_one_template() {
    let place = Place::new(5900);
    let ids: Vec<String> = (0..10).map(|i| format!("c{i}")).collect();
    std::thread::scope(|scope| {
        for id in &ids {
            scope.spawn(|| create(&place, id, clone_of(None)));
        }
    });
    let count = |verb: &str| verbs(&place).iter().filter(|v| *v == verb).count();
    assert_eq!((count("template"), place.guests().len()), (1, 11));
    std::thread::scope(|scope| {
        for id in &ids {
            scope.spawn(|| place.ok(&["delete", "--force", id]));
        }
    });
    end(&place);
}

#[test]
fn templates_are_listed_and_kept_while_a_clone_needs_them() {
    let place = Place::new(10_000);
    create(&place, "a", clone_of(Some("alpine:3")));
    let listed = template(&place, &["list"]);
    assert!(
        listed
            .lines()
            .any(|l| l.contains("guest 10000") && l.contains("alpine:3")),
        "{listed}"
    );
    let json: Value =
        serde_json::from_str(&template(&place, &["list", "--format", "json"])).unwrap();
    let guest = json
        .as_array()
        .unwrap()
        .iter()
        .find(|t| t["kind"] == "guest")
        .unwrap();
    assert_eq!(
        (guest["vmid"].as_u64(), &guest["clones"]),
        (Some(10_000), &json!([10_001]))
    );
    for rule in [&["--unused"][..], &["--older-than", "1ms"]] {
        let said = template(&place, &[&["prune"], rule, &["--yes"]].concat());
        assert!(!said.contains("10000"), "{said}");
    }
    assert_eq!(place.guests().len(), 2);
    place.ok(&["delete", "--force", "a"]);
    let said = template(&place, &["prune", "--unused"]);
    assert!(said.contains("would remove guest 10000 (unused"), "{said}");
    assert_eq!(place.guests().len(), 1);
    end(&place);
}

#[test]
fn each_failing_call_is_taken_back() {
    let place = Place::new(10_100);
    let bundle = place.bundle("c", "exec sleep 100", clone_of(None));
    let bundle = bundle.to_str().unwrap();
    for (point, how) in [
        ("pct create:claimed", "crash"),
        ("pct create:unlock", "crash"),
        ("pct create:after", "fail"),
        ("pct template:before", "crash"),
        ("pct template:after", "fail"),
        ("pct clone:before", "fail"),
        ("pct clone:claimed", "crash"),
        ("pct clone:after", "fail"),
        ("pct start:unit", "fail"),
    ] {
        place
            .node
            .control(&["fault", point, "--at", how, "--text", "weird"]);
        let error = place.fails(&["create", "--bundle", bundle, "c"]);
        assert!(
            error.contains("exit code 255") || error.contains("signal 9"),
            "{point}: {error}"
        );
        place.node.control(&["heal"]);
        place.release_claims();
        // At most the template is left, whole or half made; the next create goes on with it.
        assert!(place.guests().len() <= 1, "{point}: {:?}", place.guests());
        place.ok(&["create", "--bundle", bundle, "c"]);
        place.ok(&["delete", "--force", "c"]);
        assert_eq!(place.guests().len(), 1, "{point}");
        end(&place);
    }
}

#[test]
fn a_create_that_is_killed_leaves_at_most_the_template() {
    let place = Place::new(10_200);
    let bundle = place.bundle("c", "exec sleep 100", clone_of(None));
    let slow = r#"{"pct create": 0.2, "pct template": 0.2, "pct clone": 0.2}"#;
    place.node.control(&["fault", "slow", "--text", slow]);
    let args = ["create", "--bundle", bundle.to_str().unwrap(), "c"];
    for wait in [50, 200, 350, 500, 700, 900, 1100, 1300] {
        place.kill_after(&args, Duration::from_millis(wait));
        place.ok(&["delete", "--force", "c"]);
        place.release_claims();
        place.ok(&args);
        place.ok(&["delete", "--force", "c"]);
        assert!(Path::new(&place.node.path("tank")).exists());
        assert_eq!(
            place.guests().len(),
            1,
            "after {wait} ms: {:?}",
            place.guests()
        );
        end(&place);
    }
}
