//! Trials of the whole room: a child in a chroot with busybox is set up, executed and looked at.
//! It must not replace the unit tests: what can be told from values is told beside the code.

mod defects;
mod exec;
mod identity;
mod notify;
mod rig;
mod runc;
