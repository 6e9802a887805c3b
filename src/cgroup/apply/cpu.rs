//! `linux.resources.cpu`: shares, bandwidth, real-time and cpusets.
//! It must not touch other controllers.

use oci_spec::runtime::LinuxCpu;

use super::super::{CgroupError, Result, file};
use super::{Applier, explain, limit};

const SHARES: &str = "linux.resources.cpu.shares";
const QUOTA: &str = "linux.resources.cpu.quota";
const PERIOD: &str = "linux.resources.cpu.period";
const BURST: &str = "linux.resources.cpu.burst";
const IDLE: &str = "linux.resources.cpu.idle";
const RT_RUNTIME: &str = "linux.resources.cpu.realtimeRuntime";
const RT_PERIOD: &str = "linux.resources.cpu.realtimePeriod";

impl Applier<'_> {
    pub(super) fn cpu(&mut self) -> Result<()> {
        let Some(cpu) = self.resources.cpu().clone() else {
            return Ok(());
        };
        if let Some(idle) = cpu.idle() {
            // First: an idle cgroup takes no weight.
            self.set(IDLE, "cpu", "cpu.idle", &idle.to_string())?;
        }
        if self.v2() {
            self.cpu_v2(&cpu)
        } else {
            self.cpu_v1(&cpu)
        }
    }

    pub(super) fn cpuset(&mut self) -> Result<()> {
        let Some(cpu) = self.resources.cpu() else {
            return Ok(());
        };
        for (json, name, value) in [
            ("linux.resources.cpu.cpus", "cpuset.cpus", cpu.cpus()),
            ("linux.resources.cpu.mems", "cpuset.mems", cpu.mems()),
        ] {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                self.set(json, "cpuset", name, value)?;
            }
        }
        Ok(())
    }

    fn cpu_v1(&self, cpu: &LinuxCpu) -> Result<()> {
        if let Some(shares) = set_u64(cpu.shares()) {
            self.shares_v1(shares)?;
        }
        let period = set_u64(cpu.period()).map(|period| period.to_string());
        let quota = set_i64(cpu.quota()).map(|quota| quota.to_string());
        let burst = cpu.burst().map(|burst| burst.to_string());
        // Depending on the old values, one of them may only fit after the quota is set (EINVAL).
        let late = quota.is_some();
        let period = self.early(PERIOD, "cpu.cfs_period_us", period, late)?;
        let burst = self.early(BURST, "cpu.cfs_burst_us", burst, late)?;
        if let Some(quota) = quota {
            self.set(QUOTA, "cpu", "cpu.cfs_quota_us", &quota)?;
        }
        self.early(PERIOD, "cpu.cfs_period_us", period, false)?;
        self.early(BURST, "cpu.cfs_burst_us", burst, false)?;
        // The period before the runtime, which must fit in it.
        if let Some(period) = set_u64(cpu.realtime_period()) {
            self.set(RT_PERIOD, "cpu", "cpu.rt_period_us", &period.to_string())?;
        }
        if let Some(runtime) = set_i64(cpu.realtime_runtime()) {
            self.set(RT_RUNTIME, "cpu", "cpu.rt_runtime_us", &runtime.to_string())?;
        }
        Ok(())
    }

    /// The kernel moves shares into its range without a word, so they are read back.
    fn shares_v1(&self, shares: u64) -> Result<()> {
        self.set(SHARES, "cpu", "cpu.shares", &shares.to_string())?;
        let read = file::read_number(self.dir(SHARES, "cpu")?, "cpu.shares")?;
        let bound = match read {
            Some(read) if shares > read => "maximum",
            Some(read) if shares < read => "minimum",
            _ => return Ok(()),
        };
        let read = read.unwrap_or(0);
        Err(limit(
            SHARES,
            format!("the {bound} allowed cpu-shares is {read}"),
        ))
    }

    /// Writes a value if there is one; gives it back if it can only be written later.
    fn early(
        &self,
        json: &str,
        name: &str,
        value: Option<String>,
        late: bool,
    ) -> Result<Option<String>> {
        let Some(value) = value else { return Ok(None) };
        match self.set(json, "cpu", name, &value) {
            Err(error) if late && error.errno() == Some(libc::EINVAL) => Ok(Some(value)),
            result => result.map(|()| None),
        }
    }

    fn cpu_v2(&self, cpu: &LinuxCpu) -> Result<()> {
        for (json, asked) in [
            (
                RT_RUNTIME,
                cpu.realtime_runtime().is_some_and(|runtime| runtime != 0),
            ),
            (
                RT_PERIOD,
                cpu.realtime_period().is_some_and(|period| period != 0),
            ),
        ] {
            if asked {
                return Err(limit(json, "cgroup version 2 has no real-time bandwidth"));
            }
        }
        if let Some(shares) = set_u64(cpu.shares()) {
            let weight = weight(shares).to_string();
            self.set(SHARES, "cpu", "cpu.weight", &weight)?;
        }
        let quota = set_i64(cpu.quota());
        let period = set_u64(cpu.period());
        let burst = cpu.burst().map(|burst| burst.to_string());
        let burst = self.early(BURST, "cpu.max.burst", burst, quota.is_some())?;
        if quota.is_some() || period.is_some() {
            self.bandwidth_v2(quota, period)?;
        }
        self.early(BURST, "cpu.max.burst", burst, false).map(drop)
    }

    /// `cpu.max` is "QUOTA PERIOD"; with one of them, the other keeps its value.
    fn bandwidth_v2(&self, quota: Option<i64>, period: Option<u64>) -> Result<()> {
        let json = if quota.is_some() { QUOTA } else { PERIOD };
        let dir = self.dir(json, "cpu")?;
        let quota = match quota {
            Some(quota) if quota > 0 => quota.to_string(),
            Some(_) => "max".to_owned(),
            None => self.current_quota(json)?,
        };
        let value = match period {
            Some(period) => format!("{quota} {period}"),
            None => quota,
        };
        file::write(dir, "cpu.max", &value).map_err(|error| explain(json, "cpu", dir, error))
    }

    fn current_quota(&self, json: &str) -> Result<String, CgroupError> {
        let dir = self.dir(json, "cpu")?;
        let current = file::read_optional(dir, "cpu.max")?.unwrap_or_default();
        Ok(current
            .split(' ')
            .next()
            .filter(|quota| !quota.is_empty())
            .unwrap_or("max")
            .to_owned())
    }
}

fn set_u64(value: Option<u64>) -> Option<u64> {
    value.filter(|value| *value != 0)
}

fn set_i64(value: Option<i64>) -> Option<i64> {
    value.filter(|value| *value != 0)
}

/// Shares of version 1 (2 to 262144, 1024 by default) as a weight of version 2 (1 to 10000, 100 by
/// default): a curve through both ends and the default (OCI runtime spec 1.3, crun, runc 1.3.2).
pub fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, golden, refuse, run};
    use super::*;
    use crate::cgroup::testing::{FakeHost, Real};

    #[test]
    fn shares_become_weights() {
        for (shares, expected) in [
            (1, 1),
            (2, 1),
            (3, 2),
            (100, 17),
            (512, 59),
            (1024, 100),
            (2048, 174),
            (262_143, 10_000),
            (262_144, 10_000),
            (u64::MAX, 10_000),
        ] {
            assert_eq!(weight(shares), expected, "{shares}");
        }
    }

    const V2: [&str; 6] = [
        "cpu.weight",
        "cpu.max",
        "cpu.max.burst",
        "cpu.idle",
        "cpuset.cpus",
        "cpuset.mems",
    ];

    #[test]
    fn version_2() {
        check(
            &FakeHost::unified(),
            &V2,
            &[
                (r#"{"cpu":{"shares":1024}}"#, &["cpu.weight=100"]),
                (
                    r#"{"cpu":{"quota":50000,"period":100000}}"#,
                    &["cpu.max=50000 100000"],
                ),
                (
                    r#"{"cpu":{"quota":-1,"period":1000}}"#,
                    &["cpu.max=max 1000"],
                ),
                (r#"{"cpu":{"quota":7000}}"#, &["cpu.max=7000"]),
                (r#"{"cpu":{"period":2000}}"#, &["cpu.max=max 2000"]),
                (
                    r#"{"cpu":{"quota":7000,"burst":3000}}"#,
                    &["cpu.max=7000", "cpu.max.burst=3000"],
                ),
                (r#"{"cpu":{"idle":1}}"#, &["cpu.idle=1"]),
                (
                    r#"{"cpu":{"cpus":"0-1","mems":"0"}}"#,
                    &["cpuset.cpus=0-1", "cpuset.mems=0"],
                ),
            ],
        );
    }

    #[test]
    fn a_period_alone_keeps_the_quota() {
        let fake = FakeHost::unified();
        let cgroup = fake.cgroup(&V2);
        std::fs::write(cgroup.path().unwrap().join("cpu.max"), "5000 100000\n").unwrap();
        run(&cgroup, r#"{"cpu":{"period":20000}}"#).unwrap();
        assert_eq!(fake.read(&cgroup, "cpu", "cpu.max"), "5000 20000");
    }

    #[test]
    fn version_2_refusals() {
        refuse(
            &FakeHost::unified(),
            &[],
            &[
                (r#"{"cpu":{"shares":1024}}"#, "linux.resources.cpu.shares: "),
                (r#"{"cpu":{"quota":10}}"#, "linux.resources.cpu.quota: "),
                (r#"{"cpu":{"period":10}}"#, "linux.resources.cpu.period: "),
                (r#"{"cpu":{"burst":10}}"#, "linux.resources.cpu.burst: "),
                (r#"{"cpu":{"idle":0}}"#, "linux.resources.cpu.idle: "),
                (r#"{"cpu":{"cpus":"0"}}"#, "linux.resources.cpu.cpus: "),
                (
                    r#"{"cpu":{"realtimeRuntime":10}}"#,
                    "linux.resources.cpu.realtimeRuntime: cgroup",
                ),
                (
                    r#"{"cpu":{"realtimePeriod":10}}"#,
                    "linux.resources.cpu.realtimePeriod: cgroup",
                ),
            ],
        );
    }

    #[test]
    fn version_1() {
        let files = [
            "cpu.shares",
            "cpu.cfs_period_us",
            "cpu.cfs_quota_us",
            "cpu.cfs_burst_us",
            "cpu.idle",
            "cpu.rt_period_us",
            "cpu.rt_runtime_us",
        ];
        check(
            &FakeHost::legacy(&["cpu"]),
            &files,
            &[
                (r#"{"cpu":{"shares":512}}"#, &["cpu.shares=512"]),
                (
                    r#"{"cpu":{"quota":-1,"period":1000,"burst":0}}"#,
                    &[
                        "cpu.cfs_period_us=1000",
                        "cpu.cfs_quota_us=-1",
                        "cpu.cfs_burst_us=0",
                    ],
                ),
                (
                    r#"{"cpu":{"realtimePeriod":1000,"realtimeRuntime":500}}"#,
                    &["cpu.rt_period_us=1000", "cpu.rt_runtime_us=500"],
                ),
            ],
        );
        let error = golden(
            &FakeHost::legacy(&["memory"]),
            &[],
            r#"{"cpu":{"shares":9}}"#,
        );
        assert_eq!(
            error.unwrap_err().to_string(),
            "linux.resources.cpu.shares: the `cpu` controller is not available"
        );
    }

    #[test]
    fn the_kernel_takes_it() {
        let real = Real::created();
        let Some(cpu) = real.cgroup.v1("cpu") else {
            println!("no version 1 cpu controller here");
            return;
        };
        let error = run(&real.cgroup, r#"{"cpu":{"shares":1}}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "linux.resources.cpu.shares: the minimum allowed cpu-shares is 2"
        );
        run(
            &real.cgroup,
            r#"{"cpu":{"shares":300,"quota":20000,"period":40000,"burst":10000}}"#,
        )
        .unwrap();
        // The old quota over the new period is more than all: only works in the right order.
        run(
            &real.cgroup,
            r#"{"cpu":{"quota":1000,"period":1000,"burst":500,"cpus":"0"}}"#,
        )
        .unwrap();
        for (name, expected) in [
            ("cpu.shares", "300"),
            ("cpu.cfs_quota_us", "1000"),
            ("cpu.cfs_period_us", "1000"),
            ("cpu.cfs_burst_us", "500"),
        ] {
            assert_eq!(file::read(&cpu.dir, name).unwrap(), expected, "{name}");
        }
        let cpuset = real.cgroup.v1("cpuset").unwrap();
        assert_eq!(file::read(&cpuset.dir, "cpuset.cpus").unwrap(), "0");
        let error = run(&real.cgroup, r#"{"cpu":{"cpus":"4000"}}"#).unwrap_err();
        assert!(
            error.to_string().starts_with("linux.resources.cpu.cpus: "),
            "{error}"
        );
    }
}
