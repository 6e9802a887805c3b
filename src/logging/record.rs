//! The text of one log line, as logrus writes it for runc.
//! Pure: where the line goes is decided above.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Format;

/// logrus' names: "warning" where tracing says "warn".
pub(super) fn level_name(level: tracing::Level) -> &'static str {
    match level {
        tracing::Level::ERROR => "error",
        tracing::Level::WARN => "warning",
        tracing::Level::INFO => "info",
        tracing::Level::DEBUG => "debug",
        tracing::Level::TRACE => "trace",
    }
}

/// One line with its newline.
pub(super) fn record(
    format: Format,
    level: &str,
    msg: &str,
    time: &str,
    fields: &[(&str, String)],
) -> String {
    match format {
        Format::Text => {
            let mut line = format!("time=\"{time}\" level={level} msg=\"{}\"", escaped(msg));
            for (name, value) in fields {
                // Writing to a String can't fail.
                let _ = write!(line, " {name}=\"{}\"", escaped(value));
            }
            line.push('\n');
            line
        }
        Format::Json => {
            let mut object = serde_json::Map::new();
            for (name, value) in fields {
                object.insert((*name).to_owned(), value.as_str().into());
            }
            for (name, value) in [("level", level), ("msg", msg), ("time", time)] {
                object.insert(name.to_owned(), value.into());
            }
            format!("{}\n", serde_json::Value::Object(object))
        }
    }
}

/// The inside of a quoted string: no quote, backslash or control character stays as it is.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// RFC 3339 in UTC with seconds.
pub fn timestamp(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Date of a day counted from 1970-01-01. Years start in March here, so that the leap day comes
/// last; 719468 days lie between 0000-03-01 and the epoch, 146097 in 400 years.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let (month, carry) = if month_from_march < 10 {
        (month_from_march + 3, 0)
    } else {
        (month_from_march - 9, 1)
    };
    (era * 400 + year_of_era + carry, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn quotes_and_controls_are_escaped() {
        let fields = [("path", "a\"\\b".to_owned())];
        let text = record(Format::Text, "info", "x\n\u{1b}ä", "T", &fields);
        let want = "time=\"T\" level=info msg=\"x\\n\\u{1b}ä\" path=\"a\\\"\\\\b\"\n";
        assert_eq!(text, want);
        let json = record(Format::Json, "info", "x\n", "T", &fields);
        assert_eq!(json.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (&value["msg"], &value["path"]),
            (&"x\n".into(), &"a\"\\b".into())
        );
    }

    #[test]
    fn a_field_cannot_pose_as_the_message() {
        let fields = [("level", "error".to_owned()), ("msg", "fake".to_owned())];
        let json = record(Format::Json, "info", "true", "T", &fields);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (&value["level"], &value["msg"]),
            (&"info".into(), &"true".into())
        );
    }

    #[test]
    fn timestamps() {
        let rows = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_795_532_400, "2026-11-24T15:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ];
        for (seconds, want) in rows {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), want);
        }
    }
}
