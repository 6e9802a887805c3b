//! The system calls that no library wraps, as small safe functions. Together with its children
//! this is the only room with `unsafe`; it must not hold any policy.

pub mod bpf;
pub mod clone;
pub mod connector;
pub mod fanotify;
pub mod fd;
pub mod files;
#[cfg(test)]
pub mod forked;
#[cfg(target_os = "freebsd")]
pub mod jail;
pub mod kill;
pub mod memory;
pub mod mounts;
pub mod pidfd;
pub mod process;
pub mod seal;
pub mod seccomp;
pub mod spawn;
pub mod tty;
