//! Resource pools: lines of `user.cfg`, changed under the lock that Proxmox's own programs take. It
//! must not know guests beyond their numbers.
//!
//! ```text
//! pool:NAME:COMMENT:VMID,VMID:STORAGE,STORAGE:
//! ```

use std::time::{Duration, Instant};

use super::cluster::{Cluster, ClusterError};

/// The name of Proxmox's lock on the file (`cfs_lock_file`).
const LOCK: &str = "file-user_cfg";

const FILE: &str = "user.cfg";

/// How often the lock is tried.
const PAUSE: Duration = Duration::from_millis(50);

/// Why a guest isn't in its pool.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// No such pool.
    #[error("pool `{0}` is unknown to this cluster")]
    Unknown(String),
    /// Somebody else changes the file.
    #[error("another Proxmox task holds the pools' configuration")]
    Busy,
    /// The cluster file system's answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// Looks whether there is such a pool.
///
/// # Errors
/// [`PoolError`]
pub fn check(cluster: &Cluster, pool: &str) -> Result<(), PoolError> {
    let text = cluster.read_file(FILE)?.unwrap_or_default();
    let known = text.lines().any(|line| name(line) == Some(pool));
    known
        .then_some(())
        .ok_or_else(|| PoolError::Unknown(pool.to_owned()))
}

/// Puts a guest into a pool, out of every other one. Destroying the guest takes it out again:
/// that is Proxmox's part.
///
/// # Errors
/// [`PoolError`]
pub fn add(cluster: &Cluster, pool: &str, vmid: u32, patience: Duration) -> Result<(), PoolError> {
    let end = Instant::now() + patience;
    while !cluster.claim(LOCK)? {
        if Instant::now() >= end {
            return Err(PoolError::Busy);
        }
        std::thread::sleep(PAUSE);
    }
    let text = cluster.read_file(FILE);
    let changed = text.map_err(PoolError::from).and_then(|text| {
        let text = with(&text.unwrap_or_default(), pool, vmid)?;
        Ok(cluster.write_file(FILE, &text)?)
    });
    cluster.release(LOCK);
    changed
}

fn name(line: &str) -> Option<&str> {
    line.strip_prefix("pool:")?.split(':').next()
}

fn with(text: &str, pool: &str, vmid: u32) -> Result<String, PoolError> {
    let mut out = String::new();
    let mut found = false;
    for line in text.lines() {
        match name(line) {
            Some(name) => {
                found |= name == pool;
                out += &changed(line, vmid, name == pool);
            }
            None => out += line,
        }
        out.push('\n');
    }
    match found {
        true => Ok(out),
        false => Err(PoolError::Unknown(pool.to_owned())),
    }
}

fn changed(line: &str, vmid: u32, there: bool) -> String {
    let mut parts: Vec<String> = line.split(':').map(str::to_owned).collect();
    while parts.len() < 6 {
        parts.push(String::new());
    }
    let numbers = parts[3].split(',').filter_map(|n| n.trim().parse().ok());
    let mut numbers: Vec<u32> = numbers.filter(|number| *number != vmid).collect();
    if there {
        numbers.push(vmid);
    }
    numbers.sort_unstable();
    let texts: Vec<String> = numbers.iter().map(u32::to_string).collect();
    parts[3] = texts.join(",");
    parts.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "user:root@pam:1:0::::::\n\npool:oci:containers:100:local:\npool:other::90,91::\n";

    #[test]
    fn a_guest_is_in_one_pool() {
        let text = with(TEXT, "oci", 90).unwrap();
        assert_eq!(
            text,
            "user:root@pam:1:0::::::\n\npool:oci:containers:90,100:local:\npool:other::91::\n"
        );
        assert_eq!(with(&text, "oci", 90).unwrap(), text);
        assert!(matches!(with(TEXT, "none", 1), Err(PoolError::Unknown(_))));
        assert_eq!(with("pool:a\n", "a", 7).unwrap(), "pool:a::7::\n");
    }
}
