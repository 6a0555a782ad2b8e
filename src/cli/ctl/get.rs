//! `wsup ctl get`.

use super::screen::Screen;
use super::words::{unit_remark, unit_state};
use super::{Failure, Outcome, Output};
use crate::api::client::{Client, ClientError};
use crate::api::types::{CronJob, Job, Particular, Unit, Watched};
use crate::cli::exit;
use crate::cli::output::NOTHING;
use crate::cli::output::table::{Cell, Table};
use crate::cli::output::time::{age, age_or_nothing, ahead, now, span};
use crate::core::id::Kind;
use jiff::Timestamp;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Kinds (deployments, sts, jobs,cronjobs, all), kind/name, or a kind and names; all if not given
    #[arg(value_name = "KINDS")]
    what: Vec<String>,
    /// All, which is also the default
    #[arg(long, conflicts_with = "what")]
    all: bool,
    /// Only units with these labels: k=v, k!=v, k, !k, joined by commas
    #[arg(short = 'l', long, value_name = "K=V")]
    selector: Option<String>,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// Go on with what changes
    #[arg(short, long)]
    watch: bool,
}

/// Runs it.
pub(super) async fn run(args: Args, client: &Client, screen: &mut Screen) -> Outcome {
    let mut query = Vec::new();
    if !args.what.is_empty() {
        query.push(("what", words(&args.what)));
    }
    query.extend(args.selector.map(|selector| ("selector", selector)));
    if args.watch && matches!(args.output, Output::Json | Output::Name) {
        return watch_units(query, args.output, client, screen).await;
    }
    if args.watch {
        return watch_tables(&query, args.output == Output::Wide, client, screen).await;
    }
    let units: Vec<Unit> = client.get("/v1/units", &query).await?;
    match args.output {
        Output::Json => screen.json(&units)?,
        Output::Name => {
            for unit in &units {
                screen.line(&unit.key())?;
            }
        }
        Output::Table | Output::Wide => {
            screen.text(&show(&units, args.output == Output::Wide, now()))?;
        }
    }
    Ok(exit::OK)
}

/// `get deployment api web` means `get deployment/api,deployment/web`, as kubectl has it.
fn words(what: &[String]) -> String {
    let mut list = Vec::new();
    match what.split_first() {
        Some((first, names))
            if !names.is_empty()
                && Kind::parse(first).is_some()
                && names.iter().all(|name| !name.contains('/') && Kind::parse(name).is_none()) =>
        {
            list.extend(names.iter().map(|name| format!("{first}/{name}")));
        }
        _ => list.extend(what.iter().cloned()),
    }
    list.join(",")
}

/// A line for each change, as JSON or as a name.
async fn watch_units(
    mut query: Vec<(&str, String)>,
    output: Output,
    client: &Client,
    screen: &mut Screen,
) -> Outcome {
    query.push(("watch", "true".to_owned()));
    let mut changes = client.stream("/v1/units", &query).await?;
    while let Some(change) = changes.line::<Watched<Unit>>().await? {
        match (&change.object, output) {
            (Some(unit), Output::Name) => screen.line(&unit.key())?,
            (Some(_), _) => screen.json_line(&change)?,
            (None, _) => {}
        }
        screen.flush()?;
    }
    Err(Failure::cut_off())
}

/// The tables anew at each change.
async fn watch_tables(
    query: &[(&str, String)],
    wide: bool,
    client: &Client,
    screen: &mut Screen,
) -> Outcome {
    let mut changes = client.stream("/v1/changes", &[]).await?;
    let mut shown = String::new();
    while changes.line::<serde_json::Value>().await?.is_some() {
        let units = match client.get::<Vec<Unit>>("/v1/units", query).await {
            Err(ClientError::Api(error)) if shown.is_empty() => return Err(error.into()),
            Err(ClientError::Api(_)) => Vec::new(),
            other => other?,
        };
        let text = show(&units, wide, now());
        if text != shown {
            if screen.is_terminal() {
                screen.clear()?;
            } else if !shown.is_empty() {
                screen.line("")?;
            }
            screen.text(&text)?;
            screen.flush()?;
            shown = text;
        }
    }
    Err(Failure::cut_off())
}

/// A table for each kind, or a remark in their place.
fn show(units: &[Unit], wide: bool, now: Timestamp) -> String {
    let mut tables = Vec::new();
    for kind in Kind::ALL {
        let of_kind: Vec<&Unit> = units.iter().filter(|unit| unit.kind == kind.as_str()).collect();
        if !of_kind.is_empty() {
            tables.push(table(kind, &of_kind, wide, now));
        }
    }
    if tables.is_empty() {
        return "No units found.\n".to_owned();
    }
    // One table has no need to say its kind in each row.
    let prefix = tables.len() > 1;
    let text: Vec<String> = tables.iter().map(|table| table.render(prefix)).collect();
    text.join("\n")
}

/// The rows of one kind, with the unit of each.
struct Rows<'a> {
    headings: Vec<&'static str>,
    rows: Vec<(&'a Unit, Vec<Cell>)>,
}

impl Rows<'_> {
    fn render(&self, prefix: bool) -> String {
        let mut table = Table::new(&self.headings);
        for (unit, cells) in &self.rows {
            let name = if prefix { unit.key() } else { unit.name.clone() };
            table.row(std::iter::once(Cell::from(name)).chain(cells.iter().cloned()).collect());
        }
        table.render()
    }
}

/// kubectl's columns for each kind, after a column for the state.
fn table<'a>(kind: Kind, units: &[&'a Unit], wide: bool, now: Timestamp) -> Rows<'a> {
    let mut headings = vec!["NAME", "STATE"];
    headings.extend(match kind {
        Kind::Deployment => &["READY", "UP-TO-DATE", "AVAILABLE", "AGE"][..],
        Kind::StatefulSet => &["READY", "UP-TO-DATE", "AGE"],
        Kind::DaemonSet => &["DESIRED", "CURRENT", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"],
        Kind::Job => &["COMPLETIONS", "DURATION", "AGE"],
        Kind::CronJob => &["SCHEDULE", "ZONE", "SUSPEND", "ACTIVE", "LAST", "NEXT", "AGE"],
    });
    if wide {
        headings.extend(["REV", "LABELS"]);
    }
    headings.push("INFO");
    let rows = units
        .iter()
        .map(|unit| {
            let mut cells = vec![Cell::state(unit_state(unit))];
            cells.extend(counts(kind, unit, now).into_iter().map(Cell::from));
            if wide {
                cells.push(unit.revision.to_string().into());
                cells.push(labels(unit).into());
            }
            // The cronjob's next run has a column of its own here.
            let remark = match kind {
                Kind::CronJob => unit.invalid.clone().unwrap_or_default(),
                Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet | Kind::Job => {
                    unit_remark(unit, now)
                }
            };
            cells.push(remark.into());
            (*unit, cells)
        })
        .collect();
    Rows { headings, rows }
}

fn counts(kind: Kind, unit: &Unit, now: Timestamp) -> Vec<String> {
    let age = age(unit.created_at, now);
    let ready = format!("{}/{}", unit.ready, unit.desired);
    match (kind, &unit.particular) {
        (Kind::Job, Particular::Job(job)) => {
            vec![super::words::unit_ready(unit), duration(job, now), age]
        }
        (Kind::CronJob, Particular::CronJob(cron)) => schedule(cron, unit, age, now),
        (Kind::DaemonSet, _) => vec![
            unit.desired.to_string(),
            unit.current.to_string(),
            unit.ready.to_string(),
            unit.updated.to_string(),
            unit.available.to_string(),
            age,
        ],
        (Kind::StatefulSet, _) => vec![ready, unit.updated.to_string(), age],
        (Kind::Deployment | Kind::Job | Kind::CronJob, _) => {
            vec![ready, unit.updated.to_string(), unit.available.to_string(), age]
        }
    }
}

fn duration(job: &Job, now: Timestamp) -> String {
    job.started_at.map_or_else(
        || NOTHING.to_owned(),
        |from| {
            let to = job.completed_at.unwrap_or(now);
            span(to.as_second() - from.as_second())
        },
    )
}

fn schedule(cron: &CronJob, unit: &Unit, age: String, now: Timestamp) -> Vec<String> {
    let next = match cron.next_schedule {
        Some(next) if !unit.suspended && !unit.stopped => ahead(next, now),
        Some(_) | None => NOTHING.to_owned(),
    };
    let last = match cron.last_schedule {
        Some(_) => format!("{} ago", age_or_nothing(cron.last_schedule, now)),
        None => NOTHING.to_owned(),
    };
    vec![
        cron.schedule.clone(),
        cron.time_zone.clone().unwrap_or_else(|| "local".to_owned()),
        if unit.suspended { "yes" } else { "no" }.to_owned(),
        cron.active.len().to_string(),
        last,
        next,
        age,
    ]
}

fn labels(unit: &Unit) -> String {
    if unit.labels.is_empty() {
        return NOTHING.to_owned();
    }
    let labels: Vec<_> = unit.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    labels.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_and_names_are_taken_as_kubectl_takes_them() {
        let words =
            |list: &[&str]| words(&list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert_eq!(words(&["deploy", "api", "web"]), "deploy/api,deploy/web");
        assert_eq!(words(&["deploy", "sts"]), "deploy,sts");
        assert_eq!(words(&["deploy,sts"]), "deploy,sts");
        assert_eq!(words(&["job/migrate", "cj"]), "job/migrate,cj");
    }
}
