//! The system calls that no library in the tree wraps, each behind a safe function.
//! It must not decide anything: policy belongs to the rooms that call it.

#[cfg(test)]
pub mod forked;
pub mod mounts;
