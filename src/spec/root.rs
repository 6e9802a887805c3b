//! `root`: where the root filesystem is.
//! It must not look whether it is there.

use super::shape::{Shape, opt, req};

/// config.md, "Root": required on Linux; a relative path counts from the bundle.
pub const SHAPE: Shape = Shape::Object(&[req("path", &Shape::Name), opt("readonly", &Shape::Bool)]);
