//! Statistics from version 1 hierarchies.
//! It must not assume that any controller is there.

use std::path::Path;

use super::super::{Cgroup, Result, file};
use super::{
    Blkio, BlkioEntry, CpuSet, CpuUsage, Hugetlb, Memory, MemoryEntry, Stats, Throttling, number,
    page_sizes, pids,
};

/// The kernel counts `cpuacct.stat` in ticks of USER_HZ, which is 100 on every architecture we build for.
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

pub(super) fn stats(cgroup: &Cgroup) -> Result<Stats> {
    let mut stats = Stats::default();
    let dir = |name| cgroup.dir_of(name).filter(|dir| dir.exists());
    if let Some(dir) = dir("cpuset") {
        stats.cpuset = cpuset(dir)?;
    }
    if let Some(dir) = dir("memory") {
        stats.memory = memory(dir)?;
    }
    if let Some(dir) = dir("cpu") {
        stats.cpu.throttling = throttling(dir)?;
    }
    if let Some(dir) = dir("cpuacct") {
        stats.cpu.usage = cpu_usage(dir)?;
    }
    if let Some(dir) = dir("pids") {
        stats.pids = pids(dir)?.unwrap_or_default();
    }
    if let Some(dir) = dir("blkio") {
        stats.blkio = blkio(dir)?;
    }
    if let Some(dir) = dir("hugetlb") {
        for size in page_sizes() {
            let usage = number(dir, &format!("hugetlb.{size}.usage_in_bytes"))?;
            let max = number(dir, &format!("hugetlb.{size}.max_usage_in_bytes"))?;
            let failcnt = number(dir, &format!("hugetlb.{size}.failcnt"))?;
            stats.hugetlb.insert(
                size,
                Hugetlb {
                    usage,
                    max,
                    failcnt,
                },
            );
        }
    }
    Ok(stats)
}

fn throttling(dir: &Path) -> Result<Throttling> {
    let text = file::read_optional(dir, "cpu.stat")?.unwrap_or_default();
    let get = |key| file::keyed(&text, key).unwrap_or(0);
    Ok(Throttling {
        periods: get("nr_periods"),
        throttled_periods: get("nr_throttled"),
        throttled_time: get("throttled_time"),
    })
}

fn cpu_usage(dir: &Path) -> Result<CpuUsage> {
    let ticks = file::read_optional(dir, "cpuacct.stat")?.unwrap_or_default();
    let nanoseconds = |key| file::keyed(&ticks, key).unwrap_or(0) * NANOSECONDS_PER_TICK;
    let percpu = file::read_optional(dir, "cpuacct.usage_percpu")?.unwrap_or_default();
    // A header line, then "cpu user system".
    let all = file::read_optional(dir, "cpuacct.usage_all")?.unwrap_or_default();
    let column = |index| {
        let value = move |line: &str| line.split(' ').nth(index)?.parse().ok();
        all.lines().skip(1).filter_map(value).collect()
    };
    Ok(CpuUsage {
        total: number(dir, "cpuacct.usage")?,
        percpu: percpu
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect(),
        percpu_kernel: column(2),
        percpu_user: column(1),
        kernel: nanoseconds("system"),
        user: nanoseconds("user"),
    })
}

fn cpuset(dir: &Path) -> Result<CpuSet> {
    let list = |name| {
        Ok(numbers(
            &file::read_optional(dir, name)?.unwrap_or_default(),
        ))
    };
    let flag = |name: &str| number(dir, &format!("cpuset.{name}"));
    let level = file::read_optional(dir, "cpuset.sched_relax_domain_level")?;
    Ok(CpuSet {
        cpus: list("cpuset.cpus")?,
        cpu_exclusive: flag("cpu_exclusive")?,
        mems: list("cpuset.mems")?,
        mem_hardwall: flag("mem_hardwall")?,
        mem_exclusive: flag("mem_exclusive")?,
        memory_migrate: flag("memory_migrate")?,
        memory_spread_page: flag("memory_spread_page")?,
        memory_spread_slab: flag("memory_spread_slab")?,
        memory_pressure: flag("memory_pressure")?,
        sched_load_balance: flag("sched_load_balance")?,
        sched_relax_domain_level: level.and_then(|level| level.parse().ok()).unwrap_or(0),
    })
}

/// `0-2,7` as numbers.
fn numbers(list: &str) -> Vec<u16> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

fn memory(dir: &Path) -> Result<Memory> {
    let text = file::read_optional(dir, "memory.stat")?.unwrap_or_default();
    let raw = file::pairs(&text)
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    Ok(Memory {
        cache: file::keyed(&text, "cache").unwrap_or(0),
        usage: memory_entry(dir, "memory")?,
        swap: memory_entry(dir, "memory.memsw")?,
        kernel: memory_entry(dir, "memory.kmem")?,
        kernel_tcp: memory_entry(dir, "memory.kmem.tcp")?,
        raw,
    })
}

fn memory_entry(dir: &Path, prefix: &str) -> Result<MemoryEntry> {
    Ok(MemoryEntry {
        limit: number(dir, &format!("{prefix}.limit_in_bytes"))?,
        usage: number(dir, &format!("{prefix}.usage_in_bytes"))?,
        max: number(dir, &format!("{prefix}.max_usage_in_bytes"))?,
        failcnt: number(dir, &format!("{prefix}.failcnt"))?,
    })
}

/// The counters of the io scheduler in use, the throttling layer's if it has none. Which one that
/// is shows in its first file having lines (runc's order of asking).
fn blkio(dir: &Path) -> Result<Blkio> {
    type Field = fn(&mut Blkio) -> &mut Vec<BlkioEntry>;
    let bytes: Field = |io| &mut io.io_service_bytes_recursive;
    let count: Field = |io| &mut io.io_serviced_recursive;
    let scheduler: [(&str, Field); 8] = [
        ("sectors_recursive", |io| &mut io.sectors_recursive),
        ("io_service_time_recursive", |io| {
            &mut io.io_service_time_recursive
        }),
        ("io_wait_time_recursive", |io| {
            &mut io.io_wait_time_recursive
        }),
        ("io_merged_recursive", |io| &mut io.io_merged_recursive),
        ("io_queued_recursive", |io| &mut io.io_queued_recursive),
        ("time_recursive", |io| &mut io.io_time_recursive),
        ("io_serviced_recursive", count),
        ("io_service_bytes_recursive", bytes),
    ];
    let groups: [(&str, &[(&str, Field)]); 5] = [
        ("blkio.bfq.", &scheduler),
        ("blkio.bfq.", &scheduler[6..]),
        ("blkio.", &scheduler),
        ("blkio.throttle.", &scheduler[6..]),
        (
            "blkio.throttle.",
            &[("io_serviced", count), ("io_service_bytes", bytes)],
        ),
    ];
    let mut out = Blkio::default();
    for (prefix, files) in groups {
        for (index, (name, field)) in files.iter().enumerate() {
            let text = file::read_optional(dir, &format!("{prefix}{name}"))?.unwrap_or_default();
            let entries: Vec<_> = text.lines().filter_map(blkio_entry).collect();
            if entries.is_empty() {
                match index {
                    0 => break,
                    _ => return Ok(out),
                }
            }
            *field(&mut out) = entries;
            if index + 1 == files.len() {
                return Ok(out);
            }
        }
    }
    Ok(out)
}

/// `8:0 Read 1024` or `8:0 1024`; the line of the grand total is none.
fn blkio_entry(line: &str) -> Option<BlkioEntry> {
    let words: Vec<_> = line
        .split([' ', ':'])
        .filter(|word| !word.is_empty())
        .collect();
    let (major, minor, op, value) = match words[..] {
        [major, minor, value] => (major, minor, "", value),
        [major, minor, op, value] => (major, minor, op, value),
        _ => return None,
    };
    Some(BlkioEntry {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        op: op.to_owned(),
        value: value.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::testing::FakeHost;

    #[test]
    fn lists_of_cpus() {
        assert_eq!(numbers("0-2,7"), [0, 1, 2, 7]);
        assert_eq!(numbers(""), Vec::<u16>::new());
    }

    #[test]
    fn the_first_layer_with_counters_is_taken() {
        let fake = FakeHost::legacy(&["blkio"]);
        let files = [
            "blkio.bfq.io_serviced_recursive",
            "blkio.bfq.io_service_bytes_recursive",
            "blkio.throttle.io_serviced_recursive",
            "blkio.throttle.io_service_bytes_recursive",
        ];
        let cgroup = fake.cgroup(&files);
        let dir = cgroup.dir_of("blkio").unwrap();
        assert_eq!(blkio(dir).unwrap(), Blkio::default());
        std::fs::write(dir.join(files[2]), "8:0 Read 3\n8:0 Total 3\nTotal 3\n").unwrap();
        std::fs::write(dir.join(files[3]), "8:0 Write 512\nTotal 512\n").unwrap();
        let io = blkio(dir).unwrap();
        assert_eq!(io.io_serviced_recursive.len(), 2);
        assert_eq!(io.io_service_bytes_recursive[0].value, 512);
        std::fs::write(dir.join(files[0]), "8:0 Read 9\n").unwrap();
        let io = blkio(dir).unwrap();
        assert_eq!(io.io_serviced_recursive[0].value, 9);
        let json = serde_json::to_string(&io).unwrap();
        assert_eq!(
            json,
            r#"{"ioServicedRecursive":[{"major":8,"op":"Read","value":9}]}"#
        );
    }
}
