//! Who a file is about: its kind and its name, as far as they can be read.
//!
//! Responsible for reading `kind` before anything else, because it decides which keys exist, and for
//! the advice that people who write another tool's kinds need.

use super::complaint::Complaint;
use super::report::Report;
use super::suggest;
use super::tree::{Node, Place, Table};
use crate::core::id::{CRONJOB_NAME_MAX, Kind, UnitName, check_label};
use std::path::Path;

/// Kind and name of a file, as far as they can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) kind: Option<Kind>,
    /// The kind that the file would be of without its mistake: its keys are checked as that kind's.
    pub(super) meant: Option<Kind>,
    pub(super) name: Option<UnitName>,
}

/// Kinds of other tools, and what to write instead.
const ADVICE: [(&str, &str); 17] = [
    ("replicaset", "write a deployment: ReplicaSets are made and kept under its hood"),
    ("replicationcontroller", "write a deployment: it keeps the wanted number of instances"),
    ("pod", "write a deployment with replicas = 1, or a job for a program that ends"),
    ("container", "write a deployment with replicas = 1, or a job for a program that ends"),
    ("process", "write a deployment with replicas = 1, or a job for a program that ends"),
    ("program", "write a deployment with replicas = 1, or a job for a program that ends"),
    ("service", "write a deployment; a socket that all its instances share is [[sockets]]"),
    ("simple", "write a deployment with replicas = 1"),
    ("oneshot", "write a job: it runs until it exits with 0"),
    ("timer", "write a cronjob: it holds the schedule and the program"),
    ("cron", "write a cronjob"),
    ("daemon", "write a deployment for a server, a daemonset for one instance on each node"),
    ("socket", "write [[sockets]] in the unit that uses it"),
    ("ingress", "it has no counterpart: let the instances listen themselves, by [[sockets]]"),
    ("configmap", "it has no counterpart: use `env` and `env_file` in [process]"),
    ("secret", "it has no counterpart: use `env_file` in [process]"),
    ("horizontalpodautoscaler", "it has no counterpart: use `wsup ctl scale`"),
];

/// Reads the identity of a file and complains about it.
pub(super) fn read(table: &Table, path: &Path, missing: bool, report: &mut Report) -> Identity {
    let (kind, meant) = match kind(table, missing, report) {
        Ok(kind) => (Some(kind), Some(kind)),
        Err(meant) => (None, meant),
    };
    let name = name(table, path, report);
    if let (Some(Kind::CronJob), Some(name)) = (kind, &name)
        && name.as_str().len() > CRONJOB_NAME_MAX
    {
        let complaint = Complaint::new(format!(
            "the name of a cronjob may have at most {CRONJOB_NAME_MAX} characters, this has {}",
            name.as_str().len()
        ))
        .help("shorten it: its jobs are named after it, with the minute of their run");
        let start = Place { file: 0, span: 0..0 };
        let at = table.get("name").map_or(start, |node| node.at.clone());
        report.error(&at, "name", complaint);
    }
    Identity { kind, meant, name }
}

/// The kind, or else the one that is probably meant.
fn kind(table: &Table, missing: bool, report: &mut Report) -> Result<Kind, Option<Kind>> {
    let Some(node) = table.get("kind") else {
        let meant = [
            ("cron", Kind::CronJob),
            ("job", Kind::Job),
            ("daemonset", Kind::DaemonSet),
            ("statefulset", Kind::StatefulSet),
        ]
        .into_iter()
        .find(|(name, _)| table.get(name).is_some())
        .map(|(_, kind)| kind);
        if missing {
            let example = meant.unwrap_or(Kind::Deployment);
            let complaint = Complaint::new("`kind` is missing: nothing says what the unit is").help(format!(
                "add kind = \"{example}\" at the top (deployment, statefulset, daemonset, job or cronjob)"
            ));
            report.error(&Place { file: 0, span: 0..0 }, "kind", complaint);
        }
        return Err(meant);
    };
    // A wrong type is the walk's to complain about.
    let text = node.as_text().ok_or(None)?;
    if let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.as_str() == text) {
        return Ok(kind);
    }
    let (meant, help) = advice(text);
    let complaint = Complaint::new(format!("there is no kind \"{text}\"")).help(help);
    report.error(&node.at, "kind", complaint);
    Err(meant)
}

/// What to write instead of a kind that does not exist.
fn advice(text: &str) -> (Option<Kind>, String) {
    let plain: String =
        text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    if let Some(kind) = Kind::parse(&plain) {
        return (Some(kind), format!("did you mean \"{kind}\"?"));
    }
    let alias = match plain.as_str() {
        "rs" => "replicaset",
        "rc" => "replicationcontroller",
        "po" => "pod",
        "svc" => "service",
        "hpa" => "horizontalpodautoscaler",
        other => other.strip_suffix('s').unwrap_or(other),
    };
    if let Some((_, advice)) = ADVICE.iter().find(|(name, _)| *name == alias) {
        // "write a deployment ..." names the kind that the rest of the file is read as.
        let meant = advice.split(|c: char| !c.is_ascii_alphanumeric()).find_map(Kind::parse);
        return (meant, (*advice).to_owned());
    }
    match suggest::near(&plain, Kind::ALL.into_iter().map(Kind::as_str)) {
        Some(kind) => (Kind::parse(kind), format!("did you mean \"{kind}\"?")),
        None => (None, "there are deployment, statefulset, daemonset, job and cronjob".to_owned()),
    }
}

fn name(table: &Table, path: &Path, report: &mut Report) -> Option<UnitName> {
    if let Some(node) = table.get("name") {
        // The walk complains about what is no name.
        return node.as_text().and_then(|text| UnitName::new(text).ok());
    }
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    if let Err(error) = check_label(&stem) {
        let better = super::names::to_label(&stem);
        let complaint = Complaint::new(format!(
            "the unit has no `name`, and its file's stem \"{stem}\" cannot be one: {error}"
        ))
        .help(format!(
            "rename the file, or add name = \"{}\"",
            if better.is_empty() { "api" } else { &better }
        ));
        report.error(&Place { file: 0, span: 0..0 }, "name", complaint);
        return None;
    }
    UnitName::new(&stem).ok()
}

/// The value of `kind`, if it is a text: shown where it is no kind.
pub(super) fn kind_text(table: &Table) -> Option<String> {
    table.get("kind").and_then(Node::as_text).map(str::to_owned)
}
