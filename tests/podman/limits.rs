//! Limits that must be seen in the cgroup files.

use crate::*;

#[test]
fn memory_pids_and_cpu_limits_reach_the_cgroup() {
    let flags = [
        "--memory",
        "64m",
        "--pids-limit",
        "50",
        "--cpus",
        "0.5",
        "--cpu-shares",
        "512",
        "--cpuset-cpus",
        "0",
    ];
    let c = Stays::run(&flags, FOREVER);
    let pid = c.pid();
    if !lacks("memory-controller") {
        assert_eq!(
            cgroup::value(pid, "memory", "memory.limit_in_bytes", "memory.max"),
            "67108864"
        );
    }
    assert_eq!(cgroup::value(pid, "pids", "pids.max", "pids.max"), "50");
    assert_eq!(
        cgroup::value(pid, "cpuset", "cpuset.cpus", "cpuset.cpus"),
        "0"
    );
    let quota = cgroup::value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max");
    assert!(
        ["50000", "50000 100000"].contains(&quota.as_str()),
        "{quota}"
    );
    // kernel.org, cgroup-v2: shares 2..262144 are mapped to weights 1..10000.
    let shares = cgroup::value(pid, "cpu", "cpu.shares", "cpu.weight");
    assert!(["512", "20", "59"].contains(&shares.as_str()), "{shares}");
    let bomb = c.exec(
        &[],
        &[
            "sh",
            "-c",
            "i=0; while [ $i -lt 80 ]; do sleep 5 & i=$((i+1)); done",
        ],
    );
    assert!(
        bomb.all().contains("can't fork"),
        "the pids limit holds nobody: {bomb}"
    );
}

#[test]
fn the_memory_limit_kills() {
    if lacks("memory-controller") {
        return;
    }
    let grow = "x=0123456789; while :; do x=$x$x; done";
    let c = Stays::run(&["--memory", "16m", "--memory-swap", "16m"], grow);
    // `.State.OOMKilled` is conmon's, which hears nothing from cgroup v1 on Linux 6.18.
    assert_eq!(c.wait(), "137");
}

#[test]
fn update_of_a_running_container() {
    let c = Stays::run(&["--cpu-shares", "512"], FOREVER);
    call(&["update", "--cpus", "0.25", &c.name]).ok();
    let quota = cgroup::value(c.pid(), "cpu", "cpu.cfs_quota_us", "cpu.max");
    assert!(
        ["25000", "25000 100000"].contains(&quota.as_str()),
        "{quota}"
    );
    if !lacks("memory-controller") {
        call(&["update", "--memory", "96m", &c.name]).ok();
        assert_eq!(
            cgroup::value(c.pid(), "memory", "memory.limit_in_bytes", "memory.max"),
            "100663296"
        );
    }
}
