//! A process that is remembered across commands: a pid alone may have been given to another one
//! meanwhile. Reads `/proc` and nothing else.

use serde::{Deserialize, Serialize};

/// The kernel's name for the time since it was booted (random(4)); `None` where `/proc` lacks it.
pub fn boot_id() -> Option<&'static str> {
    use std::sync::OnceLock;
    static BOOT: OnceLock<Option<String>> = OnceLock::new();
    let read = || std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    let boot = BOOT.get_or_init(|| read().map(|text| text.trim_end().to_owned()));
    boot.as_deref()
}

/// A pid with the start time that makes it unmistakable (proc_pid_stat(5), field 22, clock ticks
/// after boot).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Pid in the runtime's pid namespace.
    pub pid: i32,
    /// Clock ticks between boot and the process's start.
    pub start_time: u64,
}

/// The few fields of `/proc/PID/stat` that pxrun looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcStat {
    /// `R`, `S`, `D`, `T`, `Z`, `X` …
    pub state: char,
    /// Field 4.
    pub parent: i32,
    /// Field 9, PF_* bits.
    pub flags: u64,
    /// Field 22.
    pub start_time: u64,
}

impl ProcStat {
    /// Reads `/proc/PID/stat`; `None` when there is no such process.
    pub fn of(pid: i32) -> Option<ProcStat> {
        Self::parse(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Reads the text of `/proc/PID/stat`.
    ///
    /// The command name is the process's own choice and may hold blanks and parentheses, so the
    /// fields are counted from the last `)`.
    pub fn parse(stat: &[u8]) -> Option<ProcStat> {
        let end = stat.iter().rposition(|&b| b == b')')?;
        let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let flags = fields.nth(4)?.parse().ok()?;
        let start_time = fields.nth(12)?.parse().ok()?;
        Some(ProcStat {
            state,
            parent,
            flags,
            start_time,
        })
    }

    /// A zombie has ended: only its parent's wait is missing.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

impl ProcessId {
    /// The process that has `pid` now.
    pub fn of(pid: i32) -> Option<ProcessId> {
        ProcStat::of(pid).map(|stat| ProcessId {
            pid,
            start_time: stat.start_time,
        })
    }

    /// This process.
    pub fn current() -> Option<ProcessId> {
        Self::of(std::process::id() as i32)
    }

    /// Still the same process, and not ended.
    pub fn is_alive(&self) -> bool {
        ProcStat::of(self.pid)
            .is_some_and(|stat| stat.start_time == self.start_time && !stat.has_ended())
    }

    /// On its way out (PF_EXITING of include/linux/sched.h) or gone: nothing of its program runs any
    /// more, and it may have let go of its descriptors.
    pub fn is_ending(&self) -> bool {
        const PF_EXITING: u64 = 0x4;
        let stat = ProcStat::of(self.pid).filter(|stat| stat.start_time == self.start_time);
        stat.is_none_or(|stat| stat.has_ended() || stat.flags & PF_EXITING != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_parentheses_and_blanks_is_no_obstacle() {
        let fields = (4..=21)
            .map(|n| n.to_string())
            .collect::<Vec<_>>()
            .join(" ");
        let line = format!("7 (a) Z 1 (b)) S {fields} 4711 23 24");
        let stat = ProcStat::parse(line.as_bytes());
        assert_eq!(
            stat,
            Some(ProcStat {
                state: 'S',
                parent: 4,
                flags: 9,
                start_time: 4711
            })
        );
        assert_eq!(ProcStat::parse(b"7 (a"), None);
        assert_eq!(ProcStat::parse(b"7 (a) S 1"), None);
    }

    #[test]
    fn a_reused_pid_is_another_process() {
        let me = ProcessId::current().unwrap();
        assert!(me.is_alive());
        assert!(!me.is_ending());
        let other = ProcessId {
            start_time: me.start_time + 1,
            ..me
        };
        assert!(!other.is_alive());
    }

    #[test]
    fn a_zombie_is_not_alive() {
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        let id = ProcessId::of(child.id() as i32).unwrap();
        let ended = (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            ProcStat::of(id.pid).is_some_and(|s| s.has_ended())
        });
        assert!(ended);
        assert!(!id.is_alive());
        assert!(id.is_ending());
        child.wait().unwrap();
    }
}
