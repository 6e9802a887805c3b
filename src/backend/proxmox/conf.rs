//! A guest's configuration file as text: read and changed line by line, so that whatever pxrun
//! doesn't know stays as it was. It must not know what an option means, nor touch files.
//!
//! ```text
//! #first line of the description        `%` and `:` and non-ASCII bytes as %XX
//! arch: amd64                           options, one a line
//! lxc.include: /path                    LXC's own keys, in their order
//!
//! [pve:pending]                         changes that wait for the next start
//! rootfs: /elsewhere
//!
//! [snapshot1]                           what snapshots have
//! ```

use std::fmt;

/// The file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conf {
    /// The guest's own lines, without the sections below.
    lines: Vec<String>,
    /// Everything from the first `[…]` on, untouched.
    sections: String,
}

impl Conf {
    /// Reads a file. There is no wrong one: what can't be understood is kept.
    pub fn parse(text: &str) -> Conf {
        let start = section_start(text).unwrap_or(text.len());
        let (own, sections) = text.split_at(start);
        // Not `lines`: a carriage return at the end of the file would come back once a newline follows.
        let mut lines: Vec<String> = own.split('\n').map(str::to_owned).collect();
        while lines.last().is_some_and(|line| line.trim().is_empty()) {
            lines.pop();
        }
        Conf {
            lines,
            sections: sections.to_owned(),
        }
    }

    /// The value of an option.
    pub fn get(&self, key: &str) -> Option<&str> {
        // The last one counts, as with Proxmox.
        let values = self.lines.iter().filter_map(|line| option(line));
        values
            .filter(|(k, _)| *k == key)
            .map(|(_, v)| v)
            .next_back()
    }

    /// Sets an option: in its place if it has one, else before the first that sorts after it.
    pub fn set(&mut self, key: &str, value: &str) {
        let line = format!("{key}: {value}");
        let is = |other: &String| option(other).is_some_and(|(k, _)| k == key);
        if let Some(at) = self.lines.iter().rposition(is) {
            self.lines[at] = line;
            return;
        }
        let after = |other: &String| match option(other) {
            Some((k, _)) => k > key,
            None => other.starts_with("lxc."),
        };
        let at = self.lines.iter().position(after);
        self.lines.insert(at.unwrap_or(self.lines.len()), line);
    }

    /// Takes an option out.
    pub fn remove(&mut self, key: &str) {
        self.lines
            .retain(|line| option(line).is_none_or(|(k, _)| k != key));
    }

    /// Whether there is nothing but this one option.
    pub fn is_only(&self, key: &str, value: &str) -> bool {
        matches!(&self.lines[..], [line] if option(line) == Some((key, value)))
            && self.sections.is_empty()
    }

    /// The values of one of LXC's keys, in their order.
    pub fn lxc<'s>(&'s self, key: &'s str) -> impl Iterator<Item = &'s str> {
        let all = self.lines.iter().filter_map(|line| lxc_line(line));
        all.filter(move |(k, _)| *k == key).map(|(_, value)| value)
    }

    /// Adds a line with one of LXC's keys behind those that are there.
    pub fn add_lxc(&mut self, key: &str, value: &str) {
        self.lines.push(format!("{key}: {value}"));
    }

    /// The description, without its last newline.
    pub fn description(&self) -> String {
        let texts = self.lines.iter().filter_map(|line| line.strip_prefix('#'));
        let lines: Vec<String> = texts.map(|text| decode(text.trim_end())).collect();
        lines.join("\n")
    }

    /// Replaces the description.
    pub fn set_description(&mut self, text: &str) {
        self.lines.retain(|line| !line.starts_with('#'));
        let encoded = text.lines().map(|line| format!("#{}", encode(line)));
        let all: Vec<String> = encoded.chain(self.lines.drain(..)).collect();
        self.lines = all;
    }

    /// The tags.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        let tags = self.get("tags").unwrap_or_default();
        tags.split([';', ',', ' ']).filter(|tag| !tag.is_empty())
    }

    /// Whether a change waits for the next start.
    pub fn has_pending(&self) -> bool {
        self.section_names().any(|name| name == "pve:pending")
    }

    /// Names of the snapshots.
    pub fn snapshots(&self) -> Vec<&str> {
        let names = self.section_names();
        names.filter(|name| *name != "pve:pending").collect()
    }

    fn section_names(&self) -> impl Iterator<Item = &str> {
        self.sections.lines().filter_map(section_name)
    }
}

impl fmt::Display for Conf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        if !self.sections.is_empty() {
            writeln!(f)?;
        }
        f.write_str(&self.sections)
    }
}

fn section_start(text: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if section_name(line.trim_end_matches('\n')).is_some() {
            return Some(at);
        }
        at += line.len();
    }
    None
}

/// `NAME` in `[NAME]`: a letter first, then letters, digits, `_` and `-`; or `pve:pending`.
fn section_name(line: &str) -> Option<&str> {
    let name = line.trim_end().strip_prefix('[')?.strip_suffix(']')?;
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic());
    let rest = bytes.all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    (name.eq_ignore_ascii_case("pve:pending") || (first && rest && name.len() > 1)).then_some(name)
}

/// `key: value` where the key is an option's.
fn option(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    let digits = key.trim_end_matches(|c: char| c.is_ascii_digit());
    let plain = |b: u8| b.is_ascii_lowercase() || b == b'_';
    let named = digits.starts_with(|c: char| c.is_ascii_lowercase()) && digits.bytes().all(plain);
    let value = value.trim();
    (named && !value.is_empty()).then_some((key, value))
}

/// `lxc.key: value` or `lxc.key = value`.
fn lxc_line(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix("lxc.")?;
    let end = rest.find([':', '=', ' '])?;
    let (key, value) = line.split_at("lxc.".len() + end);
    let value = value.trim_start().strip_prefix([':', '='])?;
    Some((key, value.trim()))
}

/// One line of a description as it stands in the file.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' | b':' => out += &format!("%{byte:02X}"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

/// The reverse of [`encode`]; bytes that are no text become the replacement character.
pub fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        match (first, hex(tail)) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = &tail[2..];
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex(text: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(text.get(..2)?).ok()?;
    let both = digits.bytes().all(|b| b.is_ascii_hexdigit());
    both.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests;
