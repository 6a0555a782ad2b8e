//! What the contract names and this version does not do yet.
//!
//! Responsible for refusing it by name, after it was checked like everything else: a key that is
//! read and then ignored would be a lie. A row goes when its feature comes.

use super::complaint::Complaint;
use super::report::Report;
use super::tree::{Entry, Node, Table, Value};

/// Whether a value asks for something.
type Asks = fn(&Node) -> bool;

fn always(_: &Node) -> bool {
    true
}

fn not_empty(node: &Node) -> bool {
    match &node.value {
        Value::List(items) => !items.is_empty(),
        Value::Table(_)
        | Value::Text(_)
        | Value::Int(_)
        | Value::HugeInt
        | Value::Float(_)
        | Value::Bool(_)
        | Value::Datetime => true,
    }
}

fn is_true(node: &Node) -> bool {
    node.as_bool() == Some(true)
}

fn other_driver(node: &Node) -> bool {
    matches!(node.as_text(), Some("journald" | "inherit"))
}

/// Paths of keys (`*`: every key of the table), and which of their values ask for something.
const ROWS: &[(&str, Asks)] = &[
    ("depends_on", not_empty),
    ("lifecycle.*", always),
    ("probes.*", always),
    ("sockets", not_empty),
    ("ports", not_empty),
    ("resources.*", always),
    ("sandbox.no_new_privileges", is_true),
    ("sandbox.private_tmp", is_true),
    ("sandbox.private_network", is_true),
    ("sandbox.capabilities", always),
    ("sandbox.read_only", not_empty),
    ("sandbox.read_write", not_empty),
    ("log.driver", other_driver),
    ("log.compress", is_true),
];

/// Refuses what the file asks for and does not get. Keys that are wrong anyway are left alone.
pub(super) fn refuse(root: &Table, report: &mut Report) {
    for (path, asks) in ROWS {
        for (full, entry) in lookup(root, path) {
            let wrong = report
                .diagnostics
                .iter()
                .any(|d| d.key == full && d.severity == super::diagnose::Severity::Error);
            if !wrong && asks(&entry.node) {
                let shown = match entry.node.value {
                    Value::Text(ref text) if *path == "log.driver" => {
                        format!("{full} = \"{text}\"")
                    }
                    Value::Text(_)
                    | Value::Int(_)
                    | Value::HugeInt
                    | Value::Float(_)
                    | Value::Bool(_)
                    | Value::Datetime
                    | Value::List(_)
                    | Value::Table(_) => full.clone(),
                };
                let complaint = Complaint::new(format!("`{shown}` is not supported yet"))
                    .help("remove it for now: this version refuses it rather than ignore it");
                report.error(&entry.key_at, &full, complaint);
            }
        }
    }
}

fn lookup<'t>(root: &'t Table, path: &str) -> Vec<(String, &'t Entry)> {
    match path.split_once('.') {
        None => root.entry(path).map(|entry| (path.to_owned(), entry)).into_iter().collect(),
        Some((table, key)) => {
            let entries = root
                .get(table)
                .and_then(Node::as_table)
                .map(|t| t.entries.as_slice())
                .unwrap_or_default();
            entries
                .iter()
                .filter(|entry| key == "*" || entry.key == key)
                .map(|entry| (format!("{table}.{}", entry.key), entry))
                .collect()
        }
    }
}
