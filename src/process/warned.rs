//! Where pxrun only warns, as runc does, though something asked for doesn't take effect.
//! It must stay one short list: everything else that can't be done is an error.

use std::fmt::Display;

/// One thing that is left out with a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warned {
    /// What is left out.
    pub what: &'static str,
    /// Why that is no error.
    pub reason: &'static str,
}

pub(super) const UNKNOWN_CAPABILITY: Warned = Warned {
    what: "ignoring unknown or unavailable capabilities",
    reason: "a capability that this kernel doesn't have can't be used on it either",
};
pub(super) const BOUNDING_SET: Warned = Warned {
    what: "leaving the capability bounding set",
    reason: "pxrun may itself run without CAP_SETPCAP, and then has none to give away",
};
pub(super) const AMBIENT_SET: Warned = Warned {
    what: "can't raise ambient capabilities",
    reason: "callers list ambient capabilities that aren't inheritable; the process gets fewer, never more",
};
pub(super) const PERSONALITY_FLAGS: Warned = Warned {
    what: "ignoring linux.personality.flags",
    reason: "the OCI specification has no flag that is defined",
};

/// Everything that is only warned about.
pub const WARNED: &[Warned] = &[
    UNKNOWN_CAPABILITY,
    BOUNDING_SET,
    AMBIENT_SET,
    PERSONALITY_FLAGS,
];

/// Writes the log line of `row`.
pub(super) fn warn(row: &Warned, detail: &dyn Display) {
    tracing::warn!("{}: {detail}", row.what);
}
