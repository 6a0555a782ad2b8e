//! Exit codes and the form of the last words, in one place.

use std::process::ExitCode;

/// Done.
pub const OK: u8 = 0;
/// Failed.
pub const FAILED: u8 = 1;
/// Bad usage.
pub const USAGE: u8 = 2;
/// No such unit or instance.
pub const NOT_FOUND: u8 = 3;
/// The daemon cannot be reached.
pub const UNREACHABLE: u8 = 4;
/// Timed out.
pub const TIMED_OUT: u8 = 5;

/// Prints `error: ...`, a `help: ...` line if there is a remedy, and gives the exit code.
pub fn fail(code: u8, message: &str, help: Option<&str>) -> ExitCode {
    let red = anstyle::AnsiColor::Red.on_default().bold();
    let bold = anstyle::Style::new().bold();
    anstream::eprintln!("{red}error{red:#}{bold}:{bold:#} {message}");
    if let Some(help) = help {
        anstream::eprintln!(" {bold}help:{bold:#} {help}");
    }
    ExitCode::from(code)
}
