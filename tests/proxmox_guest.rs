//! Guests on the simulated node, as other people and Proxmox itself treat them: locks, protection,
//! moves, numbers used again, failing calls.

mod node_dir;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use node_dir::Node;
use pxrun::backend::proxmox::conf::Conf;
use pxrun::backend::proxmox::guest::{Guest, GuestError, Whereabouts};
use pxrun::backend::proxmox::settings::{Range, Settings};
use pxrun::backend::proxmox::translate::{Marker, TAG};
use pxrun::backend::proxmox::vmid::Wish;

/// A node, and a root file system whose init sleeps.
struct Place {
    node: Node,
    rootfs: tempfile::TempDir,
    settings: Settings,
}

impl Place {
    fn new(first: u32) -> Place {
        let node = Node::start(&["--others", "pve2"]);
        let rootfs = tempfile::tempdir().unwrap();
        let root = rootfs.path();
        for dir in ["bin", "sbin", "dev", "proc", "sys", "tmp"] {
            std::fs::create_dir(root.join(dir)).unwrap();
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        std::os::unix::fs::symlink("busybox", root.join("bin/sh")).unwrap();
        let init = root.join("sbin/init");
        std::fs::write(&init, "#!/bin/sh\nwhile :; do /bin/busybox sleep 1; done\n").unwrap();
        std::fs::set_permissions(&init, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        let settings = Settings {
            vmids: Range {
                first,
                last: first + 20,
            },
            conf_dir: node.path("etc/pve"),
            lock_dir: node.path("run/lock/lxc"),
            lxc_dir: node.path("var/lib/lxc"),
            tool_dir: Some(node.path("usr/bin")),
            patience: 1,
            ..Settings::default()
        };
        Place {
            node,
            rootfs,
            settings,
        }
    }

    fn guest(&self, id: &str) -> Guest {
        let marker = Marker {
            id: id.into(),
            root: "/run/pxrun".into(),
        };
        let mut conf = Conf::default();
        for (key, value) in [("memory", "64"), ("ostype", "unmanaged"), ("tags", TAG)] {
            conf.set(key, value);
        }
        conf.set("rootfs", &self.rootfs.path().display().to_string());
        conf.set_description(&format!("pxrun container {id} in /run/pxrun"));
        let none = BTreeSet::new();
        let wish = Wish::Any(self.settings.vmids);
        Guest::define(&self.settings, &marker, wish, &none, &conf).unwrap()
    }

    fn pct(&self, args: &[&str]) {
        let done = self.node.tool("pct").args(args).output().unwrap();
        assert!(done.status.success(), "{args:?}: {done:?}");
    }

    fn calls(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.node.path("calls.log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    fn running(&self, guest: &Guest) -> bool {
        let out = self
            .node
            .tool("pct")
            .arg("status")
            .arg(guest.vmid.to_string())
            .output();
        out.unwrap().stdout == b"status: running\n"
    }
}

#[test]
fn a_life_costs_two_calls() {
    let place = Place::new(3000);
    let guest = place.guest("web");
    guest.start().unwrap();
    guest.destroy().unwrap();
    let vmid = guest.vmid;
    let expected = [
        format!("pct start {vmid}"),
        format!("pct destroy {vmid} --force 1 --purge 1"),
    ];
    assert_eq!(place.calls(), expected);
    assert_eq!(guest.whereabouts().unwrap(), Whereabouts::Gone);
    assert!(place.rootfs.path().join("bin/busybox").exists());
    // Again is no error: `delete --force` may come twice.
    guest.destroy().unwrap();
    guest.stop().unwrap();
}

#[test]
fn others_may_stop_and_destroy_it() {
    let place = Place::new(3030);
    let guest = place.guest("web");
    guest.start().unwrap();
    assert!(place.running(&guest));
    place.pct(&["stop", &guest.vmid.to_string()]);
    guest.stop().unwrap();
    place.pct(&["destroy", &guest.vmid.to_string()]);
    assert!(matches!(guest.start(), Err(GuestError::Gone(_))));
    guest.destroy().unwrap();
}

#[test]
fn a_number_used_again_is_not_touched() {
    let place = Place::new(3060);
    let guest = place.guest("web");
    let vmid = guest.vmid.to_string();
    place.pct(&["destroy", &vmid]);
    place
        .node
        .control(&["guest", &vmid, "--text", "memory: 64\\nrootfs: /srv\\n"]);
    assert_eq!(guest.whereabouts().unwrap(), Whereabouts::Foreign);
    let before = place.calls().len();
    guest.destroy().unwrap();
    guest.stop().unwrap();
    assert!(matches!(guest.start(), Err(GuestError::Foreign(_))));
    assert!(matches!(
        guest.edit(|conf| conf.set("memory", "1")),
        Err(GuestError::Foreign(_))
    ));
    assert_eq!(place.calls().len(), before);
    let text = std::fs::read_to_string(place.node.path("etc/pve/lxc").join(format!("{vmid}.conf")));
    assert_eq!(text.unwrap(), "memory: 64\nrootfs: /srv\n");
}

#[test]
fn a_lock_is_waited_for_and_never_broken() {
    let place = Place::new(3090);
    let guest = place.guest("web");
    let vmid = guest.vmid.to_string();
    place.pct(&["set", &vmid, "--lock", "backup"]);
    let begun = Instant::now();
    let error = guest.destroy().unwrap_err();
    assert!(
        matches!(&error, GuestError::Locked { lock, .. } if lock == "backup"),
        "{error}"
    );
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let error = guest.start().unwrap_err().to_string();
    assert_eq!(error, format!("`pct start {vmid}`"));
    // The backup ends while somebody waits.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(400));
            place.pct(&["unlock", &vmid]);
        });
        guest.destroy().unwrap();
    });
}

#[test]
fn protection_is_respected() {
    let place = Place::new(3120);
    let guest = place.guest("web");
    let vmid = guest.vmid.to_string();
    place.pct(&["set", &vmid, "--protection", "1"]);
    let error = guest.destroy().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("guest {vmid} is protected (`protection: 1`)")
    );
    assert!(matches!(guest.whereabouts().unwrap(), Whereabouts::Here(_)));
    place.pct(&["set", &vmid, "--protection", "0"]);
    guest.destroy().unwrap();
}

#[test]
fn a_guest_that_was_moved_is_told() {
    let place = Place::new(3150);
    let guest = place.guest("web");
    let conf = place.node.path("etc/pve");
    let name = format!("{}.conf", guest.vmid);
    let there = conf.join("nodes/pve2/lxc").join(&name);
    std::fs::rename(conf.join("lxc").join(&name), there).unwrap();
    assert_eq!(
        guest.whereabouts().unwrap(),
        Whereabouts::Moved("pve2".into())
    );
    let error = guest.destroy().unwrap_err().to_string();
    assert_eq!(error, format!("guest {} is on node `pve2` now", guest.vmid));
}

#[test]
fn an_edit_keeps_what_others_wrote() {
    let place = Place::new(3180);
    let guest = place.guest("web");
    let vmid = guest.vmid.to_string();
    place.pct(&[
        "set",
        &vmid,
        "--cores",
        "2",
        "--description",
        "pxrun container web in /run/pxrun",
    ]);
    guest.edit(|conf| conf.set("memory", "128")).unwrap();
    let path = place.node.path("etc/pve/lxc").join(format!("{vmid}.conf"));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.contains("\ncores: 2\n") && text.contains("\nmemory: 128\n"),
        "{text}"
    );
    // And pct keeps what we write.
    guest
        .edit(|conf| conf.add_lxc("lxc.include", "/x"))
        .unwrap();
    place.pct(&["set", &vmid, "--onboot", "0"]);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.ends_with("lxc.include: /x\n"), "{text}");
}

#[test]
fn failing_calls_have_our_words() {
    let place = Place::new(3210);
    let guest = place.guest("web");
    let vmid = guest.vmid;
    let fails = |text: &str, rc: &str| {
        place.node.control(&[
            "fault",
            "pct start:before",
            "--at",
            "fail",
            "--text",
            text,
            "--rc",
            rc,
        ]);
        let error = guest.start().unwrap_err();
        pxrun::error::one_line(&anyhow::Error::from(error))
    };
    assert_eq!(
        fails("storage 'x' does not exist", "255"),
        format!("`pct start {vmid}`: storage `x` is unknown to this node")
    );
    assert_eq!(
        fails("the moon does not exist", "255"),
        format!(
            "`pct start {vmid}`: it failed with exit code 255; its messages are in the debug log"
        )
    );
    place
        .node
        .control(&["fault", "pct start:before", "--at", "crash"]);
    let error = guest.start().unwrap_err();
    let line = pxrun::error::one_line(&anyhow::Error::from(error));
    assert_eq!(
        line,
        format!("`pct start {vmid}`: it was killed by signal 9")
    );
    place.node.control(&["fault", "no-quorum"]);
    let error = guest.start().unwrap_err();
    let line = pxrun::error::one_line(&anyhow::Error::from(error));
    assert!(
        line.ends_with("the cluster has no quorum: its configuration is read-only"),
        "{line}"
    );
    place.node.control(&["heal"]);
    guest.start().unwrap();
    guest.destroy().unwrap();
}

#[test]
fn a_call_that_hangs_is_ended() {
    let mut place = Place::new(3240);
    place.settings.limit = 1;
    let guest = place.guest("web");
    place
        .node
        .control(&["fault", "slow", "--text", r#"{"pct start": 30}"#]);
    let begun = Instant::now();
    let error = guest.start().unwrap_err().to_string();
    assert!(error.contains("took longer than 1 s"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    place.node.control(&["heal"]);
    guest.destroy().unwrap();
    assert!(!Path::new(&place.node.path(&format!("etc/pve/lxc/{}.conf", guest.vmid))).exists());
}
