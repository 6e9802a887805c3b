//! The rooms of pxrun; `docs/architecture.md` says what each is for.
//! The binary in `main.rs` only parses, dispatches and reports.

#![deny(unsafe_code)]

pub mod cli;
pub mod error;
pub mod logging;
