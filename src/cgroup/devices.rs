//! Which devices a container may open and make: files on cgroup v1, a program of our own on v2,
//! where libcgroups has none by default.

use std::path::Path;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use super::{Cgroup, CgroupError, file};
use crate::sys::bpf;

/// One rule in the kernel's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Allow or deny.
    pub allow: bool,
    /// `a`, `b` or `c`.
    pub kind: char,
    /// `None` for any.
    pub major: Option<u32>,
    /// `None` for any.
    pub minor: Option<u32>,
    /// Read.
    pub read: bool,
    /// Write.
    pub write: bool,
    /// mknod.
    pub make: bool,
}

/// What every container has, whatever its rules say: making nodes harms nobody, and without these
/// devices no program runs (config-linux.md, "Default Devices").
const ALWAYS: [(char, Option<u32>, Option<u32>, bool); 11] = [
    ('c', None, None, false),
    ('b', None, None, false),
    ('c', Some(1), Some(3), true),
    ('c', Some(1), Some(5), true),
    ('c', Some(1), Some(7), true),
    ('c', Some(1), Some(8), true),
    ('c', Some(1), Some(9), true),
    ('c', Some(5), Some(0), true),
    ('c', Some(5), Some(2), true),
    ('c', Some(136), None, true),
    ('c', Some(5), Some(1), true),
];

impl Cgroup {
    /// Restricts devices to the rules in their order, the later ones winning, and to what every
    /// container has. Without rules nothing is restricted.
    pub(super) fn apply_devices(&self, asked: &[LinuxDeviceCgroup]) -> Result<(), CgroupError> {
        if asked.is_empty() {
            return Ok(());
        }
        let rules: Vec<Rule> = asked.iter().map(rule).chain(always()).collect();
        match self.controller("devices") {
            Some(dir) => write_legacy(&dir, &rules),
            None => self.attach(&rules),
        }
    }

    fn attach(&self, rules: &[Rule]) -> Result<(), CgroupError> {
        let failed = |what| move |source| CgroupError::Devices { what, source };
        let Some(dir) = self.unified_dir() else {
            return Ok(());
        };
        let dir = super::open_dir(&dir).map_err(failed("open cgroup"))?;
        bpf::attach_device_program(&dir, &program(rules)).map_err(failed("attach device program"))
    }
}

fn rule(device: &LinuxDeviceCgroup) -> Rule {
    let access = device.access().as_deref().unwrap_or("rwm");
    let number = |n: Option<i64>| n.and_then(|n| u32::try_from(n).ok());
    Rule {
        allow: device.allow(),
        kind: match device.typ() {
            Some(LinuxDeviceType::B) => 'b',
            Some(LinuxDeviceType::C | LinuxDeviceType::U) => 'c',
            _ => 'a',
        },
        major: number(device.major()),
        minor: number(device.minor()),
        read: access.contains('r'),
        write: access.contains('w'),
        make: access.contains('m'),
    }
}

fn always() -> impl Iterator<Item = Rule> {
    ALWAYS.into_iter().map(|(kind, major, minor, open)| Rule {
        allow: true,
        kind,
        major,
        minor,
        read: open,
        write: open,
        make: true,
    })
}

fn write_legacy(dir: &Path, rules: &[Rule]) -> Result<(), CgroupError> {
    for rule in rules {
        let name = if rule.allow { "devices.allow" } else { "devices.deny" };
        let path = dir.join(name);
        std::fs::write(&path, legacy_line(rule)).map_err(file("write", &path))?;
    }
    Ok(())
}

fn legacy_line(rule: &Rule) -> String {
    let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
    let mut access = String::new();
    for (set, letter) in [(rule.read, 'r'), (rule.write, 'w'), (rule.make, 'm')] {
        if set {
            access.push(letter);
        }
    }
    let (major, minor) = (number(rule.major), number(rule.minor));
    format!("{} {major}:{minor} {access}", rule.kind)
}

/// BPF for `struct bpf_cgroup_dev_ctx { access_type, major, minor }`: the lower half of
/// access_type is the kind (1 block, 2 character), the upper the access (1 mknod, 2 read, 4
/// write). Rules are tried from the last to the first; what none fits is denied.
fn program(rules: &[Rule]) -> Vec<bpf::Instruction> {
    use bpf::{Instruction as I, Register::*};
    let mut code = vec![
        I::load_word(R2, R1, 0),
        I::and_immediate(R2, 0xffff),
        I::load_word(R3, R1, 0),
        I::shift_right(R3, 16),
        I::load_word(R4, R1, 4),
        I::load_word(R5, R1, 8),
    ];
    for rule in rules.iter().rev() {
        code.extend(block(rule));
    }
    code.push(I::move_immediate(R0, 0));
    code.push(I::exit());
    code
}

fn block(rule: &Rule) -> Vec<bpf::Instruction> {
    use bpf::{Instruction as I, Register::*};
    let mut tests = Vec::new();
    match rule.kind {
        'b' => tests.push((R2, 1)),
        'c' => tests.push((R2, 2)),
        _ => {}
    }
    tests.extend(rule.major.map(|major| (R4, major as i32)));
    tests.extend(rule.minor.map(|minor| (R5, minor as i32)));
    let mask = i32::from(rule.make) | i32::from(rule.read) << 1 | i32::from(rule.write) << 2;
    // An allowing rule must cover all of what is tried; a denying one any of it.
    let access: Vec<I> = match (mask, rule.allow) {
        (7, _) => Vec::new(),
        (_, true) => vec![
            I::move_register(R1, R3),
            I::and_immediate(R1, !mask & 7),
            // Something is tried that the rule doesn't allow: on to the next.
            I::jump_not_equal(R1, 0, 2),
        ],
        (_, false) => vec![
            I::move_register(R1, R3),
            I::and_immediate(R1, mask),
            I::jump_equal(R1, 0, 2),
        ],
    };
    let mut code = Vec::new();
    let length = tests.len() + access.len() + 2;
    for (position, (register, value)) in tests.into_iter().enumerate() {
        let skip = length - position - 1;
        code.push(I::jump_not_equal(register, value, skip as i16));
    }
    code.extend(access);
    code.push(I::move_immediate(R0, i32::from(rule.allow)));
    code.push(I::exit());
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_become_lines() {
        let table = [
            (json!({"allow": false, "access": "rwm"}), "a *:* rwm"),
            (
                json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}),
                "c 10:229 rw",
            ),
            (json!({"allow": true, "type": "b", "major": 8, "minor": -1}), "b 8:* rwm"),
        ];
        for (json, line) in table {
            assert_eq!(legacy_line(&rule(&serde_json::from_value(json).unwrap())), line);
        }
    }
}
