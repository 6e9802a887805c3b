//! The container's root file system: planned purely, prepared on the host's side as detached mounts,
//! attached on the container's side. It must not touch the process, the cgroup, or know who forks.
//!
//! [`Plan::new`] → [`Plan::prepare`] or [`Plan::prepare_in`] (host) → fork → [`Prepared::enter`],
//! [`Prepared::mount_all`], [`Prepared::pivot`], [`Prepared::reopen_dev_null`], [`Prepared::seal`]
//! (container).

mod attach;
mod cgroups;
mod console;
mod copyup;
mod devices;
mod error;
mod given;
mod hatch;
mod idmap;
mod kernel;
mod newfs;
pub mod options;
mod pivot;
mod plan;
mod prepare;
mod propagation;
pub mod resolve;
mod seal;
mod view;

pub use error::RootfsError;
pub use given::{Given, make_alike};
pub use hatch::{Hatch, Late, PROGRAM, SOCKET};
pub use plan::{Facts, Plan, WARNED};
pub use prepare::Prepared;
pub use view::OwnNamespace;

#[cfg(test)]
mod tests;
