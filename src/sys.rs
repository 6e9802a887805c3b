//! The system calls that no library in the tree wraps, as safe functions.
//! Policy must not live here: who may call what, and when, is the callers' business.

pub mod bpf;
pub mod kill;
