//! The command line: what was typed, one file per command.
//!
//! Responsible for arguments, output and exit codes. Must not decide anything about workloads.

pub mod check;
pub mod cron;
pub mod ctl;
pub mod daemon;
pub mod dev;
pub mod exit;
pub mod output;
pub mod runner;
pub mod schema;
pub mod simulate;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Runs programs on one machine the way Kubernetes runs them on many, without containers.
#[derive(Debug, Parser)]
#[command(name = "wsup", version, max_term_width = 100, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground; SIGTERM stops everything in order
    Daemon(daemon::Args),
    /// Run a project's units in this terminal
    Dev(dev::Args),
    /// Check unit files and print every mistake
    Check(check::Args),
    /// Look into cron schedules
    Cron(cron::Args),
    /// Print the JSON Schema of unit files
    Schema(schema::Args),
    /// Talk to a running daemon
    Ctl(ctl::Args),
    /// The parent of all instances; started by the daemon
    #[command(hide = true)]
    Runner(runner::Args),
    /// Compress stdin to stdout, both files; started by the runner
    #[command(hide = true, name = crate::runner::logs::packer::COMMAND)]
    CompressLog,
    /// Show what would happen, on a virtual clock and with made-up processes
    Simulate(simulate::Args),
    /// Convert other supervisors' files to units
    #[command(hide = true)]
    Import(Later),
    /// Convert units to other supervisors' files
    #[command(hide = true)]
    Export(Later),
    /// Print shell completions
    #[command(hide = true)]
    Completions(Later),
    /// Print manual pages
    #[command(hide = true)]
    Man(Later),
}

/// Takes any words, for commands that are named in the contract and not built yet.
#[derive(Debug, clap::Args)]
struct Later {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<String>,
}

/// Runs the command that was typed.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Daemon(args) => daemon::run(args),
        Command::Dev(args) => dev::run(args),
        Command::Check(args) => check::run(args),
        Command::Cron(args) => cron::run(args),
        Command::Schema(args) => schema::run(args),
        Command::Ctl(args) => ctl::run(args),
        Command::Runner(args) => runner::run(args),
        Command::CompressLog => runner::compress_log(),
        Command::Simulate(args) => simulate::run(args),
        Command::Import(later) => not_supported("import", &later),
        Command::Export(later) => not_supported("export", &later),
        Command::Completions(later) => not_supported("completions", &later),
        Command::Man(later) => not_supported("man", &later),
    }
}

fn not_supported(command: &str, _later: &Later) -> ExitCode {
    exit::fail(exit::USAGE, &format!("`wsup {command}` is not supported yet"), None)
}
