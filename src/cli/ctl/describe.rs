//! `wsup ctl describe`.

use super::screen::Screen;
use super::words::{instance_remark, last_exit, unit_ready, unit_remark, unit_state};
use super::{Format, Outcome, events};
use crate::api::client::Client;
use crate::api::types::{Description, Instance, Particular, Unit};
use crate::cli::exit;
use crate::cli::output::NOTHING;
use crate::cli::output::table::{Cell, Table};
use crate::cli::output::time::{age, ahead, local, now};
use jiff::Timestamp;
use std::io;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// kind/name, a unit's name, or an instance's name
    target: String,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Runs it.
pub(super) async fn run(args: Args, client: &Client, screen: &mut Screen) -> Outcome {
    let description: Description = client.get("/v1/describe", &[("target", args.target)]).await?;
    match args.output {
        Format::Json => screen.json(&description)?,
        Format::Text => print(&description, now(), screen)?,
    }
    Ok(exit::OK)
}

fn print(description: &Description, now: Timestamp, screen: &mut Screen) -> io::Result<()> {
    let mut facts = Facts::default();
    match (&description.instance, &description.unit) {
        (Some(instance), unit) => {
            facts.instance(instance, now);
            if let Some(unit) = unit {
                facts.add("Unit state", unit_state(unit));
            }
        }
        (None, Some(unit)) => facts.unit(unit, now),
        (None, None) => {}
    }
    for (name, value) in &description.facts {
        facts.add(name, value.clone());
    }
    screen.text(&facts.0.render())?;
    if let (None, Some(unit)) = (&description.instance, &description.unit) {
        conditions(unit, now, screen)?;
        jobs(&description.jobs, now, screen)?;
        instances(&description.instances, now, screen)?;
    }
    if description.events.is_empty() {
        screen.line("\nEvents:   none remembered")
    } else {
        section("Events", &events::table(&description.events, now), screen)
    }
}

/// The lines at the top: a name, a colon, a value.
struct Facts(Table);

impl Default for Facts {
    fn default() -> Self {
        Facts(Table::bare())
    }
}

impl Facts {
    fn add(&mut self, name: &str, value: impl Into<Cell>) {
        self.0.row(vec![format!("{name}:").into(), value.into()]);
    }

    fn add_if(&mut self, name: &str, value: Option<impl Into<Cell>>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    fn time(&mut self, name: &str, then: Option<Timestamp>, now: Timestamp) {
        self.add_if(
            name,
            then.map(|then| {
                if then > now {
                    format!("{} ({})", local(then), ahead(then, now))
                } else {
                    format!("{} ({} ago)", local(then), age(then, now))
                }
            }),
        );
    }

    fn unit(&mut self, unit: &Unit, now: Timestamp) {
        self.add("Name", unit.name.clone());
        self.add("Kind", unit.kind.clone());
        self.add_if("Description", unit.description.clone());
        if !unit.labels.is_empty() {
            let labels: Vec<_> = unit.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
            self.add("Labels", labels.join(", "));
        }
        self.add_if("Made by", unit.owner.clone());
        self.add("State", Cell::state(unit_state(unit)));
        let remark = unit_remark(unit, now);
        self.add_if("Why", (!remark.is_empty()).then_some(remark));
        self.add_if("File", unit.invalid.as_ref().map(|mistake| format!("invalid: {mistake}")));
        self.time("Created", Some(unit.created_at), now);
        self.add("Generation", unit.generation.to_string());
        if unit.revision > 0 {
            self.add("Revision", unit.revision.to_string());
        }
        match &unit.particular {
            Particular::Service {} => self.add(
                "Instances",
                format!(
                    "{} desired, {} current, {} updated, {} ready, {} available",
                    unit.desired, unit.current, unit.updated, unit.ready, unit.available
                ),
            ),
            Particular::Job(job) => {
                self.add("Complete", unit_ready(unit));
                self.add(
                    "Runs",
                    format!(
                        "{} active, {} succeeded, {} failed",
                        job.active, job.succeeded, job.failed
                    ),
                );
                self.time("Scheduled", job.scheduled, now);
                self.time("Started", job.started_at, now);
                self.time("Ended", job.completed_at, now);
            }
            Particular::CronJob(cron) => {
                self.add("Schedule", cron.schedule.clone());
                let zone = cron.time_zone.clone();
                self.add("Time zone", zone.unwrap_or_else(|| "the machine's".to_owned()));
                self.time("Last run", cron.last_schedule, now);
                self.time("Next run", cron.next_schedule, now);
                self.add("Active", or_nothing(cron.active.join(", ")));
            }
        }
        self.switches(unit);
    }

    fn switches(&mut self, unit: &Unit) {
        let on: Vec<&str> = [
            (unit.stopped, "stopped by an operator"),
            (unit.paused, "roll-out paused"),
            (unit.suspended, "suspended"),
            (unit.deleting, "being deleted"),
            (unit.not_selected, "node_selector does not match"),
        ]
        .into_iter()
        .filter_map(|(set, word)| set.then_some(word))
        .collect();
        if !on.is_empty() {
            self.add("Switches", on.join(", "));
        }
        for (field, value) in &unit.overrides {
            self.add(
                "Live change",
                format!("{field}: {value} (until the file's own value changes)"),
            );
        }
    }

    fn instance(&mut self, instance: &Instance, now: Timestamp) {
        self.add("Name", instance.name.clone());
        self.add("Unit", format!("{}/{}", instance.kind, instance.unit));
        self.add_if("Made by", instance.owner.clone());
        self.add("State", Cell::state(instance.state.clone()));
        let remark = instance_remark(instance, now);
        self.add_if("Why", (!remark.is_empty()).then_some(remark));
        self.add("Ready", if instance.ready { "yes" } else { "no" });
        self.add_if("Says", instance.says.clone());
        let ports: Vec<String> =
            instance.ports.iter().map(|(name, port)| format!("{name} {port}")).collect();
        self.add_if("Ports", (!ports.is_empty()).then(|| ports.join(", ")));
        self.add("Pid", or_nothing(instance.pid.map(|p| p.to_string()).unwrap_or_default()));
        self.add("Restarts", instance.restarts.to_string());
        self.add("Revision", instance.revision.to_string());
        self.time("Created", Some(instance.created_at), now);
        self.time("Started", instance.started_at, now);
        self.add("Last exit", last_exit(instance, now).unwrap_or_else(|| "none".to_owned()));
        self.time("Next start", instance.next_start, now);
        self.add_if("Ordinal", instance.ordinal.map(|n| n.to_string()));
        self.add_if("Node", instance.node.clone());
        self.add_if("Node path", instance.node_path.clone());
        self.add_if("Data", instance.data_dir.as_ref().map(|d| d.display().to_string()));
    }
}

fn or_nothing(text: String) -> String {
    if text.is_empty() { NOTHING.to_owned() } else { text }
}

/// A table under a heading, two spaces in.
fn section(name: &str, table: &Table, screen: &mut Screen) -> io::Result<()> {
    screen.line(&format!("\n{name}:"))?;
    for line in table.render().lines() {
        screen.line(&format!("  {line}"))?;
    }
    Ok(())
}

fn conditions(unit: &Unit, now: Timestamp, screen: &mut Screen) -> io::Result<()> {
    if unit.conditions.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"]);
    for condition in &unit.conditions {
        table.row(vec![
            condition.kind.clone().into(),
            condition.status.clone().into(),
            condition.reason.clone().into(),
            age(condition.last_transition, now).into(),
            condition.message.clone().into(),
        ]);
    }
    section("Conditions", &table, screen)
}

fn jobs(jobs: &[Unit], now: Timestamp, screen: &mut Screen) -> io::Result<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&["NAME", "STATE", "COMPLETIONS", "AGE", "INFO"]);
    for job in jobs {
        table.row(vec![
            job.name.clone().into(),
            Cell::state(unit_state(job)),
            unit_ready(job).into(),
            age(job.created_at, now).into(),
            unit_remark(job, now).into(),
        ]);
    }
    section("Jobs", &table, screen)
}

fn instances(list: &[Instance], now: Timestamp, screen: &mut Screen) -> io::Result<()> {
    if list.is_empty() {
        return screen.line("\nInstances:   none");
    }
    let mut table =
        Table::new(&["NAME", "STATE", "RESTARTS", "AGE", "PID", "REV", "LAST EXIT", "INFO"]);
    for instance in list {
        let pid = instance.pid.map(|pid| pid.to_string()).unwrap_or_default();
        table.row(vec![
            instance.name.clone().into(),
            Cell::state(instance.state.clone()),
            instance.restarts.to_string().into(),
            age(instance.created_at, now).into(),
            or_nothing(pid).into(),
            instance.revision.to_string().into(),
            last_exit(instance, now).unwrap_or_else(|| NOTHING.to_owned()).into(),
            instance_remark(instance, now).into(),
        ]);
    }
    section("Instances", &table, screen)
}
