//! `GET /v1/top`: what instances use at the moment.
//!
//! Responsible for two readings with a pause between them and for the rates that they give. Nothing
//! is measured unless somebody asks.

use super::Api;
use super::read::{ListQuery, select_instances};
use crate::api::door::RunnerFacts;
use crate::api::top::{InstanceUse, Sources, Top, UnitUse, Used};
use crate::api::types::{ApiError, ErrorCode, Instance};
use crate::os::usage::{self, Main, Source, Usage};
use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The pause where the client names none: short enough to wait for, long enough for a rate.
const INTERVAL_MS: u64 = 500;
/// The shortest pause: the kernel counts the CPU time of a process in steps of 10 ms.
const INTERVAL_MIN_MS: u64 = 50;
/// The longest pause.
const INTERVAL_MAX_MS: u64 = 60_000;

/// What is to be measured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TopQuery {
    target: Option<String>,
    selector: Option<String>,
    interval_ms: Option<u64>,
}

/// `GET /v1/top`.
pub(super) async fn top(
    State(api): State<Api>,
    Query(query): Query<TopQuery>,
) -> Result<Json<Top>, ApiError> {
    let pause = query.interval_ms.unwrap_or(INTERVAL_MS).clamp(INTERVAL_MIN_MS, INTERVAL_MAX_MS);
    let state_dir = api.door.daemon().state_dir.clone();
    let list = ListQuery::of(query.target, query.selector);
    let instances = api.door.read(move |core| select_instances(core, &list, &state_dir)).await??;
    let mains: Vec<Main> = instances
        .iter()
        .filter_map(|one| Some(Main { pid: one.pid?, instance: one.name.clone() }))
        .collect();
    let before = sample(mains.clone(), api.door.runner()).await?;
    api.unless_ended(tokio::time::sleep(Duration::from_millis(pause))).await?;
    let after = sample(mains, api.door.runner()).await?;
    Ok(Json(measured(&instances, &before, &after)))
}

/// One reading and when it was made.
struct Sample {
    at: Instant,
    of: BTreeMap<u32, Usage>,
}

/// Reads beside the runtime's thread: it may be thousands of files.
async fn sample(mains: Vec<Main>, runner: RunnerFacts) -> Result<Sample, ApiError> {
    let read = move || {
        let at = Instant::now();
        usage::read(&mains, &runner.cgroups, &runner.pids).map(|of| Sample { at, of })
    };
    let failed =
        |error: String| ApiError::new(ErrorCode::Failed, format!("cannot measure: {error}"));
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| failed(error.to_string()))?
        .map_err(|error| failed(error.to_string()))
}

fn measured(instances: &[Instance], before: &Sample, after: &Sample) -> Top {
    let seconds = after.at.duration_since(before.at).as_secs_f64().max(0.001);
    let mut top = Top { interval_ms: (seconds * 1000.0) as u64, ..Top::default() };
    let mut units: BTreeMap<(String, String), UnitUse> = BTreeMap::new();
    for instance in instances {
        let Some((pid, now)) = instance.pid.and_then(|pid| Some((pid, after.of.get(&pid)?))) else {
            continue;
        };
        // What ended in between took its share along: no rate is below zero.
        let rate = |new: u64, old: Option<u64>| {
            old.map_or(0.0, |old| new.saturating_sub(old) as f64 / seconds)
        };
        let then = before.of.get(&pid);
        let io = now.io.map(|figure| figure.value);
        let io_then = then.and_then(|usage| usage.io).map(|figure| figure.value);
        let cpu = now.cpu_usec.value;
        let used = Used {
            cpu: rate(cpu, then.map(|usage| usage.cpu_usec.value)) / 1e6,
            cpu_seconds: cpu as f64 / 1e6,
            memory: now.memory.value,
            tasks: now.tasks.value,
            io_read: io.map(|(read, _)| read),
            io_write: io.map(|(_, write)| write),
            io_read_rate: io.map(|(read, _)| rate(read, io_then.map(|(read, _)| read))),
            io_write_rate: io.map(|(_, write)| rate(write, io_then.map(|(_, write)| write))),
        };
        units
            .entry((instance.kind.clone(), instance.unit.clone()))
            .and_modify(|unit| {
                unit.instances += 1;
                unit.used.add(&used);
            })
            .or_insert_with(|| UnitUse {
                name: instance.unit.clone(),
                kind: instance.kind.clone(),
                instances: 1,
                used: used.clone(),
            });
        top.instances.push(InstanceUse {
            name: instance.name.clone(),
            unit: instance.unit.clone(),
            kind: instance.kind.clone(),
            owner: instance.owner.clone(),
            pid,
            used,
            sources: sources(now),
        });
    }
    top.units = units.into_values().collect();
    top
}

fn sources(usage: &Usage) -> Sources {
    let word = |source: Source| source.as_str().to_owned();
    Sources {
        cpu: word(usage.cpu_usec.source),
        memory: word(usage.memory.source),
        tasks: word(usage.tasks.source),
        io: usage.io.map(|figure| word(figure.source)),
    }
}
