//! `wsup simulate`: what would happen, without a daemon.
//!
//! Responsible for reading units and script, and for exit codes. What happens is decided by
//! `sim::scenario` and the core; how it looks is `screen`'s business.

mod screen;

use super::{check, cron, ctl, exit};
use crate::api::server::requests;
use crate::core::Core;
use crate::core::id::UnitKey;
use crate::core::request::Request;
use crate::core::spec::UnitSpec;
use crate::core::time::{Millis, Wall};
use crate::daemon::zones::SystemZones;
use crate::sim::scenario::script::{self, Deed};
use crate::sim::scenario::{EVENTS_MAX, Play, Script, Setting};
use crate::unit::{Complaint, Loaded, duration, render};
use jiff::Timestamp;
use screen::Screen;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// When a simulation begins if nobody says so: 2026-01-01T00:00:00Z. The present time would give
/// another timeline every time.
const BEGINNING: Wall = Wall(1_767_225_600_000);

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Unit files, directories of them, or Procfiles [default: ./units]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How much time to simulate, such as 10m or 365d
    #[arg(long = "for", value_name = "DURATION", value_parser = span)]
    length: Millis,
    /// When it begins [default: the script's `start`, else 2026-01-01T00:00:00Z]
    #[arg(long, value_name = "RFC3339", value_parser = cron::instant)]
    from: Option<Timestamp>,
    /// Makes other random names
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// What processes do and what is done to them: TOML, described in docs/simulate.md
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A timeline, and how things stand at its end
    Text,
    /// One event a line, as `wsup ctl events -o json` prints them
    Json,
}

/// Why there is no timeline.
enum Refusal {
    /// The words or paths make no sense.
    Usage(String),
    /// Files are wrong; all has been said.
    Invalid,
    /// Something else.
    Failed(String),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Refusal::Failed(format!("cannot print: {error}"))
    }
}

fn span(text: &str) -> Result<Millis, String> {
    duration::parse(text).map_err(|complaint| match complaint.help {
        Some(help) => format!("{}; {help}", complaint.message),
        None => complaint.message,
    })
}

/// Runs it.
pub fn run(args: Args) -> ExitCode {
    match simulate(args) {
        Ok(code) => ExitCode::from(code),
        Err(Refusal::Invalid) => ExitCode::from(exit::FAILED),
        Err(Refusal::Failed(message)) => exit::fail(exit::FAILED, &message, None),
        Err(Refusal::Usage(message)) => exit::fail(exit::USAGE, &message, None),
    }
}

fn simulate(args: Args) -> Result<u8, Refusal> {
    let paths =
        if args.paths.is_empty() { vec![PathBuf::from(check::DEFAULT_PATH)] } else { args.paths };
    let loaded = check::read(&paths).map_err(Refusal::Usage)?;
    if loaded.has_errors() {
        check::print_text(&loaded)?;
        return Err(Refusal::Invalid);
    }
    let (script, later) = match &args.script {
        Some(path) => read_script(path, &loaded.units)?,
        None => (Script::default(), BTreeMap::new()),
    };
    let given = args.from.map(|from| Wall(from.as_millisecond()));
    let from = given.or(script.start).unwrap_or(BEGINNING);
    if Timestamp::from_millisecond(from.plus(args.length).0).is_err() {
        return Err(Refusal::Usage("the simulation would go beyond the year 9999".to_owned()));
    }
    let setting = Setting {
        units: loaded.units,
        later,
        script,
        from,
        length: args.length,
        events_max: EVENTS_MAX,
        seed: args.seed,
        zones: Arc::new(screen::Utc(SystemZones)),
        resolve: &resolve,
    };
    print(Play::new(setting), args.output, from)
}

fn print(mut play: Play<'_>, format: Format, from: Wall) -> Result<u8, Refusal> {
    let mut screen = Screen::new(from);
    let mut printed = Ok(());
    for entry in &mut play {
        printed = match format {
            Format::Text => screen.text(&entry),
            Format::Json => screen.json(&entry),
        };
        if printed.is_err() {
            break;
        }
    }
    let end = play.end();
    if printed.is_ok() && format == Format::Text {
        printed = screen.summary(&end);
    }
    match printed.and_then(|()| screen.flush()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(exit::OK),
        Err(error) => return Err(error.into()),
        Ok(()) => {}
    }
    if end.cut {
        return Err(Refusal::Failed(format!(
            "stopped at {}, after {EVENTS_MAX} events: simulate a shorter time or fewer units",
            crate::api::types::time(end.at)
        )));
    }
    Ok(exit::OK)
}

/// What a command of the script asks for, as the daemon reads it.
fn resolve(core: &Core, words: &[String]) -> Result<Vec<Request>, String> {
    let told = |message: String, help: Option<String>| match help {
        Some(help) => format!("{message} ({help})"),
        None => message,
    };
    let ask = ctl::ask(words).map_err(|slip| told(slip.message, slip.help))?;
    requests(core, &ask).map_err(|error| told(error.message, error.help))
}

type Later = BTreeMap<String, Vec<UnitSpec>>;

/// Reads the script and the units that it names.
fn read_script(path: &Path, units: &[UnitSpec]) -> Result<(Script, Later), Refusal> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Refusal::Usage(format!("cannot read {}: {error}", path.display())))?;
    let judge = |words: &[String]| ctl::ask(words).map(|_| ());
    let mut draft = script::read(path, &text, &judge);
    let mut later = Later::new();
    let mut known: Vec<UnitKey> = units.iter().map(|unit| unit.key.clone()).collect();
    let mut spoiled = false;
    let changes = draft.script().changes.clone();
    for change in changes {
        let Deed::Units(dir) = change.what else { continue };
        if later.contains_key(&dir) {
            continue;
        }
        match read_units(path, &dir) {
            Ok(loaded) if loaded.has_errors() => {
                check::print_text(&loaded)?;
                spoiled = true;
            }
            Ok(loaded) => {
                known.extend(loaded.units.iter().map(|unit| unit.key.clone()));
                later.insert(dir, loaded.units);
            }
            Err(error) => draft.refuse_units(&dir, &Complaint::new(error)),
        }
    }
    let script = draft.finish(&known).map_err(|diagnostics| {
        for diagnostic in diagnostics {
            anstream::eprintln!("{}\n", render(&diagnostic, &text, true));
        }
        Refusal::Invalid
    })?;
    if spoiled { Err(Refusal::Invalid) } else { Ok((script, later)) }
}

/// Reads the units of a directory that a script names: below the script's own place, or else
/// below the present one.
fn read_units(script: &Path, dir: &str) -> Result<Loaded, String> {
    let beside = script.parent().map(|place| place.join(dir)).filter(|path| path.exists());
    check::read(&[beside.unwrap_or_else(|| PathBuf::from(dir))])
}
