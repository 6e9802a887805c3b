//! Durations and sizes as Go programs write them, because callers of runc do.
//! Pure functions; no option knows more than the number it gets.

use std::time::Duration;

/// A text that is no duration or no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a sequence of numbers with units.
    #[error("expected a time above zero such as 5s, 1m30s or 500ms")]
    Duration,
    /// Neither -1 nor a number with an optional unit.
    #[error("expected -1 or a number of bytes such as 536870912, 512m or 1.5g")]
    Bytes,
}

/// Go's `time.ParseDuration`, of positive times: `5s`, `1m30s`, `1.5h`, `500ms`.
///
/// # Errors
/// [`QuantityError::Duration`], also for a time of zero.
pub fn duration(text: &str) -> Result<Duration, QuantityError> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, tail) = split_number(rest);
        let end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        let part = decimal(number)
            .zip(seconds(unit))
            .and_then(|(n, unit)| Duration::try_from_secs_f64(n * unit).ok());
        total = part
            .and_then(|part| total.checked_add(part))
            .ok_or(QuantityError::Duration)?;
        rest = next;
    }
    if total.is_zero() {
        return Err(QuantityError::Duration);
    }
    Ok(total)
}

/// A size in bytes with docker's binary units (go-units `RAMInBytes`): `512m`, `1.5GiB`, `4096`;
/// `-1` stands for "no limit".
///
/// # Errors
/// [`QuantityError::Bytes`].
pub fn bytes(text: &str) -> Result<i64, QuantityError> {
    if text == "-1" {
        return Ok(-1);
    }
    let (number, unit) = split_number(text);
    let shift = binary_unit(unit.trim_start()).ok_or(QuantityError::Bytes)?;
    if let Ok(whole) = number.parse::<i64>() {
        return whole.checked_mul(1 << shift).ok_or(QuantityError::Bytes);
    }
    let value = decimal(number).ok_or(QuantityError::Bytes)? * (1_i64 << shift) as f64;
    // A cast of a float saturates, so the limit is checked before.
    if value < i64::MAX as f64 {
        Ok(value as i64)
    } else {
        Err(QuantityError::Bytes)
    }
}

fn split_number(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    text.split_at(end)
}

fn decimal(text: &str) -> Option<f64> {
    text.parse().ok()
}

fn seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-9,
        "us" | "µs" | "μs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    })
}

fn binary_unit(unit: &str) -> Option<u32> {
    let unit = unit.to_ascii_lowercase();
    let mut letters = unit.chars();
    let shift = match letters.next() {
        None => return Some(0),
        Some('b') => 0,
        Some('k') => 10,
        Some('m') => 20,
        Some('g') => 30,
        Some('t') => 40,
        Some('p') => 50,
        Some(_) => return None,
    };
    let rest = letters.as_str();
    let complete = rest.is_empty() || (shift > 0 && matches!(rest, "b" | "ib"));
    complete.then_some(shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let rows = [
            ("5s", 5_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1.5h", 5_400_000),
            ("1h2m3s4ms", 3_723_004),
            ("+.5s", 500),
        ];
        for (text, ms) in rows {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(duration("7µs"), Ok(Duration::from_micros(7)));
        let bad = [
            "",
            "0",
            "0s",
            "5",
            "-5s",
            "s",
            "5x",
            "1m30",
            "1..5s",
            "1e3s",
            " 5s",
            "9999999999999999999999h",
        ];
        for text in bad {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        let rows = [
            ("-1", -1),
            ("0", 0),
            ("4096", 4096),
            ("512m", 512 << 20),
            ("512M", 512 << 20),
            ("512MB", 512 << 20),
            ("1gib", 1 << 30),
            ("1.5g", 3 << 29),
            ("10 k", 10 << 10),
            ("7b", 7),
            ("1p", 1 << 50),
            ("9223372036854775807", i64::MAX),
        ];
        for (text, want) in rows {
            assert_eq!(bytes(text), Ok(want), "{text}");
        }
        let bad = [
            "",
            "-2",
            "-1m",
            "m",
            "1x",
            "1bb",
            "1bib",
            "1mi",
            "1e3",
            "+1",
            "1.2.3",
            "9223372036854775808",
            "8192p",
            "9999999999999999.5p",
        ];
        for text in bad {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
