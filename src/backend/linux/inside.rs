//! What is done inside the container's namespaces before its root is the root: names, mounts,
//! network, sysctls, hooks, terminal. Must not touch the user's process, nor know who made the
//! namespaces.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::Context;
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
use super::waiting::with_status;
use crate::console;
use crate::rootfs::Prepared;

/// The container's side of `create`, as far as it isn't about the process.
pub struct Inside<'a> {
    /// The configuration.
    pub spec: &'a Spec,
    /// What is made and joined.
    pub namespaces: &'a Namespaces,
    /// The mounts, made ready on the host's side.
    pub rootfs: Prepared,
    /// For the state on a hook's standard input; `status` and `pid` are filled in here.
    pub state: Value,
    /// The first process's pid in the container.
    pub init: u32,
    /// The caller's console socket.
    pub console: Option<UnixStream>,
    /// The command's end of the conversation is elsewhere.
    pub channel: End,
}

impl Inside<'_> {
    /// Host and domain name, in a new UTS namespace.
    pub fn name_host(&self) -> anyhow::Result<()> {
        use libcontainer::syscall::Syscall;
        if !self.namespaces.is_new(LinuxNamespaceType::Uts) {
            return Ok(());
        }
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

    /// Mounts, network and sysctls; the root must be in its place.
    pub fn build(&mut self, go: &Go) -> anyhow::Result<()> {
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

    /// Lets the command run its hooks, then runs those of the container.
    pub fn hooks(&self) -> anyhow::Result<()> {
        let Some(hooks) = self.spec.hooks().as_ref() else {
            return Ok(());
        };
        if has_host_hooks(hooks) {
            self.channel.send(&Report::Sandbox)?;
            self.channel.await_go()?;
        }
        let state = with_status(&self.state, "creating", self.init);
        crate::hooks::run_all(
            "createContainer",
            hooks.create_container().as_ref(),
            &state,
            None,
        )?;
        Ok(())
    }

    /// With the container's root as `/`: the terminal, whose slave is returned, or the container's
    /// own `/dev/null`; then what must be read-only or hidden.
    pub fn finish_root(&mut self) -> anyhow::Result<Option<OwnedFd>> {
        let slave = match self.console.take() {
            Some(socket) => Some(self.open_terminal(&socket)?),
            None => {
                self.rootfs.reopen_dev_null()?;
                None
            }
        };
        self.rootfs.seal()?;
        Ok(slave)
    }

    fn open_terminal(&self, socket: &UnixStream) -> anyhow::Result<OwnedFd> {
        let process = self.spec.process().as_ref();
        let size = process.and_then(|p| p.console_size()).map(console_size);
        let pty = console::open_in_container(size)?;
        console::send(socket.as_fd(), "/dev/ptmx", pty.master.as_fd())?;
        self.rootfs.bind_console(pty.slave.as_fd())?;
        Ok(pty.slave)
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
    let up = || -> Result<(), libcontainer::network::NetworkError> {
        let mut client = LinkClient::new(create_network_client())?;
        let index = client.get_by_name(name)?.header.index;
        client.set_up(index)
    };
    up().with_context(|| format!("set network device `{name}` up"))
}
