//! The daemon's own log, on stderr.
//!
//! Responsible for what is shown and how. WSUP_LOG, in the syntax of tracing's filters (`debug`,
//! `wsup::api=trace`), takes the place of the default.

use std::fmt;
use std::io::IsTerminal;
use std::os::linux::fs::MetadataExt;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent};
use tracing_subscriber::registry::LookupSpan;

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
    // A second start (in tests) changes nothing.
    let _ = match to_the_journal() {
        true => format.event_format(Journal).try_init(),
        false => format.try_init(),
    };
}

/// Lines for the journal, which notes the time itself and reads the level from a line's start
/// (sd-daemon(3)): `journalctl -p warning` finds what it should.
struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let priority = priority(*event.metadata().level());
        let mut text = String::new();
        context.format_fields(Writer::new(&mut text), event)?;
        // A diagnostic has several lines, and each is one in the journal.
        text.lines().try_for_each(|line| writeln!(writer, "<{priority}>{line}"))
    }
}

/// The syslog priority of a level.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// Whether stderr is the journal's: JOURNAL_STREAM names its device and inode (systemd.exec(5)),
/// and is inherited also by what has a stderr of its own.
fn to_the_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    std::fs::metadata("/proc/self/fd/2")
        .is_ok_and(|meta| named == format!("{}:{}", meta.st_dev(), meta.st_ino()))
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
