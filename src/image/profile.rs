//! The seccomp profile of a new bundle: podman's file where the host has it, a list of names where
//! not; for a set of capabilities, in OCI's form. It must not read files or ask the host.

use serde_json::{Value, json};

/// The list of names.
const NAMES: &str = include_str!("syscalls.txt");

const EPERM: u32 = 1;
const EINVAL: u32 = 22;
const ENOSYS: u32 = 38;
/// `AF_NETLINK`, and the protocol of the audit system: refused as "not compiled in", which
/// programs take more kindly than EPERM.
const AF_NETLINK: u64 = 16;
const NETLINK_AUDIT: u64 = 9;
/// What personality(2) may be asked for: PER_LINUX, PER_LINUX32, both with UNAME26, and what is set.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The processors that a filter is for, from Go's name of the host's.
fn architectures(arch: &str) -> &'static [&'static str] {
    match arch {
        "amd64" => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "arm64" => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        "s390x" => &["SCMP_ARCH_S390X", "SCMP_ARCH_S390"],
        "ppc64le" => &["SCMP_ARCH_PPC64LE"],
        "riscv64" => &["SCMP_ARCH_RISCV64"],
        _ => &[],
    }
}

/// The built-in profile.
pub fn builtin(capabilities: &[String], arch: &str) -> Value {
    let mut rules = Vec::new();
    for section in NAMES.split("\n[").skip(1) {
        let Some((title, names)) = section.split_once(']') else {
            continue;
        };
        let names: Vec<&str> = names.split_whitespace().collect();
        match title {
            "allow" => rules.push(json!({ "names": names, "action": "SCMP_ACT_ALLOW" })),
            "refuse" => rules.push(refuse(&names)),
            title if title.starts_with("CAP_") => {
                rules.push(match capabilities.iter().any(|c| c == title) {
                    true => json!({ "names": names, "action": "SCMP_ACT_ALLOW" }),
                    false => refuse(&names),
                });
            }
            title => {
                if title.split(' ').skip(1).any(|name| name == arch) {
                    rules.push(json!({ "names": names, "action": "SCMP_ACT_ALLOW" }));
                }
            }
        }
    }
    rules.extend(PERSONALITIES.iter().map(|value| {
        let args = [json!({ "index": 0, "value": value, "op": "SCMP_CMP_EQ" })];
        json!({ "names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": args })
    }));
    rules.extend(sockets(capabilities.iter().any(|c| c == "CAP_AUDIT_WRITE")));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": ENOSYS,
        "architectures": architectures(arch),
        "syscalls": rules,
    })
}

fn refuse(names: &[&str]) -> Value {
    json!({ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM })
}

/// All sockets, save the audit system's for those who may not write to it.
fn sockets(audit: bool) -> Vec<Value> {
    if audit {
        return vec![json!({ "names": ["socket"], "action": "SCMP_ACT_ALLOW" })];
    }
    let compare = |index: u32, value: u64, op: &str| json!({ "index": index, "value": value, "op": format!("SCMP_CMP_{op}") });
    let both = [
        compare(0, AF_NETLINK, "EQ"),
        compare(2, NETLINK_AUDIT, "EQ"),
    ];
    let mut rules = vec![
        json!({ "names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": EINVAL, "args": both }),
    ];
    for other in [
        compare(0, AF_NETLINK, "NE"),
        compare(2, NETLINK_AUDIT, "NE"),
    ] {
        rules.push(json!({ "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [other] }));
    }
    rules
}

/// A profile as podman and Docker keep it (rules that depend on capabilities, processor and kernel
/// version), for this bundle. One in OCI's form passes unchanged. `None` for something else.
pub fn translate(
    profile: &Value,
    capabilities: &[String],
    arch: &str,
    kernel: (u32, u32),
) -> Option<Value> {
    let mut profile = profile.as_object()?.clone();
    profile.get("defaultAction")?.as_str()?;
    profile.shift_remove("defaultErrno");
    if profile.shift_remove("archMap").is_some() && !profile.contains_key("architectures") {
        profile.insert("architectures".into(), json!(architectures(arch)));
    }
    let Some(rules) = profile.shift_remove("syscalls") else {
        return Some(Value::Object(profile));
    };
    let mut kept = Vec::new();
    for rule in rules.as_array()? {
        let mut rule = rule.as_object()?.clone();
        let conditions = [rule.shift_remove("includes"), rule.shift_remove("excludes")];
        let [includes, excludes] = conditions.map(|c| c.filter(|c| !is_empty(c)));
        let context = Conditions {
            capabilities,
            arch,
            kernel,
        };
        if includes.is_some_and(|c| !context.includes(&c))
            || excludes.is_some_and(|c| context.excludes(&c))
        {
            continue;
        }
        for note in ["comment", "errno"] {
            rule.shift_remove(note);
        }
        if let Some(name) = rule.shift_remove("name").filter(|name| name != "") {
            rule.insert("names".into(), json!([name]));
        }
        if rule
            .get("args")
            .is_some_and(|args| args.is_null() || *args == json!([]))
        {
            rule.shift_remove("args");
        }
        kept.push(Value::Object(rule));
    }
    profile.insert("syscalls".into(), Value::Array(kept));
    Some(Value::Object(profile))
}

fn is_empty(condition: &Value) -> bool {
    condition.as_object().is_none_or(serde_json::Map::is_empty)
}

/// What the conditions of a rule are compared with.
struct Conditions<'a> {
    capabilities: &'a [String],
    arch: &'a str,
    kernel: (u32, u32),
}

impl Conditions<'_> {
    /// All that is named must hold.
    fn includes(&self, condition: &Value) -> bool {
        let (caps, arches) = (names(condition, "caps"), names(condition, "arches"));
        caps.iter().all(|cap| self.has(cap))
            && (arches.is_empty() || arches.contains(&self.arch))
            && self.is_new_enough(condition).unwrap_or(true)
    }

    /// Anything that is named and holds is enough.
    fn excludes(&self, condition: &Value) -> bool {
        let (caps, arches) = (names(condition, "caps"), names(condition, "arches"));
        caps.iter().any(|cap| self.has(cap))
            || arches.contains(&self.arch)
            || self.is_new_enough(condition).unwrap_or(false)
    }

    fn has(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|c| c == capability)
    }

    fn is_new_enough(&self, condition: &Value) -> Option<bool> {
        let version = condition["minKernel"].as_str()?;
        let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
        Some(self.kernel >= (parts.next()?, parts.next().unwrap_or(0)))
    }
}

fn names<'a>(condition: &'a Value, key: &str) -> Vec<&'a str> {
    let list = condition[key].as_array();
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// What happens to each call, as a set of (action, errno, args).
    fn meaning(profile: &Value) -> BTreeMap<String, Vec<String>> {
        let mut calls: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for rule in profile["syscalls"].as_array().unwrap() {
            let mut args = rule["args"].clone();
            for arg in args.as_array_mut().into_iter().flatten() {
                arg.as_object_mut().unwrap().shift_remove("valueTwo");
            }
            let what = format!("{} {} {args}", rule["action"], rule["errnoRet"]);
            for name in rule["names"].as_array().unwrap() {
                let all = calls.entry(name.as_str().unwrap().to_owned()).or_default();
                if !all.contains(&what) {
                    all.push(what.clone());
                }
            }
        }
        calls.values_mut().for_each(|all| all.sort());
        calls
    }

    #[test]
    fn the_builtin_profile_means_what_podmans_file_means() {
        let path = "/usr/share/containers/seccomp.json";
        let Ok(text) = std::fs::read_to_string(path) else {
            println!("LEFT OUT: {path} is not there (package golang-github-containers-common)");
            return;
        };
        let podman: Value = serde_json::from_str(&text).unwrap();
        for arch in ["amd64", "arm64"] {
            for caps in [
                vec![],
                vec!["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"],
                vec!["CAP_AUDIT_WRITE"],
            ] {
                let caps: Vec<String> = caps.into_iter().map(String::from).collect();
                let ours = builtin(&caps, arch);
                let theirs = translate(&podman, &caps, arch, (6, 1)).unwrap();
                assert_eq!(meaning(&ours), meaning(&theirs), "{arch} {caps:?}");
                assert_eq!(ours["architectures"], theirs["architectures"]);
                assert_eq!(ours["defaultErrnoRet"], theirs["defaultErrnoRet"]);
            }
        }
    }

    #[test]
    fn conditions_are_judged() {
        let profile = json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [
                { "name": "a", "action": "SCMP_ACT_ALLOW", "args": null, "comment": "x",
                  "includes": {}, "excludes": {} },
                { "names": ["b"], "action": "SCMP_ACT_ALLOW", "includes": { "minKernel": "4.8" } },
                { "names": ["c"], "action": "SCMP_ACT_ALLOW", "includes": { "minKernel": "99.1" } },
                { "names": ["d"], "action": "SCMP_ACT_ALLOW", "excludes": { "arches": ["arm64"] } },
            ],
        });
        let translated = translate(&profile, &[], "arm64", (6, 1)).unwrap();
        let names: Vec<_> = meaning(&translated).into_keys().collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(translate(&json!([]), &[], "amd64", (6, 1)), None);
        assert_eq!(translate(&json!({}), &[], "amd64", (6, 1)), None);
    }
}
