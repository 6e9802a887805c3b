//! pxrun as a library: the rooms of `docs/architecture.md`, for the binary and its tests.
//! It must not print, exit or read the command line: that is `main`'s.
#![deny(unsafe_code)]

pub mod process;
pub mod seccomp;
pub mod sys;
