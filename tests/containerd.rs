//! containerd drives the runtime under test for real: a private daemon, `ctr` with
//! `--runc-binary`, and the runtime registered as a handler by `pxrun setup containerd`, used
//! through the CRI as kubelet does.

mod common;

/// The tests, a file a topic.
mod containerd {
    mod ctr;
    mod handler;
}

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use common::command::{Output, feed, run, start};
use common::cri::{Cri, Message};
use common::lacks::lacks;
use common::sandbox::{Sandbox, mounts_below};
use common::{
    BACKEND_ANNOTATION, alive, backend, backend_flags, cgroup, image, init_of, keepers, runtime,
    setup, unique, wait_at_most, wait_until,
};
use serde_json::json;

const IMAGE: &str = "pxrun.test/box:1";
const PAUSE: &str = "pxrun.test/pause:1";
const FOREVER: &str = "exec sleep 300";

struct Containerd {
    sandbox: Sandbox,
    socket: PathBuf,
    /// The runtime's root that ctr passes.
    root: PathBuf,
    _daemon: Child,
}

fn containerd() -> &'static Containerd {
    static CONTAINERD: OnceLock<Containerd> = OnceLock::new();
    CONTAINERD.get_or_init(Containerd::set_up)
}

impl Containerd {
    fn set_up() -> Self {
        let sandbox = Sandbox::new("ctrd", "");
        let config = configured(&sandbox);
        network_plugin(&sandbox);
        let log = fs::File::create(sandbox.path("log")).expect("make the daemon's log");
        let mut daemon = sandbox.cmd("containerd");
        daemon
            .arg("--config")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(log);
        let daemon = daemon.spawn().expect("start containerd");
        let this = Self {
            socket: sandbox.path("s"),
            root: sandbox.path("runs"),
            sandbox,
            _daemon: daemon,
        };
        wait_at_most(Duration::from_secs(30), "containerd answers", || {
            this.ctr("default", &["version"])
                .output()
                .is_ok_and(|o| o.status.success())
        });
        this.import();
        this
    }

    fn import(&self) {
        let rootfs = self.sandbox.path("rootfs");
        image::rootfs(&rootfs);
        for (name, dir, command) in [
            (IMAGE, "box", &["sh"][..]),
            (PAUSE, "pause", &["sleep", "1000"]),
        ] {
            let archive = image::oci_archive(&rootfs, &self.sandbox.path(dir), name, command);
            for namespace in ["default", "k8s.io"] {
                run(self.ctr(namespace, &["images", "import"]).arg(&archive)).ok();
            }
        }
    }

    fn ctr(&self, namespace: &str, args: &[&str]) -> Command {
        let mut command = self.sandbox.cmd("ctr");
        command
            .arg("--address")
            .arg(&self.socket)
            .args(["--namespace", namespace])
            .args(args);
        command
    }
}

/// The configuration with the handler that `setup` adds to it.
fn configured(sandbox: &Sandbox) -> PathBuf {
    let config = sandbox.write("etc/containerd/config.toml", &configuration(sandbox));
    setup("containerd", sandbox);
    let text = fs::read_to_string(&config).expect("read what setup wrote");
    // The shim's default root of the runtime belongs to the machine's own containerd.
    let root = format!("options]\nRoot = {:?}", sandbox.path("handler"));
    let place = "runtimes.pxrun.options]";
    assert!(text.contains(place), "{text}");
    let text = text.replace(place, &place.replace("options]", &root));
    sandbox.write("etc/containerd/config.toml", &text)
}

fn configuration(sandbox: &Sandbox) -> String {
    let path = |name: &str| format!("{:?}", sandbox.path(name));
    let cri = r#"plugins."io.containerd.grpc.v1.cri""#;
    [
        "version = 2".to_owned(),
        format!("root = {}\nstate = {}", path("root"), path("state")),
        format!("[grpc]\naddress = {}", path("s")),
        format!("[{cri}]\nsandbox_image = {PAUSE:?}\ndisable_apparmor = true\nnetns_mounts_under_state_dir = true"),
        // A pause container has -998, which takes CAP_SYS_RESOURCE.
        "restrict_oom_score_adj = true".into(),
        format!("[{cri}.cni]\nbin_dir = {}\nconf_dir = {}", path("cni/bin"), path("cni/conf")),
        format!("[{cri}.containerd]\ndefault_runtime_name = \"pxrun\""),
    ]
    .join("\n")
}

/// A network plugin that says yes to all: pods need one, these tests need no network.
fn network_plugin(sandbox: &Sandbox) {
    let script = r#"#!/bin/sh
cat >/dev/null
case $CNI_COMMAND in
ADD) echo '{"cniVersion":"0.4.0","interfaces":[{"name":"eth0","sandbox":"'$CNI_NETNS'"}],"ips":[{"version":"4","interface":0,"address":"10.99.0.2/24"}]}' ;;
VERSION) echo '{"cniVersion":"0.4.0","supportedVersions":["0.3.1","0.4.0"]}' ;;
esac
"#;
    for name in ["yes", "loopback"] {
        let file = sandbox.write(&format!("cni/bin/{name}"), script);
        run(common::command::cmd("chmod").arg("755").arg(file)).ok();
    }
    let list = json!({"cniVersion": "0.4.0", "name": "pxt", "plugins": [{"type": "yes"}]});
    sandbox.write("cni/conf/10-pxt.conflist", &list.to_string());
}
