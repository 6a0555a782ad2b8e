//! Answers that only read: lists, descriptions, events, histories.
//!
//! Responsible for which views an answer is made of. Must not change anything.

use super::lines::{self, Gone, Lines};
use super::target::{self, Found, Selector};
use super::{Api, facts};
use crate::api::events::EventLog;
use crate::api::types::{
    ApiError, Description, ErrorCode, Event, FieldJson, Instance, InvalidFile, Overview, Revision,
    Unit, Watched, time,
};
use crate::core::Core;
use crate::core::id::{Kind, UnitKey};
use crate::core::report::Report;
use crate::core::view::UnitView;
use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A watched list is sent at most so often, however fast things change.
const WATCH_GAP: Duration = Duration::from_millis(100);

/// What a list is to hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// A target; all if it is not given.
    target: Option<String>,
    /// Units only: kinds and targets, separated by commas.
    what: Option<String>,
    /// A label selector.
    selector: Option<String>,
    /// Go on with what changes.
    #[serde(default)]
    watch: bool,
}

impl ListQuery {
    /// Instances, once.
    pub(super) fn of(target: Option<String>, selector: Option<String>) -> ListQuery {
        ListQuery { target, selector, ..ListQuery::default() }
    }

    fn selector(&self) -> Result<Selector, ApiError> {
        Selector::parse(self.selector.as_deref().unwrap_or_default())
    }
}

/// `GET /v1/instances`.
pub(super) async fn instances(
    State(api): State<Api>,
    Query(query): Query<ListQuery>,
) -> Result<Response, ApiError> {
    let watch = query.watch;
    let state_dir = api.door.daemon().state_dir.clone();
    list(api, watch, move |core| {
        let list = select_instances(core, &query, &state_dir)?;
        Ok(list.into_iter().map(|one| (one.name.clone(), one)).collect())
    })
    .await
}

/// `GET /v1/units`.
pub(super) async fn units(
    State(api): State<Api>,
    Query(query): Query<ListQuery>,
) -> Result<Response, ApiError> {
    let watch = query.watch;
    list(api, watch, move |core| {
        let list = select_units(core, &query)?;
        Ok(list.iter().map(|unit| (unit.key.to_string(), Unit::from(unit))).collect())
    })
    .await
}

/// `GET /v1/overview`: what `ps` shows as a table.
pub(super) async fn overview(
    State(api): State<Api>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Overview>, ApiError> {
    let state_dir = api.door.daemon().state_dir.clone();
    let overview = api
        .door
        .read(move |core| {
            let selector = query.selector()?;
            let everything = query.target.is_none() && selector.is_empty();
            let mut units = match &query.target {
                None => core.units(),
                Some(text) => units_around(core, text)?,
            };
            units.retain(|unit| selector.matches(&unit.labels));
            Ok::<_, ApiError>(Overview {
                instances: select_instances(core, &query, &state_dir)?,
                units: units.iter().map(Unit::from).collect(),
                invalid: if everything {
                    core.invalid_files().iter().map(InvalidFile::from).collect()
                } else {
                    Vec::new()
                },
            })
        })
        .await??;
    Ok(Json(overview))
}

/// A unit and, of a cronjob, its jobs.
fn units_around(core: &Core, text: &str) -> Result<Vec<UnitView>, ApiError> {
    Ok(match target::find(core, text)? {
        Found::Unit(unit) => {
            let jobs = jobs_of(core, &unit.key);
            std::iter::once(unit).chain(jobs).collect()
        }
        Found::Instance(instance) => core.unit(&instance.unit).into_iter().collect(),
    })
}

fn jobs_of(core: &Core, key: &UnitKey) -> Vec<UnitView> {
    if key.kind != Kind::CronJob {
        return Vec::new();
    }
    core.units().into_iter().filter(|unit| unit.owner.as_ref() == Some(key)).collect()
}

pub(super) fn select_instances(
    core: &Core,
    query: &ListQuery,
    state_dir: &Path,
) -> Result<Vec<Instance>, ApiError> {
    let selector = query.selector()?;
    let mut views = match query.target.as_deref() {
        None => core.instances(),
        Some(text) => match target::find(core, text)? {
            Found::Unit(unit) => core.instances_of(&unit.key),
            Found::Instance(instance) => vec![instance],
        },
    };
    if !selector.is_empty() {
        let selected: BTreeMap<UnitKey, bool> = core
            .units()
            .into_iter()
            .map(|unit| (unit.key, selector.matches(&unit.labels)))
            .collect();
        views.retain(|view| selected.get(&view.unit).copied().unwrap_or(false));
    }
    Ok(views.iter().map(|view| Instance::new(view, state_dir)).collect())
}

/// The units that the words of `get` mean: kinds, `all`, `kind/name`; none: all.
fn select_units(core: &Core, query: &ListQuery) -> Result<Vec<UnitView>, ApiError> {
    let selector = query.selector()?;
    let words = query.what.as_deref().or(query.target.as_deref()).unwrap_or("all");
    let mut chosen: BTreeMap<UnitKey, UnitView> = BTreeMap::new();
    for word in words.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let units = if word == "all" || word == "units" {
            core.units()
        } else if let Some(kind) = Kind::parse(word) {
            core.units().into_iter().filter(|unit| unit.key.kind == kind).collect()
        } else {
            match target::find(core, word) {
                Ok(Found::Unit(unit)) => vec![unit],
                Ok(Found::Instance(instance)) => core.unit(&instance.unit).into_iter().collect(),
                Err(error) => return Err(target::kind_slip(word).unwrap_or(error)),
            }
        };
        chosen.extend(units.into_iter().map(|unit| (unit.key.clone(), unit)));
    }
    Ok(chosen.into_values().filter(|unit| selector.matches(&unit.labels)).collect())
}

/// Answers with a list, or with its changes for as long as the client listens.
async fn list<T, F>(api: Api, watch: bool, read: F) -> Result<Response, ApiError>
where
    T: Serialize + PartialEq + Clone + Send + Sync + 'static,
    F: Fn(&Core) -> Result<Vec<(String, T)>, ApiError> + Send + Sync + 'static,
{
    let read = Arc::new(read);
    let first = read_shared(&api, &read).await?;
    if !watch {
        let list: Vec<T> = first.into_iter().map(|(_, one)| one).collect();
        return Ok(Json(list).into_response());
    }
    let server = api.clone();
    Ok(lines::answer(&server, lines::JSON_LINES, async move |out: Lines| {
        let mut changes = api.door.changes();
        let mut known: Vec<(String, T)> = Vec::new();
        let mut synced = false;
        loop {
            // A target that has gone has no instances any more; it may come back.
            let now = match read_shared(&api, &read).await {
                Ok(now) => now,
                Err(error) if error.code == ErrorCode::NotFound => Vec::new(),
                Err(_) => return Ok(()),
            };
            send_changes(&out, &known, &now).await?;
            known = now;
            if !synced {
                out.object(&Watched::<T> { change: "synced".to_owned(), object: None }).await?;
                synced = true;
            }
            if changes.changed().await.is_err() {
                return Ok(());
            }
            tokio::time::sleep(WATCH_GAP).await;
            changes.mark_unchanged();
        }
    }))
}

async fn read_shared<T, F>(api: &Api, read: &Arc<F>) -> Result<Vec<(String, T)>, ApiError>
where
    T: Send + 'static,
    F: Fn(&Core) -> Result<Vec<(String, T)>, ApiError> + Send + Sync + 'static,
{
    let read = Arc::clone(read);
    api.door.read(move |core| read(core)).await?
}

/// `GET /v1/changes`: a line at once, and one whenever something that an answer shows may have
/// changed, for clients that would rather read anew than follow a list.
pub(super) async fn changes(State(api): State<Api>) -> Response {
    let server = api.clone();
    lines::answer(&server, lines::JSON_LINES, async move |out: Lines| {
        let mut changes = api.door.changes();
        loop {
            let version = *changes.borrow_and_update();
            out.object(&serde_json::json!({ "version": version })).await?;
            if changes.changed().await.is_err() {
                return Ok(());
            }
            tokio::time::sleep(WATCH_GAP).await;
        }
    })
}

/// Sends what differs between two states of a list.
async fn send_changes<T: Serialize + PartialEq + Clone>(
    out: &Lines,
    before: &[(String, T)],
    after: &[(String, T)],
) -> Result<(), Gone> {
    let line = |change: &str, object: &T| Watched {
        change: change.to_owned(),
        object: Some(object.clone()),
    };
    let old: BTreeMap<&str, &T> = before.iter().map(|(key, one)| (key.as_str(), one)).collect();
    let new: BTreeMap<&str, &T> = after.iter().map(|(key, one)| (key.as_str(), one)).collect();
    for (key, one) in before {
        if !new.contains_key(key.as_str()) {
            out.object(&line("removed", one)).await?;
        }
    }
    for (key, one) in after {
        match old.get(key.as_str()) {
            None => out.object(&line("added", one)).await?,
            Some(known) if *known != one => out.object(&line("modified", one)).await?,
            Some(_) => {}
        }
    }
    Ok(())
}

/// A target.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TargetQuery {
    target: String,
}

/// How many events a description shows.
const DESCRIBED_EVENTS: usize = 20;

/// `GET /v1/describe`.
pub(super) async fn describe(
    State(api): State<Api>,
    Query(query): Query<TargetQuery>,
) -> Result<Json<Description>, ApiError> {
    let state_dir: PathBuf = api.door.daemon().state_dir.clone();
    let (mut description, about) = api
        .door
        .read(move |core| {
            let found = target::find(core, &query.target)?;
            let key = found.unit_key().clone();
            let wire = |view| Instance::new(view, &state_dir);
            let (instance, instances) = match &found {
                Found::Unit(_) => (None, core.instances_of(&key).iter().map(wire).collect()),
                Found::Instance(view) => (Some(wire(view)), Vec::new()),
            };
            let description = Description {
                unit: core.unit(&key).as_ref().map(Unit::from),
                facts: core.spec(&key).as_ref().map(facts::of).unwrap_or_default(),
                jobs: match found {
                    Found::Unit(_) => jobs_of(core, &key).iter().map(Unit::from).collect(),
                    Found::Instance(_) => Vec::new(),
                },
                instance,
                instances,
                events: Vec::new(),
            };
            Ok::<_, ApiError>((description, About::from(&found)))
        })
        .await??;
    let events = matching(api.door.events(), Some(&about));
    let skip = events.len().saturating_sub(DESCRIBED_EVENTS);
    if let Some(pid) = description.instance.as_ref().and_then(|instance| instance.pid) {
        let runner = api.door.runner();
        // Beside the runtime's thread, as it reads files.
        let read = tokio::task::spawn_blocking(move || facts::in_force(pid, &runner));
        description.facts.extend(read.await.unwrap_or_default());
    }
    description.events = events.iter().skip(skip).map(|r| Event::from(r.as_ref())).collect();
    Ok(Json(description))
}

/// What events are to be about.
#[derive(Clone, Debug)]
enum About {
    Unit(UnitKey),
    Instance(String),
    /// A name that nothing has any more: its last events are worth the most.
    Name(String),
    /// The same with its kind.
    Former(Kind, String),
}

impl From<&Found> for About {
    fn from(found: &Found) -> Self {
        match found {
            Found::Unit(unit) => About::Unit(unit.key.clone()),
            Found::Instance(instance) => About::Instance(instance.name.clone()),
        }
    }
}

impl About {
    fn matches(&self, report: &Report) -> bool {
        match self {
            About::Unit(key) => report.unit.as_ref() == Some(key),
            About::Instance(name) => report.instance.as_ref() == Some(name),
            About::Name(name) => {
                report.instance.as_ref() == Some(name)
                    || report.unit.as_ref().is_some_and(|unit| unit.name.as_str() == name)
            }
            About::Former(kind, name) => report
                .unit
                .as_ref()
                .is_some_and(|unit| unit.kind == *kind && unit.name.as_str() == name),
        }
    }
}

fn matching(log: &EventLog, about: Option<&About>) -> Vec<Arc<Report>> {
    let mut reports = log.all();
    reports.retain(|report| about.is_none_or(|about| about.matches(report)));
    reports
}

/// Which events.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    target: Option<String>,
    #[serde(default)]
    watch: bool,
}

/// `GET /v1/events`: one a line, oldest first.
pub(super) async fn events(
    State(api): State<Api>,
    Query(query): Query<EventsQuery>,
) -> Result<Response, ApiError> {
    let about = match query.target {
        None => None,
        Some(text) => Some(events_about(&api, text).await?),
    };
    let server = api.clone();
    Ok(lines::answer(&server, lines::JSON_LINES, async move |out: Lines| {
        let mut follower = api.door.events().follow();
        loop {
            let batch = follower.take();
            if batch.lost > 0 {
                out.object(&lost(batch.lost, batch.reports.first())).await?;
            }
            for report in &batch.reports {
                if about.as_ref().is_none_or(|about| about.matches(report)) {
                    out.object(&Event::from(report.as_ref())).await?;
                }
            }
            if !query.watch {
                return Ok(());
            }
            follower.changed().await;
        }
    }))
}

/// Events are also told of what is gone, if any are remembered.
async fn events_about(api: &Api, text: String) -> Result<About, ApiError> {
    let found = {
        let text = text.clone();
        api.door.read(move |core| target::find(core, &text).map(|f| About::from(&f))).await?
    };
    match found {
        Ok(about) => Ok(about),
        Err(error) if error.code == ErrorCode::NotFound => {
            let former = match text.split_once('/') {
                Some((word, name)) => match Kind::parse(word) {
                    Some(kind) => About::Former(kind, name.to_owned()),
                    None => About::Instance(name.to_owned()),
                },
                None => About::Name(text),
            };
            if matching(api.door.events(), Some(&former)).is_empty() {
                return Err(error);
            }
            Ok(former)
        }
        Err(error) => Err(error),
    }
}

/// Told in the place of events that a slow client did not read in time.
fn lost(count: u64, next: Option<&Arc<Report>>) -> Event {
    Event {
        time: next.map_or(jiff::Timestamp::UNIX_EPOCH, |report| time(report.time)),
        severity: "Warning".to_owned(),
        reason: "EventsLost".to_owned(),
        kind: None,
        name: None,
        instance: None,
        message: format!("{count} events came faster than they were read"),
        fields: BTreeMap::from([("count".to_owned(), count.into())]),
    }
}

/// `GET /v1/rollout/history`: oldest first.
pub(super) async fn history(
    State(api): State<Api>,
    Query(query): Query<TargetQuery>,
) -> Result<Json<Vec<Revision>>, ApiError> {
    let list = api
        .door
        .read(move |core| {
            let found = target::find(core, &query.target)?;
            let key = found.unit_key();
            match key.kind {
                Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet => {}
                Kind::Job | Kind::CronJob => return Err(no_rollout(key)),
            }
            Ok(revisions(core, key))
        })
        .await??;
    Ok(Json(list))
}

/// The error for roll-out verbs on kinds that have none.
pub(super) fn no_rollout(key: &UnitKey) -> ApiError {
    ApiError::new(ErrorCode::Usage, format!("{key}: a {} has no roll-outs", key.kind))
        .help("deployments, statefulsets and daemonsets have")
}

fn revisions(core: &Core, key: &UnitKey) -> Vec<Revision> {
    let history = core.history(key);
    let newest = history.iter().map(|entry| entry.revision).max();
    let mut before: Option<serde_json::Value> = None;
    let mut list = Vec::new();
    for entry in &history {
        let template = serde_json::to_value(entry.template.as_ref()).unwrap_or_default();
        let changes = before.as_ref().map(|old| differences(old, &template)).unwrap_or_default();
        before = Some(template);
        list.push(Revision {
            revision: entry.revision,
            earlier: entry.earlier.clone(),
            created_at: time(entry.created),
            instances: entry.instances,
            current: Some(entry.revision) == newest,
            changes,
            facts: facts::of_template(&entry.template),
        });
    }
    list
}

/// The leaves that differ between two trees; a list is one leaf.
fn differences(old: &serde_json::Value, new: &serde_json::Value) -> Vec<FieldJson> {
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    leaves(old, String::new(), &mut before);
    leaves(new, String::new(), &mut after);
    let mut paths: Vec<_> = before.keys().chain(after.keys()).cloned().collect();
    paths.sort();
    paths.dedup();
    paths
        .into_iter()
        .filter_map(|path| {
            let (old, new) = (before.remove(&path), after.remove(&path));
            (old != new).then_some(FieldJson { path, old, new })
        })
        .collect()
}

fn leaves(value: &serde_json::Value, path: String, out: &mut BTreeMap<String, String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(value, path, out);
            }
        }
        // What is not set is the same as what is not there.
        serde_json::Value::Null => {}
        other => {
            out.insert(path, other.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn differences_name_the_leaves() {
        let old =
            json!({ "process": { "env": { "A": "1", "B": "2" }, "command": ["x"] }, "n": null });
        let new = json!({ "process": { "env": { "A": "1", "B": "3" }, "command": ["x", "y"] } });
        let got: Vec<_> = differences(&old, &new)
            .into_iter()
            .map(|d| format!("{}: {:?} -> {:?}", d.path, d.old, d.new))
            .collect();
        assert_eq!(
            got,
            [
                r#"process.command: Some("[\"x\"]") -> Some("[\"x\",\"y\"]")"#,
                r#"process.env.B: Some("\"2\"") -> Some("\"3\"")"#,
            ]
        );
    }
}
