//! `update`. Own type: all of runc's flags, and `-1` for no limit.

use clap::Args;

/// `update`. Flags that aren't given leave the limit as it is.
#[derive(Debug, Args)]
pub struct Update {
    /// json file with the limits, `-` for standard input; other flags are then ignored
    #[arg(short, long, value_name = "FILE")]
    pub resources: Option<String>,
    /// weight of block io, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    pub blkio_weight: Option<u16>,
    /// cpu period in microseconds
    #[arg(long, value_name = "USECS")]
    pub cpu_period: Option<u64>,
    /// cpu time in a period in microseconds, -1 for no limit
    #[arg(long, value_name = "USECS", allow_hyphen_values = true)]
    pub cpu_quota: Option<i64>,
    /// cpu time that may be saved up in microseconds
    #[arg(long, value_name = "USECS")]
    pub cpu_burst: Option<u64>,
    /// realtime period in microseconds
    #[arg(long, value_name = "USECS")]
    pub cpu_rt_period: Option<u64>,
    /// realtime in a period in microseconds
    #[arg(long, value_name = "USECS", allow_hyphen_values = true)]
    pub cpu_rt_runtime: Option<i64>,
    /// cpu weight relative to other containers
    #[arg(long, visible_alias = "cpu-shares", value_name = "SHARES")]
    pub cpu_share: Option<u64>,
    /// cpus to use, such as 0-2,7
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// memory nodes to use
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// 1 to run only when cpus are idle
    #[arg(long, value_name = "0|1", allow_hyphen_values = true)]
    pub cpu_idle: Option<i64>,
    /// memory limit in bytes, units allowed, -1 for none
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = super::size::parse)]
    pub memory: Option<i64>,
    /// soft memory limit
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = super::size::parse)]
    pub memory_reservation: Option<i64>,
    /// memory and swap together
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = super::size::parse)]
    pub memory_swap: Option<i64>,
    /// accepted and without effect, as in runc: the kernel gave it up
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = super::size::parse)]
    pub kernel_memory: Option<i64>,
    /// accepted and without effect, as in runc: the kernel gave it up
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = super::size::parse)]
    pub kernel_memory_tcp: Option<i64>,
    /// number of processes, -1 for no limit
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub pids_limit: Option<i64>,
    /// intel rdt: cache schema
    #[arg(long, value_name = "SCHEMA")]
    pub l3_cache_schema: Option<String>,
    /// intel rdt: memory bandwidth schema
    #[arg(long, value_name = "SCHEMA")]
    pub mem_bw_schema: Option<String>,
    /// name of the container
    pub container_id: String,
}
