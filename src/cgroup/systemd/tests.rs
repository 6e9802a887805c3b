//! The driver against a small D-Bus server of our own, which records what it is told and does to
//! cgroups what systemd would. It must not need a running systemd.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};

use nix::unistd::Pid;

use super::*;
use crate::cgroup::Cgroup;
use crate::cgroup::testing::{FakeHost, Real, rerun};

/// Reads D-Bus values by their signature (D-Bus specification, "Marshaling"), little endian.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn number(&mut self, size: usize) -> u64 {
        self.align(size);
        let bytes = &self.bytes[self.at..self.at + size];
        self.at += size;
        bytes
            .iter()
            .rev()
            .fold(0, |all, byte| all << 8 | u64::from(*byte))
    }

    fn text(&mut self, size: usize) -> String {
        let length = usize::try_from(self.number(size)).unwrap();
        let text = String::from_utf8(self.bytes[self.at..self.at + length].to_vec()).unwrap();
        self.at += length + 1;
        text
    }

    /// One value; takes its type off the front of `signature`.
    fn value(&mut self, signature: &mut &str) -> String {
        let (kind, rest) = signature.split_at(1);
        *signature = rest;
        match kind {
            "s" | "o" => format!("{:?}", self.text(4)),
            "g" => self.text(1),
            "y" => self.number(1).to_string(),
            "b" => (self.number(4) == 1).to_string(),
            "u" => self.number(4).to_string(),
            "t" if self.peek_is_max() => {
                self.number(8);
                "max".to_owned()
            }
            "t" => self.number(8).to_string(),
            "v" => {
                let inner = self.text(1);
                self.value(&mut inner.as_str())
            }
            "(" => self.structure(signature),
            "a" => self.array(signature),
            other => panic!("type {other}"),
        }
    }

    fn peek_is_max(&mut self) -> bool {
        self.align(8);
        self.bytes[self.at..].starts_with(&[0xff; 8])
    }

    fn structure(&mut self, signature: &mut &str) -> String {
        self.align(8);
        let mut parts = Vec::new();
        while !signature.starts_with(')') {
            parts.push(self.value(signature));
        }
        *signature = &signature[1..];
        match &parts[..] {
            [key, value] => format!("{}={value}", key.trim_matches('"')),
            parts => format!("({})", parts.join(", ")),
        }
    }

    fn array(&mut self, signature: &mut &str) -> String {
        let length = usize::try_from(self.number(4)).unwrap();
        self.align(if matches!(&signature[..1], "(" | "t") {
            8
        } else {
            1
        });
        let end = self.at + length;
        let mut parts = Vec::new();
        let mut rest = *signature;
        while self.at < end {
            rest = signature;
            parts.push(self.value(&mut rest));
        }
        if parts.is_empty() {
            rest = skip(signature);
        }
        *signature = rest;
        // Properties come out of a hash map.
        parts.sort();
        format!("[{}]", parts.join(", "))
    }
}

/// The signature without its first complete type.
fn skip(signature: &str) -> &str {
    let mut depth = 0;
    for (index, letter) in signature.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 && letter != 'a' {
            return &signature[index + 1..];
        }
    }
    ""
}

/// What the server was told, as `Member(arguments)`.
type Log = Arc<Mutex<Vec<String>>>;

struct Bus {
    root: PathBuf,
    log: Log,
    units: Vec<(String, PathBuf)>,
}

impl Bus {
    fn start(path: &str, root: &Path) -> Log {
        let listener = UnixListener::bind(path).unwrap();
        let log = Log::default();
        let bus = Self {
            root: root.to_owned(),
            log: log.clone(),
            units: Vec::new(),
        };
        let bus = Arc::new(Mutex::new(bus));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let bus = bus.clone();
                std::thread::spawn(move || Self::serve(&bus, stream.unwrap()));
            }
        });
        log
    }

    fn serve(bus: &Mutex<Self>, stream: UnixStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut writer = stream;
        let mut line = String::new();
        reader.read_exact(&mut [0]).unwrap();
        reader.read_line(&mut line).unwrap();
        for (expected, answer) in [
            ("AUTH EXTERNAL\r\n", "DATA\r\n"),
            ("DATA\r\n", "OK 0123456789abcdef\r\n"),
            ("BEGIN\r\n", ""),
        ] {
            assert_eq!(line, expected);
            writer.write_all(answer.as_bytes()).unwrap();
            line.clear();
            if !answer.is_empty() {
                reader.read_line(&mut line).unwrap();
            }
        }
        let mut fixed = [0; 16];
        while reader.read_exact(&mut fixed).is_ok() {
            let mut head = Reader {
                bytes: &fixed,
                at: 4,
            };
            let (body, serial, fields) = (head.number(4), head.number(4), head.number(4));
            let fields = usize::try_from(fields).unwrap();
            let mut rest = vec![0; fields.next_multiple_of(8) + usize::try_from(body).unwrap()];
            reader.read_exact(&mut rest).unwrap();
            let (header, body) = rest.split_at(fields.next_multiple_of(8));
            let reply = bus.lock().unwrap().answer(&header[..fields], body);
            // As systemd does it, before the answer or after: both must be understood.
            let early = serial % 2 == 0;
            let ended = Reply::JobRemoved("done");
            let job = matches!(reply, Reply::Path("/job"));
            if job && early {
                writer.write_all(&message(0, &ended)).unwrap();
            }
            writer.write_all(&message(serial, &reply)).unwrap();
            if job && !early {
                writer.write_all(&message(0, &ended)).unwrap();
            }
        }
    }

    fn answer(&mut self, header: &[u8], body: &[u8]) -> Reply {
        let (mut member, mut signature) = (String::new(), String::new());
        let mut fields = Reader {
            bytes: header,
            at: 0,
        };
        while fields.at < header.len() {
            fields.align(8);
            let code = fields.number(1);
            let value = fields.value(&mut "v");
            match code {
                3 => member = value.trim_matches('"').to_owned(),
                8 => signature = value,
                _ => {}
            }
        }
        let mut values = Reader { bytes: body, at: 0 };
        let mut arguments = Vec::new();
        let mut rest = signature.as_str();
        while !rest.is_empty() {
            arguments.push(values.value(&mut rest));
        }
        let line = format!("{member}({})", arguments.join(", "));
        self.act(&member, &arguments, line)
    }

    fn act(&mut self, member: &str, arguments: &[String], line: String) -> Reply {
        let unit = arguments
            .first()
            .map(|unit| unit.trim_matches('"').to_owned());
        let known = self
            .units
            .iter()
            .position(|(name, _)| Some(name) == unit.as_ref());
        match member {
            "Hello" => return Reply::Text(":1.7"),
            "Get" => return Reply::Variant("252.1"),
            "AddMatch" | "Subscribe" => return Reply::Nothing,
            _ => self.log.lock().unwrap().push(line),
        }
        match (member, known) {
            ("StartTransientUnit", None) => {
                let slice = between(&arguments[2], "Slice=\"", "\"");
                let dir = self.root.join(slice).join(unit.as_deref().unwrap());
                std::fs::create_dir_all(&dir).unwrap();
                let pid = between(&arguments[2], "PIDs=[", "]");
                std::fs::write(dir.join("cgroup.procs"), pid).unwrap();
                self.units.push((unit.unwrap(), dir));
                Reply::Path("/job")
            }
            ("StartTransientUnit", Some(_)) => Reply::Error("UnitExists"),
            ("ResetFailedUnit", Some(_)) => Reply::Nothing,
            ("SetUnitProperties", Some(_)) => Reply::Nothing,
            ("StopUnit", Some(index)) => {
                self.units.remove(index);
                Reply::Path("/job")
            }
            _ => Reply::Error("NoSuchUnit"),
        }
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let rest = text.split_once(start).unwrap().1;
    rest.split_once(end).unwrap().0
}

enum Reply {
    Nothing,
    Text(&'static str),
    Path(&'static str),
    Variant(&'static str),
    /// With how the job `/job` has ended.
    JobRemoved(&'static str),
    Error(&'static str),
}

fn message(serial: u64, reply: &Reply) -> Vec<u8> {
    let string = |text: &str| {
        let mut out = u32::try_from(text.len()).unwrap().to_le_bytes().to_vec();
        out.extend(text.bytes().chain([0]));
        out
    };
    let (kind, signature, body) = match reply {
        Reply::Nothing => (2, "", Vec::new()),
        Reply::Text(text) => (2, "s", string(text)),
        Reply::Path(path) => (2, "o", string(path)),
        Reply::Variant(text) => (2, "v", [vec![1, b's', 0, 0], string(text)].concat()),
        Reply::JobRemoved(result) => {
            let mut body = 7u32.to_le_bytes().to_vec();
            for text in ["/job", "x.scope", result] {
                body.resize(body.len().next_multiple_of(4), 0);
                body.extend(string(text));
            }
            (4, "uoss", body)
        }
        Reply::Error(_) => (3, "s", string("systemd's own words")),
    };
    // REPLY_SERIAL, and for errors ERROR_NAME, then SIGNATURE.
    let mut fields = vec![5, 1, b'u', 0];
    fields.extend(u32::try_from(serial).unwrap().to_le_bytes());
    let named = match reply {
        Reply::Error(name) => Some((4, format!("org.freedesktop.systemd1.{name}"))),
        Reply::JobRemoved(_) => Some((3, "JobRemoved".to_owned())),
        _ => None,
    };
    if let Some((code, text)) = named {
        fields.extend([code, 1, b's', 0]);
        fields.extend(string(&text));
        fields.resize(fields.len().next_multiple_of(8), 0);
    }
    if !signature.is_empty() {
        fields.extend([8, 1, b'g', 0, u8::try_from(signature.len()).unwrap()]);
        fields.extend(signature.bytes().chain([0]));
    }
    let mut out = vec![b'l', kind, 1, 1];
    out.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
    out.extend(1u32.to_le_bytes());
    out.extend(u32::try_from(fields.len()).unwrap().to_le_bytes());
    out.extend(fields);
    out.resize(out.len().next_multiple_of(8), 0);
    out.extend(body);
    out
}

fn with_bus(test: &str, v2: bool) {
    let dir = tempfile::tempdir().unwrap();
    let bus = dir.path().join("bus").display().to_string();
    let address = format!("unix:path={bus}");
    rerun(
        test,
        v2,
        &[
            ("DBUS_SYSTEM_BUS_ADDRESS", &address),
            ("PXRUN_TEST_BUS", &bus),
        ],
    );
}

#[test]
fn a_unit_lives_and_dies_on_version_2() {
    with_bus("cgroup::systemd::tests::life", true);
}

#[test]
fn a_unit_lives_and_dies_on_this_host() {
    with_bus("cgroup::systemd::tests::life", false);
}

/// Takes away what a failing test leaves; systemd would remove the slice itself.
struct Sweeper(Cgroup);

impl Drop for Sweeper {
    fn drop(&mut self) {
        let _ = self.0.kill_all(libc::SIGKILL);
        let _ = self.0.wait_empty(std::time::Duration::from_secs(2));
        for hierarchy in &self.0.hierarchies {
            let _ = std::fs::remove_dir(&hierarchy.dir);
            let _ = std::fs::remove_dir(hierarchy.dir.parent().unwrap());
        }
    }
}

#[test]
#[ignore = "run by `a_unit_lives_and_dies_…` with a bus of its own"]
fn life() {
    let host = Host::read().unwrap();
    let unified = host.mounts.iter().find(|mount| mount.unified);
    let Some(unified) = unified else {
        println!("no version 2 hierarchy here");
        return;
    };
    let log = Bus::start(&std::env::var("PXRUN_TEST_BUS").unwrap(), &unified.point);
    let slice = format!("pxruntest{}.slice", std::process::id());
    let path = format!("{slice}:libpod:abc");
    let given = Some(Path::new(&path));
    let mut cgroup = Cgroup::plan_on(&host, given, "web", Path::new("/r"), true, false).unwrap();
    let dir = unified.point.join(&slice).join("libpod-abc.scope");
    assert!(cgroup.needs_process_first());
    let _sweeper = Sweeper(cgroup.clone());
    cgroup.create(None).unwrap();
    assert!(!cgroup.exists() && log.lock().unwrap().is_empty());

    let stop = "org.systemd.property.TimeoutStopSec".to_owned();
    cgroup.annotate([(&stop, &"uint32 5".to_owned())]).unwrap();
    // The processes are children of a cgroup that cleans up after the test.
    let mut real = Real::planned();
    let (first, second) = (real.outsider(), real.outsider());
    cgroup.check_free().unwrap();
    cgroup.join(first).unwrap();
    assert_eq!(cgroup.pids(true).unwrap(), [first]);
    let taken = "systemd cgroup driver: unit `libpod-abc.scope` already exists";
    for result in [cgroup.join(second), cgroup.check_free()] {
        let error = result.unwrap_err();
        assert!(error.is_taken() && error.to_string() == taken, "{error}");
    }
    assert_eq!(super::super::pids::pids_in(&dir, true).unwrap(), [first]);

    let json = r#"{"memory":{"limit":4096,"swap":8192,"reservation":0},"pids":{"limit":7},
                   "cpu":{"shares":1024}}"#;
    let scope = cgroup.systemd.as_ref().unwrap();
    let resources: LinuxResources = serde_json::from_str(json).unwrap();
    let translated = scope.translate(&cgroup.hierarchies, &resources).unwrap();
    assert!(!translated.incomplete);
    scope.set_properties(translated.properties).unwrap();
    cgroup.kill_all(libc::SIGKILL).unwrap();
    let second = Pid::from_raw(second);
    nix::sys::signal::kill(second, nix::sys::signal::SIGKILL).unwrap();
    real.reap();
    cgroup.remove().unwrap();
    assert!(!cgroup.exists() && !dir.exists());
    let start = format!(
        "StartTransientUnit(\"libpod-abc.scope\", \"fail\", [CPUAccounting=true, \
         CollectMode=\"inactive-or-failed\", DefaultDependencies=false, Delegate=true, \
         Description=\"OCI container web\", IOAccounting=true, MemoryAccounting=true, \
         PIDs=[{first}], Slice=\"{slice}\", TasksAccounting=true, TimeoutStopUSec=5000000], [])"
    );
    let second = start.replace(&format!("PIDs=[{first}]"), &format!("PIDs=[{second}]"));
    let expected = [
        start,
        second.clone(),
        "ResetFailedUnit(\"libpod-abc.scope\")".to_owned(),
        second,
        "SetUnitProperties(\"libpod-abc.scope\", true, [CPUWeight=100, MemoryMax=4096, \
         MemorySwapMax=4096, TasksMax=7])"
            .to_owned(),
        "StopUnit(\"libpod-abc.scope\", \"replace\")".to_owned(),
    ];
    assert_eq!(*log.lock().unwrap(), expected);
}

#[test]
fn slices_are_nested() {
    for (slice, expected) in [
        ("system.slice", Some("system.slice")),
        ("a-b-c.slice", Some("a.slice/a-b.slice/a-b-c.slice")),
        ("-.slice", Some("")),
        (".slice", None),
        ("a--b.slice", None),
        ("a", None),
        ("../x.slice", None),
    ] {
        assert_eq!(expand(slice), expected.map(PathBuf::from), "{slice}");
    }
}

#[test]
fn paths_are_taken_apart() {
    let fake = FakeHost::unified();
    fake.own("0::/user.slice/user-7.slice/user@7.service/app.slice/x.scope\n");
    let plan = |path: Option<&str>, rootless| {
        Cgroup::plan_on(
            &fake.host,
            path.map(Path::new),
            "web",
            Path::new("/run/pxrun"),
            true,
            rootless,
        )
    };
    let below = |cgroup: &Cgroup| {
        let top = &fake.host.mounts[0].point;
        cgroup
            .path()
            .unwrap()
            .strip_prefix(top)
            .unwrap()
            .display()
            .to_string()
    };
    for (path, rootless, expected) in [
        (
            Some("machine.slice:libpod:abc"),
            false,
            "machine.slice/libpod-abc.scope",
        ),
        (Some(":libpod:abc"), false, "system.slice/libpod-abc.scope"),
        (
            Some("a-b.slice:p:c.slice"),
            false,
            "a.slice/a-b.slice/c.slice",
        ),
        (None, false, "system.slice/pxrun-web.scope"),
        (
            Some("user.slice:libpod:abc"),
            true,
            "user.slice/user-7.slice/user@7.service/user.slice/libpod-abc.scope",
        ),
    ] {
        assert_eq!(below(&plan(path, rootless).unwrap()), expected, "{path:?}");
    }
    for bad in ["/machine.slice/x", "a:b", "a.slice:b:c:d"] {
        assert_eq!(
            plan(Some(bad), false).unwrap_err().to_string(),
            format!(
                "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, \
                 got \"{bad}\" instead"
            )
        );
    }
    for bad in [
        "noslice:b:c",
        "a.slice:b:../c",
        "a.slice:../b:c",
        "a.slice:b:",
    ] {
        assert!(plan(Some(bad), false).is_err(), "{bad}");
    }
}

/// Bytes from a bus that is none: an error or nothing, never a panic, and no large reservation.
#[test]
fn any_bytes_are_read_without_a_panic() {
    let good = message(3, &Reply::JobRemoved("done"));
    let (head, rest) = good.split_at(wire::HEAD);
    let head: [u8; wire::HEAD] = head.try_into().unwrap();
    assert_eq!(wire::rest_of(&head), Some(rest.len()));
    let signal = wire::Received::read(&head, rest).unwrap();
    assert_eq!(signal.texts, ["/job", "x.scope", "done"]);
    for at in 0..good.len() {
        for byte in [0, 1, b'B', 0x7f, 0xff] {
            let mut bad = good.clone();
            bad[at] = byte;
            let (head, rest) = bad.split_at(wire::HEAD);
            let head: [u8; wire::HEAD] = head.try_into().unwrap();
            assert!(wire::rest_of(&head).is_none_or(|rest| rest <= 2 << 20));
            let _ = wire::Received::read(&head, rest);
            let _ = wire::Received::read(&head, &rest[..rest.len() / 2]);
        }
    }
}
