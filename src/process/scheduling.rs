//! Scheduler, io priority and cpu affinity, set by pid from the host's side: a user namespace has
//! no right to raise any of them.

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use oci_spec::runtime::{
    IOPriorityClass, LinuxIOPriority, LinuxSchedulerFlag, LinuxSchedulerPolicy, Process, Scheduler,
};

use super::{ProcessError, system};
use crate::sys::process::{SchedAttr, ioprio_set, sched_setattr};

/// Sets what the process asks for. Affinity is for `exec` alone; any other process may run on all
/// cpus of its cpuset, whatever the caller was bound to (runc does the same).
pub fn set(pid: i32, process: &Process, init: bool) -> Result<(), ProcessError> {
    if let Some(scheduler) = process.scheduler() {
        sched_setattr(pid, attributes(scheduler)).map_err(system("process.scheduler: set"))?;
    }
    if let Some(priority) = process.io_priority() {
        set_io_priority(pid, priority)?;
    }
    let affinity = process.exec_cpu_affinity().as_ref().filter(|_| !init);
    let cpus = affinity.and_then(|a| {
        let last = a.cpu_affinity_final().as_deref().filter(|s| !s.is_empty());
        last.or(a.initial().as_deref()).filter(|s| !s.is_empty())
    });
    match cpus {
        Some(list) => {
            let set = libcontainer::process::cpu_affinity::to_cpuset(list).map_err(|error| {
                ProcessError::Refused(format!("process.execCPUAffinity: `{list}`: {error}"))
            })?;
            sched_setaffinity(Pid::from_raw(pid), &set)
                .map_err(system(format!("process.execCPUAffinity: set `{list}`")))
        }
        None => {
            reset_affinity(pid);
            Ok(())
        }
    }
}

/// The kernel takes what the cpuset allows of it.
fn reset_affinity(pid: i32) {
    let mut all = CpuSet::new();
    for cpu in 0..CpuSet::count() {
        let _ = all.set(cpu);
    }
    match sched_setaffinity(Pid::from_raw(pid), &all) {
        Ok(()) | Err(Errno::EINVAL) => {}
        Err(errno) => tracing::debug!("reset cpu affinity: {errno}"),
    }
}

fn set_io_priority(pid: i32, priority: &LinuxIOPriority) -> Result<(), ProcessError> {
    let class = match priority.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    let level = u16::try_from(priority.priority()).unwrap_or(u16::MAX) & 0x1fff;
    ioprio_set(pid, class, level).map_err(system("process.ioPriority: set"))
}

fn attributes(scheduler: &Scheduler) -> SchedAttr {
    let policy = match scheduler.policy() {
        LinuxSchedulerPolicy::SchedOther => libc::SCHED_OTHER,
        LinuxSchedulerPolicy::SchedFifo => libc::SCHED_FIFO,
        LinuxSchedulerPolicy::SchedRr => libc::SCHED_RR,
        LinuxSchedulerPolicy::SchedBatch => libc::SCHED_BATCH,
        // Reserved in the kernel, never built (sched(7)).
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => libc::SCHED_IDLE,
        LinuxSchedulerPolicy::SchedDeadline => libc::SCHED_DEADLINE,
    };
    let flags = scheduler.flags().iter().flatten().fold(0, |flags, flag| {
        flags
            | match flag {
                LinuxSchedulerFlag::SchedResetOnFork => 0x01,
                LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
                LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
                LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
                LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
                LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
                LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
            }
    });
    SchedAttr {
        policy: policy as u32,
        flags,
        nice: scheduler.nice().unwrap_or(0),
        priority: scheduler.priority().unwrap_or(0).max(0) as u32,
        runtime: scheduler.runtime().unwrap_or(0),
        deadline: scheduler.deadline().unwrap_or(0),
        period: scheduler.period().unwrap_or(0),
        ..SchedAttr::default()
    }
}
