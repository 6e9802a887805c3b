//! `make bench`: pxrun, runc and crun on the same bundle, in turns, with and without a seccomp
//! profile. Prints the README's table and fails where pxrun is grossly slower than it should be;
//! it must not tell why.

#[path = "../tests/common/mod.rs"]
mod common;
mod support;

#[path = "runtimes"]
mod runtimes {
    pub mod delegation;
    pub mod report;
    pub mod rounds;
}

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use runtimes::{report, rounds};
use support::{Caller, Result, machine};

/// Measures pxrun against runc and crun.
#[derive(Debug, Parser)]
struct Args {
    /// Rounds that count; each calls every runtime once with and once without the profile
    #[arg(long, default_value_t = 60)]
    rounds: usize,
    /// Rounds before those, which don't count
    #[arg(long, default_value_t = 3)]
    warm_up: usize,
    /// Milliseconds between two calls, the same for all
    #[arg(long, default_value_t = 10)]
    gap: u64,
    /// Page whose table between the markers is replaced
    #[arg(long)]
    update: Option<PathBuf>,
    /// The runtime under test
    #[arg(long)]
    pxrun: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    support::finish("bench", measure(&Args::parse()))
}

fn measure(args: &Args) -> Result<bool> {
    // Before anything makes a thread: a mount namespace is a matter of each thread.
    let view = machine::common_cgroup_view()?;
    machine::go_first();
    support::caller::become_subreaper()?;
    let sandbox = common::sandbox::Sandbox::new("bench", "");
    let callers = callers(args, &sandbox.dir)?;
    let maker = support::bundle::Maker::new(&sandbox.dir, &sandbox.name);
    let before = machine::load();
    let taken = rounds::take(&callers, &maker, args.warm_up, args.rounds, args.gap)?;
    let report = report::Report {
        callers: &callers,
        taken: &taken,
        view,
        load: before.max(machine::load()),
        rounds: args.rounds,
        gap: args.gap,
    };
    let text = report.markdown();
    println!("{text}");
    if let Some(page) = &args.update {
        support::table::replace_between(page, "bench", &text)?;
    }
    Ok(report.judge())
}

/// pxrun first, delegation last; the peers have to be there, or nothing is compared.
fn callers(args: &Args, place: &Path) -> Result<Vec<Caller>> {
    let own = args.pxrun.clone().unwrap_or_else(common::runtime);
    let mut all = vec![Caller::new("pxrun", &own.canonicalize()?, place)];
    for name in ["runc", "crun"] {
        let dirs = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
        let found = dirs.iter().map(|dir| Path::new(dir).join(name));
        let path = found.into_iter().find(|path| path.exists());
        let path = path.ok_or_else(|| format!("{name} is missing: hack/test-deps installs it"))?;
        all.push(Caller::new(name, &path, place));
    }
    all.push(delegating(&all[0], place)?);
    Ok(all)
}

/// pxrun again, with all containers going to crun.
fn delegating(own: &Caller, place: &Path) -> Result<Caller> {
    let config = place.join("delegating.toml");
    std::fs::write(&config, "[default]\nbackend = \"crun\"\n")?;
    Ok(Caller {
        config: Some(config),
        ..Caller::new(runtimes::delegation::NAME, &own.path, place)
    })
}
