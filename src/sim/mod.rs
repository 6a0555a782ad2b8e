//! A made-up machine that drives the core: thousands of days of crashes, hangs, operators and
//! killed daemons in seconds, repeatable from one number.
//!
//! Responsible for worlds that are more hostile than real ones and for watching the core from
//! outside while they run. Pure: uses the core and its own generator of numbers, no clock, no
//! randomness of the machine.

mod fault;
mod guarded;
mod health;
mod invariant;
mod machine;
mod profile;
mod quiet;
pub mod random;
pub mod scenario;
mod store;
pub mod trace;
mod workload;
pub mod world;

use world::World;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which world.
    pub seed: u64,
    /// How many events the core is given, about.
    pub steps: u64,
    /// Keep the text of the transcript.
    pub transcript: bool,
}

/// How a run went.
#[derive(Clone, Debug)]
pub struct Summary {
    /// How many events the core was given.
    pub steps: u64,
    /// How many processes were started.
    pub started: u64,
    /// How much time went by in the world, in milliseconds.
    pub elapsed: u64,
    /// The hash of the transcript.
    pub hash: u64,
    /// The end of the transcript, if it was asked for.
    pub transcript: String,
    /// The rule that was broken, and by what.
    pub broken: Option<String>,
}

/// Runs a world: storms of everything that can happen, and a calm after each in which all must
/// come to rest.
pub fn run(options: Options) -> Summary {
    let mut world = World::new(options.seed, options.transcript);
    while world.steps() < options.steps && !world.is_broken() {
        let storm = world.storm_length().min(options.steps);
        world.storm(storm);
        world.calm();
    }
    world.summary()
}
