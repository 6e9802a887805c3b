//! Numbers out of many measurements: order statistics, since means tell little on a busy machine.
//! It must not round or print.

/// Values in ascending order.
#[derive(Debug, Clone, Default)]
pub struct Sample(Vec<f64>);

impl FromIterator<f64> for Sample {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Sample(values)
    }
}

impl Sample {
    /// The value below which `part` (0 to 1) of the others lie, linear between two; 0 for none.
    pub fn quantile(&self, part: f64) -> f64 {
        let place = part.clamp(0.0, 1.0) * self.0.len().saturating_sub(1) as f64;
        let (low, high) = (place.floor() as usize, place.ceil() as usize);
        match (self.0.get(low), self.0.get(high)) {
            (Some(low), Some(high)) => low + (high - low) * place.fract(),
            _ => 0.0,
        }
    }

    /// The middle one.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// What the last tenth cost, measured in the first tenth: the quick ones of each, since a slow one
/// only tells what else the machine did.
pub fn growth(times: &[f64]) -> f64 {
    let tenth = times.len().div_ceil(10);
    let quick = |part: &[f64]| part.iter().copied().collect::<Sample>().quantile(0.1);
    let (first, last) = (&times[..tenth], &times[times.len() - tenth..]);
    quick(last) / quick(first).max(f64::MIN_POSITIVE)
}
