//! What the measurements share: runtimes as callers call them, bundles, figures, tables.
//! It must not know what a measurement is about.

#![allow(dead_code, reason = "each measurement uses its own part of this")]

pub mod bundle;
pub mod caller;
pub mod figures;
pub mod machine;
pub mod table;

pub use caller::Caller;

/// An error with its whole story, or anything that can be one.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
/// What every step of a measurement returns.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Ends a measurement: the failure on standard error, and its exit code.
pub fn finish(name: &str, outcome: Result<bool>) -> std::process::ExitCode {
    match outcome {
        Ok(true) => std::process::ExitCode::SUCCESS,
        Ok(false) => std::process::ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{name}: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
