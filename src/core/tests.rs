//! Tables for what the engine itself decides: live changes, files that come, go and break, and
//! what a new daemon makes of what it finds.

mod depends;
mod finite;
mod guard;
mod plain;

use super::action::Action;
use super::event::{Event, Exit, Found, Living, UnitsRead};
use super::id::{InstanceId, Kind, UnitKey, UnitName};
use super::record::Record;
use super::report::Reason;
use super::request::{Refusal, Request, Target};
use super::schedule::Zones;
use super::spec::*;
use super::time::{Millis, Mono, Now, Wall};
use super::view::{ChangeKind, InstanceState};
use super::*;
use std::collections::BTreeMap;

mod applied;
mod asked;
mod broken;
mod ports;
mod probed;
mod records;
mod rollout;
mod views;
mod whole;

struct Utc;

impl Zones for Utc {
    fn zone(&self, name: Option<&str>) -> Option<jiff::tz::TimeZone> {
        matches!(name, None | Some("UTC")).then_some(jiff::tz::TimeZone::UTC)
    }
}

fn name(text: &str) -> UnitName {
    UnitName::new(text).unwrap()
}

fn key(kind: Kind, text: &str) -> UnitKey {
    UnitKey::new(kind, name(text))
}

fn now(secs: u64) -> Now {
    Now {
        mono: Mono(1_000_000 + secs * 1_000),
        wall: Wall(1_790_000_000_000 + i64::try_from(secs).unwrap() * 1_000),
    }
}

fn template(policy: RestartPolicy) -> InstanceTemplate {
    let backoff = Backoff {
        initial: Millis::from_secs(1),
        factor_milli: 2_000,
        max: Millis::from_secs(300),
        reset_after: Millis::from_secs(600),
    };
    InstanceTemplate::bare(
        vec!["true".to_owned()],
        RestartSpec { policy, backoff, limit: None, vital: false },
    )
}

fn unit(key: UnitKey, policy: RestartPolicy, workload: WorkloadSpec) -> UnitSpec {
    UnitSpec {
        key,
        description: None,
        labels: BTreeMap::new(),
        node_selector: BTreeMap::new(),
        depends_on: Vec::new(),
        sockets: Vec::new(),
        template: Arc::new(template(policy)),
        workload,
    }
}

fn statefulset(text: &str, replicas: u32) -> UnitSpec {
    let spec = StatefulSetSpec {
        replicas,
        min_ready: Millis::ZERO,
        revision_history_limit: 10,
        management_policy: ManagementPolicy::Parallel,
        strategy: StatefulStrategy::OnDelete,
        start_ordinal: 0,
        data_dir: None,
        when_deleted: Retention::Retain,
        when_scaled: Retention::Retain,
        paused: false,
    };
    unit(key(Kind::StatefulSet, text), RestartPolicy::Always, WorkloadSpec::StatefulSet(spec))
}

fn deployment(text: &str, replicas: u32) -> UnitSpec {
    let spec = DeploymentSpec {
        replicas,
        min_ready: Millis::ZERO,
        revision_history_limit: 10,
        strategy: DeploymentStrategy::RollingUpdate {
            max_surge: Amount::Percent(25),
            max_unavailable: Amount::Percent(25),
        },
        progress_deadline: Some(Millis::from_secs(600)),
        paused: false,
    };
    unit(key(Kind::Deployment, text), RestartPolicy::Always, WorkloadSpec::Deployment(spec))
}

fn job_spec() -> JobSpec {
    JobSpec {
        completions: Some(1),
        parallelism: 1,
        indexed: false,
        backoff_limit: 6,
        backoff_limit_per_index: None,
        max_failed_indexes: None,
        active_deadline: None,
        ttl_after_finished: None,
        suspend: false,
        failure_policy: Vec::new(),
        success_policy: Vec::new(),
    }
}

fn job(text: &str) -> UnitSpec {
    unit(key(Kind::Job, text), RestartPolicy::Never, WorkloadSpec::Job(job_spec()))
}

fn cronjob(text: &str, schedule: &str) -> UnitSpec {
    let spec = CronJobSpec {
        schedule: schedule.to_owned(),
        time_zone: Some("UTC".to_owned()),
        concurrency_policy: ConcurrencyPolicy::Allow,
        starting_deadline: None,
        suspend: false,
        jitter: Millis::ZERO,
        clock_change: ClockChange::Once,
        successful_history_limit: 3,
        failed_history_limit: 1,
        job: job_spec(),
    };
    unit(key(Kind::CronJob, text), RestartPolicy::Never, WorkloadSpec::CronJob(spec))
}

fn with_env(mut spec: UnitSpec, value: &str) -> UnitSpec {
    Arc::make_mut(&mut spec.template).process.env.insert("V".to_owned(), value.to_owned());
    spec
}

fn with_replicas(mut spec: UnitSpec, n: u32) -> UnitSpec {
    if let WorkloadSpec::Deployment(d) = &mut spec.workload {
        d.replicas = n;
    }
    spec
}

/// The core with a store and a machine on which every program starts at once and runs on.
struct Bench {
    core: Core,
    store: BTreeMap<String, Record>,
    living: BTreeMap<InstanceId, u32>,
    /// Starts that fail while no daemon is there to hear it.
    refused: Vec<InstanceId>,
    next_pid: u32,
    reports: Vec<Report>,
    /// What the next daemon is told.
    guard: StormGuard,
    at: u64,
}

impl Bench {
    fn config(seed: u64) -> Config {
        Config {
            seed,
            node: name("here"),
            node_labels: BTreeMap::new(),
            zones: Arc::new(Utc),
            storm_guard: StormGuard::OFF,
        }
    }

    fn new() -> Bench {
        let mut bench = Bench {
            core: Core::new(Bench::config(7)),
            store: BTreeMap::new(),
            living: BTreeMap::new(),
            refused: Vec::new(),
            next_pid: 100,
            reports: Vec::new(),
            guard: StormGuard::OFF,
            at: 0,
        };
        bench.core.restore(now(0), Found::default());
        bench.turn();
        bench
    }

    /// Settles, carries out what is asked for, until nothing more is.
    fn turn(&mut self) {
        let at = now(self.at);
        loop {
            self.core.settle(at);
            invariant::check(&self.core).unwrap();
            let mut events = Vec::new();
            while let Some(action) = self.core.poll_action() {
                self.carry_out(action, &mut events);
            }
            if events.is_empty() {
                return;
            }
            for event in events {
                self.core.handle(at, event);
            }
        }
    }

    fn carry_out(&mut self, action: Action, events: &mut Vec<Event>) {
        match action {
            Action::Spawn(spawn) => {
                self.next_pid += 1;
                self.living.insert(spawn.id, self.next_pid);
                events.push(Event::Spawned { id: spawn.id, pid: self.next_pid });
            }
            Action::CannotStart { id, message } => {
                events.push(Event::SpawnFailed { id, message });
            }
            Action::Terminate { id, signal } => {
                if self.living.remove(&id).is_some() {
                    let at = now(self.at).mono;
                    events.push(Event::Exited { id, exit: Exit::Signal(signal), at });
                }
            }
            Action::KillTree { id } => {
                if self.living.remove(&id).is_some() {
                    let at = now(self.at).mono;
                    events.push(Event::Exited { id, exit: Exit::Signal(signal::KILL), at });
                }
            }
            Action::Put(record) => {
                self.store.insert(record.key.clone(), record);
            }
            Action::Drop { key, .. } => {
                self.store.remove(&key);
            }
            Action::Report(report) => self.reports.push(*report),
            Action::Hook(_)
            | Action::Probe(_)
            | Action::Signal { .. }
            | Action::InstanceGone { .. }
            | Action::UnitGone { .. }
            | Action::RemoveData { .. }
            | Action::WatchNodes { .. }
            | Action::Sockets { .. }
            | Action::ShutdownComplete => {}
        }
    }

    fn event(&mut self, event: Event) {
        self.core.handle(now(self.at), event);
        self.turn();
    }

    fn ask(&mut self, request: Request) -> Answer {
        let answer = self.core.handle(now(self.at), Event::Request(request)).unwrap();
        self.turn();
        answer
    }

    fn apply(&mut self, valid: Vec<UnitSpec>) {
        self.event(Event::Units(UnitsRead { valid, ..UnitsRead::default() }));
    }

    fn apply_explicitly(&mut self, valid: Vec<UnitSpec>) {
        self.event(Event::Units(UnitsRead { valid, explicit: true, ..UnitsRead::default() }));
    }

    fn end(&mut self, instance: &str, exit: Exit) {
        let slot = self.core.instance(instance).unwrap().slot;
        let id = *self.living.keys().find(|id| id.slot == slot).unwrap();
        self.living.remove(&id);
        let at = now(self.at).mono;
        self.event(Event::Exited { id, exit, at });
    }

    /// Time passes, with a tick at each deadline.
    fn pass(&mut self, secs: u64) {
        let until = self.at + secs;
        while self.at < until {
            self.at += 1;
            if self.core.next_deadline().is_some_and(|d| d <= now(self.at).mono) {
                self.event(Event::Tick);
            }
        }
    }

    /// The daemon is killed; another one takes over.
    fn reborn(&mut self, keep_volatile: bool) {
        if !keep_volatile {
            self.store.retain(|_, record| record.durable);
            self.living.clear();
        }
        let found = Found {
            records: self.store.values().cloned().collect(),
            living: self.living.iter().map(|(id, pid)| Living { id: *id, pid: *pid }).collect(),
            refused: self.refused.clone(),
            wall: now(self.at).wall,
        };
        self.core = Core::new(Config { storm_guard: self.guard, ..Bench::config(8) });
        self.core.restore(now(self.at), found);
        self.turn();
    }

    fn names_of(&self, key: &UnitKey) -> Vec<String> {
        self.core.instances_of(key).into_iter().map(|view| view.name).collect()
    }

    fn desired(&self, key: &UnitKey) -> u32 {
        self.core.unit(key).unwrap().counts.desired
    }
}

/// What runs, and how, is remembered with the machine's boot. A crash must not wait for a disk.
#[test]
fn a_crash_and_a_restart_change_nothing_that_lasts() {
    let mut bench = Bench::new();
    bench.apply(vec![deployment("api", 1)]);
    let api = key(Kind::Deployment, "api");
    let lasting = |bench: &Bench| -> Vec<(String, Vec<u8>)> {
        let all = bench.store.values().filter(|record| record.durable);
        all.map(|record| (record.key.clone(), record.value.clone())).collect()
    };
    let before = lasting(&bench);
    // The first restart is at once, the second waits.
    for ready in [1, 0] {
        bench.pass(1);
        let instance = bench.names_of(&api)[0].clone();
        bench.end(&instance, Exit::Signal(9));
        assert_eq!(bench.core.unit(&api).unwrap().counts.ready, ready);
        assert_eq!(lasting(&bench), before);
    }
    // And yet the next daemon says the same of it, to the instant.
    let shown = bench.core.unit(&api).unwrap();
    assert_eq!(
        shown.conditions.iter().find(|c| c.kind == "Available").unwrap().status.as_str(),
        "False"
    );
    bench.reborn(true);
    assert_eq!(bench.core.unit(&api).unwrap(), shown);
}

#[test]
fn a_live_change_stays_until_the_files_own_value_of_that_field_changes() {
    let api = key(Kind::Deployment, "api");
    let mut bench = Bench::new();
    bench.apply(vec![deployment("api", 3)]);
    bench.ask(Request::Scale(api.clone(), 5)).unwrap();
    assert_eq!(bench.desired(&api), 5);
    assert_eq!(bench.names_of(&api).len(), 5);

    // Another field changes: the live change stays.
    bench.apply(vec![with_env(deployment("api", 3), "1")]);
    assert_eq!(bench.desired(&api), 5);
    // Also over the end of the daemon, and over a reboot.
    bench.reborn(true);
    assert_eq!(bench.desired(&api), 5);
    bench.reborn(false);
    assert_eq!(bench.desired(&api), 5);
    // The field itself changes: the file rules again.
    bench.apply(vec![with_replicas(with_env(deployment("api", 3), "1"), 2)]);
    assert_eq!(bench.desired(&api), 2);
    assert!(bench.core.unit(&api).unwrap().overrides.is_empty());
}

#[test]
fn what_is_stopped_stays_stopped() {
    let api = key(Kind::Deployment, "api");
    let mut bench = Bench::new();
    bench.apply(vec![deployment("api", 2)]);
    assert_eq!(bench.names_of(&api).len(), 2);
    bench.ask(Request::Stop(Target::Unit(api.clone()))).unwrap();
    assert_eq!(bench.names_of(&api).len(), 0);
    bench.apply(vec![with_replicas(deployment("api", 2), 3)]);
    bench.reborn(true);
    bench.reborn(false);
    bench.apply(vec![with_replicas(deployment("api", 2), 3)]);
    assert_eq!(bench.names_of(&api).len(), 0, "neither a file nor a new daemon starts it");
    bench.ask(Request::Start(Target::Unit(api.clone()))).unwrap();
    assert_eq!(bench.names_of(&api).len(), 3);
}

#[test]
fn a_unit_deleted_by_hand_comes_back_only_when_asked_for_or_changed() {
    let api = key(Kind::Deployment, "api");
    let rows: [(&str, bool, UnitSpec, bool); 4] = [
        ("noticed, same file", false, deployment("api", 1), false),
        ("noticed, other file", false, deployment("api", 2), true),
        ("asked for, same file", true, deployment("api", 1), true),
        ("asked for, other file", true, deployment("api", 2), true),
    ];
    for (what, explicit, spec, comes_back) in rows {
        for rebirth in [false, true] {
            let mut bench = Bench::new();
            bench.apply(vec![deployment("api", 1)]);
            bench.ask(Request::Delete(Target::Unit(api.clone()))).unwrap();
            assert!(bench.core.unit(&api).is_none(), "{what}");
            if rebirth {
                bench.reborn(false);
            }
            if explicit {
                bench.apply_explicitly(vec![spec.clone()]);
            } else {
                bench.apply(vec![spec.clone()]);
            }
            assert_eq!(bench.core.unit(&api).is_some(), comes_back, "{what}, rebirth {rebirth}");
        }
    }
}

#[test]
fn a_bad_file_keeps_the_last_good_version_running_and_touches_no_other() {
    let (api, web) = (key(Kind::Deployment, "api"), key(Kind::Deployment, "web"));
    let mut bench = Bench::new();
    bench.apply(vec![deployment("api", 1), deployment("web", 1)]);
    let before = bench.living.clone();
    let invalid: BTreeMap<_, _> = [
        (api.clone(), "unknown key `replcas`".to_owned()),
        (key(Kind::Job, "new"), "no command".to_owned()),
    ]
    .into();
    let read =
        UnitsRead { valid: vec![deployment("web", 1)], invalid: invalid.clone(), explicit: false };
    bench.event(Event::Units(read.clone()));
    assert_eq!(bench.living, before);
    let view = bench.core.unit(&api).unwrap();
    assert_eq!(view.invalid.as_deref(), Some("unknown key `replcas`"));
    assert_eq!(bench.core.invalid_files().len(), 1);
    let told =
        |bench: &Bench| bench.reports.iter().filter(|r| r.reason == Reason::UnitInvalid).count();
    assert_eq!(told(&bench), 2);
    bench.event(Event::Units(read));
    assert_eq!(told(&bench), 2, "the same mistake is told once");
    bench.apply(vec![deployment("api", 1), deployment("web", 1)]);
    assert_eq!(bench.core.unit(&api).unwrap().invalid, None);
    assert_eq!(bench.core.invalid_files(), Vec::new());
    assert_eq!(bench.living, before);
    assert!(bench.core.unit(&web).unwrap().invalid.is_none());
}

#[test]
fn a_file_that_goes_away_removes_its_unit() {
    let api = key(Kind::Deployment, "api");
    let mut bench = Bench::new();
    bench.apply(vec![deployment("api", 2), deployment("web", 1)]);
    bench.apply(vec![deployment("web", 1)]);
    assert!(bench.core.unit(&api).is_none());
    assert_eq!(bench.living.len(), 1);
    assert!(bench.store.keys().all(|key| !key.contains("api")), "nothing of it is remembered");
}

#[test]
fn a_plan_says_what_would_change_and_changes_nothing() {
    let mut bench = Bench::new();
    bench.apply(vec![deployment("api", 3), deployment("gone", 1), deployment("same", 1)]);
    let before = bench.living.clone();
    let read = UnitsRead {
        valid: vec![
            with_env(with_replicas(deployment("api", 3), 4), "2"),
            deployment("same", 1),
            deployment("new", 1),
        ],
        ..UnitsRead::default()
    };
    let changes = bench.core.plan(&read);
    let lines: Vec<_> = changes.iter().map(|c| (c.key.name.as_str(), c.kind, c.rollout)).collect();
    assert_eq!(
        lines,
        [
            ("api", ChangeKind::Update, true),
            ("gone", ChangeKind::Remove, false),
            ("new", ChangeKind::Create, false),
        ]
    );
    let fields: Vec<_> = changes[0]
        .fields
        .iter()
        .map(|f| (f.path.as_str(), f.old.as_deref(), f.new.as_deref()))
        .collect();
    assert_eq!(
        fields,
        [("process.env.V", None, Some("\"2\"")), ("replicas", Some("3"), Some("4"))]
    );
    bench.turn();
    assert_eq!(bench.living, before);
}

#[test]
fn a_new_daemon_restarts_nothing_that_runs_and_hears_what_it_missed() {
    let api = key(Kind::Deployment, "api");
    let mut bench = Bench::new();
    bench.apply(vec![deployment("api", 2)]);
    let before = bench.living.clone();
    bench.reborn(true);
    bench.apply(vec![deployment("api", 2)]);
    assert_eq!(bench.living, before);
    assert!(bench.reports.iter().any(|r| r.reason == Reason::DaemonAdopted));

    // One ends while no daemon is there: the runner delivers the end afterwards.
    let id = *bench.living.keys().next().unwrap();
    let ended = now(bench.at).mono;
    bench.at += 60;
    bench.reborn(true);
    bench.living.remove(&id);
    bench.event(Event::Exited { id, exit: Exit::Code(3), at: ended });
    let view = bench.core.instances_of(&api).into_iter().find(|view| view.slot == id.slot).unwrap();
    assert_eq!(view.last_exit, Some(Exit::Code(3)));
    assert_eq!(view.last_exit_at, Some(now(0).wall));
    assert_eq!(view.restarts, 1);
}

#[test]
fn an_end_that_nobody_saw_is_never_a_success() {
    let migrate = key(Kind::Job, "migrate");
    let mut bench = Bench::new();
    bench.apply(vec![job("migrate")]);
    assert_eq!(bench.living.len(), 1);
    bench.living.clear();
    bench.reborn(true);
    let view = bench.core.unit(&migrate).unwrap();
    let view::KindView::Job(job) = view.kind else { panic!("not a job") };
    assert_eq!((job.succeeded, job.failed, job.finished), (0, 1, None));
}

#[test]
fn a_start_that_failed_while_nobody_was_there_is_counted_when_it_is_heard_of() {
    let migrate = key(Kind::Job, "migrate");
    let mut bench = Bench::new();
    // The start is asked for and remembered, and the daemon dies before the answer.
    let read = UnitsRead { valid: vec![job("migrate")], ..UnitsRead::default() };
    bench.core.handle(now(0), Event::Units(read));
    bench.core.settle(now(0));
    while let Some(action) = bench.core.poll_action() {
        match action {
            Action::Spawn(spawn) => bench.refused.push(spawn.id),
            other => bench.carry_out(other, &mut Vec::new()),
        }
    }
    let id = bench.refused[0];
    bench.reborn(true);
    assert!(bench.living.is_empty(), "it is not started a second time before that");
    bench.event(Event::SpawnFailed { id, message: "command not found".to_owned() });
    let view::KindView::Job(job) = bench.core.unit(&migrate).unwrap().kind else { panic!() };
    assert_eq!(job.failed, 1);
}

#[test]
fn a_process_that_no_record_knows_is_killed() {
    let mut bench = Bench::new();
    let stray = InstanceId { slot: 99, generation: 1 };
    bench.living.insert(stray, 4242);
    bench.reborn(true);
    assert!(!bench.living.contains_key(&stray));
}

#[test]
fn a_finished_job_stays_finished_and_a_restart_runs_it_anew() {
    let migrate = key(Kind::Job, "migrate");
    let mut bench = Bench::new();
    bench.apply(vec![job("migrate")]);
    let first = bench.names_of(&migrate).remove(0);
    bench.end(&first, Exit::Code(0));
    for keep in [true, false] {
        bench.reborn(keep);
        bench.apply(vec![job("migrate")]);
        assert!(bench.living.is_empty(), "it does not run again");
    }
    bench.ask(Request::Restart(Target::Unit(migrate.clone()))).unwrap();
    assert_eq!(bench.living.len(), 1);
    // A changed template makes a new run once the old one has ended.
    let second = bench.names_of(&migrate).remove(0);
    bench.apply(vec![with_env(job("migrate"), "2")]);
    assert_eq!(bench.names_of(&migrate), std::slice::from_ref(&second));
    bench.end(&second, Exit::Code(0));
    assert_eq!(bench.living.len(), 1, "the new template's run");
}

#[test]
fn a_job_whose_time_to_live_is_over_does_not_run_again_from_the_same_file() {
    let migrate = key(Kind::Job, "migrate");
    let mut spec = job("migrate");
    if let WorkloadSpec::Job(job) = &mut spec.workload {
        job.ttl_after_finished = Some(Millis::from_secs(5));
    }
    let mut bench = Bench::new();
    bench.apply(vec![spec.clone()]);
    let run = bench.names_of(&migrate).remove(0);
    bench.end(&run, Exit::Code(0));
    bench.pass(10);
    assert!(bench.core.unit(&migrate).is_none());
    bench.apply_explicitly(vec![spec.clone()]);
    bench.reborn(false);
    bench.apply(vec![spec.clone()]);
    assert!(bench.core.unit(&migrate).is_none());
    bench.apply(vec![with_env(spec, "2")]);
    assert_eq!(bench.living.len(), 1, "another file is another job");
}

#[test]
fn requests_that_make_no_sense_are_refused_with_a_remedy() {
    let mut bench = Bench::new();
    bench.apply(vec![deployment("api", 1), job("migrate"), cronjob("backup", "@hourly")]);
    let api = key(Kind::Deployment, "api");
    let migrate = key(Kind::Job, "migrate");
    let backup = key(Kind::CronJob, "backup");
    let rows = [
        (Request::Scale(migrate.clone(), 2), "cannot be scaled"),
        (Request::Scale(api.clone(), REPLICAS_TOO_MANY), "too many"),
        (Request::Suspend(api.clone()), "use `stop deployment/api`"),
        (Request::Pause(migrate.clone()), "no roll-out"),
        (Request::Undo(migrate.clone(), None), "no revisions"),
        (Request::RolloutRestart(backup.clone()), "use `restart"),
        (Request::Restart(Target::Unit(backup.clone())), "use `trigger"),
        (Request::Trigger(api.clone(), None), "not a cronjob"),
        (Request::Trigger(backup.clone(), Some("A b".to_owned())), "cannot name a job"),
        (Request::Trigger(backup, Some("migrate".to_owned())), "is there already"),
    ];
    for (request, expected) in rows {
        let shown = format!("{request:?}");
        match bench.ask(request) {
            Err(Refusal::Invalid(text)) => assert!(text.contains(expected), "{shown}: {text}"),
            other => panic!("{shown}: {other:?}"),
        }
    }
    for target in [Target::Unit(key(Kind::Job, "nope")), Target::Instance("nope".to_owned())] {
        let answer = bench.ask(Request::Delete(target));
        assert!(matches!(answer, Err(Refusal::NotFound(_))), "{answer:?}");
    }
}

const REPLICAS_TOO_MANY: u32 = 1_000_000;

#[test]
fn a_crashed_instance_starts_in_place_and_a_deleted_one_is_replaced() {
    let api = key(Kind::Deployment, "api");
    let mut bench = Bench::new();
    bench.apply(vec![deployment("api", 1)]);
    let first = bench.names_of(&api).remove(0);
    bench.end(&first, Exit::Signal(signal::KILL));
    assert_eq!(bench.names_of(&api), std::slice::from_ref(&first));
    assert_eq!(bench.core.instance(&first).unwrap().restarts, 1);
    bench.ask(Request::Delete(Target::Instance(first.clone()))).unwrap();
    assert_ne!(bench.names_of(&api), [first]);
    assert_eq!(bench.living.len(), 1);
}

/// Each start is answered once; the runner may say a thing again after the daemon's end, and then
/// the answer belongs to a start that is over.
#[test]
fn an_answer_to_an_earlier_start_is_dropped() {
    let api = key(Kind::Deployment, "api");
    let mut bench = Bench::new();
    bench.apply(vec![deployment("api", 1)]);
    let instance = bench.names_of(&api).remove(0);
    let first = *bench.living.keys().next().unwrap();
    bench.end(&instance, Exit::Signal(11));
    let second = *bench.living.keys().next().unwrap();
    assert_eq!((second.slot, second.generation), (first.slot, first.generation + 1));
    let before = bench.core.instance(&instance).unwrap();
    assert_eq!((before.state, before.restarts), (InstanceState::Ready, 1));
    let at = now(bench.at).mono;
    let late = [
        ("an end", Event::Exited { id: first, exit: Exit::Code(0), at }),
        ("a start", Event::Spawned { id: first, pid: 1 }),
        ("a refusal", Event::SpawnFailed { id: first, message: "late".to_owned() }),
        (
            "of a start still to come",
            Event::Exited {
                id: InstanceId { generation: second.generation + 1, ..first },
                exit: Exit::Code(0),
                at,
            },
        ),
        (
            "of an instance that never was",
            Event::Exited { id: InstanceId { slot: 7, ..first }, exit: Exit::Code(0), at },
        ),
    ];
    for (what, event) in late {
        bench.event(event);
        let after = bench.core.instance(&instance).unwrap();
        assert_eq!(
            (after.state, after.pid, after.restarts, after.slot),
            (InstanceState::Ready, before.pid, 1, before.slot),
            "{what}"
        );
        assert_eq!(bench.living.keys().collect::<Vec<_>>(), [&second], "{what}");
    }
}

#[test]
fn an_instance_stopped_by_hand_waits_and_is_not_replaced() {
    let api = key(Kind::Deployment, "api");
    let mut bench = Bench::new();
    bench.apply(vec![deployment("api", 2)]);
    let first = bench.names_of(&api).remove(0);
    bench.ask(Request::Stop(Target::Instance(first.clone()))).unwrap();
    assert_eq!(bench.living.len(), 1);
    assert_eq!(bench.core.instance(&first).unwrap().state, InstanceState::Pending);
    bench.reborn(true);
    assert_eq!(bench.living.len(), 1);
    bench.ask(Request::Start(Target::Instance(first))).unwrap();
    assert_eq!(bench.living.len(), 2);
}

#[test]
fn a_triggered_job_is_the_cronjobs_own() {
    let backup = key(Kind::CronJob, "backup");
    let mut bench = Bench::new();
    bench.apply(vec![cronjob("backup", "@hourly")]);
    let done = bench.ask(Request::Trigger(backup.clone(), None)).unwrap();
    let made = done.created.unwrap();
    assert!(made.starts_with("backup-manual-"), "{made}");
    assert_eq!(bench.core.unit(&key(Kind::Job, &made)).unwrap().owner, Some(backup.clone()));
    assert_eq!(bench.living.len(), 1);
    bench.reborn(true);
    bench.apply(vec![cronjob("backup", "@hourly")]);
    assert_eq!(bench.living.len(), 1, "a job is not removed for having no file");
    bench.ask(Request::Delete(Target::Unit(backup.clone()))).unwrap();
    assert!(bench.living.is_empty());
    assert!(bench.core.units().is_empty());
}

#[test]
fn a_cronjob_makes_one_job_for_each_slot() {
    let mut bench = Bench::new();
    bench.apply(vec![cronjob("tick", "@every 10s")]);
    bench.pass(35);
    let jobs = bench.core.units().iter().filter(|u| u.key.kind == Kind::Job).count();
    assert_eq!(jobs, 3);
}

#[test]
fn shutdown_stops_servers_then_databases_then_agents() {
    let mut bench = Bench::new();
    let db = unit(
        key(Kind::StatefulSet, "db"),
        RestartPolicy::Always,
        WorkloadSpec::StatefulSet(StatefulSetSpec {
            replicas: 2,
            min_ready: Millis::ZERO,
            revision_history_limit: 10,
            management_policy: ManagementPolicy::OrderedReady,
            strategy: StatefulStrategy::RollingUpdate {
                partition: 0,
                max_unavailable: Amount::Count(1),
            },
            start_ordinal: 0,
            data_dir: None,
            when_deleted: Retention::Delete,
            when_scaled: Retention::Delete,
            paused: false,
        }),
    );
    bench.apply(vec![deployment("api", 1), db]);
    assert_eq!(bench.living.len(), 3);
    bench.reports.clear();
    bench.core.handle(now(0), Event::Shutdown);
    bench.turn();
    assert!(bench.living.is_empty());
    let gone: Vec<String> = bench
        .reports
        .iter()
        .filter(|r| r.reason == Reason::InstanceStopping)
        .filter_map(|r| r.instance.clone())
        .collect();
    assert_eq!(gone.len(), 3);
    assert!(gone[0].starts_with("api-"), "{gone:?}");
    assert_eq!(gone[1..], ["db-1", "db-0"]);
    // The end of the daemon is not the end of the units: the next one brings all back.
    bench.reborn(true);
    assert_eq!(bench.living.len(), 3);
}
