//! `linux.resources` as Proxmox shows it, and the lines that keep Proxmox's own limits away from
//! the cgroup: what is in force there is written by pxrun, to the byte. It must not write anything.

use std::collections::BTreeMap;

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};

use super::{Host, Input};

const MIB: i64 = 1 << 20;

/// Least memory that Proxmox takes for a guest, in MiB.
const LEAST: u64 = 16;

/// Memory, swap and processor time of a new guest, in Proxmox's units.
pub fn options(input: &Input<'_>, options: &mut BTreeMap<String, String>) {
    let none = LinuxResources::default();
    let resources = resources(input).unwrap_or(&none);
    let limit = limit(resources);
    // There is no "unlimited" for Proxmox: a guest without a limit may use the host's memory.
    let memory = limit.map_or(input.host.memory, mib_up).max(LEAST);
    options.insert("memory".to_owned(), memory.to_string());
    options.insert("swap".to_owned(), input.host.swap.to_string());
    options.extend(shown(resources, input.host));
}

/// What of these resources Proxmox shows: those that are set, and no others.
pub fn shown(resources: &LinuxResources, host: Host) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    let mut set = |name: &str, value: String| options.insert(name.to_owned(), value);
    let memory = resources.memory().as_ref();
    let limit = limit(resources);
    match (memory.and_then(|m| m.limit()), limit) {
        (_, Some(limit)) => drop(set("memory", mib_up(limit).max(LEAST).to_string())),
        (Some(_), None) => drop(set("memory", host.memory.max(LEAST).to_string())),
        (None, None) => {}
    }
    // OCI counts memory and swap together, Proxmox swap alone.
    match (memory.and_then(|m| m.swap()), limit) {
        (Some(total), Some(limit)) if total > 0 => {
            set("swap", mib_up((total - limit).max(0)).to_string());
        }
        (Some(_), _) => drop(set("swap", host.swap.to_string())),
        (None, _) => {}
    }
    let cpu = resources.cpu().as_ref();
    if let Some(cpus) = cpulimit(cpu) {
        set("cpulimit", cpus);
    }
    let shares = cpu.and_then(|cpu| cpu.shares());
    if let Some(shares) = shares.filter(|shares| *shares > 0) {
        set("cpuunits", crate::cgroup::weight(shares).to_string());
    }
    options
}

fn resources<'a>(input: &Input<'a>) -> Option<&'a LinuxResources> {
    input.spec.linux().as_ref()?.resources().as_ref()
}

/// The memory limit, where there is one.
fn limit(resources: &LinuxResources) -> Option<i64> {
    let memory = resources.memory().as_ref()?;
    memory.limit().filter(|limit| *limit > 0)
}

/// The bundle's limits of memory.
pub fn memory<'a>(input: &Input<'a>) -> Option<&'a LinuxMemory> {
    resources(input)?.memory().as_ref()
}

/// The bundle's limits of processor time.
pub fn cpu<'a>(input: &Input<'a>) -> Option<&'a LinuxCpu> {
    resources(input)?.cpu().as_ref()
}

fn mib_up(bytes: i64) -> u64 {
    u64::try_from(bytes / MIB + i64::from(bytes % MIB != 0)).unwrap_or(0)
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

/// The processors that the bundle names.
pub fn cpuset<'a>(input: &Input<'a>) -> Option<&'a str> {
    cpu(input)?
        .cpus()
        .as_deref()
        .filter(|cpus| !cpus.is_empty())
}

/// Lines for the guest's own file. With a cpuset there, pvestatd leaves the guest's alone.
pub fn own_lines(input: &Input<'_>) -> Vec<(String, String)> {
    let key = match input.host.cgroup_v2 {
        true => "lxc.cgroup2.cpuset.cpus",
        false => "lxc.cgroup.cpuset.cpus",
    };
    let cpus = cpuset(input).map(|cpus| (key.to_owned(), cpus.to_owned()));
    // An empty filter keeps Proxmox from generating one: the first process loads the bundle's own.
    let filter = ("lxc.seccomp.profile".to_owned(), String::new());
    cpus.into_iter().chain([filter]).collect()
}

/// Takes back what Proxmox generates, and what the configuration has that it includes, whichever
/// version of cgroups it is for: all of it is pxrun's to do. An empty value clears what came before
/// it. Proxmox's own hooks stay; they mount the root.
pub fn lifted() -> Vec<(String, String)> {
    [
        "lxc.cgroup2.memory.max",
        "lxc.cgroup2.memory.high",
        "lxc.cgroup2.memory.swap.max",
        "lxc.cgroup2.cpu.max",
        "lxc.cgroup2.cpu.weight",
        "lxc.cgroup2.devices.deny",
        "lxc.cgroup2.devices.allow",
        "lxc.cgroup.memory.limit_in_bytes",
        "lxc.cgroup.memory.memsw.limit_in_bytes",
        "lxc.cgroup.cpu.cfs_period_us",
        "lxc.cgroup.cpu.cfs_quota_us",
        "lxc.cgroup.cpu.shares",
        "lxc.cgroup.devices.deny",
        "lxc.cgroup.devices.allow",
        "lxc.cgroup.dir.container.inner",
        "lxc.environment",
        "lxc.hook.autodev",
        "lxc.hook.mount",
        "lxc.mount.entry",
        "lxc.uts.name",
    ]
    .map(|key| (key.to_owned(), String::new()))
    .to_vec()
}
