//! The four kinds of load. Each notes every call and goes on after a failure, so that one failure
//! doesn't hide others.

use std::sync::Mutex;
use std::thread;

use super::tally::Tally;
use crate::support::Result;
use crate::support::bundle::Maker;
use crate::support::caller::{Caller, Container};
use crate::support::figures::growth;

/// Who is called, and with which bundles.
pub struct Site {
    /// The runtime.
    pub caller: Caller,
    /// Makes a bundle for each container, since each has a cgroup of its own.
    pub maker: Maker,
}

impl Site {
    /// `count` containers created at the same moment, then started, then deleted.
    pub fn at_once(&self, count: usize) -> Tally {
        let bundles: Vec<_> = (0..count).map(|n| self.bundle("once", n)).collect();
        let mut tally = Tally::new(format!("{count} at once"));
        let made = Mutex::new(Vec::new());
        let parts = parallel(bundles.len(), |n| {
            let mut own = Tally::new(format!("{count} at once"));
            let created = bundles[n].as_ref().map_err(ToString::to_string);
            let created = created
                .map_err(Into::into)
                .and_then(|(id, bundle)| self.caller.create(id, bundle));
            if let Some(container) = own.note("create", created) {
                own.time("start", container.start());
                if let Ok(mut made) = made.lock() {
                    made.push(container);
                }
            }
            own
        });
        parts.into_iter().for_each(|part| tally.add(part));
        let made = made.into_inner().unwrap_or_default();
        let parts = parallel(made.len(), |n| {
            let mut own = Tally::new(format!("{count} at once"));
            own.time(
                "delete --force",
                self.caller.call(&["delete", "--force", &made[n].id]),
            );
            own.expect("reap", made[n].reap());
            own
        });
        parts.into_iter().for_each(|part| tally.add(part));
        tally
    }

    /// Containers that pile up to `count`; and what the last ones cost, measured in the first ones.
    pub fn standing(&self, count: usize, callers: usize) -> (Tally, f64) {
        let mut tally = Tally::new(format!("{count} standing"));
        let mut all = Vec::new();
        for n in 0..count {
            if let Some(container) = self.started("stand", n, &mut tally) {
                all.push(container);
            }
        }
        for container in all.iter().step_by(10) {
            tally.time("state", container.state());
            tally.time("exec", container.exec(&["/bin/true"]));
            tally.time("list", self.caller.call(&["list", "--quiet"]));
        }
        let dearer = growth(tally.of("create")).max(growth(tally.of("start")));
        let share = all.len().div_ceil(callers.max(1)).max(1);
        let shares: Vec<&[Container<'_>]> = all.chunks(share).collect();
        let parts = parallel(shares.len(), |n| {
            let mut own = Tally::new(format!("{count} standing"));
            for container in shares[n] {
                end(container, &mut own);
            }
            own
        });
        parts.into_iter().for_each(|part| tally.add(part));
        (tally, dearer)
    }

    /// `count` containers one after another.
    pub fn in_turn(&self, count: usize) -> Tally {
        let mut tally = Tally::new(format!("{count} in turn"));
        for n in 0..count {
            if let Some(container) = self.started("turn", n % 4, &mut tally) {
                end(&container, &mut tally);
            }
        }
        tally
    }

    /// Callers that do what they like: each with containers of its own, all of them with one that
    /// they share.
    pub fn mixed(&self, callers: usize, rounds: usize) -> Tally {
        let step = format!("{callers} callers");
        let mut tally = Tally::new(&step);
        let Some(shared) = self.started("shared", 0, &mut tally) else {
            return tally;
        };
        let parts = parallel(callers, |caller| {
            let mut own = Tally::new(&step);
            for round in 0..rounds {
                let Some(container) = self.started("mixed", caller, &mut own) else {
                    continue;
                };
                own.time("exec", shared.exec(&["/bin/true"]));
                own.time("state", shared.state());
                own.time("exec", container.exec(&["/bin/sh", "-c", "exit 0"]));
                own.time("list", self.caller.call(&["list"]));
                match (caller + round) % 3 {
                    0 => own.time("pause", self.caller.call(&["pause", &container.id])),
                    1 => own.time("ps", self.caller.call(&["ps", &container.id])),
                    _ => own.time(
                        "events",
                        self.caller.call(&["events", "--stats", &container.id]),
                    ),
                }
                if (caller + round) % 3 == 0 {
                    own.time(
                        "delete --force",
                        self.caller.call(&["delete", "--force", &container.id]),
                    );
                    own.expect("reap", container.reap());
                } else {
                    end(&container, &mut own);
                }
            }
            own
        });
        parts.into_iter().for_each(|part| tally.add(part));
        // All of them at the same container: whoever comes late finds it gone, which is no failure.
        let parts = parallel(callers, |_| {
            let mut own = Tally::new(&step);
            own.time(
                "delete --force",
                self.caller.call(&["delete", "--force", &shared.id]),
            );
            own
        });
        parts.into_iter().for_each(|part| tally.add(part));
        tally.expect("reap", shared.reap());
        tally
    }

    fn bundle(&self, kind: &str, n: usize) -> Result<(String, std::path::PathBuf)> {
        let id = format!("{kind}-{n}");
        let bundle = self.maker.sleeping(&id, true)?;
        Ok((id, bundle))
    }

    fn started(&self, kind: &str, n: usize, tally: &mut Tally) -> Option<Container<'_>> {
        let created = self.bundle(kind, n);
        let created = created.and_then(|(id, bundle)| self.caller.create(&id, &bundle));
        let container = tally.note("create", created)?;
        tally.time("start", container.start());
        Some(container)
    }
}

/// `kill`, the parent's wait, `delete`.
fn end(container: &Container<'_>, tally: &mut Tally) {
    tally.time("kill", container.signal("KILL"));
    tally.expect("reap", container.reap());
    tally.time("delete", container.delete());
}

/// Runs `job` for 0 to `count` at the same time.
fn parallel(count: usize, job: impl Fn(usize) -> Tally + Sync) -> Vec<Tally> {
    let job = &job;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|n| scope.spawn(move || job(n))).collect();
        let finished = threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| {
                let mut broken = Tally::new("a caller");
                broken.expect("go on", Err("it panicked".into()));
                broken
            })
        });
        finished.collect()
    })
}
