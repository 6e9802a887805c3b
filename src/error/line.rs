//! From a chain of messages to one line of text.
//! Pure; it knows nothing of what the words mean.

/// The messages, outermost first, joined as a sentence. A message that its predecessor already
/// ends with is left out, as transparent wrappers repeat what they wrap.
pub(super) fn joined(links: &[String]) -> String {
    let mut out = String::new();
    for link in links {
        let link = link.trim();
        if link.is_empty() || out.ends_with(link) {
            continue;
        }
        if !out.is_empty() {
            out.push_str(": ");
        }
        out.push_str(link);
    }
    out
}

/// The text on one line: white space runs with a newline become one space, other control
/// characters their escape.
pub(super) fn flattened(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, part) in text.split(['\n', '\r']).map(str::trim).enumerate() {
        if i > 0 && !part.is_empty() && !out.is_empty() {
            out.push(' ');
        }
        for c in part.chars() {
            if c == '\t' {
                out.push(' ');
            } else if c.is_control() {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
        }
    }
    out
}

/// At most `max` bytes: a longer text loses its middle, since what failed stands at its beginning
/// and why at its end.
pub(super) fn shortened(text: &str, max: usize) -> String {
    const GAP: &str = " … ";
    if text.len() <= max {
        return text.to_owned();
    }
    let half = max.saturating_sub(GAP.len()) / 2;
    let whole = |at: &usize| text.is_char_boundary(*at);
    let head = (0..=half).rev().find(whole).unwrap_or(0);
    let tail = (text.len() - half..=text.len()).find(whole);
    let tail = tail.unwrap_or(text.len());
    format!("{}{GAP}{}", &text[..head], &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_and_drops_echoes() {
        let rows: [(&[&str], &str); 4] = [
            (
                &["start `a`", "container not running"],
                "start `a`: container not running",
            ),
            (&["start `a`: gone", "gone"], "start `a`: gone"),
            (&["a", "", " b\n", "c"], "a: b: c"),
            (&[], ""),
        ];
        for (links, want) in rows {
            let links: Vec<String> = links.iter().map(|&l| l.to_owned()).collect();
            assert_eq!(joined(&links), want);
        }
    }

    #[test]
    fn flattens() {
        let rows = [
            ("a\nb", "a b"),
            ("a\r\n\n  b\n", "a b"),
            ("a\tb", "a b"),
            ("\u{1b}[31mred\u{7}", "\\u{1b}[31mred\\u{7}"),
            ("ä…", "ä…"),
            ("\n", ""),
        ];
        for (text, want) in rows {
            assert_eq!(flattened(text), want);
        }
    }

    #[test]
    fn shortens_in_the_middle() {
        assert_eq!(shortened("abc", 3), "abc");
        let text = format!("head {}ä: tail", "ö".repeat(3000));
        for max in 100..110 {
            let short = shortened(&text, max);
            assert!(
                short.len() <= max && short.len() > max - 4,
                "{max} {}",
                short.len()
            );
            assert!(short.starts_with("head ") && short.ends_with(": tail"));
        }
    }
}
