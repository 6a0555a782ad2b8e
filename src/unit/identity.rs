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
    let kind = kind(table, missing, report);
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
    Identity { kind, name }
}

fn kind(table: &Table, missing: bool, report: &mut Report) -> Option<Kind> {
    let Some(node) = table.get("kind") else {
        if missing {
            let guess = ["cron", "job", "daemonset", "statefulset"]
                .into_iter()
                .find(|name| table.get(name).is_some())
                .map_or("deployment", |name| if name == "cron" { "cronjob" } else { name });
            let complaint = Complaint::new("`kind` is missing: nothing says what the unit is").help(format!(
                "add kind = \"{guess}\" at the top (deployment, statefulset, daemonset, job or cronjob)"
            ));
            report.error(&Place { file: 0, span: 0..0 }, "kind", complaint);
        }
        return None;
    };
    // A wrong type is the walk's to complain about; so is a text that is no kind, unless there is
    // better advice than the list.
    let text = node.as_text()?;
    let exact = Kind::ALL.into_iter().find(|kind| kind.as_str() == text);
    if exact.is_none() {
        report.error(&node.at, "kind", no_kind(text));
    }
    exact
}

fn no_kind(text: &str) -> Complaint {
    let complaint = Complaint::new(format!("there is no kind \"{text}\""));
    let plain: String =
        text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    if let Some(kind) = Kind::parse(&plain) {
        return complaint.help(format!("did you mean \"{kind}\"?"));
    }
    let singular = plain.strip_suffix('s').unwrap_or(&plain);
    let alias = match plain.as_str() {
        "rs" => "replicaset",
        "rc" => "replicationcontroller",
        "po" => "pod",
        "svc" => "service",
        "hpa" => "horizontalpodautoscaler",
        _ => singular,
    };
    if let Some((_, advice)) = ADVICE.iter().find(|(name, _)| *name == alias) {
        return complaint.help(*advice);
    }
    match suggest::near(&plain, Kind::ALL.into_iter().map(Kind::as_str)) {
        Some(kind) => complaint.help(format!("did you mean \"{kind}\"?")),
        None => complaint.help("there are deployment, statefulset, daemonset, job and cronjob"),
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
