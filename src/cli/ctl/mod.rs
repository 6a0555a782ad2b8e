//! `wsup ctl`.

use std::process::ExitCode;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub fn run(_args: Args) -> ExitCode {
    crate::cli::exit::fail(crate::cli::exit::USAGE, "`wsup ctl` is not supported yet", None)
}
