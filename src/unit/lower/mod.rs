//! From a checked tree to the core's spec, with the rules that concern several values at once.
//!
//! Responsible for meaning: every default comes from the table of keys, and every rule between
//! keys is complained about here. Must not look at other units: that is `check`.

#[cfg(test)]
mod finite_tests;
mod probe;
mod process;
mod view;
mod workload;

use super::complaint::Complaint;
use super::names;
use super::report::Report;
use super::tree::{Node, Table};
use crate::core::id::UnitKey;
use crate::core::spec::{
    Dependency, DependencyCondition, InstanceTemplate, PortSpec, SocketProtocol, SocketSpec,
    UnitSpec,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use view::View;

pub(super) use process::read_limit;

/// Makes the spec. It is of use only if the report has no error at the end: where a value is
/// unreadable, something harmless stands in for it.
pub(super) fn lower(root: &Table, key: UnitKey, report: &mut Report) -> UnitSpec {
    let view = View::root(key.kind, root);
    let workload = workload::workload(&view, report);
    let probes = probe::probes(&view, report);
    let template = InstanceTemplate {
        process: process::process(&view.sub("process"), report),
        init: process::init(&view),
        lifecycle: process::lifecycle(&view.sub("lifecycle")),
        restart: process::restart(&view.sub("restart"), report),
        resources: process::resources(&view.sub("resources"), report),
        sandbox: process::sandbox(&view.sub("sandbox")),
        startup: probes.startup.map(Box::new),
        readiness: probes.readiness.map(Box::new),
        liveness: probes.liveness.map(Box::new),
        watchdog: probes.watchdog,
        ports: ports(&view, report),
        log: process::log(&view.sub("log")),
        restarted_at: None,
    };
    UnitSpec {
        key,
        description: view.text("description"),
        labels: view.map("labels"),
        node_selector: view.map("node_selector"),
        depends_on: view.node("depends_on").map(dependencies).unwrap_or_default(),
        sockets: sockets(&view, report),
        template: Arc::new(template),
        workload,
    }
}

/// What `depends_on` says.
fn dependencies(node: &Node) -> Vec<Dependency> {
    let read = |item: &Node| {
        let (unit, condition) = match item.as_table() {
            Some(table) => (
                table.get("unit")?.as_text()?,
                table.get("condition").and_then(Node::as_text).unwrap_or("available"),
            ),
            None => (item.as_text()?, "available"),
        };
        let condition = match condition {
            "started" => DependencyCondition::Started,
            "complete" => DependencyCondition::Complete,
            _ => DependencyCondition::Available,
        };
        Some(Dependency { unit: unit.to_owned(), condition })
    };
    node.items().iter().filter_map(read).collect()
}

fn sockets(view: &View<'_>, report: &mut Report) -> Vec<SocketSpec> {
    let mut names_seen = BTreeMap::new();
    let mut sockets = Vec::new();
    for (at, one) in view.subs("sockets").iter().enumerate() {
        unique_name(one, "socket", at, &mut names_seen, report);
        let listen = one.text("listen").unwrap_or_default();
        let unix = listen.starts_with("unix:");
        for key in ["mode", "user", "group"] {
            if one.has(key) && !unix {
                let complaint = Complaint::new(format!(
                    "`{key}` is for a socket with a file, not for `{listen}`"
                ))
                .help("remove it, or listen on \"unix:/path\"");
                report.error(&one.place(key), &one.path(key), complaint);
            }
        }
        if unix && one.flag("reuse_port") {
            let complaint = Complaint::new("a unix socket has no port to share")
                .help("remove `reuse_port`, or listen on \"host:port\"");
            report.error(&one.place("reuse_port"), &one.path("reuse_port"), complaint);
        }
        let udp = one.text("protocol").as_deref() == Some("udp");
        sockets.push(SocketSpec {
            name: one.text("name").unwrap_or_default(),
            listen,
            protocol: if udp { SocketProtocol::Udp } else { SocketProtocol::Tcp },
            reuse_port: one.flag("reuse_port"),
            mode: one.text("mode").and_then(|text| names::mode(&text).ok()),
            user: one.owner("user"),
            group: one.owner("group"),
        });
    }
    sockets
}

fn ports(view: &View<'_>, report: &mut Report) -> Vec<PortSpec> {
    let mut names_seen = BTreeMap::new();
    let mut ports = Vec::new();
    for (at, one) in view.subs("ports").iter().enumerate() {
        unique_name(one, "port", at, &mut names_seen, report);
        let range = one.text("range").and_then(|text| names::port_range(&text).ok());
        let (first, last) = range.unwrap_or_default();
        let replicas: u32 = view.int("replicas").unwrap_or(1);
        let has = u32::from(last.saturating_sub(first)) + 1;
        if range.is_some() && replicas > has {
            let complaint =
                Complaint::new(format!("{has} ports are not enough for {replicas} instances"))
                    .help("widen the range, or lower `replicas`");
            report.error(&one.place("range"), &one.path("range"), complaint);
        }
        ports.push(PortSpec { name: one.text("name").unwrap_or_default(), first, last });
    }
    ports
}

fn unique_name(
    one: &View<'_>,
    what: &str,
    at: usize,
    seen: &mut BTreeMap<String, usize>,
    report: &mut Report,
) {
    let Some(name) = one.text("name") else { return };
    // PORT_<NAME> is upper case, so names that differ in case only would be one variable.
    if let Some(first) = seen.insert(name.to_ascii_uppercase().replace('-', "_"), at) {
        let complaint = Complaint::new(format!(
            "a {what} named `{name}` is there already, as number {}",
            first + 1
        ))
        .help("give each a name of its own");
        report.error(&one.place("name"), &one.path("name"), complaint);
    }
}

#[cfg(test)]
mod services_tests;
