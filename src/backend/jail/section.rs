//! The `freebsd` section of `config.json` (config-freebsd.md), typed, with the annotations of older
//! callers where it says nothing. It must not know jail(8).

use serde_json::Value;

use super::JailError;
use super::read::Object;

/// `freebsd`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    /// `freebsd.devices`.
    pub devices: Vec<Device>,
    /// `freebsd.jail`.
    pub jail: Jail,
}

/// A device that the jail sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Below `/dev`, or a pattern of devfs(8).
    pub path: String,
    /// Permissions.
    pub mode: Option<u32>,
}

/// `freebsd.jail`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Jail {
    /// The jail that this one is made in.
    pub parent: Option<String>,
    /// `new` or `inherit`.
    pub host: Option<&'static str>,
    /// `new`, `inherit` or `disable`.
    pub ip4: Option<&'static str>,
    /// Addresses.
    pub ip4_addr: Vec<String>,
    /// As [`Jail::ip4`].
    pub ip6: Option<&'static str>,
    /// Addresses.
    pub ip6_addr: Vec<String>,
    /// `new` or `inherit`.
    pub vnet: Option<&'static str>,
    /// The interface that gets the addresses.
    pub interface: Option<String>,
    /// Interfaces that move into the jail.
    pub vnet_interfaces: Vec<String>,
    /// `sysvmsg`, `sysvsem`, `sysvshm`, each `new`, `inherit` or `disable`.
    pub sysv: Vec<(&'static str, &'static str)>,
    /// 0, 1 or 2.
    pub enforce_statfs: Option<u64>,
    /// `allow.…` as jail(8) names them, in its order.
    pub allow: Vec<(String, bool)>,
}

const SHARE: [&str; 2] = ["new", "inherit"];
const IP: [&str; 3] = ["new", "inherit", "disable"];
const SYSV: [&str; 3] = ["sysvmsg", "sysvsem", "sysvshm"];

/// OCI's names of permissions and jail(8)'s.
const ALLOW: [(&str, &str); 9] = [
    ("setHostname", "set_hostname"),
    ("rawSockets", "raw_sockets"),
    ("chflags", "chflags"),
    ("quotas", "quotas"),
    ("socketAf", "socket_af"),
    ("mlock", "mlock"),
    ("reservedPorts", "reserved_ports"),
    ("suser", "suser"),
    ("unprivilegedProcDebug", "unprivileged_proc_debug"),
];

impl Section {
    /// Reads a document.
    ///
    /// # Errors
    /// A field that isn't as the specification has it, or that contradicts another one.
    pub fn read(config: &Value) -> Result<Section, JailError> {
        let root = Object::root(config)?;
        let section = root.object("freebsd")?;
        section.only(&["devices", "jail"])?;
        let mut jail = jail(&section.object("jail")?)?;
        annotated(&mut jail, &root.object("annotations")?)?;
        check(&jail, root.text("hostname")?.is_some())?;
        Ok(Section {
            devices: devices(&section)?,
            jail,
        })
    }
}

fn devices(section: &Object<'_>) -> Result<Vec<Device>, JailError> {
    let all = section.objects("devices")?.into_iter();
    all.map(|device| {
        device.only(&["path", "mode"])?;
        let field = device.at("path");
        let path = device.text("path")?.unwrap_or_default();
        let path = path.strip_prefix("/dev/").unwrap_or(&path).to_owned();
        // The path becomes a word of a devfs rule.
        let bad = |c: char| c.is_whitespace() || c.is_control();
        if path.is_empty() || path.starts_with('/') || path.contains("..") || path.contains(bad) {
            return Err(JailError::new(
                field,
                format!("`{path}` is no device below /dev"),
            ));
        }
        let mode = device.number("mode", 0o7777)?;
        let mode = mode.and_then(|mode| u32::try_from(mode).ok());
        Ok(Device { path, mode })
    })
    .collect()
}

fn jail(given: &Object<'_>) -> Result<Jail, JailError> {
    given.only(&[
        "parent",
        "host",
        "ip4",
        "ip4Addr",
        "ip6",
        "ip6Addr",
        "vnet",
        "interface",
        "vnetInterfaces",
        "sysvmsg",
        "sysvsem",
        "sysvshm",
        "enforceStatfs",
        "allow",
    ])?;
    let mut sysv = Vec::new();
    for name in SYSV {
        sysv.extend(given.word(name, &IP)?.map(|word| (name, word)));
    }
    Ok(Jail {
        parent: name_of(given, "parent")?,
        host: given.word("host", &SHARE)?,
        ip4: given.word("ip4", &IP)?,
        ip4_addr: addresses(given.texts("ip4Addr")?, &given.at("ip4Addr"), true)?,
        ip6: given.word("ip6", &IP)?,
        ip6_addr: addresses(given.texts("ip6Addr")?, &given.at("ip6Addr"), false)?,
        vnet: given.word("vnet", &SHARE)?,
        interface: name_of(given, "interface")?,
        vnet_interfaces: interfaces(given)?,
        sysv,
        enforce_statfs: given.number("enforceStatfs", 2)?,
        allow: allow(&given.object("allow")?)?,
    })
}

fn allow(given: &Object<'_>) -> Result<Vec<(String, bool)>, JailError> {
    let names = ALLOW.iter().map(|(name, _)| *name);
    given.only(&names.chain(["mount"]).collect::<Vec<_>>())?;
    let mut all = Vec::new();
    for (name, parameter) in ALLOW {
        all.extend(given.flag(name)?.map(|on| (parameter.to_owned(), on)));
    }
    let kinds = given.texts("mount")?;
    if !kinds.is_empty() {
        all.push(("mount".to_owned(), true));
    }
    for (i, kind) in kinds.iter().enumerate() {
        is_word(kind, &format!("{}[{i}]", given.at("mount")))?;
        all.push((format!("mount.{kind}"), true));
    }
    Ok(all)
}

/// `org.freebsd.…`, as callers wrote before the section existed. The section is stronger.
fn annotated(jail: &mut Jail, given: &Object<'_>) -> Result<(), JailError> {
    const PREFIX: &str = "org.freebsd.jail.";
    let word = |name: &str, words: &[&'static str]| given.word(&format!("{PREFIX}{name}"), words);
    if jail.parent.is_none() {
        jail.parent = name_of(given, "org.freebsd.parentJail")?;
    }
    if jail.vnet.is_none() {
        jail.vnet = word("vnet", &SHARE)?;
    }
    for (name, list, four) in [
        ("ip4.addr", &mut jail.ip4_addr, true),
        ("ip6.addr", &mut jail.ip6_addr, false),
    ] {
        let key = format!("{PREFIX}{name}");
        if let (true, Some(text)) = (list.is_empty(), given.text(&key)?) {
            let parts = text.split(',').map(|part| part.trim().to_owned()).collect();
            *list = addresses(parts, &given.at(&key), four)?;
        }
    }
    for name in SYSV {
        if !jail.sysv.iter().any(|(known, _)| *known == name) {
            jail.sysv.extend(word(name, &IP)?.map(|word| (name, word)));
        }
    }
    for (_, parameter) in ALLOW {
        let known = jail.allow.iter().any(|(name, _)| name == parameter);
        let on = given.word(&format!("{PREFIX}allow.{parameter}"), &["true", "false"])?;
        if let (false, Some(on)) = (known, on) {
            jail.allow.push((parameter.to_owned(), on == "true"));
        }
    }
    Ok(())
}

fn check(jail: &Jail, hostname: bool) -> Result<(), JailError> {
    let refuse =
        |field: &str, what: &str| Err(JailError::new(format!("freebsd.jail.{field}"), what));
    if jail.host == Some("inherit") && hostname {
        return refuse(
            "host",
            "`inherit` and a hostname of its own exclude each other",
        );
    }
    let own_stack = jail.vnet == Some("new");
    if own_stack && !(jail.ip4_addr.is_empty() && jail.ip6_addr.is_empty()) {
        return refuse(
            "vnet",
            "a network stack of its own takes no addresses from outside",
        );
    }
    if !own_stack && !jail.vnet_interfaces.is_empty() {
        return refuse("vnetInterfaces", "needs `vnet` to be `new`");
    }
    if jail.interface.is_some() && jail.ip4_addr.is_empty() && jail.ip6_addr.is_empty() {
        return refuse("interface", "needs `ip4Addr` or `ip6Addr`");
    }
    for (field, ip, list) in [
        ("ip4", jail.ip4, &jail.ip4_addr),
        ("ip6", jail.ip6, &jail.ip6_addr),
    ] {
        if matches!(ip, Some("inherit" | "disable")) && !list.is_empty() {
            return refuse(field, "addresses need `new`");
        }
    }
    Ok(())
}

fn interfaces(given: &Object<'_>) -> Result<Vec<String>, JailError> {
    let all = given.texts("vnetInterfaces")?;
    for (i, name) in all.iter().enumerate() {
        is_word(name, &format!("{}[{i}]", given.at("vnetInterfaces")))?;
    }
    Ok(all)
}

fn name_of(given: &Object<'_>, name: &str) -> Result<Option<String>, JailError> {
    let text = given.text(name)?;
    if let Some(text) = &text {
        is_word(text, &given.at(name))?;
    }
    Ok(text)
}

/// What may become an argument of a command: it can't be taken for an option or a second one.
fn is_word(text: &str, field: &str) -> Result<(), JailError> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    match !text.is_empty() && !text.starts_with(['-', '.']) && text.chars().all(good) {
        true => Ok(()),
        false => Err(JailError::new(field, format!("`{text}` is no name"))),
    }
}

fn addresses(list: Vec<String>, field: &str, four: bool) -> Result<Vec<String>, JailError> {
    for (i, text) in list.iter().enumerate() {
        let (address, length) = text.split_once('/').unwrap_or((text, "0"));
        let good = match address.parse::<std::net::IpAddr>() {
            Ok(address) => address.is_ipv4() == four,
            Err(_) => false,
        };
        let max = if four { 32 } else { 128 };
        if !good || !length.parse::<u8>().is_ok_and(|length| length <= max) {
            let kind = if four { "IPv4" } else { "IPv6" };
            return Err(JailError::new(
                format!("{field}[{i}]"),
                format!("`{text}` is no {kind} address"),
            ));
        }
    }
    Ok(list)
}
