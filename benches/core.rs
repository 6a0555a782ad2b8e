//! Core steps per second, by the number of units and by the number of replicas of one unit.
//!
//! A plain program: `cargo bench --bench core`. The core is driven as the daemon drives it, one
//! event a turn: `handle`, `settle`, every action taken. In each round the program of one instance
//! dies, waits for its back-off and is started again, which is three events. The rounds come at
//! such a pace that an instance lives equally long however many there are.
//!
//! Counted is this thread's own processor time: what else the machine does only counts in so far as
//! it takes the processor's caches.
//!
//! Exits with 1 if the work per event grows with the number of units or with the number of replicas
//! of one unit: 10,000 may cost at most twice as much per event as 10.

// A program that measures may speak, and may end where what it measures is broken.
#![allow(clippy::print_stdout, clippy::expect_used)]

use nix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wsup::core::action::Action;
use wsup::core::event::{Event, Exit, UnitsRead};
use wsup::core::guard::StormGuard;
use wsup::core::id::{InstanceId, UnitName};
use wsup::core::schedule::Zones;
use wsup::core::time::{Mono, Now, Wall};
use wsup::core::{Config, Core};
use wsup::unit::{Content, Source};

/// An instance lives so long on average: far less than `reset_after`, so that the back-off is in
/// force.
const LIFE_MS: u64 = 60_000;
/// Each size is measured so long, and so often; the best counts, for the machine has other work.
const MEASURED: Duration = Duration::from_millis(300);
const REPEATS: usize = 5;
/// What comes before the measuring takes no longer than this.
const WARM_UP_MAX: Duration = Duration::from_secs(4);
/// The most that an event may cost with 10,000 units, or replicas of one, compared with 10.
const FACTOR: f64 = 2.0;

struct Utc;

impl Zones for Utc {
    fn zone(&self, name: Option<&str>) -> Option<jiff::tz::TimeZone> {
        name.is_none().then_some(jiff::tz::TimeZone::UTC)
    }
}

fn unit(number: usize, replicas: usize) -> Source {
    let text = format!(
        "kind = \"deployment\"\nreplicas = {replicas}\n[process]\ncommand = [\"/bin/serve\", \"{number}\"]\n\
         [restart]\nbackoff = {{ initial = \"1s\", factor = 1.0, max = \"1s\" }}\n"
    );
    Source {
        path: PathBuf::from(format!("u{number}.toml")),
        layer: 0,
        content: Content::Bytes(text.into_bytes()),
        drop_ins: Vec::new(),
    }
}

/// A core and the machine that it believes to be on.
struct World {
    core: Core,
    at: u64,
    living: Vec<InstanceId>,
    steps: u64,
    random: u64,
    gap: u64,
}

impl World {
    fn new(units: usize, replicas: usize) -> World {
        let loaded = wsup::unit::load((0..units).map(|n| unit(n, replicas)).collect());
        let complaints = loaded.files.iter().flat_map(|file| &file.diagnostics);
        let complaints: Vec<String> = complaints.map(|d| loaded.render(d, false)).collect();
        assert_eq!(complaints, [""; 0], "the units are valid");
        let config = Config {
            seed: 1,
            node: UnitName::new("bench").expect("a label"),
            node_labels: BTreeMap::new(),
            zones: Arc::new(Utc),
            storm_guard: StormGuard::OFF,
        };
        let mut world = World {
            core: Core::new(config),
            at: 1_000_000,
            living: Vec::new(),
            steps: 0,
            random: 1,
            gap: LIFE_MS / (units * replicas) as u64,
        };
        let valid = loaded.units;
        world.turn(Event::Units(UnitsRead { valid, invalid: BTreeMap::new(), explicit: true }));
        assert_eq!(world.living.len(), units * replicas, "all run");
        world
    }

    fn now(&self) -> Now {
        let wall = 1_790_000_000_000 + i64::try_from(self.at).expect("a short run");
        Now { mono: Mono(self.at), wall: Wall(wall) }
    }

    /// One event as the daemon gives it, and then together those that answer what it leads to.
    fn turn(&mut self, event: Event) {
        let mut events = vec![event];
        while !events.is_empty() {
            let now = self.now();
            for event in events.drain(..) {
                let _ = self.core.handle(now, event);
                self.steps += 1;
            }
            self.core.settle(now);
            while let Some(action) = self.core.poll_action() {
                if let Action::Spawn(spawn) = &action {
                    self.living.push(spawn.id);
                    events.push(Event::Spawned { id: spawn.id, pid: 1 });
                }
                black_box(action);
            }
        }
    }

    /// Lets time pass, and whatever is due by then happen.
    fn pass(&mut self, ms: u64) {
        let until = self.at + ms;
        while let Some(deadline) = self.core.next_deadline().filter(|d| d.0 <= until) {
            self.at = self.at.max(deadline.0);
            self.turn(Event::Tick);
        }
        self.at = until;
    }

    /// One instance, whichever, dies.
    fn crash(&mut self) {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let count = self.living.len() as u64;
        if count > 0 {
            let chosen = ((self.random >> 33) % count) as usize;
            let id = self.living.swap_remove(chosen);
            self.turn(Event::Exited { id, exit: Exit::Signal(11), at: Mono(self.at) });
        }
    }

    fn round(&mut self) {
        self.crash();
        self.pass(self.gap);
    }
}

/// What this thread has used of a processor.
fn used() -> Duration {
    let clock = ClockId::CLOCK_THREAD_CPUTIME_ID;
    Duration::from(clock_gettime(clock).expect("Linux has this clock"))
}

/// Steps per second of a core with so many units of so many replicas.
fn measure(units: usize, replicas: usize) -> f64 {
    let mut world = World::new(units, replicas);
    // Long enough that most instances have died before, so that the back-off is in force.
    let begin = Instant::now();
    for _ in 0..(units * replicas * 2) {
        world.round();
        if begin.elapsed() > WARM_UP_MAX {
            break;
        }
    }
    let mut best = 0.0_f64;
    for _ in 0..REPEATS {
        let (before, begin) = (world.steps, used());
        while used() - begin < MEASURED {
            for _ in 0..16 {
                world.round();
            }
        }
        let took = (used() - begin).as_secs_f64();
        best = best.max((world.steps - before) as f64 / took);
    }
    best
}

/// Prints a table and returns how many times more the last row's event costs than the first's.
fn table(title: &str, rows: &[(usize, usize)]) -> f64 {
    println!("\n{title:>24}  {:>12}  {:>9}  {:>6}", "steps/s", "us/step", "ratio");
    let mut first = None;
    let mut ratio = 1.0;
    for (units, replicas) in rows {
        let speed = measure(*units, *replicas);
        ratio = *first.get_or_insert(speed) / speed;
        let many = units * replicas;
        println!("{many:>24}  {speed:>12.0}  {:>9.2}  {ratio:>6.2}", 1e6 / speed);
    }
    ratio
}

fn main() -> ExitCode {
    let sizes = [10, 100, 1_000, 10_000];
    let ratio = table("units of one replica", &sizes.map(|n| (n, 1)));
    let of_one = table("replicas of one unit", &sizes.map(|n| (1, n)));
    let mut code = ExitCode::SUCCESS;
    for (ratio, what) in [(ratio, "units"), (of_one, "replicas of one unit")] {
        if ratio > FACTOR {
            println!("\nan event costs {ratio:.2} times as much with 10,000 {what} as with 10");
            code = ExitCode::FAILURE;
        }
    }
    code
}
