//! Images of strangers: a layout's index, manifest and configuration.

use std::fs;
use std::path::Path;

use pxrun::image::Image;
use pxrun::image::config::RunConfig;
use pxrun::image::select::Platform;
use sha2::{Digest, Sha256};

/// Documents, a NUL between: the configuration, the manifest, the index. `@N` in one stands for the
/// descriptor's digest and size of the Nth before it, so that mutants stay a layout.
pub fn image(data: &[u8]) {
    let place = crate::archives::place().join("image");
    let blobs = place.join("blobs/sha256");
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&blobs).expect("a directory for blobs");
    fs::write(
        place.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .expect("a layout");
    let mut told: Vec<String> = Vec::new();
    let mut last = Vec::new();
    for text in data.split(|byte| *byte == 0).take(6) {
        let mut text = String::from_utf8_lossy(text).into_owned();
        for (n, descriptor) in told.iter().enumerate() {
            text = text.replace(&format!("\"@{n}\""), descriptor);
        }
        let digest = Sha256::digest(text.as_bytes());
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(blobs.join(&hex), &text).expect("a blob");
        told.push(format!(r#""digest":"sha256:{hex}","size":{}"#, text.len()));
        last = text.into_bytes();
    }
    fs::write(place.join("index.json"), &last).expect("an index");
    for platform in [None, Some(Platform::host())] {
        open(&place, platform.as_ref());
    }
}

fn open(place: &Path, platform: Option<&Platform>) {
    match Image::open(place, None, platform) {
        Ok(image) => {
            let _ = (image.digest(), image.size(), image.blobs().len());
            let _ = RunConfig::of_image(&image.config);
            for layer in 0..image.layers() {
                assert!(!image.diff_id(layer).is_empty());
            }
        }
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
}
