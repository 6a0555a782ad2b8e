//! CronJobs: jobs made on a schedule.
//!
//! Responsible for which slot of the schedule is started, what happens when a job still runs, and
//! which finished jobs are kept (`pkg/controller/cronjob/cronjob_controllerv2.go`, `utils.go`).
//! When the slots are is `core::schedule`'s business.
//!
//! Decisions where Kubernetes leaves room, or where one machine asks for something else:
//! - `@every` counts from the last slot, so a deadline does not shift its grid.
//! - With `replace` the next job begins when the processes of the old one are gone.
//! - Jobs made by hand are the cronjob's own: they count for `forbid` and `replace` and in the
//!   histories.
//! - A slot that was skipped or missed is told of once, and so are slots that were dropped in
//!   favour of a later one.
//! - Jobs of an `@every` below a minute are named by the slot's second, as several of its slots
//!   share a minute.
//! - A wall clock that was put back by hours does not hold the schedule up until it has caught
//!   up; see [`CLOCK_BACK_MAX`].

#[cfg(test)]
mod rules;
#[cfg(test)]
mod tests;

use super::{Computed, Context, Counts, Intent, Mode, NewJob, Note, Outcome, Status};
use crate::core::report::{Field, Reason};
use crate::core::schedule::{SEARCH_YEARS, Schedule, ScheduleError, Zones};
use crate::core::spec::{ConcurrencyPolicy, CronJobSpec};
use crate::core::time::{Millis, Wall};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How far the last slot may lie ahead of the wall clock before the clock is taken to have been
/// wrong then, and slots are counted from now. Less is a correction, after which no slot may run
/// twice (Vixie cron draws the line at the same three hours).
const CLOCK_BACK_MAX: Millis = Millis::from_secs(3 * 3_600);

/// Above so many missed slots the warning asks to look at the clock (`utils.go`,
/// `TooManyMissedTimes`).
const MISSED_MANY: i64 = 100;

/// The longest part of a cronjob's name in the name of a job made by hand, so that
/// `<name>-manual-<5 characters>` is a label of at most 63 characters.
const MANUAL_NAME_MAX: usize = 50;

/// What a cronjob remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The slot started last (`status.lastScheduleTime`).
    last_schedule: Option<Wall>,
    /// Slots are looked for after this instant instead, because the clock was put back.
    position: Option<Wall>,
    /// The latest slot that was told of as skipped or missed.
    told: Option<Wall>,
    /// The slot in favour of which running jobs are being removed.
    replacing: Option<Wall>,
    /// Why the schedule cannot be followed, as it was told.
    complaint: Option<String>,
    /// When the next slot is due.
    next_schedule: Option<Wall>,
    /// How many of its jobs are not finished; computed anew at each step.
    #[serde(skip)]
    active: Computed<u32>,
    /// The schedule as it was read last.
    #[serde(skip)]
    read: Computed<Read>,
}

/// A schedule that was read, so that it is not read again at each look.
#[derive(Clone, Debug, Default)]
struct Read(Option<Arc<Schedule>>);

impl Read {
    fn schedule(&mut self, source: &str) -> Result<Arc<Schedule>, ScheduleError> {
        match &self.0 {
            Some(read) if read.source() == source => Ok(Arc::clone(read)),
            Some(_) | None => {
                let schedule = Arc::new(Schedule::parse(source)?);
                self.0 = Some(Arc::clone(&schedule));
                Ok(schedule)
            }
        }
    }
}

impl State {
    /// What is shown to the outside.
    pub fn status(&self) -> Status {
        Status {
            counts: Counts { current: self.active.0, ..Counts::default() },
            ..Status::default()
        }
    }

    /// The slot started last.
    pub fn last_schedule(&self) -> Option<Wall> {
        self.last_schedule
    }

    /// When the next slot is due, jitter included; `None` while suspended, stopped or invalid, or
    /// if there is none.
    pub fn next_schedule(&self) -> Option<Wall> {
        self.next_schedule
    }

    /// How many of its jobs are not finished.
    pub fn active(&self) -> u32 {
        self.active.0
    }

    /// Slots after this instant are still to be started.
    fn earliest(&self, created: Wall) -> Wall {
        self.position.or(self.last_schedule).unwrap_or(created)
    }
}

/// One of a cronjob's jobs, as its controller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedJob {
    /// Its name.
    pub name: String,
    /// `None`: it is not finished; otherwise whether it succeeded.
    pub finished: Option<bool>,
    /// When its first instance was made possible (`status.startTime`).
    pub started: Option<Wall>,
    /// It is on its way out.
    pub terminating: bool,
    /// The slot it stands for; `None`: triggered by hand.
    pub scheduled: Option<Wall>,
    /// It belongs to this cronjob; otherwise it only has a name that the cronjob would use.
    pub owned: bool,
}

impl ObservedJob {
    fn active(&self) -> bool {
        self.owned && self.finished.is_none()
    }
}

/// What the random part is appended to for a job made by hand: `<cronjob>-manual`.
pub fn manual_prefix(cronjob: &str) -> String {
    let end = cronjob.len().min(MANUAL_NAME_MAX);
    let part = cronjob.get(..end).unwrap_or(cronjob).trim_end_matches('-');
    format!("{part}-manual")
}

/// One step of the cronjob controller. `created`: when the cronjob was made.
pub fn reconcile(
    spec: &CronJobSpec,
    context: &Context<'_>,
    state: &mut State,
    jobs: &[ObservedJob],
    created: Wall,
    zones: &dyn Zones,
) -> Outcome {
    let mut out = Outcome::default();
    let active = jobs.iter().filter(|job| job.active()).count();
    state.active = Computed(u32::try_from(active).unwrap_or(u32::MAX));
    state.next_schedule = None;
    match context.mode {
        Mode::Deleting => {
            for job in jobs.iter().filter(|job| job.owned && !job.terminating) {
                out.push(Intent::DeleteJob { name: job.name.clone() });
            }
            out.gone = !jobs.iter().any(|job| job.owned);
            return out;
        }
        Mode::Stopped => return out,
        Mode::Run => {}
    }
    match understand(spec, &mut state.read.0, zones) {
        Err(complaint) => complain(state, Some(complaint), &mut out),
        Ok(_) if spec.suspend => complain(state, None, &mut out),
        Ok((schedule, zone)) => {
            let delay = delay(spec.jitter, context.name);
            let sync = Sync { spec, context, jobs, created, schedule, zone, delay };
            sync.start_due(state, &mut out);
            sync.plan_next(state, &mut out);
            let never = || format!("no time within {SEARCH_YEARS} years fits the schedule");
            complain(state, state.next_schedule.is_none().then(never), &mut out);
        }
    }
    prune(spec, jobs, &mut out);
    out
}

/// Tells once why nothing will be started.
fn complain(state: &mut State, complaint: Option<String>, out: &mut Outcome) {
    if let Some(why) = complaint.as_ref().filter(|why| state.complaint.as_ref() != Some(*why)) {
        out.tell(Note::warning(Reason::CronInvalid, why.clone()));
    }
    state.complaint = complaint;
}

/// The schedule and its zone, or why it cannot be followed.
fn understand(
    spec: &CronJobSpec,
    read: &mut Read,
    zones: &dyn Zones,
) -> Result<(Arc<Schedule>, TimeZone), String> {
    let zone = zones.zone(spec.time_zone.as_deref()).ok_or_else(|| match &spec.time_zone {
        Some(name) => format!("unknown time zone `{name}`: nothing is started"),
        None => "the machine's time zone cannot be told: nothing is started".to_owned(),
    })?;
    let schedule = read
        .schedule(&spec.schedule)
        .map_err(|error| format!("the schedule cannot be read: {error}"))?;
    Ok((schedule, zone))
}

/// By how much every start of this cronjob is delayed: fixed for its name, so that it is the same
/// after a restart, and spread over names (64-bit FNV-1a, folded).
fn delay(jitter: Millis, name: &str) -> Millis {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 32;
    Millis(hash % jitter.0.saturating_add(1).max(1))
}

/// All that one look at the schedule needs.
struct Sync<'a> {
    spec: &'a CronJobSpec,
    context: &'a Context<'a>,
    jobs: &'a [ObservedJob],
    created: Wall,
    schedule: Arc<Schedule>,
    zone: TimeZone,
    delay: Millis,
}

impl Sync<'_> {
    /// Slots up to here are due.
    fn clock(&self) -> Wall {
        self.context.now.wall.minus(self.delay)
    }

    fn next_after(&self, at: Wall, anchor: Wall) -> Option<Wall> {
        self.schedule.next(at, &self.zone, self.spec.clock_change, Some(anchor))
    }

    /// Starts the latest slot that is due, if nothing stands against it.
    fn start_due(&self, state: &mut State, out: &mut Outcome) {
        let now = self.context.now.wall;
        if state.earliest(self.created) > now.plus(CLOCK_BACK_MAX) {
            state.position = Some(now);
            state.told = None;
        }
        let earliest = state.earliest(self.created);
        let Some(slot) = self.schedule.latest(
            earliest,
            self.clock(),
            &self.zone,
            self.spec.clock_change,
            Some(earliest),
        ) else {
            return;
        };
        let name = self.job_name(slot);
        if let Some(job) = self.jobs.iter().find(|job| job.name == name) {
            if job.owned {
                // Made before the daemon ended and not remembered: adopted.
                started(state, slot);
            } else {
                let why = format!("job {name} is there and is not this cronjob's");
                skip(state, out, slot, Note::warning(Reason::CronSkipped, why));
            }
            return;
        }
        let late = self.spec.starting_deadline.is_some_and(|d| slot.plus(d) < self.clock());
        if late && state.replacing != Some(slot) {
            let why = "missed: its starting deadline has passed";
            skip(state, out, slot, Note::warning(Reason::CronMissed, why).with_int("missed", 1));
            return;
        }
        if self.blocked(state, out, slot) {
            return;
        }
        self.tell_dropped(state, out, slot, earliest);
        started(state, slot);
        self.create(out, slot, name);
    }

    /// What the concurrency policy says of a slot while a job runs.
    fn blocked(&self, state: &mut State, out: &mut Outcome, slot: Wall) -> bool {
        let mut active = self.jobs.iter().filter(|job| job.active()).peekable();
        let Some(first) = active.peek() else { return false };
        match self.spec.concurrency_policy {
            ConcurrencyPolicy::Allow => false,
            ConcurrencyPolicy::Forbid => {
                let why = format!("not started yet: job {} still runs", first.name);
                skip(state, out, slot, Note::normal(Reason::CronSkipped, why));
                true
            }
            ConcurrencyPolicy::Replace => {
                state.replacing = Some(slot);
                for job in active.filter(|job| !job.terminating) {
                    let why = format!("job {} is removed in favour of the next", job.name);
                    out.tell(
                        Note::normal(Reason::CronReplaced, why)
                            .with("job", Field::Text(job.name.clone()))
                            .with("scheduled", Field::Time(slot)),
                    );
                    out.push(Intent::DeleteJob { name: job.name.clone() });
                }
                true
            }
        }
    }

    /// Only the latest slot is started. Those before it are told of, their number estimated as in
    /// `utils.go` `mostRecentScheduleTime`.
    fn tell_dropped(&self, state: &State, out: &mut Outcome, slot: Wall, earliest: Wall) {
        let from = state.told.map_or(earliest, |told| told.max(earliest));
        let Some(first) = self.next_after(from, earliest).filter(|first| *first < slot) else {
            return;
        };
        let Some(second) = self.next_after(first, earliest) else { return };
        let period = second.0.saturating_sub(first.0).max(1);
        let dropped = slot.0.saturating_sub(first.0).div_euclid(period).max(1);
        let mut why = match dropped {
            1 => "1 slot was missed; only the latest is started".to_owned(),
            n => format!("{n} slots were missed; only the latest is started"),
        };
        if dropped >= MISSED_MANY {
            why.push_str("; check the clock, or set starting_deadline");
        }
        out.tell(
            Note::warning(Reason::CronMissed, why)
                .with("scheduled", Field::Time(first))
                .with_int("missed", dropped),
        );
    }

    fn create(&self, out: &mut Outcome, slot: Wall, name: String) {
        out.tell(
            Note::normal(Reason::CronTriggered, format!("starts job {name}"))
                .with("scheduled", Field::Time(slot))
                .with("job", Field::Text(name.clone())),
        );
        out.push(Intent::CreateJob(NewJob {
            name: name.clone(),
            spec: self.spec.job.clone(),
            template: Arc::clone(self.context.template),
            scheduled: Some(slot),
        }));
        out.tell(
            Note::normal(Reason::JobCreated, format!("job {name} made"))
                .with("job", Field::Text(name)),
        );
    }

    /// `<cronjob>-<unix minute of the slot>` (`utils.go` `getJobName`).
    fn job_name(&self, slot: Wall) -> String {
        let secs = slot.unix_secs();
        let below_a_minute = self.schedule.period().is_some_and(|p| p < Millis::from_secs(60));
        let number = if below_a_minute { secs } else { secs.div_euclid(60) };
        format!("{}-{number}", self.context.name)
    }

    fn plan_next(&self, state: &mut State, out: &mut Outcome) {
        let earliest = state.earliest(self.created);
        // A slot that is due and held back is not the next one: something else must happen first.
        let from = self.clock().max(earliest);
        if let Some(next) = self.next_after(from, earliest) {
            let at = next.plus(self.delay);
            state.next_schedule = Some(at);
            out.recheck_at(self.context.now.mono_at(at));
        }
    }
}

fn started(state: &mut State, slot: Wall) {
    state.last_schedule = Some(slot);
    state.position = None;
    state.replacing = None;
}

/// Tells once that a slot is not started. The last schedule does not move.
fn skip(state: &mut State, out: &mut Outcome, slot: Wall, note: Note) {
    if state.told != Some(slot) {
        state.told = Some(slot);
        out.tell(note.with("scheduled", Field::Time(slot)));
    }
}

/// Removes finished jobs beyond the limits, the oldest start first; one without a start counts as
/// the youngest (`cleanupFinishedJobs`, `byJobStartTime`).
fn prune(spec: &CronJobSpec, jobs: &[ObservedJob], out: &mut Outcome) {
    let limits =
        BTreeMap::from([(true, spec.successful_history_limit), (false, spec.failed_history_limit)]);
    for (success, limit) in limits {
        let mut finished: Vec<&ObservedJob> = jobs
            .iter()
            .filter(|job| job.owned && !job.terminating && job.finished == Some(success))
            .collect();
        finished.sort_by_key(|job| (job.started.is_none(), job.started, job.name.as_str()));
        let surplus = finished.len().saturating_sub(limit as usize);
        for job in finished.into_iter().take(surplus) {
            out.push(Intent::DeleteJob { name: job.name.clone() });
        }
    }
}
