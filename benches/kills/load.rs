//! What happens meanwhile: roll-outs, restarts, jobs.
//!
//! Responsible for changing the unit files and asking for restarts without regard to whether there is a
//! daemon, for noting when it did, and for comparing each job's record with the job's own notes.

use super::logs;
use super::notes::{self, End, Note, SIGNALS, What, now};
use super::world::Operator;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wsup::sim::random::Random;

/// Between two looks at what is to be done.
const GLANCE: Duration = Duration::from_millis(100);
/// Milliseconds between roll-outs, between updates of the statefulset, between its restarts, between
/// jobs, and between comparisons: from half to twice as long.
const SERVERS_EVERY: u64 = 800;
const MEMBERS_EVERY: u64 = 2_500;
const RESTARTS_EVERY: u64 = 4_000;
const JOBS_EVERY: u64 = 400;
const RECORDS_EVERY: u64 = 1_200;
/// Indexes of a job.
const INDEXES: usize = 3;
/// The longest life of a job's process, in milliseconds.
const JOB_MAX: u64 = 1_500;
/// Jobs at a time at most.
const JOBS_MAX: usize = 30;
/// A job's last lines are in its log so many milliseconds after its end at the latest.
const LOG_PATIENCE: u64 = 10_000;

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// When each version of the deployment was written.
    pub(crate) servers: Vec<u64>,
    /// When each version of the statefulset was written.
    pub(crate) members: Vec<u64>,
    /// When it was asked to restart the statefulset.
    pub(crate) restarts: Vec<u64>,
    /// Jobs that were given, and those whose records were compared.
    pub(crate) jobs: usize,
    pub(crate) compared: usize,
    /// Processes of jobs whose records were compared.
    pub(crate) codes: usize,
    pub(crate) faults: Vec<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Load {
    done: Mutex<Done>,
    /// Jobs that are not compared yet, and how their indexes are to end.
    open: Mutex<BTreeMap<String, Vec<String>>>,
}

impl Load {
    /// Whatever was done so far.
    pub(crate) fn done<T>(&self, look: impl FnOnce(&mut Done) -> T) -> T {
        look(&mut self.done.lock().expect("nobody panics with it"))
    }

    /// Keeps everything changing until it is done.
    pub(crate) fn put(&self, operator: Operator, mut random: Random, done: &AtomicBool) {
        let every = [SERVERS_EVERY, MEMBERS_EVERY, RESTARTS_EVERY, JOBS_EVERY, RECORDS_EVERY];
        let mut plan: Vec<(usize, u64, u64)> =
            every.into_iter().enumerate().map(|(what, every)| (what, every, 0)).collect();
        let mut in_order = false;
        self.done(|done| {
            done.servers.push(now());
            done.members.push(now());
        });
        while !done.load(Ordering::Relaxed) {
            for (what, every, due) in &mut plan {
                if *due > now() || operator.dir.join("calm").exists() {
                    continue;
                }
                *due = now() + *every / 2 + random.below(3 * *every / 2);
                match what {
                    0 => self.roll_out(&operator),
                    1 => self.update(&operator),
                    2 => {
                        in_order = !in_order;
                        self.restart(&operator, in_order);
                    }
                    3 => self.give_job(&operator, &mut random),
                    _ => {
                        self.compare(&operator);
                    }
                }
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// From now on nothing changes and nothing crashes.
    pub(crate) fn calm(&self, operator: &Operator) {
        fs::write(operator.dir.join("calm"), "").expect("written");
    }

    fn roll_out(&self, operator: &Operator) {
        let version = self.done(|done| {
            done.servers.push(now());
            done.servers.len() - 1
        });
        operator.servers(version as u64);
    }

    fn update(&self, operator: &Operator) {
        let version = self.done(|done| {
            done.members.push(now());
            done.members.len() - 1
        });
        operator.members(version as u64);
    }

    /// One after the other, or all at once.
    fn restart(&self, operator: &Operator, in_order: bool) {
        self.done(|done| done.restarts.push(now()));
        let words: &[&str] = match in_order {
            true => &["rollout", "restart", "statefulset/db"],
            false => &["restart", "statefulset/db"],
        };
        // Without a daemon it is not heard; it may also be heard and not answered.
        let _heard = operator.ctl(words);
    }

    fn give_job(&self, operator: &Operator, random: &mut Random) {
        let mut open = self.open.lock().expect("nobody panics with it");
        if open.len() >= JOBS_MAX {
            return;
        }
        let end = |random: &mut Random| match random.below(6) {
            0 | 1 => "0".to_owned(),
            2 => random.pick(&SIGNALS.map(|(name, _)| name)).to_owned(),
            _ => random.count(1, 255).to_string(),
        };
        let ends: Vec<String> = (0..INDEXES).map(|_| end(random)).collect();
        let words = ends.iter().map(|end| format!(" {}:{end}", random.below(JOB_MAX)));
        let words: String = words.collect();
        let name = self.done(|done| {
            done.jobs += 1;
            format!("j{}", done.jobs)
        });
        let tail = format!(
            "[job]\ncompletions = {INDEXES}\nparallelism = {INDEXES}\n\
             completion_mode = \"indexed\"\nbackoff_limit_per_index = 0\n"
        );
        operator.unit(&name, "", "job", &format!("job{words}"), &tail);
        open.insert(name, ends);
    }

    /// Compares the records of finished jobs with what their processes wrote, and has those jobs
    /// removed. Gives how many are left.
    pub(crate) fn compare(&self, operator: &Operator) -> usize {
        let mut open = self.open.lock().expect("nobody panics with it");
        let Some(units) = operator.list(&["get", "jobs"]) else { return open.len() };
        let finished: Vec<&Value> = units.iter().filter(|job| !job["finished"].is_null()).collect();
        let Some(all) = operator.list(&["ps", "--all"]) else { return open.len() };
        let notes = notes::read(&operator.dir);
        for unit in finished {
            let name = unit["name"].as_str().unwrap_or_default();
            let Some(ends) = open.get(name) else { continue };
            let instances: Vec<&Value> = all.iter().filter(|one| one["unit"] == *name).collect();
            let own: Vec<&Note> = notes.iter().filter(|note| note.unit == name).collect();
            let last = own.iter().map(|note| note.at).max().unwrap_or(0);
            let lines = logs::faults(&operator.dir, name, &own);
            if !lines.is_empty() && now() < last + LOG_PATIENCE {
                continue;
            }
            let mut faults = judge(unit, &instances, &own, ends);
            faults.extend(lines);
            open.remove(name);
            self.done(|done| {
                done.compared += 1;
                done.codes += instances.len();
                done.faults.extend(faults);
            });
            fs::remove_file(operator.dir.join(format!("units/{name}.toml"))).expect("removed");
        }
        open.len()
    }
}

/// What is wrong with the record of a finished job.
fn judge(unit: &Value, instances: &[&Value], notes: &[&Note], ends: &[String]) -> Vec<String> {
    let name = unit["name"].as_str().unwrap_or_default();
    let mut faults = Vec::new();
    let good = ends.iter().filter(|end| *end == "0").count();
    if unit["succeeded"] != good || unit["failed"] != ends.len() - good {
        faults.push(format!("job {name}, ends {ends:?}, is recorded as {unit}"));
    }
    if unit["finished"] != (good == ends.len()) || instances.len() != ends.len() {
        faults.push(format!("job {name}, ends {ends:?}: {unit} with {instances:?}"));
    }
    for one in instances {
        let index = one["ordinal"].as_u64().and_then(|index| usize::try_from(index).ok());
        let wanted = index.and_then(|index| ends.get(index)).and_then(|end| End::of(end));
        let wrote = notes.iter().find_map(|note| match note.what {
            What::Exit(end) if one["name"] == *note.instance => Some(end),
            _ => None,
        });
        let recorded = recorded(one);
        if recorded.is_none() || recorded != wanted || recorded != wrote {
            faults.push(format!(
                "{} was to end with {wanted:?}, wrote {wrote:?}, is recorded with {recorded:?}",
                one["name"]
            ));
        }
        let state = if wanted == Some(End::Code(0)) { "Succeeded" } else { "Failed" };
        if one["state"] != state {
            faults.push(format!("{} ended with {wanted:?} and is {}", one["name"], one["state"]));
        }
    }
    faults
}

/// How an instance ended last, as the daemon tells.
pub(crate) fn recorded(instance: &Value) -> Option<End> {
    let signal = instance["signal"].as_str().and_then(End::of);
    signal.or_else(|| instance["exit_code"].as_i64().map(End::Code))
}
