//! One match over what the core asks for: to the store, to the runner, to the world.
//!
//! Responsible for the order in which a turn's actions take effect (remember, act, acknowledge)
//! and for every action having its completing event. Must not decide anything.

use super::aside::Aside;
use super::beside::Beside;
use super::input::{Input, Inputs};
use super::lock::Lock;
use super::plan::Planner;
use super::runner::{Holder, RunnerNumber};
use super::settings::Settings;
use super::store::{Batch, Store};
use super::turn::Turn;
use super::{boot, data, logs, nodes, port, report};
use crate::api::events::EventLog;
use crate::core::Core;
use crate::core::action::{Action, DataDir, Spawn};
use crate::core::event::Event;
use crate::core::id::{Kind, UnitKey};
use crate::core::report::{Field, Reason, Report, Severity};
use crate::core::spec::{Nodes, SocketSpec, WorkloadSpec};
use crate::os::clock;
use crate::runner::client::Link;
use crate::runner::protocol::{Command, Keeper};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long after a failed write the next is tried.
const STORE_RETRY: Duration = Duration::from_secs(5);

/// Everything the loop acts with.
#[derive(Debug)]
pub(super) struct Hands {
    pub(super) settings: Settings,
    pub(super) inputs: Inputs,
    pub(super) runners: Holder,
    pub(super) planner: Planner,
    events: EventLog,
    store: Store,
    /// What is still to be written; not empty after a turn only if writing failed.
    batch: Batch,
    /// Writing has failed, and is tried again after a while.
    store_rests: bool,
    nodes: BTreeMap<UnitKey, JoinHandle<()>>,
    /// Units and controllers of which it was told that limits are not enforced.
    unenforced: BTreeSet<(UnitKey, String)>,
    pub(super) aside: Aside,
    pub(super) beside: Beside,
    /// Somebody wants everything to end now: nothing is started, and nothing asked to end.
    pub(super) at_once: bool,
    _lock: Lock,
}

impl Hands {
    pub(super) fn new(
        settings: &Settings,
        (lock, store, links): (Lock, Store, Vec<(RunnerNumber, Link)>),
        inputs: Inputs,
        events: EventLog,
    ) -> io::Result<Hands> {
        Ok(Hands {
            planner: boot::planner(settings),
            runners: Holder::new(links, &inputs)?,
            settings: settings.clone(),
            inputs,
            events,
            store,
            batch: Batch::default(),
            store_rests: false,
            nodes: BTreeMap::new(),
            unenforced: BTreeSet::new(),
            aside: Aside::new()?,
            beside: Beside::default(),
            at_once: false,
            _lock: lock,
        })
    }

    /// Does what the core asks for: first everything that is to be remembered is written, then
    /// the rest is done, then the runner may forget what led to it. Gives the events that acting
    /// itself has caused.
    pub(super) fn carry_out(&mut self, core: &mut Core, turn: &mut Turn) -> VecDeque<Event> {
        let (mut effects, mut reports) = (Vec::new(), Vec::new());
        while let Some(action) = core.poll_action() {
            match action {
                Action::Put(record) => self.batch.put(record),
                Action::Drop { key, durable } => self.batch.remove(key, durable),
                Action::Report(told) => reports.push(*told),
                effect => effects.push(effect),
            }
        }
        self.remember();
        let own = effects.into_iter().filter_map(|action| self.act(action, core, turn)).collect();
        self.runners.take(std::mem::take(&mut turn.heard));
        if self.batch.is_empty() {
            self.runners.acknowledge();
        }
        self.runners.flush();
        // After the commands are on their way: nobody's start waits for the log.
        reports.into_iter().for_each(|told| self.tell(told));
        self.find_wanted_runners();
        own
    }

    /// Writes what is to be remembered. A full disk must not keep crashed services from being
    /// started again, so acting goes on when writing fails; what could not be written is kept and
    /// tried again, and until then the runner keeps the events behind it too.
    fn remember(&mut self) {
        if self.batch.is_empty() || self.store_rests {
            return;
        }
        if let Err(error) = self.store.commit(&mut self.batch) {
            tracing::error!(
                "{error}; a daemon that starts now would not know of the last changes; trying again"
            );
            self.store_rests = true;
            self.inputs.send_after(STORE_RETRY, Input::RetryStore);
        }
    }

    /// Whether everything that is to be remembered is written.
    pub(super) fn has_stored(&self) -> bool {
        self.batch.is_empty()
    }

    /// Lets the next turn try again to write.
    pub(super) fn retry_store(&mut self) {
        self.store_rests = false;
    }

    /// Tells people.
    pub(super) fn tell(&self, told: Report) {
        report::log(&told);
        self.events.push(told);
    }

    fn act(&mut self, action: Action, core: &Core, turn: &mut Turn) -> Option<Event> {
        match action {
            Action::CannotStart { id, message } => {
                return Some(Event::SpawnFailed { id, message });
            }
            Action::Spawn(spawn) => return self.spawn(&spawn),
            Action::Hook(spawn) => return self.run_hook(&spawn),
            Action::Probe(spawn) => return self.ask(&spawn),
            Action::Terminate { id, .. } if self.at_once => {
                self.runners.command(id, Command::KillTree { id });
            }
            Action::Terminate { id, signal } => {
                self.runners.command(id, Command::Terminate { id, signal });
            }
            Action::KillTree { id } => self.runners.command(id, Command::KillTree { id }),
            Action::Signal { id, signal } => {
                self.runners.command(id, Command::Signal { id, signal });
            }
            Action::InstanceGone { unit, instance } => self.instance_gone(unit, instance, core),
            Action::UnitGone { unit } => self.unit_gone(unit, core),
            Action::RemoveData { unit, dir } => self.remove_data(unit, dir),
            Action::WatchNodes { unit, nodes } => self.watch_nodes(unit, nodes),
            Action::Sockets { unit, sockets } => self.want_sockets(unit, &sockets),
            Action::ShutdownComplete => turn.complete = true,
            // Taken out before.
            Action::Put(_) | Action::Drop { .. } | Action::Report(_) => {}
        }
        None
    }

    fn spawn(&mut self, spawn: &Spawn) -> Option<Event> {
        if self.at_once {
            let message = "everything is being killed".to_owned();
            return Some(Event::SpawnFailed { id: spawn.id, message });
        }
        if let Some((port, by)) = port::taken(&spawn.ports) {
            return Some(Event::PortTaken { id: spawn.id, port, by });
        }
        let sent = self.planner.plan(spawn).and_then(|plan| self.runners.spawn(plan));
        sent.err().map(|message| Event::SpawnFailed { id: spawn.id, message })
    }

    /// Tells a runner that was just met of all sockets that are wanted, and of units that it holds some
    /// for although they are gone: the last daemon may have ended before it said so.
    pub(super) fn offer_sockets(&mut self, core: &Core, listening: Vec<UnitKey>) {
        let units = core.units().into_iter().filter(|unit| !unit.deleting && unit.owner.is_none());
        let units: BTreeSet<UnitKey> = units.map(|unit| unit.key).collect();
        for unit in listening.into_iter().filter(|unit| !units.contains(unit)) {
            self.want_sockets(unit, &[]);
        }
        for unit in units {
            let sockets = core.spec(&unit).map(|spec| spec.sockets).unwrap_or_default();
            if !sockets.is_empty() {
                self.want_sockets(unit, &sockets);
            }
        }
        self.runners.flush();
    }

    /// Remembers for whom a runner that was just met keeps descriptors, and has those dropped whose
    /// instance is gone: the last daemon may have ended before it said so.
    pub(super) fn take_keepers(&mut self, core: &Core, keepers: Vec<Keeper>) {
        let gone = |keeper: &Keeper| !core.has_instance(&keeper.unit, &keeper.instance);
        for keeper in keepers.into_iter().filter(gone) {
            self.runners.drop_stored(&keeper);
        }
        self.runners.flush();
    }

    /// Has sockets opened and closed; whoever needs one that cannot be opened says so at its start.
    fn want_sockets(&mut self, unit: UnitKey, sockets: &[SocketSpec]) {
        match self.planner.sockets(sockets) {
            Ok(wanted) => self.runners.want_sockets(Command::Sockets { unit, wanted }),
            Err(error) => tracing::warn!("{unit}: {error}"),
        }
    }

    fn instance_gone(&mut self, unit: UnitKey, instance: String, core: &Core) {
        let keeper = Keeper { unit, instance };
        // Whether there is something to drop only the runner knows: a program's last words may have come
        // with its end.
        self.runners.drop_stored(&keeper);
        let Keeper { unit, instance } = keeper;
        let keep = match core.spec(&unit).map(|spec| spec.workload) {
            // The logs of all its runs go with the job, as in Kubernetes. How many there can be is
            // in its file.
            Some(WorkloadSpec::Job(_)) => return,
            Some(WorkloadSpec::Deployment(spec)) => logs::KEEP.max(spec.replicas as usize),
            Some(WorkloadSpec::StatefulSet(spec)) => logs::KEEP.max(spec.replicas as usize),
            // One for each node, whose names come back.
            Some(WorkloadSpec::DaemonSet(_) | WorkloadSpec::CronJob(_)) | None => {
                logs::KEEP.max(core.unit(&unit).map_or(0, |view| view.counts.desired as usize))
            }
        };
        let dir = self.settings.logs.join(unit.name.as_str());
        self.aside.run(move || logs::keep_last(&dir, &instance, keep));
    }

    /// Clears away logs that a daemon which was killed did not get to. Before the first turn and
    /// not aside: a job that begins meanwhile would be taken for one that is gone.
    pub(super) fn sweep_logs(&self, core: &Core) {
        let (mut units, mut cronjobs) = (BTreeSet::new(), BTreeSet::new());
        for unit in core.units() {
            if unit.key.kind == Kind::CronJob {
                cronjobs.insert(unit.key.name.to_string());
            }
            units.insert(unit.key.name.to_string());
        }
        logs::sweep(&self.settings.logs, &units, &cronjobs);
    }

    /// Tells once for each unit and controller that limits are not enforced.
    pub(super) fn limit_missing(&mut self, unit: UnitKey, controller: &str, message: String) {
        if !self.unenforced.insert((unit.clone(), controller.to_owned())) {
            return;
        }
        let told = Report {
            time: clock::wall(),
            severity: Severity::Warning,
            reason: Reason::LimitNotEnforced,
            unit: Some(unit),
            instance: None,
            message,
            fields: BTreeMap::from([("controller", Field::Text(controller.to_owned()))]),
        };
        self.tell(told);
    }

    /// The logs of a job go with it, as in Kubernetes; those of a server stay, bounded as ever.
    fn unit_gone(&mut self, unit: UnitKey, core: &Core) {
        self.unenforced.retain(|(other, _)| *other != unit);
        let shared = Kind::ALL
            .iter()
            .any(|kind| core.unit(&UnitKey::new(*kind, unit.name.clone())).is_some());
        if unit.kind == Kind::Job && !shared {
            let dir = self.settings.logs.join(unit.name.as_str());
            self.aside.run(move || logs::remove_all(&dir));
        }
    }

    fn remove_data(&self, unit: UnitKey, dir: DataDir) {
        let (state, inputs) = (self.settings.state.clone(), self.inputs.clone());
        // Aside, since there may be a lot of it.
        self.aside.run(move || {
            if let Err(error) = data::remove(&state, unit.name.as_str(), &dir) {
                tracing::error!("{error}");
            }
            inputs.send(Input::Done(Event::DataRemoved { unit, instance: dir.instance }));
        });
    }

    fn watch_nodes(&mut self, unit: UnitKey, wanted: Option<Nodes>) {
        if let Some(former) = self.nodes.remove(&unit) {
            former.abort();
        }
        let Some(wanted) = wanted else { return };
        let (inputs, key) = (self.inputs.clone(), unit.clone());
        let (machine, base) = (self.settings.node.clone(), self.settings.working_dir.clone());
        let follower = tokio::spawn(async move {
            let tell = |set| inputs.send(Input::Nodes(key.clone(), set));
            nodes::follow(wanted, machine, &base, tell).await;
        });
        self.nodes.insert(unit, follower);
    }
}
