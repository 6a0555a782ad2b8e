//! Made-up worlds drive the core: thousands of them, each from a number, watched from outside.
//!
//! Worlds are played on all cores; each is the same wherever and whenever it is played. Five
//! million steps where `CI` is set, fewer elsewhere; `WSUP_SIM_STEPS=100000000` asks for more, and
//! `WSUP_SIM_FROM=1000000` begins at another seed. `SEED=7` repeats one world and prints its
//! transcript if it fails. A search that is to go on after a failure, up to so many, is asked for
//! by `WSUP_SIM_FAILURES=10`. Seeds that ever failed are in `sim/seeds.txt` and are played first.

// A test's own output is for people, and a broken rule ends it.
#![allow(clippy::print_stdout, clippy::panic)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use wsup::sim::{Options, Summary, run};

/// Steps in all, where nobody asks for another number.
const STEPS: u64 = 200_000;
/// The same where `CI` is set.
const CI_STEPS: u64 = 5_000_000;
/// Steps of one world: some storms and calms.
const WORLD_STEPS: u64 = 4_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn world(seed: u64, transcript: bool) -> Summary {
    run(Options { seed, steps: WORLD_STEPS, transcript })
}

/// Plays a world that broke a rule again, for its transcript, and tells all.
fn tell(seed: u64, summary: &Summary) -> ! {
    let again = world(seed, true);
    let lines: Vec<&str> = again.transcript.lines().collect();
    let shown = number("WSUP_SIM_LINES").unwrap_or(60) as usize;
    for line in lines.iter().skip(lines.len().saturating_sub(shown)) {
        println!("{line}");
    }
    assert_eq!(again.hash, summary.hash, "seed {seed} went another way the second time");
    let broken = summary.broken.as_deref().unwrap_or_default();
    panic!("seed {seed} after {} steps: {broken}\nrepeat it with SEED={seed}", summary.steps);
}

/// What was played so far, by all threads.
#[derive(Default)]
struct Total {
    worlds: u64,
    steps: u64,
    started: u64,
    days: u64,
    failed: Vec<(u64, Summary)>,
}

impl Total {
    fn add(&mut self, seed: u64, summary: Summary) {
        self.worlds += 1;
        self.steps += summary.steps;
        self.started += summary.started;
        self.days += summary.elapsed / 86_400_000;
        if let Some(broken) = &summary.broken {
            println!("seed {seed} after {} steps: {broken}", summary.steps);
            self.failed.push((seed, summary));
        }
    }
}

/// Plays worlds on all cores until they have taken so many steps or so many have failed.
fn play(kept: &[u64], from: u64, wanted: u64, failures: usize) -> Total {
    let total = Mutex::new(Total::default());
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let seed = usize::try_from(at).ok().and_then(|at| kept.get(at).copied());
                    let seed = seed.unwrap_or_else(|| from + at.saturating_sub(kept.len() as u64));
                    let summary = world(seed, false);
                    let Ok(mut total) = total.lock() else { return };
                    total.add(seed, summary);
                    if total.steps >= wanted || total.failed.len() >= failures {
                        return;
                    }
                }
            });
        }
    });
    total.into_inner().unwrap_or_default()
}

#[test]
fn nothing_breaks_in_a_million_steps() {
    if let Some(seed) = number("SEED") {
        let summary = world(seed, false);
        if summary.broken.is_some() {
            tell(seed, &summary);
        }
        println!("seed {seed}: {} steps, hash {:016x}", summary.steps, summary.hash);
        return;
    }
    let kept: Vec<u64> = include_str!("sim/seeds.txt")
        .lines()
        .filter_map(|line| line.split('#').next()?.trim().parse().ok())
        .collect();
    let usual = if std::env::var_os("CI").is_some() { CI_STEPS } else { STEPS };
    let wanted = number("WSUP_SIM_STEPS").unwrap_or(usual);
    let failures = number("WSUP_SIM_FAILURES").map_or(1, |n| n as usize);
    let begin = Instant::now();
    let total = play(&kept, number("WSUP_SIM_FROM").unwrap_or(1), wanted, failures);
    let took = begin.elapsed();
    println!(
        "{} worlds, {} steps, {} processes, {} days, {took:.1?}: {:.0} steps/s",
        total.worlds,
        total.steps,
        total.started,
        total.days,
        total.steps as f64 / took.as_secs_f64()
    );
    // Of several the one with the least number, so that it does not depend on who was faster.
    if let Some((seed, summary)) = total.failed.iter().min_by_key(|(seed, _)| *seed) {
        tell(*seed, summary);
    }
}

#[test]
fn the_same_seed_is_the_same_world() {
    let (first, second) = (world(42, false), world(42, true));
    assert_eq!(first.hash, second.hash);
    assert_eq!(first.steps, second.steps);
    assert_ne!(first.hash, world(43, false).hash, "another seed is another world");
}
