//! Just enough of kubelet's protocol, the Container Runtime Interface, to use a handler that is
//! registered in containerd's configuration: gRPC through curl, messages put together by hand.
//! It must not know what a test is about.
//!
//! gRPC over HTTP/2: a message is a flag byte, four bytes of length (big endian) and protobuf;
//! the status comes in the trailer `grpc-status`.
//! Field numbers: <https://github.com/kubernetes/cri-api/blob/v0.27.0/pkg/apis/runtime/v1/api.proto>
//! Wire format: <https://protobuf.dev/programming-guides/encoding/>

use std::path::{Path, PathBuf};

use super::command::{cmd, feed};

/// A protobuf message being written, or read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message(pub Vec<u8>);

impl Message {
    pub fn new() -> Self {
        Self::default()
    }

    /// A string, bytes or message field (wire type 2).
    pub fn text(mut self, field: u8, value: impl AsRef<[u8]>) -> Self {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.as_ref().len() as u64);
        self.0.extend_from_slice(value.as_ref());
        self
    }

    /// A message field.
    pub fn message(self, field: u8, value: Message) -> Self {
        self.text(field, value.0)
    }

    /// A repeated string field.
    pub fn texts(self, field: u8, values: &[&str]) -> Self {
        values
            .iter()
            .fold(self, |message, value| message.text(field, value))
    }

    /// One entry of a map<string, string>.
    pub fn entry(self, field: u8, key: &str, value: &str) -> Self {
        self.message(field, Message::new().text(1, key).text(2, value))
    }

    /// An integer or enumeration field (wire type 0).
    pub fn number(mut self, field: u8, value: u64) -> Self {
        self.varint(u64::from(field) << 3);
        self.varint(value);
        self
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// The bytes of a field of wire type 2; empty when it isn't there, as proto3 has it.
    pub fn bytes_at(&self, field: u8) -> Vec<u8> {
        self.find(field).1
    }

    /// A string field.
    pub fn text_at(&self, field: u8) -> String {
        String::from_utf8_lossy(&self.bytes_at(field)).into_owned()
    }

    /// A message field.
    pub fn message_at(&self, field: u8) -> Message {
        Message(self.bytes_at(field))
    }

    /// An integer field; 0 when it isn't there.
    pub fn number_at(&self, field: u8) -> u64 {
        self.find(field).0
    }

    fn find(&self, wanted: u8) -> (u64, Vec<u8>) {
        let mut rest = &self.0[..];
        while !rest.is_empty() {
            let tag = read_varint(&mut rest);
            let value = read_varint(&mut rest);
            let bytes = match tag & 7 {
                0 => Vec::new(),
                2 => {
                    let (bytes, after) = rest.split_at(value as usize);
                    rest = after;
                    bytes.to_vec()
                }
                kind => panic!("wire type {kind} is not one that the CRI uses"),
            };
            if tag >> 3 == u64::from(wanted) {
                return (value, bytes);
            }
        }
        (0, Vec::new())
    }
}

fn read_varint(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().expect("a varint goes on");
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

/// A CRI server on a socket.
#[derive(Debug)]
pub struct Cri {
    pub socket: PathBuf,
}

impl Cri {
    /// Calls a method of the runtime service; panics unless it succeeds.
    #[track_caller]
    pub fn call(&self, method: &str, request: Message) -> Message {
        self.try_call("RuntimeService", method, request)
            .unwrap_or_else(|e| panic!("{method}: {e}"))
    }

    /// Calls a method; the error is the server's message.
    #[track_caller]
    pub fn try_call(
        &self,
        service: &str,
        method: &str,
        request: Message,
    ) -> Result<Message, String> {
        let mut body = vec![0];
        body.extend_from_slice(&(request.0.len() as u32).to_be_bytes());
        body.extend_from_slice(&request.0);
        let output = feed(
            curl(&self.socket, service, method)
                .arg("--data-binary")
                .arg("@-"),
            &body,
        )
        .ok();
        answer(&output.bytes, &output.stderr)
    }
}

fn curl(socket: &Path, service: &str, method: &str) -> std::process::Command {
    let mut command = cmd("curl");
    command.args([
        "--silent",
        "--show-error",
        "--http2-prior-knowledge",
        "--max-time",
        "50",
        "--unix-socket",
    ]);
    command.arg(socket).args([
        "--header",
        "content-type: application/grpc",
        "--header",
        "te: trailers",
    ]);
    // Headers and trailers go to standard error, the message to standard output.
    command.args(["--dump-header", "/dev/stderr"]);
    command.arg(format!("http://localhost/runtime.v1.{service}/{method}"));
    command
}

fn answer(body: &[u8], headers: &str) -> Result<Message, String> {
    let header = |name: &str| {
        headers
            .lines()
            .find_map(|l| l.strip_prefix(name))
            .map(str::trim)
    };
    match header("grpc-status:") {
        Some("0") => Ok(Message(body.get(5..).unwrap_or_default().to_vec())),
        _ => Err(header("grpc-message:").unwrap_or(headers).to_owned()),
    }
}
