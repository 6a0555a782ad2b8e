//! The loop. One thread owns the core; everything that happens comes here, and everything that
//! is done begins here.
//!
//! Responsible for the order within a turn: take what there is, let the core decide once, write
//! what must be remembered, act, acknowledge, answer. Must not decide anything by itself.

use super::boot::{self, Booted, Obstacle};
use super::execute::Hands;
use super::input::{self, Input, Inputs};
use super::settings::{Mode, Settings};
use super::systemd;
use super::timer::Deadline;
use super::turn::Turn;
use super::units::UnitFiles;
use crate::api::door::{Call, Inbox};
use crate::api::events::EventLog;
use crate::core::Core;
use crate::core::event::Event;
use crate::core::id::UnitKey;
use crate::core::view::{InstanceState, KindView};
use crate::os::clock;
use crate::runner::protocol::Notice;
use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How many inputs one turn takes: many exits at once are one decision and one write, and yet
/// nobody waits for long.
const BATCH_MAX: usize = 512;

/// How long the runner may take to go once nothing lives.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long changes are gathered before `systemctl status` shows them.
const STATUS_DELAY: Duration = Duration::from_secs(2);

/// How it ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// What was not well when the end was asked for: failed jobs, instances that gave up or were
    /// waiting after a crash. For people.
    pub failures: Vec<String>,
}

/// The owner of the core.
pub struct Daemon {
    pub(super) core: Core,
    pub(super) hands: Hands,
    pub(super) units: UnitFiles,
    queue: mpsc::UnboundedReceiver<Input>,
    inbox: Inbox,
    deadline: Deadline,
    watched: watch::Sender<BTreeSet<PathBuf>>,
    /// Events that our own acting gave: a start that could not even be planned.
    own: VecDeque<Event>,
    ended: Option<Ended>,
    complete: bool,
    /// It is to end alone, with everything running on.
    leaving: bool,
    /// Which state systemd was told of last, and whether it will be told anew soon.
    status_of: u64,
    status_due: bool,
}

impl Daemon {
    /// Puts the parts together, takes up what earlier daemons left and reads the unit files. Needs
    /// tokio's I/O and time.
    ///
    /// # Errors
    /// What stands in the way, for people.
    pub fn new(
        settings: Settings,
        booted: Booted,
        inbox: Inbox,
        events: EventLog,
    ) -> Result<Daemon, Obstacle> {
        let fail = |error: std::io::Error| Obstacle::Other(format!("preparing the loop: {error}"));
        let (inputs, queue) = Inputs::new();
        let Booted { lock, store, links, backlog, found, warnings } = booted;
        let core = boot::core(&settings, found)?;
        let listening: Vec<UnitKey> =
            links.iter().flat_map(|(_, link)| link.welcome().listening.clone()).collect();
        let keepers = links.iter().flat_map(|(_, link)| link.welcome().keepers.clone()).collect();
        let mut hands =
            Hands::new(&settings, (lock, store, links), inputs.clone(), events).map_err(fail)?;
        hands.sweep_logs(&core);
        hands.offer_sockets(&core, listening);
        hands.take_keepers(&core, keepers);
        let units = UnitFiles::new(settings.units.clone(), settings.only.clone());
        let watched = watch::Sender::new(BTreeSet::new());
        input::signals(&inputs, settings.mode).map_err(fail)?;
        input::clock_steps(&inputs).map_err(fail)?;
        input::units(&inputs, watched.subscribe()).map_err(fail)?;
        input::watchdog(&inputs);
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        for (number, notice) in backlog {
            inputs.send(Input::Runner(number, notice));
        }
        // Behind the backlog: what ended while nobody was there is known before anything changes.
        inputs.send(Input::UnitsChanged);
        let deadline = Deadline::new().map_err(fail)?;
        let own = VecDeque::new();
        Ok(Daemon {
            core,
            hands,
            units,
            queue,
            inbox,
            deadline,
            watched,
            own,
            ended: None,
            complete: false,
            leaving: false,
            status_of: 0,
            status_due: false,
        })
    }

    /// Turns until everything has ended after a request to stop.
    pub async fn run(mut self) -> Ended {
        loop {
            let mut turn = self.gather().await;
            self.core.settle(clock::now());
            self.own = self.hands.carry_out(&mut self.core, &mut turn);
            turn.answer(&self.core);
            self.inbox.announce(self.core.version());
            self.plan_status();
            if let Some(facts) = self.hands.runners.news() {
                self.inbox.runner_is(facts);
            }
            if let Err(error) = self.deadline.set(self.core.next_deadline()) {
                tracing::error!("the timer cannot be set: {error}");
            }
            if self.leaving && self.hands.has_stored() {
                return Ended::default();
            }
            self.complete |= turn.complete;
            if self.complete {
                return self.farewell().await;
            }
        }
    }

    /// Waits until something happened, takes all that did, and gives it to the core.
    async fn gather(&mut self) -> Turn {
        let mut turn = Turn::default();
        let (mut batch, mut calls) = (Vec::new(), Vec::new());
        if self.own.is_empty() {
            tokio::select! {
                _ = self.queue.recv_many(&mut batch, BATCH_MAX) => {}
                Some(call) = self.inbox.calls.recv() => calls.push(call),
                fired = self.deadline.fired() => if let Err(error) = fired {
                    tracing::error!("the timer cannot be read: {error}");
                }
            }
        }
        while batch.len() < BATCH_MAX
            && let Ok(input) = self.queue.try_recv()
        {
            batch.push(input);
        }
        while calls.len() < BATCH_MAX
            && let Ok(call) = self.inbox.calls.try_recv()
        {
            calls.push(call);
        }
        std::mem::take(&mut self.own).into_iter().for_each(|event| self.tell(event));
        batch.into_iter().for_each(|input| self.take(input, &mut turn));
        calls.into_iter().for_each(|call| self.call(call, &mut turn));
        // Behind all that has come: what a program said in time must not be overtaken by its deadline
        // where we are late ourselves.
        let now = clock::now();
        if self.core.next_deadline().is_some_and(|at| at <= now.mono) {
            self.core.handle(now, Event::Tick);
        }
        turn
    }

    /// Gives an event to the core.
    pub(super) fn tell(&mut self, event: Event) {
        self.core.handle(clock::now(), event);
    }

    fn take(&mut self, input: Input, turn: &mut Turn) {
        match input {
            Input::Runner(_, Notice::Told { id, said }) => self.told(id, &said),
            Input::Runner(number, notice) => {
                if let Some(event) = self.hands.heard(number, notice, &self.core, turn) {
                    self.tell(event);
                }
            }
            Input::RunnerLost(number, reason) => self.hands.runner_lost(number, &reason),
            Input::RunnerFound(number, found) => {
                let events = match found {
                    Ok(link) => {
                        let welcome = link.welcome();
                        let (listening, keepers) =
                            (welcome.listening.clone(), welcome.keepers.clone());
                        let events = self.hands.runner_found(number, link);
                        self.hands.offer_sockets(&self.core, listening);
                        self.hands.take_keepers(&self.core, keepers);
                        events
                    }
                    Err(error) => self.hands.runner_missing(number, &error),
                };
                events.into_iter().for_each(|event| self.tell(event));
            }
            Input::FindRunner(number) => self.hands.find_runner(number),
            Input::Stop => self.stop(),
            Input::StopAtOnce => self.hands.kill_all(),
            Input::Reload => {
                systemd::reloading();
                self.apply_noticed(true);
                systemd::ready(&self.status_line());
            }
            Input::ClockStepped => self.tell(Event::ClockStepped),
            Input::UnitsChanged => self.apply_noticed(false),
            Input::Nodes(unit, nodes) => self.tell(Event::NodesChanged { unit, nodes }),
            Input::Done(event) => self.tell(event),
            Input::ProbeLate(number) => {
                if let Some(event) = self.hands.probe_late(number) {
                    self.tell(event);
                }
            }
            Input::RetryStore => self.hands.retry_store(),
            Input::Status => self.tell_status(),
            Input::Watchdog => systemd::alive(),
        }
    }

    fn call(&mut self, call: Call, turn: &mut Turn) {
        match call {
            Call::Request { request, who, reply } => {
                tracing::info!("request by {who}: {request:?}");
                if let Some(answer) = self.core.handle(clock::now(), Event::Request(request)) {
                    turn.later(move || drop(reply.send(answer)));
                }
            }
            Call::Read(reader) => turn.read(reader),
            Call::Shutdown { keep_running, who, reply } => {
                tracing::info!("shutdown by {who}{}", if keep_running { ", alone" } else { "" });
                let outcome = self.end_as_asked(keep_running);
                turn.later(move || drop(reply.send(outcome)));
            }
            Call::Apply { dry_run, who, reply } => {
                tracing::info!("apply by {who}{}", if dry_run { " (dry run)" } else { "" });
                let outcome = self.apply_asked(dry_run);
                turn.later(move || drop(reply.send(outcome)));
            }
        }
    }

    /// The end is asked for: what is not well now is what this run will be judged by.
    fn stop(&mut self) {
        if self.ended.is_none() {
            systemd::stopping();
            // Even if it was to end alone and has not yet.
            self.leaving = false;
            self.ended = Some(Ended { failures: failures(&self.core) });
            self.tell(Event::Shutdown);
        }
    }

    /// Somebody asks for the end. Gives what will be, for people.
    ///
    /// # Errors
    /// Why it cannot end alone.
    fn end_as_asked(&mut self, keep_running: bool) -> Result<String, String> {
        if !keep_running {
            self.stop();
            return Ok("everything is stopped, then the daemon ends".to_owned());
        }
        let mode = self.hands.settings.mode;
        if mode == Mode::Dev {
            return Err(
                "`wsup dev` ends with its services; only a daemon can leave them".to_owned()
            );
        }
        if super::init::is_below_first() {
            return Err("process 1 ends with this daemon, and everything else with that".to_owned());
        }
        if self.ended.is_some() {
            return Err("the daemon is stopping everything already".to_owned());
        }
        if !self.hands.has_stored() {
            return Err(
                "the last changes cannot be written, so the next daemon would not know of \
                        them: make room for the state first"
                    .to_owned(),
            );
        }
        systemd::stopping();
        self.leaving = true;
        let instances = self.core.instances();
        let running = instances.iter().filter(|one| one.pid.is_some()).count();
        Ok(format!("the daemon ends, {running} instances run on"))
    }

    /// Lets the runners go and waits until they have.
    async fn farewell(mut self) -> Ended {
        let mut left = self.hands.dismiss_runners();
        let _ = tokio::time::timeout(FAREWELL, async {
            while left > 0
                && let Some(input) = self.queue.recv().await
            {
                left -= usize::from(matches!(input, Input::RunnerLost(..)));
            }
        })
        .await;
        self.ended.unwrap_or_default()
    }

    /// The units that came from files.
    pub(super) fn known(&self) -> Vec<UnitKey> {
        let units = self.core.units();
        units.into_iter().filter(|unit| unit.owner.is_none()).map(|unit| unit.key).collect()
    }

    /// Watches where the unit files are now.
    pub(super) fn watch_units(&self) {
        let now = self.units.directories();
        self.watched.send_if_modified(|before| {
            let other = *before != now;
            *before = now;
            other
        });
    }

    /// Has the line for `systemctl status` renewed soon, once for all that happens until then.
    fn plan_status(&mut self) {
        let news = self.core.version() != self.status_of;
        if news && !self.status_due && self.ended.is_none() && systemd::listens() {
            self.status_due = true;
            self.hands.inputs.send_after(STATUS_DELAY, Input::Status);
        }
    }

    fn tell_status(&mut self) {
        (self.status_due, self.status_of) = (false, self.core.version());
        if self.ended.is_none() {
            systemd::status(&self.status_line());
        }
    }

    /// One line for `systemctl status`.
    pub(super) fn status_line(&self) -> String {
        let instances = self.core.instances();
        let ready = instances.iter().filter(|instance| instance.ready).count();
        let stale = self.core.units().iter().filter(|unit| unit.invalid.is_some()).count();
        let invalid = match stale + self.core.invalid_files().len() {
            0 => String::new(),
            n => format!("; {n} invalid"),
        };
        let (units, all) = (self.known().len(), instances.len());
        format!("{units} units, {ready} of {all} instances ready{invalid}")
    }
}

/// What is not well: for the exit code of `wsup dev`.
fn failures(core: &Core) -> Vec<String> {
    let mut failures = Vec::new();
    for unit in core.units() {
        if let KindView::Job(job) = &unit.kind
            && job.finished == Some(false)
        {
            failures.push(format!("{} failed", unit.key));
        }
    }
    for instance in core.instances() {
        // A failed instance of a job is one try of it: the job's own end is what counts.
        let of_job = instance.unit.kind == crate::core::id::Kind::Job;
        match instance.state {
            InstanceState::Failed if !of_job => failures.push(format!("{} failed", instance.name)),
            InstanceState::Backoff => failures.push(format!("{} kept crashing", instance.name)),
            InstanceState::Failed
            | InstanceState::Pending
            | InstanceState::Init
            | InstanceState::Starting
            | InstanceState::Running
            | InstanceState::Ready
            | InstanceState::Stopping
            | InstanceState::Succeeded => {}
        }
    }
    failures
}
