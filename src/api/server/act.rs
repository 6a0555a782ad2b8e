//! Verbs that change something.
//!
//! Responsible for turning words into the core's requests. Must not judge whether a request makes
//! sense for its target, beyond its being a unit or an instance: the core does.

use super::read::no_rollout;
use super::target::{self, Found};
use super::{Api, Caller};
use crate::api::types::{Acted, ApiError, Applied, Ask, ErrorCode, Verb};
use crate::core::Core;
use crate::core::id::{Kind, UnitKey};
use crate::core::request::{Refusal, Request, Target};
use crate::core::signal;
use axum::Json;
use axum::extract::{ConnectInfo, Query, State};
use serde::Deserialize;

/// How the files are to be read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApplyQuery {
    #[serde(default)]
    dry_run: bool,
}

/// `POST /v1/apply`.
pub(super) async fn apply(
    State(api): State<Api>,
    ConnectInfo(Caller(who)): ConnectInfo<Caller>,
    Query(query): Query<ApplyQuery>,
) -> Result<Json<Applied>, ApiError> {
    let outcome = api.unless_ended(api.door.apply(query.dry_run, who)).await??;
    outcome
        .map(|outcome| Json(Applied::from(outcome)))
        .map_err(|message| ApiError::new(ErrorCode::Failed, message))
}

/// How the daemon is to end.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShutdownQuery {
    #[serde(default)]
    keep_running: bool,
}

/// `POST /v1/shutdown`. Answers when the end begins.
pub(super) async fn shutdown(
    State(api): State<Api>,
    ConnectInfo(Caller(who)): ConnectInfo<Caller>,
    Query(query): Query<ShutdownQuery>,
) -> Result<Json<Acted>, ApiError> {
    // Not given up when the daemon ends: that is what is asked for.
    let answer = api.door.shutdown(query.keep_running, who).await?;
    let message = answer.map_err(|message| ApiError::new(ErrorCode::Failed, message))?;
    Ok(Json(Acted { messages: vec![message], ..Acted::default() }))
}

/// `POST /v1/actions`.
pub(super) async fn actions(
    State(api): State<Api>,
    ConnectInfo(Caller(who)): ConnectInfo<Caller>,
    Json(ask): Json<Ask>,
) -> Result<Json<Acted>, ApiError> {
    let requests = api.door.read(move |core| requests(core, &ask)).await??;
    let single = requests.len() == 1;
    let mut acted = Acted::default();
    for request in requests {
        match api.unless_ended(api.door.request(request, who)).await?? {
            Ok(done) => {
                acted.messages.extend(done.messages);
                acted.created.extend(done.created);
            }
            Err(refusal) if single => return Err(refused(refusal)),
            // One refusal does not keep the others from being done; all are told.
            Err(refusal) => acted.errors.push(refused(refusal)),
        }
    }
    Ok(Json(acted))
}

fn refused(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::NotFound(message) => ApiError::new(ErrorCode::NotFound, message),
        Refusal::Invalid(message) => ApiError::new(ErrorCode::Failed, message),
    }
}

/// Everything that is asked for, or the first reason against it: a slip in the third target keeps
/// the first two from being touched.
///
/// # Errors
/// A target that is not there or cannot be meant.
pub fn requests(core: &Core, ask: &Ask) -> Result<Vec<Request>, ApiError> {
    if ask.all != ask.targets.is_empty() {
        return Err(ApiError::new(ErrorCode::Usage, "give a target, or all")
            .help("a target is kind/name, a unit's name or an instance's name"));
    }
    if ask.all {
        return target::all(core)
            .into_iter()
            .filter(|unit| applies_to_all(&ask.verb, unit.key.kind))
            .map(|unit| request(&ask.verb, Found::Unit(unit)))
            .collect();
    }
    ask.targets.iter().map(|text| request(&ask.verb, target::find(core, text)?)).collect()
}

/// With `--all`, a verb passes over kinds that it means nothing to.
fn applies_to_all(verb: &Verb, kind: Kind) -> bool {
    let runs_on = match kind {
        Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet => true,
        Kind::Job | Kind::CronJob => false,
    };
    match verb {
        Verb::Start | Verb::Stop | Verb::Delete => true,
        Verb::Restart | Verb::Signal { .. } => kind != Kind::CronJob,
        Verb::Reload => runs_on,
        Verb::Suspend | Verb::Resume => !runs_on,
        Verb::Scale { .. } => matches!(kind, Kind::Deployment | Kind::StatefulSet),
        Verb::RolloutUndo { .. }
        | Verb::RolloutPause
        | Verb::RolloutResume
        | Verb::RolloutRestart => runs_on,
        Verb::Trigger { .. } => kind == Kind::CronJob,
    }
}

fn request(verb: &Verb, found: Found) -> Result<Request, ApiError> {
    Ok(match verb {
        Verb::Start => Request::Start(either(found)),
        Verb::Stop => Request::Stop(either(found)),
        Verb::Restart => Request::Restart(either(found)),
        Verb::Reload => Request::Reload(either(found)),
        Verb::Delete => Request::Delete(either(found)),
        Verb::Signal { signal } => Request::Signal(either(found), signal_number(signal)?),
        Verb::Suspend => Request::Suspend(unit(found, "suspend")?),
        Verb::Resume => Request::Resume(unit(found, "resume")?),
        Verb::Scale { replicas } => Request::Scale(unit(found, "scale")?, *replicas),
        Verb::RolloutUndo { to_revision } => {
            Request::Undo(rolls(found, "rollout undo")?, to_revision.filter(|n| *n != 0))
        }
        Verb::RolloutPause => Request::Pause(rolls(found, "rollout pause")?),
        Verb::RolloutResume => Request::ResumeRollout(rolls(found, "rollout resume")?),
        Verb::RolloutRestart => Request::RolloutRestart(rolls(found, "rollout restart")?),
        Verb::Trigger { name } => {
            let key = unit(found, "trigger")?;
            if key.kind != Kind::CronJob {
                return Err(ApiError::new(
                    ErrorCode::Usage,
                    format!("{key}: only a cronjob can be triggered"),
                )
                .help("`wsup ctl restart` runs a finished job anew"));
            }
            Request::Trigger(key, name.clone())
        }
    })
}

fn either(found: Found) -> Target {
    match found {
        Found::Unit(unit) => Target::Unit(unit.key),
        Found::Instance(instance) => Target::Instance(instance.name),
    }
}

fn unit(found: Found, verb: &str) -> Result<UnitKey, ApiError> {
    match found {
        Found::Unit(unit) => Ok(unit.key),
        Found::Instance(instance) => Err(ApiError::new(
            ErrorCode::Usage,
            format!("`{verb}` takes a unit, and {} is an instance", instance.name),
        )
        .help(format!("did you mean `{}`?", instance.unit))),
    }
}

fn rolls(found: Found, verb: &str) -> Result<UnitKey, ApiError> {
    let key = unit(found, verb)?;
    match key.kind {
        Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet => Ok(key),
        Kind::Job | Kind::CronJob => Err(no_rollout(&key)),
    }
}

fn signal_number(text: &str) -> Result<i32, ApiError> {
    signal::parse(text).ok_or_else(|| {
        ApiError::new(ErrorCode::Usage, format!("`{text}` is not a signal"))
            .help("write a name such as SIGHUP, or a number from 1 to 64")
    })
}
