//! `linux.resources.blockIO`: weights and throttles.
//! It must not touch other controllers.

use oci_spec::runtime::LinuxBlockIo;

use super::super::{Result, file};
use super::{Applier, limit};

const WEIGHT: &str = "linux.resources.blockIO.weight";
const LEAF: &str = "linux.resources.blockIO.leafWeight";
const DEVICE: &str = "linux.resources.blockIO.weightDevice";

impl Applier<'_> {
    pub(super) fn block_io(&mut self) -> Result<()> {
        let Some(io) = self.resources.block_io().clone() else {
            return Ok(());
        };
        if self.v2() {
            self.io_v2(&io)
        } else {
            self.io_v1(&io)
        }
    }

    fn io_v1(&self, io: &LinuxBlockIo) -> Result<()> {
        if let Some(weight) = set(io.weight()) {
            self.weight_v1(WEIGHT, "weight", &weight.to_string())?;
        }
        if let Some(weight) = set(io.leaf_weight()) {
            self.set(LEAF, "blkio", "blkio.leaf_weight", &weight.to_string())?;
        }
        for device in io.weight_device().iter().flatten() {
            let line = |weight| format!("{}:{} {weight}", device.major(), device.minor());
            if let Some(weight) = set(device.weight()) {
                self.weight_v1(DEVICE, "weight_device", &line(weight))?;
            }
            if let Some(weight) = set(device.leaf_weight()) {
                self.set(DEVICE, "blkio", "blkio.leaf_weight_device", &line(weight))?;
            }
        }
        for throttle in throttles(io) {
            let line = format!("{} {}", throttle.device, throttle.rate);
            self.set(throttle.json, "blkio", throttle.v1, &line)?;
        }
        Ok(())
    }

    /// The scheduler BFQ has weights of its own under version 1 (Linux 5.0 has no other ones).
    fn weight_v1(&self, json: &str, name: &str, value: &str) -> Result<()> {
        for file in [format!("blkio.{name}"), format!("blkio.bfq.{name}")] {
            if self.set_if_there(json, "blkio", &file, value)?.is_some() {
                return Ok(());
            }
        }
        self.dir(json, "blkio")?;
        Err(limit(json, "no io scheduler of this kernel has weights"))
    }

    fn io_v2(&self, io: &LinuxBlockIo) -> Result<()> {
        if set(io.leaf_weight()).is_some() {
            return Err(limit(LEAF, "cgroup version 2 has no leaf weights"));
        }
        if let Some(weight) = set(io.weight()) {
            let value = weight.to_string();
            if self
                .set_if_there(WEIGHT, "io", "io.bfq.weight", &value)?
                .is_none()
            {
                self.set(WEIGHT, "io", "io.weight", &v2_weight(weight).to_string())?;
            }
        }
        for device in io.weight_device().iter().flatten() {
            if set(device.leaf_weight()).is_some() {
                return Err(limit(DEVICE, "cgroup version 2 has no leaf weights"));
            }
            if let Some(weight) = set(device.weight()) {
                let name = format!("{}:{}", device.major(), device.minor());
                self.device_weight_v2(&name, weight)?;
            }
        }
        for throttle in throttles(io) {
            let line = format!("{} {}={}", throttle.device, throttle.v2, throttle.rate);
            self.set(throttle.json, "io", "io.max", &line)?;
        }
        Ok(())
    }

    /// BFQ takes devices since Linux 5.4, to be seen by its file's "default"; the cost model's
    /// `io.weight` always did.
    fn device_weight_v2(&self, device: &str, weight: u16) -> Result<()> {
        let dir = self.dir(DEVICE, "io")?;
        let bfq = file::read_optional(dir, "io.bfq.weight")?;
        if bfq.is_some_and(|text| text.starts_with("default")) {
            return self.set(DEVICE, "io", "io.bfq.weight", &format!("{device} {weight}"));
        }
        let line = format!("{device} {}", v2_weight(weight));
        self.set(DEVICE, "io", "io.weight", &line)
    }
}

struct Throttle {
    json: &'static str,
    v1: &'static str,
    v2: &'static str,
    device: String,
    rate: u64,
}

fn throttles(io: &LinuxBlockIo) -> Vec<Throttle> {
    let lists = [
        (
            "linux.resources.blockIO.throttleReadBpsDevice",
            "blkio.throttle.read_bps_device",
            "rbps",
            io.throttle_read_bps_device(),
        ),
        (
            "linux.resources.blockIO.throttleWriteBpsDevice",
            "blkio.throttle.write_bps_device",
            "wbps",
            io.throttle_write_bps_device(),
        ),
        (
            "linux.resources.blockIO.throttleReadIOPSDevice",
            "blkio.throttle.read_iops_device",
            "riops",
            io.throttle_read_iops_device(),
        ),
        (
            "linux.resources.blockIO.throttleWriteIOPSDevice",
            "blkio.throttle.write_iops_device",
            "wiops",
            io.throttle_write_iops_device(),
        ),
    ];
    let mut out = Vec::new();
    for (json, v1, v2, devices) in lists {
        for device in devices.iter().flatten() {
            let name = format!("{}:{}", device.major(), device.minor());
            out.push(Throttle {
                json,
                v1,
                v2,
                device: name,
                rate: device.rate(),
            });
        }
    }
    out
}

fn set(value: Option<u16>) -> Option<u16> {
    value.filter(|value| *value != 0)
}

/// 10 to 1000 of version 1 as 1 to 10000 of version 2, linearly, as runc.
fn v2_weight(weight: u16) -> u64 {
    1 + u64::from(weight).saturating_sub(10) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, refuse, run};
    use super::*;
    use crate::cgroup::testing::{FakeHost, Real};

    #[test]
    fn weights_are_mapped_linearly() {
        for (weight, expected) in [(10, 1), (500, 4950), (1000, 10_000), (5, 1)] {
            assert_eq!(v2_weight(weight), expected, "{weight}");
        }
    }

    const THROTTLE: &str =
        r#"{"blockIO":{"throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":7}]}}"#;

    #[test]
    fn version_2() {
        check(
            &FakeHost::unified(),
            &["io.weight", "io.max"],
            &[
                (r#"{"blockIO":{"weight":500}}"#, &["io.weight=4950"]),
                (
                    r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":10}]}}"#,
                    &["io.weight=8:0 1"],
                ),
                (THROTTLE, &["io.max=8:16 wiops=7"]),
            ],
        );
        check(
            &FakeHost::unified(),
            &["io.bfq.weight"],
            &[(r#"{"blockIO":{"weight":500}}"#, &["io.bfq.weight=500"])],
        );
        refuse(
            &FakeHost::unified(),
            &[],
            &[
                (
                    r#"{"blockIO":{"weight":500}}"#,
                    "linux.resources.blockIO.weight: ",
                ),
                (
                    r#"{"blockIO":{"leafWeight":500}}"#,
                    "linux.resources.blockIO.leafWeight: ",
                ),
                (
                    THROTTLE,
                    "linux.resources.blockIO.throttleWriteIOPSDevice: ",
                ),
            ],
        );
    }

    #[test]
    fn bfq_takes_devices_when_it_says_so() {
        let fake = FakeHost::unified();
        let cgroup = fake.cgroup(&["io.bfq.weight"]);
        let path = cgroup.path().unwrap().join("io.bfq.weight");
        std::fs::write(&path, "default 100\n").unwrap();
        run(
            &cgroup,
            r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":77}]}}"#,
        )
        .unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "8:0 77");
    }

    #[test]
    fn version_1() {
        let files = [
            "blkio.weight",
            "blkio.weight_device",
            "blkio.throttle.write_iops_device",
        ];
        check(
            &FakeHost::legacy(&["blkio"]),
            &files,
            &[
                (r#"{"blockIO":{"weight":500}}"#, &["blkio.weight=500"]),
                (
                    r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":10}]}}"#,
                    &["blkio.weight_device=8:0 10"],
                ),
                (THROTTLE, &["blkio.throttle.write_iops_device=8:16 7"]),
            ],
        );
        check(
            &FakeHost::legacy(&["blkio"]),
            &["blkio.bfq.weight"],
            &[(r#"{"blockIO":{"weight":500}}"#, &["blkio.bfq.weight=500"])],
        );
        refuse(
            &FakeHost::legacy(&["blkio"]),
            &[],
            &[
                (
                    r#"{"blockIO":{"weight":500}}"#,
                    "linux.resources.blockIO.weight: no io scheduler",
                ),
                (
                    r#"{"blockIO":{"leafWeight":5}}"#,
                    "linux.resources.blockIO.leafWeight: this kernel",
                ),
            ],
        );
    }

    #[test]
    fn the_kernel_takes_it() {
        let real = Real::created();
        let Some(blkio) = real.cgroup.v1("blkio") else {
            println!("no version 1 blkio controller here");
            return;
        };
        run(&real.cgroup, r#"{"blockIO":{"weight":123}}"#).unwrap();
        let name = ["blkio.weight", "blkio.bfq.weight"]
            .into_iter()
            .find(|name| blkio.dir.join(name).exists());
        assert_eq!(file::read(&blkio.dir, name.unwrap()).unwrap(), "123");
        let error = run(&real.cgroup, r#"{"blockIO":{"weight":9999}}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "linux.resources.blockIO.weight: not accepted"
        );
    }
}
