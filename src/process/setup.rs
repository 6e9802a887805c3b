//! The process of the spec, read and checked on the host, then set up inside the container.
//! It must not order the steps differently without reason: each one takes rights from the next.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libcontainer::config::PersonalityDomain;
use libcontainer::process::memory_policy::setup_memory_policy;
use libcontainer::syscall::Syscall;
use libcontainer::syscall::linux::LinuxSyscall;
use nix::sys::prctl::set_no_new_privs;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, getpid};
use oci_spec::runtime::{
    Linux, LinuxMemoryPolicy, LinuxPersonality, LinuxPersonalityDomain, PosixRlimit, Process, User,
};
use serde_json::Value;

use super::capabilities::Sets;
use super::label::{Labels, Lsm};
use super::priority::{self, Priority};
use super::warned::{PERSONALITY_FLAGS, warn};
use super::{Environment, ProcessError, Ready, Reason};
use super::{executable, identity, keyring, limits, passwd};
use crate::seccomp::notify::Listener;
use crate::seccomp::{Program, SeccompError};
use crate::sys::process::Image;

/// runc's umask for a container's init when `process.user.umask` is missing.
const INIT_UMASK: u32 = 0o022;

/// What the process object doesn't say.
#[derive(Debug, Default)]
pub struct Options {
    /// The container's first process; otherwise one of `exec`.
    pub init: bool,
    /// The process is in a user namespace other than pxrun's.
    pub userns: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// `--preserve-fds`: how many descriptors from 3 up (after `listen_fds`) the process keeps.
    pub preserve_fds: u32,
    /// How many descriptors from 3 up are passed by sd_listen_fds(3), see [`super::listen_fds`].
    pub listen_fds: u32,
    /// The container's id; the session keyring is named after it.
    pub id: String,
    /// What the host's kernel has turned on, see [`Lsm::detect`].
    pub lsm: Lsm,
    /// The compiled filter.
    pub seccomp: Option<Program>,
    /// The connected agent of a filter that notifies.
    pub listener: Option<Listener>,
}

/// A process that is known to be well-formed and not yet set up.
#[derive(Debug)]
pub struct Setup {
    args: Vec<String>,
    environment: Environment,
    user: User,
    cwd: PathBuf,
    capabilities: Sets,
    rlimits: Vec<PosixRlimit>,
    no_new_privileges: bool,
    oom_score_adj: Option<i32>,
    labels: Labels,
    priority: Priority,
    initial_cpus: Option<String>,
    final_cpus: Option<String>,
    memory_policy: Option<LinuxMemoryPolicy>,
    personality: Option<LinuxPersonalityDomain>,
    init: bool,
    userns: bool,
    keyring: Option<String>,
    preserve_fds: u32,
    listen_fds: u32,
    seccomp: Option<Program>,
    listener: Option<Arc<Listener>>,
}

impl Setup {
    /// Reads `process` (and `raw`, the same object as JSON) on the host; nothing is changed yet.
    ///
    /// `linux` gives `personality` and `memoryPolicy`.
    ///
    /// # Errors
    /// What can be seen to be wrong without trying.
    pub fn new(
        process: &Process,
        raw: &Value,
        linux: Option<&Linux>,
        options: Options,
    ) -> Result<Self, ProcessError> {
        let notifies = options.seccomp.as_ref().is_some_and(Program::notifies);
        if notifies && options.listener.is_none() {
            return Err(SeccompError::NoListener.into());
        }
        let affinity = process
            .exec_cpu_affinity()
            .as_ref()
            .filter(|_| !options.init);
        Ok(Self {
            args: arguments(process)?,
            environment: Environment::new(process.env().as_deref().unwrap_or_default())?,
            user: process.user().clone(),
            cwd: process.cwd().clone(),
            capabilities: Sets::new(process.capabilities().as_ref()),
            rlimits: process.rlimits().clone().unwrap_or_default(),
            no_new_privileges: process.no_new_privileges().unwrap_or(false),
            oom_score_adj: process.oom_score_adj(),
            labels: Labels::new(
                process.apparmor_profile().as_deref(),
                process.selinux_label().as_deref(),
                options.lsm,
            )?,
            priority: Priority::new(&scheduler(process, raw), process.io_priority().as_ref())?,
            initial_cpus: affinity.and_then(|cpus| cpus.initial().clone()),
            final_cpus: affinity.and_then(|cpus| cpus.cpu_affinity_final().clone()),
            memory_policy: linux.and_then(|linux| linux.memory_policy().clone()),
            personality: linux
                .and_then(|linux| linux.personality().as_ref())
                .map(domain),
            init: options.init,
            userns: options.userns,
            keyring: (!options.no_new_keyring).then_some(options.id),
            preserve_fds: options.preserve_fds,
            listen_fds: options.listen_fds,
            seccomp: options.seccomp,
            listener: options.listener.map(Arc::new),
        })
    }

    /// Puts the caller on `execCPUAffinity.initial`: before the clone, so that the new process is
    /// there before it enters the container's cgroup.
    ///
    /// # Errors
    /// A list that can't be read, or no cpu of it that may be used.
    pub fn pin_before_cgroup(&self) -> Result<(), ProcessError> {
        let list = self.initial_cpus.as_deref().filter(|list| !list.is_empty());
        list.map_or(Ok(()), |list| priority::pin(Pid::from_raw(0), list))
    }

    /// Sets on the waiting child `pid` what only the host's rights can set; call it always.
    ///
    /// The OOM score needs the host's `/proc`; limits, scheduler and I/O priority are set here when
    /// the child is in a user namespace, whose capabilities don't count for them.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn from_host(&self, pid: Pid) -> Result<(), ProcessError> {
        if let Some(score) = self.oom_score_adj {
            let path = format!("/proc/{pid}/oom_score_adj");
            let written = std::fs::write(path, score.to_string());
            written.map_err(|error| ProcessError::OomScore {
                score,
                pid: pid.as_raw(),
                source: Reason::from(error),
            })?;
        }
        if self.userns {
            self.priority.apply(pid)?;
            limits::apply(pid, &self.rlimits)?;
        }
        Ok(())
    }

    /// Sets up the caller, which stands in the container as (mapped) root with all capabilities.
    ///
    /// Everything that can fail fails here, at `create`; what is left waits in [`Ready`].
    ///
    /// # Errors
    /// The first step that fails. The caller's process is then half set up, and should end.
    pub fn prepare(&self) -> Result<Ready, ProcessError> {
        self.inherit_nothing()?;
        self.schedule()?;
        self.restrict()?;
        let environment = self.final_environment();
        identity::own_stdio(self.user.uid())?;
        // From here on few descriptors may be left to open.
        if !self.userns {
            limits::apply(Pid::from_raw(0), &self.rlimits)?;
        }
        self.capabilities.bound()?;
        identity::assume(&self.user, &self.cwd, self.userns)?;
        // Loading a filter takes no_new_privs or CAP_SYS_ADMIN, seccomp(2).
        let admin = self.seccomp.is_some() && !self.no_new_privileges;
        self.capabilities.apply(admin)?;
        self.ready(environment)
    }

    /// Keys, affinity and descriptors that came from pxrun's caller.
    fn inherit_nothing(&self) -> Result<(), ProcessError> {
        if let Some(id) = &self.keyring {
            let join = || keyring::join(id, self.init, self.userns);
            self.labels.label_keys(join)?;
        }
        let kept = i32::try_from(self.preserve_fds.saturating_add(self.listen_fds));
        let kept = kept.unwrap_or(i32::MAX - 3);
        // Close-on-exec rather than closed: the start socket is needed until execve(2).
        LinuxSyscall.close_range(kept).map_err(|error| {
            tracing::debug!(%error, "close_range");
            ProcessError::step("mark inherited descriptors close-on-exec")(errno_of(&error))
        })
    }

    fn schedule(&self) -> Result<(), ProcessError> {
        match self.final_cpus.as_deref().filter(|list| !list.is_empty()) {
            Some(list) => priority::pin(Pid::from_raw(0), list)?,
            None => priority::unpin(),
        }
        if !self.userns {
            self.priority.apply(Pid::from_raw(0))?;
        }
        setup_memory_policy(&self.memory_policy, &LinuxSyscall).map_err(ProcessError::MemoryPolicy)
    }

    fn restrict(&self) -> Result<(), ProcessError> {
        if let Some(domain) = self.personality {
            let set = LinuxSyscall.personality(match domain {
                LinuxPersonalityDomain::PerLinux => PersonalityDomain::Linux,
                LinuxPersonalityDomain::PerLinux32 => PersonalityDomain::Linux32,
            });
            set.map_err(|error| ProcessError::step("set linux.personality")(errno_of(&error)))?;
        }
        // Without a word in the spec, a process of `exec` keeps its caller's, as in runc.
        let default = self.init.then_some(INIT_UMASK);
        if let Some(mask) = self.user.umask().or(default) {
            umask(Mode::from_bits_truncate(mask));
        }
        self.labels.apply()?;
        if self.no_new_privileges {
            set_no_new_privs().map_err(ProcessError::step("set no_new_privs"))?;
        }
        Ok(())
    }

    fn final_environment(&self) -> Environment {
        let mut environment = self.environment.clone();
        if self.listen_fds > 0 {
            environment.set("LISTEN_FDS", &self.listen_fds.to_string());
            environment.set("LISTEN_PID", &getpid().to_string());
        }
        if environment.get("HOME").is_none_or(str::is_empty) {
            environment.set("HOME", &passwd::home(Path::new("/"), self.user.uid()));
        }
        environment
    }

    fn ready(&self, environment: Environment) -> Result<Ready, ProcessError> {
        let name = self.args.first().map(String::as_str).unwrap_or_default();
        let file = executable::find(name, environment.get("PATH"))?;
        let path = c_string("process.args", &file)?;
        let args = self.args.iter().map(|arg| c_string("process.args", arg));
        let entries = environment.entries().iter();
        let entries = entries.map(|entry| c_string("process.env", entry));
        Ok(Ready {
            image: Image::new(
                path,
                args.collect::<Result<_, _>>()?,
                entries.collect::<Result<_, _>>()?,
            ),
            environment: environment.entries().to_vec(),
            seccomp: self.seccomp.clone(),
            listener: self.listener.clone(),
            state: Value::Null,
        })
    }
}

fn arguments(process: &Process) -> Result<Vec<String>, ProcessError> {
    let args = process.args().clone().unwrap_or_default();
    if args.is_empty() {
        return Err(ProcessError::NoArguments);
    }
    for arg in &args {
        c_string("process.args", arg)?;
    }
    Ok(args)
}

fn c_string(what: &'static str, text: &str) -> Result<CString, ProcessError> {
    CString::new(text).map_err(|_| ProcessError::NullByte {
        what,
        text: text.to_owned(),
    })
}

/// The raw object where there is one: oci-spec 0.10 misspells a flag.
fn scheduler(process: &Process, raw: &Value) -> Value {
    let typed = || serde_json::to_value(process.scheduler()).unwrap_or_default();
    raw.get("scheduler").cloned().unwrap_or_else(typed)
}

fn domain(personality: &LinuxPersonality) -> LinuxPersonalityDomain {
    let flags = personality.flags().as_deref().unwrap_or_default();
    if !flags.is_empty() {
        warn(&PERSONALITY_FLAGS, &flags.join(" "));
    }
    personality.domain()
}

fn errno_of(error: &libcontainer::syscall::SyscallError) -> nix::errno::Errno {
    match error {
        libcontainer::syscall::SyscallError::Nix(errno) => *errno,
        _ => nix::errno::Errno::EIO,
    }
}
