//! From the words of a target to a unit or an instance.
//!
//! Responsible for `kind/name`, bare names, instance names and label selectors, and for what is
//! said when nothing or too much is meant. Must not act on what it finds.

use crate::api::types::{ApiError, ErrorCode};
use crate::core::Core;
use crate::core::id::{Kind, UnitKey, UnitName};
use crate::core::view::{InstanceView, UnitView};
use std::collections::BTreeMap;

/// What a target means.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// A unit.
    Unit(UnitView),
    /// An instance.
    Instance(InstanceView),
}

impl Found {
    /// The unit, or the instance's unit.
    pub(super) fn unit_key(&self) -> &UnitKey {
        match self {
            Found::Unit(unit) => &unit.key,
            Found::Instance(instance) => &instance.unit,
        }
    }
}

/// How the word before a slash may call an instance.
const INSTANCE_WORDS: [&str; 5] = ["instance", "instances", "pod", "pods", "po"];

/// Finds what `text` means.
///
/// # Errors
/// Nothing is meant, or more than one thing.
pub(super) fn find(core: &Core, text: &str) -> Result<Found, ApiError> {
    match text.split_once('/') {
        Some((word, name)) if INSTANCE_WORDS.contains(&word) => core
            .instance(name)
            .map(Found::Instance)
            .ok_or_else(|| not_found(format!("there is no instance `{name}`"), core, name, None)),
        Some((word, name)) => {
            let kind = kind(word)?;
            unit(core, kind, name).map(Found::Unit).ok_or_else(|| no_unit(core, kind, name))
        }
        None => bare(core, text),
    }
}

/// Reads a kind's word.
///
/// # Errors
/// It is not one, with the nearest one that is.
pub(super) fn kind(word: &str) -> Result<Kind, ApiError> {
    Kind::parse(word).ok_or_else(|| {
        let error = ApiError::new(ErrorCode::Usage, format!("`{word}` is not a kind"));
        match word.to_ascii_lowercase().as_str() {
            "replicaset" | "replicasets" | "rs" => error
                .help("a deployment keeps its replicasets itself: `rollout history` shows them"),
            lower => {
                let near = nearest(lower, Kind::ALL.iter().map(|k| k.as_str().to_owned()));
                error.help(near.map_or_else(
                    || {
                        let words: Vec<_> = Kind::ALL.iter().map(|k| k.as_str()).collect();
                        format!("the kinds are {}", words.join(", "))
                    },
                    |near| format!("did you mean `{near}`?"),
                ))
            }
        }
    })
}

/// The error for a word that was probably meant as a kind.
pub(super) fn kind_slip(word: &str) -> Option<ApiError> {
    let near = |error: &ApiError| error.help.as_ref().is_some_and(|h| !h.starts_with("the kinds"));
    kind(word).err().filter(near)
}

/// The unit of this kind and name.
pub(super) fn unit(core: &Core, kind: Kind, name: &str) -> Option<UnitView> {
    let name = UnitName::new(name).ok()?;
    core.unit(&UnitKey::new(kind, name))
}

/// All units that an operator means by `--all`: those that no cronjob made.
pub(super) fn all(core: &Core) -> Vec<UnitView> {
    core.units().into_iter().filter(|unit| unit.owner.is_none()).collect()
}

fn bare(core: &Core, name: &str) -> Result<Found, ApiError> {
    let mut found: Vec<Found> = Kind::ALL
        .iter()
        .filter_map(|kind| unit(core, *kind, name))
        .map(Found::Unit)
        .chain(core.instance(name).map(Found::Instance))
        .collect();
    if found.len() > 1 {
        let names: Vec<_> = found
            .iter()
            .map(|f| match f {
                Found::Unit(unit) => unit.key.to_string(),
                Found::Instance(instance) => format!("instance/{}", instance.name),
            })
            .collect();
        return Err(ApiError::new(
            ErrorCode::Usage,
            format!("`{name}` may mean {}", names.join(" or ")),
        )
        .help("write the kind as well"));
    }
    found.pop().ok_or_else(|| {
        not_found(format!("there is no unit or instance `{name}`"), core, name, None)
    })
}

/// The error for a unit that is not there.
pub(super) fn no_unit(core: &Core, kind: Kind, name: &str) -> ApiError {
    not_found(format!("there is no {kind} `{name}`"), core, name, Some(kind))
}

fn not_found(message: String, core: &Core, name: &str, kind: Option<Kind>) -> ApiError {
    let error = ApiError::new(ErrorCode::NotFound, message);
    let invalid = core
        .invalid_files()
        .into_iter()
        .find(|file| file.key.name.as_str() == name && kind.is_none_or(|k| k == file.key.kind));
    if let Some(file) = invalid {
        return error.help(format!("its unit file is invalid: {}", file.message));
    }
    let units = core.units();
    // The same name under another kind is the likeliest slip.
    if let Some(other) = units.iter().find(|unit| unit.key.name.as_str() == name) {
        return error.help(format!("did you mean `{}`?", other.key));
    }
    let instances = core.instances();
    let names = units
        .iter()
        .map(|unit| unit.key.name.to_string())
        .chain(instances.iter().map(|instance| instance.name.clone()));
    match nearest(name, names) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error.help("`wsup ctl ps` lists what there is"),
    }
}

/// The candidate that is the fewest slips away, if it is near enough to be meant.
fn nearest(word: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    /// One slip in three letters, as compilers have it.
    const LETTERS_PER_SLIP: usize = 3;
    let limit = (word.chars().count() / LETTERS_PER_SLIP).max(1);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(word, &candidate), candidate))
        .filter(|(slips, _)| *slips <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// A label selector: `k=v`, `k!=v`, `k`, `!k`, joined by commas (Kubernetes' equality-based ones).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selector(Vec<Term>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Is(String, String),
    IsNot(String, String),
    Has(String),
    HasNot(String),
}

impl Selector {
    /// Reads a selector; an empty text selects everything.
    ///
    /// # Errors
    /// A term without a label.
    pub(super) fn parse(text: &str) -> Result<Selector, ApiError> {
        let mut terms = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let term = if let Some((key, value)) = part.split_once("!=") {
                Term::IsNot(key.trim().to_owned(), value.trim().to_owned())
            } else if let Some((key, value)) = part.split_once('=') {
                let value = value.strip_prefix('=').unwrap_or(value);
                Term::Is(key.trim().to_owned(), value.trim().to_owned())
            } else if let Some(key) = part.strip_prefix('!') {
                Term::HasNot(key.trim().to_owned())
            } else {
                Term::Has(part.to_owned())
            };
            let (Term::Is(key, _) | Term::IsNot(key, _) | Term::Has(key) | Term::HasNot(key)) =
                &term;
            if key.is_empty() {
                return Err(ApiError::new(
                    ErrorCode::Usage,
                    format!("`{part}` does not name a label"),
                )
                .help("a selector is written `-l key=value`"));
            }
            terms.push(term);
        }
        Ok(Selector(terms))
    }

    /// Whether it selects everything.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether these labels are selected.
    pub(super) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|term| match term {
            Term::Is(key, value) => labels.get(key) == Some(value),
            Term::IsNot(key, value) => labels.get(key) != Some(value),
            Term::Has(key) => labels.contains_key(key),
            Term::HasNot(key) => !labels.contains_key(key),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_kubernetes_equality_based_ones() {
        let labels = BTreeMap::from([("tier".to_owned(), "web".to_owned())]);
        for (text, selected) in [
            ("", true),
            ("tier=web", true),
            ("tier==web", true),
            ("tier=db", false),
            ("tier!=db", true),
            ("zone!=a", true),
            ("tier", true),
            ("zone", false),
            ("!zone", true),
            ("!tier", false),
            ("tier=web, zone", false),
        ] {
            let selector = Selector::parse(text).unwrap();
            assert_eq!(selector.matches(&labels), selected, "{text}");
        }
        assert!(Selector::parse("=web").is_err());
    }

    #[test]
    fn kinds_are_taken_as_kubectl_takes_them() {
        assert_eq!(kind("deploy").unwrap(), Kind::Deployment);
        assert_eq!(kind("sts").unwrap(), Kind::StatefulSet);
        assert_eq!(kind("deploymnt").unwrap_err().help.unwrap(), "did you mean `deployment`?");
        assert!(kind("rs").unwrap_err().help.unwrap().contains("rollout history"));
    }
}
