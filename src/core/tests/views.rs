//! What is shown of units and instances: the words, and the numbers and times beside them.

use super::*;
use crate::core::action::{DataDir, Hook};
use crate::core::instance::probe::{Answer as Probed, Kind as Probe};
use crate::core::spec::{Lifecycle, Nodes};
use crate::core::view::{InstanceView, KindView};

/// An instance with everything that it can wait for, on a machine that does nothing by itself.
pub(super) struct Life {
    pub(super) core: Core,
    pub(super) at: u64,
    /// What a store would hold.
    pub(super) records: BTreeMap<String, Record>,
}

impl Life {
    pub(super) fn new() -> Life {
        let mut spec = deployment("api", 1);
        let template = Arc::make_mut(&mut spec.template);
        let step = || InitStep { command: vec!["true".to_owned()] };
        template.init = vec![step(), step()];
        let hook = Some(vec!["hook".to_owned()]);
        template.lifecycle =
            Lifecycle { post_start: hook.clone(), pre_stop: hook, ..Lifecycle::default() };
        template.readiness = Some(Box::new(ProbeSpec {
            handler: ProbeHandler::Tcp("127.0.0.1:1".to_owned()),
            initial_delay: Millis::ZERO,
            period: Millis::from_secs(10),
            timeout: Millis::from_secs(1),
            success_threshold: 1,
            failure_threshold: 1,
        }));
        let core = Core::new(Bench::config(7));
        let mut life = Life { core, at: 0, records: BTreeMap::new() };
        life.event(Event::Units(UnitsRead { valid: vec![spec], ..UnitsRead::default() }));
        life
    }

    fn event(&mut self, event: Event) -> Vec<Action> {
        self.core.handle(now(self.at), event);
        self.turn()
    }

    /// What is asked for now.
    pub(super) fn turn(&mut self) -> Vec<Action> {
        self.core.settle(now(self.at));
        let actions: Vec<Action> = std::iter::from_fn(|| self.core.poll_action()).collect();
        for action in &actions {
            if let Action::Put(record) = action {
                self.records.insert(record.key.clone(), record.clone());
            }
        }
        actions
    }

    pub(super) fn view(&self) -> InstanceView {
        self.core.instances().remove(0)
    }

    /// Lets one thing happen a second later, or when its probe is asked.
    pub(super) fn go(&mut self, word: &str) -> Vec<Action> {
        self.at += 1;
        if word.ends_with("ready") {
            self.at += 9;
            self.event(Event::Tick);
        }
        let id = self.core.instances.values().next().unwrap().id();
        let exited = |exit| Event::Exited { id, exit, at: now(self.at).mono };
        let probed = |answer| {
            let message = "it is busy".to_owned();
            Event::ProbeDone { id, kind: Probe::Readiness, answer, message }
        };
        let name = self.view().name;
        let event = match word {
            "spawned" => Event::Spawned { id, pid: 41 },
            "refused" => Event::SpawnFailed { id, message: "no such file".to_owned() },
            "0" => exited(Exit::Code(0)),
            "3" => exited(Exit::Code(3)),
            "hook" => Event::HookDone { id, hook: Hook::PostStart, failure: None },
            "ready" => probed(Probed::Success),
            "unready" => probed(Probed::Failure),
            "stop" => Event::Request(Request::Stop(Target::Instance(name))),
            "hook over" => Event::HookDone { id, hook: Hook::PreStop, failure: None },
            "grace over" => {
                self.at += 3_600;
                Event::Tick
            }
            other => panic!("nothing is called {other}"),
        };
        self.event(event)
    }
}

/// (what happens, the state, why, whether it is ready, whether it has a process, since when it runs in
/// seconds)
#[test]
fn each_state_is_said_in_words() {
    use InstanceState::{Backoff, Init, Pending, Ready, Running, Starting, Stopping};
    type Row = (&'static str, InstanceState, &'static str, bool, bool, Option<u64>);
    #[rustfmt::skip]
    let rows: &[Row] = &[
        ("spawned", Init, "init step 1 of 2", false, true, None),
        ("0", Init, "init step 2 is being started", false, false, None),
        ("spawned", Init, "init step 2 of 2", false, true, None),
        ("0", Starting, "", false, false, None),
        ("spawned", Starting, "its post_start hook runs", false, true, Some(5)),
        ("hook", Running, "not ready: its readiness probe has not succeeded yet", false, true, Some(5)),
        ("ready", Ready, "", true, true, Some(5)),
        ("unready", Running, "not ready: readiness probe: it is busy", false, true, Some(5)),
        ("3", Starting, "", false, false, None),
        ("spawned", Starting, "its post_start hook runs", false, true, Some(28)),
        ("3", Backoff, "ended with exit code 3", false, false, None),
        ("stop", Pending, "stopped by an operator", false, false, None),
    ];
    let mut life = Life::new();
    let first = life.view();
    assert_eq!(first.reason.as_deref(), Some("init step 1 is being started"));
    assert_eq!((first.state, first.last_exit, first.next_start), (Init, None, None));
    for (word, state, reason, ready, process, since) in rows {
        life.go(word);
        let view = life.view();
        assert_eq!((view.state, view.reason.as_deref().unwrap_or("")), (*state, *reason), "{word}");
        assert_eq!((view.ready, view.pid), (*ready, process.then_some(41)), "{word}");
        assert_eq!(view.started_at, since.map(|secs| now(secs).wall), "{word}");
        // The second restart waits for a second.
        let next = (view.state == Backoff).then(|| now(life.at + 1).wall);
        assert_eq!(view.next_start, next, "{word}");
        assert_eq!(view.created_at, now(0).wall);
    }
    let view = life.view();
    assert_eq!((view.last_exit, view.last_exit_at), (Some(Exit::Code(3)), Some(now(29).wall)));
    assert_eq!((view.restarts, view.revision), (1, 1));

    let mut life = Life::new();
    for word in ["spawned", "0", "spawned", "0", "spawned", "hook"] {
        life.go(word);
    }
    let stopping = [
        ("stop", "its pre_stop hook runs"),
        ("hook over", ""),
        ("grace over", "killed, not gone yet"),
    ];
    for (word, reason) in stopping {
        life.go(word);
        let view = life.view();
        assert_eq!((view.state, view.reason.as_deref().unwrap_or("")), (Stopping, reason));
        assert_eq!((view.pid, view.started_at), (Some(41), None));
    }

    // What failed last is said rather than how a run before it ended.
    let mut life = Life::new();
    for _ in 0..2 {
        life.go("refused");
    }
    assert_eq!((life.view().state, life.view().reason.as_deref()), (Backoff, Some("no such file")));
}

#[test]
fn states_have_the_words_of_the_contract() {
    use InstanceState::{
        Backoff, Failed, Init, Pending, Ready, Running, Starting, Stopping, Succeeded,
    };
    let all = [Pending, Init, Starting, Running, Ready, Stopping, Backoff, Succeeded, Failed];
    for state in all {
        assert_eq!(state.as_str(), format!("{state:?}"));
    }
}

/// What is not restarted any more says why, and what is to be done.
#[test]
fn the_end_of_an_instance_is_said() {
    let mut bench = Bench::new();
    let mut limited = deployment("api", 1);
    let limit = RestartLimit { count: 1, within: Millis::from_secs(600) };
    Arc::make_mut(&mut limited.template).restart.limit = Some(limit);
    let two = |text: &str| {
        let mut spec = job(text);
        if let WorkloadSpec::Job(job) = &mut spec.workload {
            (job.completions, job.parallelism, job.backoff_limit) = (Some(2), 2, 0);
        }
        spec
    };
    bench.apply(vec![limited, two("good"), two("bad")]);
    let names = |bench: &Bench, kind, text| bench.names_of(&key(kind, text));
    let api = names(&bench, Kind::Deployment, "api").remove(0);
    for _ in 0..2 {
        bench.end(&api, Exit::Code(3));
    }
    let view = bench.core.instance(&api).unwrap();
    let why = "ended with exit code 3; restarted too often, waits for `start` or `restart`";
    assert_eq!((view.state, view.reason.as_deref()), (InstanceState::Failed, Some(why)));

    let good = names(&bench, Kind::Job, "good").remove(0);
    bench.end(&good, Exit::Code(0));
    let view = bench.core.instance(&good).unwrap();
    assert_eq!((view.state, view.reason), (InstanceState::Succeeded, None));
    let bad = names(&bench, Kind::Job, "bad").remove(0);
    bench.end(&bad, Exit::Code(4));
    let view = bench.core.instance(&bad).unwrap();
    assert_eq!(
        (view.state, view.reason.as_deref()),
        (InstanceState::Failed, Some("ended with exit code 4"))
    );
}

/// A unit is shown with what its file says, what operators changed, and what it may not do.
#[test]
fn a_unit_is_shown_as_it_is() {
    let mut bench = Bench::new();
    let api = key(Kind::Deployment, "api");
    let mut spec = deployment("api", 2);
    spec.description = Some("the api".to_owned());
    spec.labels = BTreeMap::from([("tier".to_owned(), "web".to_owned())]);
    bench.at = 5;
    bench.apply(vec![spec.clone()]);
    let view = bench.core.unit(&api).unwrap();
    assert_eq!((view.description.as_deref(), &view.labels), (Some("the api"), &spec.labels));
    assert_eq!((view.generation, view.revision, view.created_at), (1, 1, now(5).wall));
    assert_eq!((view.stopped, view.paused, view.suspended), (false, false, false));
    assert_eq!((view.deleting, view.not_selected, view.stalled), (false, false, false));
    assert!(view.rolled_out);
    assert_eq!((view.kind, view.owner), (KindView::Service, None));
    assert_eq!((view.counts.desired, view.counts.current, view.counts.ready), (2, 2, 2));

    bench.ask(Request::Pause(api.clone())).unwrap();
    bench.ask(Request::Scale(api.clone(), 3)).unwrap();
    bench.ask(Request::Stop(Target::Unit(api.clone()))).unwrap();
    let view = bench.core.unit(&api).unwrap();
    assert_eq!((view.stopped, view.paused, view.generation), (true, true, 3));
    let live: Vec<(&str, &str)> =
        view.overrides.iter().map(|(field, value)| (field.as_str(), value.as_str())).collect();
    assert_eq!(live, [("replicas", "3"), ("rollout.paused", "true"), ("stopped", "true")]);
    let in_force = bench.core.spec(&api).unwrap();
    let WorkloadSpec::Deployment(in_force) = in_force.workload else { panic!() };
    assert_eq!((in_force.replicas, in_force.paused), (3, true));

    spec.node_selector = BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]);
    bench.apply(vec![spec]);
    assert!(bench.core.unit(&api).unwrap().not_selected);

    bench.apply(vec![job("migrate"), cronjob("tick", "* * * * *")]);
    let (migrate, tick) = (key(Kind::Job, "migrate"), key(Kind::CronJob, "tick"));
    for key in [&migrate, &tick] {
        bench.ask(Request::Suspend(key.clone())).unwrap();
        let view = bench.core.unit(key).unwrap();
        assert!(view.suspended);
        assert_eq!(view.overrides, [("suspend".to_owned(), "true".to_owned())]);
    }
}

/// While a unit goes it is said to go; its processes are still there.
#[test]
fn a_unit_that_goes_is_shown() {
    let mut core = Core::new(Bench::config(7));
    let turn = |core: &mut Core, event: Event| -> Vec<InstanceId> {
        core.handle(now(0), event);
        core.settle(now(0));
        let actions = std::iter::from_fn(|| core.poll_action());
        let starts = actions.filter_map(|action| match action {
            Action::Spawn(spawn) => Some(spawn.id),
            _ => None,
        });
        starts.collect()
    };
    let read = |valid| Event::Units(UnitsRead { valid, ..UnitsRead::default() });
    let id = turn(&mut core, read(vec![deployment("api", 1)])).remove(0);
    turn(&mut core, Event::Spawned { id, pid: 1 });
    turn(&mut core, read(Vec::new()));
    let api = key(Kind::Deployment, "api");
    assert!(core.unit(&api).unwrap().deleting);
    let request = |core: &mut Core, request| core.handle(now(0), Event::Request(request)).unwrap();
    let refused = request(&mut core, Request::Scale(api.clone(), 2)).unwrap_err();
    assert_eq!(refused.to_string(), "deployment/api is being removed");
    turn(&mut core, Event::Exited { id, exit: Exit::Code(0), at: now(0).mono });
    assert!(core.unit(&api).is_none());
}

#[test]
fn a_job_and_a_cronjob_have_their_own_numbers() {
    let mut bench = Bench::new();
    let mut spec = job("migrate");
    if let WorkloadSpec::Job(job) = &mut spec.workload {
        (job.completions, job.parallelism) = (Some(3), 3);
    }
    bench.at = 2;
    bench.apply(vec![spec, cronjob("tick", "* * * * *")]);
    let of = |bench: &Bench| match bench.core.unit(&key(Kind::Job, "migrate")).unwrap().kind {
        KindView::Job(view) => view,
        KindView::Service | KindView::CronJob(_) => panic!("a job"),
    };
    let runs = bench.names_of(&key(Kind::Job, "migrate"));
    bench.end(&runs[0], Exit::Code(0));
    bench.end(&runs[1], Exit::Code(1));
    let view = of(&bench);
    assert_eq!((view.active, view.succeeded, view.failed), (1, 1, 1));
    assert_eq!((view.completions, view.started_at), (Some(3), Some(now(2).wall)));
    assert_eq!((view.completed_at, view.finished, view.scheduled), (None, None, None));
    bench.pass(30);
    for run in bench.core.instances_of(&key(Kind::Job, "migrate")) {
        if run.pid.is_some() {
            bench.end(&run.name, Exit::Code(0));
        }
    }
    let view = of(&bench);
    assert_eq!((view.succeeded, view.finished), (3, Some(true)));
    assert_eq!(view.completed_at, Some(now(bench.at).wall));

    let tick = key(Kind::CronJob, "tick");
    let cron = |bench: &Bench| match bench.core.unit(&tick).unwrap().kind {
        KindView::CronJob(view) => view,
        KindView::Service | KindView::Job(_) => panic!("a cronjob"),
    };
    let minute = |wall: Wall| Wall(wall.0 - wall.0 % 60_000);
    let next = minute(now(bench.at).wall).plus(Millis::from_secs(60));
    let view = cron(&bench);
    assert_eq!((view.schedule.as_str(), view.time_zone.as_deref()), ("* * * * *", Some("UTC")));
    assert_eq!(view.next_schedule, Some(next));
    bench.pass(60);
    let view = cron(&bench);
    assert_eq!((view.last_schedule, view.active.len()), (Some(next), 1));
    let made = bench.core.unit(&key(Kind::Job, &view.active[0])).unwrap();
    let KindView::Job(of_slot) = made.kind else { panic!("a job") };
    assert_eq!((of_slot.scheduled, made.owner), (Some(next), Some(tick.clone())));
    // What will not happen is not announced.
    for (ask, undo) in [
        (Request::Suspend(tick.clone()), Request::Resume(tick.clone())),
        (Request::Stop(Target::Unit(tick.clone())), Request::Start(Target::Unit(tick.clone()))),
    ] {
        assert!(cron(&bench).next_schedule.is_some());
        bench.ask(ask).unwrap();
        assert_eq!(cron(&bench).next_schedule, None);
        bench.ask(undo).unwrap();
    }
}

/// Instances are listed by unit, then ordinal or node, then age; those of a cronjob are its jobs'.
#[test]
fn instances_are_listed_in_order() {
    let stateful = StatefulSetSpec {
        replicas: 3,
        min_ready: Millis::ZERO,
        revision_history_limit: 10,
        management_policy: ManagementPolicy::Parallel,
        strategy: StatefulStrategy::OnDelete,
        start_ordinal: 0,
        data_dir: Some("/data".to_owned()),
        when_deleted: Retention::Retain,
        when_scaled: Retention::Retain,
        paused: false,
    };
    let daemon = DaemonSetSpec {
        nodes: Nodes::Cpus,
        min_ready: Millis::ZERO,
        revision_history_limit: 10,
        strategy: DaemonStrategy::OnDelete,
        paused: false,
    };
    let (db, agent) = (key(Kind::StatefulSet, "db"), key(Kind::DaemonSet, "agent"));
    let tick = key(Kind::CronJob, "tick");
    let always = RestartPolicy::Always;
    let mut bench = Bench::new();
    bench.apply(vec![
        unit(db.clone(), always, WorkloadSpec::StatefulSet(stateful)),
        unit(agent.clone(), always, WorkloadSpec::DaemonSet(daemon)),
        cronjob("tick", "0 0 1 1 *"),
    ]);
    let path = Some("/sys/cpu1".to_owned());
    let nodes = BTreeMap::from([("cpu0".to_owned(), None), ("cpu1".to_owned(), path.clone())]);
    bench.event(Event::NodesChanged { unit: agent.clone(), nodes });
    for name in ["by-hand", "again"] {
        bench.ask(Request::Trigger(tick.clone(), Some(name.to_owned()))).unwrap();
    }
    // A successor is younger than those behind it.
    bench.ask(Request::Delete(Target::Instance("db-0".to_owned()))).unwrap();
    let views = bench.core.instances_of(&db);
    let ordinals: Vec<Option<u32>> = views.iter().map(|view| view.ordinal).collect();
    assert_eq!(ordinals, [Some(0), Some(1), Some(2)]);
    assert!(views[0].slot > views[2].slot);
    let dir = DataDir { base: Some("/data".to_owned()), instance: "db-1".to_owned() };
    assert_eq!(views[1].data_dir, Some(dir));
    let views = bench.core.instances_of(&agent);
    let nodes: Vec<_> = views.iter().map(|v| (v.node.as_deref(), v.node_path.clone())).collect();
    assert_eq!(nodes, [(Some("cpu0"), None), (Some("cpu1"), path)]);
    assert_eq!((views[0].ordinal, &views[0].data_dir), (None, &None));
    let of_jobs = bench.core.instances_of(&tick);
    let units: Vec<String> = of_jobs.iter().map(|view| view.unit.to_string()).collect();
    assert_eq!(units, ["job/again", "job/by-hand"]);
    assert!(of_jobs.iter().all(|view| view.owner.as_ref() == Some(&tick)));
    let all: Vec<String> = bench.core.instances().into_iter().map(|view| view.name).collect();
    assert_eq!(all.len(), 7);
    assert_eq!(all[..3], ["db-0", "db-1", "db-2"]);
    let keys: Vec<UnitKey> = bench.core.units().into_iter().map(|view| view.key).collect();
    let again = key(Kind::Job, "again");
    assert_eq!(keys, [db, agent, again, key(Kind::Job, "by-hand"), tick]);
}

/// The version rises with whatever a view shows, and rests while nothing happens.
#[test]
fn the_version_rises_with_what_is_shown() {
    let mut bench = Bench::new();
    bench.apply(vec![deployment("api", 1)]);
    let rises = |bench: &mut Bench, event: Event| {
        let before = bench.core.version();
        bench.event(event);
        bench.core.version() > before
    };
    assert!(!rises(&mut bench, Event::Tick), "nothing happens");
    let id = *bench.living.keys().next().unwrap();
    let told = |id, text: &str| Event::StatusTold { id, text: text.to_owned() };
    let says = |bench: &Bench| bench.core.instances()[0].says.clone();
    assert!(rises(&mut bench, told(id, "busy")));
    assert_eq!(says(&bench).as_deref(), Some("busy"));
    let earlier = InstanceId { generation: id.generation + 1, ..id };
    assert!(!rises(&mut bench, told(earlier, "late")), "of another start");
    assert_eq!(says(&bench).as_deref(), Some("busy"));
    assert!(rises(&mut bench, told(id, "")));
    assert_eq!(says(&bench), None);
    let units = UnitsRead { valid: vec![deployment("api", 1)], ..UnitsRead::default() };
    assert!(rises(&mut bench, Event::Units(units)), "files were read: their complaints are shown");
    let before = bench.core.version();
    bench.ask(Request::Scale(key(Kind::Deployment, "api"), 2)).unwrap();
    assert!(bench.core.version() > before);
}
