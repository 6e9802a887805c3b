//! The rounds: every runtime in turn goes through a container's life, and each call is timed.
//! It must not compare.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::support::Result;
use crate::support::bundle::Maker;
use crate::support::caller::{Caller, Container, Took};

/// The calls that are timed, in their order.
pub const CALLS: [&str; 5] = ["create", "state", "start", "exec", "delete"];

/// How often the memory of `create` is looked at.
const MEMORY_ROUNDS: usize = 5;

/// What was measured of one runtime with one bundle; `times[n]` is round n.
#[derive(Debug)]
pub struct Series {
    /// Place in the list of callers.
    pub caller: usize,
    /// With the seccomp profile.
    pub profile: bool,
    /// What each round took, by [`CALLS`].
    pub times: Vec<[Took; CALLS.len()]>,
    /// KiB, the largest resident set of each `create`.
    pub memory: Vec<f64>,
}

impl Series {
    /// Milliseconds of one call, or of `create`, `start` and `delete` together for `"sum"`.
    pub fn of(&self, call: &str) -> Vec<f64> {
        self.each(call, |took| took.wall)
    }

    /// The same in processor time.
    pub fn cpu(&self, call: &str) -> Vec<f64> {
        self.each(call, |took| took.cpu)
    }

    fn each(&self, call: &str, part: impl Fn(&Took) -> Duration) -> Vec<f64> {
        let counts = |name: &str| match call {
            "sum" => ["create", "start", "delete"].contains(&name),
            call => name == call,
        };
        let round = |times: &[Took; CALLS.len()]| {
            let those = CALLS.iter().zip(times).filter(|(name, _)| counts(name));
            those.map(|(_, took)| part(took).as_secs_f64() * 1e3).sum()
        };
        self.times.iter().map(round).collect()
    }
}

/// Measures all callers with and without the profile.
///
/// # Errors
/// The first call that fails: what a broken runtime takes is not worth a figure.
pub fn take(
    callers: &[Caller],
    maker: &Maker,
    warm_up: usize,
    rounds: usize,
    gap: u64,
) -> Result<Vec<Series>> {
    let gap = Duration::from_millis(gap);
    let mut all = Vec::new();
    let mut bundles = Vec::new();
    for profile in [true, false] {
        for (caller, runtime) in callers.iter().enumerate() {
            let id = format!("{}-{profile}", runtime.name.replace(' ', "-"));
            bundles.push((id.clone(), maker.sleeping(&id, profile)?));
            all.push(Series {
                caller,
                profile,
                times: Vec::with_capacity(rounds),
                memory: Vec::new(),
            });
        }
    }
    for round in 0..warm_up + rounds {
        for turn in 0..all.len() {
            // Nobody always comes after the same other one.
            let place = (turn * stride(round, all.len()) + round) % all.len();
            let (id, bundle) = &bundles[place];
            let times = life(&callers[all[place].caller], id, bundle, gap)?;
            if round >= warm_up {
                all[place].times.push(times);
            }
        }
    }
    for (series, (id, bundle)) in all.iter_mut().zip(&bundles) {
        for _ in 0..MEMORY_ROUNDS {
            let used = memory(&callers[series.caller], id, bundle)?;
            series.memory.push(used);
        }
    }
    Ok(all)
}

/// A step that visits all places, forwards or backwards.
fn stride(round: usize, places: usize) -> usize {
    if round.is_multiple_of(2) {
        1
    } else {
        places - 1
    }
}

fn life(caller: &Caller, id: &str, bundle: &Path, gap: Duration) -> Result<[Took; CALLS.len()]> {
    let (container, create) = caller.create(id, bundle)?;
    let rest = lived(&container, gap);
    if rest.is_err() {
        // Whatever is left would spoil the rounds to come.
        let _ = caller.call(&["delete", "--force", id]);
    }
    let [state, start, exec, delete] = rest?;
    Ok([create, state, start, exec, delete])
}

fn lived(container: &Container<'_>, gap: Duration) -> Result<[Took; 4]> {
    sleep(gap);
    let state = container.state()?;
    sleep(gap);
    let start = container.start()?;
    sleep(gap);
    let exec = container.exec(&["/bin/true"])?;
    sleep(gap);
    container.end()?;
    sleep(gap);
    let delete = container.delete()?;
    sleep(gap);
    Ok([state, start, exec, delete])
}

/// The peak of `create`, in KiB. GNU time does the wait: the kernel counts what the parent had
/// resident at the fork as the child's own, and time is small.
fn memory(caller: &Caller, id: &str, bundle: &Path) -> Result<f64> {
    let said = caller.root.with_file_name("memory");
    let create = caller.create_command(id, bundle);
    let status = Command::new("/usr/bin/time")
        .args(["-f", "%M", "-o"])
        .arg(&said)
        .arg(create.get_program())
        .args(create.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|error| format!("/usr/bin/time: {error}: hack/test-deps installs it"))?;
    if !status.success() {
        return Err(format!("{create:?}: {status}").into());
    }
    let container = caller.adopt(id)?;
    container.end()?;
    container.delete()?;
    Ok(std::fs::read_to_string(said)?.trim().parse()?)
}
