//! The mount hook: LXC runs it in the container's namespaces when the root is mounted and nothing
//! else is. It only waits until `create` has built the container from there. Must not do more: what
//! it could do as a mapped root, `create` can do better.

use std::path::Path;

use anyhow::Context;

use super::wire::{Hello, knock};
use crate::backend::linux::channel::Go;

/// Runs to the end of the build; the exit code.
pub fn run(socket: &Path) -> i32 {
    match wait(socket) {
        Ok(()) => 0,
        Err(error) => {
            // LXC takes it into its log.
            println!("pxrun: {error:#}");
            1
        }
    }
}

fn wait(socket: &Path) -> anyhow::Result<()> {
    let root = std::env::var("LXC_ROOTFS_MOUNT").context("LXC_ROOTFS_MOUNT is not set")?;
    let channel = knock(socket).context("reach the waiting command")?;
    channel.send(&Hello { root })?;
    channel.receive::<Go>()?.context("the command gave up")?;
    Ok(())
}
