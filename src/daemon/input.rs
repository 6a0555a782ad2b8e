//! Everything that can wake the loop, apart from its timer and the control socket.
//!
//! Responsible for the tasks that wait for one source each and put what they get into one queue.

use super::nodes::NodeSet;
use super::runner::RunnerNumber;
use super::settings::Mode;
use super::timer::ClockSteps;
use super::watch::WatchSet;
use crate::core::event::Event;
use crate::core::id::UnitKey;
use crate::runner::client::Link;
use crate::runner::protocol::Notice;
use futures_util::StreamExt;
use nix::sys::signal::SigSet;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_tokio::Signals;
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// A runner says something.
    Runner(RunnerNumber, Notice),
    /// The connection to a runner is gone; why.
    RunnerLost(RunnerNumber, String),
    /// Another attempt to find or start a runner has ended.
    RunnerFound(RunnerNumber, io::Result<Link>),
    /// It is time to try again to find one.
    FindRunner(RunnerNumber),
    /// SIGTERM, or the first SIGINT.
    Stop,
    /// Another SIGINT.
    StopAtOnce,
    /// SIGHUP.
    Reload,
    /// The wall clock was stepped.
    ClockStepped,
    /// Something has changed where the unit files are.
    UnitsChanged,
    /// What a daemonset counts as nodes.
    Nodes(UnitKey, NodeSet),
    /// Work that was done aside is done.
    Done(Event),
    /// The time of a probe by exec is over.
    ProbeLate(u64),
    /// It is time to try again to write what could not be written.
    RetryStore,
    /// The line for `systemctl status` may have changed.
    Status,
    /// systemd wants a sign of life.
    Watchdog,
}

/// The queue's entrance. Unbounded: what is in it is bounded by the number of instances and
/// units, since every source says one thing about each and waits for something to be done.
#[derive(Clone, Debug)]
pub struct Inputs(mpsc::UnboundedSender<Input>);

impl Inputs {
    /// A queue.
    pub fn new() -> (Inputs, mpsc::UnboundedReceiver<Input>) {
        let (tx, rx) = mpsc::unbounded_channel();
        (Inputs(tx), rx)
    }

    /// Puts something in. When the loop is gone, nobody is left to be told.
    pub fn send(&self, input: Input) {
        let _ = self.0.send(input);
    }

    /// Puts something in after a while.
    pub fn send_after(&self, delay: Duration, input: Input) {
        let inputs = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            inputs.send(input);
        });
    }
}

/// Starts to turn our own signals into inputs.
///
/// # Errors
/// As sigaction(2).
pub fn signals(inputs: &Inputs, mode: Mode) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    // Whoever started us may have had some blocked (process 1 has), and a mask is inherited. Only
    // now, when none of them would end us any more.
    SigSet::empty().thread_set_mask()?;
    let inputs = inputs.clone();
    tokio::spawn(async move {
        let mut interrupted = false;
        while let Some(signal) = signals.next().await {
            inputs.send(match signal {
                // The terminal is gone, and with it the person.
                SIGHUP if mode == Mode::Dev => Input::Stop,
                SIGHUP => Input::Reload,
                SIGINT if std::mem::replace(&mut interrupted, true) => Input::StopAtOnce,
                _ => Input::Stop,
            });
        }
    });
    Ok(())
}

/// Starts to tell of steps of the wall clock.
///
/// # Errors
/// As timerfd_create(2).
pub fn clock_steps(inputs: &Inputs) -> io::Result<()> {
    let steps = ClockSteps::new()?;
    let inputs = inputs.clone();
    tokio::spawn(async move {
        loop {
            match steps.stepped().await {
                Ok(()) => inputs.send(Input::ClockStepped),
                Err(error) => {
                    tracing::warn!("steps of the clock are no longer noticed: {error}");
                    return;
                }
            }
        }
    });
    Ok(())
}

/// An editor saves a file, and a deployment tool a whole tree, in several steps: the files are
/// read when nothing has changed for so long.
const QUIET: Duration = Duration::from_millis(200);
/// Files that change all the time are read nevertheless, so often.
const QUIET_MAX: Duration = Duration::from_secs(2);

/// Starts to tell of changes in directories; which ones comes by the channel, and may change.
///
/// # Errors
/// As inotify_init1(2).
pub fn units(inputs: &Inputs, mut wanted: watch::Receiver<BTreeSet<PathBuf>>) -> io::Result<()> {
    let mut set = WatchSet::new()?;
    let inputs = inputs.clone();
    tokio::spawn(async move {
        loop {
            // They were read before they were watched: a file may have come into a new directory
            // in between.
            if set.set(&wanted.borrow_and_update()) {
                inputs.send(Input::UnitsChanged);
            }
            let changed = tokio::select! {
                changed = set.changed() => changed,
                Ok(()) = wanted.changed() => {
                    // What came into a directory between its discovery and its watch would never
                    // be noticed: the files are read once more.
                    set.set(&wanted.borrow_and_update());
                    inputs.send(Input::UnitsChanged);
                    continue;
                }
                else => return,
            };
            if let Err(error) = changed {
                tracing::warn!("changes of unit files are no longer noticed: {error}");
                return;
            }
            let _ = timeout(QUIET_MAX, async {
                while timeout(QUIET, set.changed()).await.is_ok_and(|changed| changed.is_ok()) {}
            })
            .await;
            inputs.send(Input::UnitsChanged);
        }
    });
    Ok(())
}

/// Starts to give systemd the signs of life that it asks for, through the loop: a loop that hangs
/// gives none.
pub fn watchdog(inputs: &Inputs) {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    let inputs = inputs.clone();
    tokio::spawn(async move {
        // sd_watchdog_enabled(3) recommends half of the time.
        let mut ticks = tokio::time::interval(period / 2);
        loop {
            ticks.tick().await;
            inputs.send(Input::Watchdog);
        }
    });
}
