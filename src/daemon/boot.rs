//! From settings to a loop that can turn: locks, stores, the runner, what earlier daemons left.
//!
//! Responsible for the order of a start and for what stands in its way. Must not handle events.

use super::environment;
use super::lock::{self, Lock, Refused};
use super::plan::Planner;
use super::runner::{FIRST, RunnerNumber};
use super::settings::{Mode, Settings};
use super::store::Store;
use super::zones::SystemZones;
use crate::core::event::{Found, Living};
use crate::core::id::InstanceId;
use crate::core::{Config, Core};
use crate::os::clock;
use crate::runner::client::Link;
use crate::runner::launch::{Launch, START_PATIENCE, find, find_or_start};
use crate::runner::protocol::{Command, Notice, Outcome};
use std::fmt;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The control socket's name in the runtime directory.
pub const SOCKET_NAME: &str = "wsup.sock";

/// The folder of the runners beside the first one, in the runtime directory.
const BESIDE: &str = "runners";

/// How long the runner may take to tell what happened while no daemon was there.
const BACKLOG_PATIENCE: Duration = Duration::from_secs(30);

/// Everything a loop begins with.
#[derive(Debug)]
pub struct Booted {
    /// Ends with the daemon.
    pub lock: Lock,
    /// What is remembered.
    pub store: Store,
    /// The connections to the runners.
    pub links: Vec<(RunnerNumber, Link)>,
    /// What each runner has to tell of the time without a daemon, in order.
    pub backlog: Vec<(RunnerNumber, Notice)>,
    /// What the core is to take up.
    pub found: Found,
    /// For people.
    pub warnings: Vec<String>,
}

/// Why there is no start.
#[derive(Debug)]
pub enum Obstacle {
    /// Another daemon has the runtime directory; its process number if known.
    Held(Option<u32>, PathBuf),
    /// Anything else, for people.
    Other(String),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::Held(Some(pid), runtime) => {
                write!(f, "a daemon already runs in {}: process {pid}", runtime.display())
            }
            Obstacle::Held(None, runtime) => {
                write!(f, "a daemon already runs in {}", runtime.display())
            }
            Obstacle::Other(text) => f.write_str(text),
        }
    }
}

/// Takes the directories, the stores and the runner. Blocks; to be called before the loop.
///
/// # Errors
/// What stands in the way, for people.
pub fn boot(settings: &Settings) -> Result<Booted, Obstacle> {
    for dir in [&settings.state, &settings.runtime, &settings.logs] {
        make_dir(dir)?;
    }
    let lock = lock::acquire(&settings.runtime).map_err(|refused| match refused {
        Refused::Held(pid) => Obstacle::Held(pid, settings.runtime.clone()),
        Refused::Io(error) => {
            Obstacle::Other(format!("locking {}: {error}", settings.runtime.display()))
        }
    })?;
    let boot_id = boot_id()?;
    let opened = Store::open(&settings.state, &settings.runtime, &boot_id)
        .map_err(|error| Obstacle::Other(error.to_string()))?;
    let (mut links, mut backlog, mut living) = (Vec::new(), Vec::new(), Vec::new());
    for (number, link) in find_runners(settings)? {
        let (link, told) = listen(link)?;
        let held = link.welcome().living.iter();
        living.extend(held.map(|held| Living { id: held.id, pid: held.pid }));
        backlog.extend(told.into_iter().map(|notice| (number, notice)));
        links.push((number, link));
    }
    let refused = refused(&backlog);
    Ok(Booted {
        lock,
        store: opened.store,
        links,
        backlog,
        found: Found { records: opened.records, living, refused, wall: clock::wall() },
        warnings: opened.warnings,
    })
}

/// A core that has taken up what was found.
///
/// # Errors
/// The source of random numbers cannot be read.
pub fn core(settings: &Settings, found: Found) -> Result<Core, Obstacle> {
    let mut core = Core::new(Config {
        seed: seed()?,
        node: settings.node.clone(),
        node_labels: settings.labels.clone(),
        zones: Arc::new(SystemZones),
        storm_guard: settings.storm_guard,
    });
    core.restore(clock::now(), found);
    Ok(core)
}

/// What every spawn plan of this daemon has in common.
pub fn planner(settings: &Settings) -> Planner {
    Planner {
        inherited: environment::own(),
        inherit: match settings.mode {
            Mode::System | Mode::User => environment::INHERIT_DAEMON,
            Mode::Dev => environment::INHERIT_DEV,
        },
        working_dir: settings.working_dir.clone(),
        state: settings.state.clone(),
        logs: settings.logs.clone(),
        control: settings.runtime.join(SOCKET_NAME),
    }
}

/// Finds or starts the first runner, and finds those beside it that an earlier daemon needed.
fn find_runners(settings: &Settings) -> Result<Vec<(RunnerNumber, Link)>, Obstacle> {
    let obstacle = |error: std::io::Error| Obstacle::Other(error.to_string());
    let mut links = vec![(FIRST, greet(settings, FIRST).map_err(obstacle)?)];
    let beside = settings.runtime.join(BESIDE);
    let entries = match std::fs::read_dir(&beside) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(links),
        Err(error) => {
            return Err(Obstacle::Other(format!("reading {}: {error}", beside.display())));
        }
    };
    let mut numbers: Vec<RunnerNumber> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > FIRST)
        .collect();
    numbers.sort_unstable();
    for number in numbers {
        // One that is gone has nothing left: what it held died with it, or is found by the next
        // runner of its folder.
        if let Some(mut link) =
            find(&runner_dir(settings, number), START_PATIENCE).map_err(obstacle)?
        {
            link.send(&last_will(settings)).map_err(obstacle)?;
            links.push((number, link));
        }
    }
    Ok(links)
}

/// Hears what happened while no daemon was there.
fn listen(mut link: Link) -> Result<(Link, Vec<Notice>), Obstacle> {
    let mut backlog = Vec::new();
    for _ in 0..link.welcome().pending {
        match link.receive(BACKLOG_PATIENCE) {
            Ok(Some(notice)) => backlog.push(notice),
            Ok(None) => return Err(Obstacle::Other("the runner does not answer".to_owned())),
            Err(error) => return Err(Obstacle::Other(format!("talking to the runner: {error}"))),
        }
    }
    Ok((link, backlog))
}

/// The starts that failed while no daemon was there to hear it.
fn refused(backlog: &[(RunnerNumber, Notice)]) -> Vec<InstanceId> {
    backlog
        .iter()
        .filter_map(|(_, notice)| match notice {
            Notice::Event { outcome: Outcome::SpawnFailed { id, .. }, .. } => Some(*id),
            Notice::Event { .. }
            | Notice::Welcome(_)
            | Notice::Told { .. }
            | Notice::ExecDone { .. }
            | Notice::Warning { .. } => None,
        })
        .collect()
}

/// Finds or starts a runner, and tells it what shall become of everything if we are killed.
///
/// # Errors
/// As [`find_or_start`].
pub fn greet(settings: &Settings, number: RunnerNumber) -> std::io::Result<Link> {
    let mut link = find_or_start(&Launch::new(runner_dir(settings, number)))?;
    link.send(&last_will(settings))?;
    Ok(link)
}

/// Whoever works at a terminal expects nothing to be left once the command is gone.
fn last_will(settings: &Settings) -> Command {
    Command::SetLastWill { stop_all: settings.mode == Mode::Dev }
}

/// Where a runner has its socket: the first one in the runtime directory itself.
fn runner_dir(settings: &Settings, number: RunnerNumber) -> PathBuf {
    match number {
        FIRST => settings.runtime.clone(),
        number => settings.runtime.join(BESIDE).join(number.to_string()),
    }
}

fn make_dir(dir: &Path) -> Result<(), Obstacle> {
    // Readable by all: a program that runs as another user must find its data and its socket.
    // What is private in it has modes of its own.
    DirBuilder::new().recursive(true).mode(0o755).create(dir).map_err(|error| {
        let user = nix::unistd::Uid::effective();
        let remedy = match error.kind() {
            std::io::ErrorKind::PermissionDenied => format!(", or give this one to user {user}"),
            _ => String::new(),
        };
        Obstacle::Other(format!(
            "making {}: {error}: pass another directory{remedy}",
            dir.display()
        ))
    })
}

/// Which boot of the machine this is (proc(5)): processes remembered from another are gone.
fn boot_id() -> Result<String, Obstacle> {
    let path = "/proc/sys/kernel/random/boot_id";
    std::fs::read_to_string(path)
        .map(|id| id.trim().to_owned())
        .map_err(|error| Obstacle::Other(format!("reading {path}: {error}")))
}

fn seed() -> Result<u64, Obstacle> {
    use std::io::Read;
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| Obstacle::Other(format!("reading /dev/urandom: {error}")))?;
    Ok(u64::from_ne_bytes(bytes))
}
