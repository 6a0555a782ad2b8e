//! What to say about a key that a table does not have: another kind's, another table's, another
//! tool's, or a slip of the fingers.

use super::complaint::Complaint;
use super::keys::{self, Key, Shape};
use super::suggest;
use super::walk::{in_brackets, join};
use crate::core::id::Kind;

/// What to say about a key that this table does not have.
pub(super) fn unknown_key(
    name: &str,
    keys: &'static [Key],
    kind: Option<Kind>,
    path: &str,
) -> Complaint {
    let ours = suggest::in_our_spelling(name);
    let of_kind = || keys.iter().filter(|key| kind.is_none_or(|kind| key.kinds.has(kind)));
    // Another kind's key.
    if let (Some(kind), Some(key)) = (kind, keys::find(keys, None, name)) {
        let owners: Vec<&str> = keys
            .iter()
            .filter(|other| other.name == key.name)
            .flat_map(|other| other.kinds.list())
            .map(Kind::as_str)
            .collect();
        let shown = if path.is_empty() && matches!(key.shape, Shape::Table(_) | Shape::Tables(_)) {
            format!("[{name}]")
        } else {
            format!("`{name}`")
        };
        return Complaint::new(format!(
            "a {kind} has no {shown}; it belongs to {}",
            listed(&owners)
        ))
        .help(format!("remove {shown}, or change `kind`"));
    }
    let unknown = Complaint::new(format!("unknown key `{name}` in {}", in_brackets(path)));
    if let Some(key) = of_kind().find(|key| key.name == ours) {
        return unknown.help(format!("did you mean `{}`?", key.name));
    }
    if let Some(place) = elsewhere(name, &ours, kind, path) {
        return unknown.help(place);
    }
    if let Some(near) = suggest::near(&ours, of_kind().map(|key| key.name)) {
        return unknown.help(format!("did you mean `{near}`?"));
    }
    if path.is_empty()
        && ["spec", "metadata", "apiVersion", "template", "containers"].contains(&name)
    {
        return unknown.help("a unit file is no Kubernetes manifest: `kind`, `name`, `replicas` stand at the top, the program in [process]");
    }
    let mut all: Vec<&str> = of_kind().map(|key| key.name).collect();
    all.dedup();
    unknown.help(format!("{} has: {}", in_brackets(path), all.join(", ")))
}

/// A key that more tables have is too general for a hint.
const PLACES_MAX: usize = 3;

/// Where a key of this name belongs, if another table has it.
fn elsewhere(name: &str, ours: &str, kind: Option<Kind>, path: &str) -> Option<String> {
    let mut paths = Vec::new();
    all_paths(keys::UNIT, kind, "", &mut paths);
    let mut found: Vec<String> = paths
        .iter()
        .filter(|(_, key)| *key == name || *key == ours)
        .map(|(table, key)| join(table, key))
        .collect();
    // A table beside this one is meant sooner than one somewhere else.
    if let Some((above, _)) = path.rsplit_once('.') {
        let beside = |full: &String| {
            full.rsplit_once('.').is_some_and(|(table, _)| {
                table.rsplit_once('.').is_some_and(|(parent, _)| parent == above)
            })
        };
        if found.iter().any(beside) {
            found.retain(beside);
        }
    }
    found.extend(suggest::foreign(ours).filter(|_| found.is_empty()).map(str::to_owned));
    let full = found.first()?;
    let Some((table, key)) = full.rsplit_once('.') else {
        return Some(format!("`{full}` belongs at the top of the file, before the first [table]"));
    };
    if table == path {
        return Some(format!("did you mean `{key}`?"));
    }
    let tables: Vec<String> = found
        .iter()
        .filter_map(|full| full.rsplit_once('.'))
        .map(|(table, _)| in_brackets(table))
        .take(PLACES_MAX)
        .collect();
    let tables = tables.join(" or ");
    Some(if key == name {
        format!("`{key}` belongs in {tables}")
    } else {
        format!("did you mean `{key}` in {tables}?")
    })
}

/// Every key of every table for a kind, the top first, then tables in their order.
fn all_paths(
    keys: &'static [Key],
    kind: Option<Kind>,
    path: &str,
    found: &mut Vec<(String, &'static str)>,
) {
    let of_kind = || keys.iter().filter(|key| kind.is_none_or(|kind| key.kinds.has(kind)));
    found.extend(of_kind().map(|key| (path.to_owned(), key.name)));
    for key in of_kind() {
        match key.shape {
            Shape::Table(inner) => all_paths(inner, kind, &join(path, key.name), found),
            // A key of `[[init]]` or `[[sockets]]` is too particular to be suggested.
            Shape::Tables(_) => {}
            Shape::Text | Shape::Word(..) | Shape::Owner | Shape::Bool | Shape::Int(..) => {}
            Shape::Positive(_) | Shape::Factor | Shape::Duration(_) | Shape::Size(_) => {}
            Shape::DurationOrNever(_) | Shape::Amount(_) | Shape::OneOf(_) | Shape::Command => {}
            Shape::CommandOrSignal | Shape::Texts(..) | Shape::Owners | Shape::Ints(..) => {}
            Shape::Map(..) | Shape::Limits | Shape::Dependencies | Shape::Nodes => {}
        }
    }
}

/// `a, b and c`.
fn listed(words: &[&str]) -> String {
    match words {
        [most @ .., end] if !most.is_empty() => format!("{} and {end}", most.join(", ")),
        few => few.concat(),
    }
}
