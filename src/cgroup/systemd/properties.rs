//! `linux.resources` and `org.systemd.property.*` annotations as properties of a unit
//! (systemd.resource-control(5)), as runc translates them. Pure.

use std::collections::{BTreeMap, HashMap};

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};

use super::wire::Value;
use crate::cgroup::apply::weight;

/// Annotations that set a property of the unit: the name follows.
pub const ANNOTATION: &str = "org.systemd.property.";

/// Since when systemd knows these properties (its NEWS).
const PERIOD_SINCE: u32 = 242;
const CPUSET_SINCE: u32 = 244;

/// Infinite, in properties that are sizes, counts or times.
const INFINITE: u64 = u64::MAX;

/// A property that stands for a limit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Property {
    pub name: &'static str,
    pub value: Value,
    /// The field that it comes from.
    pub json: &'static str,
    /// What must be there for the limit to hold, and the file that shows it.
    pub controller: &'static str,
    pub file: &'static str,
}

/// The properties, and whether they are all that was asked for.
#[derive(Debug, Default)]
pub struct Translated {
    pub properties: Vec<Property>,
    pub incomplete: bool,
}

impl Translated {
    fn set(&mut self, json: &'static str, file: &'static str, name: &'static str, value: Value) {
        let controller = file
            .split_once('.')
            .map_or(file, |(controller, _)| controller);
        self.properties.retain(|property| property.name != name);
        self.properties.push(Property {
            name,
            value,
            json,
            controller,
            file,
        });
    }

    fn number(&mut self, json: &'static str, file: &'static str, name: &'static str, number: u64) {
        self.set(json, file, name, Value::U64(number));
    }
}

/// Translates for cgroup version 2. `bandwidth` is the present text of `cpu.max`, since systemd
/// takes quota and period together; zeros are Go's way of leaving a field out.
pub fn translate(given: &LinuxResources, bandwidth: Option<&str>, version: u32) -> Translated {
    let mut out = Translated::default();
    if let Some(memory) = given.memory() {
        memory_limits(memory, &mut out);
    }
    if let Some(cpu) = given.cpu() {
        cpu_limits(cpu, bandwidth, version, &mut out);
    }
    if let Some(pids) = given
        .pids()
        .map(|pids| pids.limit())
        .filter(|limit| *limit != 0)
    {
        let tasks = u64::try_from(pids).unwrap_or(INFINITE);
        out.number("linux.resources.pids.limit", "pids.max", "TasksMax", tasks);
    }
    out.incomplete |= given
        .hugepage_limits()
        .as_ref()
        .is_some_and(|all| !all.is_empty())
        || given.rdma().as_ref().is_some_and(|all| !all.is_empty());
    if let Some(unified) = given.unified() {
        files(unified, version, &mut out);
    }
    out
}

fn memory_limits(memory: &LinuxMemory, out: &mut Translated) {
    let set = |bytes: Option<i64>| bytes.filter(|bytes| *bytes != 0);
    let bytes = |bytes: i64| u64::try_from(bytes).unwrap_or(INFINITE);
    const LIMIT: &str = "linux.resources.memory.limit";
    const SWAP: &str = "linux.resources.memory.swap";
    const RESERVATION: &str = "linux.resources.memory.reservation";
    if let Some(limit) = set(memory.limit()) {
        out.number(LIMIT, "memory.max", "MemoryMax", bytes(limit));
    }
    if let Some(reservation) = set(memory.reservation()) {
        out.number(RESERVATION, "memory.low", "MemoryLow", bytes(reservation));
    }
    // The spec's number is memory and swap together; version 2 counts swap alone.
    match (set(memory.swap()), set(memory.limit())) {
        (None, _) => {}
        (Some(swap), _) if swap < 0 => {
            out.number(SWAP, "memory.swap.max", "MemorySwapMax", INFINITE);
        }
        (Some(swap), Some(limit)) if (0..=swap).contains(&limit) => {
            out.number(
                SWAP,
                "memory.swap.max",
                "MemorySwapMax",
                bytes(swap - limit),
            );
        }
        _ => out.incomplete = true,
    }
}

fn cpu_limits(cpu: &LinuxCpu, bandwidth: Option<&str>, version: u32, out: &mut Translated) {
    const SHARES: &str = "linux.resources.cpu.shares";
    const QUOTA: &str = "linux.resources.cpu.quota";
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        out.number(SHARES, "cpu.weight", "CPUWeight", weight(shares));
    }
    let (quota, period) = (
        cpu.quota().filter(|quota| *quota != 0),
        cpu.period().filter(|period| *period != 0),
    );
    if quota.is_some() || period.is_some() {
        let now = Bandwidth::read(bandwidth.unwrap_or_default());
        let wanted = Bandwidth {
            quota: match quota {
                Some(quota) => u64::try_from(quota).ok(),
                None => now.quota,
            },
            period: period.unwrap_or(now.period),
        };
        wanted.set(QUOTA, version, out);
    }
    for (list, json, file, name) in [
        (
            cpu.cpus(),
            "linux.resources.cpu.cpus",
            "cpuset.cpus",
            "AllowedCPUs",
        ),
        (
            cpu.mems(),
            "linux.resources.cpu.mems",
            "cpuset.mems",
            "AllowedMemoryNodes",
        ),
    ] {
        if let Some(list) = list.as_deref().filter(|list| !list.is_empty()) {
            set_list(json, file, name, list, version, out);
        }
    }
    out.incomplete |=
        cpu.idle().is_some_and(|idle| idle != 0) || cpu.burst().is_some_and(|burst| burst != 0);
}

/// `cpu.max`: QUOTA, which may be `max`, and PERIOD, in microseconds.
struct Bandwidth {
    quota: Option<u64>,
    period: u64,
}

impl Bandwidth {
    fn read(text: &str) -> Self {
        let mut words = text.split_whitespace();
        Self {
            quota: words.next().and_then(|quota| quota.parse().ok()),
            period: words
                .next()
                .and_then(|period| period.parse().ok())
                .unwrap_or(100_000),
        }
    }

    fn set(&self, json: &'static str, version: u32, out: &mut Translated) {
        // systemd keeps whole percents of a processor: round up, or a small quota would be none.
        const PERCENT: u64 = 10_000;
        let per_second = match self.quota {
            None => INFINITE,
            Some(quota) => (quota.saturating_mul(1_000_000) / self.period.max(1))
                .div_ceil(PERCENT)
                .saturating_mul(PERCENT),
        };
        out.number(json, "cpu.max", "CPUQuotaPerSecUSec", per_second);
        if version >= PERIOD_SINCE {
            out.number(json, "cpu.max", "CPUQuotaPeriodUSec", self.period);
        }
    }
}

fn set_list(
    json: &'static str,
    file: &'static str,
    name: &'static str,
    list: &str,
    version: u32,
    out: &mut Translated,
) {
    match mask(list).filter(|_| version >= CPUSET_SINCE) {
        Some(mask) => {
            let bytes = mask.into_iter().map(Value::Byte).collect();
            out.set(json, file, name, Value::Array("y", bytes));
        }
        None => out.incomplete = true,
    }
}

/// A list as `0-3,7` as bits, the first processor's lowest; `None` for forms with strides.
fn mask(list: &str) -> Option<Vec<u8>> {
    let mut bits = Vec::new();
    for range in list.trim().split(',').map(str::trim) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        // More than any kernel counts.
        (last < 1 << 16).then_some(())?;
        if bits.len() <= last / 8 {
            bits.resize(last / 8 + 1, 0);
        }
        (first..=last).for_each(|bit| bits[bit / 8] |= 1 << (bit % 8));
    }
    Some(bits)
}

/// `linux.resources.unified`: what has a property; the same names as runc.
fn files(unified: &HashMap<String, String>, version: u32, out: &mut Translated) {
    const JSON: &str = "linux.resources.unified";
    let sorted: BTreeMap<&str, &str> = unified
        .iter()
        .map(|(k, v)| (k.as_str(), v.trim()))
        .collect();
    for (file, value) in sorted {
        let number = match value {
            "max" => Some(INFINITE),
            number => number.parse().ok(),
        };
        let known = match file {
            "memory.max" => Some(("memory.max", "MemoryMax")),
            "memory.high" => Some(("memory.high", "MemoryHigh")),
            "memory.low" => Some(("memory.low", "MemoryLow")),
            "memory.min" => Some(("memory.min", "MemoryMin")),
            "memory.swap.max" => Some(("memory.swap.max", "MemorySwapMax")),
            "pids.max" => Some(("pids.max", "TasksMax")),
            "cpu.weight" => Some(("cpu.weight", "CPUWeight")),
            _ => None,
        };
        match (file, known, number) {
            (_, Some((file, name)), Some(number)) => out.number(JSON, file, name, number),
            ("cpu.max", ..) => Bandwidth::read(value).set(JSON, version, out),
            ("cpuset.cpus", ..) => {
                set_list(JSON, "cpuset.cpus", "AllowedCPUs", value, version, out);
            }
            ("cpuset.mems", ..) => {
                set_list(
                    JSON,
                    "cpuset.mems",
                    "AllowedMemoryNodes",
                    value,
                    version,
                    out,
                );
            }
            _ => out.incomplete = true,
        }
    }
}

/// Reads the annotations: name and value of each property, in order.
///
/// # Errors
/// The annotation, and why its value is none.
pub fn annotated<'a>(
    annotations: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Result<BTreeMap<String, Value>, (String, &'static str)> {
    let mut out = BTreeMap::new();
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix(ANNOTATION) else {
            continue;
        };
        let bad = |reason| (key.clone(), reason);
        if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err(bad("names no property of systemd"));
        }
        let value = variant(text.trim()).ok_or(bad(
            "expected a value in GVariant's text form, as `'text'` or `uint64 5`",
        ))?;
        // Times are told in seconds where people write them, and set in microseconds.
        let (name, value) = match name.strip_suffix("Sec").filter(|stem| ends_in_small(stem)) {
            Some(stem) => (
                format!("{stem}USec"),
                seconds(&value).ok_or(bad("expected a number of seconds"))?,
            ),
            None => (name.to_owned(), value),
        };
        out.insert(name, value);
    }
    Ok(out)
}

fn ends_in_small(stem: &str) -> bool {
    stem.ends_with(|c: char| c.is_ascii_lowercase())
}

fn seconds(value: &Value) -> Option<Value> {
    let seconds = match value {
        Value::Byte(number) => u64::from(*number),
        Value::I32(number) => u64::try_from(*number).ok()?,
        Value::U32(number) => u64::from(*number),
        Value::I64(number) => u64::try_from(*number).ok()?,
        Value::U64(number) => *number,
        _ => return None,
    };
    seconds.checked_mul(1_000_000).map(Value::U64)
}

/// GVariant's text form, as far as properties of scopes need it: texts, truth, whole numbers with
/// or without their type, lists of texts.
fn variant(text: &str) -> Option<Value> {
    if let Some(inner) = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        let parts: Option<Vec<_>> = inner
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(quoted)
            .collect();
        return Some(Value::Array("s", parts?));
    }
    if let Some((kind, number)) = text.split_once(' ') {
        let number = number.trim();
        return match kind {
            "byte" => number.parse().ok().map(Value::Byte),
            "int32" => number.parse().ok().map(Value::I32),
            "uint32" => number.parse().ok().map(Value::U32),
            "int64" => number.parse().ok().map(Value::I64),
            "uint64" => number.parse().ok().map(Value::U64),
            _ => quoted(text),
        };
    }
    match text {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        _ => text.parse().ok().map(Value::I32).or_else(|| quoted(text)),
    }
}

/// A text in quotes of one kind, without escapes.
fn quoted(text: &str) -> Option<Value> {
    let inner = ['\'', '"']
        .iter()
        .find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote))?;
    let plain = !inner.contains(['\'', '"', '\\', '\0']);
    plain.then(|| Value::text(inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name=value` for each property, as it would be shown.
    fn shown(translated: &Translated) -> Vec<String> {
        let show = |property: &Property| {
            let value = match &property.value {
                Value::U64(INFINITE) => "infinity".to_owned(),
                Value::U64(number) => number.to_string(),
                other => format!("{other:?}"),
            };
            format!("{}={value}", property.name)
        };
        translated.properties.iter().map(show).collect()
    }

    #[test]
    fn limits_become_properties() {
        for (json, now, version, expected, complete) in [
            ("{}", None, 252, &[][..], true),
            (
                r#"{"pids":{"limit":0},"memory":{"limit":0,"swap":0}}"#,
                None,
                252,
                &[],
                true,
            ),
            (
                r#"{"pids":{"limit":-1}}"#,
                None,
                252,
                &["TasksMax=infinity"],
                true,
            ),
            (
                r#"{"memory":{"limit":4096,"swap":-1,"reservation":-1}}"#,
                None,
                252,
                &[
                    "MemoryMax=4096",
                    "MemoryLow=infinity",
                    "MemorySwapMax=infinity",
                ],
                true,
            ),
            // Swap alone can't be told apart from what the limit was.
            (r#"{"memory":{"swap":4096}}"#, None, 252, &[], false),
            (
                r#"{"cpu":{"shares":1024}}"#,
                None,
                252,
                &["CPUWeight=100"],
                true,
            ),
            // One of quota and period: the other stays.
            (
                r#"{"cpu":{"quota":15000}}"#,
                Some("max 50000"),
                252,
                &["CPUQuotaPerSecUSec=300000", "CPUQuotaPeriodUSec=50000"],
                true,
            ),
            (
                r#"{"cpu":{"period":20000}}"#,
                Some("5001 100000"),
                241,
                &["CPUQuotaPerSecUSec=260000"],
                true,
            ),
            (
                r#"{"cpu":{"quota":-1}}"#,
                Some("5000 20000"),
                241,
                &["CPUQuotaPerSecUSec=infinity"],
                true,
            ),
            (
                r#"{"cpu":{"cpus":"0-2,9","mems":"1"}}"#,
                None,
                244,
                &[
                    r#"AllowedCPUs=Array("y", [Byte(7), Byte(2)])"#,
                    r#"AllowedMemoryNodes=Array("y", [Byte(2)])"#,
                ],
                true,
            ),
            (r#"{"cpu":{"cpus":"0"}}"#, None, 243, &[], false),
            (r#"{"cpu":{"cpus":"0-7:1/2"}}"#, None, 252, &[], false),
            (r#"{"cpu":{"idle":1}}"#, None, 252, &[], false),
            (
                r#"{"hugepageLimits":[{"pageSize":"2MB","limit":1}]}"#,
                None,
                252,
                &[],
                false,
            ),
            // The files' own names come last, and win.
            (
                r#"{"memory":{"limit":1},"unified":{"memory.max":"max","cpu.max":"5 10","io.x":""}}"#,
                None,
                241,
                &["CPUQuotaPerSecUSec=500000", "MemoryMax=infinity"],
                false,
            ),
        ] {
            let resources = serde_json::from_str(json).unwrap();
            let translated = translate(&resources, now, version);
            assert_eq!(shown(&translated), expected, "{json}");
            assert_eq!(translated.incomplete, !complete, "{json}");
        }
    }

    #[test]
    fn annotations_become_properties() {
        let read = |name: &str, text: &str| {
            let key = format!("{ANNOTATION}{name}");
            annotated([(&key, &text.to_owned())]).map(|all| format!("{all:?}"))
        };
        for (name, text, expected) in [
            (
                "TimeoutStopUSec",
                "uint64 5",
                r#"{"TimeoutStopUSec": U64(5)}"#,
            ),
            (
                "TimeoutStopSec",
                "5",
                r#"{"TimeoutStopUSec": U64(5000000)}"#,
            ),
            (
                "CollectMode",
                "'inactive'",
                r#"{"CollectMode": Text("inactive")}"#,
            ),
            ("SendSIGHUP", "true", r#"{"SendSIGHUP": Bool(true)}"#),
            (
                "After",
                "['a.service', \"b.service\"]",
                r#"{"After": Array("s", [Text("a.service"), Text("b.service")])}"#,
            ),
            ("After", "[]", r#"{"After": Array("s", [])}"#),
        ] {
            assert_eq!(read(name, text).as_deref(), Ok(expected), "{name} {text}");
        }
        for (name, text) in [
            ("X", "'a'"),
            ("Bad-Name", "1"),
            ("After", "a.service"),
            ("After", "['a', b]"),
            ("After", "'it''s'"),
            ("TimeoutStopSec", "'5'"),
            ("TimeoutStopSec", "-5"),
            ("TimeoutStopUSec", "uint64 -5"),
            ("TimeoutStopUSec", "uint64 18446744073709551616"),
        ] {
            let (key, _) = read(name, text).unwrap_err();
            assert_eq!(key, format!("{ANNOTATION}{name}"), "{text}");
        }
        assert!(
            annotated([(&"other".to_owned(), &"x".to_owned())])
                .unwrap()
                .is_empty()
        );
    }
}
