//! The one binary: parse the command line, call one function, turn the result into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    wsup::cli::main()
}
