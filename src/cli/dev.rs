//! `wsup dev`: a project's units in this terminal, by the same loop as the daemon's.
//!
//! Responsible for what is found in a project, for the first and last words, and for the exit
//! code. Must not touch instances: the loop does.

mod screen;
mod tail;

use super::exit;
use crate::core::id::{Kind, UnitKey};
use crate::daemon::boot::Obstacle;
use crate::daemon::settings::{self, Settings, Wishes};
use crate::daemon::units::UnitFiles;
use crate::daemon::{logging, serve};
use crate::unit::suggest;
use screen::Greeting;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tail::Past;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directories of unit files, unit files, Procfiles [default: ./units, else ./Procfile]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Run only these units and what they depend on
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Keep state, logs and sockets here [default: ./.wsup]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// Runs the project until Ctrl-C.
pub fn run(args: Args) -> ExitCode {
    logging::start_plain(logging::DEV);
    let (settings, greeting) = match settle(args) {
        Ok(settled) => settled,
        Err((message, help)) => return exit::fail(exit::USAGE, &message, help.as_deref()),
    };
    if let Err(error) = keep_out_of_git(&settings.state) {
        let message = format!("making {}: {error}", settings.state.display());
        return exit::fail(exit::FAILED, &message, Some("pass another directory by --state-dir"));
    }
    // Before anything is started: all that comes later is new.
    let past = Past::of(settings.logs.clone());
    let result = serve::serve(settings, |door, ended| screen::show(door, ended, past, greeting));
    match result {
        Ok(ended) if ended.failures.is_empty() => ExitCode::from(exit::OK),
        Ok(ended) => exit::fail(exit::FAILED, &ended.failures.join(", "), None),
        Err(Obstacle::Held(pid, _)) => {
            let who = pid.map(|pid| format!(": process {pid}")).unwrap_or_default();
            exit::fail(
                exit::FAILED,
                &format!("`wsup dev` already runs in this project{who}"),
                Some("`wsup ctl ps` shows what it does; Ctrl-C in its terminal stops it"),
            )
        }
        Err(Obstacle::Other(message)) => exit::fail(exit::FAILED, &message, None),
    }
}

type Complaint = (String, Option<String>);

/// What is to be run, and the line that says so.
fn settle(args: Args) -> Result<(Settings, Greeting), Complaint> {
    let project =
        std::env::current_dir().map_err(|e| (format!("the current directory: {e}"), None))?;
    let units = paths(args.paths, &project)?;
    let wishes = Wishes { units, state_dir: args.state_dir, ..Wishes::default() };
    let mut settings = settings::dev(&project, wishes).map_err(|message| (message, None))?;
    let reading = UnitFiles::new(settings.units.clone(), Vec::new())
        .read(true, &[])
        .map_err(|message| (message, None))?;
    let names: BTreeSet<&str> =
        reading.read.valid.iter().map(|unit| unit.key.name.as_str()).collect();
    let invalid: BTreeSet<&str> =
        reading.read.invalid.keys().map(|key| key.name.as_str()).collect();
    for name in &args.only {
        if !names.contains(name.as_str()) && !invalid.contains(name.as_str()) {
            let help = match suggest::near(name, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are: {}", join(names.iter().copied())),
            };
            return Err((format!("there is no unit named `{name}`"), Some(help)));
        }
    }
    settings.only = args.only;
    let shown: Vec<&str> = match settings.only.is_empty() {
        true => names.into_iter().collect(),
        false => settings.only.iter().map(String::as_str).collect(),
    };
    let text = greeting(&shown, invalid.len(), &settings, &project);
    let width = reading.read.valid.iter().map(|unit| name_width(&unit.key)).max().unwrap_or(0);
    Ok((settings, Greeting { text, width }))
}

/// How long the names of a unit's instances are, more or less: `api-<hash>-<5>`, `db-0`,
/// `migrate-<5>`, `backup-<minute>-<5>`.
fn name_width(key: &UnitKey) -> usize {
    let suffix = match key.kind {
        Kind::Deployment => "-1234567-12345",
        Kind::StatefulSet => "-0",
        Kind::DaemonSet => "-localhost",
        Kind::Job => "-12345",
        Kind::CronJob => "-1234567890-12345",
    };
    key.name.as_str().len() + suffix.len()
}

fn greeting(names: &[&str], invalid: usize, settings: &Settings, project: &Path) -> String {
    let bad = match invalid {
        0 => String::new(),
        n => format!(", {n} invalid"),
    };
    let logs = settings.logs.strip_prefix(project).unwrap_or(&settings.logs);
    let found = match names {
        [] => format!("no units yet{bad}; one that is saved is started"),
        [name] => format!("1 unit{bad}: {name}"),
        names => format!("{} units{bad}: {}", names.len(), join(names.iter().copied())),
    };
    format!(
        "{found}\nlogs in {}; `wsup ctl ps` in another terminal shows more; Ctrl-C stops \
         everything",
        logs.display(),
    )
}

fn join<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// The places that were given, else what a project has.
fn paths(given: Vec<PathBuf>, project: &Path) -> Result<Vec<PathBuf>, Complaint> {
    if let Some(missing) = given.iter().find(|path| !path.exists()) {
        return Err((format!("{} does not exist", missing.display()), None));
    }
    if !given.is_empty() {
        return Ok(given);
    }
    match ["units", "Procfile"].map(|name| project.join(name)).into_iter().find(|p| p.exists()) {
        Some(found) => Ok(vec![found]),
        None => Err((
            "there is neither a directory `units` nor a `Procfile` here".to_owned(),
            Some("make one, or name the paths: `wsup dev PATH...`".to_owned()),
        )),
    }
}

/// What a project's `.wsup` holds is nobody's source.
fn keep_out_of_git(state: &Path) -> std::io::Result<()> {
    if state.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(state)?;
    std::fs::write(state.join(".gitignore"), "*\n")
}
