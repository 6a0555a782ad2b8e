//! Made-up worlds drive the core: thousands of them, each from a number, watched from outside.
//!
//! One million steps where `CI` is set, fewer elsewhere; `WSUP_SIM_STEPS=5000000` asks for more, `SEED=7` repeats one
//! world and prints its transcript if it fails. Seeds that ever failed are in `sim/seeds.txt`
//! and are played first.

// A test's own output is for people, and a broken rule ends it.
#![allow(clippy::print_stdout, clippy::panic)]

use std::time::Instant;
use wsup::sim::{Options, Summary, run};

/// Steps in all, where nobody asks for another number.
const STEPS: u64 = 200_000;
/// The same where `CI` is set.
const CI_STEPS: u64 = 1_000_000;
/// Steps of one world: some storms and calms.
const WORLD_STEPS: u64 = 4_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn world(seed: u64, transcript: bool) -> Summary {
    run(Options { seed, steps: WORLD_STEPS, transcript })
}

/// Plays a world; if a rule breaks, plays it again for its transcript and tells all.
fn play(seed: u64) -> Summary {
    let summary = world(seed, false);
    if let Some(broken) = &summary.broken {
        let again = world(seed, true);
        let lines: Vec<&str> = again.transcript.lines().collect();
        let shown = number("WSUP_SIM_LINES").unwrap_or(60) as usize;
        for line in lines.iter().skip(lines.len().saturating_sub(shown)) {
            println!("{line}");
        }
        assert_eq!(again.hash, summary.hash, "seed {seed} went another way the second time");
        panic!("seed {seed} after {} steps: {broken}\nrepeat it with SEED={seed}", summary.steps);
    }
    summary
}

#[test]
fn nothing_breaks_in_a_million_steps() {
    if let Some(seed) = number("SEED") {
        let summary = play(seed);
        println!("seed {seed}: {} steps, hash {:016x}", summary.steps, summary.hash);
        return;
    }
    let kept: Vec<u64> = include_str!("sim/seeds.txt")
        .lines()
        .filter_map(|line| line.split('#').next()?.trim().parse().ok())
        .collect();
    let usual = if std::env::var_os("CI").is_some() { CI_STEPS } else { STEPS };
    let wanted = number("WSUP_SIM_STEPS").unwrap_or(usual);
    let begin = Instant::now();
    let (mut steps, mut started, mut days, mut worlds) = (0, 0, 0, 0);
    for seed in kept.into_iter().chain(1..) {
        let summary = play(seed);
        steps += summary.steps;
        started += summary.started;
        days += summary.elapsed / 86_400_000;
        worlds += 1;
        if steps >= wanted {
            break;
        }
    }
    let took = begin.elapsed();
    println!(
        "{worlds} worlds, {steps} steps, {started} processes, {days} days, {took:.1?}: {:.0} steps/s",
        steps as f64 / took.as_secs_f64()
    );
}

#[test]
fn the_same_seed_is_the_same_world() {
    let (first, second) = (world(42, false), world(42, true));
    assert_eq!(first.hash, second.hash);
    assert_eq!(first.steps, second.steps);
    assert_ne!(first.hash, world(43, false).hash, "another seed is another world");
}
