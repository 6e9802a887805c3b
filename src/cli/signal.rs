//! Signals as callers spell them. Pure.

use std::str::FromStr;

use nix::libc;
use nix::sys::signal::Signal;

/// Reads `9`, `KILL`, `SIGKILL`, `sigkill`, `RTMIN+1`, `SIGRTMAX-2`, and `0`, which only asks.
///
/// # Errors
/// One line that names what was read.
pub fn parse(text: &str) -> Result<i32, String> {
    let unknown = || format!("unknown signal `{}`", text.escape_debug());
    if let Ok(number) = text.parse::<i32>() {
        return if (0..=libc::SIGRTMAX()).contains(&number) {
            Ok(number)
        } else {
            Err(unknown())
        };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    realtime(name)
        .or_else(|| alias(name))
        .or_else(|| Signal::from_str(&format!("SIG{name}")).ok().map(|s| s as i32))
        .ok_or_else(unknown)
}

fn realtime(name: &str) -> Option<i32> {
    let (base, rest) = match name.strip_prefix("RTMIN") {
        Some(rest) => (libc::SIGRTMIN(), rest),
        None => (libc::SIGRTMAX(), name.strip_prefix("RTMAX")?),
    };
    let offset: i32 = if rest.is_empty() { 0 } else { rest.parse().ok()? };
    (libc::SIGRTMIN()..=libc::SIGRTMAX())
        .contains(&(base + offset))
        .then_some(base + offset)
}

/// Second names, signal(7).
fn alias(name: &str) -> Option<i32> {
    match name {
        "IOT" => Some(libc::SIGABRT),
        "CLD" => Some(libc::SIGCHLD),
        "POLL" => Some(libc::SIGPOLL),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn signals_are_read_in_every_spelling_that_callers_use() {
        let table = [
            ("9", 9),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("0", 0),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("64", 64),
            ("IOT", 6),
            ("SIGPOLL", 29),
            ("WINCH", 28),
        ];
        for (text, number) in table {
            assert_eq!(parse(text), Ok(number), "{text}");
        }
        for bad in ["", "SIG", "NOPE", "65", "-1", "RTMIN+40", "9x", "RTMIN+"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
