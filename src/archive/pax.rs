//! Extended header records (POSIX.1-2001, pax, "Extended Header"): `LENGTH KEY=VALUE\n`.
//! Values are bytes: those of extended attributes may hold anything, newlines too.

use super::Time;

/// Key of GNU tar and star for an extended attribute, before its name.
pub const XATTR: &str = "SCHILY.xattr.";
/// Key of GNU tar and star for the access ACL, in text.
pub const ACL_ACCESS: &str = "SCHILY.acl.access";
/// Key of GNU tar and star for the default ACL, in text.
pub const ACL_DEFAULT: &str = "SCHILY.acl.default";

/// Splits records; `None` when they are malformed.
pub fn parse(mut bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().take(20).position(|b| *b == b' ')?;
        let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
        let record = bytes.get(space + 1..length)?;
        let body = record.strip_suffix(b"\n")?;
        let equals = body.iter().position(|b| *b == b'=')?;
        records.push((&body[..equals], &body[equals + 1..]));
        bytes = &bytes[length..];
    }
    Some(records)
}

/// Appends one record.
pub fn push(into: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // The length counts its own digits, so it grows until it fits.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    into.extend(length.to_string().bytes());
    into.push(b' ');
    into.extend(key);
    into.push(b'=');
    into.extend(value);
    into.push(b'\n');
}

/// A time such as `1700000000.25`, `-1.5`.
pub fn time(value: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let negative = whole.starts_with('-');
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanos: u32 = digits.parse().ok()?;
    // POSIX counts the fraction with the sign of the whole, the kernel always forward.
    match (negative, nanos) {
        (true, 1..) => Some(Time {
            seconds: seconds.checked_sub(1)?,
            nanos: 1_000_000_000 - nanos,
        }),
        _ => Some(Time { seconds, nanos }),
    }
}

/// The shortest text that [`time`] reads back.
pub fn time_text(time: Time) -> String {
    let (seconds, nanos) = match (time.seconds < 0, time.nanos) {
        (true, 1..) => (time.seconds + 1, 1_000_000_000 - time.nanos),
        _ => (time.seconds, time.nanos),
    };
    if nanos == 0 {
        return seconds.to_string();
    }
    let sign = if time.seconds < 0 && seconds == 0 {
        "-"
    } else {
        ""
    };
    let fraction = format!("{nanos:09}");
    format!("{sign}{seconds}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_any_value() {
        for size in [0, 1, 80, 90, 91, 92, 93, 94, 985, 990, 995] {
            let mut bytes = Vec::new();
            let value = vec![b'\n'; size];
            push(&mut bytes, b"key", &value);
            push(&mut bytes, b"a", b"b=c");
            let records = parse(&bytes).unwrap();
            assert_eq!(records[0], (&b"key"[..], &value[..]));
            assert_eq!(records[1], (&b"a"[..], &b"b=c"[..]));
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        let bad: [&[u8]; 8] = [
            b"x",
            b"3 a",
            b"99 a=b\n",
            b"5 ab\n",
            b"0 a=b\n",
            b"7 a=b\n",
            b"-6 a=b\n",
            b"99999999999999999999 a=b\n",
        ];
        for bytes in bad {
            assert_eq!(parse(bytes), None, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn times_round_trip() {
        let rows = [
            ("0", 0, 0),
            ("1700000000.25", 1_700_000_000, 250_000_000),
            ("1.000000001", 1, 1),
            ("-1", -1, 0),
            ("-1.5", -2, 500_000_000),
            ("-0.25", -1, 750_000_000),
        ];
        for (text, seconds, nanos) in rows {
            let expected = Time { seconds, nanos };
            assert_eq!(time(text.as_bytes()), Some(expected), "{text}");
            assert_eq!(time_text(expected), text);
        }
        for bad in ["", "x", "1.x", "1.-5", "9223372036854775808"] {
            assert_eq!(time(bad.as_bytes()), None, "{bad}");
        }
    }
}
