//! Statistics from the version 2 hierarchy, under the names that version 1 had for them.
//! It must not assume that any controller is there.

use std::path::Path;

use super::super::pids::pids_in;
use super::super::{Cgroup, Result, file};
use super::{
    Blkio, BlkioEntry, Cpu, Hugetlb, Memory, MemoryEntry, Pids, Stats, number, page_sizes, pids,
};

pub(super) fn stats(cgroup: &Cgroup) -> Result<Stats> {
    let mut stats = Stats::default();
    let Some(dir) = cgroup.path().filter(|dir| dir.exists()) else {
        return Ok(stats);
    };
    stats.pids = match pids(dir)? {
        Some(pids) => pids,
        // Without the controller, counting does, as in runc.
        None => Pids {
            current: pids_in(dir, false)?.len() as u64,
            limit: 0,
        },
    };
    stats.memory = memory(dir)?;
    stats.blkio = io(&file::read_optional(dir, "io.stat")?.unwrap_or_default());
    stats.cpu = cpu(&file::read_optional(dir, "cpu.stat")?.unwrap_or_default());
    for size in page_sizes() {
        let Some(usage) = file::read_number(dir, &format!("hugetlb.{size}.current"))? else {
            continue;
        };
        let events = format!("hugetlb.{size}.events");
        let failcnt = file::read_key(dir, &events, "max")?.unwrap_or(0);
        stats.hugetlb.insert(
            size,
            Hugetlb {
                usage,
                max: 0,
                failcnt,
            },
        );
    }
    Ok(stats)
}

fn cpu(text: &str) -> Cpu {
    let get = |key| file::keyed(text, key).unwrap_or(0);
    let nanoseconds = |key| get(key) * 1000;
    let mut cpu = Cpu::default();
    cpu.usage.total = nanoseconds("usage_usec");
    cpu.usage.user = nanoseconds("user_usec");
    cpu.usage.kernel = nanoseconds("system_usec");
    cpu.throttling.periods = get("nr_periods");
    cpu.throttling.throttled_periods = get("nr_throttled");
    cpu.throttling.throttled_time = nanoseconds("throttled_usec");
    cpu
}

fn memory(dir: &Path) -> Result<Memory> {
    let Some(text) = file::read_optional(dir, "memory.stat")? else {
        return Ok(Memory::default());
    };
    let usage = entry(dir, "memory")?;
    let mut swap = entry(dir, "memory.swap")?;
    // Version 1 counted swap together with memory.
    swap.usage += usage.usage;
    if swap.limit != u64::MAX {
        swap.limit = swap.limit.saturating_add(usage.limit);
    }
    Ok(Memory {
        cache: file::keyed(&text, "file").unwrap_or(0),
        usage,
        swap,
        raw: file::pairs(&text)
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
        ..Memory::default()
    })
}

fn entry(dir: &Path, prefix: &str) -> Result<MemoryEntry> {
    Ok(MemoryEntry {
        limit: number(dir, &format!("{prefix}.max"))?,
        usage: number(dir, &format!("{prefix}.current"))?,
        ..MemoryEntry::default()
    })
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`, a line for each device.
fn io(text: &str) -> Blkio {
    let mut out = Blkio::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let device = words.next().and_then(|word| word.split_once(':'));
        let numbers =
            device.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let Some((major, minor)) = numbers else {
            continue;
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let (op, list) = match key {
                "rbytes" => ("Read", &mut out.io_service_bytes_recursive),
                "wbytes" => ("Write", &mut out.io_service_bytes_recursive),
                "rios" => ("Read", &mut out.io_serviced_recursive),
                "wios" => ("Write", &mut out.io_serviced_recursive),
                _ => continue,
            };
            let value = value.parse().unwrap_or(0);
            list.push(BlkioEntry {
                major,
                minor,
                op: op.to_owned(),
                value,
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::cgroup::testing::FakeHost;

    #[test]
    fn all_controllers() {
        let fake = FakeHost::unified();
        let files = [
            ("memory.stat", "anon 100\nfile 50\n"),
            ("memory.current", "400\n"),
            ("memory.max", "1000\n"),
            ("memory.swap.current", "5\n"),
            ("memory.swap.max", "20\n"),
            ("pids.current", "3\n"),
            ("pids.max", "max\n"),
            (
                "cpu.stat",
                "usage_usec 7\nuser_usec 4\nsystem_usec 3\nnr_periods 9\nthrottled_usec 2\n",
            ),
            (
                "io.stat",
                "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n",
            ),
        ];
        let cgroup = fake.cgroup(&files.map(|(name, _)| name));
        for (name, text) in files {
            std::fs::write(cgroup.path().unwrap().join(name), text).unwrap();
        }
        let json = serde_json::to_value(cgroup.stats().unwrap()).unwrap();
        for (pointer, expected) in [
            (
                "/memory",
                r#"{"cache":50,"usage":{"limit":1000,"usage":400,"failcnt":0},"swap":{"limit":1020,"usage":405,"failcnt":0},"kernel":{"limit":0,"failcnt":0},"kernelTCP":{"limit":0,"failcnt":0},"raw":{"anon":100,"file":50}}"#,
            ),
            ("/pids", r#"{"current":3}"#),
            (
                "/cpu",
                r#"{"usage":{"total":7000,"kernel":3000,"user":4000},"throttling":{"periods":9,"throttledTime":2000}}"#,
            ),
            (
                "/blkio",
                r#"{"ioServiceBytesRecursive":[{"major":8,"op":"Read","value":1},{"major":8,"op":"Write","value":2}],"ioServicedRecursive":[{"major":8,"op":"Read","value":3},{"major":8,"op":"Write","value":4}]}"#,
            ),
        ] {
            assert_eq!(
                json.pointer(pointer).unwrap().to_string(),
                expected,
                "{pointer}"
            );
        }
    }
}
