//! What the rounds say, as Markdown, against the targets that pxrun has set itself.
//! It must not measure times.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use super::delegation::{self, Delegation};
use super::rounds::Series;
use crate::support::figures::Sample;
use crate::support::table::markdown;
use crate::support::{Caller, machine};

/// All that the table is made from.
pub struct Report<'a> {
    /// pxrun first.
    pub callers: &'a [Caller],
    /// All series.
    pub taken: &'a [Series],
    /// Which view of the cgroups.
    pub view: &'a str,
    /// The higher load average of before and after.
    pub load: f64,
    /// How many rounds count.
    pub rounds: usize,
    /// Milliseconds between two calls.
    pub gap: u64,
}

/// What is to be reached, and what fails the run: beyond it no busy machine is the reason.
struct Target {
    what: &'static str,
    unit: &'static str,
    value: f64,
    goal: f64,
    gross: f64,
}

/// The columns of the tables.
pub const COLUMNS: [&str; 6] = ["create", "start", "delete", "sum", "exec", "state"];

impl Report<'_> {
    /// The README's section.
    pub fn markdown(&self) -> String {
        let mut out = self.preface();
        for profile in [true, false] {
            let with = if profile { "With" } else { "Without" };
            let _ = write!(
                out,
                "\n{with} podman's seccomp profile:\n\n{}",
                self.times(profile)
            );
        }
        let _ = write!(out, "\n{}", self.delegation().markdown());
        let _ = write!(out, "\n{}", self.sizes());
        let _ = write!(out, "\n{}", self.targets_met());
        out
    }

    /// Whether nothing is grossly wrong; says what is.
    pub fn judge(&self) -> bool {
        let wrong: Vec<Target> = self
            .targets()
            .into_iter()
            .filter(|target| target.value > target.gross)
            .collect();
        for target in &wrong {
            eprintln!(
                "bench: {}: {:.2}{}, more than {}{} is wrong whatever the machine does",
                target.what, target.value, target.unit, target.gross, target.unit
            );
        }
        let is_static = linking(&self.callers[0].path) == "static";
        if !is_static {
            eprintln!("bench: {} is not static", self.callers[0].path.display());
        }
        wrong.is_empty() && is_static
    }

    fn preface(&self) -> String {
        let versions: Vec<String> = self
            .peers()
            .map(|caller| format!("{} {}", caller.name, machine::version(&caller.path)))
            .collect();
        format!(
            "{} rounds in turns, {} ms between calls, on {}; cgroup {}, load average {:.1};\n{}.\n\
             Milliseconds: median (lower to upper quartile); ratios are taken round by round, so below 1\n\
             pxrun is faster. `sum` is create + start + delete. What a runtime keeps between containers,\n\
             such as compiled filters, is warm.\n",
            self.rounds,
            self.gap,
            machine::describe(),
            self.view,
            self.load,
            versions.join(", "),
        )
    }

    fn times(&self, profile: bool) -> String {
        let head = [&["", "create"][..], &COLUMNS[1..]].concat();
        let mut rows = Vec::new();
        for (place, caller) in self.peers().enumerate() {
            let series = self.series(place, profile);
            let cells = COLUMNS.iter().map(|call| {
                let sample: Sample = series.of(call).into_iter().collect();
                spread(&sample, 1)
            });
            rows.push(row(&caller.name, cells));
        }
        for (place, caller) in self.peers().enumerate().skip(1) {
            let cells = COLUMNS
                .iter()
                .map(|call| spread(&self.ratio(place, profile, call), 2));
            rows.push(row(&format!("pxrun / {}", caller.name), cells));
        }
        markdown(&head, &rows)
    }

    fn sizes(&self) -> String {
        let head = [
            "",
            "peak memory of create, with profile",
            "without",
            "executable",
            "linked",
        ];
        let rows: Vec<Vec<String>> = self
            .peers()
            .enumerate()
            .map(|(place, caller)| {
                let memory = |profile| format!("{:.1} MB", self.memory(place, profile));
                let size = std::fs::metadata(&caller.path).map_or(0, |meta| meta.len());
                let size = format!("{:.1} MB", size as f64 / 1e6);
                let cells = [memory(true), memory(false), size, linking(&caller.path)];
                row(&caller.name, cells.into_iter())
            })
            .collect();
        markdown(&head, &rows)
    }

    fn targets_met(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .targets()
            .into_iter()
            .map(|target| {
                let met = if target.value <= target.goal {
                    "met"
                } else {
                    "missed"
                };
                let value = format!("{:.2}{}", target.value, target.unit);
                let goal = format!("{}{}", target.goal, target.unit);
                vec![target.what.to_owned(), value, goal, met.to_owned()]
            })
            .collect();
        markdown(&["target", "measured", "at most", ""], &rows)
    }

    fn targets(&self) -> Vec<Target> {
        let crun = self.place("crun");
        let ratio = |profile, call| self.ratio(crun, profile, call).median();
        let state: Sample = self.series(0, true).of("state").into_iter().collect();
        let target = |what, unit, value, goal, gross| Target {
            what,
            unit,
            value,
            goal,
            gross,
        };
        vec![
            target(
                "sum against crun, with profile",
                "",
                ratio(true, "sum"),
                0.7,
                1.3,
            ),
            target(
                "sum against crun, without",
                "",
                ratio(false, "sum"),
                1.0,
                1.6,
            ),
            target(
                "exec against crun, with profile",
                "",
                ratio(true, "exec"),
                1.0,
                1.6,
            ),
            target(
                "exec against crun, without",
                "",
                ratio(false, "exec"),
                1.0,
                1.6,
            ),
            target("state", " ms", state.median(), 3.0, 12.0),
            target(
                "delegation, the dearest command",
                " ms of processor time",
                self.delegation().dearest(),
                3.0,
                9.0,
            ),
            target(
                "peak memory of create",
                " MB",
                self.memory(0, true),
                8.0,
                10.0,
            ),
        ]
    }

    /// All but the one that is pxrun again.
    fn peers(&self) -> impl Iterator<Item = &Caller> {
        self.callers
            .iter()
            .filter(|caller| caller.name != delegation::NAME)
    }

    fn place(&self, name: &str) -> usize {
        let place = self.callers.iter().position(|caller| caller.name == name);
        place.expect("every caller is measured")
    }

    /// Without a profile: what crun does with it is the same both ways.
    fn delegation(&self) -> Delegation<'_> {
        Delegation {
            through: self.series(self.place(delegation::NAME), false),
            direct: self.series(self.place("crun"), false),
        }
    }

    fn series(&self, caller: usize, profile: bool) -> &Series {
        let fits = |series: &&Series| series.caller == caller && series.profile == profile;
        self.taken
            .iter()
            .find(fits)
            .expect("every caller has both series")
    }

    /// pxrun's time through that of another one in the same round.
    fn ratio(&self, other: usize, profile: bool, call: &str) -> Sample {
        let own = self.series(0, profile).of(call);
        let other = self.series(other, profile).of(call);
        own.iter()
            .zip(&other)
            .map(|(own, other)| own / other)
            .collect()
    }

    /// Megabytes.
    fn memory(&self, caller: usize, profile: bool) -> f64 {
        let series = self.series(caller, profile);
        let sample: Sample = series.memory.iter().copied().collect();
        sample.median() * 1024.0 / 1e6
    }
}

/// One row of a table.
pub fn row(name: &str, cells: impl Iterator<Item = String>) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(cells).collect()
}

/// Median and quartiles.
pub fn spread(sample: &Sample, digits: usize) -> String {
    let [low, middle, high] = [0.25, 0.5, 0.75].map(|part| sample.quantile(part));
    format!("{middle:.digits$} ({low:.digits$}–{high:.digits$})")
}

/// What ldd(1) says.
fn linking(path: &Path) -> String {
    let output = Command::new("ldd").arg(path).output();
    let text = output
        .map(|o| [o.stdout, o.stderr].concat())
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let is_static = text.contains("statically linked") || text.contains("not a dynamic executable");
    if is_static { "static" } else { "dynamic" }.to_owned()
}
