//! A conversation with systemd over D-Bus: calls, their answers, the end of a job.
//! It must not know what a container is.

use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::wire::{Call, HEAD, Received, Value, rest_of};

/// How long systemd may take for an answer, and for a job: what runc gives it.
const PATIENCE: Duration = Duration::from_secs(30);

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "/org/freedesktop/systemd1";

/// Where every distribution has the bus (file-hierarchy of D-Bus), and systemd's own socket for
/// root, which systemctl uses: for a host without a bus.
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
const SYSTEM_PRIVATE: &str = "/run/systemd/private";

/// What went wrong with systemd.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Neither a bus nor systemd listens.
    #[error("`{}` is not there: systemd doesn't run on this host, or without a bus", .0.display())]
    NoBus(PathBuf),
    /// `DBUS_SESSION_BUS_ADDRESS` and `DBUS_SYSTEM_BUS_ADDRESS`.
    #[error("bus address `{0}` is neither `unix:path=…` nor `unix:abstract=…`")]
    Address(String),
    /// For a user's own systemd.
    #[error(
        "neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR tells where the user's systemd is"
    )]
    NoSession,
    /// The socket.
    #[error("talk to `{}`", path.display())]
    Socket {
        /// Where it is.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The bus doesn't take us.
    #[error("the bus at `{}` refuses this user: `{answer}`", path.display())]
    Refused {
        /// Where it is.
        path: PathBuf,
        /// Its line.
        answer: String,
    },
    /// Nothing that D-Bus's rules allow.
    #[error("the bus sent something that is no D-Bus message")]
    Garbled,
    /// systemd's own words.
    #[error("{text}")]
    Method {
        /// D-Bus's name of the error.
        name: String,
        /// What systemd says.
        text: String,
    },
    /// A job's end, in systemd's words: `failed`, `canceled`, `timeout`, `dependency`, `skipped`.
    #[error("the job for `{unit}` ended with `{result}`")]
    Job {
        /// The unit.
        unit: String,
        /// The result.
        result: String,
    },
}

type Result<T> = std::result::Result<T, BusError>;

/// A connection to systemd's manager.
#[derive(Debug)]
pub struct Bus {
    stream: UnixStream,
    path: PathBuf,
    /// A message bus stands between us and systemd.
    shared: bool,
    serial: u32,
    /// Signals that came while an answer was waited for.
    signals: Vec<Received>,
}

impl Bus {
    /// Connects to the system's manager, or to the user's own.
    pub fn connect(user: bool) -> Result<Self> {
        let (stream, path, shared) = if user { session()? } else { system()? };
        for set in [UnixStream::set_read_timeout, UnixStream::set_write_timeout] {
            set(&stream, Some(PATIENCE)).map_err(|source| BusError::Socket {
                path: path.clone(),
                source,
            })?;
        }
        let mut bus = Self {
            stream,
            path,
            shared,
            serial: 0,
            signals: Vec::new(),
        };
        bus.authenticate()?;
        if shared {
            bus.call(&Call {
                destination: "org.freedesktop.DBus",
                path: "/org/freedesktop/DBus",
                interface: "org.freedesktop.DBus",
                member: "Hello",
                arguments: Vec::new(),
            })?;
        }
        Ok(bus)
    }

    /// Calls a method of the manager, and returns the texts of the answer.
    pub fn manager(&mut self, member: &str, arguments: Vec<Value>) -> Result<Vec<String>> {
        self.systemd("org.freedesktop.systemd1.Manager", member, arguments)
    }

    /// systemd's version: the number before all additions of distributions; 0 if it has none.
    pub fn version(&mut self) -> Result<u32> {
        let arguments = vec![
            Value::text("org.freedesktop.systemd1.Manager"),
            Value::text("Version"),
        ];
        let answer = self.systemd("org.freedesktop.DBus.Properties", "Get", arguments)?;
        let text = answer.first().map(String::as_str).unwrap_or_default();
        let digits = text.trim_start_matches('v');
        let end = digits.find(|c: char| !c.is_ascii_digit());
        Ok(digits[..end.unwrap_or(digits.len())].parse().unwrap_or(0))
    }

    /// Has the ends of jobs told from now on.
    pub fn watch_jobs(&mut self) -> Result<()> {
        if self.shared {
            let rule = "type='signal',interface='org.freedesktop.systemd1.Manager',\
                        member='JobRemoved',path='/org/freedesktop/systemd1'";
            self.call(&Call {
                destination: "org.freedesktop.DBus",
                path: "/org/freedesktop/DBus",
                interface: "org.freedesktop.DBus",
                member: "AddMatch",
                arguments: vec![Value::text(rule)],
            })?;
        }
        self.manager("Subscribe", Vec::new()).map(drop)
    }

    /// Waits until `job`, as a method has returned it, has ended well.
    pub fn await_job(&mut self, job: &str, unit: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut waiting = std::mem::take(&mut self.signals).into_iter();
        loop {
            let signal = match waiting.next() {
                Some(signal) => signal,
                None if Instant::now() > deadline => {
                    return Err(BusError::Job {
                        unit: unit.to_owned(),
                        result: "timeout".to_owned(),
                    });
                }
                None => self.receive()?,
            };
            // JobRemoved(u id, o job, s unit, s result)
            let [path, _, result] = &signal.texts[..] else {
                continue;
            };
            if signal.member != "JobRemoved" || path != job {
                continue;
            }
            return match result.as_str() {
                "done" => Ok(()),
                _ => Err(BusError::Job {
                    unit: unit.to_owned(),
                    result: result.clone(),
                }),
            };
        }
    }

    fn systemd(
        &mut self,
        interface: &str,
        member: &str,
        arguments: Vec<Value>,
    ) -> Result<Vec<String>> {
        self.call(&Call {
            destination: if self.shared { SYSTEMD } else { "" },
            path: MANAGER,
            interface,
            member,
            arguments,
        })
    }

    fn call(&mut self, call: &Call) -> Result<Vec<String>> {
        self.serial += 1;
        let serial = self.serial;
        self.send(&call.message(serial))?;
        loop {
            let message = self.receive()?;
            match message.kind {
                2 if message.answers == serial => return Ok(message.texts),
                3 if message.answers == serial => {
                    let mut texts = message.texts.into_iter();
                    return Err(BusError::Method {
                        text: texts.next().unwrap_or_else(|| message.error.clone()),
                        name: message.error,
                    });
                }
                4 => self.signals.push(message),
                _ => {}
            }
        }
    }

    /// EXTERNAL without a name: the other side asks the kernel who we are, which holds in a user
    /// namespace, too (D-Bus specification, "EXTERNAL").
    fn authenticate(&mut self) -> Result<()> {
        self.send(b"\0AUTH EXTERNAL\r\n")?;
        self.expect("DATA")?;
        self.send(b"DATA\r\n")?;
        self.expect("OK")?;
        self.send(b"BEGIN\r\n")
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        let mut line = Vec::new();
        // Byte for byte, so that nothing of what follows is taken; both lines are short.
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.read(&mut byte)?;
            line.push(byte[0]);
            if line.len() > 512 {
                return Err(BusError::Garbled);
            }
        }
        let line = String::from_utf8_lossy(&line);
        match line.split_whitespace().next() {
            Some(first) if first == word => Ok(()),
            _ => Err(BusError::Refused {
                path: self.path.clone(),
                answer: line.trim_end().to_owned(),
            }),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let result = self.stream.write_all(bytes);
        result.map_err(|source| self.socket(source))
    }

    fn receive(&mut self) -> Result<Received> {
        let mut head = [0; HEAD];
        self.read(&mut head)?;
        let mut rest = vec![0; rest_of(&head).ok_or(BusError::Garbled)?];
        self.read(&mut rest)?;
        Received::read(&head, &rest).ok_or(BusError::Garbled)
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<()> {
        let result = self.stream.read_exact(bytes);
        result.map_err(|source| self.socket(source))
    }

    fn socket(&self, source: io::Error) -> BusError {
        BusError::Socket {
            path: self.path.clone(),
            source,
        }
    }
}

/// A stream, where it leads, and whether a bus is there.
type Door = (UnixStream, PathBuf, bool);

fn system() -> Result<Door> {
    if let Ok(address) = std::env::var("DBUS_SYSTEM_BUS_ADDRESS") {
        return at_address(&address);
    }
    match open(Path::new(SYSTEM_BUS), true) {
        Err(BusError::NoBus(path)) => {
            open(Path::new(SYSTEM_PRIVATE), false).map_err(|error| match error {
                BusError::NoBus(_) => BusError::NoBus(path),
                other => other,
            })
        }
        result => result,
    }
}

fn session() -> Result<Door> {
    if let Ok(address) = std::env::var("DBUS_SESSION_BUS_ADDRESS") {
        return at_address(&address);
    }
    let dir = std::env::var_os("XDG_RUNTIME_DIR").ok_or(BusError::NoSession)?;
    match open(&Path::new(&dir).join("bus"), true) {
        Err(BusError::NoBus(_)) => open(&Path::new(&dir).join("systemd/private"), false),
        result => result,
    }
}

/// The first of several addresses that somebody listens at (D-Bus specification, "Server
/// Addresses").
fn at_address(text: &str) -> Result<Door> {
    let mut last = BusError::Address(text.to_owned());
    for address in text.split(';') {
        let key = |name: &str| {
            let pairs = address.strip_prefix("unix:")?.split(',');
            pairs
                .filter_map(|pair| pair.split_once('='))
                .find_map(|(key, value)| (key == name).then(|| value.to_owned()))
        };
        let result = if let Some(path) = key("path") {
            open(Path::new(&path), true)
        } else if let Some(name) = key("abstract") {
            let address = SocketAddr::from_abstract_name(&name);
            let stream = address.and_then(|address| UnixStream::connect_addr(&address));
            let path = PathBuf::from(format!("@{name}"));
            match stream {
                Ok(stream) => Ok((stream, path, true)),
                Err(source) => Err(BusError::Socket { path, source }),
            }
        } else {
            continue;
        };
        match result {
            Ok(door) => return Ok(door),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn open(path: &Path, shared: bool) -> Result<Door> {
    match UnixStream::connect(path) {
        Ok(stream) => Ok((stream, path.to_owned(), shared)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(BusError::NoBus(path.to_owned()))
        }
        Err(source) => Err(BusError::Socket {
            path: path.to_owned(),
            source,
        }),
    }
}
