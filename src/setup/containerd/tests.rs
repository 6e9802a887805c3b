//! Files as people and packages have them, with the handler in and out again.

use std::path::Path;

use super::*;

fn wanted() -> Wanted<'static> {
    Wanted {
        binary: Path::new("/usr/bin/pxrun"),
        others: &[],
    }
}

fn applied(text: &str) -> String {
    apply(Some(text), &wanted()).unwrap()
}

/// kubeadm's guide ends in such a file.
const KUBEADM: &str = r#"# Our node.
version = 2 # newer containerds read it too
root = "/srv/containerd"

[plugins]
  [plugins."io.containerd.grpc.v1.cri"] # pods
    sandbox_image = "registry.example/pause:3.9"
    [plugins."io.containerd.grpc.v1.cri".containerd]
      default_runtime_name = "runc"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes]
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
          runtime_type = "io.containerd.runc.v2"
          [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
            SystemdCgroup = true

# Figures for the monitoring.
[metrics]
  address = "127.0.0.1:1338"
"#;

const V3: &str = r#"version = 3

[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = 'runc'

[plugins.'io.containerd.cri.v1.images']
snapshotter = 'overlayfs'
"#;

#[test]
fn a_new_file() {
    let text = apply(None, &wanted()).unwrap();
    assert_eq!(
        text,
        r#"version = 2

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.pxrun]
runtime_type = "io.containerd.runc.v2"
pod_annotations = ["dev.pxrun.*"]
container_annotations = ["dev.pxrun.*"]

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.pxrun.options]
BinaryName = "/usr/bin/pxrun"
"#
    );
}

#[test]
fn every_line_of_the_old_file_stays_in_its_order() {
    for text in [KUBEADM, V3] {
        let new = applied(text);
        let mut lines = new.lines();
        for line in text.lines() {
            assert!(lines.any(|l| l == line), "no `{line}` any more in\n{new}");
        }
        assert!(present(&new) && !present(text));
        assert_eq!(applied(&new), new, "a second time changes something");
        assert_eq!(remove(&new).unwrap().as_deref(), Some(text));
    }
}

#[test]
fn the_place_follows_the_version() {
    let document: DocumentMut = applied(V3).parse().unwrap();
    let handler =
        &document["plugins"]["io.containerd.cri.v1.runtime"]["containerd"]["runtimes"][NAME];
    assert_eq!(
        handler["options"]["BinaryName"].as_str(),
        Some("/usr/bin/pxrun")
    );
    assert!(handler["options"].get("SystemdCgroup").is_none());
}

#[test]
fn the_cgroup_driver_follows_runcs() {
    let document: DocumentMut = applied(KUBEADM).parse().unwrap();
    let handler = &document["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"][NAME];
    assert_eq!(handler["options"]["SystemdCgroup"].as_bool(), Some(true));
}

#[test]
fn settings_added_by_hand_stay() {
    let mine = applied(KUBEADM).replace(
        "BinaryName = \"/usr/bin/pxrun\"",
        "BinaryName = \"/old/pxrun\" # where it was\nNoNewKeyring = true",
    );
    let new = applied(&mine);
    assert!(new.contains("BinaryName = \"/usr/bin/pxrun\""), "{new}");
    assert!(new.contains("NoNewKeyring = true"), "{new}");
}

#[test]
fn inline_and_dotted_tables() {
    let rows = [
        "version = 2\nplugins.\"io.containerd.grpc.v1.cri\".containerd.snapshotter = \"native\"\n",
        "version = 2\nplugins = {\"io.containerd.grpc.v1.cri\" = {containerd = {snapshotter = \"native\"}}}\n",
        "version = 2\n[plugins]\n\"io.containerd.grpc.v1.cri\" = {}\n",
    ];
    for text in rows {
        let new = applied(text);
        assert!(present(&new), "{new}");
        new.parse::<DocumentMut>().unwrap();
        assert_eq!(applied(&new), new);
        assert!(!present(&remove(&new).unwrap().unwrap()));
    }
}

#[test]
fn what_is_not_understood_is_refused() {
    let rows: [(&str, &str); 8] = [
        ("version = 2\n[plugins", "not understood, so left alone"),
        ("root = \"/x\"\n", "version 1 is not one of 2 and 3"),
        ("version = 1\n", "version 1 is not one of 2 and 3"),
        ("version = 9\n", "version 9 is not one of 2 and 3"),
        ("version = \"2\"\n", "`version` is no number"),
        ("version = 2\nplugins = 1\n", "`plugins` is no table"),
        (
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\nruntimes = []\n",
            "`plugins.io.containerd.grpc.v1.cri.containerd.runtimes` is no table",
        ),
        (
            "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n",
            "turns off `io.containerd.grpc.v1.cri`",
        ),
    ];
    for (text, why) in rows {
        let error = apply(Some(text), &wanted()).unwrap_err().to_string();
        assert!(error.contains(why), "{text:?}: {error}");
        assert!(!present(text));
    }
}
