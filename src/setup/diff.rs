//! What changes between two texts, for people.
//! One hunk from the first changed line to the last: changes here are one block.

/// Lines shown around the change.
const CONTEXT: usize = 3;

/// The change in the manner of `diff -u`; empty for equal texts.
#[must_use]
pub fn unified(path: &str, old: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let same = |(a, b): &(&&str, &&str)| a == b;
    let head = old.iter().zip(&new).take_while(same).count();
    let rest = old.len().min(new.len()) - head;
    let both = old.iter().rev().zip(new.iter().rev());
    let tail = both.take(rest).take_while(same).count();

    let before = head.saturating_sub(CONTEXT);
    let (old_end, new_end) = (old.len() - tail, new.len() - tail);
    let after = tail.min(CONTEXT);
    let mut out = format!("--- {path}\n+++ {path}\n");
    out += &format!(
        "@@ -{} +{} @@\n",
        range(before, old_end + after),
        range(before, new_end + after)
    );
    let mut push = |mark: char, lines: &[&str]| {
        for line in lines {
            out.push(mark);
            out.push_str(line);
            out.push('\n');
        }
    };
    push(' ', &old[before..head]);
    push('-', &old[head..old_end]);
    push('+', &new[head..new_end]);
    push(' ', &old[old_end..old_end + after]);
    out
}

/// Lines are counted from one; none at all begin at the line before.
fn range(start: usize, end: usize) -> String {
    let first = if end > start { start + 1 } else { start };
    format!("{first},{}", end - start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hunks() {
        let rows = [
            ("a\n", "a\n", ""),
            ("", "a\n", "--- f\n+++ f\n@@ -0,0 +1,1 @@\n+a\n"),
            ("a\n", "", "--- f\n+++ f\n@@ -1,1 +0,0 @@\n-a\n"),
            (
                "1\n2\n3\n4\nx\n5\n6\n7\n8\n",
                "1\n2\n3\n4\ny\nz\n5\n6\n7\n8\n",
                "--- f\n+++ f\n@@ -2,7 +2,8 @@\n 2\n 3\n 4\n-x\n+y\n+z\n 5\n 6\n 7\n",
            ),
            ("a\na\n", "a\n", "--- f\n+++ f\n@@ -1,2 +1,1 @@\n a\n-a\n"),
        ];
        for (old, new, want) in rows {
            assert_eq!(unified("f", old, new), want);
        }
    }
}
