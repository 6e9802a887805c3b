//! pxrun: an OCI runtime that runs each container where it belongs. `docs/architecture.md` says
//! what each room does and what it must not touch.
#![deny(unsafe_code)]

pub mod bundle;
pub mod features;
pub mod spec;

pub fn x() {}
