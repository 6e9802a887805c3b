//! FreeBSD jails: what an OCI bundle means there, and in which order a jail is made and taken
//! down. It must not run anything by itself: every command goes through [`run::Runner`].
//!
//! The translation is pure, so its tests run anywhere. None of this has ever run on a real FreeBSD:
//! `docs/freebsd.md` says what that leaves open.

pub mod devices;
pub mod enter;
pub mod hooks;
#[cfg(target_os = "freebsd")]
pub mod kernel;
pub mod life;
pub mod look;
pub mod mounts;
pub mod ocijail;
pub mod parameters;
pub mod process;
mod read;
pub mod run;
pub mod section;

#[cfg(test)]
mod tests;

/// Why a bundle can't become a jail: the field, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
pub struct JailError {
    /// The field of `config.json`.
    pub field: String,
    /// What is wrong.
    pub what: String,
}

impl JailError {
    pub(crate) fn new(field: impl Into<String>, what: impl Into<String>) -> JailError {
        JailError {
            field: field.into(),
            what: what.into(),
        }
    }
}
