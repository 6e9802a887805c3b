//! `events`. Own type: callers send durations as Go writes them.

use std::time::Duration;

use clap::Args;

/// `events`.
#[derive(Debug, Args)]
pub struct Events {
    /// time between two reports, such as 5s, 500ms, 1m30s
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    pub interval: Duration,
    /// print the statistics once and end
    #[arg(long)]
    pub stats: bool,
    /// name of the container
    pub container_id: String,
}

/// Reads a duration as Go's time.ParseDuration does, without signs and fractions.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        let shown = text.escape_debug();
        format!("`{shown}` is no duration, expected such as 5s, 500ms, 1m30s")
    };
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => Duration::from_nanos(1),
            "us" | "µs" => Duration::from_micros(1),
            "ms" => Duration::from_millis(1),
            // liboci-cli's and crun's callers send bare seconds.
            "s" | "" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return Err(wrong()),
        };
        let part = u32::try_from(number).ok().and_then(|n| unit.checked_mul(n));
        total = part.and_then(|p| total.checked_add(p)).ok_or_else(wrong)?;
        rest = &rest[end..];
    }
    if total.is_zero() { Err(wrong()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let table = [("5s", 5000), ("1m30s", 90_000), ("500ms", 500), ("2h", 7_200_000), ("3", 3000)];
        for (text, milliseconds) in table {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)));
        }
        for bad in ["", "s", "-1s", "0s", "1.5s", "5x", "99999999999999999999s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
