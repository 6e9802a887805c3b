//! `spec`: a config.json to start from.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::Context as _;

use crate::bundle::CONFIG_FILE;
use crate::cli;
use crate::host;
use crate::spec::template;

pub fn run(args: cli::Spec) -> anyhow::Result<()> {
    let path = args.bundle.unwrap_or_default().join(CONFIG_FILE);
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let facts = host::facts();
    let value = template::default_spec(args.rootless, uid.as_raw(), gid.as_raw(), facts.cgroup_v2);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&path)
        .with_context(|| format!("write `{}`", path.display()))?;
    let text = serde_json::to_string_pretty(&value)?;
    writeln!(file, "{text}").with_context(|| format!("write `{}`", path.display()))
}
