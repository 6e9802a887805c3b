//! Everything between "the sandbox stands" and execve: one piece of code for a container's first
//! process and for every later one. Must not touch mounts, namespaces or cgroups.
//!
//! Most is done, and fails, while `create` still listens; only the filter, the last change of
//! capabilities and execve are left for `start`.

mod capabilities;
mod environment;
mod executable;
mod keyring;
mod labels;
mod limits;
mod scheduling;
pub mod user;

use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use libcontainer::config::PersonalityDomain;
use libcontainer::syscall::Syscall;
use libcontainer::syscall::linux::LinuxSyscall;
use nix::errno::Errno;
use nix::unistd::{Gid, Uid};
use oci_spec::runtime::{Linux, LinuxPersonalityDomain, Process};
use serde_json::Value;

use crate::error::Kind;
use crate::seccomp::{self, Program, SeccompError};

pub use labels::LabelFacts;

/// Why a process can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The command can't be executed, in the words that callers look for.
    #[error(transparent)]
    Executable(#[from] Kind),
    /// execve(2) itself failed.
    #[error("exec: {path:?}")]
    Exec {
        /// The program.
        path: String,
        /// The cause.
        #[source]
        source: Errno,
    },
    /// A system call failed.
    #[error("{what}")]
    System {
        /// The field and what was tried.
        what: String,
        /// The cause.
        #[source]
        source: Errno,
    },
    /// A file could not be read or written.
    #[error("{what}")]
    File {
        /// The field and what was tried.
        what: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The configuration asks for something impossible here.
    #[error("{0}")]
    Refused(String),
    /// The filter failed.
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
    /// The filter's agent failed.
    #[error(transparent)]
    Notify(#[from] seccomp::notify::NotifyError),
}

pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(Errno) -> ProcessError {
    let what = what.into();
    move |source| ProcessError::System { what, source }
}

/// What the process's surroundings decide.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A container's first process, not one of `exec`.
    pub init: bool,
    /// It lives in another user namespace than the command.
    pub userns: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// Descriptors to hand down from 3 on, beside those of `LISTEN_FDS`.
    pub preserve_fds: u32,
    /// `LISTEN_FDS` of the command's own environment.
    pub listen_fds: u32,
    /// The container's id, for its keyring's name.
    pub id: String,
    /// The container's filter.
    pub seccomp: Option<Program>,
    /// The container's state, for the filter's agent.
    pub state: Value,
    /// Which label systems the host has.
    pub labels: LabelFacts,
}

impl Options {
    /// The host's part of the options.
    pub fn probe() -> Options {
        let listen_fds = std::env::var("LISTEN_FDS").ok();
        Options {
            listen_fds: listen_fds.and_then(|n| n.parse().ok()).unwrap_or(0),
            labels: LabelFacts::probe(),
            ..Options::default()
        }
    }
}

/// A process that is wholly described and not yet begun.
#[derive(Debug, Clone)]
pub struct Setup {
    process: Process,
    linux: Option<Linux>,
    options: Options,
    args: Vec<CString>,
    agent: Option<(Rc<UnixStream>, String)>,
}

/// A process of which only filter and execve are missing.
#[derive(Debug)]
pub struct Ready {
    path: CString,
    args: Vec<CString>,
    environment: Vec<String>,
    setup: Setup,
    host_pid: i32,
}

impl Setup {
    /// Describes the process; on the host's side, before anything is made.
    ///
    /// # Errors
    /// What can be told without the container: no arguments, labels that the host doesn't have, an
    /// agent that isn't there.
    pub fn new(
        process: &Process,
        linux: Option<&Linux>,
        options: Options,
    ) -> Result<Setup, ProcessError> {
        let args = process.args().iter().flatten();
        let args: Vec<CString> = args
            .map(|arg| CString::new(arg.as_bytes()))
            .collect::<Result<_, _>>()
            .map_err(|_| ProcessError::Refused("process.args: holds a NUL byte".into()))?;
        if args.is_empty() {
            let text = "process.args: is empty, expected at least one argument";
            return Err(ProcessError::Refused(text.into()));
        }
        labels::check(process, &options.labels)?;
        let agent = match linux.and_then(|l| l.seccomp().as_ref()) {
            Some(filter) if options.seccomp.as_ref().is_some_and(Program::notifies) => {
                let none = || {
                    let text = "linux.seccomp.listenerPath: missing, SCMP_ACT_NOTIFY needs it";
                    ProcessError::Refused(text.into())
                };
                let path = filter.listener_path().as_ref().ok_or_else(none)?;
                let stream = seccomp::notify::connect(path)?;
                let metadata = filter.listener_metadata().clone().unwrap_or_default();
                Some((Rc::new(stream), metadata))
            }
            _ => None,
        };
        Ok(Setup {
            process: process.clone(),
            linux: linux.cloned(),
            options,
            args,
            agent,
        })
    }

    /// Which label systems the host has.
    pub fn host_labels(&self) -> LabelFacts {
        self.options.labels
    }

    /// What needs the host's rights, by pid, while the process waits between [`Setup::prepare`]
    /// and [`Ready::exec`]: in a user namespace limits can't be raised and priorities not be
    /// lowered from inside.
    pub fn from_host(&self, pid: i32) -> Result<(), ProcessError> {
        limits::set(pid, self.process.rlimits().as_deref().unwrap_or_default())?;
        limits::set_oom_score(pid, self.process.oom_score_adj())?;
        scheduling::set(pid, &self.process, self.options.init)
    }

    /// Sets up this process, in the container, as root of its user namespace with all
    /// capabilities. `host_pid` is this process as the command sees it.
    pub fn prepare(self, host_pid: i32) -> Result<Ready, ProcessError> {
        crate::sys::process::reset_signals();
        let label = self.process.selinux_label().as_deref();
        if !self.options.no_new_keyring {
            keyring::join_new(&self.options.id, self.options.init, label)?;
        }
        if let Some(policy) = self.linux.as_ref().filter(|l| l.memory_policy().is_some()) {
            let call = LinuxSyscall;
            libcontainer::process::memory_policy::setup_memory_policy(policy.memory_policy(), &call)
                .map_err(|error| ProcessError::Refused(format!("linux.memoryPolicy: {error}")))?;
        }
        self.set_personality()?;
        labels::apply(&self.process)?;
        if self.process.no_new_privileges() == Some(true) {
            nix::sys::prctl::set_no_new_privs().map_err(system("process.noNewPrivileges: set"))?;
        }
        self.close_on_exec()?;
        self.become_user()?;
        let (environment, lookup) = environment::build(&self.process, self.options.listen_fds);
        let path = executable::find(&self.args[0], &lookup)?;
        Ok(Ready {
            path,
            args: self.args.clone(),
            environment,
            host_pid,
            setup: self,
        })
    }

    fn set_personality(&self) -> Result<(), ProcessError> {
        let personality = self.linux.as_ref().and_then(|l| l.personality().as_ref());
        let Some(personality) = personality else {
            return Ok(());
        };
        let domain = match personality.domain() {
            LinuxPersonalityDomain::PerLinux => PersonalityDomain::Linux,
            LinuxPersonalityDomain::PerLinux32 => PersonalityDomain::Linux32,
        };
        LinuxSyscall
            .personality(domain)
            .map_err(|error| ProcessError::Refused(format!("linux.personality: set: {error}")))
    }

    /// Nothing but standard input, output, error and what was asked for survives execve.
    fn close_on_exec(&self) -> Result<(), ProcessError> {
        let kept = self.options.preserve_fds.saturating_add(self.options.listen_fds);
        let kept = i32::try_from(kept).unwrap_or(i32::MAX - 3).min(i32::MAX - 3);
        LinuxSyscall.close_range(kept).map_err(|error| {
            ProcessError::Refused(format!("mark descriptors close-on-exec: {error}"))
        })
    }

    /// Groups, user, working directory, capabilities, in the order that keeps each step possible.
    fn become_user(&self) -> Result<(), ProcessError> {
        let user = self.process.user();
        if let Some(umask) = user.umask() {
            let mode = nix::sys::stat::Mode::from_bits_truncate(umask & 0o777);
            nix::sys::stat::umask(mode);
        }
        self.set_groups()?;
        let cwd = self.process.cwd();
        // As root first: the user may not be allowed into a parent. Then as the user: a directory
        // on a file system that root has no say on.
        let entered = nix::unistd::chdir(cwd);
        let held = capabilities::Held::drop_bounding(self.process.capabilities().as_ref())?;
        nix::sys::prctl::set_keepcaps(true).map_err(system("keep capabilities"))?;
        let (uid, gid) = (Uid::from_raw(user.uid()), Gid::from_raw(user.gid()));
        nix::unistd::setresgid(gid, gid, gid)
            .map_err(system(format!("process.user.gid: change to {gid}")))?;
        nix::unistd::setresuid(uid, uid, uid)
            .map_err(system(format!("process.user.uid: change to {uid}")))?;
        let to_cwd = || format!("process.cwd: change to `{}`", cwd.display());
        match entered {
            Ok(()) => {}
            Err(Errno::EACCES | Errno::EPERM) => {
                nix::unistd::chdir(cwd).map_err(system(to_cwd()))?;
            }
            Err(errno) => return Err(system(to_cwd())(errno)),
        }
        verify_cwd()?;
        nix::sys::prctl::set_keepcaps(false).map_err(system("keep capabilities"))?;
        held.apply(self.needs_admin_for_filter())
    }

    /// Without no_new_privs a filter may be installed only with CAP_SYS_ADMIN (seccomp(2)).
    fn needs_admin_for_filter(&self) -> bool {
        self.options.seccomp.is_some() && self.process.no_new_privileges() != Some(true)
    }

    fn set_groups(&self) -> Result<(), ProcessError> {
        let groups: Vec<Gid> = self
            .process
            .user()
            .additional_gids()
            .iter()
            .flatten()
            .map(|gid| Gid::from_raw(*gid))
            .collect();
        match nix::unistd::setgroups(&groups) {
            // An unprivileged user namespace may deny setgroups; there are none to set then.
            Err(Errno::EPERM) if groups.is_empty() && self.options.userns => Ok(()),
            other => other.map_err(system("process.user.additionalGids: set groups")),
        }
    }
}

/// A working directory outside of the root has no absolute path: a leaked descriptor led there
/// (CVE-2024-21626).
fn verify_cwd() -> Result<(), ProcessError> {
    let outside = || ProcessError::Refused("process.cwd: lies outside of the container".into());
    match nix::unistd::getcwd() {
        Ok(path) if path.is_absolute() => Ok(()),
        Ok(_) | Err(Errno::ENOENT) => Err(outside()),
        Err(errno) => Err(system("process.cwd: look up")(errno)),
    }
}

impl Ready {
    /// The process's environment: for startContainer hooks that name none.
    pub fn environment(&self) -> &[String] {
        &self.environment
    }

    /// Becomes the user's process. Returns only when that fails.
    pub fn exec(self) -> ProcessError {
        if let Err(error) = self.install_filter() {
            return error;
        }
        let environment: Vec<CString> = self
            .environment
            .iter()
            .filter_map(|variable| CString::new(variable.as_bytes()).ok())
            .collect();
        let Err(errno) = nix::unistd::execve(&self.path, &self.args, &environment);
        executable::exec_error(&self.path, errno)
    }

    fn install_filter(&self) -> Result<(), ProcessError> {
        let Some(program) = &self.setup.options.seccomp else {
            return Ok(());
        };
        let listener = program.install()?;
        if let (Some(listener), Some((agent, metadata))) = (listener, &self.setup.agent) {
            let mut state = self.setup.options.state.clone();
            state["pid"] = self.host_pid.into();
            seccomp::notify::send(agent, listener.as_fd(), &state, self.host_pid, metadata)?;
        }
        if self.setup.needs_admin_for_filter() {
            // A profile that forbids capset makes this fail, and the failure is told: a process
            // that keeps CAP_SYS_ADMIN is worse than one that doesn't start.
            capabilities::apply(self.setup.process.capabilities().as_ref())?;
        }
        Ok(())
    }
}

