//! Whether all lines are in the logs, once and in order.
//!
//! Responsible for reading log files of all generations as anybody would. Must not ask the daemon.

use super::notes::{Note, What};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use wsup::runner::logs::segment_path;

/// Who wrote to which stream.
type Writer = (u32, &'static str);

/// The lines of an instance's log: how many each process wrote to each stream, and what is wrong with them.
fn lines(dir: &Path, unit: &str, instance: &str) -> (BTreeMap<Writer, u64>, Vec<String>) {
    let present = dir.join("log").join(unit).join(format!("{instance}.log"));
    let older = (0..).take_while(|number| segment_path(&present, *number).exists()).count();
    let (mut last, mut faults) = (BTreeMap::new(), Vec::new());
    for number in (0..u32::try_from(older).unwrap_or(u32::MAX)).rev() {
        let text = fs::read(segment_path(&present, number)).unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines() {
            match parse(line) {
                Some((writer, number)) => {
                    let before = last.insert(writer, number).unwrap_or(0);
                    if number != before + 1 {
                        faults.push(format!("{instance}: {writer:?}: {number} after {before}"));
                    }
                }
                None => faults.push(format!("{instance}: no line of ours: {line:?}")),
            }
        }
    }
    (last, faults)
}

fn parse(line: &str) -> Option<(Writer, u64)> {
    let mut words = line.split(' ');
    let stream = match words.next()? {
        "out" => "out",
        "err" => "err",
        _ => return None,
    };
    let (pid, number) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    line.ends_with("some more words").then_some(((pid, stream), number))
}

/// What is wrong with the logs of a unit whose processes have all ended, by what they wrote down.
pub(crate) fn faults(dir: &Path, unit: &str, notes: &[&Note]) -> Vec<String> {
    let mut wrote: BTreeMap<&str, BTreeMap<Writer, u64>> = BTreeMap::new();
    for note in notes {
        let of = wrote.entry(&note.instance).or_default();
        if matches!(note.what, What::Exit(_) | What::Asked) {
            of.insert((note.pid, "out"), note.lines[0]);
            of.insert((note.pid, "err"), note.lines[1]);
        }
    }
    let mut faults = Vec::new();
    for (instance, wrote) in wrote {
        let (found, wrong) = lines(dir, unit, instance);
        faults.extend(wrong);
        for (writer, count) in &wrote {
            let found = found.get(writer).copied().unwrap_or(0);
            if found != *count {
                let all = format!("{writer:?} wrote {count} lines, the last found is {found}");
                faults.push(format!("{instance}: {all}"));
            }
        }
        for writer in found.keys().filter(|writer| !wrote.contains_key(*writer)) {
            faults.push(format!("{instance}: lines of {writer:?}, of whose end nothing is known"));
        }
    }
    faults
}
