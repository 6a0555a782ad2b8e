//! `wsup ctl ps`.

use super::screen::Screen;
use super::words::{instance_remark, last_exit, unit_ready, unit_remark, unit_state};
use super::{Failure, Outcome, Output};
use crate::api::client::{Client, ClientError};
use crate::api::types::{Instance, InvalidFile, Overview, Unit, Watched};
use crate::cli::exit;
use crate::cli::output::NOTHING;
use crate::cli::output::color::Tint;
use crate::cli::output::table::{Cell, Table};
use crate::cli::output::time::{age, now};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// kind/name, a unit's name, or an instance's name; all if not given
    target: Option<String>,
    /// All, which is also the default
    #[arg(long, conflicts_with = "target")]
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
    query.extend(args.target.map(|target| ("target", target)));
    query.extend(args.selector.map(|selector| ("selector", selector)));
    match args.output {
        Output::Json | Output::Name if args.watch => {
            watch_instances(query, args.output, client, screen).await
        }
        Output::Json | Output::Name => {
            let instances: Vec<Instance> = client.get("/v1/instances", &query).await?;
            if args.output == Output::Json {
                screen.json(&instances)?;
            } else {
                for instance in &instances {
                    screen.line(&instance.name)?;
                }
            }
            Ok(exit::OK)
        }
        Output::Table | Output::Wide => {
            let wide = args.output == Output::Wide;
            if !args.watch {
                let overview: Overview = client.get("/v1/overview", &query).await?;
                screen.text(&show(&overview, wide, now()))?;
                return Ok(exit::OK);
            }
            watch_table(&query, wide, client, screen).await
        }
    }
}

/// The table, or a remark in its place.
fn show(overview: &Overview, wide: bool, now: Timestamp) -> String {
    if overview.units.is_empty() && overview.instances.is_empty() && overview.invalid.is_empty() {
        return "No units found.\n".to_owned();
    }
    table(overview, wide, now).render()
}

/// One line for each change, as JSON or as a name.
async fn watch_instances(
    mut query: Vec<(&str, String)>,
    output: Output,
    client: &Client,
    screen: &mut Screen,
) -> Outcome {
    query.push(("watch", "true".to_owned()));
    let mut changes = client.stream("/v1/instances", &query).await?;
    while let Some(change) = changes.line::<Watched<Instance>>().await? {
        match (&change.object, output) {
            (Some(instance), Output::Name) => screen.line(&instance.name)?,
            (Some(_), _) => screen.json_line(&change)?,
            (None, _) => {}
        }
        screen.flush()?;
    }
    Err(Failure::cut_off())
}

/// The whole table anew at each change: in place on a terminal, one after the other otherwise.
async fn watch_table(
    query: &[(&str, String)],
    wide: bool,
    client: &Client,
    screen: &mut Screen,
) -> Outcome {
    let mut changes = client.stream("/v1/changes", &[]).await?;
    let mut shown = String::new();
    while changes.line::<serde_json::Value>().await?.is_some() {
        let overview = match client.get::<Overview>("/v1/overview", query).await {
            Err(ClientError::Api(error)) if shown.is_empty() => return Err(error.into()),
            // The target has gone meanwhile, and may come back.
            Err(ClientError::Api(_)) => Overview::default(),
            other => other?,
        };
        let text = show(&overview, wide, now());
        if text == shown {
            continue;
        }
        if screen.is_terminal() {
            screen.clear()?;
        } else if !shown.is_empty() {
            screen.line("")?;
        }
        screen.text(&text)?;
        screen.flush()?;
        shown = text;
    }
    Err(Failure::cut_off())
}

/// A row for each unit, and below it one for each of its instances. Jobs of a cronjob are not
/// listed by themselves: their instances stand below the cronjob.
pub(super) fn table(overview: &Overview, wide: bool, now: Timestamp) -> Table {
    let mut headings = vec!["NAME", "STATE", "READY", "RESTARTS", "AGE", "PID", "REV"];
    if wide {
        headings.extend(["NODE", "LAST EXIT", "DATA"]);
    }
    headings.push("INFO");
    let mut table = Table::new(&headings);
    let mut below: BTreeMap<String, Vec<&Instance>> = BTreeMap::new();
    let listed = |key: &str| overview.units.iter().any(|unit| unit.key() == key);
    for instance in &overview.instances {
        let own = format!("{}/{}", instance.kind, instance.unit);
        let group = instance.owner.clone().filter(|owner| listed(owner)).unwrap_or(own);
        below.entry(group).or_default().push(instance);
    }
    for unit in &overview.units {
        if unit.owner.as_ref().is_some_and(|owner| listed(owner)) {
            continue;
        }
        table.row(unit_row(unit, wide, now));
        for instance in below.remove(&unit.key()).unwrap_or_default() {
            table.row(instance_row(instance, "  ", wide, now));
        }
    }
    // What a change between two readings left without a unit.
    for instance in below.into_values().flatten() {
        table.row(instance_row(instance, "", wide, now));
    }
    for file in &overview.invalid {
        table.row(invalid_row(file, wide));
    }
    table
}

fn unit_row(unit: &Unit, wide: bool, now: Timestamp) -> Vec<Cell> {
    let revision = if unit.revision == 0 { String::new() } else { unit.revision.to_string() };
    let mut row = vec![
        Cell::tinted(unit.key(), Tint::Bold),
        Cell::state(unit_state(unit)),
        unit_ready(unit).into(),
        "".into(),
        age(unit.created_at, now).into(),
        "".into(),
        revision.into(),
    ];
    if wide {
        row.extend(["".into(), "".into(), "".into()]);
    }
    row.push(unit_remark(unit, now).into());
    row
}

fn instance_row(instance: &Instance, indent: &str, wide: bool, now: Timestamp) -> Vec<Cell> {
    let mut row = vec![
        format!("{indent}{}", instance.name).into(),
        Cell::state(instance.state.clone()),
        if instance.ready { "1/1" } else { "0/1" }.into(),
        instance.restarts.to_string().into(),
        age(instance.created_at, now).into(),
        instance.pid.map_or_else(|| NOTHING.to_owned(), |pid| pid.to_string()).into(),
        instance.revision.to_string().into(),
    ];
    if wide {
        let node = instance.node_path.clone().or_else(|| instance.node.clone());
        let data = instance.data_dir.as_ref().map(|dir| dir.display().to_string());
        for cell in [node, last_exit(instance, now), data] {
            row.push(cell.unwrap_or_else(|| NOTHING.to_owned()).into());
        }
    }
    row.push(instance_remark(instance, now).into());
    row
}

fn invalid_row(file: &InvalidFile, wide: bool) -> Vec<Cell> {
    let mut row = vec![
        Cell::tinted(format!("{}/{}", file.kind, file.name), Tint::Bold),
        Cell::state("Invalid"),
    ];
    row.resize(if wide { 10 } else { 7 }, Cell::default());
    row.push(file.message.clone().into());
    row
}
