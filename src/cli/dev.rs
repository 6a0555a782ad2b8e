//! `wsup dev`.

use std::process::ExitCode;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub fn run(_args: Args) -> ExitCode {
    super::exit::fail(super::exit::USAGE, "`wsup dev` is not supported yet", None)
}
