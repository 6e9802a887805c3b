//! Containers as LXC guests of a Proxmox node, beside its virtual machines: guests' configurations,
//! their numbers, and Proxmox's own tools. It must not know argument types or write to standard
//! error.

pub mod cluster;
pub mod conf;
pub mod guest;
pub mod options;
pub mod passthrough;
pub mod pct;
pub mod settings;
pub mod translate;
pub mod vmid;

pub use settings::Settings;

/// The name in records.
pub const NAME: &str = "proxmox";
