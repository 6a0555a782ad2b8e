//! `wsup schema`.
//!
//! Responsible for printing the JSON Schema of unit files; what it says is `unit::schema`'s.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints the schema to standard output.
pub fn run(_args: Args) -> ExitCode {
    match std::io::stdout().write_all(crate::unit::schema::json_schema().as_bytes()) {
        Ok(()) => ExitCode::from(super::exit::OK),
        // Whoever reads has had enough (`wsup schema | head`).
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::from(super::exit::OK),
        Err(error) => super::exit::fail(
            super::exit::FAILED,
            &format!("cannot write to standard output: {error}"),
            None,
        ),
    }
}
