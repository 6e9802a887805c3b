//! System calls that no library wraps, and the only rooms with `unsafe`.
//! It must not decide anything: policy belongs to the rooms that call it.

pub mod process;
pub mod seccomp;
