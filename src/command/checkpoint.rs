//! `checkpoint` and `restore`: not with the backends of this version, and said so.

/// Refuses in words that tell what to do instead.
pub fn refuse(command: &str) -> anyhow::Result<i32> {
    anyhow::bail!("{command}: the embedded backend can't: it needs crun or runc with criu")
}
