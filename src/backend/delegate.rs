//! Containers that another OCI runtime runs. Must not know argument types, the configuration file
//! or standard error.

mod settings;

pub use settings::Settings;
