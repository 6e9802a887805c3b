//! How far long work is, on a terminal; nothing anywhere else. It must not know what the work is.

use std::io::Read;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Bytes, rate and time left of one job.
#[derive(Clone, Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Shows `what` on stderr when that is a terminal and `quiet` isn't asked for. `total` is 0
    /// where it isn't known.
    pub fn new(what: &str, total: u64, quiet: bool) -> Self {
        let target = match quiet {
            true => ProgressDrawTarget::hidden(),
            // Hidden by itself where stderr is no terminal.
            false => ProgressDrawTarget::stderr_with_hz(8),
        };
        let known = "{msg} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
        let unknown = "{msg} {bytes}, {bytes_per_sec}, {elapsed}";
        let style = ProgressStyle::with_template(if total > 0 { known } else { unknown });
        let bar = ProgressBar::with_draw_target((total > 0).then_some(total), target);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what.to_owned());
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(250));
        }
        Self { bar }
    }

    /// `bytes` more are done.
    pub fn add(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// A source that counts what is read of it.
    pub fn read<R: Read>(&self, from: R) -> Counted<R> {
        Counted {
            from,
            progress: self.clone(),
        }
    }

    /// Takes the line off the terminal.
    pub fn done(&self) {
        self.bar.finish_and_clear();
    }
}

/// See [`Progress::read`].
#[derive(Debug)]
pub struct Counted<R> {
    from: R,
    progress: Progress,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.from.read(into)?;
        self.progress.add(count as u64);
        Ok(count)
    }
}
