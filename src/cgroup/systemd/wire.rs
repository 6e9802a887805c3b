//! D-Bus values and messages as bytes (D-Bus specification, "Marshaling" and "Message Format"):
//! what talking to systemd takes of them. It must not read or write a socket.

/// The parts of a message that differ from call to call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Call<'a> {
    pub destination: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
    pub member: &'a str,
    pub arguments: Vec<Value>,
}

/// A value with its type.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Value {
    Byte(u8),
    Bool(bool),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    Text(String),
    Struct(Vec<Value>),
    /// The type of the elements, which an empty array has, too.
    Array(&'static str, Vec<Value>),
    Variant(Box<Value>),
}

impl Value {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn signature(&self, out: &mut String) {
        match self {
            Self::Byte(_) => out.push('y'),
            Self::Bool(_) => out.push('b'),
            Self::I32(_) => out.push('i'),
            Self::U32(_) => out.push('u'),
            Self::I64(_) => out.push('x'),
            Self::U64(_) => out.push('t'),
            Self::Text(_) => out.push('s'),
            Self::Variant(_) => out.push('v'),
            Self::Array(element, _) => {
                out.push('a');
                out.push_str(element);
            }
            Self::Struct(fields) => {
                out.push('(');
                fields.iter().for_each(|field| field.signature(out));
                out.push(')');
            }
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Byte(number) => out.push(*number),
            Self::Bool(yes) => number(out, &u32::from(*yes).to_le_bytes()),
            Self::I32(value) => number(out, &value.to_le_bytes()),
            Self::U32(value) => number(out, &value.to_le_bytes()),
            Self::I64(value) => number(out, &value.to_le_bytes()),
            Self::U64(value) => number(out, &value.to_le_bytes()),
            Self::Text(value) => text(out, value),
            Self::Struct(fields) => {
                pad(out, 8);
                fields.iter().for_each(|field| field.write(out));
            }
            Self::Array(element, values) => array(out, element, values),
            Self::Variant(value) => {
                let mut signature = String::new();
                value.signature(&mut signature);
                short_text(out, &signature);
                value.write(out);
            }
        }
    }
}

fn array(out: &mut Vec<u8>, element: &str, values: &[Value]) {
    pad(out, 4);
    let length_at = out.len();
    out.extend([0; 4]);
    // The gap before the first element doesn't count, and is there without one.
    pad(out, alignment(element));
    let start = out.len();
    values.iter().for_each(|value| value.write(out));
    let length = length(out.len() - start).to_le_bytes();
    out[length_at..length_at + 4].copy_from_slice(&length);
}

fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'(' | b'x' | b't') => 8,
        Some(b'y' | b'v') => 1,
        _ => 4,
    }
}

fn number(out: &mut Vec<u8>, bytes: &[u8]) {
    pad(out, bytes.len());
    out.extend(bytes);
}

fn text(out: &mut Vec<u8>, text: &str) {
    number(out, &length(text.len()).to_le_bytes());
    out.extend(text.as_bytes());
    out.push(0);
}

fn short_text(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend(text.as_bytes());
    out.push(0);
}

fn pad(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

/// No message of ours comes near the limit.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl Call<'_> {
    /// The message, with the number that its answer will name.
    pub fn message(&self, serial: u32) -> Vec<u8> {
        let (mut body, mut signature) = (Vec::new(), String::new());
        for argument in &self.arguments {
            argument.signature(&mut signature);
            argument.write(&mut body);
        }
        // Little endian, a method call, no flags, protocol version 1.
        let mut out = vec![b'l', 1, 0, 1];
        out.extend(length(body.len()).to_le_bytes());
        out.extend(serial.to_le_bytes());
        let fields_at = out.len();
        out.extend([0; 4]);
        let start = out.len();
        for (code, kind, value) in [
            (1, 'o', self.path),
            (2, 's', self.interface),
            (3, 's', self.member),
            (6, 's', self.destination),
            (8, 'g', signature.as_str()),
        ] {
            if value.is_empty() {
                continue;
            }
            pad(&mut out, 8);
            out.push(code);
            short_text(&mut out, &kind.to_string());
            match kind {
                'g' => short_text(&mut out, value),
                _ => text(&mut out, value),
            }
        }
        let fields = length(out.len() - start).to_le_bytes();
        out[fields_at..fields_at + 4].copy_from_slice(&fields);
        pad(&mut out, 8);
        out.extend(body);
        out
    }
}

/// The first sixteen bytes of a message: how much follows them.
pub const HEAD: usize = 16;

/// No answer that is read here is longer; a longer one is somebody's mistake.
const LONGEST: usize = 1 << 20;

/// What a message from the other side says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Received {
    /// 2: an answer, 3: an error, 4: a signal.
    pub kind: u8,
    /// The number of the call that it answers.
    pub answers: u32,
    pub member: String,
    /// The name of the error.
    pub error: String,
    /// The texts of its arguments (also paths), one after the other; numbers are left out.
    pub texts: Vec<String>,
}

/// How many bytes follow `head`; `None` if it is no head of a message.
pub fn rest_of(head: &[u8; HEAD]) -> Option<usize> {
    let mut reader = Reader::new(head, head[0])?;
    reader.at = 4;
    let body = reader.u32()? as usize;
    reader.at = 12;
    let fields = reader.u32()? as usize;
    let whole = fields
        .checked_next_multiple_of(8)?
        .checked_add(body)
        .filter(|whole| *whole <= LONGEST)?;
    Some(whole)
}

impl Received {
    /// Reads a message; `None` if it is against the rules.
    pub fn read(head: &[u8; HEAD], rest: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(head, head[0])?;
        reader.at = 12;
        let fields = reader.u32()? as usize;
        let body_at = fields.next_multiple_of(8);
        let mut out = Self {
            kind: head[1],
            ..Self::default()
        };
        let mut reader = Reader::new(rest.get(..fields)?, head[0])?;
        let mut signature = String::new();
        while reader.at < fields {
            reader.align(8);
            let code = reader.byte()?;
            let kind = reader.short_text()?;
            match (code, kind.as_str()) {
                (3, "s") => out.member = reader.text()?,
                (4, "s") => out.error = reader.text()?,
                (5, "u") => out.answers = reader.u32()?,
                (8, "g") => signature = reader.short_text()?,
                (_, "s" | "o") => drop(reader.text()?),
                (_, "u") => drop(reader.u32()?),
                (_, "g") => drop(reader.short_text()?),
                _ => return None,
            }
        }
        let mut reader = Reader::new(rest.get(body_at..)?, head[0])?;
        reader.texts(&signature, &mut out.texts);
        Some(out)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], order: u8) -> Option<Self> {
        let big = match order {
            b'l' => false,
            b'B' => true,
            _ => return None,
        };
        Some(Self { bytes, at: 0, big })
    }

    /// Takes texts as long as the types are known; no answer that matters has others before them.
    fn texts(&mut self, signature: &str, out: &mut Vec<String>) -> Option<()> {
        for kind in signature.chars() {
            match kind {
                's' | 'o' => out.push(self.text()?),
                'u' | 'i' | 'b' => drop(self.u32()?),
                'v' => {
                    let inner = self.short_text()?;
                    // A variant in a variant is nothing that systemd sends here.
                    (!inner.contains('v')).then_some(())?;
                    self.texts(&inner, out)?;
                }
                _ => return None,
            }
        }
        Some(())
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let bytes = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u32(&mut self) -> Option<u32> {
        self.align(4);
        let bytes = self.take(4)?.try_into().ok()?;
        Some(match self.big {
            true => u32::from_be_bytes(bytes),
            false => u32::from_le_bytes(bytes),
        })
    }

    fn text(&mut self) -> Option<String> {
        let length = self.u32()? as usize;
        self.string(length)
    }

    fn short_text(&mut self) -> Option<String> {
        let length = usize::from(self.byte()?);
        self.string(length)
    }

    fn string(&mut self, length: usize) -> Option<String> {
        let text = String::from_utf8(self.take(length)?.to_vec()).ok()?;
        (self.byte()? == 0).then_some(text)
    }
}
