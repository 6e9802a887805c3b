//! Options by annotation: each has its effect in the guest, or is refused by name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::super::Place;

/// `dev.pxrun.proxmox.NAME` for each.
fn options(pairs: &[(&str, &str)]) -> Value {
    let named = pairs
        .iter()
        .map(|(name, value)| (format!("dev.pxrun.proxmox.{name}"), json!(value)));
    Value::Object(named.collect())
}

/// Makes and starts `c` with these options and this change of its configuration.
fn run(place: &Place, pairs: &[(&str, &str)], change: impl FnOnce(&mut Value)) {
    let bundle = written(place, pairs, change);
    place.ok(&["create", "--bundle", bundle.to_str().unwrap(), "c"]);
    place.ok(&["start", "c"]);
}

fn written(place: &Place, pairs: &[(&str, &str)], change: impl FnOnce(&mut Value)) -> PathBuf {
    let bundle = place.bundle("c", "exec sleep 1000", options(pairs));
    let file = bundle.join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    change(&mut config);
    fs::write(&file, config.to_string()).unwrap();
    bundle
}

#[track_caller]
fn refused(place: &Place, pairs: &[(&str, &str)], change: impl FnOnce(&mut Value), words: &str) {
    let bundle = written(place, pairs, change);
    let error = place.fails(&["create", "--bundle", bundle.to_str().unwrap(), "c"]);
    assert!(error.contains(words), "{pairs:?}: {error}");
    place.nothing_is_left();
}

fn sh(place: &Place, script: &str) -> String {
    place.ok(&["exec", "c", "sh", "-c", script])
}

fn end(place: &Place) {
    place.ok(&["delete", "--force", "c"]);
    place.nothing_is_left();
    place.storages_are_empty();
}

fn add_mount(config: &mut Value, mount: Value) {
    config["mounts"].as_array_mut().unwrap().push(mount);
}

#[test]
fn mount_points_are_in_the_container() {
    let place = Place::new(10_400);
    let shared = place.dir.path().join("shared");
    fs::create_dir_all(shared.join("inner")).unwrap();
    fs::write(shared.join("file"), "host\n").unwrap();
    let shared = shared.to_str().unwrap();
    let writable = format!("{shared},mp=/srv/rw,backup=0");
    let fixed = format!("{shared},mp=/srv/ro,ro=1,mountoptions=noexec;nosuid");
    for mode in ["zero-copy", "volume"] {
        let pairs = [
            ("mode", mode),
            ("size", "0"),
            ("mp0", &writable),
            ("mp3", &fixed),
        ];
        run(&place, &pairs, |_| {});
        assert_eq!(sh(&place, "cat /srv/rw/file /srv/ro/file"), "host\nhost\n");
        sh(&place, "echo made > /srv/rw/new");
        assert_eq!(
            fs::read_to_string(format!("{shared}/new")).unwrap(),
            "made\n"
        );
        assert_eq!(
            sh(&place, "echo x > /srv/ro/no || echo refused"),
            "refused\n"
        );
        let flags = sh(&place, "busybox grep ' /srv/ro ' /proc/mounts");
        for flag in ["ro", "nosuid", "noexec"] {
            assert!(flags.contains(flag), "{flags}");
        }
        let conf = place.pct(&["config", "10400"]);
        assert!(conf.contains(&format!("mp0: {writable}\n")), "{conf}");
        end(&place);
    }
    // A mount of the bundle's may lie in a mount point, not over one.
    let pairs = [("mp0", writable.as_str())];
    run(&place, &pairs, |config| {
        add_mount(
            config,
            json!({"destination": "/srv/rw/inner", "type": "tmpfs", "source": "x"}),
        );
    });
    assert!(sh(&place, "busybox grep ' /srv/rw/inner ' /proc/mounts").contains("tmpfs"));
    end(&place);
    let over = json!({"destination": "/srv", "type": "tmpfs", "source": "x"});
    refused(
        &place,
        &pairs,
        |config| add_mount(config, over),
        "mp0]: the mount on `/srv` would hide it",
    );
    refused(
        &place,
        &[("mp0", "/nonexistent,mp=/x")],
        |_| {},
        "LXC can't start the container",
    );
    refused(
        &place,
        &[("mp0", "tank:1,mp=/x")],
        |_| {},
        "mode `volume` only",
    );
}

/// A volume that somebody else owns.
fn volume(place: &Place, name: &str) -> PathBuf {
    let path = place.node.path("tank").join(name);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("file"), "volume\n").unwrap();
    path
}

#[test]
fn volumes_are_mounted_and_outlive_the_guest() {
    let place = Place::new(10_500);
    let theirs = volume(&place, "subvol-777-disk-1");
    // Its name says that it is the guest's own.
    let own = volume(&place, "subvol-10500-disk-7");
    let pairs = [
        ("vmid", "10500"),
        ("mp1", "tank:subvol-10500-disk-7,mp=/own"),
    ];
    run(&place, &pairs, |config| {
        let source = "tank:subvol-777-disk-1";
        add_mount(
            config,
            json!({"destination": "/data", "source": source, "options": ["bind", "ro", "noexec"]}),
        );
    });
    assert_eq!(sh(&place, "cat /data/file /own/file"), "volume\nvolume\n");
    assert_eq!(
        sh(
            &place,
            "echo x > /data/no || echo refused; echo y > /own/new"
        ),
        "refused\n"
    );
    let conf = place.pct(&["config", "10500"]);
    assert!(
        conf.contains("mp0: tank:subvol-777-disk-1,mp=/data,mountoptions=noexec,ro=1\n"),
        "{conf}"
    );
    place.ok(&["delete", "--force", "c"]);
    place.nothing_is_left();
    assert!(theirs.join("file").exists() && own.join("new").exists());
    let bad =
        json!({"destination": "/data", "source": "tank:subvol-777-disk-1", "options": ["rshared"]});
    refused(
        &place,
        &[],
        |config| add_mount(config, bad),
        "mounts[2]: a volume of Proxmox's has no option `rshared`",
    );
    for path in [theirs, own] {
        fs::remove_dir_all(path).unwrap();
    }

    let pairs = [
        ("mode", "volume"),
        ("storage", "tank"),
        ("mp0", "tank:2,mp=/data"),
        ("mp1", "local:0,mp=/more"),
    ];
    run(&place, &pairs, |_| {});
    sh(&place, "echo x > /data/file; echo y > /more/file");
    let conf = place.pct(&["config", "10500"]);
    assert!(
        conf.contains("mp0: tank:subvol-10500-disk-1,mp=/data,size=2G\n"),
        "{conf}"
    );
    assert_eq!(
        fs::read_to_string(place.node.path("tank/subvol-10500-disk-1/file")).unwrap(),
        "x\n"
    );
    end(&place);
}

#[test]
fn devices_and_features_have_their_effect() {
    let place = Place::new(10_600);
    run(&place, &[], |_| {});
    assert_eq!(
        sh(
            &place,
            "busybox ls /dev/fuse /dev/loop-control 2>/dev/null || echo none"
        ),
        "none\n"
    );
    end(&place);
    let pairs = [
        ("dev0", "/dev/loop-control,mode=0640,gid=7"),
        ("features", "nesting=1,fuse=1,force_rw_sys=1"),
    ];
    run(&place, &pairs, |config| {
        add_mount(
            config,
            json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro", "nosuid"]}),
        );
    });
    let stat = "busybox stat -c '%a %u %g %t:%T' /dev/loop-control /dev/fuse";
    assert_eq!(sh(&place, stat), "640 0 7 a:ed\n666 0 0 a:e5\n");
    // The cgroup lets it be opened, too.
    assert_eq!(
        sh(
            &place,
            ": < /dev/loop-control && : <> /dev/fuse && echo open"
        ),
        "open\n"
    );
    let mounts = sh(&place, "cat /proc/mounts");
    for line in [
        "proc /dev/.lxc/proc proc",
        "sysfs /dev/.lxc/sys sysfs",
        "sysfs /sys sysfs rw",
    ] {
        assert!(mounts.contains(line), "no `{line}` in\n{mounts}");
    }
    let conf = place.pct(&["config", "10600"]);
    assert!(
        conf.contains("features: nesting=1,fuse=1,force_rw_sys=1\n"),
        "{conf}"
    );
    end(&place);
    refused(
        &place,
        &[("dev0", "/dev/shm")],
        |_| {},
        "dev0]: `/dev/shm` is no device",
    );
    refused(
        &place,
        &[("dev0", "/dev/nonexistent")],
        |_| {},
        "dev0]: `/dev/nonexistent` is not to be had",
    );
    refused(
        &place,
        &[("features", "mknod=1")],
        |_| {},
        "features]: mknod: the bundle's own filter",
    );
    let device = json!([{"path": "/dev/loop-control", "type": "c", "major": 10, "minor": 237}]);
    let twice = |config: &mut Value| config["linux"]["devices"] = device;
    refused(
        &place,
        &[("dev0", "/dev/loop-control")],
        twice,
        "`linux.devices` says it already",
    );
}

#[test]
fn names_and_time_are_those_of_the_options() {
    let place = Place::new(10_700);
    let zone = "/usr/share/zoneinfo/Europe/Vienna";
    assert!(Path::new(zone).exists(), "tzdata is not installed");
    let pairs = [
        ("nameserver", "192.0.2.1 2001:db8::1"),
        ("searchdomain", "a.example b.example"),
        ("timezone", "Europe/Vienna"),
    ];
    fs::create_dir(place.dir.path().join("rootfs/etc")).unwrap();
    run(&place, &pairs, |_| {});
    assert_eq!(
        sh(&place, "cat /etc/resolv.conf"),
        "search a.example b.example\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n"
    );
    let inside = sh(&place, "busybox md5sum < /etc/localtime");
    let host = Command::new("sh")
        .args(["-c", &format!("busybox md5sum < {zone}")])
        .output()
        .unwrap();
    assert_eq!(inside.into_bytes(), host.stdout);
    assert_eq!(
        sh(&place, "echo x > /etc/resolv.conf || echo refused"),
        "refused\n"
    );
    end(&place);
    refused(
        &place,
        &[("timezone", "Europe/Nowhere")],
        |_| {},
        "timezone]: this host has no time zone `Europe/Nowhere`",
    );
    let own = |config: &mut Value| {
        add_mount(
            config,
            json!({"destination": "/etc/resolv.conf", "type": "bind", "source": "/etc/hostname", "options": ["bind"]}),
        );
    };
    refused(
        &place,
        &pairs[..1],
        own,
        "`a mount on /etc/resolv.conf` says it already",
    );
}

#[test]
fn a_pool_holds_the_guest_as_long_as_it_lives() {
    let place = Place::new(10_800);
    let file = place.node.path("etc/pve/user.cfg");
    let before = "user:root@pam:1:0::::::\npool:oci:containers:105:local:\n";
    fs::write(&file, before).unwrap();
    for mode in ["zero-copy", "volume"] {
        run(
            &place,
            &[("pool", "oci"), ("mode", mode), ("size", "0")],
            |_| {},
        );
        let now = fs::read_to_string(&file).unwrap();
        assert!(
            now.contains("pool:oci:containers:105,10800:local:\n"),
            "{now}"
        );
        end(&place);
        assert_eq!(fs::read_to_string(&file).unwrap(), before);
    }
    refused(
        &place,
        &[("pool", "none")],
        |_| {},
        "pool]: pool `none` is unknown to this cluster",
    );
}

/// A bridge of the host's, gone with the value.
struct Bridge(&'static str);

impl Bridge {
    fn new(name: &'static str) -> Bridge {
        ip(&["link", "add", name, "type", "bridge"]);
        ip(&["link", "set", name, "up"]);
        Bridge(name)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        for name in [self.0.to_owned(), format!("{}v7", self.0)] {
            let _ = Command::new("ip").args(["link", "del", &name]).status();
        }
    }
}

#[track_caller]
fn ip(words: &[&str]) {
    let done = Command::new("ip").args(words).output().unwrap();
    assert!(done.status.success(), "{words:?}: {done:?}");
}

#[track_caller]
fn said(program: &str, words: &[&str]) -> String {
    let done = Command::new(program).args(words).output().unwrap();
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn networks_are_proxmoxs() {
    let place = Place::new(10_900);
    let _bridge = Bridge::new("pxtest10900");
    let net = "name=eth0,bridge=pxtest10900,hwaddr=BC:24:11:00:00:07,tag=7,mtu=1400,\
               ip=192.0.2.5/24,gw=192.0.2.1,ip6=2001:db8::5/64";
    let second = "name=eth1,bridge=pxtest10900,firewall=1";
    run(&place, &[("net0", net), ("net1", second)], |_| {});
    let links = sh(&place, "busybox ip address; busybox ip route");
    for text in [
        "eth0",
        "bc:24:11:00:00:07",
        "mtu 1400",
        "inet 192.0.2.5/24",
        "inet6 2001:db8::5/64",
        "default via 192.0.2.1",
        "eth1",
        "lo:",
    ] {
        assert!(links.contains(text), "no `{text}` in\n{links}");
    }
    let vlan = said("ip", &["-o", "link", "show", "master", "pxtest10900v7"]);
    assert!(vlan.contains("veth10900i0"), "{vlan}");
    let port = said("ip", &["-o", "link", "show", "master", "fwbr10900i1"]);
    assert!(
        port.contains("veth10900i1") && port.contains("fwln10900i1"),
        "{port}"
    );
    let conf = place.pct(&["config", "10900"]);
    assert!(
        conf.contains(&format!("net0: {net},host-managed=1\n")),
        "{conf}"
    );
    end(&place);
    assert!(!Path::new("/sys/class/net/fwbr10900i1").exists());
    refused(
        &place,
        &[("net0", "name=eth0,bridge=pxnone,ip=dhcp")],
        |_| {},
        "LXC can't start the container",
    );
    let unmanaged = "name=eth0,bridge=pxtest10900,ip=192.0.2.5/24,host-managed=0";
    refused(
        &place,
        &[("net0", unmanaged)],
        |_| {},
        "net0]: with `host-managed=0` nothing in the container",
    );
}

#[test]
fn the_hook_script_runs_and_the_order_is_kept() {
    let place = Place::new(11_000);
    let log = place.dir.path().join("phases");
    let script = place.node.path("var/lib/vz/snippets/hook.sh");
    fs::write(
        &script,
        format!("#!/bin/sh\necho \"$1 $2\" >> {}\n", log.display()),
    )
    .unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let pairs = [
        ("hookscript", "local:snippets/hook.sh"),
        ("startup", "order=3,up=5"),
    ];
    run(&place, &pairs, |_| {});
    let conf = place.pct(&["config", "11000"]);
    assert!(
        conf.contains("startup: order=3,up=5\n") && conf.contains("onboot: 0\n"),
        "{conf}"
    );
    assert_eq!(
        fs::read_to_string(&log).unwrap(),
        "11000 pre-start\n11000 post-start\n"
    );
    place.pct(&["stop", "11000"]);
    place.await_unit_end(11_000);
    let phases = fs::read_to_string(&log).unwrap();
    assert!(
        phases.ends_with("11000 pre-stop\n11000 post-stop\n"),
        "{phases}"
    );
    end(&place);
    refused(
        &place,
        &[("hookscript", "local:snippets/none.sh")],
        |_| {},
        "hook script",
    );
    for (name, value, words) in [
        ("onboot", "1", "the caller restarts its containers"),
        ("console", "1", "the caller has the terminal"),
        ("cmode", "shell", "no Proxmox console"),
        ("lock", "backup", "it is Proxmox's"),
        ("frob", "1", "no option of a Proxmox container"),
    ] {
        refused(&place, &[(name, value)], |_| {}, words);
    }
}
