//! What the bundle says already, so that an option of the guest can't say it too. It must not look at
//! the host.

use std::path::Path;

use super::Input;
use super::amend::{LOCALTIME, RESOLV_CONF};
use super::limits::{cpu, cpuset, memory};
use crate::backend::proxmox::options::props;

/// The field of config.json that says what an annotation wants to say.
pub fn by(input: &Input<'_>, option: &str, value: &str) -> Option<&'static str> {
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
        "nameserver" | "searchdomain" => {
            (mounts_on(input, RESOLV_CONF), "a mount on /etc/resolv.conf")
        }
        "timezone" => (mounts_on(input, LOCALTIME), "a mount on /etc/localtime"),
        _ if is_device(option) => return device(input, value),
        _ => return None,
    };
    there.then_some(json)
}

fn mounts_on(input: &Input<'_>, target: &str) -> bool {
    let mut mounts = input.spec.mounts().iter().flatten();
    mounts.any(|mount| mount.destination() == Path::new(target))
}

/// `devN`.
pub fn is_device(option: &str) -> bool {
    let number = option.strip_prefix("dev");
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

fn device(input: &Input<'_>, value: &str) -> Option<&'static str> {
    let path = Path::new(props::get(value, "path", "path")?);
    let devices = input.spec.linux().as_ref()?.devices().iter().flatten();
    let there = devices.into_iter().any(|device| device.path() == path);
    there.then_some("linux.devices")
}
