//! Proxmox templates (`vztmpl`) and OCI archives for a node: made, listed, pruned. It must not know
//! guests beyond the text of their configuration, nor arguments or terminals.

pub mod mark;
