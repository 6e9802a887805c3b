//! Arguments of `update`: all limits that runc takes.
//! Numbers arrive parsed; what they mean for a cgroup is decided elsewhere.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::quantity;

/// Arguments of `update`. A limit that is `None` stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Update {
    /// file with new limits, as `linux.resources` in config.json; - reads them from stdin
    #[arg(short, long, value_name = "FILE")]
    pub resources: Option<Input>,
    /// weight of block i/o, 10 to 1000
    #[arg(long, value_name = "WEIGHT", value_parser = clap::value_parser!(u16).range(10..=1000))]
    pub blkio_weight: Option<u16>,
    /// period of the cpu limit in microseconds
    #[arg(long, value_name = "USEC")]
    pub cpu_period: Option<u64>,
    /// cpu time in a period in microseconds, -1 for no limit
    #[arg(long, value_name = "USEC", allow_negative_numbers = true)]
    pub cpu_quota: Option<i64>,
    /// cpu time that can be saved up for a burst in microseconds
    #[arg(long, value_name = "USEC")]
    pub cpu_burst: Option<u64>,
    /// period of the realtime limit in microseconds
    #[arg(long, value_name = "USEC")]
    pub cpu_rt_period: Option<u64>,
    /// realtime in a period in microseconds
    #[arg(long, value_name = "USEC", allow_negative_numbers = true)]
    pub cpu_rt_runtime: Option<i64>,
    /// weight of cpu time against other containers
    #[arg(long, value_name = "SHARES")]
    pub cpu_share: Option<u64>,
    /// processors to run on, such as 0-3,7
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// memory nodes to use, such as 0-1
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// 1 to run only on idle processors, 0 to end that
    #[arg(long, value_name = "0|1", value_parser = clap::value_parser!(i64).range(0..=1))]
    pub cpu_idle: Option<i64>,
    /// memory limit in bytes, such as 512m; -1 for no limit
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = quantity::bytes)]
    pub memory: Option<i64>,
    /// memory that reclaim leaves alone in bytes
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = quantity::bytes)]
    pub memory_reservation: Option<i64>,
    /// limit of memory and swap together in bytes, -1 for no limit
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = quantity::bytes)]
    pub memory_swap: Option<i64>,
    /// ignored: the kernel has no such limit any more
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = quantity::bytes, hide = true)]
    pub kernel_memory: Option<i64>,
    /// ignored: the kernel has no such limit any more
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = quantity::bytes, hide = true)]
    pub kernel_memory_tcp: Option<i64>,
    /// number of processes, -1 for no limit
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub pids_limit: Option<i64>,
    /// intel rdt schema of the L3 cache
    #[arg(long, value_name = "SCHEMA")]
    pub l3_cache_schema: Option<String>,
    /// intel rdt schema of the memory bandwidth
    #[arg(long, value_name = "SCHEMA")]
    pub mem_bw_schema: Option<String>,
    /// container to change
    pub container_id: String,
}

/// Where JSON is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// `-`.
    Stdin,
    /// A path.
    File(PathBuf),
}

impl FromStr for Input {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "-" => Self::Stdin,
            path => Self::File(path.into()),
        })
    }
}
