//! What `linux.rootfsPropagation` means at each stage, see mount_namespaces(7).
//! It must not touch mounts: it only says which flag belongs where.

use nix::mount::MsFlags;

use super::options::Scope;

/// `linux.rootfsPropagation`, parsed. The default is `rslave`, as in runc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootPropagation {
    flag: MsFlags,
    scope: Scope,
}

impl Default for RootPropagation {
    fn default() -> Self {
        Self {
            flag: MsFlags::MS_SLAVE,
            scope: Scope::Tree,
        }
    }
}

impl RootPropagation {
    /// The words of the runtime specification with and without `r`; empty means the default.
    pub fn parse(word: &str) -> Option<Self> {
        let (flag, scope) = match word {
            "" | "rslave" => (MsFlags::MS_SLAVE, Scope::Tree),
            "slave" => (MsFlags::MS_SLAVE, Scope::Top),
            "private" => (MsFlags::MS_PRIVATE, Scope::Top),
            "rprivate" => (MsFlags::MS_PRIVATE, Scope::Tree),
            "shared" => (MsFlags::MS_SHARED, Scope::Top),
            "rshared" => (MsFlags::MS_SHARED, Scope::Tree),
            "unbindable" => (MsFlags::MS_UNBINDABLE, Scope::Top),
            "runbindable" => (MsFlags::MS_UNBINDABLE, Scope::Tree),
            _ => return None,
        };
        Some(Self { flag, scope })
    }

    /// What clones of the host's mounts become, with all below them, before their own options.
    ///
    /// `slave` and `private` cut recursively here, where runc leaves volumes without an option of
    /// their own in the host's peer group: nothing mounted inside may reach the host unasked.
    pub fn of_clones(self) -> Option<MsFlags> {
        match (self.flag, self.scope) {
            (MsFlags::MS_SHARED, Scope::Top) => None,
            (MsFlags::MS_SHARED, Scope::Tree) => Some(MsFlags::MS_SHARED),
            (MsFlags::MS_SLAVE, _) => Some(MsFlags::MS_SLAVE),
            // An unbindable tree can't be attached by a bind; it becomes so at the end.
            _ => Some(MsFlags::MS_PRIVATE),
        }
    }

    /// What the whole new mount namespace becomes on entry; `None`: it stays as copied.
    pub fn of_namespace(self) -> Option<MsFlags> {
        match self.flag {
            MsFlags::MS_SHARED => None,
            MsFlags::MS_SLAVE => Some(MsFlags::MS_SLAVE),
            _ => Some(MsFlags::MS_PRIVATE),
        }
    }

    /// Whether mounts of the host can still be shared in the namespace, so that the parent of the
    /// root must be made private: pivot_root(2) refuses a shared one.
    pub fn leaves_shared(self) -> bool {
        self.flag == MsFlags::MS_SHARED
    }

    /// What the container's root becomes at the end. `rshared` has reached the mounts below when
    /// they were cloned, and must not undo the options that they have of their own.
    pub fn of_root(self) -> Option<(Scope, MsFlags)> {
        match self.flag {
            MsFlags::MS_SHARED => Some((Scope::Top, self.flag)),
            MsFlags::MS_UNBINDABLE => Some((self.scope, self.flag)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let (private, slave, shared) = (MsFlags::MS_PRIVATE, MsFlags::MS_SLAVE, MsFlags::MS_SHARED);
        let cases = [
            ("", Some(slave), Some(slave), None),
            ("rslave", Some(slave), Some(slave), None),
            ("slave", Some(slave), Some(slave), None),
            ("private", Some(private), Some(private), None),
            ("rprivate", Some(private), Some(private), None),
            ("shared", None, None, Some((Scope::Top, shared))),
            ("rshared", Some(shared), None, Some((Scope::Top, shared))),
            (
                "unbindable",
                Some(private),
                Some(private),
                Some((Scope::Top, MsFlags::MS_UNBINDABLE)),
            ),
        ];
        for (word, clones, namespace, root) in cases {
            let p = RootPropagation::parse(word).unwrap();
            assert_eq!(
                (p.of_clones(), p.of_namespace(), p.of_root()),
                (clones, namespace, root),
                "{word}"
            );
        }
        assert_eq!(RootPropagation::parse("Shared"), None);
    }
}
