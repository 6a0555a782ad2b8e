//! A thousand kills: nothing but the daemon may notice that the daemon dies.
//!
//! A plain program: `cargo bench --bench kills`. A real daemon is killed (SIGKILL) at random moments and
//! started again while everything that it looks after is under way: a deployment that is rolled out all
//! the time, a statefulset that is updated and restarted, jobs that end at every moment, a cronjob of
//! each second, programs that crash, and programs that only talk. They are all this program again, and
//! write down by themselves when they begin and how they end: by that the daemon's own account is
//! judged, and so are its logs. Prints a table, and exits with 1 if anything in it is wrong.
//!
//! `KILLS` is how often (1,000), `SEED` repeats the choices of a run. Ctrl-C ends it early, with the
//! table. It needs no rights: who runs it and whether there are cgroups is said in the first line.

// A program that measures may speak, and may end where what it measures is broken.
#![allow(clippy::print_stdout, clippy::expect_used, clippy::panic)]

#[path = "kills/judge.rs"]
mod judge;
#[path = "kills/load.rs"]
mod load;
#[path = "kills/logs.rs"]
mod logs;
#[path = "kills/notes.rs"]
mod notes;
#[path = "kills/play.rs"]
mod play;
#[path = "kills/watch.rs"]
mod watch;
#[path = "kills/world.rs"]
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use world::World;
use wsup::sim::random::Random;

/// How often the daemon is killed.
const KILLS: u64 = 1_000;
/// The longest life of a daemon in milliseconds: from before it has read anything to long after it has
/// taken up all that it found.
const LIFE_MAX: u64 = 900;
/// Every second daemon is started at once, the others after up to so many milliseconds.
const PAUSE_MAX: u64 = 1_000;
/// Faults that are told one by one.
const FAULTS_SHOWN: usize = 40;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--play", role, dir, ref rest @ ..] => play::play(role, dir.as_ref(), rest),
        // Cargo says `--bench`.
        ["--bench"] | [] => show(),
        ref words => {
            println!(
                "error: no such way to end the daemon: {words:?}; so far it is killed, without words"
            );
            ExitCode::from(2)
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn show() -> ExitCode {
    let kills = number("KILLS").unwrap_or(KILLS);
    let seed = number("SEED").unwrap_or_else(|| notes::now() % 1_000_000);
    let enough = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&enough)).expect("a handler");
    }
    let begun = Instant::now();
    let mut world = World::begin();
    println!("seed {seed}, {kills} kills, {}", world.about());
    let load = load::Load::default();
    let done = AtomicBool::new(false);
    let (mut killed, mut unsettled) = (0, Vec::new());
    let sightings = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch::watch(world::dir_of(&world), &done));
        let operator = scope.spawn(|| load.put(world.operator(), Random::new(seed ^ 1), &done));
        killed = kill_often(&world, kills, &enough, &mut Random::new(seed));
        load.calm(&world.operator());
        world.answer();
        unsettled = judge::settle(&world.operator(), &load);
        done.store(true, Ordering::Relaxed);
        operator.join().expect("the operator's thread");
        watcher.join().expect("the watcher's thread")
    });
    let verdict = judge::judge(&world, &load, killed, &sightings, unsettled);
    for (what, wanted, found) in &verdict.rows {
        println!("{what:<58} {wanted:>12} {found:>8}");
    }
    println!("took {:.0} s", begun.elapsed().as_secs_f64());
    for fault in verdict.faults.iter().take(FAULTS_SHOWN) {
        println!("WRONG: {fault}");
    }
    match verdict.faults.len() {
        0 => ExitCode::SUCCESS,
        count => {
            println!("{count} faults; what was written is kept in {}", world.keep().display());
            ExitCode::FAILURE
        }
    }
}

/// Kills the daemon so often, and leaves one that lives.
fn kill_often(world: &World, kills: u64, enough: &AtomicBool, random: &mut Random) -> u64 {
    for killed in 0..kills {
        if enough.load(Ordering::Relaxed) {
            return killed;
        }
        let life = Duration::from_millis(random.below(LIFE_MAX));
        world.live(life);
        world.kill();
        if random.coin() {
            std::thread::sleep(Duration::from_millis(random.below(PAUSE_MAX)));
        }
        world.launch();
        if (killed + 1) % 100 == 0 {
            println!("{} kills", killed + 1);
        }
    }
    kills
}
