//! Everything in a document that has no effect and is still no error, each with its reason.
//! It must not hold a case that runc refuses.

/// A field, or a value of one, that is accepted without effect.
#[derive(Debug, Eq, PartialEq)]
pub struct Warned {
    /// The JSON path, `[]` for any index.
    pub path: &'static str,
    /// Why it is only warned about; it ends the log line.
    pub reason: &'static str,
}

/// The whole list.
pub const WARNED: &[&Warned] = &[
    &CAPABILITY,
    &PERSONALITY_FLAGS,
    &KERNEL_MEMORY,
    &MOUNT_DESTINATION,
    &MOUNT_LABEL,
    &SECCOMP_EMPTY,
    &SECCOMP_NAMES,
    &USERNS_MAPPINGS,
];

/// config.md, "Linux Process": a value that maps to no kernel capability is logged as a warning.
pub const CAPABILITY: Warned = Warned {
    path: "process.capabilities.*[]",
    reason: "unknown capability, dropped",
};

/// config-linux.md, "Personality": no flag is defined so far.
pub const PERSONALITY_FLAGS: Warned = Warned {
    path: "linux.personality.flags",
    reason: "no personality flag is supported, ignored",
};

/// Since Linux 5.16 memory.kmem.limit_in_bytes answers EOPNOTSUPP; cgroup v2 never had it.
pub const KERNEL_MEMORY: Warned = Warned {
    path: "linux.resources.memory.kernel",
    reason: "kernels no longer limit kernel memory apart, ignored",
};

/// config.md wants it absolute; old writers leave the slash out, and it is taken from `/`.
pub const MOUNT_DESTINATION: Warned = Warned {
    path: "mounts[].destination",
    reason: "relative destination, taken from `/`",
};

/// A mount without its label on a host without SELinux is as labelled as anything there. The
/// label of the process is another matter and an error.
pub const MOUNT_LABEL: Warned = Warned {
    path: "linux.mountLabel",
    reason: "SELinux is off on this host, ignored",
};

/// As in runc: Go's zero value of the section means that there is no filter.
pub const SECCOMP_EMPTY: Warned = Warned {
    path: "linux.seccomp",
    reason: "no default action and no rules, no filter is loaded",
};

/// A rule for no system call.
pub const SECCOMP_NAMES: Warned = Warned {
    path: "linux.seccomp.syscalls[].names",
    reason: "rule without system calls, dropped",
};

/// containerd and CRI-O send both the namespace to join and its mappings.
pub const USERNS_MAPPINGS: Warned = Warned {
    path: "linux.uidMappings, linux.gidMappings",
    reason: "the user namespace to join brings its own mappings, these are not written",
};
