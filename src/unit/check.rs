//! Rules between units: which file replaces which, two files of one identity, dependencies.
//!
//! Responsible for what no file can be wrong about alone. Must not look into values that concern
//! one unit only.

use super::complaint::Complaint;
use super::load::Draft;
use super::tree::{Node, Place};
use crate::core::id::{Kind, UnitKey};
use std::collections::{BTreeMap, BTreeSet};

/// Drops the drafts that a higher layer replaces. A wrong file replaces as well, or a typing error
/// would silently bring back the version below it.
pub(super) fn replace(drafts: &mut Vec<Draft>) {
    let higher: Vec<(usize, super::identity::Identity)> =
        drafts.iter().map(|draft| (draft.layer, draft.identity.clone())).collect();
    drafts.retain(|draft| {
        let replaced = higher.iter().any(|(layer, identity)| {
            *layer > draft.layer
                && identity.name.is_some()
                && identity.name == draft.identity.name
                && (identity.kind.is_none() || identity.kind == draft.identity.kind)
        });
        !replaced
    });
}

/// Every check between units.
pub(super) fn across(drafts: &mut [Draft]) {
    twins(drafts);
    let edges = dependencies(drafts);
    cycles(drafts, &edges);
}

fn key_of(draft: &Draft) -> Option<UnitKey> {
    Some(UnitKey::new(draft.identity.kind?, draft.identity.name.clone()?))
}

/// Two files of one identity: neither is taken, because nothing says which is meant.
fn twins(drafts: &mut [Draft]) {
    let mut by_key: BTreeMap<UnitKey, Vec<usize>> = BTreeMap::new();
    for (at, draft) in drafts.iter().enumerate() {
        if let Some(key) = key_of(draft) {
            by_key.entry(key).or_default().push(at);
        }
    }
    for (key, members) in by_key.iter().filter(|(_, members)| members.len() > 1) {
        for at in members {
            let others: Vec<String> = members
                .iter()
                .filter(|other| *other != at)
                .filter_map(|other| drafts.get(*other))
                .map(|draft| draft.path.display().to_string())
                .collect();
            let Some(draft) = drafts.get_mut(*at) else { continue };
            let place = draft
                .table
                .get("name")
                .or_else(|| draft.table.get("kind"))
                .map_or(Place { file: 0, span: 0..0 }, |node| node.at.clone());
            let complaint =
                Complaint::new(format!("{key} is in another file too: {}", others.join(", ")))
                    .help("give one of them another `name`, or remove it");
            draft.report.error(&place, "name", complaint);
        }
    }
}

/// One written dependency.
struct Edge {
    to: usize,
    place: Place,
    path: String,
}

/// Resolves every `depends_on`, complaining where it leads nowhere.
fn dependencies(drafts: &mut [Draft]) -> Vec<Vec<Edge>> {
    let known: Vec<Option<UnitKey>> = drafts.iter().map(key_of).collect();
    let names: BTreeSet<String> =
        drafts.iter().filter_map(|d| d.identity.name.as_ref()).map(ToString::to_string).collect();
    let mut all = Vec::new();
    for draft in drafts.iter_mut() {
        let items: Vec<Node> =
            draft.table.get("depends_on").map(|node| node.items().to_vec()).unwrap_or_default();
        let mut edges = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let (node, condition) = match item.as_table() {
                Some(table) => (table.get("unit"), table.get("condition")),
                None => (Some(item), None),
            };
            let Some((node, name)) = node.and_then(|node| Some((node, node.as_text()?))) else {
                continue;
            };
            let path = format!("depends_on[{at}]");
            match resolve(name, &known, &names) {
                Err(Some(complaint)) => draft.report.error(&node.at, &path, complaint),
                Err(None) => {}
                Ok(to) => {
                    let target = known.get(to).and_then(Option::as_ref);
                    let kind = target.map(|key| key.kind);
                    let wanted = condition.and_then(Node::as_text);
                    if let (Some(kind), Some(condition)) = (kind, condition)
                        && kind != Kind::Job
                        && wanted == Some("complete")
                    {
                        let complaint =
                            Complaint::new(format!("a {kind} is never complete, only a job is"))
                                .help("write \"available\" or \"started\"");
                        draft.report.error(&condition.at, &path, complaint);
                    }
                    edges.push(Edge { to, place: node.at.clone(), path });
                }
            }
        }
        all.push(edges);
    }
    all
}

/// The draft that a name means. `Err(None)`: there is one, in a file whose kind is unreadable.
fn resolve(
    name: &str,
    known: &[Option<UnitKey>],
    names: &BTreeSet<String>,
) -> Result<usize, Option<Complaint>> {
    let matches: Vec<(usize, &UnitKey)> = known
        .iter()
        .enumerate()
        .filter_map(|(at, key)| Some((at, key.as_ref()?)))
        .filter(|(_, key)| key.name.as_str() == name || key.to_string() == name)
        .collect();
    let mut kinds: Vec<&UnitKey> = matches.iter().map(|(_, key)| *key).collect();
    kinds.dedup();
    match (matches.as_slice(), kinds.as_slice()) {
        ([(_, key), ..], [_]) if key.kind == Kind::CronJob => Err(Some(
            Complaint::new(format!(
                "`{name}` is a cronjob: it is never available, its jobs come and go"
            ))
            .help("depend on a job or a service"),
        )),
        ([(at, _), ..], [_]) => Ok(*at),
        ([], _) | (_, []) if names.contains(name) => Err(None),
        ([], _) | (_, []) => {
            let complaint = Complaint::new(format!("there is no unit `{name}`"));
            let near = super::suggest::near(name, names.iter().map(String::as_str));
            Err(Some(complaint.help(match near {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "a dependency is the name of another unit file's unit".to_owned(),
            })))
        }
        (_, several) => {
            let list: Vec<String> = several.iter().map(|key| format!("\"{key}\"")).collect();
            Err(Some(
                Complaint::new(format!("`{name}` may mean several units"))
                    .help(format!("write one of {}", list.join(", "))),
            ))
        }
    }
}

/// Complains in every unit of a cycle, each time with the whole cycle.
fn cycles(drafts: &mut [Draft], edges: &[Vec<Edge>]) {
    let label = |at: usize| {
        let draft = drafts.get(at);
        draft.and_then(|d| d.identity.name.as_ref()).map(ToString::to_string).unwrap_or_default()
    };
    let mut complaints = Vec::new();
    for start in 0..edges.len() {
        for edge in edges.get(start).map(Vec::as_slice).unwrap_or_default() {
            let Some(way) = way_back(edges, edge.to, start) else { continue };
            let mut names = vec![label(start)];
            names.extend(way.iter().map(|at| label(*at)));
            let complaint =
                Complaint::new(format!("the dependencies form a circle: {}", names.join(" -> ")))
                    .help("remove one of them");
            complaints.push((start, edge.place.clone(), edge.path.clone(), complaint));
        }
    }
    for (at, place, path, complaint) in complaints {
        if let Some(draft) = drafts.get_mut(at) {
            draft.report.error(&place, &path, complaint);
        }
    }
}

/// The shortest way along the edges, both ends included.
fn way_back(edges: &[Vec<Edge>], from: usize, to: usize) -> Option<Vec<usize>> {
    let mut before: BTreeMap<usize, usize> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([from]);
    while let Some(at) = queue.pop_front() {
        if at == to {
            let mut way = vec![to];
            let mut here = to;
            while here != from {
                here = *before.get(&here)?;
                way.push(here);
            }
            way.reverse();
            return Some(way);
        }
        for edge in edges.get(at).map(Vec::as_slice).unwrap_or_default() {
            if edge.to != from && !before.contains_key(&edge.to) {
                before.insert(edge.to, at);
                queue.push_back(edge.to);
            }
        }
    }
    None
}
