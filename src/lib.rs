//! pxrun's rooms, as `docs/architecture.md` draws them: this file only names them.
//! It must not hold behaviour of its own.
#![deny(unsafe_code)]

pub mod cgroup;
pub mod sys;
