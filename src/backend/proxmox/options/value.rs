//! Shapes that an option's value can have, and what is wrong with one that hasn't. It must not know
//! any option.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What a value must look like.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    Bool,
    Int(u64, u64),
    Number(u64, u64),
    OneOf(&'static [&'static str]),
    /// `1;2;3`.
    Numbers,
    /// At most so many bytes on one line.
    Text(usize),
    /// At most so many bytes of anything.
    Lines(usize),
    /// Letters, digits and `-_.;`.
    Word,
    Dns,
    Tags,
    /// IP addresses with spaces or commas between.
    Addresses,
    /// An address of IP version 4 or 6.
    Address(u8),
    /// An address with its prefix length, or one of these words.
    Network(u8, &'static [&'static str]),
    Mac,
    /// `storage:name`.
    VolumeId,
    /// A directory of the host, `storage:name`, or `storage:GIB` for a new one.
    MountSource,
    /// An absolute path in the container, but not its root.
    MountPoint,
    /// A device's node.
    DeviceNode,
    /// `0` and three octal digits.
    Mode,
    /// Bytes with a unit.
    Size,
    /// Which ids stand for which others, or `passthrough`.
    IdMap,
    /// Some of these words with `;` between.
    Words(&'static [&'static str]),
    /// Not to be set, for this reason.
    Refused(&'static str),
    /// A time zone's name, or `host`.
    Zone,
    /// `value,key=value`: these keys, and the one that may be left out.
    Fields(&'static [Field], Option<&'static str>),
}

/// One key of a property string.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    name: &'static str,
    needed: bool,
    shape: Shape,
}

pub const fn field(name: &'static str, shape: Shape) -> Field {
    Field {
        name,
        needed: false,
        shape,
    }
}

pub const fn need(name: &'static str, shape: Shape) -> Field {
    Field {
        name,
        needed: true,
        shape,
    }
}

pub const fn bool_() -> Shape {
    Shape::Bool
}

pub const fn int(low: u64, high: u64) -> Shape {
    Shape::Int(low, high)
}

pub const fn number(low: u64, high: u64) -> Shape {
    Shape::Number(low, high)
}

pub const fn text(longest: usize) -> Shape {
    Shape::Text(longest)
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It could add lines to the guest's configuration.
    #[error("it has a control character")]
    Control,
    /// It has another shape.
    #[error("`{value}` is not {expected}")]
    Not {
        /// The value.
        value: String,
        /// What it should be.
        expected: String,
    },
    /// A property without a key where none can be left out.
    #[error("`{0}` has no `key=value`")]
    NoKey(String),
    /// A key that isn't known.
    #[error("`{0}` is no key of it")]
    Key(String),
    /// A key that stands there twice.
    #[error("`{0}` is there twice")]
    Twice(String),
    /// A key that must be there.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// What pxrun doesn't carry out.
    #[error("{0}")]
    Refused(&'static str),
    /// A property's value.
    #[error("{0}: {1}")]
    Property(&'static str, Box<Wrong>),
}

impl Shape {
    pub fn check(self, value: &str) -> Result<(), Wrong> {
        let lines = matches!(self, Shape::Lines(_));
        if value
            .chars()
            .any(|c| c.is_control() && !(lines && (c == '\n' || c == '\t')))
        {
            return Err(Wrong::Control);
        }
        if let Shape::Fields(fields, default) = self {
            return properties(value, fields, default);
        }
        if let Shape::Refused(reason) = self {
            return match value {
                "0" => Ok(()),
                _ => Err(Wrong::Refused(reason)),
            };
        }
        match self.fits(value) {
            true => Ok(()),
            false => Err(Wrong::Not {
                value: value.to_owned(),
                expected: self.expected(),
            }),
        }
    }

    fn fits(self, value: &str) -> bool {
        match self {
            Shape::Bool => matches!(value, "0" | "1"),
            Shape::Int(low, high) => {
                digits(value) && value.parse().is_ok_and(|n: u64| (low..=high).contains(&n))
            }
            Shape::Number(low, high) => decimal(value, low, high),
            Shape::OneOf(words) => words.contains(&value),
            Shape::Numbers => value.split(';').all(digits),
            Shape::Text(longest) | Shape::Lines(longest) => value.len() <= longest,
            Shape::Word => {
                !value.is_empty()
                    && value
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"-_.;".contains(&b))
            }
            Shape::Dns => dns(value),
            Shape::Tags => value
                .split([';', ',', ' '])
                .filter(|tag| !tag.is_empty())
                .all(is_tag),
            Shape::Addresses => value
                .split([' ', ','])
                .filter(|a| !a.is_empty())
                .all(|a| address(a, 4) || address(a, 6)),
            Shape::Address(version) => address(value, version),
            Shape::Network(version, words) => words.contains(&value) || network(value, version),
            Shape::Mac => mac(value),
            Shape::VolumeId => volume_id(value),
            Shape::MountSource => {
                volume_id(value) || (value.starts_with('/') && plain_path(value) && value != "/")
            }
            Shape::MountPoint => value.starts_with('/') && plain_path(value) && value != "/",
            Shape::DeviceNode => value.starts_with("/dev/") && plain_path(value),
            Shape::Mode => {
                value.len() == 4
                    && value.starts_with('0')
                    && value.bytes().all(|b| (b'0'..=b'7').contains(&b))
            }
            Shape::Size => digits(value.trim_end_matches(['K', 'M', 'G', 'T'])),
            Shape::IdMap => value == "passthrough" || value.split(';').all(id_range),
            Shape::Words(words) => value.split(';').all(|word| words.contains(&word)),
            Shape::Zone => value == "host" || zone(value),
            Shape::Fields(..) | Shape::Refused(_) => false,
        }
    }

    fn expected(self) -> String {
        match self {
            Shape::Bool => "`0` or `1`".to_owned(),
            Shape::Int(low, high) => format!("a number of {low} to {high}"),
            Shape::Number(low, high) if high == u64::MAX => format!("a number from {low}"),
            Shape::Number(low, high) => format!("a number of {low} to {high}"),
            Shape::OneOf(words) => format!("one of {}", words.join(", ")),
            Shape::Numbers => "numbers with `;` between".to_owned(),
            Shape::Text(longest) | Shape::Lines(longest) => format!("at most {longest} bytes long"),
            Shape::Word => "made of letters, digits and `-_.;`".to_owned(),
            Shape::Dns => "a DNS name".to_owned(),
            Shape::Tags => {
                "a list of tags (letters, digits and `_-+.`, with `;` between)".to_owned()
            }
            Shape::Addresses => "a list of IP addresses".to_owned(),
            Shape::Address(version) => format!("an address of IP version {version}"),
            Shape::Network(version, words) => {
                format!(
                    "an address of IP version {version} with a prefix length, or {}",
                    words.join(", ")
                )
            }
            Shape::Mac => "a MAC address".to_owned(),
            Shape::VolumeId => "a volume such as `local:snippets/hook.sh`".to_owned(),
            Shape::MountSource => {
                "a directory, or a volume such as `local:8` or `local:100/vm-100-disk-1.raw`"
                    .to_owned()
            }
            Shape::MountPoint => "an absolute path below `/`".to_owned(),
            Shape::DeviceNode => "a path below `/dev`".to_owned(),
            Shape::Mode => "a mode such as `0660`".to_owned(),
            Shape::Size => "a size such as `8G`".to_owned(),
            Shape::IdMap => "`passthrough`, or ranges such as `u:0:100000:65536`".to_owned(),
            Shape::Words(words) => format!("some of {} with `;` between", words.join(", ")),
            Shape::Refused(reason) => reason.to_owned(),
            Shape::Zone => "the name of a time zone, or `host`".to_owned(),
            Shape::Fields(..) => "a list of properties".to_owned(),
        }
    }
}

fn properties(
    value: &str,
    fields: &'static [Field],
    default: Option<&'static str>,
) -> Result<(), Wrong> {
    let mut seen: Vec<&str> = Vec::new();
    for part in value.split(',') {
        let (name, inner) = match (part.split_once('='), default) {
            (Some(pair), _) => pair,
            (None, Some(default)) => (default, part),
            (None, None) => return Err(Wrong::NoKey(part.to_owned())),
        };
        let field = fields.iter().find(|field| field.name == name);
        let field = field.ok_or_else(|| Wrong::Key(name.to_owned()))?;
        if seen.contains(&name) {
            return Err(Wrong::Twice(name.to_owned()));
        }
        seen.push(name);
        let checked = field.shape.check(inner);
        checked.map_err(|wrong| Wrong::Property(field.name, Box::new(wrong)))?;
    }
    match fields
        .iter()
        .find(|field| field.needed && !seen.contains(&field.name))
    {
        Some(field) => Err(Wrong::Missing(field.name)),
        None => Ok(()),
    }
}

fn digits(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit())
}

fn decimal(value: &str, low: u64, high: u64) -> bool {
    let (whole, part) = value.split_once('.').unwrap_or((value, "0"));
    let number: Option<f64> = value.parse().ok();
    digits(whole) && digits(part) && number.is_some_and(|n| n >= low as f64 && n <= high as f64)
}

/// Labels of letters, digits and inner hyphens, as Proxmox's `dns-name` has them.
pub fn dns(value: &str) -> bool {
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    value.len() <= 255 && value.split('.').all(label)
}

/// Whether Proxmox takes it as a tag.
pub fn is_tag(value: &str) -> bool {
    let first = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let rest = |b: u8| first(b) || b"-+.".contains(&b);
    value.bytes().next().is_some_and(first) && value.bytes().all(rest)
}

fn address(value: &str, version: u8) -> bool {
    match version {
        4 => value.parse::<Ipv4Addr>().is_ok(),
        _ => value.parse::<Ipv6Addr>().is_ok(),
    }
}

fn network(value: &str, version: u8) -> bool {
    let longest = if version == 4 { 32 } else { 128 };
    let prefix = |text: &str| digits(text) && text.parse().is_ok_and(|n: u32| n <= longest);
    value
        .split_once('/')
        .is_some_and(|(ip, length)| address(ip, version) && prefix(length))
}

fn mac(value: &str) -> bool {
    let byte = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
    value.split(':').count() == 6 && value.split(':').all(byte)
}

fn volume_id(value: &str) -> bool {
    let Some((storage, rest)) = value.split_once(':') else {
        return false;
    };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    storage.len() > 1
        && storage.starts_with(|c: char| c.is_ascii_alphabetic())
        && storage.bytes().all(allowed)
        && !rest.is_empty()
        && plain_path(rest)
}

/// No `..`, no empty part, nothing that means something in a property string.
fn plain_path(value: &str) -> bool {
    let parts = value.strip_prefix('/').unwrap_or(value).split('/');
    (value.starts_with('/') || !value.contains(':'))
        && !value.contains([',', '='])
        && (value == "/"
            || parts
                .into_iter()
                .all(|part| !matches!(part, "" | "." | "..")))
}

fn id_range(value: &str) -> bool {
    let parts: Vec<&str> = value.split(':').collect();
    parts.len() == 4 && matches!(parts[0], "u" | "g") && parts[1..].iter().all(|part| digits(part))
}

fn zone(value: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_+/".contains(&b);
    !value.is_empty() && value.bytes().all(allowed) && plain_path(value) && !value.starts_with('/')
}
