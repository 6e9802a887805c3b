//! Golden configurations: what stands in `tests/golden/lxc` was read over by a person and tried with
//! LXC.

use super::*;

fn facts<'a>(joined: &'a [(LinuxNamespaceType, String)]) -> Facts<'a> {
    Facts {
        root: Some(Root {
            path: "/run/p/c/root",
            mount: "/run/p/c/mount",
        }),
        hook: &["/usr/local/bin/px run", "@lxc-hook", "/run/p/c/hook.sock"],
        init: &["/dev/init", "@lxc-init"],
        joined,
        cgroups: Some(Cgroups {
            container: "pods/it's c",
            monitor: "lxc.monitor.c",
            relative: false,
        }),
        log: Some("/run/p/c/log"),
    }
}

fn spec(linux: &str) -> Spec {
    serde_json::from_str(&format!(r#"{{"ociVersion":"1.0.0","linux":{linux}}}"#)).unwrap()
}

fn golden(name: &str, linux: &str, joined: &[(LinuxNamespaceType, String)]) {
    let path = format!(
        "{}/tests/golden/lxc/{name}.conf",
        env!("CARGO_MANIFEST_DIR")
    );
    let made = translate(&spec(linux), &facts(joined)).unwrap().to_string();
    if std::env::var_os("PXRUN_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert_eq!(made, expected, "{path}");
}

#[test]
fn a_plain_container() {
    golden(
        "plain",
        r#"{"namespaces":[{"type":"pid"},{"type":"network"},{"type":"ipc"},{"type":"uts"},
            {"type":"mount"},{"type":"cgroup"}]}"#,
        &[],
    );
}

#[test]
fn the_hosts_network_and_no_pid_namespace() {
    golden(
        "host",
        r#"{"namespaces":[{"type":"mount"},{"type":"ipc"}]}"#,
        &[],
    );
}

#[test]
fn a_user_namespace_with_mappings() {
    golden(
        "userns",
        r#"{"namespaces":[{"type":"user"},{"type":"mount"},{"type":"pid"},{"type":"network"}],
            "uidMappings":[{"containerID":0,"hostID":100000,"size":1000},
                           {"containerID":1000,"hostID":5,"size":1}],
            "gidMappings":[{"containerID":0,"hostID":200000,"size":65536}]}"#,
        &[],
    );
}

#[test]
fn a_member_of_a_pod() {
    golden(
        "pod",
        r#"{"namespaces":[{"type":"pid","path":"/proc/7/ns/pid"},{"type":"mount"},
            {"type":"network","path":"/run/netns/x"},{"type":"ipc","path":"/proc/7/ns/ipc"}]}"#,
        &[
            (LinuxNamespaceType::Pid, "/proc/42/fd/5".into()),
            (LinuxNamespaceType::Network, "/proc/42/fd/6".into()),
            (LinuxNamespaceType::Ipc, "/proc/42/fd/7".into()),
        ],
    );
}

#[test]
fn time_offsets_are_seconds_and_the_rest() {
    golden(
        "time",
        r#"{"namespaces":[{"type":"mount"},{"type":"time"}],
            "timeOffsets":{"boottime":{"secs":-3,"nanosecs":500},"monotonic":{"secs":7}}}"#,
        &[],
    );
}

#[test]
fn what_lxc_cannot_do_is_refused_by_name() {
    let table = [
        (
            r#"{"namespaces":[{"type":"pid"}]}"#,
            "linux.namespaces: LXC needs a new mount namespace",
        ),
        (
            r#"{"namespaces":[{"type":"mount","path":"/proc/1/ns/mnt"}]}"#,
            "linux.namespaces: LXC can't join a mount namespace",
        ),
    ];
    for (linux, text) in table {
        let error = translate(&spec(linux), &facts(&[])).unwrap_err();
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_path_with_a_line_break_is_refused() {
    let mut facts = facts(&[]);
    facts.cgroups = Some(Cgroups {
        container: "a\nlxc.cap.keep = all",
        monitor: "m",
        relative: true,
    });
    let error = translate(&spec(r#"{"namespaces":[{"type":"mount"}]}"#), &facts).unwrap_err();
    assert!(matches!(error, TranslateError::Line(_)));
}
