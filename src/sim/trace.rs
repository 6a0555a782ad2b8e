//! A readable transcript of a run, and a hash of it.
//!
//! Responsible for the form of the transcript; the same seed gives the same text, byte for byte.
//! Must not decide anything.

use crate::core::action::{Action, Step};
use crate::core::event::Event;
use std::fmt::{self, Write};

/// At most so many lines are kept: the end of a run is what explains a failure.
const LINES_MAX: usize = 4_000;

/// The transcript of a run.
#[derive(Clone, Debug)]
pub struct Trace {
    hash: Fnv,
    lines: Option<std::collections::VecDeque<String>>,
}

/// 64-bit FNV-1a over text as it is written.
#[derive(Clone, Copy, Debug)]
struct Fnv(u64);

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}

impl Trace {
    /// An empty transcript; `keep`: its text is kept, not only its hash.
    pub fn new(keep: bool) -> Trace {
        Trace { hash: Fnv(0xcbf2_9ce4_8422_2325), lines: keep.then(Default::default) }
    }

    /// Adds a line: when (milliseconds since the world's beginning) and what.
    pub fn line(&mut self, at: u64, what: fmt::Arguments<'_>) {
        // Writing to the hash cannot fail.
        let _ = writeln!(self.hash, "{at} {what}");
        if let Some(lines) = &mut self.lines {
            if lines.len() >= LINES_MAX {
                lines.pop_front();
            }
            lines.push_back(format!("{:>8}.{:03} {what}", at / 1_000, at % 1_000));
        }
    }

    /// The hash of everything so far.
    pub fn hash(&self) -> u64 {
        self.hash.0
    }

    /// The last lines, if they are kept.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in self.lines.iter().flatten() {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

/// An event in one line.
pub(super) struct ShowEvent<'a>(pub(super) &'a Event);

impl fmt::Display for ShowEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Event::Tick => f.write_str("tick"),
            Event::ClockStepped => f.write_str("clock stepped"),
            Event::Spawned { id, pid } => write!(f, "spawned {id} pid {pid}"),
            Event::SpawnFailed { id, .. } => write!(f, "spawn failed {id}"),
            Event::Exited { id, exit, at } => write!(f, "exited {id} {exit} at {}", at.0),
            Event::HookDone { id, hook, failure } => {
                write!(f, "hook done {id} {hook:?} {failure:?}")
            }
            Event::ProbeDone { id, kind, answer, .. } => {
                write!(f, "probed {id} {kind:?} {answer:?}")
            }
            Event::ProbeTold { id, kind, answer, .. } => {
                write!(f, "told {id} {kind:?} {answer:?}")
            }
            Event::WatchdogFed { id, trigger } => {
                write!(f, "fed {id}{}", if *trigger { " (trigger)" } else { "" })
            }
            Event::StatusTold { id, .. } => write!(f, "status of {id}"),
            Event::Announced { id, word } => write!(f, "word of {id}: {word:?}"),
            Event::PortTaken { id, port, .. } => write!(f, "port {port} of {id} is taken"),
            Event::NodesChanged { unit, nodes } => {
                let names: Vec<&str> = nodes.keys().map(String::as_str).collect();
                write!(f, "nodes of {unit}: {}", names.join(" "))
            }
            Event::DataRemoved { instance, .. } => write!(f, "data of {instance} removed"),
            Event::Units(read) => write!(
                f,
                "files read: {} valid, {} invalid{}",
                read.valid.len(),
                read.invalid.len(),
                if read.explicit { ", asked for" } else { "" }
            ),
            Event::Request(request) => write!(f, "request {request:?}"),
            Event::Shutdown => f.write_str("shutdown"),
        }
    }
}

/// An action in one line.
pub(super) struct ShowAction<'a>(pub(super) &'a Action);

impl fmt::Display for ShowAction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Action::CannotStart { id, message } => write!(f, "cannot start {id}: {message}"),
            Action::Spawn(spawn) => {
                write!(f, "spawn {} of {} as {}", spawn.instance, spawn.unit, spawn.id)?;
                match spawn.step {
                    Step::Init(n) => write!(f, " init {n}"),
                    Step::Main | Step::Hook(_) | Step::Probe(_) => Ok(()),
                }
            }
            Action::Hook(spawn) | Action::Probe(spawn) => {
                write!(f, "{:?} of {}", spawn.step, spawn.id)
            }
            Action::Terminate { id, signal } => write!(f, "terminate {id} by {signal}"),
            Action::KillTree { id } => write!(f, "kill {id}"),
            Action::Signal { id, signal } => write!(f, "signal {id} {signal}"),
            Action::Put(record) => write!(f, "put {} ({} bytes)", record.key, record.value.len()),
            Action::Drop { key, .. } => write!(f, "drop {key}"),
            Action::Report(report) => {
                write!(f, "{} ", report.reason.as_str())?;
                if let Some(unit) = &report.unit {
                    write!(f, "{unit} ")?;
                }
                if let Some(instance) = &report.instance {
                    write!(f, "{instance} ")?;
                }
                write!(f, "{:?}", report.message)
            }
            Action::InstanceGone { instance, .. } => write!(f, "gone {instance}"),
            Action::UnitGone { unit } => write!(f, "gone {unit}"),
            Action::RemoveData { dir, .. } => write!(f, "remove data of {}", dir.instance),
            Action::WatchNodes { unit, nodes } => write!(f, "watch nodes of {unit}: {nodes:?}"),
            Action::Sockets { unit, sockets } => {
                write!(f, "sockets of {unit}: {}", sockets.len())
            }
            Action::ShutdownComplete => f.write_str("shutdown complete"),
        }
    }
}
