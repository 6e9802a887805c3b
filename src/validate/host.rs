//! Fields against this host: files that must be there, names that the kernel must know.
//! It must not open anything but directories and `/proc`; paths of the rootfs only below its descriptor.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::fstat;
use serde_json::Value;

use super::{Finding, Level, Source};
use crate::assemble::open_root;
use crate::rootfs::resolve::{self, Links};

/// Where a name without a slash is looked for when the environment has no PATH (execvp(3)).
const PATH: &str = "/bin:/usr/bin";
/// Mount types that no file system stands behind.
const NO_FILESYSTEM: [&str; 5] = ["", "none", "bind", "rbind", "cgroup"];

/// Adds what this host lacks.
pub fn check(bundle: &Path, raw: &Value, into: &mut Vec<Finding>) {
    let mut host = Host { raw, into };
    let root = raw["root"]["path"].as_str().unwrap_or("rootfs");
    let rootfs = bundle.join(root);
    match open_root(&rootfs) {
        Ok(root) => host.process(&root),
        Err(_) => host.error(
            "root.path",
            format!("`{}` is no directory", rootfs.display()),
        ),
    }
    host.mounts(bundle);
    host.paths();
    host.limits();
    host.sysctl();
    host.devices();
}

struct Host<'a> {
    raw: &'a Value,
    into: &'a mut Vec<Finding>,
}

impl Host<'_> {
    fn add(&mut self, level: Level, field: impl Into<String>, text: impl Into<String>) {
        self.into.push(Finding {
            level,
            source: Source::Host,
            field: field.into(),
            text: text.into(),
        });
    }

    fn error(&mut self, field: impl Into<String>, text: impl Into<String>) {
        self.add(Level::Error, field, text);
    }

    fn list(&self, pointer: &str) -> &[Value] {
        let list = self.raw.pointer(pointer).and_then(Value::as_array);
        list.map_or(&[], Vec::as_slice)
    }

    /// Whether something is mounted over a path of the container, which can't be looked at yet.
    fn is_covered(&self, path: &Path) -> bool {
        self.list("/mounts").iter().any(|mount| {
            let destination = mount["destination"].as_str().unwrap_or("/");
            path.starts_with(destination) && destination != "/"
        })
    }

    fn process(&mut self, root: &OwnedFd) {
        let process = &self.raw["process"];
        if let Some(cwd) = process["cwd"].as_str() {
            let found = resolve::open(root.as_fd(), Path::new(cwd), Links::Follow);
            if found.is_err() && !self.is_covered(Path::new(cwd)) {
                self.error(
                    "process.cwd",
                    format!("`{cwd}` is not in the root file system"),
                );
            }
        }
        let Some(program) = process["args"][0].as_str() else {
            return;
        };
        let candidates = self.candidates(program);
        if candidates.iter().any(|path| self.is_covered(path)) {
            return;
        }
        if !candidates.iter().any(|path| is_program(root, path)) {
            let text = format!("`{program}` is no program in the root file system");
            self.error("process.args[0]", text);
        }
    }

    /// Where the kernel or execvp(3) would look for a program.
    fn candidates(&self, program: &str) -> Vec<PathBuf> {
        let process = &self.raw["process"];
        if program.contains('/') {
            let cwd = Path::new(process["cwd"].as_str().unwrap_or("/"));
            return vec![cwd.join(program)];
        }
        let env = process["env"].as_array().into_iter().flatten();
        let mut env = env.filter_map(Value::as_str);
        let path = env.find_map(|entry| entry.strip_prefix("PATH="));
        let dirs = path.unwrap_or(PATH).split(':');
        dirs.map(|dir| Path::new(dir).join(program)).collect()
    }

    fn mounts(&mut self, bundle: &Path) {
        let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        let known: Vec<&str> = known.lines().filter_map(|l| l.split('\t').nth(1)).collect();
        for (number, mount) in self.raw["mounts"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
        {
            let kind = mount["type"].as_str().unwrap_or_default();
            let options = mount["options"].as_array().into_iter().flatten();
            let mut options = options.filter_map(Value::as_str);
            let is_bind = kind == "bind" || options.any(|o| o == "bind" || o == "rbind");
            let source = mount["source"].as_str().unwrap_or_default();
            if is_bind {
                if !bundle.join(source).exists() {
                    let text = format!("`{source}` is not there");
                    self.error(format!("mounts[{number}].source"), text);
                }
            } else if !known.contains(&kind) && !NO_FILESYSTEM.contains(&kind) {
                // The kernel may still load a module for it when it is mounted.
                let text = format!("`{kind}` is no file system that this kernel has");
                self.error(format!("mounts[{number}].type"), text);
            }
        }
    }

    /// Files of the host that have to be there.
    fn paths(&mut self) {
        let mut wanted: Vec<(String, String)> = Vec::new();
        for (number, namespace) in self.list("/linux/namespaces").iter().enumerate() {
            if let Some(path) = namespace["path"].as_str() {
                wanted.push((format!("linux.namespaces[{number}].path"), path.to_owned()));
            }
        }
        for (name, hooks) in self.raw["hooks"].as_object().into_iter().flatten() {
            for (number, hook) in hooks.as_array().into_iter().flatten().enumerate() {
                // Those two run inside of the container.
                let inside = name == "startContainer";
                if let (false, Some(path)) = (inside, hook["path"].as_str()) {
                    wanted.push((format!("hooks.{name}[{number}].path"), path.to_owned()));
                }
            }
        }
        if let Some(path) = self.raw["linux"]["seccomp"]["listenerPath"].as_str() {
            wanted.push(("linux.seccomp.listenerPath".into(), path.to_owned()));
        }
        for (field, path) in wanted {
            if !Path::new(&path).exists() {
                self.error(field, format!("`{path}` is not there"));
            }
        }
    }

    /// Limits above this process's own take a capability.
    fn limits(&mut self) {
        let may = caps::has_cap(
            None,
            caps::CapSet::Effective,
            caps::Capability::CAP_SYS_RESOURCE,
        );
        if may.unwrap_or(false) {
            return;
        }
        let own = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        for (number, limit) in self.list("/process/rlimits").to_vec().iter().enumerate() {
            let name = limit["type"].as_str().unwrap_or_default();
            let (Some(wanted), Some(most)) = (limit["hard"].as_u64(), hard_limit(&own, name))
            else {
                continue;
            };
            if wanted > most {
                let text = format!("`{wanted}` is above `{most}`, which takes CAP_SYS_RESOURCE");
                self.error(format!("process.rlimits[{number}].hard"), text);
            }
        }
    }

    fn sysctl(&mut self) {
        let keys = self.raw["linux"]["sysctl"].as_object();
        let keys: Vec<String> = keys
            .into_iter()
            .flatten()
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            let path = key.replace('.', "/");
            let path = Path::new(&path);
            let plain = path.components().all(|c| matches!(c, Component::Normal(_)));
            if !plain || !Path::new("/proc/sys").join(path).exists() {
                self.error(
                    format!("linux.sysctl[{key}]"),
                    "this kernel doesn't have it",
                );
            }
        }
    }

    fn devices(&mut self) {
        let devices = self.raw["linux"]["netDevices"].as_object();
        let names: Vec<String> = devices
            .into_iter()
            .flatten()
            .map(|(n, _)| n.clone())
            .collect();
        for name in names {
            if !Path::new("/sys/class/net").join(&name).exists() {
                let text = format!("`{name}` is no network device of this host");
                self.error(format!("linux.netDevices[{name}]"), text);
            }
        }
    }
}

/// A regular file that somebody may execute.
fn is_program(root: &OwnedFd, path: &Path) -> bool {
    let found: Result<OwnedFd, Errno> = resolve::open(root.as_fd(), path, Links::Follow);
    let stat = found.and_then(|fd| fstat(fd.as_raw_fd()));
    stat.is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFREG && stat.st_mode & 0o111 != 0)
}

/// The hard limit in `/proc/self/limits`; `None` where there is none, or it isn't known.
fn hard_limit(text: &str, name: &str) -> Option<u64> {
    let title = match name {
        "RLIMIT_NOFILE" => "Max open files",
        "RLIMIT_NPROC" => "Max processes",
        "RLIMIT_CORE" => "Max core file size",
        "RLIMIT_MEMLOCK" => "Max locked memory",
        "RLIMIT_STACK" => "Max stack size",
        _ => return None,
    };
    let line = text.lines().find_map(|line| line.strip_prefix(title))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
