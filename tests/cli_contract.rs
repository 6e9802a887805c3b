//! The command line's contract with its callers, without the callers: argument lists, pid-files,
//! stdio, exit statuses and texts as conmon, conmon-rs, go-runc, CRI-O and kubelet demand them.
//! Where runc 1.1.5 doesn't keep it, `runc_differs` says so.

mod common;

/// The tests, a file a topic.
mod cli_contract {
    mod crash;
    mod crash_of_init;
    mod exec;
    mod figures;
    mod foreground;
    mod hooks;
    mod keeper;
    mod kill;
    mod kubelet;
    mod leaks;
    mod life;
    mod races;
    mod steps;
    mod terminals;
    mod texts;
    mod tough;
}

use std::fs;
use std::io::{BufRead, BufReader, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use common::bundle::process;
use common::command::{cmd, detach, feed, limited, run, sh, start};
use common::lacks::lacks;
use common::oci::{Place, Streams, exited, pid_in, reap};
use common::{alive, cgroup, has_keeper, runc_differs, runtime, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::sys::wait::WaitStatus;
use nix::unistd::{Pid, getpgid, getsid};
use serde_json::{Value, json};

const SLEEP: &[&str] = &["sleep", "300"];

fn nothing(_: &mut Value) {}
