//! `linux.resources` as Proxmox shows it, and the lines that keep Proxmox's own limits away from
//! the cgroup: what is in force there is written by pxrun, to the byte. It must not write anything.

use std::collections::BTreeMap;

use oci_spec::runtime::{LinuxCpu, LinuxMemory};

use super::Input;

const MIB: i64 = 1 << 20;

/// Least memory that Proxmox takes for a guest, in MiB.
const LEAST: u64 = 16;

/// Memory, swap and processor time, in Proxmox's units.
pub fn options(input: &Input<'_>, options: &mut BTreeMap<String, String>) {
    let mut set = |name: &str, value: String| options.insert(name.to_owned(), value);
    let memory = memory(input);
    let limit = memory.and_then(|m| m.limit()).filter(|limit| *limit > 0);
    // There is no "unlimited" for Proxmox: a guest without a limit may use the host's memory.
    let shown = limit.map_or(input.host.memory, mib_up).max(LEAST);
    set("memory", shown.to_string());
    set("swap", swap(input, limit).to_string());
    if let Some(cpus) = cpulimit(cpu(input)) {
        set("cpulimit", cpus);
    }
    if let Some(shares) = cpu(input)
        .and_then(|cpu| cpu.shares())
        .filter(|shares| *shares > 0)
    {
        set("cpuunits", crate::cgroup::weight(shares).to_string());
    }
}

fn memory<'a>(input: &Input<'a>) -> Option<&'a LinuxMemory> {
    let resources = input.spec.linux().as_ref()?.resources().as_ref()?;
    resources.memory().as_ref()
}

fn cpu<'a>(input: &Input<'a>) -> Option<&'a LinuxCpu> {
    let resources = input.spec.linux().as_ref()?.resources().as_ref()?;
    resources.cpu().as_ref()
}

fn mib_up(bytes: i64) -> u64 {
    u64::try_from(bytes / MIB + i64::from(bytes % MIB != 0)).unwrap_or(0)
}

/// OCI counts memory and swap together, Proxmox swap alone.
fn swap(input: &Input<'_>, limit: Option<i64>) -> u64 {
    let total = memory(input).and_then(|m| m.swap());
    match (total, limit) {
        (Some(total), Some(limit)) if total > 0 => mib_up((total - limit).max(0)),
        _ => input.host.swap,
    }
}

/// Quota by period, as a number of processors with at most three decimals, never rounded to 0.
fn cpulimit(cpu: Option<&LinuxCpu>) -> Option<String> {
    let quota = cpu?.quota().filter(|quota| *quota > 0)?;
    let period = cpu?
        .period()
        .filter(|period| *period > 0)
        .unwrap_or(100_000);
    let thousandths = (i128::from(quota) * 1_000)
        .div_euclid(i128::from(period))
        .clamp(1, 8_192_000);
    let text = format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000);
    Some(text.trim_end_matches('0').trim_end_matches('.').to_owned())
}

/// The field of config.json that says what an annotation wants to say.
pub fn said_by(input: &Input<'_>, option: &str) -> Option<&'static str> {
    let memory = memory(input);
    let cpu = cpu(input);
    let (there, json) = match option {
        "memory" => (
            memory.is_some_and(|m| m.limit().is_some_and(|l| l > 0)),
            "linux.resources.memory.limit",
        ),
        "swap" => (
            memory.is_some_and(|m| m.swap().is_some_and(|s| s > 0)),
            "linux.resources.memory.swap",
        ),
        "cpulimit" => (
            cpu.is_some_and(|c| c.quota().is_some_and(|q| q > 0)),
            "linux.resources.cpu.quota",
        ),
        "cpuunits" => (
            cpu.is_some_and(|c| c.shares().is_some_and(|s| s > 0)),
            "linux.resources.cpu.shares",
        ),
        "cores" => (cpuset(input).is_some(), "linux.resources.cpu.cpus"),
        _ => return None,
    };
    there.then_some(json)
}

fn cpuset<'a>(input: &Input<'a>) -> Option<&'a str> {
    cpu(input)?
        .cpus()
        .as_deref()
        .filter(|cpus| !cpus.is_empty())
}

/// Lines for the guest's own file: with a cpuset there, pvestatd leaves the guest's alone.
pub fn own_lines(input: &Input<'_>) -> Vec<(String, String)> {
    let key = match input.host.cgroup_v2 {
        true => "lxc.cgroup2.cpuset.cpus",
        false => "lxc.cgroup.cpuset.cpus",
    };
    let line = |cpus: &str| (key.to_owned(), cpus.to_owned());
    cpuset(input).map(line).into_iter().collect()
}

/// Takes back the limits that Proxmox generates from the options above, whichever version of
/// cgroups it generates them for. An empty value clears what came before it.
pub fn lifted() -> Vec<(String, String)> {
    [
        "lxc.cgroup2.memory.max",
        "lxc.cgroup2.memory.high",
        "lxc.cgroup2.memory.swap.max",
        "lxc.cgroup2.cpu.max",
        "lxc.cgroup2.cpu.weight",
        "lxc.cgroup.memory.limit_in_bytes",
        "lxc.cgroup.memory.memsw.limit_in_bytes",
        "lxc.cgroup.cpu.cfs_period_us",
        "lxc.cgroup.cpu.cfs_quota_us",
        "lxc.cgroup.cpu.shares",
    ]
    .map(|key| (key.to_owned(), String::new()))
    .to_vec()
}
