//! What daemonsets count as nodes: this machine, its CPUs, its NUMA nodes, or the paths that match
//! a pattern, followed as they come and go.
//!
//! Responsible for finding them, naming them, and telling of changes. Nothing is polled: paths are
//! followed by inotify on the directories in which a change of the answer would show, CPUs and
//! NUMA nodes by the kernel's device events.

mod glob;
mod hotplug;

use super::watch::WatchSet;
use crate::core::id::UnitName;
use crate::core::spec::Nodes;
use glob::Pattern;
use hotplug::Hotplug;
use std::collections::BTreeMap;
use std::future::pending;
use std::path::Path;

/// The nodes of one daemonset: each one's name, and its path if it has one.
pub type NodeSet = BTreeMap<String, Option<String>>;

/// Follows what one daemonset counts as nodes, and calls `tell` with the whole set: once at the
/// start and after each change. Does not return; drop it to end it.
pub async fn follow(nodes: Nodes, machine: UnitName, base: &Path, mut tell: impl FnMut(NodeSet)) {
    let pattern = match nodes {
        Nodes::Machine => {
            tell(NodeSet::from([(machine.to_string(), None)]));
            return pending().await;
        }
        Nodes::Cpus => {
            return follow_count("cpu", "/sys/devices/system/cpu/online", tell).await;
        }
        Nodes::Numa => {
            return follow_count("numa", "/sys/devices/system/node/online", tell).await;
        }
        Nodes::Glob(text) => Pattern::new(&base.join(&text).to_string_lossy()),
    };
    let mut watch = match WatchSet::new() {
        Ok(watch) => watch,
        Err(error) => {
            tracing::warn!("cannot follow {pattern}: {error}; its paths are looked up once");
            tell(glob::name(&pattern, &pattern.find().0, &NodeSet::new()));
            return pending().await;
        }
    };
    let mut known: Option<NodeSet> = None;
    loop {
        let paths = settled(&pattern, &mut watch);
        let named = glob::name(&pattern, &paths, known.as_ref().unwrap_or(&NodeSet::new()));
        if known.as_ref() != Some(&named) {
            known = Some(named.clone());
            tell(named);
        }
        if let Err(error) = watch.changed().await {
            tracing::warn!("following {pattern}: {error}; no further changes are noticed");
            return pending().await;
        }
    }
}

/// Follows what the kernel lists in a file, by its device events.
async fn follow_count(prefix: &str, file: &str, mut tell: impl FnMut(NodeSet)) {
    let events = Hotplug::new();
    let mut known = counted(prefix, Path::new(file));
    tell(known.clone());
    let events = match events {
        Ok(events) => events,
        Err(error) => {
            tracing::warn!("changes of {file} are not noticed: {error}");
            return pending().await;
        }
    };
    while events.changed().await.is_ok() {
        let now = counted(prefix, Path::new(file));
        if now != known {
            known = now.clone();
            tell(now);
        }
    }
    tracing::warn!("changes of {file} are no longer noticed");
    pending().await
}

/// Looks and watches until looking again shows no directory that is not watched yet: one that
/// appeared between the look and the watch would never be noticed otherwise.
fn settled(pattern: &Pattern, watch: &mut WatchSet) -> Vec<String> {
    /// Directories may come and go as fast as we look; the next change wakes us anyway.
    const LOOKS_MAX: usize = 10;
    let (mut paths, mut directories) = pattern.find();
    for _ in 0..LOOKS_MAX {
        watch.set(&directories);
        let (now, needed) = pattern.find();
        let same = needed == directories;
        (paths, directories) = (now, needed);
        if same {
            break;
        }
    }
    paths
}

/// The numbers of a kernel list file such as `0-3,8`, as names. A machine that has no such file
/// has one of the thing.
fn counted(prefix: &str, file: &Path) -> NodeSet {
    let text = std::fs::read_to_string(file).unwrap_or_else(|_| "0".to_owned());
    numbers(text.trim()).into_iter().map(|n| (format!("{prefix}{n}"), None)).collect()
}

/// Reads a kernel list: numbers and inclusive ranges, separated by commas.
fn numbers(text: &str) -> Vec<u32> {
    text.split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.trim().parse::<u32>().ok()?..=last.trim().parse::<u32>().ok()?)
        })
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    #[test]
    fn kernel_lists_are_read() {
        assert_eq!(numbers("0-2,5,7-8"), [0, 1, 2, 5, 7, 8]);
        assert_eq!(numbers("0"), [0]);
        assert_eq!(numbers(""), [] as [u32; 0]);
    }

    #[tokio::test]
    async fn cpus_and_numa_nodes_are_there() {
        for (nodes, first) in [(Nodes::Cpus, "cpu0"), (Nodes::Numa, "numa0")] {
            let (tx, rx) = mpsc::channel();
            let name = UnitName::new("here").unwrap();
            let following = follow(nodes, name, Path::new("/"), move |set| {
                let _ = tx.send(set);
            });
            let _ = tokio::time::timeout(Duration::from_millis(10), following).await;
            assert!(rx.recv().unwrap().contains_key(first));
        }
    }

    /// Paths behind directories with wildcards that come and go are followed within 100 ms.
    #[tokio::test]
    async fn paths_are_followed_as_they_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
        let name = UnitName::new("here").unwrap();
        let glob = Nodes::Glob("slots/s[0-9]*/dev?".to_owned());
        let base = dir.path().to_owned();
        let follower = tokio::spawn(async move {
            follow(glob, name, &base, move |set| {
                let _ = tx.send((Instant::now(), set));
            })
            .await;
        });
        let at = |path: &str| dir.path().join(path);
        assert_eq!(rx.recv().await.unwrap().1, NodeSet::new());
        let steps: [(&dyn Fn(), &[&str]); 6] = [
            (&|| std::fs::create_dir_all(at("slots/s1/dev1")).unwrap(), &["s1-dev1"]),
            (&|| std::fs::create_dir(at("slots/s2")).unwrap(), &["s1-dev1"]),
            (&|| std::fs::write(at("slots/s2/devB"), "").unwrap(), &["s1-dev1", "s2-devb"]),
            (
                &|| std::fs::rename(at("slots/s1"), at("slots/s30")).unwrap(),
                &["s2-devb", "s30-dev1"],
            ),
            (&|| std::fs::remove_dir_all(at("slots")).unwrap(), &[]),
            (&|| std::fs::create_dir_all(at("slots/s1/dev1")).unwrap(), &["s1-dev1"]),
        ];
        for (step, expected) in steps {
            let before = Instant::now();
            step();
            if expected == ["s1-dev1"] && at("slots/s2").exists() && !at("slots/s2/devB").exists() {
                continue;
            }
            loop {
                let got = tokio::time::timeout(Duration::from_secs(5), rx.recv()).await;
                let (when, set) = got.unwrap().unwrap();
                if set.keys().map(String::as_str).eq(expected.iter().copied()) {
                    assert!(when - before < Duration::from_millis(100), "{:?}", when - before);
                    break;
                }
            }
        }
        follower.abort();
    }
}
