//! Lists of processors and memory nodes, as `0-3,7`.
//! It must not know how many of them the host has.

/// Largest number that makes sense in a list (the kernel's `CONFIG_NR_CPUS` stays far below).
const LARGEST: u32 = 65535;

/// Whether the text is a list of numbers and ranges (cpuset(7), "List format"), spaces and a
/// newline at its ends aside. The `:` forms of newer kernels count as ranges.
pub fn valid(text: &str) -> bool {
    text.trim().split(',').all(|part| {
        let (range, stride) = match part.split_once(':') {
            Some((range, stride)) => (range, Some(stride)),
            None => (part, None),
        };
        range_valid(range.trim()) && stride.is_none_or(stride_valid)
    })
}

/// As [`valid`], without spaces and strides.
pub fn plain(text: &str) -> bool {
    valid(text)
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || b == b',' || b == b'-')
}

fn range_valid(text: &str) -> bool {
    match text.split_once('-') {
        Some((first, last)) => {
            number(first).is_some_and(|first| number(last).is_some_and(|last| first <= last))
        }
        None => number(text).is_some(),
    }
}

/// `USED/GROUP`, as in `0-7:2/4`.
fn stride_valid(text: &str) -> bool {
    text.split_once('/').is_some_and(|(used, group)| {
        number(used)
            .is_some_and(|used| number(group).is_some_and(|group| (1..=group).contains(&used)))
    })
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = digits.then(|| text.parse().ok())?;
    number.filter(|number| *number <= LARGEST)
}

#[cfg(test)]
mod tests {
    #[test]
    fn tells_lists_from_other_text() {
        for good in ["0", "0-3", "0-3,7", "1,3,5", "0-7:2/4", " 0-1\n", "0, 2"] {
            assert!(super::valid(good), "{good}");
        }
        for bad in [
            "", "-", "-1", "1-", "3-1", "a", "0,,1", "0;1", "0-3:0/4", "0-3:5/4", "65536", "1 2",
        ] {
            assert!(!super::valid(bad), "{bad}");
        }
        assert!(super::plain("0-3,7"));
        assert!(!super::plain(" 0-3,7"));
    }
}
