//! `wsup runner`, started by the daemon, and its helper: not for people.

use crate::runner::boot::Options;
use crate::runner::logs::{journal, packer};
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where its socket, lock and log are
    #[arg(long, value_name = "DIR")]
    runtime_dir: PathBuf,
    /// Use process groups even where cgroups could be used
    #[arg(long)]
    no_cgroup: bool,
    /// Start programs the plain way even where clone3 works
    #[arg(long)]
    no_clone3: bool,
    /// Where the journal listens
    #[arg(long, value_name = "PATH", env = "WSUP_JOURNAL_SOCKET", default_value = journal::SOCKET)]
    journal_socket: PathBuf,
}

/// Runs it.
pub fn run(args: Args) -> ExitCode {
    let runtime_dir = match std::path::absolute(&args.runtime_dir) {
        Ok(dir) => dir,
        Err(error) => return super::exit::fail(super::exit::USAGE, &error.to_string(), None),
    };
    let options = Options {
        runtime_dir,
        no_cgroup: args.no_cgroup,
        no_clone3: args.no_clone3,
        journal: args.journal_socket,
    };
    match crate::runner::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        // It has been said where it is heard.
        Err(_) => ExitCode::from(super::exit::FAILED),
    }
}

/// Compresses a log file for the runner.
pub fn compress_log() -> ExitCode {
    match packer::help() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::exit::fail(super::exit::FAILED, &error.to_string(), None),
    }
}
