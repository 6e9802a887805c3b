//! What every way of running a container has to offer, and the one place that chooses among them.
//! Must not know argument types, the configuration file or standard error.

pub mod delegate;
pub mod embedded;
pub mod jail;
pub mod linux;
pub mod lxc;
mod objections;
pub mod proxmox;
mod settings;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use serde_json::Value;

pub use objections::objections;
pub use settings::{Settings, is_name};

use crate::cgroup::OomWatch;
use crate::doctor::Finding;
use crate::route::{Ability, Need};
use crate::spec::Validated;
use crate::state::{ContainerDir, ProcessId, Record, Root, Status};

/// The caller's wishes for a new container beside its bundle.
#[derive(Debug, Default)]
pub struct CreateOptions {
    /// `--console-socket`.
    pub console_socket: Option<PathBuf>,
    /// `--pidfd-socket`.
    pub pidfd_socket: Option<PathBuf>,
    /// `--preserve-fds`.
    pub preserve_fds: u32,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// Where compiled filters are kept.
    pub filter_cache: Option<PathBuf>,
    /// What is configured for the backends.
    pub settings: Settings,
}

/// A container in the making. Dropping it without [`Creation::commit`] leaves the rollback to the
/// caller.
pub trait Creation {
    /// The process that callers are told of.
    fn init(&self) -> ProcessId;
    /// Refers to the same process.
    fn pidfd(&self) -> std::os::fd::BorrowedFd<'_>;
    /// Everything is written down: the container may outlive this command.
    fn commit(self: Box<Self>) -> anyhow::Result<()>;
}

/// One process for `exec`.
#[derive(Debug)]
pub struct ExecRequest {
    /// The process, typed.
    pub process: oci_spec::runtime::Process,
    /// The same as JSON.
    pub raw: Value,
    /// `--console-socket`, or the foreground's own.
    pub console: Option<std::os::unix::net::UnixStream>,
    /// `--preserve-fds`.
    pub preserve_fds: u32,
    /// `--cgroup`: sub-cgroups, as typed.
    pub cgroups: Vec<String>,
    /// Where compiled filters are kept.
    pub filter_cache: Option<PathBuf>,
}

/// A process that runs in a container: this command's child.
#[derive(Debug)]
pub struct Running {
    /// Its pid.
    pub pid: i32,
    /// Refers to it whatever becomes of the pid.
    pub pidfd: OwnedFd,
}

/// One way of running containers. Every call gets the record and works from it alone.
pub trait Backend {
    /// Builds everything but the user's process. The record's `init` is saved as soon as there is
    /// one.
    fn create(
        &self,
        dir: &ContainerDir,
        record: &mut Record,
        spec: &Validated,
        options: CreateOptions,
    ) -> anyhow::Result<Box<dyn Creation>>;
    /// Lets the user's process run; returns when its execve has succeeded.
    fn start(&self, dir: &ContainerDir, record: &Record) -> anyhow::Result<()>;
    /// Runs one more process in the container.
    fn exec(
        &self,
        record: &Record,
        config: &Validated,
        job: ExecRequest,
    ) -> anyhow::Result<Running>;
    /// The container's root as a path of the host, for reading its user database.
    fn root_path(&self, record: &Record) -> anyhow::Result<PathBuf>;
    /// Signals init, or with `all` every process.
    fn kill(&self, record: &Record, signal: i32, all: bool) -> anyhow::Result<()>;
    /// Freezes all processes.
    fn pause(&self, record: &Record) -> anyhow::Result<()> {
        Ok(record.cgroup.freeze()?)
    }
    /// Lets them run again.
    fn resume(&self, record: &Record) -> anyhow::Result<()> {
        Ok(record.cgroup.thaw()?)
    }
    /// Whether [`Backend::pause`] is in force.
    fn is_paused(&self, record: &Record) -> bool {
        record.cgroup.is_frozen().unwrap_or(false)
    }
    /// Changes limits of a running container.
    fn update(
        &self,
        record: &Record,
        resources: &oci_spec::runtime::LinuxResources,
        raw: &Value,
    ) -> anyhow::Result<()>;
    /// Changes the container's class of service in resctrl, making it if there is none.
    fn update_rdt(
        &self,
        _dir: &ContainerDir,
        _record: &mut Record,
        _rdt: &oci_spec::runtime::LinuxIntelRdt,
    ) -> anyhow::Result<()> {
        anyhow::bail!("--l3-cache-schema, --mem-bw-schema: not supported by this backend")
    }
    /// Host pids of all processes, ascending.
    fn pids(&self, record: &Record) -> anyhow::Result<Vec<i32>>;
    /// The `data` of a stats event.
    fn stats(&self, record: &Record) -> anyhow::Result<Value>;
    /// Its state, where the backend knows it better than record and locks do.
    fn status(&self, record: &Record) -> Option<Status> {
        let _ = record;
        None
    }
    /// Reports when the container runs out of memory, and when nothing more will come.
    fn watch_oom(&self, record: &Record) -> anyhow::Result<OomWatch> {
        Ok(record.cgroup.watch_oom()?)
    }
    /// Ends whatever still runs and removes everything but the record. Works on half-made
    /// containers.
    fn destroy(&self, record: &Record) -> anyhow::Result<()>;
}

/// The backend of that name, as it stands in a record.
///
/// # Errors
/// A name that this version doesn't have.
pub fn by_name(name: &str) -> anyhow::Result<&'static dyn Backend> {
    match name {
        embedded::NAME => Ok(&embedded::Embedded),
        lxc::NAME => Ok(&lxc::Lxc),
        proxmox::NAME => Ok(&proxmox::Proxmox),
        other if is_delegate(other) => Ok(&delegate::Delegate),
        other => anyhow::bail!("backend `{other}` is unknown to this version"),
    }
}

/// Backends that a host may have without a word in the configuration.
pub const KNOWN: [&str; 6] = [embedded::NAME, "lxc", "proxmox", "jail", "crun", "runc"];

/// Names that are or will be backends of pxrun's own; every other one is another runtime's.
const OWN: [&str; 4] = [embedded::NAME, lxc::NAME, proxmox::NAME, "jail"];

/// Whether containers of that backend belong to another runtime.
pub fn is_delegate(name: &str) -> bool {
    is_name(name) && !OWN.contains(&name)
}

/// What runs containers on a host of this kind when nothing says otherwise.
pub fn of_this_host(settings: &Settings) -> &'static str {
    // Guests take root; without it the node is a host like any other.
    match nix::unistd::geteuid().is_root() && proxmox::is_node(&settings.proxmox) {
        true => proxmox::NAME,
        false => embedded::NAME,
    }
}

/// What the backend of that name can't do on this host.
pub fn ability(name: &str, settings: &Settings, root: &Root) -> Ability {
    if is_delegate(name) {
        let own = settings.delegates.get(name).cloned().unwrap_or_default();
        return delegate::ability(name, &own, root);
    }
    match (name, by_name(name)) {
        (_, Err(error)) => Ability::unusable(error.to_string()),
        (embedded::NAME, _) => Need::OTHER_PLATFORMS
            .iter()
            .fold(Ability::default(), |ability, need| {
                ability.without(*need, "it runs Linux programs on this kernel")
            })
            .without(Need::Checkpoint, "criu is used by crun and runc only"),
        _ => Ability::default(),
    }
}

/// The version that runs containers of that backend.
pub fn version(name: &str, settings: &Settings, root: &Root) -> Option<String> {
    if !is_delegate(name) {
        let known = by_name(name).is_ok();
        return known.then(|| format!("pxrun {}", env!("CARGO_PKG_VERSION")));
    }
    let own = settings.delegates.get(name).cloned().unwrap_or_default();
    let runtime = delegate::Runtime::find(name, &own, root).ok()?;
    let asked = delegate::Abilities::of(&runtime, root).ok()?;
    Some(asked.version_line().to_owned())
}

/// The program of another runtime.
pub fn program(name: &str, settings: &Settings, root: &Root) -> Option<PathBuf> {
    let own = settings.delegates.get(name).cloned().unwrap_or_default();
    let found = is_delegate(name).then(|| delegate::Runtime::find(name, &own, root));
    Some(found?.ok()?.program)
}

/// What a backend of pxrun's own has to say in `doctor` beside its [`ability`]: the place for what
/// only it knows to look at.
pub fn findings(name: &str, settings: &Settings) -> Vec<Finding> {
    let _ = (name, settings);
    Vec::new()
}

/// Where compiled filters are kept: a name that no container can have.
pub fn filter_cache(root: &Root) -> PathBuf {
    root.path().join("@filters")
}

/// The absolute path of a bundle's root file system.
pub fn rootfs_path(bundle: &Path, spec: &oci_spec::runtime::Spec) -> PathBuf {
    let root = spec.root().as_ref().map(|root| root.path().as_path());
    bundle.join(root.unwrap_or(Path::new("rootfs")))
}
