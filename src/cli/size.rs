//! Numbers as `update` takes them. Pure.

/// Reads a size in bytes with an optional unit, as runc does: `512m`, `1G`, `4096`, `-1` for none.
///
/// # Errors
/// One line that names what was read.
pub fn parse(text: &str) -> Result<i64, String> {
    let wrong = || format!("`{}` is no size, expected such as 4096, 512m, 1g, or -1", text.escape_debug());
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower
        .find(|c: char| !c.is_ascii_digit() && c != '-' && c != '.')
        .unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let unit = unit.trim().trim_end_matches("ib").trim_end_matches('b');
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err(wrong()),
    };
    if let Ok(whole) = number.parse::<i64>() {
        return match whole {
            -1 if shift == 0 => Ok(-1),
            n if n < 0 => Err(wrong()),
            n => n.checked_mul(1 << shift).ok_or_else(wrong),
        };
    }
    match number.parse::<f64>() {
        Ok(n) if n >= 0.0 && n * ((1u64 << shift) as f64) < i64::MAX as f64 => {
            Ok((n * (1u64 << shift) as f64) as i64)
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes_have_units_and_minus_one_is_none() {
        let table = [
            ("4096", 4096),
            ("512m", 512 << 20),
            ("1G", 1 << 30),
            ("1.5g", 3 << 29),
            ("2KiB", 2048),
            ("10kb", 10240),
            ("-1", -1),
            ("0", 0),
        ];
        for (text, bytes) in table {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for bad in ["", "m", "-2", "-1m", "1x", "9999999p", "1.2.3", "1-"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
