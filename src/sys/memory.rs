//! Gives back memory that a sleeping process doesn't need: pages of its own program that can be read
//! again. Holds no policy.
#![allow(unsafe_code)]

use std::fs::read_to_string;

use nix::libc;

/// Mappings of files of which this process has changed nothing.
#[derive(Debug, Default)]
pub struct Clean(Vec<(usize, usize)>);

impl Clean {
    /// Looks at `/proc/self/smaps`. Without it there is nothing to give back.
    pub fn find() -> Clean {
        Clean(parse(
            &read_to_string("/proc/self/smaps").unwrap_or_default(),
        ))
    }

    /// Lets the kernel take the pages; whoever touches one gets it again from the file.
    pub fn give_back(&self) {
        for &(start, length) in &self.0 {
            // SAFETY: the range is a whole mapping of a file, not writable and without a changed
            // page when it was looked at, and nobody changes the protection of mappings since: what
            // is dropped is read again with the same content.
            unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) };
        }
    }
}

/// Gives the allocator's free pages back.
pub fn trim_heap() {
    // SAFETY: plain integer.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Start and length of each mapping that has an inode, can't be written, and has no page of its own
/// (the relocated part of a program has).
fn parse(smaps: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        let first = line.split_ascii_whitespace().next().unwrap_or_default();
        if let Some((start, end)) = first.split_once('-') {
            candidate = file_mapping(line, start, end);
        } else if first == "Anonymous:" && line.split_ascii_whitespace().nth(1) == Some("0") {
            found.extend(candidate.take());
        }
    }
    found
}

fn file_mapping(line: &str, start: &str, end: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let writable = fields.next()?.contains('w');
    let inode = fields.nth(2)?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    (!writable && inode != "0").then(|| (start, end.saturating_sub(start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_untouched_mappings_of_files() {
        let smaps = "1000-3000 r-xp 00000000 fe:00 42 /bin/x\nRss: 8 kB\nAnonymous: 0 kB\n\
                     3000-4000 r--p 00002000 fe:00 42 /bin/x\nAnonymous: 4 kB\n\
                     4000-5000 rw-p 00003000 fe:00 42 /bin/x\nAnonymous: 0 kB\n\
                     5000-6000 r--p 00000000 00:00 0 [vvar]\nAnonymous: 0 kB\n";
        assert_eq!(parse(smaps), [(0x1000, 0x2000)]);
    }

    #[test]
    fn the_program_goes_on_afterwards() {
        let before = Clean::find();
        assert!(!before.0.is_empty());
        before.give_back();
        assert_eq!(format!("{}", 6 * 7), "42");
    }
}
