//! Whole guests as golden files beside real callers' configurations, and the meanings one by one.
//! `PXRUN_BLESS=1` writes the golden files anew.

use serde_json::{Value, json};

use super::*;
use crate::backend::proxmox::options::{self, ANNOTATION};
use crate::backend::proxmox::settings::Range;
use crate::spec::{HostFacts, Validated};

const HOST: Host = Host {
    memory: 16_000,
    swap: 2_000,
    cgroup_v2: true,
    arch: "amd64",
};

fn spec(change: Value) -> Spec {
    let mut base = json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "hostname": "web",
        "linux": {"namespaces": [{"type": "mount"}, {"type": "network"}]},
    });
    merge(&mut base, change);
    serde_json::from_value(base).unwrap()
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn plan_with(spec: &Spec, settings: &Settings, host: Host) -> Result<Plan, TranslateError> {
    Plan::new(&Input {
        id: "3f2a",
        root: Path::new("/run/pxrun"),
        bundle: Path::new("/b"),
        spec,
        settings,
        host,
    })
}

/// The plan of a plain container with a change.
pub fn plan(change: Value) -> Plan {
    plan_with(&spec(change), &Settings::default(), HOST).unwrap()
}

fn refused(annotation: &str, value: &str, change: Value) -> String {
    let mut change = change;
    merge(
        &mut change,
        json!({"annotations": {format!("{ANNOTATION}{annotation}"): value}}),
    );
    let error = plan_with(&spec(change), &Settings::default(), HOST).unwrap_err();
    error.to_string()
}

fn lines() -> Vec<(String, String)> {
    [
        ("lxc.init.cmd", "/dev/.pxrun"),
        ("lxc.apparmor.profile", "unconfined"),
        ("lxc.idmap", "u 0 100000 65536"),
        ("lxc.no_new_privs", "0"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .to_vec()
}

#[test]
fn real_configurations_become_these_guests() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let settings = Settings {
        tags: vec!["lab".to_owned()],
        options: BTreeMap::from([(
            "net0".to_owned(),
            "name=eth0,bridge=vmbr0,ip=dhcp".to_owned(),
        )]),
        ..Settings::default()
    };
    for name in [
        "podman-plain",
        "podman-privileged",
        "podman-userns",
        "podman-tty-limits",
        "runc-spec",
        "cri-container",
        "crun-spec",
    ] {
        let text = std::fs::read_to_string(top.join(format!("documents/{name}.json"))).unwrap();
        let raw = serde_json::from_str(&text).unwrap();
        let spec = Validated::new(raw, &HostFacts::default()).unwrap();
        let plan = plan_with(spec.spec(), &settings, HOST).unwrap();
        let include = Path::new("/var/lib/pxrun/3f2a/lxc.conf");
        let text = format!(
            "{}=== {}\n{}",
            plan.conf(&lines(), Path::new("/b/rootfs"), include)
                .unwrap(),
            include.display(),
            plan.included(&lines())
        );
        let golden = top.join(format!("golden/proxmox/{name}.conf"));
        if std::env::var_os("PXRUN_BLESS").is_some() {
            std::fs::write(&golden, &text).unwrap();
        }
        assert_eq!(
            text,
            std::fs::read_to_string(&golden).unwrap_or_default(),
            "{name}"
        );
    }
}

#[test]
fn limits_mean_what_they_say() {
    let shown = |resources: Value| {
        let plan = plan(json!({"linux": {"resources": resources}}));
        let get = |name: &str| plan.options.get(name).cloned().unwrap_or_default();
        [get("memory"), get("swap"), get("cpulimit"), get("cpuunits")]
    };
    assert_eq!(shown(json!({})), ["16000", "2000", "", ""]);
    assert_eq!(
        shown(json!({"memory": {"limit": -1}})),
        ["16000", "2000", "", ""]
    );
    assert_eq!(
        shown(json!({"memory": {"limit": 67_108_864, "swap": 67_108_864}})),
        ["64", "0", "", ""]
    );
    assert_eq!(
        shown(json!({"memory": {"limit": 67_108_865, "swap": 134_217_729}})),
        ["65", "64", "", ""]
    );
    assert_eq!(
        shown(json!({"memory": {"limit": 4_096, "swap": -1}})),
        ["16", "2000", "", ""]
    );
    assert_eq!(
        shown(json!({"memory": {"limit": i64::MAX}}))[0],
        "8796093022208"
    );
    assert_eq!(
        shown(json!({"cpu": {"quota": 50_000, "period": 100_000}}))[2],
        "0.5"
    );
    assert_eq!(shown(json!({"cpu": {"quota": 150_000}}))[2], "1.5");
    assert_eq!(
        shown(json!({"cpu": {"quota": 200_000, "period": 100_000}}))[2],
        "2"
    );
    assert_eq!(
        shown(json!({"cpu": {"quota": 1, "period": 1_000_000}}))[2],
        "0.001"
    );
    assert_eq!(shown(json!({"cpu": {"quota": -1}}))[2], "");
    // Shares are a weight, never a number of cores.
    assert_eq!(shown(json!({"cpu": {"shares": 1_024}}))[3], "100");
    assert_eq!(shown(json!({"cpu": {"shares": 2}}))[3], "1");
    assert_eq!(shown(json!({"cpu": {"shares": 262_144}}))[3], "10000");
}

#[test]
fn what_proxmox_generates_is_lifted_before_anything_else() {
    let text = plan(json!({})).included(&lines());
    let first: Vec<&str> = text.lines().take(3).collect();
    assert_eq!(
        first,
        [
            "lxc.cgroup2.memory.max = ",
            "lxc.cgroup2.memory.high = ",
            "lxc.cgroup2.memory.swap.max = "
        ]
    );
    assert!(
        text.ends_with("lxc.init.cmd = /dev/.pxrun\nlxc.no_new_privs = 0\n"),
        "{text}"
    );
}

#[test]
fn a_cpuset_stands_in_the_guests_own_file() {
    let change = json!({"linux": {"resources": {"cpu": {"cpus": "0-1"}}}});
    for (cgroup_v2, key) in [
        (true, "lxc.cgroup2.cpuset.cpus"),
        (false, "lxc.cgroup.cpuset.cpus"),
    ] {
        let host = Host { cgroup_v2, ..HOST };
        let plan = plan_with(&spec(change.clone()), &Settings::default(), host).unwrap();
        let conf = plan.conf(&[], Path::new("/b/r"), Path::new("/i")).unwrap();
        assert_eq!(conf.lxc(key).collect::<Vec<_>>(), ["0-1"]);
    }
}

#[test]
fn annotations_reach_every_option_that_is_free() {
    let options = json!({"annotations": {
        "dev.pxrun.proxmox.net0": "name=eth0,bridge=vmbr1,tag=7",
        "dev.pxrun.proxmox.memory": "128",
        "dev.pxrun.proxmox.cores": "2",
        "dev.pxrun.proxmox.protection": "1",
        "dev.pxrun.proxmox.tags": "blue;pxrun",
        "dev.pxrun.proxmox.description": "mine: 100 %",
        "dev.pxrun.proxmox.vmid": "4711",
        "dev.pxrun.proxmox.storage": "tank",
        "dev.pxrun.proxmox.size": "3",
        "dev.pxrun.proxmox.mode": "volume",
        "dev.pxrun.proxmox.pool": "oci",
    }});
    let plan = plan(options);
    for (name, value) in [
        ("net0", "name=eth0,bridge=vmbr1,tag=7"),
        ("memory", "128"),
        ("cores", "2"),
        ("protection", "1"),
        ("tags", "pxrun;blue"),
    ] {
        assert_eq!(plan.options[name], value);
    }
    assert!(plan.description.starts_with("mine: 100 %\n"));
    assert_eq!(plan.wish, Wish::This(4711));
    assert_eq!(
        (plan.mode, plan.storage.as_str(), plan.size),
        (Mode::Volume, "tank", 3)
    );
    assert_eq!(plan.pool.as_deref(), Some("oci"));
}

#[test]
fn volumes_as_sources_become_mount_points() {
    let plan = plan(json!({
        "annotations": {"dev.pxrun.proxmox.mp1": "/srv,mp=/a"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/b", "source": "tank:subvol-1-disk-0", "options": ["rbind", "ro", "nodev"]},
            {"destination": "/c", "type": "bind", "source": "thin:vm-2-disk-0"},
            {"destination": "/d", "type": "tmpfs", "source": "odd:name"},
        ],
    }));
    assert_eq!(plan.lifted_mounts, [1, 2]);
    assert_eq!(
        plan.options["mp0"],
        "tank:subvol-1-disk-0,mp=/b,mountoptions=nodev,ro=1"
    );
    assert_eq!(plan.options["mp2"], "thin:vm-2-disk-0,mp=/c");
    assert_eq!(
        plan.mount_points(),
        ["/b", "/a", "/c"].map(PathBuf::from).to_vec()
    );
    assert_eq!(plan.lent(), ["tank:subvol-1-disk-0", "thin:vm-2-disk-0"]);
}

#[test]
fn an_address_is_set_by_the_host() {
    let net = |value: &str| {
        plan(json!({"annotations": {"dev.pxrun.proxmox.net0": value}})).options["net0"].clone()
    };
    assert_eq!(net("name=eth0,ip=dhcp"), "name=eth0,ip=dhcp,host-managed=1");
    for kept in [
        "name=eth0,ip=manual",
        "name=eth0",
        "name=eth0,ip=dhcp,host-managed=1",
    ] {
        assert_eq!(net(kept), kept);
    }
}

#[test]
fn annotations_that_do_not_fit_are_refused_by_name() {
    let path = json!({"linux": {"namespaces": [{"type": "network", "path": "/n"}]}});
    let limited = json!({"linux": {"resources": {"memory": {"limit": 1_000_000}}}});
    for (name, value, change, word) in [
        ("frob", "1", json!({}), "no option"),
        ("rootfs", "/x", json!({}), "set by pxrun"),
        ("net0", "bridge=vmbr0", json!({}), "`name` is missing"),
        ("net0", "name=eth0", path, "network namespace"),
        ("memory", "64", limited, "linux.resources.memory.limit"),
        ("vmid", "99", json!({}), "no VMID"),
        ("vmid", "+100", json!({}), "no number"),
        ("mode", "copy", json!({}), "none of"),
        ("storage", "../x", json!({}), "no name of a storage"),
        ("mp0", "tank:8,mp=/x", json!({}), "mode `volume` only"),
        (
            "mp0",
            "/srv,mp=/data/x",
            json!({"mounts": [{"destination": "/data", "type": "tmpfs", "source": "x"}]}),
            "the mount on `/data` would hide it",
        ),
        (
            "nameserver",
            "192.0.2.1",
            json!({"mounts": [{"destination": "/etc/resolv.conf", "source": "/x"}]}),
            "says it already",
        ),
        (
            "net0",
            "name=eth0,ip=dhcp,host-managed=0",
            json!({}),
            "nothing in the container sets the address",
        ),
        (
            "dev0",
            "/dev/null,mode=0666",
            json!({"linux": {"namespaces": [{"type": "mount"}, {"type": "user"}]}}),
            "no effect with a user namespace",
        ),
    ] {
        let text = refused(name, value, change);
        assert!(
            text.starts_with(&format!("annotations[{ANNOTATION}{name}]: ")),
            "{text}"
        );
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn a_default_network_is_for_containers_with_a_network_of_their_own() {
    let settings = Settings {
        options: BTreeMap::from([("net0".to_owned(), "name=eth0,bridge=vmbr0".to_owned())]),
        vmids: Range {
            first: 100,
            last: 200,
        },
        ..Settings::default()
    };
    let own = plan_with(&spec(json!({})), &settings, HOST).unwrap();
    assert!(own.options.contains_key("net0"));
    let joined = spec(json!({"linux": {"namespaces": [{"type": "network", "path": "/n"}]}}));
    let joined = plan_with(&joined, &settings, HOST).unwrap();
    assert!(!joined.options.contains_key("net0"));
}

#[test]
fn names_are_made_fit() {
    for (id, wanted, name) in [
        ("x", Some("web.example"), "web.example"),
        ("x", Some("under_score"), "under-score"),
        ("0a_B.c", None, "0a-b-c"),
        ("x", Some(""), "x"),
        ("__", None, "container"),
        ("x", Some("-lead"), "lead"),
    ] {
        assert_eq!(words::hostname(id, wanted), name);
        assert!(options::dns(name));
    }
}

#[test]
fn a_guest_says_whose_it_is_and_nobody_elses_does() {
    let conf = plan(json!({}))
        .conf(&[], Path::new("/b/r"), Path::new("/i"))
        .unwrap();
    let marker = Marker {
        id: "3f2a".into(),
        root: "/run/pxrun".into(),
    };
    let again = Conf::parse(&conf.to_string());
    assert_eq!(Marker::of(&again), Some(marker));
    let mut copied = again.clone();
    copied.set("tags", "mine");
    assert_eq!(Marker::of(&copied), None);
    copied.set("tags", "pxrun");
    copied.set_description("something else");
    assert_eq!(Marker::of(&copied), None);
}

#[test]
fn an_annotation_adds_no_lines_to_the_guest() {
    let text = refused("searchdomain", "a\nlock: backup", json!({}));
    assert!(
        text.contains("control character") || text.contains("lines"),
        "{text}"
    );
    let evil = plan(
        json!({"annotations": {"io.kubernetes.cri.image-name": "a\nlxc.hook.start: /x"}, "hostname": "a\nb"}),
    );
    let conf = evil.conf(&[], Path::new("/b/r"), Path::new("/i")).unwrap();
    assert_eq!(conf.lxc("lxc.hook.start").count(), 0);
    assert_eq!(conf.get("hostname"), Some("a-b"));
}

#[test]
fn a_root_that_the_file_cannot_hold_is_refused() {
    let plan = plan(json!({}));
    for bad in ["/a,b", "/a=b", "/a\nb", "/a ", "rel"] {
        let conf = plan.conf(&[], Path::new(bad), Path::new("/i"));
        assert!(matches!(conf, Err(TranslateError::Root(_))), "{bad:?}");
    }
}

#[test]
fn the_placeholder_is_locked_and_marked() {
    let plan = plan(json!({}));
    let conf = plan.placeholder();
    assert_eq!(conf.get("lock"), Some("create"));
    assert!(Marker::of(&conf).is_some());
    let whole = plan.conf(&[], Path::new("/b/r"), Path::new("/i")).unwrap();
    assert_eq!(whole.get("lock"), None);
}

#[test]
fn an_update_shows_what_it_sets_and_nothing_else() {
    let shown = |resources: Value| shown_limits(&serde_json::from_value(resources).unwrap(), HOST);
    assert!(shown(json!({"pids": {"limit": 7}})).is_empty());
    let memory = shown(json!({"memory": {"limit": 33_554_432}}));
    assert_eq!(
        memory,
        BTreeMap::from([("memory".to_owned(), "32".to_owned())])
    );
    let lifted = shown(json!({"memory": {"limit": -1, "swap": -1}}));
    assert_eq!(lifted["memory"], "16000");
    assert_eq!(lifted["swap"], "2000");
}
