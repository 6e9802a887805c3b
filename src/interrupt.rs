//! Signals that ask long work to stop, as something to look at between two steps: what is half made
//! can be removed then. It must not end the process itself.

use std::cell::Cell;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Looks in between two real looks: one system call for each would show on trees of small files.
const EVERY: u32 = 16;

/// The signals SIGINT, SIGTERM and SIGHUP, held back.
#[derive(Debug)]
pub struct Interrupt {
    signals: SignalFd,
    seen: Cell<bool>,
    looks: Cell<u32>,
}

impl Interrupt {
    /// Holds them back from here on. Before any thread is made, so that none of them gets one.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn hold() -> nix::Result<Self> {
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            mask.add(signal);
        }
        mask.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self {
            signals: SignalFd::with_flags(&mask, flags)?,
            seen: Cell::new(false),
            looks: Cell::new(0),
        })
    }

    /// Whether one has come, asked for the last time before something becomes visible.
    pub fn pending_now(&self) -> bool {
        self.looks.set(0);
        self.pending()
    }

    /// Whether one has come.
    pub fn pending(&self) -> bool {
        let look = self.looks.get();
        self.looks.set(look.wrapping_add(1));
        if look.is_multiple_of(EVERY) && !self.seen.get() {
            self.seen
                .set(matches!(self.signals.read_signal(), Ok(Some(_))));
        }
        self.seen.get()
    }
}
