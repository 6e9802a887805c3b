//! What many calls took, and which of them failed. Must not know what was called.

use crate::support::Result;
use crate::support::caller::Took;
use crate::support::figures::Sample;

/// One step: times by kind of call, and the failures' words.
#[derive(Debug, Default)]
pub struct Tally {
    step: String,
    times: Vec<(&'static str, Vec<f64>, usize)>,
    /// What failed and why.
    pub failures: Vec<String>,
}

/// One kind of call in one step; milliseconds.
#[derive(Debug, Clone)]
pub struct Quantiles {
    /// Step and call.
    pub name: String,
    /// How many.
    pub calls: usize,
    /// How many of them failed.
    pub failed: usize,
    /// The quickest.
    pub shortest: f64,
    /// Half of them took no longer.
    pub median: f64,
    /// Nine of ten.
    pub ninety: f64,
    /// 99 of 100.
    pub ninety_nine: f64,
    /// The slowest.
    pub longest: f64,
}

impl Quantiles {
    /// The row of a table.
    pub fn cells(&self) -> Vec<String> {
        let times = [self.median, self.ninety, self.ninety_nine, self.longest];
        let counts = [self.calls, self.failed].map(|count| count.to_string());
        let times = times.map(|time| format!("{time:.1}"));
        let name = std::iter::once(self.name.clone());
        name.chain(counts).chain(times).collect()
    }
}

impl Tally {
    /// An empty one.
    pub fn new(step: impl Into<String>) -> Tally {
        Tally {
            step: step.into(),
            ..Tally::default()
        }
    }

    /// Notes how a call went; its value, if it has one.
    pub fn note<T>(&mut self, call: &'static str, outcome: Result<(T, Took)>) -> Option<T> {
        let place = match self.times.iter().position(|(name, ..)| *name == call) {
            Some(place) => place,
            None => {
                self.times.push((call, Vec::new(), 0));
                self.times.len() - 1
            }
        };
        let (_, times, failed) = &mut self.times[place];
        match outcome {
            Ok((value, took)) => {
                times.push(took.wall.as_secs_f64() * 1e3);
                Some(value)
            }
            Err(error) => {
                *failed += 1;
                self.failures
                    .push(format!("{}: {call}: {error}", self.step));
                None
            }
        }
    }

    /// As [`Tally::note`], for a call that gives nothing but its time.
    pub fn time(&mut self, call: &'static str, outcome: Result<Took>) {
        self.note(call, outcome.map(|took| ((), took)));
    }

    /// Notes something that went wrong and is no call.
    pub fn expect(&mut self, what: &'static str, outcome: Result<()>) {
        if let Err(error) = outcome {
            self.failures
                .push(format!("{}: {what}: {error}", self.step));
        }
    }

    /// Takes in what another caller has noted.
    pub fn add(&mut self, other: Tally) {
        for (call, times, failed) in other.times {
            match self.times.iter_mut().find(|(name, ..)| *name == call) {
                Some((_, mine, mine_failed)) => {
                    mine.extend(times);
                    *mine_failed += failed;
                }
                None => self.times.push((call, times, failed)),
            }
        }
        self.failures.extend(other.failures);
    }

    /// Step and call, how many, how many failed, percentiles.
    pub fn quantiles(&self) -> Vec<Quantiles> {
        let row = |(call, times, failed): &(&'static str, Vec<f64>, usize)| {
            let sample: Sample = times.iter().copied().collect();
            Quantiles {
                name: format!("{}: {call}", self.step),
                calls: times.len() + failed,
                failed: *failed,
                shortest: sample.quantile(0.0),
                median: sample.median(),
                ninety: sample.quantile(0.9),
                ninety_nine: sample.quantile(0.99),
                longest: sample.quantile(1.0),
            }
        };
        self.times.iter().map(row).collect()
    }

    /// Times of one kind of call, in their order.
    pub fn of(&self, call: &str) -> &[f64] {
        let found = self.times.iter().find(|(name, ..)| *name == call);
        found.map_or(&[], |(_, times, _)| times)
    }
}
