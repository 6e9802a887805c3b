//! pxrun: an OCI runtime that runs each container where it belongs. `docs/architecture.md` says
//! what each room does and what it must not touch.
#![deny(unsafe_code, missing_docs)]

pub mod archive;
pub mod assemble;
pub mod backend;
pub mod bundle;
pub mod cgroup;
pub mod cli;
pub mod command;
pub mod config;
pub mod console;
pub mod doctor;
pub mod error;
pub mod features;
pub mod foreground;
pub mod guest;
pub mod hooks;
pub mod host;
pub mod image;
pub mod interrupt;
pub mod limited;
pub mod logging;
pub mod pack;
pub mod partner;
pub mod process;
pub mod processes;
pub mod progress;
pub mod rdt;
pub mod rootfs;
pub mod route;
pub mod seccomp;
pub mod setup;
pub mod source;
pub mod spec;
pub mod staging;
pub mod state;
pub mod sys;
pub mod template;
pub mod unpack;
pub mod users;
pub mod validate;
