//! The order in which a jail is made, and taken down. What fails halfway is taken back in reverse.
//! It must not run anything but through its runner.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::JailError;
use super::devices;
use super::hooks::{self, Hook, Point};
use super::look;
use super::mounts::{self, Mount};
use super::parameters::{name, parameters};
use super::process::Process;
use super::run::{Call, RunError, Runner};
use super::section::Section;

const JAIL: &str = "/usr/sbin/jail";
const JLS: &str = "/usr/sbin/jls";
const MOUNT: &str = "/sbin/mount";
const UMOUNT: &str = "/sbin/umount";
const DEVFS: &str = "/sbin/devfs";
const IFCONFIG: &str = "/sbin/ifconfig";

/// Everything about a jail, decided before anything is touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// Its first process.
    pub process: Process,
    section: Section,
    parameters: Vec<String>,
    /// The caller's root, if the jail's is a read-only mount of it.
    source: Option<PathBuf>,
    root: PathBuf,
    mounts: Vec<(Mount, Vec<Vec<String>>)>,
    hooks: Vec<Hook>,
}

/// What hooks are told, by when they run.
pub type State<'a> = &'a dyn Fn(Point) -> Value;

/// Why a jail can't be made.
#[derive(Debug, thiserror::Error)]
pub enum LifeError {
    /// The bundle asks for what a jail can't be.
    #[error(transparent)]
    Bundle(#[from] JailError),
    /// A command failed; what was made before it has been taken back.
    #[error("make jail `{name}`")]
    Made {
        /// The jail.
        name: String,
        /// The cause.
        #[source]
        cause: RunError,
    },
}

impl Plan {
    /// Decides everything. `state` is the container's own directory.
    ///
    /// # Errors
    /// The bundle asks for what a jail can't be.
    pub fn new(id: &str, config: &Value, bundle: &Path, state: &Path) -> Result<Plan, JailError> {
        let section = Section::read(config)?;
        let path = config["root"]["path"].as_str().unwrap_or("rootfs");
        let source = bundle.join(path);
        let read_only = mounts::read_only_root(config)?;
        let root = match read_only {
            true => state.join("root"),
            false => source.clone(),
        };
        let options = devices::devfs_options(config)?;
        let rules = |i: usize| {
            let own = options.iter().find(|(index, _)| *index == i);
            own.map(|(_, options)| devices::rules(&section.devices, options))
                .unwrap_or_default()
        };
        let mounts = mounts::mounts(config, bundle)?.into_iter().enumerate();
        Ok(Plan {
            name: name(id, section.jail.parent.as_deref())?,
            process: Process::read(config)?,
            parameters: parameters(id, config, &section, &root)?,
            source: read_only.then_some(source),
            root,
            mounts: mounts.map(|(i, mount)| (mount, rules(i))).collect(),
            hooks: hooks::hooks(config)?,
            section,
        })
    }

    /// Makes the jail and runs the hooks of `create`; the jail's number. Nothing of it is left when
    /// that fails, and `poststop` has run where any hook had.
    ///
    /// # Errors
    /// What failed.
    pub fn create(&self, runner: &mut dyn Runner, state: State<'_>) -> Result<i32, LifeError> {
        self.make(runner)?;
        let points = [
            Point::Prestart,
            Point::CreateRuntime,
            Point::CreateContainer,
        ];
        let made = look::jid(&self.name, runner)
            .and_then(|jid| self.run_hooks(runner, &points, state, jid).map(|()| jid));
        made.map_err(|cause| {
            // The first failure is the one to tell.
            let _ = self.delete(runner, state);
            self.failed(cause)
        })
    }

    /// Runs the hooks of `start` in the jail, lets the process run and runs those that follow.
    /// Failures of the last are given back: the container runs.
    ///
    /// # Errors
    /// A hook in the jail failed, or the process can't run.
    pub fn start(
        &self,
        runner: &mut dyn Runner,
        state: State<'_>,
        jid: i32,
        go: impl FnOnce() -> Result<(), RunError>,
    ) -> Result<Result<(), RunError>, LifeError> {
        self.run_hooks(runner, &[Point::StartContainer], state, jid)
            .and_then(|()| go())
            .map_err(|cause| self.failed(cause))?;
        Ok(self.run_hooks(runner, &[Point::Poststart], state, jid))
    }

    /// Takes the jail down and runs the hooks that follow, whatever fails.
    ///
    /// # Errors
    /// The first thing that failed.
    pub fn delete(&self, runner: &mut dyn Runner, state: State<'_>) -> Result<(), RunError> {
        let gone = self.take_down(runner);
        let told = self.run_hooks(runner, &[Point::Poststop], state, 0);
        gone.and(told)
    }

    /// Those of each point in turn. After a fatal one no other runs.
    fn run_hooks(
        &self,
        runner: &mut dyn Runner,
        points: &[Point],
        state: State<'_>,
        jid: i32,
    ) -> Result<(), RunError> {
        let mut first = Ok(());
        for hook in self
            .hooks
            .iter()
            .filter(|hook| points.contains(&hook.point))
        {
            let inside = (hook.point == Point::StartContainer).then_some(jid);
            let ran = runner.hook(hook, &state(hook.point).to_string(), inside);
            match ran {
                Err(error) if hook.point.is_fatal() => return Err(error),
                ran => first = first.and(ran),
            }
        }
        first
    }

    fn failed(&self, cause: RunError) -> LifeError {
        LifeError::Made {
            name: self.name.clone(),
            cause,
        }
    }

    /// Makes the jail; nothing of it is left when that fails.
    ///
    /// # Errors
    /// What failed.
    pub fn make(&self, runner: &mut dyn Runner) -> Result<(), LifeError> {
        let mut undo = Vec::new();
        self.steps(runner, &mut undo).map_err(|cause| {
            for call in undo.iter().rev() {
                // The first failure is the one to tell.
                let _ = runner.run(call);
            }
            self.failed(cause)
        })
    }

    /// Takes the jail down, whatever of it is there.
    ///
    /// # Errors
    /// The first thing that would not go.
    pub fn take_down(&self, runner: &mut dyn Runner) -> Result<(), RunError> {
        let mut first = Ok(());
        for call in self.removal() {
            if let Err(error) = runner.run(&call)
                && first.is_ok()
            {
                first = Err(error);
            }
        }
        first
    }

    fn steps(&self, runner: &mut dyn Runner, undo: &mut Vec<Call>) -> Result<(), RunError> {
        let mut done = |runner: &mut dyn Runner, call: Call, back: Option<Call>| {
            runner.run(&call)?;
            undo.extend(back);
            Ok(())
        };
        if let Some(source) = &self.source {
            runner.directory(
                self.root.parent().unwrap_or(Path::new("/")),
                Path::new("root"),
            )?;
            let call = Call::new(
                MOUNT,
                [
                    "-t".into(),
                    "nullfs".into(),
                    "-o".into(),
                    "ro".into(),
                    text(source),
                    text(&self.root),
                ],
            );
            done(runner, call, Some(unmount(&self.root)))?;
        }
        for (mount, rules) in &self.mounts {
            let target = self.root.join(&mount.destination);
            runner.directory(&self.root, &mount.destination)?;
            done(runner, mount_call(mount, &target), Some(unmount(&target)))?;
            for rule in rules {
                let words = ["-m".into(), text(&target), "rule".into(), "apply".into()];
                let words: Vec<String> = words.into_iter().chain(rule.iter().cloned()).collect();
                done(runner, Call::new(DEVFS, words), None)?;
            }
        }
        if let Some(parent) = &self.section.jail.parent {
            let told = runner.run(&Call::new(JLS, ["-j", parent, "children.max"]))?;
            let more = told.trim().parse::<u32>().unwrap_or(0).saturating_add(1);
            let modify = |n: u32| {
                Call::new(
                    JAIL,
                    [
                        "-m".to_owned(),
                        format!("name={parent}"),
                        format!("children.max={n}"),
                    ],
                )
            };
            done(runner, modify(more), Some(modify(more - 1)))?;
        }
        for (call, back) in self.aliases() {
            done(runner, call, Some(back))?;
        }
        let create = Call::new(
            JAIL,
            std::iter::once("-c".to_owned()).chain(self.parameters.iter().cloned()),
        );
        done(runner, create, Some(Call::new(JAIL, ["-r", &self.name])))?;
        for interface in &self.section.jail.vnet_interfaces {
            let back = Call::new(IFCONFIG, [interface, "-vnet", &self.name]);
            done(
                runner,
                Call::new(IFCONFIG, [interface, "vnet", &self.name]),
                Some(back),
            )?;
        }
        Ok(())
    }

    /// Addresses on the host's interface, and how they go.
    fn aliases(&self) -> Vec<(Call, Call)> {
        let jail = &self.section.jail;
        let Some(interface) = &jail.interface else {
            return Vec::new();
        };
        let of = |family: &'static str, address: &String, end: &'static str| {
            Call::new(
                IFCONFIG,
                [interface.as_str(), family, address.as_str(), end],
            )
        };
        let four = jail.ip4_addr.iter().map(|address| ("inet", address));
        let six = jail.ip6_addr.iter().map(|address| ("inet6", address));
        four.chain(six)
            .map(|(family, address)| (of(family, address, "alias"), of(family, address, "-alias")))
            .collect()
    }

    fn removal(&self) -> Vec<Call> {
        let jail = &self.section.jail;
        let interfaces = jail.vnet_interfaces.iter().rev();
        let mut all: Vec<Call> = interfaces
            .map(|interface| Call::new(IFCONFIG, [interface, "-vnet", &self.name]))
            .collect();
        all.push(Call::new(JAIL, ["-r", &self.name]));
        all.extend(self.aliases().into_iter().rev().map(|(_, back)| back));
        let targets = self
            .mounts
            .iter()
            .rev()
            .map(|(m, _)| self.root.join(&m.destination));
        all.extend(targets.map(|target| unmount(&target)));
        all.extend(self.source.iter().map(|_| unmount(&self.root)));
        all
    }
}

fn mount_call(mount: &Mount, target: &Path) -> Call {
    let mut args = vec!["-t".to_owned(), mount.kind.to_owned()];
    if !mount.options.is_empty() {
        args.extend(["-o".to_owned(), mount.options.join(",")]);
    }
    args.extend([text(&mount.source), text(target)]);
    Call::new(MOUNT, args)
}

/// `-f`: what is still open in there belongs to processes that are being removed.
fn unmount(target: &Path) -> Call {
    Call::new(UMOUNT, ["-f".to_owned(), text(target)])
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
