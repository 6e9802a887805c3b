//! What the first process is handed: its task in a file of its own, and descriptors. Must not know
//! what becomes of them.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::Context;
use nix::sys::memfd::{MemFdCreateFlag, memfd_create};
use serde_json::Value;

use super::wire::{Job, Task};
use crate::backend::linux::channel::End;
use crate::process::Options;
use crate::rootfs::Late;
use crate::spec::Validated;
use crate::state::{Record, Status};
use crate::sys::fd::duplicate;

/// How many of the caller's descriptors go with one message, beside the fixed ones.
const A_MESSAGE: usize = 200;

/// Everything but what `create` has to make first.
pub struct Handover {
    task: Task,
    agent: Option<OwnedFd>,
    kept: Vec<OwnedFd>,
}

impl Handover {
    /// Takes hold of the caller's descriptors.
    pub fn new(
        record: &Record,
        spec: &Validated,
        options: &Options,
        terminal: bool,
    ) -> anyhow::Result<Handover> {
        let agent = options.listener.as_ref();
        let count = options.preserve_fds.saturating_add(options.listen_fds);
        let last = i32::try_from(count).unwrap_or(i32::MAX - 3) + 3;
        let kept = (3..last)
            .map(|fd| duplicate(fd).with_context(|| format!("--preserve-fds: descriptor {fd}")));
        Ok(Handover {
            task: Task {
                spec: spec.spec().clone(),
                process: spec.raw().get("process").cloned().unwrap_or(Value::Null),
                state: record.oci_state(Status::Creating, None),
                pid: 0,
                id: record.id.clone(),
                terminal,
                userns: options.userns,
                no_new_keyring: options.no_new_keyring,
                preserve_fds: options.preserve_fds,
                listen_fds: options.listen_fds,
                lsm: options.lsm,
                program: options.seccomp.clone(),
                agent: agent.map(|agent| agent.name().to_owned()),
            },
            agent: agent
                .map(|agent| agent.socket().try_clone_to_owned())
                .transpose()
                .context("keep the seccomp agent's socket")?,
            kept: kept.collect::<Result<_, _>>()?,
        })
    }

    /// Hands everything over. `made` are standard input, output, error and the root, `fixed` are the start socket and the lock of waiting.
    pub fn give(
        mut self,
        channel: &End,
        pid: i32,
        made: &[OwnedFd],
        fixed: [BorrowedFd<'_>; 2],
        late: Late,
    ) -> anyhow::Result<()> {
        self.task.pid = pid;
        let file = memfd_create(c"task", MemFdCreateFlag::MFD_CLOEXEC).context("make a file")?;
        let mut file = File::from(file);
        std::io::Write::write_all(&mut file, &serde_json::to_vec(&self.task)?)?;
        let job = Job {
            kept: u32::try_from(self.kept.len())?,
            agent: self.agent.is_some(),
            late,
        };
        let mut descriptors: Vec<BorrowedFd<'_>> = made.iter().map(AsFd::as_fd).collect();
        descriptors.extend(fixed);
        descriptors.push(file.as_fd());
        descriptors.extend(self.agent.iter().map(AsFd::as_fd));
        let mut kept = self.kept.chunks(A_MESSAGE);
        let first = kept.next().unwrap_or(&[]);
        descriptors.extend(first.iter().map(AsFd::as_fd));
        channel.send_with(&job, &descriptors)?;
        for more in kept {
            let more: Vec<_> = more.iter().map(AsFd::as_fd).collect();
            channel.send_with(&(), &more)?;
        }
        Ok(())
    }
}
