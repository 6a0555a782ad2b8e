//! Units and instances in a few words.
//!
//! Responsible for the state word and the remark of each row, so that all tables say the same.

use crate::api::types::{Instance, Particular, Unit};
use crate::cli::output::time::{age, ahead, span};
use jiff::Timestamp;

/// A unit's state in one word.
pub(in crate::cli) fn unit_state(unit: &Unit) -> &'static str {
    if unit.deleting {
        return "Deleting";
    }
    match &unit.particular {
        Particular::Job(job) => match job.finished {
            Some(true) => "Complete",
            Some(false) => "Failed",
            None if unit.suspended => "Suspended",
            None if unit.stopped => "Stopped",
            None if unit.not_selected => "NotSelected",
            None if job.active > 0 => "Running",
            None => "Waiting",
        },
        Particular::CronJob(_) if unit.suspended => "Suspended",
        Particular::CronJob(_) if unit.stopped => "Stopped",
        Particular::CronJob(_) if unit.not_selected => "NotSelected",
        Particular::CronJob(_) => "Scheduled",
        Particular::Service {} => service_state(unit),
    }
}

fn service_state(unit: &Unit) -> &'static str {
    if unit.stopped {
        "Stopped"
    } else if unit.not_selected {
        "NotSelected"
    } else if unit.stalled {
        "Stalled"
    } else if unit.rolled_out {
        "Available"
    } else if unit.paused {
        "Paused"
    } else if unit.updated < unit.desired || unit.current > unit.desired {
        "Progressing"
    } else if unit.available < unit.desired {
        "Waiting"
    } else {
        "Available"
    }
}

/// How many of how many: ready instances, a job's completions.
pub(in crate::cli) fn unit_ready(unit: &Unit) -> String {
    match &unit.particular {
        Particular::Job(job) => match job.completions {
            Some(wanted) => format!("{}/{wanted}", job.succeeded),
            None => format!("{}/1 of {}", job.succeeded.min(1), job.active + job.succeeded),
        },
        Particular::CronJob(_) => crate::cli::output::NOTHING.to_owned(),
        Particular::Service {} => format!("{}/{}", unit.ready, unit.desired),
    }
}

/// What else is worth knowing about a unit; empty if all is as it should be.
pub(in crate::cli) fn unit_remark(unit: &Unit, now: Timestamp) -> String {
    let mut remarks = Vec::new();
    if let Some(mistake) = &unit.invalid {
        remarks.push(format!("unit file is invalid, the last good version runs: {mistake}"));
    }
    if unit.not_selected {
        remarks.push("node_selector does not match this node".to_owned());
    }
    match &unit.particular {
        Particular::CronJob(cron) => {
            if !unit.suspended && !unit.stopped && !unit.not_selected {
                remarks.push(cron.next_schedule.map_or_else(
                    || "no next run".to_owned(),
                    |next| format!("next run {}", ahead(next, now)),
                ));
            }
            if !cron.active.is_empty() {
                remarks.push(format!("{} active", cron.active.len()));
            }
        }
        Particular::Job(job) => match (job.finished, job.started_at, job.completed_at) {
            (Some(true), Some(from), Some(to)) => {
                remarks.push(format!("took {}", span(to.as_second() - from.as_second())));
            }
            (Some(false), ..) => remarks.extend(condition(unit, "Failed", "True")),
            (Some(true), ..) | (None, ..) if job.failed > 0 => {
                remarks.push(format!("{} failed", job.failed));
            }
            (Some(true) | None, ..) => {}
        },
        Particular::Service {} if unit.stalled => {
            remarks.extend(condition(unit, "Progressing", "False"));
        }
        Particular::Service {} => {}
    }
    if !unit.overrides.is_empty() && !unit.stopped {
        let live: Vec<_> = unit.overrides.iter().map(|(k, v)| format!("{k}: {v}")).collect();
        remarks.push(format!("live: {}", live.join(", ")));
    }
    remarks.join("; ")
}

fn condition(unit: &Unit, kind: &str, status: &str) -> Option<String> {
    let found = unit.conditions.iter().find(|c| c.kind == kind && c.status == status)?;
    Some(if found.message.is_empty() {
        found.reason.clone()
    } else {
        format!("{}: {}", found.reason, found.message)
    })
}

/// What else is worth knowing about an instance; empty if all is as it should be.
pub(super) fn instance_remark(instance: &Instance, now: Timestamp) -> String {
    let mut remarks = Vec::new();
    remarks.extend(instance.reason.clone());
    if let Some(next) = instance.next_start {
        remarks.push(format!("next start {}", ahead(next, now)));
    }
    remarks.join("; ")
}

/// How the last process ended.
pub(super) fn last_exit(instance: &Instance, now: Timestamp) -> Option<String> {
    let how = match (instance.exit_code, &instance.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => match &instance.exit_reason {
            Some(reason) => format!("{signal} ({reason})"),
            None => signal.clone(),
        },
        (None, None) => {
            instance.last_exit_at?;
            "unknown".to_owned()
        }
    };
    Some(match instance.last_exit_at {
        Some(at) => format!("{how}, {} ago", age(at, now)),
        None => how,
    })
}
