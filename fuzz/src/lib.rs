//! What `hack/fuzz` feeds with bytes: every reader of what callers, images and old records say. A
//! target fails when the reader panics, overflows, or breaks what its callers rely on. Nothing here
//! may change the host but below a temporary directory of its own.

mod archives;
mod document;
mod edits;
mod guests;
mod images;
mod messages;

pub use archives::{archive, unpack};
pub use guests::{guest, pct};
pub use images::image;
pub use messages::stub;

use std::path::Path;

use pxrun::cgroup::Host;
use pxrun::spec::{HostFacts, Validated};
use pxrun::state::{ProcStat, Record};
use serde_json::Value;

/// A `config.json` and all that is planned from it.
pub fn config(data: &[u8]) {
    if let Ok(value) = serde_json::from_slice(data) {
        document::judge(value);
    }
}

/// A real document with some of its nodes replaced or taken out.
pub fn edits(data: &[u8]) {
    document::judge(edits::edited(data));
}

/// The `process.json` of `exec`, and the resources of `update`.
pub fn process(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    let facts = HostFacts::default();
    let base = edits::base();
    if let Ok((process, _)) = Validated::process_from(value.clone(), base.spec(), &facts) {
        document::set_up(&process, &value, base.spec());
    }
    let _ = Validated::resources_from(value, &facts);
}

/// A command line, its words separated by NUL.
pub fn argv(data: &[u8]) {
    use std::os::unix::ffi::OsStringExt;
    let words = data.split(|byte| *byte == 0);
    let words = words.map(|word| std::ffi::OsString::from_vec(word.to_vec()));
    match pxrun::cli::Cli::parse_from_args(std::iter::once("pxrun".into()).chain(words)) {
        Ok(cli) => {
            let _ = cli.command.enters_container();
            let _ = cli.global.root_dir(0, None);
        }
        Err(pxrun::cli::Early::Usage(usage)) => assert!(!usage.to_string().is_empty()),
        Err(pxrun::cli::Early::Print(text)) => assert!(!text.to_string().is_empty()),
    }
}

/// `linux.seccomp`, compiled.
pub fn seccomp(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    let mut config = edits::base().raw().clone();
    config["linux"]["seccomp"] = value;
    let Ok(valid) = Validated::new(config, &HostFacts::default()) else {
        return;
    };
    let linux = valid.spec().linux().as_ref();
    if let Some(filter) = linux.and_then(|linux| linux.seccomp().as_ref())
        && let Ok(program) = pxrun::seccomp::Program::compile(filter)
    {
        assert!((1..=4096).contains(&program.instructions()));
    }
}

/// A state record: what is read is written back the same.
pub fn record(data: &[u8]) {
    let Ok(record) = serde_json::from_slice::<Record>(data) else {
        return;
    };
    let written = serde_json::to_vec(&record).expect("a record can be written");
    let again: Record = serde_json::from_slice(&written).expect("and read again");
    assert_eq!(
        written,
        serde_json::to_vec(&again).expect("and written again")
    );
    let _ = record.oci_state(pxrun::state::Status::Stopped, None);
    let _ = (record.is_of_this_boot(), record.cgroup.path());
}

/// The texts of `/proc`: `stat` holds a name that its process chose, `mountinfo` paths of anybody.
pub fn proc(data: &[u8]) {
    use procfs::FromBufRead;
    if let Some(stat) = ProcStat::parse(data) {
        let _ = stat.has_ended();
    }
    let _ = procfs::process::MountInfos::from_buf_read(data);
    let _ = procfs::ProcessCGroups::from_buf_read(data);
    let _ = pxrun::cgroup::clean(Path::new(&*String::from_utf8_lossy(data)));
}

/// `config.toml`.
pub fn settings(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Err(error) = pxrun::config::Config::parse(Path::new("/etc/pxrun/config.toml"), text)
    {
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

/// The host whose hierarchies paths are laid on, looked at once.
fn host() -> &'static Host {
    use std::sync::OnceLock;
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| Host::read().expect("this host has cgroups"))
}
