//! Which backend runs a container, and why: a pure function of what the container asks for and what
//! is configured. It must not touch files, processes or the host.

use std::collections::BTreeMap;

/// The annotation by which a container asks for a backend.
pub const BACKEND_ANNOTATION: &str = "dev.pxrun.backend";

/// A decision, made once at `create` and kept in the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Name of the backend.
    pub backend: String,
    /// Why this one, for people.
    pub reason: String,
}

/// Chooses for a container with these annotations; `default` is the backend of this host.
pub fn choose(annotations: &BTreeMap<String, String>, default: &str) -> Route {
    match annotations.get(BACKEND_ANNOTATION) {
        Some(wanted) => Route {
            backend: wanted.clone(),
            reason: format!("annotation `{BACKEND_ANNOTATION}`"),
        },
        None => Route {
            backend: default.to_owned(),
            reason: "default".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_annotation_goes_before_the_default() {
        let none = BTreeMap::new();
        assert_eq!(choose(&none, "embedded").backend, "embedded");
        let asks = BTreeMap::from([(BACKEND_ANNOTATION.to_owned(), "lxc".to_owned())]);
        let route = choose(&asks, "embedded");
        assert_eq!(route.backend, "lxc");
        assert!(route.reason.contains(BACKEND_ANNOTATION));
    }
}
