//! What the contract names and this version does not do yet.
//!
//! Responsible for refusing it by name, after it was checked like everything else: a key that is
//! read and then ignored would be a lie. A row goes when its feature comes.

use super::complaint::Complaint;
use super::report::Report;
use super::tree::{Entry, Node, Table};

/// Whether a value asks for something.
type Asks = fn(&Node) -> bool;

fn always(_: &Node) -> bool {
    true
}

/// What units are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be run, now or later.
    Run,
    /// To be simulated: what the controllers decide is there, and nothing is carried out.
    Simulate,
}

/// Where a key is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// Nobody carries it out. Controllers know it, or have nothing to do with it.
    Hands,
    /// Controllers do not know it.
    Head,
}

use Missing::{Hands, Head};

/// Paths of keys (`*`: every key of the table), which of their values ask for something, and
/// where they are missing.
const ROWS: &[(&str, Asks, Missing)] = &[
    ("probes.startup.log", always, Hands),
    ("probes.readiness.log", always, Hands),
    ("probes.liveness.log", always, Hands),
];

/// Refuses what the file asks for and does not get. Keys that are wrong anyway are left alone.
pub(super) fn refuse(root: &Table, purpose: Purpose, report: &mut Report) {
    let rows = ROWS.iter().filter(|(_, _, missing)| match purpose {
        Purpose::Run => true,
        Purpose::Simulate => *missing == Head,
    });
    for (path, asks, _) in rows {
        for (full, entry) in lookup(root, path) {
            let wrong = report.diagnostics.iter().any(|d| {
                let holds = full.strip_prefix(d.key.as_str());
                let about = holds.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
                about && d.severity == super::diagnose::Severity::Error
            });
            if !wrong && asks(&entry.node) {
                let complaint = Complaint::new(format!("`{full}` is not supported yet"))
                    .help("remove it for now: this version refuses it rather than ignore it");
                report.error(&entry.key_at, &full, complaint);
            }
        }
    }
}

fn lookup<'t>(root: &'t Table, path: &str) -> Vec<(String, &'t Entry)> {
    let (table, key) = match path.rsplit_once('.') {
        None => return root.entry(path).map(|e| (path.to_owned(), e)).into_iter().collect(),
        Some(parts) => parts,
    };
    let mut inner = Some(root);
    for step in table.split('.') {
        inner = inner.and_then(|t| t.get(step)).and_then(Node::as_table);
    }
    inner
        .map(|t| t.entries.as_slice())
        .unwrap_or_default()
        .iter()
        .filter(|entry| key == "*" || entry.key == key)
        .map(|entry| (format!("{table}.{}", entry.key), entry))
        .collect()
}
