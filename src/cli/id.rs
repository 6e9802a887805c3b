//! The rule for container ids, the one runc has.
//! An id becomes a file name, so nothing that fails here may reach the state directory.

/// Longest id, in bytes.
pub const MAX_LEN: usize = 1024;

/// Why an id is refused. The first words are runc's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// A character outside of letters, digits, `_`, `+`, `-` and `.`, or nothing at all.
    #[error("invalid container ID format: use letters, digits, `_`, `+`, `-` and `.`")]
    Characters,
    /// `.` and `..` are no file names of their own.
    #[error("invalid container ID format: `.` and `..` are reserved")]
    Dots,
    /// Longer than [`MAX_LEN`].
    #[error("invalid container ID format: more than {MAX_LEN} bytes")]
    Length,
}

/// Checks an id and hands it back.
///
/// # Errors
/// [`IdError`] names the part of the rule that is broken.
pub fn check(id: &str) -> Result<String, IdError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_+-.".contains(&b);
    if id.is_empty() || !id.bytes().all(allowed) {
        return Err(IdError::Characters);
    }
    if id == "." || id == ".." {
        return Err(IdError::Dots);
    }
    if id.len() > MAX_LEN {
        return Err(IdError::Length);
    }
    Ok(id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let long = "a".repeat(MAX_LEN);
        let good = ["a", "web-1.2_3+x", "...", "-a", "0", long.as_str()];
        for id in good {
            assert_eq!(check(id).as_deref(), Ok(id));
        }
        let too_long = "a".repeat(MAX_LEN + 1);
        let bad = [
            ("", IdError::Characters),
            ("a/b", IdError::Characters),
            ("../x", IdError::Characters),
            ("a b", IdError::Characters),
            ("a\n", IdError::Characters),
            ("a,b", IdError::Characters),
            ("ä", IdError::Characters),
            ("a\0", IdError::Characters),
            (".", IdError::Dots),
            ("..", IdError::Dots),
            (too_long.as_str(), IdError::Length),
        ];
        for (id, want) in bad {
            assert_eq!(check(id), Err(want), "{id:?}");
        }
    }
}
