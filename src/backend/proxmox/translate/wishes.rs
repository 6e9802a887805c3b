//! Annotations that say how a guest is made and are no option of it: number, pool, where its root is.
//! It must not know options.

use super::{Input, TranslateError};
use crate::backend::proxmox::options::ANNOTATION;
use crate::backend::proxmox::settings::Mode;
use crate::backend::proxmox::vmid::Wish;

/// Annotations that are about the guest and no option of it.
pub struct Wishes {
    pub mode: Mode,
    pub storage: String,
    pub size: u32,
    pub template: Option<u32>,
    pub image: Option<String>,
    pub wish: Wish,
    pub pool: Option<String>,
}

impl Wishes {
    /// Names that must not be taken for options.
    pub const NAMES: [&str; 7] = [
        "image", "mode", "pool", "size", "storage", "template", "vmid",
    ];

    /// Reads them.
    pub fn new(input: &Input<'_>) -> Result<Wishes, TranslateError> {
        let settings = input.settings;
        let template = number(input, "template")?;
        let mode = match annotation(input, "mode") {
            Some("zero-copy") => Mode::ZeroCopy,
            Some("volume") => Mode::Volume,
            Some("clone") => Mode::Clone,
            Some(other) => {
                return Err(wrong(
                    "mode",
                    &format!("`{other}` is none of zero-copy, volume, clone"),
                ));
            }
            None if template.is_some() => Mode::Clone,
            None => settings.mode,
        };
        let storage = annotation(input, "storage").unwrap_or(&settings.storage);
        if !is_name(storage) {
            return Err(wrong(
                "storage",
                &format!("`{storage}` is no name of a storage"),
            ));
        }
        let pool = annotation(input, "pool").map(str::to_owned);
        if let Some(pool) = pool.as_deref().filter(|pool| !is_name(pool)) {
            return Err(wrong("pool", &format!("`{pool}` is no name of a pool")));
        }
        let image = annotation(input, "image").map(str::to_owned);
        let fits =
            |image: &str| (1..=300).contains(&image.len()) && !image.contains(char::is_control);
        if let Some(image) = image.as_deref().filter(|image| !fits(image)) {
            let why = format!("`{}` is no name of an image", image.escape_default());
            return Err(wrong("image", &why));
        }
        Ok(Wishes {
            mode,
            storage: storage.to_owned(),
            size: number(input, "size")?.unwrap_or(settings.size),
            template,
            image,
            wish: match number(input, "vmid")? {
                Some(vmid @ 100..=999_999_999) => Wish::This(vmid),
                Some(vmid) => return Err(wrong("vmid", &format!("`{vmid}` is no VMID"))),
                None => Wish::Any(settings.vmids),
            },
            pool,
        })
    }
}

fn annotation<'a>(input: &Input<'a>, name: &str) -> Option<&'a str> {
    let annotations = input.spec.annotations().as_ref()?;
    annotations
        .get(&format!("{ANNOTATION}{name}"))
        .map(String::as_str)
}

fn number(input: &Input<'_>, name: &str) -> Result<Option<u32>, TranslateError> {
    let Some(text) = annotation(input, name) else {
        return Ok(None);
    };
    let plain = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if plain => Ok(Some(number)),
        _ => Err(wrong(name, &format!("`{text}` is no number"))),
    }
}

/// An annotation that doesn't fit.
pub fn wrong(name: &str, why: &str) -> TranslateError {
    TranslateError::Annotation {
        key: format!("{ANNOTATION}{name}"),
        why: why.to_owned(),
    }
}

fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.bytes().all(allowed)
}
