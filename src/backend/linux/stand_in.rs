//! Recognizes a keeper by its pid, and tells whom it stands for: callers build namespace paths from
//! the pid that they were told, and the keeper isn't in the container's pid and user namespace.
//! Reads `/proc` and nothing else.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::state::ProcessId;

/// The first argument of a program that is a keeper; its container's first process follows, as pid
/// and start time.
pub const KEEPER: &str = "@lxc-keeper";

/// The pid that is meant by `/proc/PID/ns/KIND`: of a keeper's, its container's first process.
/// `None` for any other path.
pub fn meant(path: &Path) -> Option<i32> {
    let rest = path.strip_prefix("/proc").ok()?;
    let pid = rest
        .components()
        .next()?
        .as_os_str()
        .to_str()?
        .parse()
        .ok()?;
    kept_by(pid)
}

/// The first process of the container that `pid` is the keeper of.
///
/// A process may call itself what it likes. So beside its words a keeper is known by what a process
/// of a container can't have: it is in this command's pid namespace and in the mount namespace of
/// the one that it names, so nothing is gained by naming a stranger.
pub fn kept_by(pid: i32) -> Option<i32> {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let init = parse(&words)?;
    let same = |kind: &str, other: &str| {
        let id = |path: String| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.dev(), meta.ino()))
        };
        let own = id(format!("/proc/{pid}/ns/{kind}"));
        own.is_some() && own == id(format!("/proc/{other}/ns/{kind}"))
    };
    let known = same("pid", "self") && same("mnt", &init.pid.to_string());
    (known && init.is_alive()).then_some(init.pid)
}

fn parse(words: &[u8]) -> Option<ProcessId> {
    let mut words = words.split(|byte| *byte == 0).map(std::str::from_utf8);
    let mut next = || words.next()?.ok();
    next()?;
    if next()? != KEEPER {
        return None;
    }
    Some(ProcessId {
        pid: next()?.parse().ok().filter(|pid| *pid > 0)?,
        start_time: next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_keeper() {
        let id = ProcessId {
            pid: 42,
            start_time: 7,
        };
        assert_eq!(parse(b"pxrun\0@lxc-keeper\x0042\x007\x00"), Some(id));
        let others: [&[u8]; 5] = [
            b"",
            b"pxrun\0state\x0042\x007\x00",
            b"pxrun\0@lxc-keeper\x00-1\x007\x00",
            b"pxrun\0@lxc-keeper\x0042\x00",
            b"\xff\0@lxc-keeper\x0042\x00x\x00",
        ];
        for words in others {
            assert_eq!(parse(words), None, "{words:?}");
        }
    }

    #[test]
    fn this_process_is_none() {
        let own = format!("/proc/{}/ns/pid", std::process::id());
        assert_eq!(meant(Path::new(&own)), None);
        assert_eq!(meant(Path::new("/run/netns/x")), None);
        assert_eq!(meant(Path::new("/proc/self/ns/pid")), None);
    }
}
