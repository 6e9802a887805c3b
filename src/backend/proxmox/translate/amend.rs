//! Options of the guest that Proxmox has no hand in where pxrun builds the container: they become a
//! part of its configuration. Pure: what the host says of them comes in.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::Plan;
use crate::backend::proxmox::options::props;

/// Where programs look for the time zone, and for name servers.
pub const LOCALTIME: &str = "/etc/localtime";
/// See [`LOCALTIME`].
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

/// System calls that `features: keyctl=1` lets through.
const KEYS: [&str; 3] = ["add_key", "keyctl", "request_key"];

/// A device's node on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The option that names it.
    pub option: String,
    /// Its path.
    pub path: String,
    /// `c` or `b`.
    pub kind: &'static str,
    /// Its numbers.
    pub numbers: (u64, u64),
}

/// What the host says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looked {
    /// The devices of `devN` and of `fuse=1`.
    pub nodes: Vec<Node>,
    /// The file of the time zone.
    pub zone: Option<PathBuf>,
    /// A file with the name servers.
    pub resolv_conf: Option<PathBuf>,
}

/// The configuration with the guest's options in it; `None` when they change nothing.
pub fn amend(raw: &Value, plan: &Plan, looked: &Looked) -> Option<Value> {
    let mut new = raw.clone();
    lift(&mut new, &plan.lifted_mounts);
    let features = plan.options.get("features").map_or("", String::as_str);
    if props::is_on(features, "force_rw_sys") {
        write_sys(&mut new);
    }
    if props::is_on(features, "nesting") {
        // LXC's own way: with a whole procfs somewhere, the kernel lets others be mounted
        // (mount_too_revealing in fs/namespace.c).
        mount(
            &mut new,
            json!({"destination": "/dev/.lxc/proc", "type": "proc", "source": "proc"}),
        );
        mount(
            &mut new,
            json!({"destination": "/dev/.lxc/sys", "type": "sysfs", "source": "sysfs"}),
        );
    }
    if props::is_on(features, "keyctl") {
        let_through(&mut new);
    }
    for (source, target) in [
        (&looked.zone, LOCALTIME),
        (&looked.resolv_conf, RESOLV_CONF),
    ] {
        if let Some(source) = source {
            let options = ["bind", "ro", "nosuid", "nodev", "noexec"];
            let bind = json!({"destination": target, "type": "bind", "source": source, "options": options});
            mount(&mut new, bind);
        }
    }
    for node in &looked.nodes {
        device(&mut new, plan, node);
    }
    (new != *raw).then_some(new)
}

/// `linux.devices` and the like, made when missing.
fn list<'v>(raw: &'v mut Value, path: &[&str]) -> Option<&'v mut Vec<Value>> {
    let mut at = raw;
    for key in path {
        if at.is_null() {
            *at = json!({});
        }
        at = at.as_object_mut()?.entry(*key).or_insert(Value::Null);
    }
    if at.is_null() {
        *at = json!([]);
    }
    at.as_array_mut()
}

fn push(raw: &mut Value, path: &[&str], entry: Value) {
    if let Some(list) = list(raw, path) {
        list.push(entry);
    }
}

fn mount(raw: &mut Value, entry: Value) {
    push(raw, &["mounts"], entry);
}

fn lift(raw: &mut Value, numbers: &[usize]) {
    if let Some(mounts) = raw.get_mut("mounts").and_then(Value::as_array_mut) {
        let mut number = 0;
        mounts.retain(|_| {
            number += 1;
            !numbers.contains(&(number - 1))
        });
    }
}

fn write_sys(raw: &mut Value) {
    let mounts = raw.get_mut("mounts").and_then(Value::as_array_mut);
    for mount in mounts.into_iter().flatten() {
        if mount["destination"] == "/sys"
            && let Some(options) = mount.get_mut("options").and_then(Value::as_array_mut)
        {
            options.retain(|option| option != "ro");
        }
    }
}

fn let_through(raw: &mut Value) {
    if raw["linux"]["seccomp"].is_null() {
        return;
    }
    let path = ["linux", "seccomp", "syscalls"];
    let Some(rules) = list(raw, &path) else {
        return;
    };
    for rule in rules.iter_mut() {
        if let Some(names) = rule.get_mut("names").and_then(Value::as_array_mut) {
            names.retain(|name| !KEYS.iter().any(|key| name == key));
        }
    }
    rules.retain(|rule| {
        rule["names"]
            .as_array()
            .is_none_or(|names| !names.is_empty())
    });
    rules.push(json!({"names": KEYS, "action": "SCMP_ACT_ALLOW"}));
}

fn device(raw: &mut Value, plan: &Plan, node: &Node) {
    let value = plan.options.get(&node.option).map_or("", String::as_str);
    let number = |key| props::get(value, key, "").and_then(|text| text.parse::<u32>().ok());
    let mode = props::get(value, "mode", "").and_then(|text| u32::from_str_radix(text, 8).ok());
    // `fuse=1` is no device option: its node is everybody's, as on the host.
    let usual = if node.option == "features" {
        0o666
    } else {
        0o660
    };
    let (major, minor) = node.numbers;
    let entry = json!({
        "path": node.path, "type": node.kind, "major": major, "minor": minor,
        "fileMode": mode.unwrap_or(usual),
        "uid": number("uid").unwrap_or(0), "gid": number("gid").unwrap_or(0),
    });
    push(raw, &["linux", "devices"], entry);
    let access = if props::is_on(value, "deny-write") {
        "rm"
    } else {
        "rwm"
    };
    let rule = json!({
        "allow": true, "type": node.kind, "major": major, "minor": minor, "access": access,
    });
    push(raw, &["linux", "resources", "devices"], rule);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::proxmox::translate::tests::plan;

    fn with(options: &Value, raw: &Value, looked: &Looked) -> Option<Value> {
        amend(raw, &plan(json!({"annotations": options})), looked)
    }

    #[test]
    fn without_such_options_nothing_changes() {
        let raw = json!({"mounts": [{"destination": "/proc"}]});
        assert_eq!(with(&json!({}), &raw, &Looked::default()), None);
    }

    #[test]
    fn keyctl_takes_the_calls_out_of_every_other_rule() {
        let raw = json!({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["read", "keyctl"], "action": "SCMP_ACT_ALLOW", "args": []},
            {"names": ["add_key", "request_key"], "action": "SCMP_ACT_ERRNO"},
        ]}}});
        let options = json!({"dev.pxrun.proxmox.features": "keyctl=1"});
        let new = with(&options, &raw, &Looked::default()).unwrap();
        assert_eq!(
            new["linux"]["seccomp"]["syscalls"],
            json!([
                {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": []},
                {"names": ["add_key", "keyctl", "request_key"], "action": "SCMP_ACT_ALLOW"},
            ])
        );
        // Without a filter they are let through already.
        assert_eq!(
            with(&options, &json!({"linux": {}}), &Looked::default()),
            None
        );
    }

    #[test]
    fn a_device_is_a_node_and_a_rule() {
        let looked = Looked {
            nodes: vec![Node {
                option: "dev0".into(),
                path: "/dev/ttyS0".into(),
                kind: "c",
                numbers: (4, 64),
            }],
            ..Looked::default()
        };
        let options = json!({"dev.pxrun.proxmox.dev0": "/dev/ttyS0,mode=0640,gid=20,deny-write=1"});
        let new = with(&options, &json!({}), &looked).unwrap();
        assert_eq!(
            new["linux"]["devices"],
            json!([{"path": "/dev/ttyS0", "type": "c", "major": 4, "minor": 64,
                    "fileMode": 0o640, "uid": 0, "gid": 20}])
        );
        assert_eq!(
            new["linux"]["resources"]["devices"],
            json!([{"allow": true, "type": "c", "major": 4, "minor": 64, "access": "rm"}])
        );
    }
}
