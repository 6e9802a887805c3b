//! Which of a layout's images is meant: by name, tag or digest, then by platform. It must not guess:
//! what isn't clear is an error that names the choices.

use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, MediaType};

use super::store::Store;
use super::{ImageError, document};

/// Annotation of an index with the name (image-spec, annotations.md).
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The same as containerd writes it, with registry and repository.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// Indexes in indexes, at most.
const DEEPEST: usize = 4;

/// What an image is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// `linux`, `freebsd`.
    pub os: String,
    /// As Go names it: `amd64`, `arm64`.
    pub arch: String,
    /// `v7`, where there are several.
    pub variant: Option<String>,
}

impl Platform {
    /// Of this host.
    pub fn host() -> Self {
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Self {
            os: std::env::consts::OS.to_owned(),
            arch: arch.to_owned(),
            variant: None,
        }
    }

    /// Parses `os/arch` or `os/arch/variant`.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, arch, variant) = match parts[..] {
            [os, arch] => (os, arch, None),
            [os, arch, variant] => (os, arch, Some(variant.to_owned())),
            _ => return Err("expected OS/ARCH or OS/ARCH/VARIANT, such as linux/arm64".into()),
        };
        if [os, arch].contains(&"") {
            return Err("expected OS/ARCH or OS/ARCH/VARIANT, such as linux/arm64".into());
        }
        Ok(Self {
            os: os.to_owned(),
            arch: arch.to_owned(),
            variant,
        })
    }

    fn matches(&self, os: &str, arch: &str, variant: Option<&str>) -> bool {
        let variant_matches = match (&self.variant, variant) {
            (Some(wanted), Some(variant)) => wanted == variant,
            // arm64 without a variant is v8 (image-index.md, "Platform Variants").
            (Some(wanted), None) => arch == "arm64" && wanted == "v8",
            (None, _) => true,
        };
        self.os == os && self.arch == arch && variant_matches
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.arch)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// A manifest, and the name under which it was found.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The manifest's descriptor.
    pub descriptor: Descriptor,
    /// The name in the index, if it has one.
    pub name: Option<String>,
}

/// Chooses in the index of `store`.
///
/// # Errors
/// [`ImageError::Choice`] when nothing or more than one matches.
pub fn choose(
    store: &Store,
    wanted: Option<&str>,
    platform: Option<&Platform>,
) -> Result<Chosen, ImageError> {
    let bytes = store.index()?;
    let index: ImageIndex =
        serde_json::from_slice(&bytes).map_err(|source| ImageError::Document {
            digest: "index.json".into(),
            source,
        })?;
    let host = Platform::host();
    let platform_wanted = platform.unwrap_or(&host);
    let mut named = Vec::new();
    for descriptor in index.manifests() {
        if wanted.is_none_or(|wanted| is_named(descriptor, wanted)) {
            named.push(descriptor.clone());
        }
    }
    // A digest may stand further down, in an index of platforms.
    if named.is_empty()
        && let Some(wanted) = wanted.filter(|wanted| wanted.starts_with("sha256:"))
    {
        for manifest in flatten(store, index.manifests(), 0)? {
            if manifest.digest().as_ref() == wanted {
                named.push(manifest);
            }
        }
    }
    let names: Vec<_> = named.iter().map(name).collect();
    if names.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(ImageError::Choice(several(store, index.manifests())));
    }
    let name = names.into_iter().next().flatten();
    let manifests = flatten(store, &named, 0)?;
    match (wanted, manifests.is_empty()) {
        (Some(wanted), true) => {
            let text = format!("no image `{wanted}`: {}", several(store, index.manifests()));
            return Err(ImageError::Choice(text));
        }
        (None, true) => return Err(ImageError::Choice(several(store, &[]))),
        _ => {}
    }
    let descriptor = by_platform(&manifests, platform_wanted)?;
    Ok(Chosen { descriptor, name })
}

fn several(store: &Store, all: &[Descriptor]) -> String {
    let names: Vec<String> = all
        .iter()
        .map(|d| name(d).unwrap_or_else(|| d.digest().to_string()))
        .map(|name| format!("`{}`", crate::spec::report::show_text(name)))
        .collect();
    match names.len() {
        0 => format!("`{}` holds no image", store.path().display()),
        _ => format!("`{}` holds {}", store.path().display(), names.join(", ")),
    }
}

fn name(descriptor: &Descriptor) -> Option<String> {
    let annotations = descriptor.annotations().as_ref()?;
    let name = annotations.get(CONTAINERD_NAME);
    name.or_else(|| annotations.get(REF_NAME)).cloned()
}

/// By a full name, by what stands behind its last colon, by a digest or the beginning of one.
fn is_named(descriptor: &Descriptor, wanted: &str) -> bool {
    let digest = descriptor.digest().to_string();
    let hex = digest.split_once(':').map_or("", |(_, hex)| hex);
    let beginning = wanted.len() >= 12 && hex.starts_with(wanted);
    if digest == wanted || beginning {
        return true;
    }
    let empty = Default::default();
    let annotations = descriptor.annotations().as_ref().unwrap_or(&empty);
    [CONTAINERD_NAME, REF_NAME]
        .iter()
        .filter_map(|key| annotations.get(*key))
        .any(|name| name == wanted || tag(name) == Some(wanted))
}

/// The tag of `host:5000/name:tag`.
fn tag(name: &str) -> Option<&str> {
    let last = name.rsplit('/').next()?;
    last.rsplit_once(':').map(|(_, tag)| tag)
}

/// All manifests, those in indexes as well.
fn flatten(store: &Store, all: &[Descriptor], depth: usize) -> Result<Vec<Descriptor>, ImageError> {
    let mut manifests = Vec::new();
    for descriptor in all {
        if !is_index(descriptor.media_type()) {
            manifests.push(descriptor.clone());
            continue;
        }
        if depth == DEEPEST {
            let text = format!("more than {DEEPEST} indexes in each other");
            return Err(ImageError::Choice(text));
        }
        let index: ImageIndex = document(store, descriptor)?;
        manifests.extend(flatten(store, index.manifests(), depth + 1)?);
    }
    Ok(manifests)
}

fn is_index(kind: &MediaType) -> bool {
    match kind {
        MediaType::ImageIndex => true,
        MediaType::Other(name) => {
            name == "application/vnd.docker.distribution.manifest.list.v2+json"
        }
        _ => false,
    }
}

fn by_platform(manifests: &[Descriptor], wanted: &Platform) -> Result<Descriptor, ImageError> {
    // One without a platform says it in its configuration, which is checked later.
    if let [only] = manifests {
        return Ok(only.clone());
    }
    let platform = |descriptor: &Descriptor| {
        descriptor.platform().as_ref().map(|platform| Platform {
            os: platform.os().to_string(),
            arch: platform.architecture().to_string(),
            variant: platform.variant().clone(),
        })
    };
    let found = manifests.iter().find(|descriptor| {
        platform(descriptor).is_some_and(|p| wanted.matches(&p.os, &p.arch, p.variant.as_deref()))
    });
    found.cloned().ok_or_else(|| {
        let all = manifests.iter().filter_map(platform);
        // `unknown/unknown` is how buildx marks attestations.
        let all: Vec<_> = all
            .map(|p| p.to_string())
            .filter(|p| p != "unknown/unknown")
            .collect();
        let all = match all.is_empty() {
            true => "none that it names".to_owned(),
            false => all.join(", "),
        };
        ImageError::Choice(format!("no image for `{wanted}`, only for {all}"))
    })
}

/// The configuration must be for the platform as well.
pub fn check_platform(
    config: &ImageConfiguration,
    wanted: Option<&Platform>,
) -> Result<(), ImageError> {
    let host = Platform::host();
    let wanted = wanted.unwrap_or(&host);
    let (os, arch) = (config.os().to_string(), config.architecture().to_string());
    match wanted.matches(&os, &arch, config.variant().as_deref()) {
        true => Ok(()),
        false => Err(ImageError::Choice(format!(
            "the image is for `{os}/{arch}`, not for `{wanted}`"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_parsed_and_compared() {
        let arm = Platform::parse("linux/arm64/v8").unwrap();
        assert!(arm.matches("linux", "arm64", None));
        assert!(arm.matches("linux", "arm64", Some("v8")));
        assert!(!arm.matches("linux", "arm64", Some("v9")));
        assert!(!arm.matches("linux", "arm", Some("v8")));
        assert!(
            Platform::parse("linux/arm")
                .unwrap()
                .matches("linux", "arm", Some("v7"))
        );
        for bad in ["", "linux", "linux/", "a/b/c/d"] {
            assert!(Platform::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tags_stand_behind_the_last_colon() {
        assert_eq!(tag("host:5000/a/b:1.2"), Some("1.2"));
        assert_eq!(tag("host:5000/a/b"), None);
        assert_eq!(tag("b:latest"), Some("latest"));
    }
}
