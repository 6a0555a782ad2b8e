//! Rules between units: which file replaces which, two files of one identity, dependencies.
//!
//! Responsible for what no file can be wrong about alone. Must not look into values that concern
//! one unit only.

use super::complaint::Complaint;
use super::load::Draft;
use super::tree::{Node, Place};
use crate::core::id::{Kind, UnitKey, UnitName};
use std::collections::BTreeMap;

/// Drops the drafts that a higher layer replaces. A wrong file replaces as well, or a typing error
/// would silently bring back the version below it.
pub(super) fn replace(drafts: &mut Vec<Draft>) {
    let mut by_name: BTreeMap<UnitName, Vec<(usize, Option<Kind>)>> = BTreeMap::new();
    for draft in drafts.iter() {
        if let Some(name) = &draft.identity.name {
            by_name.entry(name.clone()).or_default().push((draft.layer, draft.identity.kind));
        }
    }
    drafts.retain(|draft| {
        let namesakes = draft.identity.name.as_ref().and_then(|name| by_name.get(name));
        let replaced = |(layer, kind): &(usize, Option<Kind>)| {
            *layer > draft.layer && (kind.is_none() || *kind == draft.identity.kind)
        };
        !namesakes.is_some_and(|namesakes| namesakes.iter().any(replaced))
    });
}

/// Every check between units.
pub(super) fn across(drafts: &mut [Draft]) {
    twins(drafts);
    let edges = dependencies(drafts);
    cycles(drafts, &edges);
    addresses(drafts);
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

/// One written address.
struct Listens {
    unit: usize,
    place: Place,
    path: String,
}

/// Two units that listen at one place, as it is written: only one of them will. No error, since a
/// `node_selector` may keep them apart.
fn addresses(drafts: &mut [Draft]) {
    let mut by_place: BTreeMap<(String, String), Vec<Listens>> = BTreeMap::new();
    for (at, draft) in drafts.iter().enumerate() {
        let sockets = draft.table.get("sockets").map(Node::items).unwrap_or_default();
        for (number, socket) in sockets.iter().filter_map(Node::as_table).enumerate() {
            if socket.get("reuse_port").and_then(Node::as_bool) == Some(true) {
                continue;
            }
            let text = |key: &str| socket.get(key).and_then(Node::as_text);
            let Some(listen) = socket.get("listen") else { continue };
            let Some(address) = listen.as_text() else { continue };
            let place = (text("protocol").unwrap_or("tcp").to_owned(), address.to_owned());
            let path = format!("sockets[{number}].listen");
            let listens = Listens { unit: at, place: listen.at.clone(), path };
            by_place.entry(place).or_default().push(listens);
        }
    }
    let mut complaints = Vec::new();
    for ((_, address), members) in &by_place {
        for Listens { unit, place, path } in members {
            let others = members.iter().filter(|other| other.unit != *unit);
            let others = others.filter_map(|other| key_of(drafts.get(other.unit)?));
            let others: Vec<String> = others.map(|key| key.to_string()).collect();
            if !others.is_empty() {
                let complaint =
                    Complaint::new(format!("{address} is also {}'s", others.join(", ")))
                        .help("give one of them another address; only one can listen on it");
                complaints.push((*unit, place.clone(), path.clone(), complaint));
            }
        }
    }
    for (at, place, path, complaint) in complaints {
        if let Some(draft) = drafts.get_mut(at) {
            draft.report.warning(&place, &path, complaint);
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
    let mut known = Known::default();
    for (at, draft) in drafts.iter().enumerate() {
        if let Some(name) = &draft.identity.name {
            known.entry(name.to_string()).or_default().push((at, draft.identity.kind));
        }
    }
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
            match resolve(name, &known) {
                Err(Some(complaint)) => draft.report.error(&node.at, &path, complaint),
                Err(None) => {}
                Ok((to, kind)) => {
                    if let Some(condition) = condition
                        && condition.as_text() == Some("complete")
                        && kind != Kind::Job
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

/// All drafts by name; no kind: it is unreadable.
type Known = BTreeMap<String, Vec<(usize, Option<Kind>)>>;

/// The draft that `NAME` or `KIND/NAME` means. `Err(None)`: there is one, in a file whose kind is
/// unreadable.
fn resolve(written: &str, known: &Known) -> Result<(usize, Kind), Option<Complaint>> {
    let (wanted, name) = match written.split_once('/') {
        Some((kind, name)) => (Kind::parse(kind), name),
        None => (None, written),
    };
    let named = known.get(name).map(Vec::as_slice).unwrap_or_default();
    let mut matches: Vec<(usize, Kind)> =
        named.iter().filter_map(|(at, kind)| Some((*at, (*kind)?))).collect();
    matches.retain(|(_, kind)| wanted.is_none_or(|wanted| wanted == *kind));
    // Two files of one identity are complained about elsewhere.
    matches.dedup_by_key(|(_, kind)| *kind);
    match matches.as_slice() {
        [(_, Kind::CronJob)] => Err(Some(
            Complaint::new(format!(
                "`{written}` is a cronjob: it is never available, its jobs come and go"
            ))
            .help("depend on a job or a service"),
        )),
        [(at, kind)] => Ok((*at, *kind)),
        [] if named.iter().any(|(_, kind)| kind.is_none()) => Err(None),
        [] => {
            let complaint = Complaint::new(format!("there is no unit `{written}`"));
            let near = super::suggest::near(name, known.keys().map(String::as_str));
            Err(Some(complaint.help(match near {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "a dependency is the name of another unit file's unit".to_owned(),
            })))
        }
        several => {
            let list: Vec<String> =
                several.iter().map(|(_, kind)| format!("\"{kind}/{name}\"")).collect();
            Err(Some(
                Complaint::new(format!("`{written}` may mean several units"))
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
    for start in on_or_between_circles(edges) {
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

/// Drops all that depends on nothing, again and again: what is left is on a circle or leads to one.
fn on_or_between_circles(edges: &[Vec<Edge>]) -> Vec<usize> {
    let mut open: Vec<usize> = edges.iter().map(Vec::len).collect();
    let mut users: Vec<Vec<usize>> = edges.iter().map(|_| Vec::new()).collect();
    for (from, edge) in
        edges.iter().enumerate().flat_map(|(n, all)| all.iter().map(move |e| (n, e)))
    {
        if let Some(list) = users.get_mut(edge.to) {
            list.push(from);
        }
    }
    let mut free: Vec<usize> = (0..open.len()).filter(|at| open.get(*at) == Some(&0)).collect();
    while let Some(at) = free.pop() {
        for user in users.get(at).map(Vec::as_slice).unwrap_or_default() {
            if let Some(count) = open.get_mut(*user) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    free.push(*user);
                }
            }
        }
    }
    (0..open.len()).filter(|at| open.get(*at).is_some_and(|count| *count > 0)).collect()
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
