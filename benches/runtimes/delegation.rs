//! What it costs that a command for crun comes through pxrun: crun's containers by pxrun against
//! crun's own, round by round. It must not measure times.

use super::report::{COLUMNS, row, spread};
use super::rounds::Series;
use crate::support::figures::Sample;
use crate::support::table::markdown;

/// The caller whose containers go to crun.
pub const NAME: &str = "crun by pxrun";

/// Both ways of calling crun with the same bundle.
pub struct Delegation<'a> {
    /// By pxrun.
    pub through: &'a Series,
    /// By itself.
    pub direct: &'a Series,
}

impl Delegation<'_> {
    /// Milliseconds more, in each round.
    fn more(&self, of: impl Fn(&Series) -> Vec<f64>) -> Sample {
        let pairs = of(self.through).into_iter().zip(of(self.direct));
        pairs.map(|(through, direct)| through - direct).collect()
    }

    /// The README's part.
    pub fn markdown(&self) -> String {
        let columns: Vec<&str> = COLUMNS.into_iter().filter(|c| *c != "sum").collect();
        let cells = |of: fn(&Series, &str) -> Vec<f64>| {
            let more = columns.iter().map(move |call| self.more(|s| of(s, call)));
            more.map(|sample| spread(&sample, 2)).collect::<Vec<_>>()
        };
        let rows = [
            row("time", cells(Series::of).into_iter()),
            row("processor time", cells(Series::cpu).into_iter()),
        ];
        let head = [&["crun by pxrun, more than crun"], &columns[..]].concat();
        markdown(&head, &rows)
    }

    /// The median of the command that pays most, in processor time: the one figure that a busy
    /// machine doesn't blow up.
    pub fn dearest(&self) -> f64 {
        let calls = COLUMNS.into_iter().filter(|call| *call != "sum");
        let costs = calls.map(|call| self.more(|series| series.cpu(call)).median());
        costs.fold(0.0, f64::max)
    }
}
