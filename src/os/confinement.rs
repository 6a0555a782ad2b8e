//! What a running process is held by and kept from.
//!
//! Responsible for reading it back from the kernel, in words for people. What was asked for is not
//! looked at: this is what is so.

use std::fs;
use std::path::Path;

/// Files of a cgroup that limit it, and what they say when they do not.
const LIMITS: [(&str, &str); 7] = [
    ("memory.max", "max"),
    ("memory.high", "max"),
    ("memory.swap.max", "max"),
    ("cpu.max", "max 100000"),
    ("cpu.weight", "100"),
    ("pids.max", "max"),
    ("io.weight", "default 100"),
];

/// Namespaces that a sandbox makes, by their names in /proc/PID/ns.
const NAMESPACES: [(&str, &str); 3] =
    [("mnt", "mounts of its own"), ("net", "a network of its own"), ("user", "users of its own")];

/// The limits in force in a cgroup; empty: none.
pub fn limits(cgroup: &Path) -> Vec<String> {
    LIMITS
        .iter()
        .filter_map(|(file, usual)| {
            let text = fs::read_to_string(cgroup.join(file)).ok()?;
            let value = text.lines().next()?.trim().to_owned();
            (value != *usual).then(|| format!("{file} {value}"))
        })
        .collect()
}

/// What the kernel keeps a process from beyond what it keeps us from; empty: nothing, or it is
/// gone. Landlock leaves no trace that could be read.
pub fn sandbox(pid: u32) -> Vec<String> {
    let mut found = Vec::new();
    for (name, words) in NAMESPACES {
        let of = |who: &str| fs::read_link(format!("/proc/{who}/ns/{name}")).ok();
        if let (Some(its), Some(ours)) = (of(&pid.to_string()), of("self"))
            && its != ours
        {
            found.push(words.to_owned());
        }
    }
    let status = |who: &str| fs::read_to_string(format!("/proc/{who}/status")).unwrap_or_default();
    let (its, ours) = (status(&pid.to_string()), status("self"));
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim_start_matches(':').trim().to_owned())
    };
    if field(&its, "NoNewPrivs").as_deref() == Some("1") {
        found.push("no new privileges".to_owned());
    }
    let bounding = field(&its, "CapBnd");
    if bounding.is_some() && bounding != field(&ours, "CapBnd") {
        found.push(format!("capabilities bounded to {}", bounding.unwrap_or_default()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_limits_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("memory.max", "1048576\n");
        write("memory.high", "max\n");
        write("cpu.max", "25000 100000\n");
        write("cpu.weight", "100\n");
        write("io.weight", "default 100\n8:0 20\n");
        assert_eq!(limits(dir.path()), ["memory.max 1048576", "cpu.max 25000 100000"]);
    }

    #[test]
    fn a_process_is_not_kept_from_more_than_itself() {
        let found = sandbox(std::process::id());
        assert!(found.iter().all(|word| word == "no new privileges"), "{found:?}");
    }
}
