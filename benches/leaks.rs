//! `make leaks`: many containers live and end one after another; afterwards nothing of them may be
//! left. Counts what could be left, and must not know how a runtime makes it.

#[path = "../tests/common/mod.rs"]
mod common;
mod support;

#[path = "leaks"]
mod leaks {
    pub mod census;
    pub mod valgrind;
}

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use leaks::{census::Census, valgrind};
use support::bundle::Maker;
use support::figures::{Sample, growth};
use support::{Caller, Result, machine, table};

/// Cycles before the first count: caches and parents of cgroups come into being here.
const WARM_UP: usize = 3;
/// Growth that is no noise, as a ratio of the last cycles' median to the first ones'.
const SLOWER: f64 = 3.0;

/// Runs many containers and looks for what they leave.
#[derive(Debug, Parser)]
struct Args {
    /// How many lives
    #[arg(long, default_value_t = 1000)]
    cycles: usize,
    /// The runtime under test
    #[arg(long)]
    pxrun: Option<PathBuf>,
    /// The same, dynamically linked: valgrind looks at it
    #[arg(long)]
    watched: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    support::finish("leaks", measure(&Args::parse()))
}

fn measure(args: &Args) -> Result<bool> {
    // Before anything makes a thread: a mount namespace is a matter of each thread.
    machine::private_mounts()?;
    support::caller::become_subreaper()?;
    let sandbox = common::sandbox::Sandbox::new("leaks", "");
    let path = args.pxrun.clone().unwrap_or_else(common::runtime);
    let caller = Caller::new("pxrun", &path.canonicalize()?, &sandbox.dir);
    let maker = Maker::new(&sandbox.dir, &sandbox.name);
    let bundle = maker.sleeping("c", true)?;
    let broken = maker.running("broken", &["/bin/no-such-command"], false)?;

    for _ in 0..WARM_UP {
        life(&caller, &sandbox.name, &bundle, &broken)?;
    }
    let before = Census::take(&caller.root, &sandbox.name)?;
    let mut times = Vec::with_capacity(args.cycles);
    for _ in 0..args.cycles {
        times.push(life(&caller, &sandbox.name, &bundle, &broken)?.as_secs_f64() * 1e3);
    }
    let after = before.settled(&caller.root, &sandbox.name)?;

    println!(
        "After {} lives of a container, {}:\n",
        args.cycles,
        machine::describe()
    );
    println!("{}", before.compare(&after));
    let slower = growth(&times);
    let sample: Sample = times.iter().copied().collect();
    println!(
        "A life took {:.1} ms (median); the last ones {slower:.2} times as long as the first ones.\n",
        sample.median()
    );
    let clean = before.is_no_less_than(&after);
    if !clean {
        eprintln!("leaks: something is left behind");
    }
    if slower > SLOWER {
        eprintln!("leaks: containers take longer and longer");
    }
    let memory = match &args.watched {
        Some(path) => memory(
            &Caller::new("watched", &path.canonicalize()?, &sandbox.dir),
            &bundle,
        )?,
        None => {
            println!(
                "NOT RUN HERE: valgrind sees the allocator of dynamic programs only, `make leaks` builds one"
            );
            true
        }
    };
    Ok(clean && slower <= SLOWER && memory)
}

/// Everything that a container may go through, once; how long its own calls took.
fn life(caller: &Caller, name: &str, bundle: &Path, broken: &Path) -> Result<Duration> {
    let (container, created) = caller.create(&format!("{name}-c"), bundle)?;
    let mut took = created.wall + container.start()?.wall;
    took += container.exec(&["/bin/true"])?.wall;
    took += container.signal("KILL")?.wall;
    container.reap()?;
    took += container.delete()?.wall;
    // What fails is taken back.
    if caller
        .call(&["run", "--bundle", &broken.to_string_lossy(), "broken"])
        .is_ok()
    {
        return Err("a command that doesn't exist has run".into());
    }
    // What runs is taken down.
    let (forced, _) = caller.create(&format!("{name}-forced"), bundle)?;
    caller.call(&["delete", "--force", &forced.id])?;
    forced.reap()?;
    Ok(took)
}

/// valgrind's word on the commands that it can follow.
fn memory(caller: &Caller, bundle: &Path) -> Result<bool> {
    let (container, _) = caller.create("watched", bundle)?;
    let verdicts = valgrind::check(caller, &container.id)?;
    container.end()?;
    container.delete()?;
    let rows: Vec<Vec<String>> = verdicts.iter().map(valgrind::Verdict::row).collect();
    println!(
        "{}",
        table::markdown(&["under valgrind", "blocks used", "lost", "errors"], &rows)
    );
    Ok(verdicts.iter().all(valgrind::Verdict::is_clean))
}
