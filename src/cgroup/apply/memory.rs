//! `linux.resources.memory`: limits, swap, reservation, swappiness, the OOM killer.
//! It must not touch other controllers.

use oci_spec::runtime::LinuxMemory;

use super::super::{Result, file};
use super::{Applier, HIERARCHY, KERNEL, KERNEL_TCP, limit};

const LIMIT: &str = "linux.resources.memory.limit";
const SWAP: &str = "linux.resources.memory.swap";
const TCP: &str = "linux.resources.memory.kernelTCP";
const RESERVATION: &str = "linux.resources.memory.reservation";
const SWAPPINESS: &str = "linux.resources.memory.swappiness";
const OOM: &str = "linux.resources.memory.disableOOMKiller";

impl Applier<'_> {
    pub(super) fn memory(&mut self) -> Result<()> {
        let Some(memory) = *self.resources.memory() else {
            return Ok(());
        };
        // oci-spec marks the field as deprecated; that it is set is all that is asked of it.
        #[allow(deprecated)]
        let kernel = memory.kernel();
        for (asked, warning) in [
            (kernel.is_some_and(|bytes| bytes != 0), KERNEL),
            (
                memory.kernel_tcp().is_some_and(|bytes| bytes != 0) && self.v2(),
                KERNEL_TCP,
            ),
            (memory.use_hierarchy() == Some(false), HIERARCHY),
        ] {
            if asked {
                self.warn(warning);
            }
        }
        if self.v2() {
            self.memory_v2(&memory)
        } else {
            self.memory_v1(&memory)
        }
    }

    fn memory_v1(&self, memory: &LinuxMemory) -> Result<()> {
        self.limits_v1(memory)?;
        if let Some(bytes) = set(memory.reservation()) {
            self.write(
                RESERVATION,
                "memory.soft_limit_in_bytes",
                &bytes.to_string(),
            )?;
        }
        if let Some(bytes) = set(memory.kernel_tcp()) {
            self.write(TCP, "memory.kmem.tcp.limit_in_bytes", &bytes.to_string())?;
        }
        if memory.disable_oom_killer() == Some(true) {
            self.write(OOM, "memory.oom_control", "1")?;
        }
        match memory.swappiness() {
            // -1 as an unsigned number: callers' way of saying nothing.
            None | Some(u64::MAX) => Ok(()),
            Some(value @ 0..=100) => {
                self.write(SWAPPINESS, "memory.swappiness", &value.to_string())
            }
            Some(value) => Err(limit(
                SWAPPINESS,
                format!("`{value}` isn't between 0 and 100"),
            )),
        }
    }

    /// The memory limit may never be above that of memory and swap together, at no moment of a
    /// change, so the order depends on which way it goes (cgroup-v1/memory.rst, 5).
    fn limits_v1(&self, memory: &LinuxMemory) -> Result<()> {
        let bytes = set(memory.limit());
        let mut both = set(memory.swap());
        if bytes == Some(-1) && both.is_none() && self.has("memory", "memory.memsw.limit_in_bytes")
        {
            both = Some(-1);
        }
        if let (Some(bytes), Some(swap)) = (bytes, both) {
            let dir = self.dir(LIMIT, "memory")?;
            let current = file::read_number(dir, "memory.limit_in_bytes")?.unwrap_or(u64::MAX);
            if swap == -1 || u64::try_from(swap).is_ok_and(|swap| current < swap) {
                self.swap_v1(swap)?;
                return self.limit_v1(bytes);
            }
        }
        bytes.map_or(Ok(()), |bytes| self.limit_v1(bytes))?;
        both.map_or(Ok(()), |swap| self.swap_v1(swap))
    }

    fn swap_v1(&self, bytes: i64) -> Result<()> {
        self.write(SWAP, "memory.memsw.limit_in_bytes", &bytes.to_string())
    }

    fn limit_v1(&self, bytes: i64) -> Result<()> {
        let result = self.write(LIMIT, "memory.limit_in_bytes", &bytes.to_string());
        match result {
            Err(error) if error.errno() == Some(libc::EBUSY) => {
                let dir = self.dir(LIMIT, "memory")?;
                let usage = file::read_number(dir, "memory.usage_in_bytes")?.unwrap_or(0);
                let peak = file::read_number(dir, "memory.max_usage_in_bytes")?.unwrap_or(0);
                Err(limit(
                    LIMIT,
                    format!(
                        "unable to set memory limit to {bytes} (current usage: {usage}, peak usage: {peak})"
                    ),
                ))
            }
            result => result,
        }
    }

    fn memory_v2(&self, memory: &LinuxMemory) -> Result<()> {
        if memory.disable_oom_killer() == Some(true) {
            return Err(limit(OOM, "cgroup version 2 can't disable the OOM killer"));
        }
        if memory.swappiness().is_some_and(|value| value != u64::MAX) {
            return Err(limit(SWAPPINESS, "cgroup version 2 has no swappiness"));
        }
        if memory.check_before_update() == Some(true) {
            self.check_usage(memory)?;
        }
        if let Some(swap) = swap_v2(memory)? {
            self.set_swap_v2(&swap)?;
        }
        if let Some(bytes) = set(memory.limit()) {
            self.write(LIMIT, "memory.max", &number(bytes))?;
        }
        match set(memory.reservation()) {
            Some(bytes) => self.write(RESERVATION, "memory.low", &number(bytes)),
            None => Ok(()),
        }
    }

    /// Without swap accounting, "no limit" and "no swap" are what there is already.
    fn set_swap_v2(&self, swap: &str) -> Result<()> {
        let trivial = swap == "max" || swap == "0";
        if trivial && self.has("memory", "memory.current") && !self.has("memory", "memory.swap.max")
        {
            return Ok(());
        }
        self.write(SWAP, "memory.swap.max", swap)
    }

    /// Version 2 kills to get below a new limit; this asks for an error instead.
    fn check_usage(&self, memory: &LinuxMemory) -> Result<()> {
        let dir = self.dir(LIMIT, "memory")?;
        let Some(usage) = file::read_number(dir, "memory.current")? else {
            return Ok(());
        };
        for (json, what, bytes) in [
            (SWAP, "memory+swap limit", memory.swap()),
            (LIMIT, "memory limit", memory.limit()),
        ] {
            match bytes.map(u64::try_from) {
                Some(Ok(bytes)) if bytes != 0 && bytes <= usage => {
                    return Err(limit(
                        json,
                        format!("rejecting {what} {bytes} <= usage {usage}"),
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn write(&self, json: &str, name: &str, value: &str) -> Result<()> {
        self.set(json, "memory", name, value)
    }
}

fn set(value: Option<i64>) -> Option<i64> {
    value.filter(|value| *value != 0)
}

fn number(bytes: i64) -> String {
    match bytes {
        -1 => "max".to_owned(),
        bytes => bytes.to_string(),
    }
}

/// The spec's swap is memory and swap together, as on version 1; version 2 counts swap alone.
fn swap_v2(memory: &LinuxMemory) -> Result<Option<String>> {
    let bytes = memory.limit().unwrap_or(0);
    match (memory.swap().unwrap_or(0), bytes) {
        (0, -1) | (-1, _) => Ok(Some("max".to_owned())),
        (0, _) => Ok(None),
        (swap, -1) => Ok(Some(swap.to_string())),
        (_, 0) => Err(limit(SWAP, "unable to set swap limit without memory limit")),
        (_, bytes) if bytes < 0 => Err(limit(LIMIT, format!("invalid memory value: {bytes}"))),
        (swap, bytes) if swap < bytes => {
            Err(limit(SWAP, "memory+swap limit should be >= memory limit"))
        }
        (swap, bytes) => Ok(Some((swap - bytes).to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, refuse, run};
    use super::*;
    use crate::cgroup::testing::{FakeHost, Real};

    const V2: [&str; 4] = [
        "memory.max",
        "memory.swap.max",
        "memory.low",
        "memory.current",
    ];

    #[test]
    fn version_2() {
        check(
            &FakeHost::unified(),
            &V2[..3],
            &[
                (r#"{"memory":{"limit":1000}}"#, &["memory.max=1000"]),
                (
                    r#"{"memory":{"limit":1000,"swap":1000}}"#,
                    &["memory.max=1000", "memory.swap.max=0"],
                ),
                (
                    r#"{"memory":{"limit":1000,"swap":1500}}"#,
                    &["memory.max=1000", "memory.swap.max=500"],
                ),
                (
                    r#"{"memory":{"limit":1000,"swap":-1}}"#,
                    &["memory.max=1000", "memory.swap.max=max"],
                ),
                (
                    r#"{"memory":{"limit":-1}}"#,
                    &["memory.max=max", "memory.swap.max=max"],
                ),
                (
                    r#"{"memory":{"limit":-1,"swap":9}}"#,
                    &["memory.max=max", "memory.swap.max=9"],
                ),
                (r#"{"memory":{"reservation":7}}"#, &["memory.low=7"]),
                (r#"{"memory":{"reservation":-1}}"#, &["memory.low=max"]),
            ],
        );
    }

    #[test]
    fn version_2_refusals() {
        refuse(
            &FakeHost::unified(),
            &V2,
            &[
                (
                    r#"{"memory":{"swap":5}}"#,
                    "linux.resources.memory.swap: unable",
                ),
                (
                    r#"{"memory":{"limit":6,"swap":5}}"#,
                    "linux.resources.memory.swap: memory+swap",
                ),
                (
                    r#"{"memory":{"limit":-6,"swap":5}}"#,
                    "linux.resources.memory.limit: invalid",
                ),
                (
                    r#"{"memory":{"swappiness":60}}"#,
                    "linux.resources.memory.swappiness: ",
                ),
                (
                    r#"{"memory":{"disableOOMKiller":true}}"#,
                    "linux.resources.memory.disableOOMKiller: ",
                ),
            ],
        );
        refuse(
            &FakeHost::unified(),
            &[],
            &[
                (
                    r#"{"memory":{"limit":5}}"#,
                    "linux.resources.memory.limit: ",
                ),
                (
                    r#"{"memory":{"limit":5,"swap":5}}"#,
                    "linux.resources.memory.swap: ",
                ),
                (
                    r#"{"memory":{"reservation":5}}"#,
                    "linux.resources.memory.reservation: ",
                ),
            ],
        );
    }

    #[test]
    fn a_host_without_swap_accounting_takes_trivial_swap_limits() {
        let fake = FakeHost::unified();
        let files = ["memory.max", "memory.current"];
        run(&fake.cgroup(&files), r#"{"memory":{"limit":5,"swap":5}}"#).unwrap();
        assert!(run(&fake.cgroup(&files), r#"{"memory":{"limit":5,"swap":6}}"#).is_err());
    }

    #[test]
    fn usage_is_checked_before_an_update() {
        let fake = FakeHost::unified();
        let cgroup = fake.cgroup(&V2);
        std::fs::write(cgroup.path().unwrap().join("memory.current"), "100\n").unwrap();
        let ask = |bytes: u64, check: bool| {
            run(
                &cgroup,
                &format!(r#"{{"memory":{{"limit":{bytes},"checkBeforeUpdate":{check}}}}}"#),
            )
        };
        assert_eq!(
            ask(100, true).unwrap_err().to_string(),
            "linux.resources.memory.limit: rejecting memory limit 100 <= usage 100"
        );
        ask(101, true).unwrap();
        ask(50, false).unwrap();
    }

    #[test]
    fn version_1() {
        let files = [
            "memory.limit_in_bytes",
            "memory.memsw.limit_in_bytes",
            "memory.soft_limit_in_bytes",
            "memory.oom_control",
            "memory.swappiness",
        ];
        check(
            &FakeHost::legacy(&["memory"]),
            &files,
            &[
                (
                    r#"{"memory":{"reservation":7}}"#,
                    &["memory.soft_limit_in_bytes=7"],
                ),
                (
                    r#"{"memory":{"disableOOMKiller":true}}"#,
                    &["memory.oom_control=1"],
                ),
                (r#"{"memory":{"swappiness":0}}"#, &["memory.swappiness=0"]),
                (r#"{"memory":{"swappiness":18446744073709551615}}"#, &[]),
            ],
        );
        refuse(
            &FakeHost::legacy(&["memory"]),
            &files,
            &[(
                r#"{"memory":{"swappiness":101}}"#,
                "linux.resources.memory.swappiness: `101`",
            )],
        );
        refuse(
            &FakeHost::legacy(&["memory"]),
            &files[..1],
            &[(
                r#"{"memory":{"swap":9}}"#,
                "linux.resources.memory.swap: this kernel has no",
            )],
        );
    }

    #[test]
    fn lifting_the_memory_limit_lifts_that_of_swap_on_version_1() {
        let fake = FakeHost::legacy(&["memory"]);
        let files = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"];
        for (present, expected) in [(&files[..], "-1"), (&files[..1], "")] {
            let cgroup = fake.cgroup(present);
            let dir = cgroup.dir_of("memory").unwrap();
            let swap = dir.join(files[1]);
            std::fs::write(dir.join(files[0]), "4096\n").unwrap();
            run(&cgroup, r#"{"memory":{"limit":-1}}"#).unwrap();
            assert_eq!(fake.read(&cgroup, "memory", files[0]), "-1");
            assert_eq!(std::fs::read_to_string(&swap).unwrap_or_default(), expected);
            let _ = std::fs::remove_file(&swap);
        }
    }

    #[test]
    fn limits_go_up_and_down() {
        let real = Real::created();
        let Some(memory) = real.cgroup.v1("memory") else {
            println!("no version 1 memory controller here");
            return;
        };
        for (bytes, swap) in [
            (64, 128),
            (256, 512),
            (32, 32),
            (512, 512),
            (128, 1024),
            (-1, 0),
            (64, 64),
        ] {
            let mega = |count: i64| if count > 0 { count << 20 } else { count };
            let (bytes, swap) = (mega(bytes), mega(swap));
            run(
                &real.cgroup,
                &format!(r#"{{"memory":{{"limit":{bytes},"swap":{swap}}}}}"#),
            )
            .unwrap();
            let limit = file::read_number(&memory.dir, "memory.limit_in_bytes")
                .unwrap()
                .unwrap();
            let unlimited = u64::MAX >> 1;
            assert_eq!(limit, u64::try_from(bytes).unwrap_or(unlimited) & !4095);
        }
        let error = run(&real.cgroup, r#"{"memory":{"swap":1000}}"#).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("linux.resources.memory.swap: "),
            "{error}"
        );
    }
}
