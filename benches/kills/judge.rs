//! What the run has shown.
//!
//! Responsible for comparing what the programs wrote down with what the daemon says, with what is in the
//! logs, and with what was asked for.

use super::load::{Done, Load, recorded};
use super::logs;
use super::notes::{self, Note, What, now};
use super::watch::{Sightings, processes};
use super::world::{CRASHERS, MEMBERS, Operator, PATIENCE, SERVERS, Span, TALKERS, World, dir_of};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A slot must have its job if the daemon was there for so long without a break before the next one, in
/// milliseconds: it has then surely looked at what it missed, also on a busy machine.
const TAKE_UP: u64 = 500;
/// A restart that was asked for ends those that began up to so many milliseconds later, too.
const HEARING: u64 = 2_000;

/// Crashers that have neither begun nor ended for so many milliseconds live on: longer than they live
/// otherwise.
const CALM: u64 = 3_000;

/// What is printed.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// What, how many in all, how many of those are wrong.
    pub(crate) rows: Vec<(String, String, String)>,
    pub(crate) faults: Vec<String>,
}

impl Verdict {
    fn count(&mut self, what: &str, count: usize) {
        self.rows.push((what.to_owned(), count.to_string(), String::new()));
    }

    fn row(&mut self, what: &str, count: usize, faults: Vec<String>) {
        self.rows.push((what.to_owned(), count.to_string(), faults.len().to_string()));
        self.faults.extend(faults);
    }
}

/// Stops everything, and compares. To be called when all is settled; `unsettled` is what is not.
pub(crate) fn judge(
    world: &World,
    load: &Load,
    killed: u64,
    sightings: &Sightings,
    unsettled: Vec<String>,
) -> Verdict {
    let mut verdict = Verdict::default();
    verdict.rows.push(("".to_owned(), "in all".to_owned(), "wrong".to_owned()));
    let operator = world.operator();
    let said = operator.list(&["ps", "--all"]).unwrap_or_default();
    let before = notes::read(&operator.dir);
    let stopping = now();
    let ended = world.stop();
    let left = processes(dir_of(world));
    let notes = notes::read(&operator.dir);
    let (spans, own) = world.past();

    verdict.row("kills of the daemon (wrong: it ended by itself)", count(killed), own);
    let starts = notes.iter().filter(|note| matches!(note.what, What::Start { .. })).count();
    verdict.row("starts of programs (wrong: one of them lived already)", starts, alternate(&notes));
    load.done(|done| {
        verdict.row(
            "ends (wrong: without a word, or for no reason)",
            starts,
            reasons(&notes, done, stopping),
        );
        verdict.row(
            "running at the end (wrong: another, or none)",
            said.len(),
            living(&said, &before, unsettled, done),
        );
        verdict.count("roll-outs of a deployment", done.servers.len() - 1);
        verdict.count("updates of a statefulset", done.members.len() - 1);
        verdict.count("restarts of a statefulset", done.restarts.len());
        let faults = std::mem::take(&mut done.faults);
        verdict.count("jobs", done.compared);
        verdict.row(
            "ends of jobs' processes (wrong: code, signal, state, log)",
            done.codes,
            faults,
        );
    });
    let (ends, faults) = crashes(&said, &before);
    verdict.row("crashes (wrong: last code, number of restarts)", ends, faults);
    let (slots, faults, excused) = slots(&notes, &spans, stopping);
    verdict.row("slots of a cronjob (wrong: missed, doubled)", slots, faults);
    verdict.count("  of further ones the daemon was away until the next", excused);
    let (lines, faults) = lines(&operator, &notes);
    verdict.row("lines of output (wrong: instances with faults)", lines, faults);
    verdict.count("looks from outside", count(sightings.looks));
    verdict.row(
        "  with members (wrong: two of one identity)",
        count(sightings.fruitful),
        sightings.faults.clone(),
    );
    let mut at_end: Vec<String> =
        left.iter().map(|(pid, words)| format!("left behind: process {pid}, {words}")).collect();
    if !ended.is_some_and(|status| status.success()) {
        at_end.push(format!("the daemon was asked to stop and ended with {ended:?}"));
    }
    verdict.row("left behind", left.len(), at_end);
    verdict
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Waits until all that was asked for is done. Gives what was not.
pub(crate) fn settle(operator: &Operator, load: &Load) -> Vec<String> {
    let end = Instant::now() + PATIENCE;
    loop {
        let left = load.compare(operator);
        let all = operator.list(&["get", "all"]).unwrap_or_default();
        let unit = |name: &str| all.iter().find(|one| one["name"] == *name);
        let talkers = (0..TALKERS).map(|number| (format!("talk{number}"), 1));
        let others = [("web", SERVERS), ("db", MEMBERS), ("crash", CRASHERS)];
        let others = others.into_iter().map(|(name, wanted)| (name.to_owned(), wanted));
        let mut open: Vec<String> = talkers
            .chain(others)
            .filter(|(name, wanted)| !unit(name).is_some_and(|one| has_all(one, *wanted)))
            .map(|(name, wanted)| format!("{name} is not settled at {wanted}: {:?}", unit(&name)))
            .collect();
        if left > 0 {
            open.push(format!("{left} jobs have not ended"));
        }
        if (open.is_empty() && are_calm(operator)) || Instant::now() > end {
            return open;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn has_all(unit: &Value, wanted: usize) -> bool {
    ["desired", "current", "ready", "updated"].iter().all(|field| unit[*field] == wanted)
}

/// Whether the crashers that live have not begun to crash: each that was to has done so by then.
fn are_calm(operator: &Operator) -> bool {
    let before = notes::read(&operator.dir);
    let last = before.iter().filter(|note| note.unit == "crash").map(|note| note.at).max();
    last.is_none_or(|at| now() > at + CALM)
}

/// The notes of each instance, in order.
fn by_instance(notes: &[Note]) -> BTreeMap<(&str, &str), Vec<&Note>> {
    let mut all: BTreeMap<(&str, &str), Vec<&Note>> = BTreeMap::new();
    for note in notes {
        all.entry((&note.unit, &note.instance)).or_default().push(note);
    }
    all
}

/// Starts and ends of an instance alternate, and instances of most kinds start once.
fn alternate(notes: &[Note]) -> Vec<String> {
    let mut faults = Vec::new();
    for ((unit, instance), notes) in by_instance(notes) {
        let mut lives: Option<u32> = None;
        let mut starts = 0;
        for note in notes {
            match note.what {
                What::Start { .. } => {
                    starts += 1;
                    if let Some(other) = lives.replace(note.pid) {
                        faults.push(format!(
                            "{instance} started as {}, while {other} had not ended",
                            note.pid
                        ));
                    }
                }
                What::Twice => {
                    faults.push(format!("{instance}: {} began while another lived", note.pid))
                }
                What::Exit(_) | What::Asked => lives = None,
            }
        }
        if starts > 1 && !["db", "crash"].contains(&unit) {
            faults.push(format!("{instance} was started {starts} times"));
        }
    }
    faults
}

/// Each end was noted, and had a reason.
fn reasons(notes: &[Note], done: &Done, stopping: u64) -> Vec<String> {
    let mut faults = Vec::new();
    for ((unit, instance), notes) in by_instance(notes) {
        let mut start: Option<(&Note, u64)> = None;
        for note in notes {
            match note.what {
                What::Start { version } => start = Some((note, version)),
                What::Twice => {}
                What::Exit(_) => start = None,
                What::Asked => {
                    if let Some((began, version)) = start.take()
                        && note.at < stopping
                        && !had_reason(unit, began.at, note.at, version, done)
                    {
                        faults.push(format!(
                            "{instance} ({version}) was ended at {} for no reason",
                            note.at
                        ));
                    }
                }
            }
        }
        if let Some((start, _)) = start {
            faults.push(format!(
                "{instance}, process {} of {}, ended without a word",
                start.pid, start.at
            ));
        }
    }
    faults
}

fn had_reason(unit: &str, began: u64, ended: u64, version: u64, done: &Done) -> bool {
    let next =
        |times: &[u64]| times.get(count(version + 1)).is_some_and(|written| *written <= ended);
    let asked =
        || done.restarts.iter().any(|at| (began.saturating_sub(HEARING)..=ended).contains(at));
    match unit {
        "web" => next(&done.servers),
        "db" => next(&done.members) || asked(),
        _ => false,
    }
}

/// What runs by the daemon's account is what runs by the programs' own, of the last versions.
fn living(said: &[Value], notes: &[Note], unsettled: Vec<String>, done: &Done) -> Vec<String> {
    let mut faults = unsettled;
    let told: BTreeSet<(String, u64)> = said
        .iter()
        .filter_map(|one| Some((one["name"].as_str()?.to_owned(), one["pid"].as_u64()?)))
        .filter(|(name, _)| !name.starts_with("tick-"))
        .collect();
    let mut own = BTreeSet::new();
    for ((unit, instance), notes) in by_instance(notes) {
        if let Some(Note { pid, what: What::Start { version }, .. }) = notes.last().copied()
            && !unit.starts_with("tick-")
        {
            own.insert((instance.to_owned(), u64::from(*pid)));
            let versions = match unit {
                "web" => done.servers.len(),
                "db" => done.members.len(),
                _ => continue,
            };
            if count(*version) + 1 != versions {
                faults.push(format!("{instance} has version {version} of {versions}"));
            }
        }
    }
    let only = |side: &str, one: &BTreeSet<(String, u64)>, other: &BTreeSet<(String, u64)>| {
        one.difference(other).map(|one| format!("lives only {side}: {one:?}")).collect::<Vec<_>>()
    };
    faults.extend(only("by the daemon's account", &told, &own));
    faults.extend(only("by its own", &own, &told));
    faults
}

/// The crashes of each crasher are all known, and the last one is known rightly.
fn crashes(said: &[Value], notes: &[Note]) -> (usize, Vec<String>) {
    let (mut ends, mut faults) = (0, Vec::new());
    for ((unit, instance), notes) in by_instance(notes) {
        if unit != "crash" {
            continue;
        }
        let codes: Vec<_> = notes
            .iter()
            .filter_map(|note| match note.what {
                What::Exit(end) => Some(end),
                What::Start { .. } | What::Asked | What::Twice => None,
            })
            .collect();
        ends += codes.len();
        let one = said.iter().find(|one| one["name"] == *instance);
        let told = one.map(|one| (one["restarts"].as_u64(), recorded(one)));
        if told != Some((Some(codes.len() as u64), codes.last().copied())) {
            faults.push(format!(
                "{instance} crashed {} times, last {:?}; told {told:?}",
                codes.len(),
                codes.last()
            ));
        }
    }
    (ends, faults)
}

/// Slots that had their job; what is wrong; how many went by unseen while the daemon was away.
fn slots(notes: &[Note], spans: &[Span], stopping: u64) -> (usize, Vec<String>, usize) {
    let mut started: BTreeMap<u64, usize> = BTreeMap::new();
    for note in notes.iter().filter(|note| matches!(note.what, What::Start { .. })) {
        if let Some(slot) = note.unit.strip_prefix("tick-").and_then(|slot| slot.parse().ok()) {
            *started.entry(slot).or_default() += 1;
        }
    }
    let mut faults: Vec<String> = started
        .iter()
        .filter(|(_, times)| **times > 1)
        .map(|(slot, times)| format!("slot {slot} was started {times} times"))
        .collect();
    let Some(first) = started.keys().next().copied() else {
        return (0, vec!["no slot was started".to_owned()], 0);
    };
    let mut excused = 0;
    for slot in (first..stopping / 1_000).filter(|slot| !started.contains_key(slot)) {
        let (begin, end) = (slot * 1_000, (slot + 1) * 1_000);
        let there = spans
            .iter()
            .any(|(up, down)| (*down).min(end).saturating_sub((*up).max(begin)) >= TAKE_UP);
        match there {
            true => faults.push(format!("slot {slot} was missed")),
            false => excused += 1,
        }
    }
    (started.len(), faults, excused)
}

/// All lines of those that talk for long.
fn lines(operator: &Operator, notes: &[Note]) -> (usize, Vec<String>) {
    let mut faults = Vec::new();
    let talkers = (0..TALKERS).map(|number| format!("talk{number}"));
    for unit in talkers.chain(["db".to_owned(), "cpu".to_owned()]) {
        let own: Vec<&Note> = notes.iter().filter(|note| note.unit == unit).collect();
        faults.extend(logs::faults(&operator.dir, &unit, &own));
    }
    let lines: u64 = notes.iter().map(|note| note.lines[0] + note.lines[1]).sum();
    (count(lines), faults)
}
