//! The mark in templates that this project makes: a comment in the tar's global header, which every
//! reader of pax skips. It must not be trusted further than the image it came from.

use serde_json::{Value, json};

use crate::image::config::RunConfig;

/// The member of the comment's JSON object that holds what the image says.
const KEY: &str = "dev.pxrun.template";

/// The comment for a template.
pub fn text(run: &RunConfig) -> Vec<u8> {
    json!({ KEY: run }).to_string().into_bytes()
}

/// What a comment says, if it is one of ours.
pub fn read(comment: &[u8]) -> Option<RunConfig> {
    let value: Value = serde_json::from_slice(comment).ok()?;
    serde_json::from_value(value.get(KEY)?.clone()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_comments_are_read() {
        let run = RunConfig {
            image: Some("a:1".into()),
            cmd: vec!["sh".into()],
            ..RunConfig::default()
        };
        assert_eq!(read(&text(&run)), Some(run));
        for foreign in [
            &b""[..],
            b"commit 1234",
            b"{}",
            br#"{"dev.pxrun.template":3}"#,
            b"\xff",
        ] {
            assert_eq!(read(foreign), None);
        }
    }
}
