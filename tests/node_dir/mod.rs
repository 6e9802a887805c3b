//! A simulated Proxmox node in a directory of its own, gone with the value.
#![allow(dead_code)]

use std::path::PathBuf;
use std::process::Command;

/// Where the simulation is.
pub const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/hack/node");

/// One node.
pub struct Node {
    top: PathBuf,
    _dir: tempfile::TempDir,
}

impl Node {
    /// Starts a node; `args` are those of `node start`.
    pub fn start(args: &[&str]) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let node = Node {
            top: dir.path().join("node"),
            _dir: dir,
        };
        node.control(&[&["start"], args].concat());
        node
    }

    /// `node VERB DIR ARGS…`
    #[track_caller]
    pub fn control(&self, args: &[&str]) {
        let mut command = Command::new(format!("{DIR}/node"));
        let done = command.arg(args[0]).arg(&self.top).args(&args[1..]);
        let done = done.output().unwrap();
        assert!(done.status.success(), "{args:?}: {done:?}");
    }

    /// A path that a real node has below `/`.
    pub fn path(&self, path: &str) -> PathBuf {
        self.top.join(path)
    }

    /// One of its tools.
    pub fn tool(&self, name: &str) -> Command {
        Command::new(self.top.join("usr/bin").join(name))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.control(&["stop"]);
    }
}
