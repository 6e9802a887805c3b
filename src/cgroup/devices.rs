//! Which devices a container may use: the rules of `linux.resources.devices`, then the ones that
//! every container has. It must not make device nodes, nor judge rules outside of cgroups.

mod filter;
mod v1;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use super::{Cgroup, CgroupError, Result, Setup};
use crate::sys::bpf;

const READ: u8 = 1;
const WRITE: u8 = 2;
const MKNOD: u8 = 4;
const ALL: u8 = READ | WRITE | MKNOD;

/// A device rule; `None` stands for all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Rule {
    allow: bool,
    kind: Option<Kind>,
    major: Option<u32>,
    minor: Option<u32>,
    access: u8,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Kind {
    Block,
    Char,
}

impl Rule {
    /// True if it decides about every access to every device.
    fn is_total(&self) -> bool {
        self.kind.is_none() && self.major.is_none() && self.minor.is_none() && self.access == ALL
    }
}

/// What every container may do, as with runc: make any device node (whether it can be opened is
/// another question), and use the harmless devices, pseudo-terminals and `/dev/tty`.
const DEFAULTS: [(Kind, Option<u32>, Option<u32>, u8); 10] = [
    (Kind::Char, None, None, MKNOD),
    (Kind::Block, None, None, MKNOD),
    (Kind::Char, Some(1), Some(3), ALL), // null
    (Kind::Char, Some(1), Some(8), ALL), // random
    (Kind::Char, Some(1), Some(7), ALL), // full
    (Kind::Char, Some(5), Some(0), ALL), // tty
    (Kind::Char, Some(1), Some(5), ALL), // zero
    (Kind::Char, Some(1), Some(9), ALL), // urandom
    (Kind::Char, Some(136), None, ALL),  // pts/*, console
    (Kind::Char, Some(5), Some(2), ALL), // ptmx
];

/// Puts the rules in force; `update` replaces those in force, of a container that may be running.
///
/// With no rule given, everything but the defaults is denied.
pub(super) fn apply(cgroup: &Cgroup, rules: &[Rule], update: bool) -> Result<()> {
    let Some(hierarchy) = cgroup.main().filter(|_| !cgroup.hierarchies.is_empty()) else {
        // Without cgroups there is no filter; rules that ask for one can't be kept.
        return refuse_unless_open(rules);
    };
    match cgroup.setup {
        Setup::Unified => install(&hierarchy.dir, rules, update),
        Setup::Legacy | Setup::Hybrid => match cgroup.v1("devices") {
            Some(hierarchy) => v1::apply(&hierarchy.dir, rules, update),
            None => refuse_unless_open(rules),
        },
    }
}

fn refuse_unless_open(rules: &[Rule]) -> Result<()> {
    if rules.len() == DEFAULTS.len() || is_open(rules) {
        return Ok(());
    }
    Err(error(
        None,
        "the `devices` controller is not available".to_owned(),
    ))
}

/// True if everything is allowed: nothing after the last total rule takes anything away.
fn is_open(rules: &[Rule]) -> bool {
    let last = rules.iter().rposition(Rule::is_total);
    last.is_some_and(|last| rules[last..].iter().all(|rule| rule.allow))
}

/// The rules given, checked, and after them those of every container.
pub(super) fn rules(given: &[LinuxDeviceCgroup]) -> Result<Vec<Rule>> {
    let mut rules = Vec::with_capacity(given.len() + DEFAULTS.len());
    for (index, rule) in given.iter().enumerate() {
        rules.push(parse(index, rule)?);
    }
    rules.extend(DEFAULTS.map(|(kind, major, minor, access)| Rule {
        allow: true,
        kind: Some(kind),
        major,
        minor,
        access,
    }));
    Ok(rules)
}

fn parse(index: usize, rule: &LinuxDeviceCgroup) -> Result<Rule> {
    let mut access = 0;
    for letter in rule.access().as_deref().unwrap_or_default().chars() {
        access |= match letter {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            _ => {
                return Err(error(
                    Some((index, "access")),
                    format!("`{letter}` isn't r, w or m"),
                ));
            }
        };
    }
    if access == 0 {
        return Err(error(Some((index, "access")), "can't be empty".to_owned()));
    }
    let kind = match rule.typ() {
        None | Some(LinuxDeviceType::A) => None,
        Some(LinuxDeviceType::B) => Some(Kind::Block),
        Some(LinuxDeviceType::C) => Some(Kind::Char),
        Some(other) => {
            let reason = format!("`{}` isn't a, b or c", other.as_str());
            return Err(error(Some((index, "type")), reason));
        }
    };
    Ok(Rule {
        allow: rule.allow(),
        kind,
        major: number(index, "major", rule.major())?,
        minor: number(index, "minor", rule.minor())?,
        access,
    })
}

/// -1 is another way of writing "all", as in runc. The kernel's numbers have 12 and 20 bits.
fn number(index: usize, field: &str, value: Option<i64>) -> Result<Option<u32>> {
    match value {
        None | Some(-1) => Ok(None),
        Some(value @ 0..=0x7fff_ffff) => Ok(u32::try_from(value).ok()),
        Some(value) => Err(error(
            Some((index, field)),
            format!("`{value}` isn't a device number"),
        )),
    }
}

fn error(field: Option<(usize, &str)>, reason: String) -> CgroupError {
    let json = match field {
        Some((index, field)) => format!("linux.resources.devices[{index}].{field}"),
        None => "linux.resources.devices".to_owned(),
    };
    CgroupError::Limit { json, reason }
}

/// Attaches the rules as a program; on an update it takes the old one's place in one step.
fn install(dir: &Path, rules: &[Rule], update: bool) -> Result<()> {
    if !update && is_open(rules) {
        return Ok(());
    }
    let path = dir.to_owned();
    let cgroup = File::open(dir).map_err(|source| CgroupError::Open { path, source })?;
    let program =
        bpf::load_device_program(&filter::program(rules)).map_err(step("load the filter"))?;
    // A new directory has no filter. One that was taken over may have, and so has a running container.
    let old = bpf::device_programs(cgroup.as_fd()).map_err(step("find the old filter"))?;
    let replace = if old.len() == 1 { old.first() } else { None };
    bpf::attach_device_program(cgroup.as_fd(), program.as_fd(), replace.map(AsFd::as_fd))
        .map_err(step("attach the filter"))?;
    if replace.is_none() {
        for old in &old {
            bpf::detach_device_program(cgroup.as_fd(), old.as_fd())
                .map_err(step("detach the old filter"))?;
        }
    }
    Ok(())
}

fn step(step: &'static str) -> impl FnOnce(io::Error) -> CgroupError {
    move |source| CgroupError::DeviceFilter { step, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::testing::{FakeHost, Real, in_v2_view};

    /// `apply` with the rules of a JSON text.
    fn put(cgroup: &Cgroup, json: &str, update: bool) -> Result<()> {
        apply(cgroup, &rules(&given(json))?, update)
    }

    pub(super) fn given(json: &str) -> Vec<LinuxDeviceCgroup> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn rules_are_checked() {
        for (json, expected) in [
            (
                r#"[{"allow":true}]"#,
                "linux.resources.devices[0].access: can't be empty",
            ),
            (
                r#"[{"allow":true,"access":"r"},{"allow":true,"access":"rx"}]"#,
                "linux.resources.devices[1].access: `x` isn't r, w or m",
            ),
            (
                r#"[{"allow":true,"type":"p","access":"r"}]"#,
                "linux.resources.devices[0].type: `p` isn't a, b or c",
            ),
            (
                r#"[{"allow":true,"type":"c","major":-2,"access":"r"}]"#,
                "linux.resources.devices[0].major: `-2` isn't a device number",
            ),
        ] {
            assert_eq!(rules(&given(json)).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn open_means_that_nothing_is_taken_away() {
        for (json, expected) in [
            ("[]", false),
            (r#"[{"allow":true,"access":"rwm"}]"#, true),
            (r#"[{"allow":true,"access":"rw"}]"#, false),
            (
                r#"[{"allow":false,"access":"rwm"},{"allow":true,"access":"rwm"}]"#,
                true,
            ),
            (
                r#"[{"allow":true,"access":"rwm"},{"allow":false,"type":"c","access":"r"}]"#,
                false,
            ),
        ] {
            assert_eq!(is_open(&rules(&given(json)).unwrap()), expected, "{json}");
        }
    }

    #[test]
    fn without_a_controller_only_open_rules_pass() {
        let fake = FakeHost::legacy(&["cpu"]);
        let cgroup = fake.cgroup(&[]);
        put(&cgroup, "[]", false).unwrap();
        put(&cgroup, r#"[{"allow":true,"access":"rwm"}]"#, false).unwrap();
        let error = put(&cgroup, r#"[{"allow":false,"access":"rwm"}]"#, false);
        assert!(matches!(error, Err(CgroupError::Limit { .. })));
    }

    /// Whether a process in the cgroup can open the device at `path` for reading.
    fn opens(real: &Real, path: &str) -> bool {
        let dir = real.cgroup.path().unwrap().display().to_string();
        let script = format!("echo 0 >{dir}/cgroup.procs && exec head -c 0 {path}");
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .unwrap();
        output.status.success()
    }

    pub(super) fn enforcement() {
        // A device that isn't among the defaults: the kernel log.
        let log = "/dev/kmsg";
        let real = Real::created();
        assert!(opens(&real, log), "the machine has no {log}");
        put(&real.cgroup, "[]", false).unwrap();
        assert!(!opens(&real, log));
        assert!(opens(&real, "/dev/null") && opens(&real, "/dev/urandom"));
        let more = r#"[{"allow":false,"access":"rwm"},
                       {"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]"#;
        put(&real.cgroup, more, true).unwrap();
        assert!(opens(&real, log) && opens(&real, "/dev/null"));
        put(&real.cgroup, r#"[{"allow":false,"access":"rwm"}]"#, true).unwrap();
        assert!(!opens(&real, log));
        put(&real.cgroup, r#"[{"allow":true,"access":"rwm"}]"#, true).unwrap();
        assert!(opens(&real, log));
    }

    #[test]
    fn rules_are_enforced() {
        enforcement();
    }

    #[test]
    #[ignore = "run by `rules_are_enforced_on_version_2` in a namespace of its own"]
    fn v2_view() {
        enforcement();
        let real = Real::created();
        let dir = File::open(real.cgroup.path().unwrap()).unwrap();
        let count = || bpf::device_programs(dir.as_fd()).unwrap().len();
        put(&real.cgroup, r#"[{"allow":true,"access":"rwm"}]"#, false).unwrap();
        assert_eq!(count(), 0);
        for _ in 0..3 {
            put(&real.cgroup, "[]", true).unwrap();
            assert_eq!(count(), 1);
        }
        let other = bpf::load_device_program(&filter::program(&[])).unwrap();
        bpf::attach_device_program(dir.as_fd(), other.as_fd(), None).unwrap();
        assert_eq!(count(), 2);
        put(&real.cgroup, "[]", true).unwrap();
        assert_eq!(count(), 1);
    }

    #[test]
    fn rules_are_enforced_on_version_2() {
        in_v2_view("cgroup::devices::tests::v2_view");
    }
}
