//! The system calls that no library in the tree wraps, as small safe functions. Together with its
//! children this is the only room with `unsafe`; it must not hold any policy.

#[cfg(test)]
pub mod forked;
pub mod mounts;
pub mod process;
pub mod seal;
pub mod seccomp;
pub mod tty;
