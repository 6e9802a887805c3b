//! Arguments of `kill`, and signals as callers spell them.
//! Sending is somebody else's work.

use std::fmt;
use std::str::FromStr;

use clap::Args;
use nix::libc;

/// Arguments of `kill`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Kill {
    /// signal every process of the container
    #[arg(short, long)]
    pub all: bool,
    /// container to signal
    pub container_id: String,
    /// name or number: KILL, SIGKILL, 9, RTMIN+1; 0 only asks whether the container runs
    #[arg(default_value = "TERM")]
    pub signal: Signal,
}

/// A signal's number, 0 to 64: wider than [`nix::sys::signal::Signal`], which knows no realtime
/// signals and no 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(pub i32);

/// A signal that doesn't exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown signal `{0}`")]
pub struct UnknownSignal(String);

impl FromStr for Signal {
    type Err = UnknownSignal;

    fn from_str(text: &str) -> Result<Self, UnknownSignal> {
        let number = if text.bytes().all(|b| b.is_ascii_digit()) {
            text.parse()
                .ok()
                .filter(|n| (0..=libc::SIGRTMAX()).contains(n))
        } else {
            let upper = text.to_ascii_uppercase();
            named(upper.strip_prefix("SIG").unwrap_or(&upper))
        };
        number
            .map(Self)
            .ok_or_else(|| UnknownSignal(text.to_owned()))
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match nix::sys::signal::Signal::try_from(self.0) {
            Ok(signal) => f.write_str(signal.as_str()),
            Err(_) => write!(f, "{}", self.0),
        }
    }
}

fn named(name: &str) -> Option<i32> {
    let name = match name {
        "CLD" => "CHLD",
        "IOT" => "ABRT",
        "POLL" => "IO",
        other => other,
    };
    nix::sys::signal::Signal::from_str(&format!("SIG{name}"))
        .map(|signal| signal as i32)
        .ok()
        .or_else(|| realtime(name))
}

/// `RTMIN`, `RTMIN+3`, `RTMAX`, `RTMAX-1`, counted as in signal(7): from the first and last that
/// the C library leaves to programs.
fn realtime(name: &str) -> Option<i32> {
    let (base, sign, rest) = match name.strip_prefix("RTMIN") {
        Some(rest) => (libc::SIGRTMIN(), '+', rest),
        None => (libc::SIGRTMAX(), '-', name.strip_prefix("RTMAX")?),
    };
    if rest.is_empty() {
        return Some(base);
    }
    let digits = rest.strip_prefix(sign)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let offset: i32 = digits.parse().ok()?;
    let number = if sign == '+' {
        base.checked_add(offset)?
    } else {
        base.checked_sub(offset)?
    };
    (libc::SIGRTMIN()..=libc::SIGRTMAX())
        .contains(&number)
        .then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        let rows = [
            ("0", 0),
            ("9", 9),
            ("009", 9),
            ("64", 64),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigkill", 9),
            ("Term", 15),
            ("CLD", 17),
            ("SIGPOLL", 29),
            ("IOT", 6),
            ("SIGPWR", 30),
            ("RTMIN", 34),
            ("RTMIN+1", 35),
            ("SIGRTMIN+3", 37),
            ("rtmax-1", 63),
            ("SIGRTMAX", 64),
        ];
        for (text, want) in rows {
            assert_eq!(text.parse(), Ok(Signal(want)), "{text}");
        }
    }

    #[test]
    fn what_is_no_signal() {
        let bad = [
            "",
            "SIG",
            "65",
            "-1",
            "+9",
            "9.0",
            "FOO",
            "SIGSIGKILL",
            "RTMIN-1",
            "RTMIN+31",
            "RTMIN+-1",
            "RTMAX+1",
            "RTMAX-31",
            "RTMIN+",
            "RTMIN+99999999999",
            "99999999999",
        ];
        for text in bad {
            assert!(text.parse::<Signal>().is_err(), "{text}");
        }
    }

    #[test]
    fn display_names_what_has_a_name() {
        assert_eq!(Signal(9).to_string(), "SIGKILL");
        assert_eq!(Signal(35).to_string(), "35");
    }
}
