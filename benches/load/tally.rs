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

    /// Rows of a table: step and call, how many, how many failed, percentiles.
    pub fn rows(&self) -> Vec<Vec<String>> {
        let row = |(call, times, failed): &(&'static str, Vec<f64>, usize)| {
            let sample: Sample = times.iter().copied().collect();
            let name = format!("{}: {call}", self.step);
            let counts = [name, (times.len() + failed).to_string(), failed.to_string()];
            let parts = [0.5, 0.9, 0.99, 1.0].map(|part| format!("{:.1}", sample.quantile(part)));
            counts.into_iter().chain(parts).collect()
        };
        self.times.iter().map(row).collect()
    }

    /// Times of one kind of call, in their order.
    pub fn of(&self, call: &str) -> &[f64] {
        let found = self.times.iter().find(|(name, ..)| *name == call);
        found.map_or(&[], |(_, times, _)| times)
    }
}
