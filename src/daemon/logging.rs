//! The daemon's own log, on stderr.
//!
//! Responsible for what is shown and how. WSUP_LOG, in the syntax of tracing's filters (`debug`,
//! `wsup::api=trace`), takes the place of the default.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// What `wsup daemon` shows.
pub const DAEMON: &str = "info";
/// What `wsup dev` shows: it tells of events in its own way.
pub const DEV: &str = "warn,wsup::event=off";

/// Starts logging; to be called once, first of all.
pub fn start(default: &str) {
    let format = tracing_subscriber::fmt()
        .with_env_filter(filter(default))
        .with_writer(std::io::stderr)
        .with_ansi(colour())
        .with_target(false);
    // The journal notes the time itself. A second start (in tests) changes nothing.
    let _ = match std::env::var_os("JOURNAL_STREAM") {
        Some(_) => format.without_time().try_init(),
        None => format.try_init(),
    };
}

/// The same for a person at a terminal: the text alone.
pub fn start_plain(default: &str) {
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter(default))
        .with_writer(std::io::stderr)
        .with_ansi(colour())
        .with_target(false)
        .without_time()
        .with_level(false)
        .try_init();
}

fn filter(default: &str) -> EnvFilter {
    std::env::var("WSUP_LOG")
        .ok()
        .and_then(|text| EnvFilter::try_new(text).ok())
        .unwrap_or_else(|| EnvFilter::new(default))
}

fn colour() -> bool {
    std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
