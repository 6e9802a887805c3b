//! Where and how urgently the process runs: scheduler, I/O priority, cpu affinity.
//! It must not touch the cpuset: that is the cgroup's.

use libcontainer::process::cpu_affinity::to_cpuset;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use oci_spec::runtime::{IOPriorityClass, LinuxIOPriority};
use serde_json::Value;

use super::{ProcessError, Reason};
use crate::sys::process::{SchedAttr, ioprio_set, sched_setattr};

/// `SCHED_*` of sched(7), by the names of the OCI spec.
const POLICIES: &[(&str, u32)] = &[
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_ISO", 4),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];

/// `SCHED_FLAG_*` of sched_setattr(2). The second spelling of a value is how oci-spec 0.10 writes it.
const FLAGS: &[(&str, u64)] = &[
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_D_L_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

/// Scheduler and I/O priority, ready to be set on the caller or on a waiting child.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Priority {
    scheduler: Option<SchedAttr>,
    io: Option<(u32, u32)>,
}

impl Priority {
    /// Takes the raw `process.scheduler` (oci-spec 0.10 misspells a flag) and `process.ioPriority`.
    ///
    /// # Errors
    /// Unknown names, numbers out of range.
    pub fn new(scheduler: &Value, io: Option<&LinuxIOPriority>) -> Result<Self, ProcessError> {
        let scheduler = (!scheduler.is_null()).then(|| attributes(scheduler));
        Ok(Self {
            scheduler: scheduler.transpose()?,
            io: io.map(io_priority).transpose()?,
        })
    }

    /// Sets both on `pid` (0: the caller).
    ///
    /// # Errors
    /// EPERM without CAP_SYS_NICE, and what the kernel else answers.
    pub fn apply(&self, pid: Pid) -> Result<(), ProcessError> {
        if let Some(attr) = &self.scheduler {
            sched_setattr(pid, attr).map_err(ProcessError::step("set process.scheduler"))?;
        }
        if let Some((class, priority)) = self.io {
            let failed = ProcessError::step("set process.ioPriority");
            ioprio_set(pid, class, priority).map_err(failed)?;
        }
        Ok(())
    }
}

/// Puts `pid` (0: the caller) on the cpus of `list`, such as `0-3,7`.
///
/// # Errors
/// A list that can't be read, or no cpu of it that the cpuset allows.
pub fn pin(pid: Pid, list: &str) -> Result<(), ProcessError> {
    let set = to_cpuset(list).map_err(ProcessError::CpuList)?;
    sched_setaffinity(pid, &set).map_err(ProcessError::step("set process.execCPUAffinity"))
}

/// Frees the caller from the affinity that pxrun inherited: every cpu of the cpuset counts again.
///
/// Failure is left alone, as in runc: the process then keeps what it has, inside its cpuset.
pub fn unpin() {
    let mut all = CpuSet::new();
    let full = (0..CpuSet::count()).try_for_each(|cpu| all.set(cpu));
    if let Err(errno) = full.and_then(|()| sched_setaffinity(Pid::from_raw(0), &all)) {
        tracing::debug!(reason = %Reason(errno), "reset cpu affinity");
    }
}

fn attributes(scheduler: &Value) -> Result<SchedAttr, ProcessError> {
    let policy = scheduler["policy"].as_str().unwrap_or("SCHED_OTHER");
    let mut flags = 0;
    for flag in scheduler["flags"].as_array().into_iter().flatten() {
        let name = flag.as_str().unwrap_or_default();
        flags |= known(
            "process.scheduler.flags",
            name,
            FLAGS,
            "a SCHED_FLAG_ of sched_setattr(2)",
        )?;
    }
    let nice: i32 = number(scheduler, "nice")?;
    if !(-20..=19).contains(&nice) {
        // The kernel would clamp it without a word.
        return Err(ProcessError::Field {
            what: "process.scheduler.nice",
            value: nice.to_string(),
            expected: "-20 to 19",
        });
    }
    Ok(SchedAttr {
        policy: known(
            "process.scheduler.policy",
            policy,
            POLICIES,
            "a SCHED_ policy of sched(7)",
        )?,
        flags,
        nice,
        priority: number(scheduler, "priority")?,
        runtime: number(scheduler, "runtime")?,
        deadline: number(scheduler, "deadline")?,
        period: number(scheduler, "period")?,
    })
}

fn known<T: Copy>(
    what: &'static str,
    name: &str,
    table: &[(&str, T)],
    expected: &'static str,
) -> Result<T, ProcessError> {
    let row = table.iter().find(|row| row.0 == name);
    row.map(|row| row.1).ok_or_else(|| ProcessError::Field {
        what,
        value: name.to_owned(),
        expected,
    })
}

fn number<T: Default + TryFrom<i128>>(scheduler: &Value, name: &str) -> Result<T, ProcessError> {
    let value = &scheduler[name];
    if value.is_null() {
        return Ok(T::default());
    }
    let wide = value.as_i64().map(i128::from);
    let wide = wide.or_else(|| value.as_u64().map(i128::from));
    let fits = wide.and_then(|wide| T::try_from(wide).ok());
    fits.ok_or_else(|| ProcessError::Field {
        what: "process.scheduler",
        value: format!("{name}: {value}"),
        expected: "a number that sched_setattr(2) takes",
    })
}

/// Classes by number, ioprio_set(2); the priority has three bits.
fn io_priority(io: &LinuxIOPriority) -> Result<(u32, u32), ProcessError> {
    let class = match io.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    match io.priority() {
        priority @ 0..=7 => Ok((class, priority as u32)),
        other => Err(ProcessError::Field {
            what: "process.ioPriority.priority",
            value: other.to_string(),
            expected: "0 to 7",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scheduler_reads_every_field_of_the_spec() {
        let full = json!({
            "policy": "SCHED_DEADLINE", "nice": -5, "priority": 3,
            "flags": ["SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_RECLAIM", "SCHED_FLAG_RESET_ON_FORK"],
            "runtime": 1, "deadline": 2, "period": u64::MAX,
        });
        let expected = SchedAttr {
            policy: 6,
            flags: 7,
            nice: -5,
            priority: 3,
            runtime: 1,
            deadline: 2,
            period: u64::MAX,
        };
        assert_eq!(attributes(&full).unwrap(), expected);
        let none = Priority::new(&Value::Null, None).unwrap();
        assert_eq!(none, Priority::default());
    }

    #[test]
    fn unknown_scheduler_words_are_named() {
        for (scheduler, text) in [
            (
                json!({"policy": "SCHED_X"}),
                "process.scheduler.policy is `SCHED_X`, expected a SCHED_ policy of sched(7)",
            ),
            (
                json!({"policy": "SCHED_RR", "flags": ["F"]}),
                "process.scheduler.flags is `F`, expected a SCHED_FLAG_ of sched_setattr(2)",
            ),
            (
                json!({"policy": "SCHED_OTHER", "nice": 20}),
                "process.scheduler.nice is `20`, expected -20 to 19",
            ),
            (
                json!({"policy": "SCHED_RR", "priority": -1}),
                "process.scheduler is `priority: -1`, expected a number that sched_setattr(2) takes",
            ),
        ] {
            assert_eq!(attributes(&scheduler).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn io_priority_keeps_to_three_bits() {
        for (priority, fits) in [(0, true), (7, true), (8, false), (-1, false)] {
            let io = json!({"class": "IOPRIO_CLASS_BE", "priority": priority});
            let io = serde_json::from_value(io).unwrap();
            assert_eq!(io_priority(&io).is_ok(), fits, "{priority}");
        }
    }
}
