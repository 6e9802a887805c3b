//! The rule for container ids. Must not touch files: the rule is what keeps an id from being a
//! path.

/// Longest id, in bytes: as in runc.
const LONGEST: usize = 1024;

/// Checks an id: letters, digits, `_`, `+`, `-` and `.`, and neither `.` nor `..`.
///
/// # Errors
/// One line that names the id.
pub fn check(id: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '.');
    if id.is_empty() || id == "." || id == ".." || !id.chars().all(allowed) {
        return Err(format!(
            "invalid container id format: `{}`, expected letters, digits, `_`, `+`, `-` and `.`",
            id.escape_debug()
        ));
    }
    if id.len() > LONGEST {
        return Err(format!(
            "invalid container id format: {} bytes long, expected at most {LONGEST}",
            id.len()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn an_id_is_never_a_path() {
        for good in ["a", "0f1e", "a.b_c+d-e", ".hidden", "..."] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let long = "x".repeat(1025);
        for bad in ["", ".", "..", "a/b", "a b", "a\nb", "é", "@filters", &long] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
