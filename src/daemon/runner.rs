//! The runners as the loop sees them: what they hold for us, and what becomes of that if one is
//! lost.
//!
//! Responsible for giving each start to a runner with room, for starting another one when there is
//! none, and for knowing which starts are still to end, so that each one gets its event even if
//! the runner that held it is gone. Must not plan or judge a start.
//!
//! One runner is enough for most machines. A process can have only so many descriptors (20,000 is
//! a common limit that nothing raises), and a start needs some: when the first runner is full, a
//! second one is started beside it, in a folder of its own below the runtime directory.

use super::boot;
use super::execute::Hands;
use super::input::{Input, Inputs};
use super::link::RunnerLink;
use super::turn::Turn;
use crate::api::door::RunnerFacts;
use crate::core::Core;
use crate::core::event::{Event, Exit};
use crate::core::id::InstanceId;
use crate::core::report::{Reason, Report, Severity};
use crate::os::clock;
use crate::runner::client::Link;
use crate::runner::protocol::{
    Command, ExecPlan, Keeper, Notice, Outcome, SpawnPlan, TreeMode, Welcome, encode, feature,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// How long after a runner could not be started the next try is made.
const RUNNER_RETRY: Duration = Duration::from_secs(5);

/// Which runner: 1 is the first and always there, the others come when they are needed.
pub(super) type RunnerNumber = u32;

/// The first one.
pub(super) const FIRST: RunnerNumber = 1;

/// One runner and what is known to be behind it.
#[derive(Debug)]
struct One {
    /// `None`: it is being started.
    link: Option<RunnerLink>,
    /// What it is to be told once it is there, in order. As long as there is no runner, this is
    /// bounded by what the core asks for about [`One::capacity`] starts.
    waiting: Vec<Command>,
    /// How many starts it takes.
    capacity: usize,
    /// How many it has.
    load: usize,
    /// The last event of it that we have taken and not acknowledged.
    heard: Option<u64>,
    /// What it can do beyond the first version; `None`: it is being started, so it is of our own.
    features: Option<Vec<String>>,
}

impl One {
    /// One that is being started, and that is as large as the ones before.
    fn awaited(capacity: usize) -> One {
        One { link: None, waiting: Vec::new(), capacity, load: 0, heard: None, features: None }
    }

    fn knows(&self, feature: &str) -> bool {
        self.features.as_ref().is_none_or(|all| all.iter().any(|one| one == feature))
    }

    fn tell(&mut self, command: Command) {
        let Some(link) = &mut self.link else { return self.waiting.push(command) };
        if let Err(error) = link.queue(&command) {
            tracing::error!("the runner cannot be told {command:?}: {error}");
        }
    }
}

/// A start that has not ended yet.
#[derive(Clone, Copy, Debug)]
struct Place {
    runner: RunnerNumber,
    /// The runner has said that its program runs.
    confirmed: bool,
    /// The runner it was given to is gone.
    orphaned: bool,
}

/// All runners, and all starts whose end is still to come.
#[derive(Debug, Default)]
pub(super) struct Holder {
    runners: BTreeMap<RunnerNumber, One>,
    held: BTreeMap<InstanceId, Place>,
    /// Runners that are to be found or started.
    wanted: Vec<RunnerNumber>,
    /// What the runners say of themselves, by number.
    facts: BTreeMap<RunnerNumber, RunnerFacts>,
    /// That has changed and was not told yet.
    news: bool,
}

impl Holder {
    pub(super) fn new(
        links: impl IntoIterator<Item = (RunnerNumber, Link)>,
        inputs: &Inputs,
    ) -> io::Result<Holder> {
        let mut holder = Holder::default();
        for (number, link) in links {
            let place = Place { runner: number, confirmed: true, orphaned: false };
            let living = holder.connect(number, link, inputs)?;
            holder.held.extend(living.into_iter().map(|id| (id, place)));
            holder.count(number);
        }
        Ok(holder)
    }

    /// Takes a connection; gives the starts that the runner behind it holds.
    fn connect(
        &mut self,
        number: RunnerNumber,
        link: Link,
        inputs: &Inputs,
    ) -> io::Result<BTreeSet<InstanceId>> {
        let welcome = link.welcome();
        let living = welcome.living.iter().map(|held| held.id).collect();
        // Said while nobody listened, or to a daemon before us.
        for held in welcome.living.iter().filter(|held| !held.said.is_empty()) {
            let (id, said) = (held.id, held.said.clone());
            inputs.send(Input::Runner(number, Notice::Told { id, said }));
        }
        self.facts.insert(number, facts(welcome));
        self.news = true;
        let capacity = usize::try_from(welcome.capacity).unwrap_or(usize::MAX);
        let features = welcome.features.clone();
        let link = RunnerLink::new(number, link, inputs.clone())?;
        let one = self.runners.entry(number).or_insert_with(|| One::awaited(capacity));
        (one.link, one.capacity, one.features) = (Some(link), capacity, Some(features));
        for command in std::mem::take(&mut one.waiting) {
            one.tell(command);
        }
        Ok(living)
    }

    fn count(&mut self, number: RunnerNumber) {
        let load = self.held.values().filter(|place| place.runner == number).count();
        if let Some(one) = self.runners.get_mut(&number) {
            one.load = load;
        }
    }

    /// What the first runner says of itself, and how many there are; once after it has changed.
    pub(super) fn news(&mut self) -> Option<RunnerFacts> {
        let first = self.facts.get(&FIRST)?;
        std::mem::take(&mut self.news).then(|| RunnerFacts {
            runners: self.facts.len(),
            cgroups: self.facts.values().flat_map(|one| one.cgroups.clone()).collect(),
            pids: self.facts.values().flat_map(|one| one.pids.clone()).collect(),
            ..first.clone()
        })
    }

    /// The runner that a start is given to: the first one with room, else another one.
    fn with_room(&mut self) -> RunnerNumber {
        let room = self.runners.iter().find(|(_, one)| one.load < one.capacity);
        if let Some((number, _)) = room {
            return *number;
        }
        let number = self.runners.last_key_value().map_or(FIRST, |(last, _)| last + 1);
        let capacity = self.runners.values().map(|one| one.capacity).max().unwrap_or(1);
        self.runners.insert(number, One::awaited(capacity));
        self.wanted.push(number);
        number
    }

    /// Puts a start in line.
    pub(super) fn spawn(&mut self, plan: SpawnPlan) -> Result<(), String> {
        let id = plan.id;
        let (boxed, speaks) = (plan.sandbox.is_some(), plan.notify);
        let (listens, awaits) = (!plan.sockets.is_empty(), !plan.awaited.is_empty());
        let command = Command::Spawn(Box::new(plan));
        let too_long = |error| format!("command and environment are too long: {error}");
        let runner = if listens { FIRST } else { self.with_room() };
        let Some(one) = self.runners.get_mut(&runner) else { return Ok(()) };
        // Without the sandbox that it asks for a program must not run.
        let needs = [
            (boxed, feature::SANDBOX, "[sandbox]"),
            (speaks, feature::NOTIFY, "probe by `notify` and no watchdog"),
            (listens, feature::SOCKETS, "[[sockets]]"),
            (awaits, feature::LOG_PROBES, "probe by `log`"),
        ];
        for (_, name, what) in needs.iter().filter(|(needed, ..)| *needed) {
            if !one.knows(name) {
                return Err(format!(
                    "the runner is older than this daemon and knows no {what}: stop everything \
                     once, so that a new one is started"
                ));
            }
        }
        match &mut one.link {
            Some(link) => link.queue(&command).map_err(too_long)?,
            None => {
                encode(&command).map_err(too_long)?;
                one.waiting.push(command);
            }
        }
        one.load += 1;
        self.held.insert(id, Place { runner, confirmed: false, orphaned: false });
        Ok(())
    }

    /// Sockets are all held by the first runner, which so holds the starts that get them.
    pub(super) fn want_sockets(&mut self, command: Command) {
        if let Some(one) = self.runners.get_mut(&FIRST)
            && one.knows(feature::SOCKETS)
        {
            one.tell(command);
        }
    }

    /// An instance is gone for good: what it gave a runner to keep is dropped.
    pub(super) fn drop_stored(&mut self, keeper: &Keeper) {
        for one in self.runners.values_mut().filter(|one| one.knows(feature::STORE)) {
            one.tell(Command::DropStored(keeper.clone()));
        }
    }

    /// Puts a program that is to be run beside a start in line.
    ///
    /// # Errors
    /// Why it cannot be, for people.
    pub(super) fn exec(&mut self, exec: ExecPlan) -> Result<(), String> {
        let place = self.held.get(&exec.plan.id);
        let one = place.and_then(|place| self.runners.get_mut(&place.runner));
        let Some(one) = one else { return Err("it does not run any more".to_owned()) };
        if !one.knows(feature::EXEC) {
            return Err(
                "the runner is older than this daemon and knows no hooks and no probes by \
                        exec: stop everything once, so that a new one is started"
                    .to_owned(),
            );
        }
        let command = Command::Exec(Box::new(exec));
        encode(&command).map_err(|e| format!("command and environment are too long: {e}"))?;
        one.tell(command);
        Ok(())
    }

    /// Puts a command about a start in line. One that nobody holds is nobody's business.
    pub(super) fn command(&mut self, id: InstanceId, command: Command) {
        if let Some(place) = self.held.get(&id)
            && let Some(one) = self.runners.get_mut(&place.runner)
        {
            one.tell(command);
        }
    }

    /// Remembers which events have been taken.
    pub(super) fn take(&mut self, heard: BTreeMap<RunnerNumber, u64>) {
        for (number, upto) in heard {
            if let Some(one) = self.runners.get_mut(&number) {
                one.heard = Some(upto);
            }
        }
    }

    /// Lets the runners forget what we have taken.
    pub(super) fn acknowledge(&mut self) {
        for one in self.runners.values_mut() {
            if let Some(upto) = one.heard.take() {
                one.tell(Command::Ack { upto });
            }
        }
    }

    /// Sends all that is in line.
    pub(super) fn flush(&mut self) {
        for link in self.runners.values_mut().filter_map(|one| one.link.as_mut()) {
            link.flush();
        }
    }

    fn note(&mut self, outcome: &Outcome) {
        let id = outcome.id();
        if !outcome.is_last() {
            if let Some(place) = self.held.get_mut(&id) {
                place.confirmed = true;
            }
            return;
        }
        if let Some(place) = self.held.remove(&id)
            && let Some(one) = self.runners.get_mut(&place.runner)
        {
            one.load = one.load.saturating_sub(1);
        }
    }

    /// A runner is gone. What it held has no parent any more.
    fn orphan(&mut self, number: RunnerNumber) {
        if let Some(one) = self.runners.get_mut(&number) {
            (one.link, one.heard) = (None, None);
        }
        for place in self.held.values_mut().filter(|place| place.runner == number) {
            place.orphaned = true;
        }
    }

    /// The events of the starts that went down with a runner: all that the new one does not hold.
    fn lost(&mut self, number: RunnerNumber, living: &BTreeSet<InstanceId>) -> Vec<Event> {
        let at = clock::mono();
        let mut events = Vec::new();
        self.held.retain(|id, place| {
            let gone = place.runner == number && place.orphaned && !living.contains(id);
            if gone {
                let (id, exit) = (*id, Exit::Unknown);
                events.push(match place.confirmed {
                    true => Event::Exited { id, exit, at },
                    false => Event::SpawnFailed { id, message: "the runner was lost".to_owned() },
                });
            }
            !gone
        });
        for place in self.held.values_mut().filter(|place| place.runner == number) {
            place.orphaned = false;
        }
        self.count(number);
        events
    }

    /// The events of the starts that wait for a runner that cannot be started.
    fn give_up_waiting(&mut self, number: RunnerNumber, why: &str) -> Vec<Event> {
        let Some(one) = self.runners.get_mut(&number) else { return Vec::new() };
        one.waiting.clear();
        let mut events = Vec::new();
        self.held.retain(|id, place| {
            let waits = place.runner == number && !place.orphaned;
            if waits {
                let message = format!("there is no runner: {why}");
                events.push(Event::SpawnFailed { id: *id, message });
            }
            !waits
        });
        self.count(number);
        events
    }
}

fn facts(welcome: &Welcome) -> RunnerFacts {
    let (mode, cgroup, why) = match &welcome.mode {
        TreeMode::Cgroup { path } => ("cgroup", Some(PathBuf::from(path)), None),
        TreeMode::ProcessGroups { reason } => ("group", None, Some(reason.clone())),
    };
    RunnerFacts {
        pid: Some(welcome.pid),
        mode: mode.to_owned(),
        runners: 1,
        cgroups: cgroup.into_iter().collect(),
        pids: vec![welcome.pid],
        why_no_cgroup: why,
    }
}

impl Hands {
    /// Takes a notice of a runner.
    pub(super) fn heard(
        &mut self,
        number: RunnerNumber,
        notice: Notice,
        core: &Core,
        turn: &mut Turn,
    ) -> Option<Event> {
        match notice {
            Notice::Event { seq, outcome } => {
                turn.heard.insert(number, seq);
                self.runners.note(&outcome);
                Some(outcome.into())
            }
            Notice::Warning { unit, message, controller: Some(controller), .. } => {
                // A cronjob's jobs come and go; what cannot be enforced for one cannot for any.
                let owner = core.unit(&unit).and_then(|view| view.owner);
                self.limit_missing(owner.unwrap_or(unit), &controller, message);
                None
            }
            Notice::Warning { unit, instance, message, controller: None } => {
                self.tell(Report {
                    time: clock::wall(),
                    severity: Severity::Warning,
                    reason: Reason::InstanceTrouble,
                    unit: Some(unit),
                    instance: Some(instance).filter(|name| !name.is_empty()),
                    message,
                    fields: BTreeMap::new(),
                });
                None
            }
            Notice::ExecDone { number, end, text } => self.beside.done(number, end, &text),
            // It has been greeted already; what programs say the loop takes itself.
            Notice::Welcome(_) | Notice::Told { .. } => None,
        }
    }

    /// A connection has ended: the runner is gone, and with it the parent of all that it held.
    pub(super) fn runner_lost(&mut self, number: RunnerNumber, reason: &str) {
        self.runners.orphan(number);
        let held = &self.runners.held;
        self.beside.forget(|id| held.get(&id).is_none_or(|place| place.runner == number));
        tracing::error!("runner {number} is lost: {reason}; starting another");
        self.find_runner(number);
    }

    /// Looks for the runners that starts have to wait for.
    pub(super) fn find_wanted_runners(&mut self) {
        for number in std::mem::take(&mut self.runners.wanted) {
            tracing::info!("the runners are full: starting runner {number}");
            self.find_runner(number);
        }
    }

    /// Looks for a runner aside, so that the control socket goes on answering.
    pub(super) fn find_runner(&self, number: RunnerNumber) {
        let (settings, inputs) = (self.settings.clone(), self.inputs.clone());
        self.aside.run(move || {
            inputs.send(Input::RunnerFound(number, boot::greet(&settings, number)));
        });
    }

    /// There is a runner (again). Gives the events of what a former one took with it.
    pub(super) fn runner_found(&mut self, number: RunnerNumber, link: Link) -> Vec<Event> {
        tracing::info!("runner {number}, process {}, holds instances now", link.welcome().pid);
        match self.runners.connect(number, link, &self.inputs) {
            Ok(living) => self.runners.lost(number, &living),
            Err(error) => self.runner_missing(number, &error),
        }
    }

    /// No runner could be found or started. Gives the events of what waited for it.
    pub(super) fn runner_missing(&mut self, number: RunnerNumber, error: &io::Error) -> Vec<Event> {
        tracing::error!("there is no runner {number}: {error}; trying again");
        self.inputs.send_after(RUNNER_RETRY, Input::FindRunner(number));
        self.runners.give_up_waiting(number, &error.to_string())
    }

    /// Kills everything at once, in no order, and all that the core still asks for on its way out.
    pub(super) fn kill_all(&mut self) {
        self.at_once = true;
        let all: Vec<_> = self.runners.held.keys().copied().collect();
        for id in all {
            self.runners.command(id, Command::KillTree { id });
        }
        self.runners.flush();
    }

    /// Lets the runners go; gives how many there were.
    pub(super) fn dismiss_runners(&mut self) -> usize {
        let mut dismissed = 0;
        for one in self.runners.runners.values_mut().filter(|one| one.link.is_some()) {
            one.tell(Command::Shutdown);
            dismissed += 1;
        }
        self.runners.flush();
        dismissed
    }
}
