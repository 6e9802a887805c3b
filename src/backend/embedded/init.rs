//! The container's side of `create`: what init does between the clone and the execve of the user's
//! process. Must not touch the host's files once the root is changed, nor the record at all.

use std::convert::Infallible;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use libcontainer::network::address::AddressClient;
use libcontainer::network::link::LinkClient;
use libcontainer::network::network_device::{
    resolve_device_name, setup_addresses_in_network_namespace,
};
use libcontainer::network::wrapper::create_network_client;
use nix::errno::Errno;
use oci_spec::runtime::{Hooks, LinuxNamespaceType, Spec};
use serde_json::Value;

use super::channel::{End, Go, Report};
use super::namespaces::Namespaces;
use crate::cgroup::Gate;
use crate::console;
use crate::process::Setup;
use crate::rootfs::Prepared;
use crate::seccomp::notify::container_process_state;
use crate::sys::clone::exit_now;

/// Everything that init was given by the command that made it.
pub struct Init<'a> {
    /// The configuration.
    pub spec: &'a Spec,
    /// What to make and join.
    pub namespaces: &'a Namespaces,
    /// Whether the helper has done the joins.
    pub joined: bool,
    /// The mounts, made ready on the host's side.
    pub rootfs: Prepared,
    /// The user's process.
    pub setup: &'a Setup,
    /// For the state on a hook's standard input; `status` and `pid` are filled in here.
    pub state: Value,
    /// The caller's console socket.
    pub console: Option<UnixStream>,
    /// `start` knocks here.
    pub listener: UnixListener,
    /// The command's end of the conversation is elsewhere.
    pub channel: End,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// Doors into the cgroups that the clone didn't lead to.
    pub gate: Option<Gate>,
}

impl Init<'_> {
    /// Runs to the execve, or reports why not and returns an exit code.
    pub fn run(self) -> i32 {
        let channel = self.channel.as_fd().try_clone_to_owned();
        let Err(error) = self.become_container();
        if let Ok(channel) = channel {
            End::from(channel).fail(&crate::error::one_line(&error));
        }
        1
    }

    fn become_container(mut self) -> anyhow::Result<Infallible> {
        let go = self.channel.await_go()?;
        if let Some(gate) = self.gate.take() {
            gate.enter()?;
        }
        self.enter()?;
        self.build(&go)?;
        self.channel_through_hooks()?;
        self.rootfs.pivot(self.no_pivot)?;
        self.finish_root()?;
        let mut ready = self.setup.prepare()?;
        if ready.wants_container_state() {
            ready.container_state(container_process_state(
                &self.state,
                go.pid,
                self.listener_metadata(),
            ));
        }
        self.channel.send(&Report::Ready)?;
        self.channel.await_go()?;
        drop(self.channel);

        let knock = accept(&self.listener)?;
        drop(self.listener);
        let outcome = start_hooks(self.spec.hooks().as_ref(), &self.state, ready.environment())
            .and_then(|()| Err(ready.exec().into()));
        if let Err(error) = &outcome {
            knock.fail(&crate::error::one_line(error));
            // The failure is told: nobody waits on the other channel any more.
            exit_now(1);
        }
        outcome
    }

    /// Session, identity in a new user namespace, remaining namespaces and what is set in them.
    fn enter(&self) -> anyhow::Result<()> {
        if self.namespaces.is_separate(LinuxNamespaceType::User) {
            become_mapped_root()?;
        }
        // Other processes of a shared pid namespace must not look into this one
        // (CVE-2016-9962). Cleared by execve.
        nix::sys::prctl::set_dumpable(false)?;
        nix::unistd::setsid()?;
        if !self.joined {
            self.namespaces.join_all()?;
        }
        self.namespaces.make_late()?;
        if self.namespaces.is_new(LinuxNamespaceType::Uts) {
            self.name_host()?;
        }
        Ok(())
    }

    fn name_host(&self) -> anyhow::Result<()> {
        use anyhow::Context;
        use libcontainer::syscall::Syscall;
        if let Some(name) = self.spec.hostname().as_deref().filter(|n| !n.is_empty()) {
            nix::unistd::sethostname(name).with_context(|| format!("hostname: set `{name}`"))?;
        }
        if let Some(name) = self.spec.domainname().as_deref().filter(|n| !n.is_empty()) {
            libcontainer::syscall::linux::LinuxSyscall
                .set_domainname(name)
                .with_context(|| format!("domainname: set `{name}`"))?;
        }
        Ok(())
    }

    fn build(&mut self, go: &Go) -> anyhow::Result<()> {
        self.rootfs.enter()?;
        self.rootfs.mount_all()?;
        if self.namespaces.is_new(LinuxNamespaceType::Network) {
            set_up("lo")?;
        }
        self.configure_devices(go)?;
        self.write_sysctls()
    }

    /// Network devices that the command has moved here get their addresses back.
    fn configure_devices(&self, go: &Go) -> anyhow::Result<()> {
        let linux = self.spec.linux().as_ref();
        let devices = linux.and_then(|l| l.net_devices().as_ref());
        for (name, addresses) in &go.addresses {
            let Some(device) = devices.and_then(|d| d.get(name)) else {
                continue;
            };
            let inside = resolve_device_name(device, name);
            let mut client = AddressClient::new(create_network_client())?;
            let index = LinkClient::new(create_network_client())?
                .get_by_name(inside)?
                .header
                .index;
            setup_addresses_in_network_namespace(addresses, index, inside, &mut client)?;
            set_up(inside)?;
        }
        Ok(())
    }

    /// Through the host's procfs, before the root changes: which values are meant is decided by
    /// the writer's namespaces, and no path of the rootfs is involved.
    fn write_sysctls(&self) -> anyhow::Result<()> {
        use anyhow::Context;
        let linux = self.spec.linux().as_ref();
        let sysctls = linux.and_then(|l| l.sysctl().as_ref());
        for (key, value) in sysctls.into_iter().flatten() {
            let file = crate::spec::sysctl::file(key)
                .with_context(|| format!("linux.sysctl: `{key}` is no key"))?;
            let path = Path::new("/proc/sys").join(file);
            std::fs::write(&path, value)
                .with_context(|| format!("linux.sysctl: set `{key}` to `{value}`"))?;
        }
        Ok(())
    }

    fn listener_metadata(&self) -> Option<&str> {
        let linux = self.spec.linux().as_ref();
        let filter = linux.and_then(|l| l.seccomp().as_ref());
        filter.and_then(|f| f.listener_metadata().as_deref())
    }

    fn channel_through_hooks(&self) -> anyhow::Result<()> {
        let Some(hooks) = self.spec.hooks().as_ref() else {
            return Ok(());
        };
        if has_host_hooks(hooks) {
            self.channel.send(&Report::Sandbox)?;
            self.channel.await_go()?;
        }
        let state = with_status(&self.state, "creating");
        crate::hooks::run_all(
            "createContainer",
            hooks.create_container().as_ref(),
            &state,
            None,
        )?;
        Ok(())
    }

    fn finish_root(&mut self) -> anyhow::Result<()> {
        let process = self.spec.process().as_ref();
        if let Some(socket) = self.console.take() {
            let size = process.and_then(|p| p.console_size()).map(console_size);
            let pty = console::open_in_container(size)?;
            console::send(socket.as_fd(), "/dev/ptmx", pty.master.as_fd())?;
            self.rootfs.bind_console(pty.slave.as_fd())?;
            console::become_stdio(&pty.slave)?;
        } else {
            self.rootfs.reopen_dev_null()?;
        }
        self.rootfs.seal()?;
        if let Some(process) = process {
            console::give_stdio_to(process.user().uid());
        }
        Ok(())
    }
}

/// Rows and columns as terminals count them.
pub fn console_size(size: oci_spec::runtime::Box) -> (u16, u16) {
    let clamp = |n: u64| u16::try_from(n).unwrap_or(u16::MAX);
    (clamp(size.height()), clamp(size.width()))
}

/// Hooks that run in the command, while init waits.
pub fn has_host_hooks(hooks: &Hooks) -> bool {
    #[allow(deprecated)]
    [hooks.prestart(), hooks.create_runtime()]
        .iter()
        .any(|list| list.as_ref().is_some_and(|l| !l.is_empty()))
}

/// Root of the user namespace, or whatever the mapping has instead of it.
pub fn become_mapped_root() -> Result<(), Errno> {
    // Without groups: those of the caller have no meaning here. Refused where setgroups is denied.
    let _ = nix::unistd::setgroups(&[]);
    let (uid, gid) = (nix::unistd::Uid::from_raw(0), nix::unistd::Gid::from_raw(0));
    match nix::unistd::setresgid(gid, gid, gid) {
        Ok(()) | Err(Errno::EINVAL) => {}
        Err(errno) => return Err(errno),
    }
    match nix::unistd::setresuid(uid, uid, uid) {
        Ok(()) | Err(Errno::EINVAL) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn set_up(name: &str) -> anyhow::Result<()> {
    use anyhow::Context;
    let up = || -> Result<(), libcontainer::network::NetworkError> {
        let mut client = LinkClient::new(create_network_client())?;
        let index = client.get_by_name(name)?.header.index;
        client.set_up(index)
    };
    up().with_context(|| format!("set network device `{name}` up"))
}

fn accept(listener: &UnixListener) -> anyhow::Result<End> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => return Ok(End::from(std::os::fd::OwnedFd::from(stream))),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn start_hooks(hooks: Option<&Hooks>, state: &Value, environment: &[String]) -> anyhow::Result<()> {
    let hooks = hooks.and_then(|h| h.start_container().as_ref());
    let state = with_status(state, "created");
    crate::hooks::run_all("startContainer", hooks, &state, Some(environment))?;
    Ok(())
}

/// The pid is the one that init sees: these hooks run in the container's namespaces (runtime.md,
/// "State").
fn with_status(state: &Value, status: &str) -> Value {
    let mut state = state.clone();
    state["status"] = status.into();
    state["pid"] = std::process::id().into();
    state
}
