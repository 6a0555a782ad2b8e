//! Processes: how fast wsup starts, watches, restarts and stops them, beside the least that any
//! supervisor could do (`runtime/bare.c`), measured in the same run.
//!
//! `cargo bench --bench runtime` prints a table; words after `--` choose rows by their names
//! (`up`, `replicas`, `restart`, `storm`, `stop`, `memory`, `idle`, `ps`, `probes`, `jobs`, `growth`). Each
//! figure is the median of several runs, wsup and the bare loop in turn. Exits with 1 if a goal is
//! missed.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a program that measures may speak, and may end where what it measures is broken"
)]

#[path = "runtime/rig.rs"]
mod rig;

use nix::sys::signal::Signal;
use rig::{Rig, Run, memory, now, terminate, wakes};
use std::process::ExitCode;
use std::time::Duration;

/// Runs of a figure with up to 1,000 processes, and with more.
const REPEATS: usize = 5;
const REPEATS_MANY: usize = 3;
/// Processes that are killed one after the other for the figure of a single restart.
const KILLS: usize = 200;

/// The goals, and whether one was missed.
struct Table {
    wanted: Vec<String>,
    missed: bool,
}

impl Table {
    fn wants(&self, row: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|word| word == row)
    }

    fn row(&mut self, what: &str, ours: String, base: String, figure: f64, goal: f64) {
        let verdict = if figure <= goal { "" } else { "  MISSED" };
        self.missed |= figure > goal;
        println!("{what:<52} {ours:>12} {base:>12} {figure:>8.2} {goal:>6.2}{verdict}");
    }

    /// Two times in seconds, as a ratio.
    fn ratio(&mut self, what: &str, ours: &mut [f64], base: &mut [f64], goal: f64) {
        let (ours, base) = (median(ours), median(base));
        self.row(what, show(ours), show(base), ours / base, goal);
    }
}

fn show(seconds: f64) -> String {
    if seconds < 0.1 { format!("{:.2} ms", seconds * 1e3) } else { format!("{seconds:.3} s") }
}

fn median(values: &mut [f64]) -> f64 {
    quantile(values, 0.5)
}

fn quantile(values: &mut [f64], at: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values[((last as f64) * at).round() as usize]
}

/// How the processes come to be.
#[derive(Clone, Copy)]
enum Shape {
    /// A unit for each.
    Units,
    /// Replicas of one deployment.
    Replicas,
}

fn ours(rig: &mut Rig, shape: Shape, count: usize) -> Run {
    match shape {
        Shape::Units => {
            let text = rig.unit("kind = \"deployment\"");
            let units: Vec<_> = (0..count).map(|n| (format!("u{n}"), text.clone())).collect();
            rig.daemon(&units)
        }
        Shape::Replicas => {
            let text = rig.unit(&format!("kind = \"deployment\"\nreplicas = {count}"));
            rig.daemon(&[("many".to_owned(), text)])
        }
    }
}

/// Starts, and gives the seconds from before the start to the last process's first instruction,
/// and the processes.
fn up(rig: &mut Rig, start: impl FnOnce(&mut Rig) -> Run, count: usize) -> (Run, f64, Vec<i32>) {
    let begin = now();
    let run = start(rig);
    let notes = rig.notes(count);
    let last = notes.iter().map(|note| note.at).max().unwrap_or(begin);
    let pids = notes.iter().map(|note| note.pid).collect();
    (run, (last - begin) as f64 / 1e9, pids)
}

/// Everything up, and everything stopped: seconds of each.
fn up_and_down(rig: &mut Rig, start: impl FnOnce(&mut Rig) -> Run, count: usize) -> (f64, f64) {
    let (run, took, _) = up(rig, start, count);
    (took, run.stop())
}

fn row_up(table: &mut Table, rig: &mut Rig, shape: Shape, count: usize, what: &str) {
    let repeats = if count > 1_000 { REPEATS_MANY } else { REPEATS };
    let mut figures = [const { Vec::new() }; 4];
    for _ in 0..repeats {
        let (start, stop) = up_and_down(rig, |rig| ours(rig, shape, count), count);
        let (bare_start, bare_stop) = up_and_down(rig, |rig| rig.bare(count), count);
        for (all, one) in figures.iter_mut().zip([start, stop, bare_start, bare_stop]) {
            all.push(one);
        }
    }
    let [start, stop, bare_start, bare_stop] = &mut figures;
    table.ratio(&format!("{count} {what} up"), start, bare_start, 1.5);
    table.ratio(&format!("{count} {what} stopped"), stop, bare_stop, 1.5);
}

/// One process after the other is killed: seconds from each kill to its successor's first
/// instruction.
fn restarts(rig: &mut Rig, mut pids: Vec<i32>) -> Vec<f64> {
    let mut random: u64 = 1;
    (0..KILLS)
        .map(|_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (random >> 33) as usize % pids.len();
            let begin = now();
            terminate(pids[at], Signal::SIGKILL);
            let note = rig.notes(1)[0];
            pids[at] = note.pid;
            (note.at - begin) as f64 / 1e9
        })
        .collect()
}

/// All are killed at once: seconds until all are back.
fn storm(rig: &mut Rig, pids: &[i32]) -> f64 {
    let begin = now();
    pids.iter().for_each(|pid| terminate(*pid, Signal::SIGKILL));
    let notes = rig.notes(pids.len());
    (notes.iter().map(|note| note.at).max().unwrap_or(begin) - begin) as f64 / 1e9
}

fn row_restart(table: &mut Table, rig: &mut Rig, shape: Shape, count: usize, what: &str) {
    let (run, _, pids) = up(rig, |rig| ours(rig, shape, count), count);
    let mut wsup = restarts(rig, pids);
    run.stop();
    let (run, _, pids) = up(rig, |rig| rig.bare(count), count);
    let mut bare = restarts(rig, pids);
    run.stop();
    for (name, at, goal) in [("p50", 0.5, 1.5), ("p99", 0.99, 3.0)] {
        let (ours, base) = (quantile(&mut wsup, at), quantile(&mut bare, at));
        let what = format!("one of {count} {what} killed: back, {name}");
        table.row(&what, show(ours), show(base), ours / base, goal);
    }
}

fn row_storm(table: &mut Table, rig: &mut Rig, count: usize) {
    let (mut wsup, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        let (run, _, pids) = up(rig, |rig| ours(rig, Shape::Units, count), count);
        wsup.push(storm(rig, &pids));
        run.stop();
        let (run, _, pids) = up(rig, |rig| rig.bare(count), count);
        bare.push(storm(rig, &pids));
        run.stop();
    }
    table.ratio(&format!("{count} killed at once: all back"), &mut wsup, &mut bare, 1.5);
}

/// With many instances: memory, wake-ups, lists.
fn rows_at_rest(table: &mut Table, rig: &mut Rig, count: usize) {
    let one = ("one".to_owned(), rig.unit("kind = \"deployment\""));
    let many = rig.unit(&format!("kind = \"deployment\"\nreplicas = {}", count - 1));
    let (run, ..) = up(rig, |rig| rig.daemon(&[one, ("many".to_owned(), many)]), count);
    run.until(&["get", "deployment/many", "-o", "json"], |text| {
        text.contains(&format!("\"ready\":{}", count - 1))
            || text.contains(&format!("\"ready\": {}", count - 1))
    });
    let own = run.own();
    if table.wants("memory") {
        let kib = memory(&own) as f64;
        let goal = 6.0 * 1024.0 + 4.0 * count as f64;
        let what = format!("memory with {count} instances, {} processes", own.len());
        table.row(&what, format!("{kib} KiB"), format!("{goal} KiB"), kib / goal, 1.0);
    }
    if table.wants("idle") {
        let before = wakes(&own);
        std::thread::sleep(Duration::from_secs(10));
        let after = wakes(&own);
        let (switches, nanos) = (after.0 - before.0, after.1 - before.1);
        let cpu = format!("{:.2} ms CPU", nanos as f64 / 1e6);
        let what = format!("idle for 10 s with {count} instances: wake-ups");
        table.row(&what, switches.to_string(), cpu, switches as f64, 5.0);
    }
    if table.wants("ps") {
        let times = |words: &[&str]| -> f64 {
            let mut all: Vec<f64> = (0..21).map(|_| run.ctl(words).1).collect();
            median(&mut all)
        };
        let (all, one, ping) = (times(&["ps"]), times(&["ps", "deployment/one"]), times(&["ping"]));
        let what = format!("ctl ps of {count} instances, in units of 100 ms");
        table.row(&what, show(all), show(0.1), all / 0.1, 1.0);
        let what = format!("ctl ps of one unit among {count}, against ping");
        table.row(&what, show(one), show(ping), one / ping, 2.0);
    }
    run.stop();
}

/// A thousand probes in a second, by connections to a server of our own: what part of one processor
/// daemon and runner need for them.
fn row_probes(table: &mut Table, rig: &mut Rig) {
    let (count, span) = (1_000, Duration::from_secs(10));
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("an address").port();
    let answered = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&answered);
    std::thread::spawn(move || {
        while server.accept().is_ok() {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let head = format!(
        "kind = \"deployment\"\nreplicas = {count}\n[probes.liveness]\n\
         tcp = \"127.0.0.1:{port}\"\nperiod = \"1s\"\ntimeout = \"1s\""
    );
    let text = rig.unit(&head);
    let (run, ..) = up(rig, |rig| rig.daemon(&[("asked".to_owned(), text)]), count);
    std::thread::sleep(Duration::from_secs(2));
    let own = run.own();
    let before = (wakes(&own).1, answered.load(std::sync::atomic::Ordering::Relaxed));
    std::thread::sleep(span);
    let nanos = (wakes(&own).1 - before.0) as f64;
    let asked = answered.load(std::sync::atomic::Ordering::Relaxed) - before.1;
    let each_second = asked as f64 / span.as_secs_f64();
    let share = nanos / span.as_nanos() as f64;
    let what = format!("{each_second:.0} probes a second: part of a processor");
    table.row(&what, format!("{:.1} %", share * 100.0), "10 %".to_owned(), share / 0.1, 1.0);
    run.stop();
}

/// Ten thousand jobs that print one line, beside two busy loops: each line is in the log of the
/// instance that printed it.
fn row_jobs(table: &mut Table, rig: &mut Rig) {
    let count = 10_000;
    let unit = format!(
        "kind = \"job\"\n[job]\ncompletions = {count}\nparallelism = 64\n\
         completion_mode = \"indexed\"\n[process]\ncommand = [\"/bin/echo\", \"I am $(WSUP_INSTANCE)\"]\n"
    );
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    std::hint::black_box((0..10_000_u64).sum::<u64>());
                }
            });
        }
        let run = rig.daemon(&[("lines".to_owned(), unit)]);
        // The daemon may not listen yet; after ten seconds `ctl` says what is the matter.
        for _ in 0..1_000 {
            if run.path("run/wsup.sock").exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        run.ctl(&["wait", "job/lines", "--for", "complete", "--timeout", "10m"]);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let mut kept = 0;
        for entry in std::fs::read_dir(run.path("log/lines")).expect("logs").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(instance) = name.strip_suffix(".log") {
                let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
                kept += usize::from(text == format!("I am {instance}\n"));
            }
        }
        let lost = count - kept;
        let what = format!("{count} one-line jobs under load: lines lost");
        table.row(&what, lost.to_string(), "0".to_owned(), lost as f64, 0.0);
        run.stop();
    });
}

fn main() -> ExitCode {
    rig::raise_files();
    // `cargo bench` adds `--bench`.
    let wanted = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let mut table = Table { wanted, missed: false };
    let mut rig = Rig::new();
    println!("{:<52} {:>12} {:>12} {:>8} {:>6}", "", "wsup", "base", "figure", "goal");
    if table.wants("up") || table.wants("stop") {
        row_up(&mut table, &mut rig, Shape::Units, 1_000, "units");
    }
    if table.wants("restart") {
        row_restart(&mut table, &mut rig, Shape::Units, 1_000, "units");
    }
    if table.wants("storm") {
        row_storm(&mut table, &mut rig, 1_000);
    }
    if table.wants("replicas") {
        row_up(&mut table, &mut rig, Shape::Replicas, 10_000, "replicas");
    }
    if ["memory", "idle", "ps"].iter().any(|row| table.wants(row)) {
        rows_at_rest(&mut table, &mut rig, 10_000);
    }
    if table.wants("probes") {
        row_probes(&mut table, &mut rig);
    }
    if table.wants("jobs") {
        row_jobs(&mut table, &mut rig);
    }
    if table.wants("growth") {
        for count in [10, 100, 1_000, 4_000] {
            row_up(&mut table, &mut rig, Shape::Units, count, "units");
            row_restart(&mut table, &mut rig, Shape::Replicas, count, "replicas");
        }
    }
    if table.missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
