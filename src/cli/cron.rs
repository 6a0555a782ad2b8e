//! `wsup cron`: when a schedule runs, without a daemon.
//!
//! Responsible for arguments and output. What a schedule means is `core::schedule`'s business.

use super::exit;
use crate::core::schedule::{self, Schedule, ScheduleError};
use crate::core::spec::ClockChange;
use crate::core::time::{Millis, Wall};
use crate::os::clock;
use clap::{Subcommand, ValueEnum};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::io::{self, Write};
use std::process::ExitCode;

/// How many runs are listed at most: enough for a month of minutes, and still an answer in an
/// instant.
const RUNS_MAX: u32 = 50_000;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the next times at which a schedule runs
    Next(Next),
}

#[derive(Debug, clap::Args)]
struct Next {
    /// Five fields in quotes, such as '*/5 * * * *', or @daily, '@every 90s' and the like
    #[arg(value_name = "EXPR", allow_hyphen_values = true)]
    expression: String,
    /// IANA name, such as Europe/Berlin; the machine's own if not given
    #[arg(long, value_name = "TZ")]
    time_zone: Option<String>,
    /// Times after this one; now if not given
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    from: Option<Timestamp>,
    /// How many
    #[arg(short = 'n', value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(RUNS_MAX)))]
    count: u32,
    /// What a clock change does to runs at a fixed hour and minute
    #[arg(long, value_name = "RULE", default_value = "once")]
    clock_change: Rule,
    /// How to print them
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "text")]
    output: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Rule {
    /// Exactly one run that day
    Once,
    /// Skipped in a gap, doubled when the hour repeats
    Kubernetes,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// One time a line, for people
    Text,
    /// An array of RFC 3339 times
    Json,
}

fn instant(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| "not an RFC 3339 time, such as 2026-03-28T00:00:00Z".to_owned())
}

/// Runs it.
pub fn run(args: Args) -> ExitCode {
    match args.command {
        Command::Next(next) => run_next(&next),
    }
}

fn run_next(args: &Next) -> ExitCode {
    let schedule = match Schedule::parse(&args.expression) {
        Ok(schedule) => schedule,
        Err(error) => return invalid(&args.expression, &error),
    };
    let zone = match find_zone(args.time_zone.as_deref()) {
        Ok(zone) => zone,
        Err((message, help)) => return exit::fail(exit::FAILED, &message, help.as_deref()),
    };
    for warning in schedule.warnings() {
        warn(warning);
    }
    let rule = match args.clock_change {
        Rule::Once => ClockChange::Once,
        Rule::Kubernetes => ClockChange::Kubernetes,
    };
    let from = Wall(args.from.map_or(clock::wall().0, Timestamp::as_millisecond));
    let mut times = Vec::new();
    let mut at = from;
    while times.len() < args.count as usize {
        let Some(next) = schedule.next(at, &zone, rule, Some(from)) else { break };
        times.push(next);
        at = next;
    }
    let printed = match args.output {
        Format::Text => print_text(&times, from, &zone),
        Format::Json => print_json(&times, &zone),
    };
    if times.len() < args.count as usize {
        let years = schedule::SEARCH_YEARS;
        let message = if times.is_empty() { "it never runs" } else { "it does not run again" };
        warn(&format!("{message} in the {years} years that follow"));
    }
    match printed {
        Ok(()) => ExitCode::from(exit::OK),
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(exit::OK),
        Err(error) => exit::fail(exit::FAILED, &format!("cannot print: {error}"), None),
    }
}

/// The reason, with the offending part underlined.
fn invalid(expression: &str, error: &ScheduleError) -> ExitCode {
    let before = expression.get(..error.offset).unwrap_or_default().chars().count();
    let part = expression.get(error.offset..).and_then(|rest| rest.get(..error.len));
    let marks = part.map_or(1, |part| part.chars().count()).max(1);
    let shown: String = expression.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let message =
        format!("{}\n  {shown}\n  {}{}", error.message, " ".repeat(before), "^".repeat(marks));
    exit::fail(exit::FAILED, &message, error.help.as_deref())
}

/// The zone, or why there is none and what to do.
fn find_zone(name: Option<&str>) -> Result<TimeZone, (String, Option<String>)> {
    let Some(name) = name else {
        return TimeZone::try_system().map_err(|error| {
            let help = "give one with --time-zone, such as --time-zone UTC".to_owned();
            (format!("cannot tell the machine's time zone: {error}"), Some(help))
        });
    };
    schedule::check_zone_name(name).map_err(|message| (message, None))?;
    TimeZone::get(name).map_err(|_| {
        let near = jiff::tz::db()
            .available()
            .map(|known| (strsim::damerau_levenshtein(known.as_str(), name), known.to_string()))
            .min()
            // A third of the letters wrong is another name, not a slip.
            .filter(|(distance, _)| distance * 3 <= name.len())
            .map(|(_, known)| format!("did you mean {known}?"));
        (format!("unknown time zone `{name}`"), near)
    })
}

fn warn(message: &str) {
    let yellow = anstyle::AnsiColor::Yellow.on_default().bold();
    let bold = anstyle::Style::new().bold();
    anstream::eprintln!("{yellow}warning{yellow:#}{bold}:{bold:#} {message}");
}

/// The instant as the zone's clock shows it.
fn local(at: Wall, zone: &TimeZone) -> Option<jiff::Zoned> {
    Some(Timestamp::from_millisecond(at.0).ok()?.to_zoned(zone.clone()))
}

fn print_text(times: &[Wall], from: Wall, zone: &TimeZone) -> io::Result<()> {
    let mut out = io::BufWriter::new(anstream::stdout().lock());
    let dim = anstyle::Style::new().dimmed();
    for at in times {
        if let Some(shown) = local(*at, zone) {
            let time = shown.strftime("%a %Y-%m-%d %H:%M:%S %:z");
            writeln!(out, "{time}  {dim}in {}{dim:#}", rough(at.since(from)))?;
        }
    }
    out.flush()
}

fn print_json(times: &[Wall], zone: &TimeZone) -> io::Result<()> {
    let times: Vec<String> = times
        .iter()
        .filter_map(|at| local(*at, zone))
        .map(|shown| shown.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string())
        .collect();
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &times).map_err(io::Error::from)?;
    writeln!(out)
}

/// A span in its two greatest units: `3d4h`, `2h30m`, `45s`.
fn rough(span: Millis) -> String {
    const UNITS: [u64; 4] = [86_400, 3_600, 60, 1];
    // Up to the next whole second, so that "in 0s" is never said of a time to come.
    let secs = span.0.div_ceil(1_000);
    let unit = UNITS.iter().position(|unit| secs >= *unit).unwrap_or(3);
    let smallest = UNITS.get(unit + 1).copied().unwrap_or(1);
    Millis::from_secs(secs / smallest * smallest).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_rough() {
        let rows = [
            (1, "1s"),
            (1_001, "2s"),
            (59_000, "59s"),
            (90_000, "1m30s"),
            (3_600_000, "1h"),
            (9_015_000, "2h30m"),
            (86_400_000, "1d"),
            (100_000_000, "1d3h"),
            (86_400_000 * 400, "400d"),
        ];
        for (span, want) in rows {
            assert_eq!(rough(Millis(span)), want);
        }
    }

    #[test]
    fn zones_that_are_not_there_are_named() {
        assert!(find_zone(Some("Europe/Berlin")).is_ok());
        let (message, help) = find_zone(Some("Europe/Berlim")).unwrap_err();
        assert_eq!(message, "unknown time zone `Europe/Berlim`");
        assert_eq!(help.as_deref(), Some("did you mean Europe/Berlin?"));
        assert!(find_zone(Some("Local")).is_err());
        assert_eq!(find_zone(Some("Mars/Olympus_Mons")).unwrap_err().1, None);
    }
}
