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

/// Reads an instant, for clap.
pub(super) fn instant(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| "not an RFC 3339 time, such as 2026-03-28T00:00:00Z".to_owned())
}

/// Runs it.
pub fn run(args: Args) -> ExitCode {
    match args.command {
        Command::Next(next) => run_next(&next),
    }
}

/// What is to be printed.
struct Listing {
    from: Wall,
    zone: TimeZone,
    times: Vec<Wall>,
    warnings: Vec<String>,
}

/// Why there is nothing to print, and what to do.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    message: String,
    help: Option<String>,
}

fn run_next(args: &Next) -> ExitCode {
    let listing = match list(args) {
        Ok(listing) => listing,
        Err(refusal) => {
            return exit::fail(exit::FAILED, &refusal.message, refusal.help.as_deref());
        }
    };
    for warning in &listing.warnings {
        warn(warning);
    }
    let printed = match args.output {
        Format::Text => print_text(&listing, &mut io::BufWriter::new(anstream::stdout().lock())),
        Format::Json => print_json(&listing, &mut io::stdout().lock()),
    };
    match printed {
        Ok(()) => ExitCode::from(exit::OK),
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(exit::OK),
        Err(error) => exit::fail(exit::FAILED, &format!("cannot print: {error}"), None),
    }
}

fn list(args: &Next) -> Result<Listing, Refusal> {
    let schedule =
        Schedule::parse(&args.expression).map_err(|error| invalid(&args.expression, &error))?;
    let zone = find_zone(args.time_zone.as_deref())?;
    let rule = match args.clock_change {
        Rule::Once => ClockChange::Once,
        Rule::Kubernetes => ClockChange::Kubernetes,
    };
    let from = args.from.map_or_else(clock::wall, |from| Wall(from.as_millisecond()));
    let mut warnings = schedule.warnings().to_vec();
    let mut times = Vec::new();
    let mut at = from;
    while times.len() < args.count as usize {
        let Some(next) = schedule.next(at, &zone, rule, Some(from)) else {
            let word = if times.is_empty() { "never runs" } else { "does not run again" };
            warnings.push(format!("it {word} in the {} years that follow", schedule::SEARCH_YEARS));
            break;
        };
        times.push(next);
        at = next;
    }
    Ok(Listing { from, zone, times, warnings })
}

/// The reason, with the offending part underlined.
fn invalid(expression: &str, error: &ScheduleError) -> Refusal {
    let before = expression.get(..error.offset).unwrap_or_default().chars().count();
    let part = expression.get(error.offset..).and_then(|rest| rest.get(..error.len));
    let marks = part.map_or(1, |part| part.chars().count()).max(1);
    let shown: String = expression.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let message =
        format!("{}\n  {shown}\n  {}{}", error.message, " ".repeat(before), "^".repeat(marks));
    Refusal { message, help: error.help.clone() }
}

/// The zone of this name; without one, the machine's.
fn find_zone(name: Option<&str>) -> Result<TimeZone, Refusal> {
    let Some(name) = name else {
        return TimeZone::try_system().map_err(|error| Refusal {
            message: format!("cannot tell the machine's time zone: {error}"),
            help: Some("give one with --time-zone, such as --time-zone UTC".to_owned()),
        });
    };
    schedule::check_zone_name(name).map_err(|message| Refusal { message, help: None })?;
    TimeZone::get(name).map_err(|_| {
        let near = jiff::tz::db()
            .available()
            .map(|known| (strsim::damerau_levenshtein(known.as_str(), name), known.to_string()))
            .min()
            // A third of the letters wrong is another name, not a slip.
            .filter(|(distance, _)| distance * 3 <= name.len())
            .map(|(_, known)| format!("did you mean {known}?"));
        Refusal { message: format!("unknown time zone `{name}`"), help: near }
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

fn print_text(listing: &Listing, out: &mut impl Write) -> io::Result<()> {
    let dim = anstyle::Style::new().dimmed();
    for at in &listing.times {
        if let Some(shown) = local(*at, &listing.zone) {
            let time = shown.strftime("%a %Y-%m-%d %H:%M:%S %:z");
            writeln!(out, "{time}  {dim}in {}{dim:#}", rough(at.since(listing.from)))?;
        }
    }
    out.flush()
}

fn print_json(listing: &Listing, out: &mut impl Write) -> io::Result<()> {
    let times: Vec<String> = listing
        .times
        .iter()
        .filter_map(|at| local(*at, &listing.zone))
        .map(|shown| shown.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string())
        .collect();
    serde_json::to_writer(&mut *out, &times).map_err(io::Error::from)?;
    writeln!(out)?;
    out.flush()
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

    #[derive(clap::Parser)]
    struct Typed {
        #[command(flatten)]
        args: Args,
    }

    fn typed(words: &[&str]) -> Result<Next, clap::error::ErrorKind> {
        let words = ["cron", "next"].iter().chain(words);
        let typed = <Typed as clap::Parser>::try_parse_from(words).map_err(|e| e.kind())?;
        let Command::Next(next) = typed.args.command;
        Ok(next)
    }

    fn printed(words: &[&str]) -> (String, String, Vec<String>) {
        let listing = list(&typed(words).unwrap()).unwrap_or_else(|r| panic!("{r:?}"));
        let (mut text, mut json) = (Vec::new(), Vec::new());
        print_text(&listing, &mut text).unwrap();
        print_json(&listing, &mut json).unwrap();
        let text = anstream::adapter::strip_str(&String::from_utf8(text).unwrap()).to_string();
        (text, String::from_utf8(json).unwrap(), listing.warnings)
    }

    const FROM: [&str; 2] = ["--from", "2026-03-28T00:00:00Z"];

    #[test]
    fn the_clock_change_is_printed_under_both_rules() {
        let words = ["30 2 * * *", "--time-zone", "Europe/Berlin", FROM[0], FROM[1], "-n", "3"];
        let (text, json, warnings) = printed(&words);
        assert_eq!(
            json,
            "[\"2026-03-28T02:30:00+01:00\",\"2026-03-29T03:00:00+02:00\",\
             \"2026-03-30T02:30:00+02:00\"]\n"
        );
        assert_eq!(
            text,
            "Sat 2026-03-28 02:30:00 +01:00  in 1h30m\nSun 2026-03-29 03:00:00 +02:00  in 1d1h\n\
             Mon 2026-03-30 02:30:00 +02:00  in 2d\n"
        );
        assert_eq!(warnings, [""; 0]);
        let words = [&words[..], &["--clock-change", "kubernetes"]].concat();
        assert_eq!(
            printed(&words).1,
            "[\"2026-03-28T02:30:00+01:00\",\"2026-03-30T02:30:00+02:00\",\
             \"2026-03-31T02:30:00+02:00\"]\n"
        );
    }

    #[test]
    fn every_counts_from_the_given_time() {
        let words = ["@every 90s", FROM[0], FROM[1], "-n", "2", "--time-zone", "UTC"];
        let (_, json, _) = printed(&words);
        assert_eq!(json, "[\"2026-03-28T00:01:30+00:00\",\"2026-03-28T00:03:00+00:00\"]\n");
    }

    #[test]
    fn what_never_runs_says_so() {
        let utc = ["--time-zone", "UTC"];
        let (text, json, warnings) = printed(&[&["0 0 30 2 *"][..], &FROM[..], &utc[..]].concat());
        assert_eq!((text.as_str(), json.as_str()), ("", "[]\n"));
        assert!(warnings.iter().any(|w| w.contains("never runs in the 5 years")), "{warnings:?}");
        let late = ["0 0 1 1 *", "--from", "2097-06-01T00:00:00Z"];
        let (_, json, warnings) = printed(&[&late[..], &utc[..]].concat());
        assert_eq!(json.matches("00:00:00").count(), 3, "{json}");
        assert!(warnings.iter().any(|w| w.contains("not run again")), "{warnings:?}");
        let mixed = printed(&[&["0 0 */2 * mon"][..], &FROM[..], &utc[..]].concat());
        assert!(mixed.2.iter().any(|w| w.contains("crontab")));
    }

    #[test]
    fn an_invalid_expression_is_underlined() {
        let refusal = list(&typed(&["0 3 * * 5-9"]).unwrap()).map(|_| ()).unwrap_err();
        assert_eq!(
            refusal.message,
            "`9` is not a day of week: 0 to 6\n  0 3 * * 5-9\n            ^"
        );
        let refusal = list(&typed(&["-5 * * * *"]).unwrap()).map(|_| ()).unwrap_err();
        assert!(refusal.message.contains("may not be negative"), "{}", refusal.message);
    }

    #[test]
    fn bad_usage_is_clap_s_to_refuse() {
        let rows: &[&[&str]] = &[
            &[],
            &["@daily", "-n", "0"],
            &["@daily", "-n", "50001"],
            &["@daily", "--from", "yesterday"],
            &["@daily", "--from", "2026-03-28T00:00:00"],
            &["@daily", "--clock-change", "twice"],
            &["@daily", "-o", "yaml"],
            &["@daily", "@hourly"],
        ];
        for words in rows {
            assert!(typed(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn zones_that_are_not_there_are_named() {
        assert!(find_zone(Some("Europe/Berlin")).is_ok());
        let refusal = find_zone(Some("Europe/Berlim")).unwrap_err();
        assert_eq!(refusal.message, "unknown time zone `Europe/Berlim`");
        assert_eq!(refusal.help.as_deref(), Some("did you mean Europe/Berlin?"));
        assert!(find_zone(Some("Local")).is_err());
        assert_eq!(find_zone(Some("Mars/Olympus_Mons")).unwrap_err().help, None);
    }
}
