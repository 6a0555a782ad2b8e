//! The runner as the loop sees it: what it holds for us, and what becomes of that if it is lost.
//!
//! Responsible for knowing which starts are still to end, so that each one gets its event even if
//! the runner that held it is gone. Must not plan or judge a start.

use super::boot;
use super::execute::Hands;
use super::input::{Input, Inputs};
use super::link::RunnerLink;
use super::turn::Turn;
use crate::api::door::RunnerFacts;
use crate::core::event::{Event, Exit};
use crate::core::id::InstanceId;
use crate::os::clock;
use crate::runner::client::Link;
use crate::runner::protocol::{Command, Notice, Outcome, SpawnPlan, TreeMode, Welcome};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

/// How long after a runner could not be started the next try is made.
const RUNNER_RETRY: Duration = Duration::from_secs(5);

/// The connection and what is known to be behind it.
#[derive(Debug)]
pub(super) struct Holder {
    link: Option<RunnerLink>,
    /// Starts whose end is still to come, and whether the runner has confirmed them.
    held: BTreeMap<InstanceId, bool>,
    /// Which runner it is, if that has not been told yet.
    news: Option<RunnerFacts>,
}

impl Holder {
    pub(super) fn new(link: Link, inputs: &Inputs) -> io::Result<Holder> {
        let mut holder = Holder { link: None, held: BTreeMap::new(), news: None };
        holder.held = holder.connect(link, inputs)?.into_iter().map(|id| (id, true)).collect();
        Ok(holder)
    }

    /// Takes a connection; gives the starts that the runner behind it holds.
    fn connect(&mut self, link: Link, inputs: &Inputs) -> io::Result<BTreeSet<InstanceId>> {
        let living = link.welcome().living.iter().map(|held| held.id).collect();
        self.news = Some(facts(link.welcome()));
        self.link = Some(RunnerLink::new(link, inputs.clone())?);
        Ok(living)
    }

    /// Which runner there is, once after it has changed.
    pub(super) fn news(&mut self) -> Option<RunnerFacts> {
        self.news.take()
    }

    /// Puts a start in line.
    pub(super) fn spawn(&mut self, plan: SpawnPlan) -> Result<(), String> {
        let link = self.link.as_mut().ok_or("the runner is being started again")?;
        let id = plan.id;
        link.queue(&Command::Spawn(Box::new(plan)))
            .map_err(|error| format!("command and environment are too long: {error}"))?;
        self.held.insert(id, false);
        Ok(())
    }

    /// Puts a command in line. Without a runner there is nothing that it could be about.
    pub(super) fn command(&mut self, command: &Command) {
        if let Some(link) = &mut self.link
            && let Err(error) = link.queue(command)
        {
            tracing::error!("the runner cannot be told {command:?}: {error}");
        }
    }

    pub(super) fn flush(&mut self) {
        if let Some(link) = &mut self.link {
            link.flush();
        }
    }

    fn note(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Spawned { id, .. } => drop(self.held.insert(*id, true)),
            Outcome::SpawnFailed { id, .. } | Outcome::Exited { id, .. } => {
                self.held.remove(id);
            }
        }
    }

    /// The events of the starts that went down with a runner: all that the new one does not hold.
    fn lost(&mut self, living: &BTreeSet<InstanceId>) -> Vec<Event> {
        let now = clock::mono();
        let gone: Vec<_> = self.held.iter().filter(|(id, _)| !living.contains(id)).collect();
        let events = gone.into_iter().map(|(&id, &confirmed)| match confirmed {
            true => Event::Exited { id, exit: Exit::Unknown, at: now },
            false => Event::SpawnFailed { id, message: "the runner was lost".to_owned() },
        });
        let events = events.collect();
        self.held.retain(|id, _| living.contains(id));
        events
    }
}

fn facts(welcome: &Welcome) -> RunnerFacts {
    let mode = match &welcome.mode {
        TreeMode::Cgroup { .. } => "cgroup",
        TreeMode::ProcessGroups { .. } => "group",
    };
    RunnerFacts { pid: Some(welcome.pid), mode: mode.to_owned() }
}

impl Hands {
    /// Takes a notice of the runner.
    pub(super) fn heard(&mut self, notice: Notice, turn: &mut Turn) -> Option<Event> {
        match notice {
            Notice::Event { seq, outcome } => {
                turn.heard = Some(seq);
                self.runner.note(&outcome);
                Some(outcome.into())
            }
            Notice::Warning { unit, instance, message } => {
                tracing::warn!("{unit} {instance}: {message}");
                None
            }
            // It has been greeted already.
            Notice::Welcome(_) => None,
        }
    }

    /// The connection has ended: the runner is gone, and with it the parent of everything.
    pub(super) fn runner_lost(&mut self, reason: &str) {
        self.runner.link = None;
        tracing::error!("the runner is lost: {reason}; starting another");
        self.find_runner();
    }

    /// Looks for a runner aside, so that the control socket goes on answering.
    pub(super) fn find_runner(&self) {
        let (settings, inputs) = (self.settings.clone(), self.inputs.clone());
        self.aside.run(move || {
            inputs.send(Input::RunnerFound(boot::greet(&settings)));
        });
    }

    /// There is a runner again. Gives the events of what the former one took with it.
    pub(super) fn runner_found(&mut self, link: Link) -> Vec<Event> {
        tracing::info!("runner {} holds the instances now", link.welcome().pid);
        match self.runner.connect(link, &self.inputs) {
            Ok(living) => self.runner.lost(&living),
            Err(error) => {
                self.runner_missing(&error);
                Vec::new()
            }
        }
    }

    /// No runner could be found or started.
    pub(super) fn runner_missing(&mut self, error: &io::Error) {
        tracing::error!("there is no runner: {error}; trying again");
        self.inputs.send_after(RUNNER_RETRY, Input::FindRunner);
    }

    /// Kills everything at once, in no order, and all that the core still asks for on its way out.
    pub(super) fn kill_all(&mut self) {
        self.at_once = true;
        let all: Vec<_> = self.runner.held.keys().copied().collect();
        for id in all {
            self.runner.command(&Command::KillTree { id });
        }
        self.runner.flush();
    }

    /// Lets the runner go; whether there was one.
    pub(super) fn dismiss_runner(&mut self) -> bool {
        self.runner.command(&Command::Shutdown);
        self.runner.flush();
        self.runner.link.is_some()
    }
}
