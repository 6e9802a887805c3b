//! OCI archives (image-spec, image-layout.md, in a tar): an image as it is, or a tree as its only
//! layer. It must not compress again what is compressed already.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, Write};
use std::path::Path;

use oci_spec::image::Descriptor;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::create::{Job, Sum, Written, pack};
use super::{TemplateError, file};
use crate::archive::compression::{Sums, hex};
use crate::archive::writer::Writer;
use crate::archive::{ArchiveError, Entry, Kind, Time};
use crate::image::config::RunConfig;
use crate::image::{Image, check_sums};
use crate::pack::PackError;
use crate::progress::Progress;
use crate::staging::Staging;

const BUFFER: usize = 256 << 10;
const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// Copies an image, every digest verified.
pub(super) fn of_image(image: &Image, out: &File, job: &Job<'_>) -> Result<Written, TemplateError> {
    let progress = Progress::new("copy", image.size(), job.files.quiet);
    let mut archive = Archive::new(out, job)?;
    let mut manifest = json!({
        "mediaType": image.descriptor.media_type().to_string(),
        "digest": image.digest(),
        "size": image.descriptor.size(),
    });
    if let Some(name) = &image.name {
        manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
    }
    archive.index(manifest)?;
    let mut done: Vec<String> = Vec::new();
    for blob in image.blobs() {
        let digest = blob.digest().to_string();
        // Two layers may be the same blob.
        if !done.contains(&digest) {
            archive.verified(&blob, progress.read(image.blob(&blob)?))?;
            done.push(digest);
        }
    }
    archive.finish()?;
    progress.done();
    let digest = image.digest();
    Ok(Written {
        run: crate::assemble::run_config(image),
        digest: digest.trim_start_matches("sha256:").to_owned(),
        sockets: 0,
    })
}

/// Makes an image with one layer.
pub(super) fn of_tree(
    rootfs: &Path,
    run: RunConfig,
    beside: &Path,
    out: &File,
    job: &Job<'_>,
) -> Result<Written, TemplateError> {
    // Names in the archive are digests, so the layer has to be complete before it goes in.
    let (staging, mut layer) = Staging::file(beside).map_err(file("write beside", beside))?;
    let (diff, packed) = pack(rootfs, None, &layer, job, Sum::Plain)?;
    let read = file("read", staging.path());
    layer.rewind().map_err(&read)?;
    let (layer_digest, size) = sum_of(&mut layer).map_err(&read)?;
    layer.rewind().map_err(&read)?;
    let config = run
        .to_image(&format!("sha256:{diff}"))
        .to_string()
        .into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": described(CONFIG, &digest_of(&config), config.len() as u64),
        "layers": [described(LAYER, &layer_digest, size)],
    });
    let manifest = manifest.to_string().into_bytes();
    let digest = digest_of(&manifest);
    let mut archive = Archive::new(out, job)?;
    let mut entry = described(MANIFEST, &digest, manifest.len() as u64);
    if let Some(name) = &run.image {
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
    }
    archive.index(entry)?;
    archive.file(&blob(&digest), &manifest)?;
    archive.file(&blob(&digest_of(&config)), &config)?;
    archive.begin(&blob(&layer_digest), size)?;
    archive.copy(&mut layer)?;
    archive.finish()?;
    Ok(Written {
        run,
        digest,
        sockets: packed.sockets,
    })
}

fn sum_of(file: &mut File) -> std::io::Result<(String, u64)> {
    let mut buffer = vec![0; BUFFER];
    let (mut sum, mut size) = (Sha256::new(), 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((hex(sum), size)),
            count => {
                sum.update(&buffer[..count]);
                size += count as u64;
            }
        }
    }
}

fn digest_of(bytes: &[u8]) -> String {
    hex(Sha256::new().chain_update(bytes))
}

fn described(kind: &str, digest: &str, size: u64) -> Value {
    json!({ "mediaType": kind, "digest": format!("sha256:{digest}"), "size": size })
}

fn blob(digest: &str) -> String {
    format!("blobs/sha256/{digest}")
}

/// The archive that is being written.
struct Archive<'a> {
    writer: Writer<BufWriter<&'a File>>,
    job: &'a Job<'a>,
}

impl<'a> Archive<'a> {
    fn new(out: &'a File, job: &'a Job<'a>) -> Result<Self, TemplateError> {
        let mut archive = Self {
            writer: Writer::new(BufWriter::with_capacity(BUFFER, out)),
            job,
        };
        archive.file("oci-layout", LAYOUT.as_bytes())?;
        for dir in ["blobs/", "blobs/sha256/"] {
            archive.entry(dir, Kind::Dir, 0o755)?;
        }
        Ok(archive)
    }

    fn index(&mut self, manifest: Value) -> Result<(), TemplateError> {
        let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
        self.file("index.json", index.to_string().as_bytes())
    }

    fn entry(&mut self, path: &str, kind: Kind, mode: u32) -> Result<(), TemplateError> {
        Ok(self.writer.entry(&Entry {
            path: path.into(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            xattrs: Vec::new(),
        })?)
    }

    fn begin(&mut self, path: &str, size: u64) -> Result<(), TemplateError> {
        self.entry(path, Kind::File { size, map: None }, 0o644)
    }

    fn file(&mut self, path: &str, bytes: &[u8]) -> Result<(), TemplateError> {
        self.begin(path, bytes.len() as u64)?;
        Ok(self.writer.data(bytes)?)
    }

    /// Copies `from` to its end; gives its sum and length.
    fn copy(&mut self, from: &mut impl Read) -> Result<Sums, TemplateError> {
        self.copy_at_most(from, u64::MAX)
    }

    fn copy_at_most(&mut self, from: &mut impl Read, most: u64) -> Result<Sums, TemplateError> {
        let mut buffer = vec![0; BUFFER];
        let mut sum = Sha256::new();
        let mut size = 0;
        loop {
            if self.job.files.interrupt.pending() {
                return Err(PackError::Interrupted.into());
            }
            let count = from.read(&mut buffer).map_err(ArchiveError::Read)?;
            if count == 0 || size + count as u64 > most {
                size += count as u64;
                break;
            }
            sum.update(&buffer[..count]);
            self.writer.data(&buffer[..count])?;
            size += count as u64;
        }
        Ok(Sums {
            compressed: hex(sum),
            plain: String::new(),
            size,
        })
    }

    /// A blob of an image; one of another length or digest is an error.
    fn verified(&mut self, blob: &Descriptor, mut from: impl Read) -> Result<(), TemplateError> {
        let path = blob.digest().to_string().replace(':', "/");
        self.begin(&format!("blobs/{path}"), blob.size())?;
        let sums = self.copy_at_most(&mut from, blob.size())?;
        Ok(check_sums(blob, &sums)?)
    }

    fn finish(self) -> Result<(), TemplateError> {
        let mut buffered = self.writer.finish()?;
        buffered.flush().map_err(|e| ArchiveError::Write(e).into())
    }
}
