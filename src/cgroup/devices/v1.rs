//! Device rules as the exceptions of a version 1 `devices` cgroup.
//! It must not widen a rule that version 1 can't express: such a rule is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::super::{CgroupError, Result, file};
use super::{ALL, Kind, MKNOD, READ, Rule, WRITE, error};

/// An exception's device; `None` stands for all numbers.
type Key = (Kind, Option<u32>, Option<u32>);

/// What a `devices` cgroup can hold (cgroup-v1/devices.rst): everything denied or everything
/// allowed, and exceptions from that.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct State {
    open: bool,
    exceptions: BTreeMap<Key, u8>,
}

/// Brings the cgroup to what the rules say. On an update, what stays allowed is never denied
/// in between, if the container doesn't change from all-but to only-these.
pub(super) fn apply(dir: &Path, rules: &[Rule], update: bool) -> Result<()> {
    let target = State::of(rules)?;
    let current = if update { State::read(dir)? } else { None };
    let mut steps = target.steps(current.as_ref());
    steps.sort_by_key(|(_, line)| rank(rules, line));
    for (allow, line) in steps {
        let name = if allow {
            "devices.allow"
        } else {
            "devices.deny"
        };
        file::write(dir, name, &line).map_err(|source| CgroupError::Refused {
            json: format!("linux.resources.devices: `{line}`"),
            source: Box::new(source),
        })?;
    }
    Ok(())
}

/// The kernel lists exceptions in the order in which they were written, and readers of that list
/// expect the order of the configuration (config-linux.md, "Allowed Device list").
fn rank(rules: &[Rule], text: &str) -> usize {
    if text == "a" {
        return 0;
    }
    let same = |rule: &Rule| {
        rule.kind
            .is_some_and(|kind| line(&(kind, rule.major, rule.minor), rule.access) == text)
    };
    rules
        .iter()
        .position(same)
        .map_or(usize::MAX, |index| index + 1)
}

impl State {
    fn of(rules: &[Rule]) -> Result<Self> {
        let mut state = Self::default();
        for rule in rules {
            if rule.is_total() {
                state = Self {
                    open: rule.allow,
                    exceptions: BTreeMap::new(),
                };
                continue;
            }
            // The kernel takes any line that starts with `a` for everything, numbers or not.
            let kinds = rule
                .kind
                .map_or(vec![Kind::Block, Kind::Char], |kind| vec![kind]);
            for kind in kinds {
                state.add((kind, rule.major, rule.minor), rule.access, rule.allow)?;
            }
        }
        Ok(state)
    }

    fn add(&mut self, key: Key, access: u8, allow: bool) -> Result<()> {
        if allow != self.open {
            *self.exceptions.entry(key).or_default() |= access;
            return Ok(());
        }
        // Back to the default: exceptions within the rule shrink, one around it can't get a hole.
        for (other, theirs) in &mut self.exceptions {
            if *theirs & access == 0 || !overlap(&key, other) {
                continue;
            }
            if !covers(&key, other) {
                return Err(error(
                    None,
                    format!(
                        "rule `{}` not supported by devices cgroupv1 (cannot punch hole in `{}`)",
                        line(&key, access),
                        line(other, *theirs)
                    ),
                ));
            }
            *theirs &= !access;
        }
        self.exceptions.retain(|_, access| *access != 0);
        Ok(())
    }

    /// The writes that lead from `current` here; from anything, if that isn't known.
    fn steps(&self, current: Option<&Self>) -> Vec<(bool, String)> {
        let mut steps = Vec::new();
        let none = BTreeMap::new();
        let old = match current {
            Some(current) if current.open == self.open => &current.exceptions,
            _ => {
                steps.push((self.open, "a".to_owned()));
                &none
            }
        };
        let keys: BTreeSet<&Key> = self.exceptions.keys().chain(old.keys()).collect();
        let get = |map: &BTreeMap<Key, u8>, key| map.get(key).copied().unwrap_or(0);
        for key in keys {
            let (old, new) = (get(old, key), get(&self.exceptions, key));
            for (exceptional, access) in [(true, new & !old), (false, old & !new)] {
                if access != 0 {
                    steps.push((exceptional != self.open, line(key, access)));
                }
            }
        }
        steps
    }

    /// What is in force; `None` if the kernel doesn't tell, which it doesn't of an open cgroup.
    fn read(dir: &Path) -> Result<Option<Self>> {
        let text = file::read(dir, "devices.list")?;
        let mut state = Self::default();
        for line in text.lines() {
            let Some((key, access)) = parse(line) else {
                return Ok(None);
            };
            state.exceptions.insert(key, access);
        }
        Ok(Some(state))
    }
}

/// A line of `devices.list`: `c 1:3 rwm`.
fn parse(line: &str) -> Option<(Key, u8)> {
    let mut words = line.split(' ');
    let kind = match words.next()? {
        "b" => Kind::Block,
        "c" => Kind::Char,
        _ => return None,
    };
    let (major, minor) = words.next()?.split_once(':')?;
    let number = |text: &str| match text {
        "*" => Some(None),
        text => text.parse().ok().map(Some),
    };
    let mut access = 0;
    for letter in words.next()?.chars() {
        access |= LETTERS.iter().find(|(_, name)| *name == letter)?.0;
    }
    Some(((kind, number(major)?, number(minor)?), access))
}

const LETTERS: [(u8, char); 3] = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];

fn line(key: &Key, access: u8) -> String {
    let kind = match key.0 {
        Kind::Block => 'b',
        Kind::Char => 'c',
    };
    let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
    let letters = LETTERS.iter().filter(|(bit, _)| access & ALL & bit != 0);
    let letters: String = letters.map(|(_, letter)| *letter).collect();
    format!("{kind} {}:{} {letters}", number(key.1), number(key.2))
}

fn overlap(a: &Key, b: &Key) -> bool {
    let meets = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
    a.0 == b.0 && meets(a.1, b.1) && meets(a.2, b.2)
}

/// Whether all of `b` is in `a`.
fn covers(a: &Key, b: &Key) -> bool {
    let within = |a: Option<u32>, b: Option<u32>| a.is_none() || a == b;
    a.0 == b.0 && within(a.1, b.1) && within(a.2, b.2)
}

#[cfg(test)]
mod tests {
    use super::super::{rules, tests::given};
    use super::*;
    use crate::cgroup::testing::Real;

    fn state(json: &str) -> Result<State> {
        let all = rules(&given(json))?;
        State::of(&all[..all.len() - super::super::DEFAULTS.len()])
    }

    fn steps(from: Option<&str>, to: &str) -> Vec<String> {
        let from = from.map(|json| state(json).unwrap());
        let steps = state(to).unwrap().steps(from.as_ref());
        steps
            .into_iter()
            .map(|(allow, line)| format!("{}{line}", if allow { '+' } else { '-' }))
            .collect()
    }

    const NULL: &str = r#"[{"allow":true,"type":"c","major":1,"minor":3,"access":"rw"}]"#;

    #[test]
    fn rules_become_writes() {
        assert_eq!(steps(None, "[]"), ["-a"]);
        assert_eq!(steps(None, NULL), ["-a", "+c 1:3 rw"]);
        let all_but =
            r#"[{"allow":true,"access":"rwm"},{"allow":false,"type":"b","major":8,"access":"w"}]"#;
        assert_eq!(steps(None, all_but), ["+a", "-b 8:* w"]);
        // Numbers with type `a` don't open everything.
        let any = r#"[{"allow":true,"major":1,"minor":3,"access":"r"}]"#;
        assert_eq!(steps(None, any), ["-a", "+b 1:3 r", "+c 1:3 r"]);
        let shrunk = r#"[{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"},
                         {"allow":false,"type":"c","major":1,"access":"m"}]"#;
        assert_eq!(steps(None, shrunk), ["-a", "+c 1:3 rw"]);
    }

    #[test]
    fn updates_only_write_what_changes() {
        let zero = r#"[{"allow":true,"type":"c","major":1,"minor":3,"access":"rm"},
                       {"allow":true,"type":"c","major":1,"minor":5,"access":"r"}]"#;
        assert_eq!(steps(Some(NULL), NULL), Vec::<String>::new());
        assert_eq!(
            steps(Some(NULL), zero),
            ["+c 1:3 m", "-c 1:3 w", "+c 1:5 r"]
        );
    }

    #[test]
    fn holes_are_refused() {
        let hole = r#"[{"allow":true,"type":"c","major":1,"access":"rwm"},
                       {"allow":false,"type":"c","major":1,"minor":5,"access":"rwm"}]"#;
        let error = state(hole).unwrap_err().to_string();
        assert!(
            error.contains("cannot punch hole in `c 1:* rwm`"),
            "{error}"
        );
        let apart = r#"[{"allow":true,"type":"c","major":1,"access":"r"},
                        {"allow":false,"type":"c","major":1,"minor":5,"access":"w"}]"#;
        state(apart).unwrap();
    }

    #[test]
    fn the_kernel_lists_what_was_meant() {
        let real = Real::created();
        let Some(devices) = real.cgroup.v1("devices") else {
            println!("no version 1 devices controller here");
            return;
        };
        let all = rules(&[]).unwrap();
        apply(&devices.dir, &all, false).unwrap();
        assert_eq!(
            State::read(&devices.dir).unwrap(),
            Some(State::of(&all).unwrap())
        );
        let text = file::read(&devices.dir, "devices.list").unwrap();
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        // What runc 1.1.5 leaves there, without the tun device that later ones dropped.
        assert_eq!(
            lines,
            [
                "b *:* m",
                "c *:* m",
                "c 136:* rwm",
                "c 1:3 rwm",
                "c 1:5 rwm",
                "c 1:7 rwm",
                "c 1:8 rwm",
                "c 1:9 rwm",
                "c 5:0 rwm",
                "c 5:2 rwm",
            ]
        );
    }
}
