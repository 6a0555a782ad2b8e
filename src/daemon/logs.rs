//! Log files as history: where they are, and how many outlive their instances.
//!
//! Responsible for names and retention. Must not write or read a line: the runner writes, and the
//! control socket reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// How many ended instances of a server keep their logs, if it has no more instances than that. A
/// roll-out replaces every instance, so this is some roll-outs of a small unit; with the default of
/// five files of 10 MiB each it bounds what such a unit can occupy when it no longer runs to 500 MiB.
/// One with more instances keeps as many as it has: the end of all of them must not take the last
/// words of some.
pub const KEEP: usize = 10;

/// Beside the log directory's instances: a file that names those that have ended.
const ENDED: &str = ".ended";

/// The present log file of an instance: `<logs>/UNIT/INSTANCE.log`.
pub fn file(logs: &Path, unit: &str, instance: &str) -> PathBuf {
    logs.join(unit).join(format!("{instance}.log"))
}

/// Notes that an instance has ended for good and removes the logs of those that ended longest
/// ago, but for the last `keep`. What cannot be removed is told and left.
pub fn keep_last(dir: &Path, instance: &str, keep: usize) {
    let mut ended: Vec<String> = fs::read_to_string(dir.join(ENDED))
        .unwrap_or_default()
        .lines()
        .filter(|name| *name != instance && !name.is_empty())
        .map(str::to_owned)
        .collect();
    let mut files = files(dir);
    // One that never wrote has nothing to keep, and must not push others out.
    if files.contains_key(instance) {
        ended.push(instance.to_owned());
    }
    let surplus = ended.len().saturating_sub(keep);
    for name in ended.drain(..surplus) {
        files.remove(&name).unwrap_or_default().iter().for_each(|path| remove(path));
    }
    if dir.is_dir()
        && let Err(error) = fs::write(dir.join(ENDED), ended.join("\n"))
    {
        tracing::warn!("noting ended instances in {}: {error}", dir.display());
    }
}

/// Removes all logs of a unit.
pub fn remove_all(dir: &Path) {
    files(dir).into_values().flatten().for_each(|path| remove(&path));
    remove(&dir.join(ENDED));
    // Not empty: somebody has put something there that is not ours.
    let _ = fs::remove_dir(dir);
}

/// Removes the logs of cronjobs' jobs that are gone: those that a daemon which was killed did not
/// get to. `units`: the names of all units there are.
pub fn sweep(logs: &Path, units: &BTreeSet<String>, cronjobs: &BTreeSet<String>) {
    for entry in fs::read_dir(logs).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !units.contains(*name)) else { continue };
        let is_job = name.rsplit_once('-').is_some_and(|(cronjob, slot)| {
            cronjobs.contains(cronjob) && slot.bytes().all(|byte| byte.is_ascii_digit())
        });
        if is_job {
            remove_all(&entry.path());
        }
    }
}

/// The log files in a unit's directory, indexes and rotated ones included, by instance.
fn files(dir: &Path) -> BTreeMap<String, Vec<PathBuf>> {
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some((instance, _)) = name.to_str().and_then(|name| name.split_once(".log")) else {
            continue;
        };
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            found.entry(instance.to_owned()).or_default().push(entry.path());
        }
    }
    found
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!("removing the old log {}: {error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ended_keep_their_logs_and_the_living_keep_theirs() {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<_> = (0..15).map(|n| format!("api-x-{n}")).collect();
        for name in &names {
            for end in [".log", ".log.1", ".log.idx"] {
                fs::write(dir.path().join(format!("{name}{end}")), "x").unwrap();
            }
        }
        for name in names.iter().take(13) {
            keep_last(dir.path(), name, KEEP);
        }
        keep_last(dir.path(), "never-wrote", KEEP);
        let left: Vec<_> = files(dir.path()).into_keys().collect();
        let mut expected = names[3..].to_vec();
        expected.sort();
        assert_eq!(left, expected);
        assert!(files(dir.path()).values().all(|files| files.len() == 3));
    }

    #[test]
    fn an_instance_that_lives_again_under_its_name_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("db-0.log"), "x").unwrap();
        for _ in 0..30 {
            keep_last(dir.path(), "db-0", KEEP);
        }
        assert_eq!(fs::read_to_string(dir.path().join(ENDED)).unwrap(), "db-0");
        assert!(dir.path().join("db-0.log").exists());
    }

    #[test]
    fn only_jobs_of_cronjobs_that_are_gone_are_swept() {
        let logs = tempfile::tempdir().unwrap();
        let dirs = ["backup", "backup-29000000", "backup-29000001", "backup-old", "api-1", "api"];
        for dir in dirs {
            fs::create_dir(logs.path().join(dir)).unwrap();
            fs::write(logs.path().join(dir).join("x.log"), "x").unwrap();
        }
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        sweep(logs.path(), &set(&["backup", "backup-29000001", "api"]), &set(&["backup"]));
        let mut left: Vec<_> = fs::read_dir(logs.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["api", "api-1", "backup", "backup-29000001", "backup-old"]);
    }

    #[test]
    fn all_of_a_job_goes_and_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("migrate");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("migrate-abcde.log"), "x").unwrap();
        remove_all(&dir);
        assert!(!dir.exists());
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("notes.txt"), "x").unwrap();
        remove_all(&dir);
        assert!(dir.join("notes.txt").exists());
    }
}
