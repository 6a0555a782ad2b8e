//! What a world is like: how slow, how faulty, how busy.
//!
//! Responsible for the mix of a world's weather, drawn once from its seed, and for what a
//! process is like in it. Must not know the core.

use super::machine::Temper;
use super::random::Random;
use super::workload::{BROKEN, VERSION};
use crate::core::action::{Spawn, Step};
use crate::core::event::Exit;
use crate::core::id::Kind;

/// SIGSEGV, as a program that is wrong dies.
const SEGV: i32 = 11;
/// SIGTERM.
const TERM: i32 = 15;

/// What a world is like. Times in milliseconds, chances of a thousand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Profile {
    /// A message between daemon and runner takes at most so long.
    pub(super) message: u64,
    /// An exit is reported so late at most.
    pub(super) late: u64,
    /// The daemon wakes up so late at most.
    pub(super) wake: u64,
    /// A start fails.
    pub(super) start_fails: u64,
    /// A server ends by itself some time.
    pub(super) crashes: u64,
    /// A job's run fails.
    pub(super) run_fails: u64,
    /// The stop signal is ignored.
    pub(super) stubborn: u64,
    /// Something is left behind.
    pub(super) leaves: u64,
    /// The daemon dies in a turn.
    pub(super) daemon_dies: u64,
    /// An event is told twice.
    pub(super) repeats: u64,
    /// The longest pause between two wishes of operators.
    pub(super) wish_gap: u64,
    /// The longest pause between two faults.
    pub(super) fault_gap: u64,
}

impl Profile {
    pub(super) fn draw(random: &mut Random) -> Profile {
        Profile {
            message: random.pick(&[2, 10, 100, 3_000]),
            late: random.pick(&[0, 10, 2_000, 60_000]),
            wake: random.pick(&[0, 30, 200, 2_000]),
            start_fails: random.pick(&[5, 0, 50, 300]),
            crashes: random.pick(&[50, 0, 200, 600]),
            run_fails: random.pick(&[300, 0, 100, 800]),
            stubborn: random.pick(&[50, 0, 300]),
            leaves: random.pick(&[50, 0, 300]),
            daemon_dies: random.pick(&[2, 0, 4, 12]),
            repeats: random.pick(&[0, 5, 100]),
            wish_gap: random.pick(&[3_000, 500, 20_000, 120_000]),
            fault_gap: random.pick(&[60_000, 10_000, 600_000]),
        }
    }

    /// The same world when nothing goes wrong.
    pub(super) fn calmed(self) -> Profile {
        Profile {
            message: self.message.min(20),
            late: 0,
            wake: self.wake.min(5),
            start_fails: 0,
            crashes: 0,
            run_fails: 0,
            stubborn: 0,
            daemon_dies: 0,
            repeats: 0,
            ..self
        }
    }

    /// What a program that is to be started will be like; `None`: it cannot be started.
    pub(super) fn temper(&self, random: &mut Random, spawn: &Spawn, calm: bool) -> Option<Temper> {
        if random.permille(self.start_fails) {
            return None;
        }
        let broken = !calm
            && spawn.template.process.env.get(VERSION).is_some_and(|version| version == BROKEN);
        let ends = match (spawn.step, spawn.unit.kind) {
            (Step::Init(_), _) => {
                let code = i32::from(random.permille(self.crashes / 2));
                Some((random.span(2_000), Exit::Code(code)))
            }
            // Run beside a program, never started as one.
            (Step::Hook(_) | Step::Probe(_), _) => return None,
            (Step::Main, Kind::Job | Kind::CronJob) => self.run(random, broken, calm),
            (Step::Main, Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet) => {
                if broken {
                    Some((random.span(300), Exit::Code(1)))
                } else if random.permille(self.crashes) {
                    Some((random.span(600_000), failure(random, true)))
                } else {
                    None
                }
            }
        };
        let stops_in = (!random.permille(self.stubborn)).then(|| {
            let exit = if random.coin() { Exit::Code(0) } else { Exit::Signal(TERM) };
            (random.span(5_000), exit)
        });
        let kill_takes = if random.permille(10) { random.span(60_000) } else { random.span(20) };
        let leaves = random.permille(self.leaves).then(|| random.span(100_000));
        Some(Temper { ends, ready_in: None, stops_in, leaves, kill_takes })
    }

    fn run(&self, random: &mut Random, broken: bool, calm: bool) -> Option<(u64, Exit)> {
        if calm {
            return Some((random.span(2_000), Exit::Code(0)));
        }
        if random.permille(20) {
            return None;
        }
        let exit = if broken || random.permille(self.run_fails) {
            failure(random, false)
        } else {
            Exit::Code(0)
        };
        Some((random.span(20_000), exit))
    }
}

fn failure(random: &mut Random, also_none: bool) -> Exit {
    match random.weighted(&[5, 2, 2, 2, 1]) {
        0 => Exit::Code(1),
        1 => Exit::Code(2),
        2 => Exit::Code(42),
        3 if also_none => Exit::Code(0),
        _ => Exit::Signal(SEGV),
    }
}
