//! What process trees use of the machine.
//!
//! Responsible for reading the kernel's accounts: a cgroup's own where its controllers keep them,
//! otherwise the sum over the processes of the tree in /proc. Reads on request only; must not
//! decide anything, and must not be called on a thread that others wait for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How deep below an instance's cgroup its own sub-cgroups are looked for; as deep as the runner
/// goes.
const DEPTH_MAX: u32 = 16;

/// How many parents are followed from a process to its instance: deeper trees are not honest.
const ANCESTORS_MAX: usize = 4_096;

/// An instance's main process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Main {
    /// Its number.
    pub pid: u32,
    /// The instance's name: the value of WSUP_INSTANCE in its environment.
    pub instance: String,
}

/// Where a figure is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The accounts of the instance's cgroup.
    Cgroup,
    /// The sum over its processes. What ended unseen is missing; shared memory counts for each.
    Processes,
}

impl Source {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Source::Cgroup => "cgroup",
            Source::Processes => "processes",
        }
    }
}

/// A figure and where it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure<T> {
    /// The figure.
    pub value: T,
    /// Where it is from.
    pub source: Source,
}

/// What one tree has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// CPU time since the start, in microseconds.
    pub cpu_usec: Figure<u64>,
    /// Memory, in bytes.
    pub memory: Figure<u64>,
    /// Processes and threads.
    pub tasks: Figure<u64>,
    /// Bytes read from and written to storage since the start; `None`: it may not be seen.
    pub io: Option<Figure<(u64, u64)>>,
}

/// Reads what these instances use. `cgroups` are the directories of the runners' cgroups, `runners`
/// their processes. An instance that is gone has no entry.
///
/// # Errors
/// /proc cannot be read.
pub fn read(
    mains: &[Main],
    cgroups: &[PathBuf],
    runners: &[u32],
) -> io::Result<BTreeMap<u32, Usage>> {
    let mut found = BTreeMap::new();
    let mut rest = Vec::new();
    for main in mains {
        match cgroup_of(main.pid, cgroups) {
            Some(dir) => drop(found.insert(main.pid, of_cgroup(&dir))),
            None => rest.push(main),
        }
    }
    if !rest.is_empty() {
        found.extend(of_trees(&rest, runners)?);
    }
    Ok(found)
}

/// The cgroup of an instance's main process: the one directly below a runner's directory.
pub fn cgroup_of(pid: u32, cgroups: &[PathBuf]) -> Option<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    cgroups.iter().find_map(|dir| {
        let name = dir.file_name()?.to_str()?;
        // It may have made further ones below and moved.
        let start = own.split('/').skip_while(|part| *part != name).nth(1)?;
        Some(dir.join(start))
    })
}

fn of_cgroup(dir: &Path) -> Usage {
    let number = |file: &str| -> Option<u64> {
        fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok()
    };
    let cgroup = |value| Figure { value, source: Source::Cgroup };
    let cpu = fs::read_to_string(dir.join("cpu.stat")).ok().and_then(|text| {
        text.lines().find_map(|line| line.strip_prefix("usage_usec "))?.trim().parse().ok()
    });
    let (memory, tasks) = (number("memory.current"), number("pids.current"));
    let io = fs::read_to_string(dir.join("io.stat")).ok().map(|text| io_stat(&text));
    // Only if something is missing: it is one file for each process.
    let sum = if cpu.is_none() || memory.is_none() || tasks.is_none() || io.is_none() {
        let mut pids = Vec::new();
        members(dir, DEPTH_MAX, &mut pids);
        pids.iter().filter_map(|pid| process(*pid)).fold(Sum::default(), Sum::with)
    } else {
        Sum::default()
    };
    let summed = sum.usage();
    Usage {
        cpu_usec: cpu.map_or(summed.cpu_usec, cgroup),
        memory: memory.map_or(summed.memory, cgroup),
        tasks: tasks.map_or(summed.tasks, cgroup),
        io: io.map(|value| Figure { value, source: Source::Cgroup }).or(summed.io),
    }
}

/// `MAJ:MIN rbytes=N wbytes=N rios=N ...` for each device.
fn io_stat(text: &str) -> (u64, u64) {
    let sum = |name: &str| {
        text.split_whitespace()
            .filter_map(|word| word.strip_prefix(name)?.parse::<u64>().ok())
            .fold(0, u64::saturating_add)
    };
    (sum("rbytes="), sum("wbytes="))
}

fn members(dir: &Path, depth: u32, pids: &mut Vec<u32>) {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    if depth == 0 {
        return;
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            members(&entry.path(), depth - 1, pids);
        }
    }
}

/// What /proc/PID/stat says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    group: u32,
    session: u32,
    /// Its own and that of its children that it has waited for, in clock ticks.
    ticks: u64,
    threads: u64,
    pages: u64,
}

fn process(pid: u32) -> Option<Process> {
    parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(pid: u32, stat: &str) -> Option<Process> {
    // The name may have anything in it, so from its end; field 3 of proc_pid_stat(5) is the first.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let small = |field: usize| u32::try_from(number(field)?).ok();
    Some(Process {
        pid,
        parent: small(4)?,
        group: small(5)?,
        session: small(6)?,
        ticks: (14..=17).filter_map(number).fold(0, u64::saturating_add),
        threads: number(20)?,
        pages: number(24)?,
    })
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    ticks: u64,
    threads: u64,
    pages: u64,
    io: Option<(u64, u64)>,
}

impl Sum {
    fn with(mut self, process: Process) -> Sum {
        self.ticks = self.ticks.saturating_add(process.ticks);
        self.threads = self.threads.saturating_add(process.threads);
        self.pages = self.pages.saturating_add(process.pages);
        if let Some((read, written)) = io_of(process.pid) {
            let (r, w) = self.io.unwrap_or_default();
            self.io = Some((r.saturating_add(read), w.saturating_add(written)));
        }
        self
    }

    fn usage(self) -> Usage {
        let figure = |value| Figure { value, source: Source::Processes };
        let ticks = system(nix::unistd::SysconfVar::CLK_TCK, 100);
        let page = system(nix::unistd::SysconfVar::PAGE_SIZE, 4_096);
        Usage {
            cpu_usec: figure(self.ticks.saturating_mul(1_000_000 / ticks)),
            memory: figure(self.pages.saturating_mul(page)),
            tasks: figure(self.threads),
            io: self.io.map(|value| Figure { value, source: Source::Processes }),
        }
    }
}

/// A constant of the system, never 0.
fn system(which: nix::unistd::SysconfVar, usual: u64) -> u64 {
    let value = nix::unistd::sysconf(which).ok().flatten();
    value.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(usual)
}

/// Only its owner and root may look.
fn io_of(pid: u32) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let number = |name: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
    };
    Some((number("read_bytes:")?, number("write_bytes:")?))
}

/// Sums over trees that no cgroup holds together: by session and process group of the main process,
/// by parents, and for what the runner has adopted by the environment.
fn of_trees(mains: &[&Main], runners: &[u32]) -> io::Result<BTreeMap<u32, Usage>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        if let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok())
            && let Some(process) = process(pid)
        {
            all.insert(pid, process);
        }
    }
    let by_name: BTreeMap<&[u8], u32> =
        mains.iter().map(|main| (main.instance.as_bytes(), main.pid)).collect();
    let adopted = |process: &Process| -> Option<u32> {
        let environ = fs::read(format!("/proc/{}/environ", process.pid)).ok()?;
        let name = environ
            .split(|byte| *byte == 0)
            .find_map(|entry| entry.strip_prefix(b"WSUP_INSTANCE="))?;
        by_name.get(name).copied()
    };
    let owners = owners(&all, &mains.iter().map(|main| main.pid).collect(), runners, adopted);
    let mut sums: BTreeMap<u32, Sum> = BTreeMap::new();
    for (pid, main) in owners {
        if let Some(process) = all.get(&pid) {
            let sum = sums.remove(&main).unwrap_or_default();
            sums.insert(main, sum.with(*process));
        }
    }
    Ok(sums.into_iter().map(|(main, sum)| (main, sum.usage())).collect())
}

/// Which main process each process belongs to.
fn owners(
    all: &BTreeMap<u32, Process>,
    mains: &BTreeSet<u32>,
    runners: &[u32],
    adopted: impl Fn(&Process) -> Option<u32>,
) -> BTreeMap<u32, u32> {
    let mut known: BTreeMap<u32, Option<u32>> = BTreeMap::new();
    for start in all.values() {
        let mut way = Vec::new();
        let mut next = Some(start);
        let mut owner = None;
        while let Some(process) = next.filter(|_| way.len() < ANCESTORS_MAX) {
            if let Some(found) = known.get(&process.pid) {
                owner = *found;
                break;
            }
            way.push(process.pid);
            let led = [process.pid, process.session, process.group];
            if let Some(main) = led.into_iter().find(|pid| mains.contains(pid)) {
                owner = Some(main);
                break;
            }
            if runners.contains(&process.parent) {
                owner = adopted(process);
                break;
            }
            next = all.get(&process.parent);
        }
        known.extend(way.into_iter().map(|pid| (pid, owner)));
    }
    known.into_iter().filter_map(|(pid, owner)| Some((pid, owner?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_from_its_stat() {
        let stat = "7 (a) S 1 (b) R 3 4 5 34816 0 6 7 8 9 10 11 12 13 14 20 0 9 0 4242 1000 77 0";
        let expected = Process {
            pid: 7,
            parent: 3,
            group: 4,
            session: 5,
            ticks: 11 + 12 + 13 + 14,
            threads: 9,
            pages: 77,
        };
        assert_eq!(parse(7, stat), Some(expected));
        assert_eq!(parse(7, "7 (x) R 1"), None);
    }

    #[test]
    fn bytes_of_all_devices_are_added() {
        let text = "8:0 rbytes=100 wbytes=20 rios=3 wios=1 dbytes=0 dios=0\n8:16 rbytes=1\n";
        assert_eq!(io_stat(text), (101, 20));
        assert_eq!(io_stat(""), (0, 0));
    }

    #[test]
    fn every_process_belongs_to_the_instance_that_it_comes_from() {
        let p = |pid, parent, group, session| {
            let process = Process { pid, parent, group, session, ticks: 0, threads: 1, pages: 0 };
            (pid, process)
        };
        // 2 is the runner, 10 and 20 are main processes.
        let all = BTreeMap::from([
            p(1, 0, 1, 1),
            p(2, 1, 2, 2),
            p(10, 2, 10, 10),
            p(11, 10, 10, 10),
            // A session of its own, below its parent still, and its child.
            p(12, 11, 12, 12),
            p(13, 12, 12, 12),
            p(20, 2, 20, 20),
            // Orphans: in the session, and with a name only.
            p(21, 2, 21, 20),
            p(22, 2, 22, 22),
            p(23, 22, 22, 22),
            // Nobody's.
            p(30, 2, 30, 30),
            p(40, 1, 40, 40),
        ]);
        let adopted = |process: &Process| (process.pid == 22).then_some(20);
        let found = owners(&all, &BTreeSet::from([10, 20]), &[2], adopted);
        let expected =
            [(10, 10), (11, 10), (12, 10), (13, 10), (20, 20), (21, 20), (22, 20), (23, 20)];
        assert_eq!(found, BTreeMap::from(expected));
    }

    #[test]
    fn our_own_use_is_seen() {
        let own = Main { pid: std::process::id(), instance: "x".into() };
        let usage = read(std::slice::from_ref(&own), &[], &[]).unwrap()[&own.pid];
        assert!(usage.memory.value > 0 && usage.tasks.value > 0, "{usage:?}");
        assert_eq!(usage.memory.source, Source::Processes);
    }
}
