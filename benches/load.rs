//! `make load`: many containers at once, many standing, many after each other, and many callers.
//! Nothing may fail, and the last container may not cost much more than the first.

#[path = "../tests/common/mod.rs"]
mod common;
mod support;

#[path = "load"]
mod load {
    pub mod plot;
    pub mod steps;
    pub mod tally;
}

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use load::steps::Site;
use support::bundle::Maker;
use support::{Caller, Result, machine, table};

/// What the last of the standing containers may cost, measured in the first.
const DEARER: f64 = 3.0;

/// Puts load on the runtime.
#[derive(Debug, Parser)]
struct Args {
    /// Containers created at the same moment
    #[arg(long, default_value_t = 200)]
    at_once: usize,
    /// Containers that stand at the same time
    #[arg(long, default_value_t = 500)]
    standing: usize,
    /// Containers one after another
    #[arg(long, default_value_t = 200)]
    in_turn: usize,
    /// Rounds of mixed calls by each caller
    #[arg(long, default_value_t = 100)]
    mixed: usize,
    /// Callers in parallel
    #[arg(long, default_value_t = 6)]
    callers: usize,
    /// Picture of the percentiles, as SVG
    #[arg(long)]
    plot: Option<PathBuf>,
    /// The runtime under test
    #[arg(long)]
    pxrun: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    support::finish("load", measure(&Args::parse()))
}

fn measure(args: &Args) -> Result<bool> {
    machine::private_mounts()?;
    support::caller::become_subreaper()?;
    let sandbox = common::sandbox::Sandbox::new("load", "");
    let path = args.pxrun.clone().unwrap_or_else(common::runtime);
    let site = Site {
        caller: Caller::new("pxrun", &path.canonicalize()?, &sandbox.dir),
        maker: Maker::new(&sandbox.dir, &sandbox.name),
    };
    let (standing, dearer) = site.standing(args.standing, args.callers);
    let steps = [
        site.at_once(args.at_once),
        standing,
        site.in_turn(args.in_turn),
        site.mixed(args.callers, args.mixed),
    ];
    let measured: Vec<_> = steps
        .iter()
        .flat_map(load::tally::Tally::quantiles)
        .collect();
    let rows: Vec<Vec<String>> = measured.iter().map(load::tally::Quantiles::cells).collect();
    let head = [
        "step", "calls", "failed", "median", "90 %", "99 %", "longest",
    ];
    let title = format!(
        "Milliseconds, on {}, load average {:.1}",
        machine::describe(),
        machine::load()
    );
    println!("{title}:\n");
    println!("{}", table::markdown(&head, &rows));
    println!(
        "Creating and starting the {}th container took {dearer:.2} times as long as the first one.",
        args.standing
    );
    if let Some(file) = &args.plot {
        std::fs::write(file, load::plot::svg(&title, &measured))?;
        println!("\nThe same as a picture: {}", file.display());
    }
    let failures: Vec<&String> = steps.iter().flat_map(|step| &step.failures).collect();
    for failure in failures.iter().take(10) {
        eprintln!("load: {failure}");
    }
    if dearer > DEARER {
        eprintln!("load: containers get dearer, the more there are");
    }
    Ok(failures.is_empty() && dearer <= DEARER)
}
