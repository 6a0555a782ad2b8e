//! Waiting: `wait` and `rollout status`.
//!
//! Responsible for what each condition means. Nothing polls: the state is judged, and judged
//! again when the core says that something changed.

use super::Api;
use super::lines::{self, Gone, Lines};
use super::read::no_rollout;
use super::rollout;
use super::target::{self, Found};
use crate::api::types::{ApiError, ErrorCode, Progress};
use crate::core::Core;
use crate::core::id::{Kind, UnitKey};
use crate::core::spec::{StatefulStrategy, WorkloadSpec};
use crate::core::view::{InstanceState, InstanceView, JobView, KindView, UnitView};
use crate::core::workload::conditions::{Condition, Truth};
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Goal {
    /// Deployment: its condition Available is true, as `kubectl wait --for=condition=Available`
    /// has it. Statefulset, daemonset: as many are available as are wanted. Job: complete.
    /// Instance: ready.
    Available,
    /// Job: complete. Instance: Succeeded.
    Complete,
    /// Job: failed. Deployment: stalled. Any unit: an instance Failed. Instance: Failed.
    Failed,
    /// No process runs and none will be started by itself. What is gone is stopped.
    Stopped,
    /// It is gone.
    Deleted,
}

/// The query of `/v1/wait`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitQuery {
    /// A target; all units if it is not given.
    target: Option<String>,
    #[serde(rename = "for")]
    goal: Goal,
    timeout_ms: Option<u64>,
}

/// The query of `/v1/rollout/status`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusQuery {
    target: String,
    timeout_ms: Option<u64>,
    /// Give one line and end.
    #[serde(default)]
    once: bool,
}

/// What a look at the core came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is so.
    Met(String),
    /// It will not be so.
    Never(ApiError),
    /// It is not so yet.
    NotYet(String),
}

/// Whose state is waited for: fixed at the start, so that a new unit of the name is not taken for
/// the one that was meant.
#[derive(Clone, Debug)]
enum Subject {
    Unit(UnitKey),
    Instance { name: String, slot: u64 },
}

/// `GET /v1/wait`.
pub(super) async fn wait(
    State(api): State<Api>,
    Query(query): Query<WaitQuery>,
) -> Result<Response, ApiError> {
    let goal = query.goal;
    let subjects =
        api.door.read(move |core| subjects(core, query.target.as_deref(), goal)).await??;
    let subjects = Arc::new(subjects);
    Ok(until(api, query.timeout_ms, false, move |core| {
        let mut met = Vec::new();
        for subject in subjects.iter() {
            match judge(core, subject, goal) {
                Verdict::Met(message) => met.push(message),
                other @ (Verdict::Never(_) | Verdict::NotYet(_)) => return other,
            }
        }
        Verdict::Met(met.join("\n"))
    }))
}

fn subjects(core: &Core, text: Option<&str>, goal: Goal) -> Result<Vec<Subject>, ApiError> {
    let Some(text) = text else {
        return Ok(target::all(core)
            .into_iter()
            .filter(|unit| has_goal(unit.key.kind, goal))
            .map(|unit| Subject::Unit(unit.key))
            .collect());
    };
    match target::find(core, text)? {
        Found::Unit(unit) if has_goal(unit.key.kind, goal) => Ok(vec![Subject::Unit(unit.key)]),
        Found::Unit(unit) => Err(no_goal(&unit.key, goal)),
        Found::Instance(instance) => {
            Ok(vec![Subject::Instance { name: instance.name, slot: instance.slot }])
        }
    }
}

/// Whether units of this kind can ever reach this goal.
fn has_goal(kind: Kind, goal: Goal) -> bool {
    match (kind, goal) {
        (_, Goal::Stopped | Goal::Deleted) => true,
        (Kind::CronJob, Goal::Available | Goal::Complete | Goal::Failed) => false,
        (Kind::Job, Goal::Available | Goal::Complete | Goal::Failed) => true,
        (Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet, goal) => goal != Goal::Complete,
    }
}

fn no_goal(key: &UnitKey, goal: Goal) -> ApiError {
    let error = |text: &str| ApiError::new(ErrorCode::Usage, format!("{key}: {text}"));
    if key.kind == Kind::CronJob {
        return error("a cronjob does not end and serves nobody; its jobs do")
            .help(format!("`wsup ctl get jobs` lists them; wait for job/{}-...", key.name));
    }
    let _ = goal;
    error(&format!("a {} runs on and is never complete", key.kind))
        .help("wait for `available` or `stopped`")
}

fn judge(core: &Core, subject: &Subject, goal: Goal) -> Verdict {
    match subject {
        Subject::Unit(key) => match core.unit(key) {
            Some(unit) => judge_unit(core, &unit, goal),
            None => gone(&key.to_string(), goal),
        },
        Subject::Instance { name, slot } => {
            match core.instance(name).filter(|instance| instance.slot == *slot) {
                Some(instance) => judge_instance(&instance, goal),
                None => gone(name, goal),
            }
        }
    }
}

fn gone(name: &str, goal: Goal) -> Verdict {
    match goal {
        Goal::Stopped | Goal::Deleted => Verdict::Met(format!("{name} is gone")),
        Goal::Available | Goal::Complete | Goal::Failed => Verdict::Never(ApiError::new(
            ErrorCode::Failed,
            format!("{name} was removed while it was waited for"),
        )),
    }
}

fn judge_instance(instance: &InstanceView, goal: Goal) -> Verdict {
    let name = &instance.name;
    let state = instance.state;
    let why = instance.reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default();
    let now = format!("{name} is {}{why}", state.as_str());
    let ended = matches!(state, InstanceState::Succeeded | InstanceState::Failed);
    let met = match goal {
        Goal::Available => instance.ready,
        Goal::Complete => state == InstanceState::Succeeded,
        Goal::Failed => state == InstanceState::Failed,
        Goal::Stopped => ended,
        Goal::Deleted => false,
    };
    if met {
        Verdict::Met(now)
    } else if ended && goal != Goal::Deleted {
        Verdict::Never(ApiError::new(ErrorCode::Failed, now))
    } else {
        Verdict::NotYet(now)
    }
}

fn judge_unit(core: &Core, unit: &UnitView, goal: Goal) -> Verdict {
    let key = &unit.key;
    match goal {
        Goal::Deleted => Verdict::NotYet(format!("{key} is still there")),
        Goal::Stopped => stopped(core, key),
        Goal::Available | Goal::Complete | Goal::Failed => match &unit.kind {
            KindView::Job(job) => judge_job(unit, job, goal),
            KindView::Service | KindView::CronJob(_) if goal == Goal::Failed => failed(core, unit),
            KindView::Service | KindView::CronJob(_) => available(unit),
        },
    }
}

fn stopped(core: &Core, key: &UnitKey) -> Verdict {
    let running = core
        .instances_of(key)
        .iter()
        .filter(|i| !matches!(i.state, InstanceState::Succeeded | InstanceState::Failed))
        .count();
    match running {
        0 => Verdict::Met(format!("{key} is stopped")),
        n => Verdict::NotYet(format!("{key}: {n} {} not ended", plural(n, "instance has"))),
    }
}

/// `instance has` or `instances have`.
fn plural(n: usize, words: &str) -> String {
    if n == 1 { words.to_owned() } else { "instances have".to_owned() }
}

fn condition<'a>(unit: &'a UnitView, kind: &str) -> Option<&'a Condition> {
    unit.conditions.iter().find(|condition| condition.kind == kind)
}

fn available(unit: &UnitView) -> Verdict {
    let (key, counts) = (&unit.key, &unit.counts);
    let enough = counts.available >= counts.desired;
    let met = match condition(unit, "Available") {
        Some(condition) => condition.status == Truth::True,
        None => enough,
    };
    if unit.stopped {
        return Verdict::NotYet(format!("{key} is stopped by an operator"));
    }
    if met {
        return Verdict::Met(format!("{key} is available"));
    }
    Verdict::NotYet(format!("{key}: {} of {} are available", counts.available, counts.desired))
}

fn failed(core: &Core, unit: &UnitView) -> Verdict {
    let key = &unit.key;
    if unit.stalled {
        return Verdict::Met(format!("{key} makes no progress"));
    }
    match core.instances_of(key).iter().find(|i| i.state == InstanceState::Failed) {
        Some(instance) => Verdict::Met(format!("{key}: {} is Failed", instance.name)),
        None => Verdict::NotYet(format!("{key} has not failed")),
    }
}

fn judge_job(unit: &UnitView, job: &JobView, goal: Goal) -> Verdict {
    let key = &unit.key;
    let failure = || {
        let why = condition(unit, "Failed")
            .map(|c| format!(": {}: {}", c.reason, c.message))
            .unwrap_or_default();
        format!("{key} failed{why}")
    };
    match (job.finished, goal) {
        (Some(true), Goal::Failed) => {
            Verdict::Never(ApiError::new(ErrorCode::Failed, format!("{key} is complete")))
        }
        (Some(true), _) => Verdict::Met(format!("{key} is complete")),
        (Some(false), Goal::Failed) => Verdict::Met(failure()),
        (Some(false), _) => Verdict::Never(ApiError::new(ErrorCode::Failed, failure())),
        (None, _) => Verdict::NotYet(format!(
            "{key}: {} active, {} succeeded, {} failed{}",
            job.active,
            job.succeeded,
            job.failed,
            if unit.suspended { ", suspended" } else { "" }
        )),
    }
}

/// `GET /v1/rollout/status`.
pub(super) async fn rollout_status(
    State(api): State<Api>,
    Query(query): Query<StatusQuery>,
) -> Result<Response, ApiError> {
    let key = api
        .door
        .read(move |core| {
            let key = target::find(core, &query.target)?.unit_key().clone();
            match (key.kind, core.spec(&key).map(|spec| spec.workload)) {
                (Kind::Job | Kind::CronJob, _) => Err(no_rollout(&key)),
                (_, Some(workload)) if is_on_delete(&workload) => Err(ApiError::new(
                    ErrorCode::Usage,
                    format!("{key}: with `strategy = \"on_delete\"` a roll-out has no end"),
                )
                .help("an instance gets the new template when it is deleted")),
                (Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet, _) => Ok(key),
            }
        })
        .await??;
    Ok(until(api, query.timeout_ms, query.once, move |core| match core.unit(&key) {
        Some(unit) => rollout::judge(&unit, partition(core, &key)),
        None => gone(&key.to_string(), Goal::Available),
    }))
}

/// How many of a statefulset's instances its partition keeps at the present template, if any.
fn partition(core: &Core, key: &UnitKey) -> Option<u32> {
    match core.spec(key)?.workload {
        WorkloadSpec::StatefulSet(spec) => match spec.strategy {
            StatefulStrategy::RollingUpdate { partition, .. } => Some(partition),
            StatefulStrategy::OnDelete => None,
        },
        WorkloadSpec::Deployment(_)
        | WorkloadSpec::DaemonSet(_)
        | WorkloadSpec::Job(_)
        | WorkloadSpec::CronJob(_) => None,
    }
    .filter(|kept| *kept > 0)
}

fn is_on_delete(workload: &WorkloadSpec) -> bool {
    match workload {
        WorkloadSpec::StatefulSet(spec) => spec.strategy == StatefulStrategy::OnDelete,
        WorkloadSpec::DaemonSet(spec) => {
            spec.strategy == crate::core::spec::DaemonStrategy::OnDelete
        }
        WorkloadSpec::Deployment(_) | WorkloadSpec::Job(_) | WorkloadSpec::CronJob(_) => false,
    }
}

/// Answers with a line for each new verdict, the last of which is the outcome.
fn until<F>(api: Api, timeout_ms: Option<u64>, once: bool, judge: F) -> Response
where
    F: Fn(&Core) -> Verdict + Send + Sync + 'static,
{
    let server = api.clone();
    let judge = Arc::new(judge);
    lines::answer(&server, lines::JSON_LINES, async move |out: Lines| {
        // Kept here as well, for what a client is told when the time is over.
        let last = Arc::new(Mutex::new(String::new()));
        let turn = turns(&api, &out, &judge, once, &last);
        let Some(limit) = timeout_ms else { return turn.await };
        match tokio::time::timeout(Duration::from_millis(limit), turn).await {
            Ok(result) => result,
            Err(_) => {
                let message = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let message = format!("timed out: {message}");
                out.object(&over(ApiError::new(ErrorCode::TimedOut, message))).await
            }
        }
    })
}

fn over(error: ApiError) -> Progress {
    Progress { message: error.message.clone(), done: false, error: Some(error) }
}

async fn turns<F>(
    api: &Api,
    out: &Lines,
    judge: &Arc<F>,
    once: bool,
    last: &Mutex<String>,
) -> Result<(), Gone>
where
    F: Fn(&Core) -> Verdict + Send + Sync + 'static,
{
    let mut changes = api.door.changes();
    loop {
        let judge = Arc::clone(judge);
        let verdict = match api.door.read(move |core| judge(core)).await {
            Ok(verdict) => verdict,
            Err(closed) => Verdict::Never(closed.into()),
        };
        match verdict {
            Verdict::Met(message) => {
                return out.object(&Progress { message, done: true, error: None }).await;
            }
            Verdict::Never(error) => return out.object(&over(error)).await,
            Verdict::NotYet(message) => {
                let news = {
                    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                    let news = *last != message;
                    last.clone_from(&message);
                    news
                };
                if news {
                    out.object(&Progress { message, done: false, error: None }).await?;
                }
            }
        }
        if once {
            return Ok(());
        }
        if changes.changed().await.is_err() {
            let error = ApiError::new(ErrorCode::Stopping, "the daemon is stopping");
            return out.object(&over(error)).await;
        }
    }
}
