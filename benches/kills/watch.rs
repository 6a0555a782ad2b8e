//! Looks from outside whether two processes of one identity live.
//!
//! Responsible for seeing, over and over. Must not ask the daemon.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Between two looks.
const GLANCE: Duration = Duration::from_millis(30);

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Sightings {
    /// Looks at all processes.
    pub(crate) looks: u64,
    /// Looks at which at least one member was seen.
    pub(crate) fruitful: u64,
    pub(crate) faults: Vec<String>,
}

/// Looks until it is done.
pub(crate) fn watch(dir: &Path, done: &AtomicBool) -> Sightings {
    let mut seen = Sightings::default();
    while !done.load(Ordering::Relaxed) {
        look(dir, &mut seen);
        std::thread::sleep(GLANCE);
    }
    seen
}

fn look(dir: &Path, seen: &mut Sightings) {
    let mut members: BTreeMap<String, (u32, String)> = BTreeMap::new();
    for (pid, words) in processes(dir) {
        let Some(name) =
            words.split_once(" --play member ").and_then(|(_, rest)| rest.rsplit_once(' '))
        else {
            continue;
        };
        let name = name.1.to_owned();
        if let Some((other, same)) = members.insert(name.clone(), (pid, words))
            // It may have ended before the second one began: only if it lives still, both do.
            && words_of(other).is_some_and(|now| now == same)
        {
            seen.faults.push(format!("{name} lives twice: processes {other} and {pid}"));
        }
    }
    seen.looks += 1;
    seen.fruitful += u64::from(!members.is_empty());
}

/// The processes with this folder in their words, and those words.
pub(crate) fn processes(dir: &Path) -> Vec<(u32, String)> {
    let needle = dir.display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(words) = words_of(pid).filter(|words| words.contains(&needle)) {
            found.push((pid, words));
        }
    }
    found
}

/// The command line; none if the process is gone or a zombie.
fn words_of(pid: u32) -> Option<String> {
    let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = String::from_utf8_lossy(&words).trim_end_matches('\0').replace('\0', " ");
    (!words.is_empty()).then_some(words)
}
