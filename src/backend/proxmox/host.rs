//! What the translation needs to know of this host, as a value. It must not decide anything.

use super::translate::Host;
use crate::cgroup::{Cgroup, Setup};

/// Looks at the host.
pub fn facts(cgroup: &Cgroup) -> Host {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Host {
        memory: mib(&text, "MemTotal:"),
        swap: mib(&text, "SwapTotal:"),
        cgroup_v2: cgroup.setup() == Setup::Unified,
        arch: arch(),
    }
}

fn mib(meminfo: &str, key: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

/// The architecture in Proxmox's words.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "i386",
        "aarch64" => "arm64",
        "arm" => "armhf",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_mebibytes() {
        let text = "MemTotal:       16384000 kB\nMemFree: 1 kB\nSwapTotal:             0 kB\n";
        assert_eq!(mib(text, "MemTotal:"), 16_000);
        assert_eq!(mib(text, "SwapTotal:"), 0);
        assert_eq!(mib("", "MemTotal:"), 0);
    }
}
