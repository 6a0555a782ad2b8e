//! Order between units: who waits for what, who is started when, and what is said of it.

use super::*;
use crate::core::spec::{Dependency, DependencyCondition};
use crate::core::table::{Rule, by};
use DependencyCondition::{Available, Complete, Started};

fn after(mut spec: UnitSpec, dependencies: &[(&str, DependencyCondition)]) -> UnitSpec {
    let of = |(unit, condition): &(&str, DependencyCondition)| Dependency {
        unit: (*unit).to_owned(),
        condition: *condition,
    };
    spec.depends_on = dependencies.iter().map(of).collect();
    spec
}

/// The processes of a unit.
fn runs(bench: &Bench, unit: &UnitKey) -> usize {
    bench.core.instances_of(unit).iter().filter(|view| view.pid.is_some()).count()
}

fn reason(bench: &Bench, unit: &UnitKey) -> String {
    let all = bench.core.instances_of(unit);
    all.iter().find_map(|view| view.reason.clone()).unwrap_or_default()
}

fn api() -> UnitKey {
    key(Kind::Deployment, "api")
}

/// The rule; the world; the files beside the unit's own; what it waits for; whether it may begin.
type Row = (Rule, Bench, Vec<UnitSpec>, (&'static str, DependencyCondition), bool);

#[test]
fn what_counts_as_there() {
    let stopped = |mut bench: Bench, key: UnitKey| {
        bench.ask(Request::Stop(Target::Unit(key))).unwrap();
        bench
    };
    let with = |units: Vec<UnitSpec>| {
        let mut bench = Bench::new();
        bench.apply(units);
        bench
    };
    let done = |how: Exit| {
        let mut bench = with(vec![job("migrate")]);
        let name = bench.names_of(&key(Kind::Job, "migrate"))[0].clone();
        bench.end(&name, how);
        bench
    };
    let db = || deployment("db", 2);
    let suspended = || {
        let mut spec = job("migrate");
        if let WorkloadSpec::Job(job) = &mut spec.workload {
            job.suspend = true;
        }
        spec
    };
    #[rustfmt::skip]
    let rows: Vec<Row> = vec![
        (by("wsup", "a server is there when it is available"), with(vec![db()]), vec![db()], ("db", Available), true),
        (by("wsup", "a kind may be named"), with(vec![db()]), vec![db()], ("deploy/db", Available), true),
        (by("wsup", "another kind of that name is not meant"), with(vec![db()]), vec![db()], ("sts/db", Available), false),
        (by("wsup", "a stopped one is not there"), stopped(with(vec![db()]), key(Kind::Deployment, "db")), vec![db()], ("db", Available), false),
        (by("wsup", "one of which nothing is wanted is not there"), with(vec![deployment("db", 0)]), vec![deployment("db", 0)], ("db", Available), false),
        (by("wsup", "nor is it started"), with(vec![deployment("db", 0)]), vec![deployment("db", 0)], ("db", Started), false),
        (by("wsup", "what is not known is not there"), with(vec![]), vec![], ("db", Available), false),
        (by("wsup", "a server is never complete"), with(vec![db()]), vec![db()], ("db", Complete), false),
        (by("wsup", "a job that runs is not there"), with(vec![job("migrate")]), vec![job("migrate")], ("migrate", Available), false),
        (by("wsup", "a job that runs is started"), with(vec![job("migrate")]), vec![job("migrate")], ("migrate", Started), true),
        (by("wsup", "a job that is suspended is not"), with(vec![suspended()]), vec![suspended()], ("migrate", Started), false),
        (by("wsup", "a complete job is there"), done(Exit::Code(0)), vec![job("migrate")], ("migrate", Available), true),
        (by("wsup", "a complete job is complete"), done(Exit::Code(0)), vec![job("migrate")], ("migrate", Complete), true),
        (by("wsup", "a complete job was started"), done(Exit::Code(0)), vec![job("migrate")], ("migrate", Started), true),
        (by("wsup", "one try that failed is not the job's success"), done(Exit::Code(1)), vec![job("migrate")], ("migrate", Available), false),
    ];
    for (rule, mut bench, mut units, dependency, begins) in rows {
        units.push(after(deployment("api", 1), &[dependency]));
        bench.apply(units);
        assert_eq!(runs(&bench, &api()), usize::from(begins), "{rule}");
        assert_eq!(bench.names_of(&api()).len(), 1, "{rule}: it is made in any case");
    }
}

/// A database, a migration that waits for it, an api that waits for both.
fn graph() -> Vec<UnitSpec> {
    vec![
        deployment("db", 1),
        after(job("migrate"), &[("db", Available)]),
        after(deployment("api", 2), &[("migrate", Available), ("db", Available)]),
    ]
}

#[test]
fn a_graph_comes_up_in_order_and_says_why_it_waits() {
    let mut bench = Bench::new();
    let (db, migrate) = (key(Kind::Deployment, "db"), key(Kind::Job, "migrate"));
    bench.apply(vec![
        deployment("db", 0),
        after(job("migrate"), &[("db", Available)]),
        after(deployment("api", 2), &[("migrate", Available)]),
    ]);
    assert_eq!((runs(&bench, &migrate), runs(&bench, &api())), (0, 0));
    assert_eq!(
        reason(&bench, &api()),
        "waits for job/migrate to complete, which waits for deployment/db to be available: no \
         instance of it is wanted"
    );
    bench.ask(Request::Scale(db, 1)).unwrap();
    assert_eq!((runs(&bench, &migrate), runs(&bench, &api())), (1, 0));
    let run = bench.names_of(&migrate)[0].clone();
    let why = reason(&bench, &api());
    assert!(why.starts_with(&format!("waits for job/migrate to complete: {run} is in")), "{why}");
    bench.end(&run, Exit::Code(0));
    assert_eq!(runs(&bench, &api()), 2);
    assert_eq!(reason(&bench, &api()), "");
    let waits = bench.reports.iter().filter(|report| report.reason == Reason::InstanceWaiting);
    assert_eq!(waits.count(), 3, "each is told of once");
}

#[test]
fn what_runs_goes_on_and_what_crashes_waits_until_it_is_back() {
    let mut bench = Bench::new();
    bench.apply(graph());
    let migrate = key(Kind::Job, "migrate");
    let run = bench.names_of(&migrate)[0].clone();
    bench.end(&run, Exit::Code(0));
    assert_eq!(runs(&bench, &api()), 2);
    let db = key(Kind::Deployment, "db");
    bench.ask(Request::Stop(Target::Unit(db.clone()))).unwrap();
    assert_eq!(runs(&bench, &api()), 2, "nobody is ended for it");
    let first = bench.names_of(&api())[0].clone();
    bench.end(&first, Exit::Code(1));
    assert_eq!(runs(&bench, &api()), 1);
    assert_eq!(reason(&bench, &api()), "waits for deployment/db to be available: it is stopped");
    bench.pass(1_000);
    assert_eq!(runs(&bench, &api()), 1);
    // A new daemon knows it as well.
    bench.reborn(true);
    assert_eq!(runs(&bench, &api()), 1);
    bench.ask(Request::Start(Target::Unit(db.clone()))).unwrap();
    assert_eq!(runs(&bench, &api()), 2, "it begins at once");
    // A dependency that is dropped from the file is waited for no more.
    bench.ask(Request::Stop(Target::Unit(db))).unwrap();
    bench.end(&first, Exit::Code(1));
    let mut units = graph();
    units[2].depends_on.clear();
    assert_eq!(runs(&bench, &api()), 1);
    bench.apply(units);
    assert_eq!(runs(&bench, &api()), 2);
}

#[test]
fn a_complete_job_whose_time_is_over_was_complete() {
    let mut bench = Bench::new();
    let mut migrate = job("migrate");
    if let WorkloadSpec::Job(spec) = &mut migrate.workload {
        spec.ttl_after_finished = Some(Millis::from_secs(10));
    }
    let units = || vec![migrate.clone(), after(deployment("api", 1), &[("migrate", Complete)])];
    bench.apply(units());
    let run = bench.names_of(&key(Kind::Job, "migrate"))[0].clone();
    bench.end(&run, Exit::Code(0));
    bench.pass(60);
    assert!(bench.core.unit(&key(Kind::Job, "migrate")).is_none(), "it has gone");
    let one = bench.names_of(&api())[0].clone();
    bench.end(&one, Exit::Code(1));
    assert_eq!(runs(&bench, &api()), 1, "its job was complete");
    bench.reborn(true);
    bench.end(&one, Exit::Code(1));
    bench.pass(60);
    assert_eq!(runs(&bench, &api()), 1, "also by what is remembered");
}

/// Whatever the kinds, who depends on something ends before it.
#[test]
fn the_daemon_stops_dependents_first() {
    let mut core = Core::new(Bench::config(7));
    let units = vec![
        // Of one kind, in an order that its name would not give.
        deployment("a-base", 1),
        after(deployment("b-user", 1), &[("a-base", Started)]),
        // A database that needs a server, which by its kind would go first.
        after(deployment("c-top", 1), &[("b-user", Started)]),
    ];
    core.handle(now(0), Event::Units(UnitsRead { valid: units, ..UnitsRead::default() }));
    let mut living: Vec<(InstanceId, String)> = Vec::new();
    let mut ended = Vec::new();
    let mut shutdown = false;
    loop {
        core.settle(now(0));
        invariant::check(&core).unwrap();
        let actions: Vec<Action> = std::iter::from_fn(|| core.poll_action()).collect();
        let mut events = Vec::new();
        for action in actions {
            match action {
                Action::Spawn(spawn) => {
                    living.push((spawn.id, spawn.unit.name.to_string()));
                    events.push(Event::Spawned { id: spawn.id, pid: 1 });
                }
                Action::Terminate { id, signal } => {
                    let at = living.iter().position(|(other, _)| *other == id).unwrap();
                    ended.push(living.remove(at).1);
                    let exit = Exit::Signal(signal);
                    events.push(Event::Exited { id, exit, at: now(0).mono });
                }
                Action::ShutdownComplete => {
                    assert_eq!(ended, ["c-top", "b-user", "a-base"]);
                    return;
                }
                _ => {}
            }
        }
        if events.is_empty() {
            assert!(!std::mem::replace(&mut shutdown, true), "it hangs: {ended:?}");
            assert_eq!(living.len(), 3);
            events.push(Event::Shutdown);
        }
        for event in events {
            core.handle(now(0), event);
        }
    }
}

/// One turn of a core without a bench.
fn turn(core: &mut Core, event: Event) -> Vec<Action> {
    core.handle(now(0), event);
    core.settle(now(0));
    invariant::check(core).unwrap();
    std::iter::from_fn(|| core.poll_action()).collect()
}

/// Files with these units, read.
fn read(valid: Vec<UnitSpec>) -> Event {
    Event::Units(UnitsRead { valid, ..UnitsRead::default() })
}

/// Gives files to a core and starts what it wants started. The names of the units, in order.
fn up(core: &mut Core, valid: Vec<UnitSpec>) -> Vec<String> {
    let mut started = Vec::new();
    let mut events = vec![read(valid)];
    while let Some(event) = events.pop() {
        for action in turn(core, event) {
            if let Action::Spawn(spawn) = action {
                started.push(spawn.unit.name.to_string());
                events.push(Event::Spawned { id: spawn.id, pid: 1 });
            }
        }
    }
    started
}

/// Who needs another unit no more, by its file, keeps nobody waiting while the daemon stops.
#[test]
fn a_dependency_that_is_dropped_while_the_daemon_stops_hangs_nothing() {
    let mut core = Core::new(Bench::config(7));
    let user = || deployment("user", 1);
    let units = vec![deployment("base", 1), after(user(), &[("base", Started)])];
    let living = up(&mut core, units);
    assert_eq!(living, ["base", "user"]);
    let asked = |actions: &[Action]| -> Vec<InstanceId> {
        let id = |action: &Action| match action {
            Action::Terminate { id, .. } => Some(*id),
            _ => None,
        };
        actions.iter().filter_map(id).collect()
    };
    let first = asked(&turn(&mut core, Event::Shutdown));
    assert_eq!(first.len(), 1, "the user alone");
    let second = asked(&turn(&mut core, read(vec![deployment("base", 1), user()])));
    assert_eq!(second.len(), 1, "the base, which nobody needs any more");
    let ends = first.into_iter().chain(second);
    let actions: Vec<Action> = ends
        .flat_map(|id| {
            let exit = Exit::Code(0);
            turn(&mut core, Event::Exited { id, exit, at: now(0).mono })
        })
        .collect();
    assert!(actions.iter().any(|action| matches!(action, Action::ShutdownComplete)));
}

/// A change of what a unit offers reaches everybody, whatever else happens in the turn in which it comes
/// about: (the rule, what a file is added or changed to besides).
#[test]
fn a_change_reaches_all_that_depend() {
    let other = |text: &str| after(deployment(text, 1), &[("db", Started)]);
    let rows: Vec<(Rule, Vec<UnitSpec>)> = vec![
        (by("wsup", "nothing else"), vec![]),
        (by("wsup", "another unit begins to depend on it"), vec![other("web")]),
        (by("wsup", "one that does not wait any more"), vec![deployment("web", 1)]),
    ];
    for (rule, besides) in rows {
        let mut bench = Bench::new();
        // It is started and, since nobody answers its probe, not available: one change alone.
        let mut db = deployment("db", 1);
        Arc::make_mut(&mut db.template).readiness = Some(Box::new(ProbeSpec {
            handler: ProbeHandler::Notify,
            initial_delay: Millis::ZERO,
            period: Millis::from_secs(10),
            timeout: Millis::from_secs(1),
            success_threshold: 1,
            failure_threshold: 3,
        }));
        let units = vec![db, other("api")];
        let read = |valid| Event::Units(UnitsRead { valid, ..UnitsRead::default() });
        bench.core.handle(now(0), read(units.clone()));
        bench.core.settle(now(0));
        let mut starts = std::iter::from_fn(|| bench.core.poll_action()).filter_map(|action| {
            if let Action::Spawn(spawn) = action { Some(spawn.id) } else { None }
        });
        let (id, more) = (starts.next().unwrap(), starts.next());
        assert_eq!(more, None, "{rule}: only what waits for nothing is started");
        drop(starts);
        bench.core.handle(now(0), Event::Spawned { id, pid: 7 });
        bench.core.handle(now(0), read([units, besides].concat()));
        bench.turn();
        assert_eq!(runs(&bench, &api()), 1, "{rule}");
    }
}

/// Two units that depend on each other, by files that were each valid at their time: nothing hangs.
#[test]
fn a_circle_of_old_and_new_files_hangs_nothing() {
    let mut core = Core::new(Bench::config(7));
    let first = vec![deployment("a", 1), after(deployment("b", 1), &[("a", Started)])];
    let living = up(&mut core, first);
    assert_eq!(living.len(), 2);
    let invalid = BTreeMap::from([(key(Kind::Deployment, "b"), "a slip".to_owned())]);
    let valid = vec![after(deployment("a", 1), &[("b", Started)])];
    turn(&mut core, Event::Units(UnitsRead { valid, invalid, explicit: false }));
    assert_eq!(
        core.why_waits(&key(Kind::Deployment, "a")),
        None,
        "both run, and so both are there"
    );
    let mut done = false;
    let mut events = vec![Event::Shutdown];
    while let Some(event) = events.pop() {
        for action in turn(&mut core, event) {
            match action {
                Action::Terminate { id, signal } => {
                    let exit = Exit::Signal(signal);
                    events.push(Event::Exited { id, exit, at: now(0).mono });
                }
                Action::ShutdownComplete => done = true,
                _ => {}
            }
        }
    }
    assert!(done, "the daemon ends");
}

#[test]
fn a_circle_is_told_once_round() {
    let mut bench = Bench::new();
    bench.apply(vec![
        after(deployment("a", 1), &[("b", Started)]),
        after(deployment("b", 1), &[("a", Started)]),
    ]);
    assert_eq!(
        reason(&bench, &key(Kind::Deployment, "a")),
        "waits for deployment/b to be started, which waits for deployment/a to be started, which waits \
         for this one"
    );
}

fn database(strategy: StatefulStrategy, replicas: u32) -> UnitSpec {
    let mut unit = statefulset("db", replicas);
    if let WorkloadSpec::StatefulSet(spec) = &mut unit.workload {
        spec.strategy = strategy;
    }
    unit
}

fn agent(strategy: DaemonStrategy) -> UnitSpec {
    let spec = DaemonSetSpec {
        nodes: Nodes::Cpus,
        min_ready: Millis::ZERO,
        revision_history_limit: 10,
        strategy,
        paused: false,
    };
    unit(key(Kind::DaemonSet, "db"), RestartPolicy::Always, WorkloadSpec::DaemonSet(spec))
}

/// (rule, what is depended on, its nodes, how many of its instances are down, whether it is
/// available)
#[test]
fn as_many_as_a_roll_out_leaves_are_enough() {
    let ordered =
        |max_unavailable| StatefulStrategy::RollingUpdate { partition: 0, max_unavailable };
    let rolling = |max_unavailable| DaemonStrategy::RollingUpdate {
        max_surge: Amount::Count(0),
        max_unavailable,
    };
    let count = Amount::Count;
    #[rustfmt::skip]
    let rows: Vec<(Rule, UnitSpec, Option<usize>, usize, bool)> = vec![
        (by("wsup", "statefulset: all are there"), database(ordered(count(1)), 3), None, 0, true),
        (by("wsup", "statefulset: as many are missing as may be"), database(ordered(count(1)), 3), None, 1, true),
        (by("wsup", "statefulset: more are missing"), database(ordered(count(1)), 3), None, 2, false),
        (by("wsup", "statefulset: two may be missing"), database(ordered(count(2)), 3), None, 2, true),
        (by("wsup", "statefulset: a share is rounded down"), database(ordered(Amount::Percent(50)), 3), None, 2, false),
        (by("wsup", "statefulset: but one may always be missing"), database(ordered(Amount::Percent(1)), 3), None, 1, true),
        (by("wsup", "statefulset: one is needed in any case"), database(ordered(count(3)), 3), None, 3, false),
        (by("wsup", "statefulset: the only one is needed"), database(ordered(count(1)), 1), None, 1, false),
        (by("wsup", "statefulset: on_delete, all are needed"), database(StatefulStrategy::OnDelete, 3), None, 1, false),
        (by("wsup", "statefulset: on_delete, all are there"), database(StatefulStrategy::OnDelete, 3), None, 0, true),
        (by("wsup", "statefulset: of none nothing is there"), database(ordered(count(1)), 0), None, 0, false),
        (by("wsup", "daemonset: nodes that nobody knows yet"), agent(rolling(count(1))), None, 0, false),
        (by("wsup", "daemonset: no node"), agent(rolling(count(1))), Some(0), 0, false),
        (by("wsup", "daemonset: all are there"), agent(rolling(count(1))), Some(3), 0, true),
        (by("wsup", "daemonset: as many are missing as may be"), agent(rolling(count(1))), Some(3), 1, true),
        (by("wsup", "daemonset: more are missing"), agent(rolling(count(1))), Some(3), 2, false),
        (by("wsup", "daemonset: a share is rounded up"), agent(rolling(Amount::Percent(34))), Some(3), 2, true),
        (by("wsup", "daemonset: the only one is needed"), agent(rolling(count(1))), Some(1), 1, false),
        (by("wsup", "daemonset: on_delete, all are needed"), agent(DaemonStrategy::OnDelete), Some(2), 1, false),
    ];
    for (rule, spec, nodes, down, available) in rows {
        let mut bench = Bench::new();
        let on = spec.key.clone();
        bench.apply(vec![spec.clone()]);
        if let Some(nodes) = nodes {
            let nodes = (0..nodes).map(|n| (format!("cpu{n}"), None)).collect();
            bench.event(Event::NodesChanged { unit: on.clone(), nodes });
        }
        // The first restart is at once.
        for name in bench.names_of(&on).into_iter().take(down) {
            bench.end(&name, Exit::Code(1));
            bench.end(&name, Exit::Code(1));
        }
        let waits = after(deployment("api", 1), &[("db", Available)]);
        bench.apply(vec![spec.clone(), waits]);
        assert_eq!(runs(&bench, &api()), usize::from(available), "{rule}");
        let started = after(deployment("web", 1), &[("db", Started)]);
        bench.apply(vec![spec, started]);
        let any = nodes.unwrap_or(bench.names_of(&on).len()) > 0;
        let known = on.kind != Kind::DaemonSet || nodes.is_some();
        let web = runs(&bench, &key(Kind::Deployment, "web"));
        assert_eq!(web, usize::from(any && known), "{rule}: each was started once");
    }
}

/// (rule, what is done to it, its state as it is told to those that wait). `ONE` is its instance.
#[test]
fn why_something_is_not_there() {
    type Act = fn(&mut Bench);
    fn one(bench: &Bench) -> String {
        bench.core.instances().into_iter().find(|view| view.unit.name == name("db")).unwrap().name
    }
    fn crash(bench: &mut Bench, times: u32) {
        for _ in 0..times {
            let name = one(bench);
            bench.end(&name, Exit::Code(4));
        }
    }
    let never_ready = || {
        let mut spec = deployment("db", 1);
        Arc::make_mut(&mut spec.template).readiness = Some(Box::new(ProbeSpec {
            handler: ProbeHandler::Notify,
            initial_delay: Millis::ZERO,
            period: Millis::from_secs(10),
            timeout: Millis::from_secs(1),
            success_threshold: 1,
            failure_threshold: 3,
        }));
        spec
    };
    let failing = || {
        let mut spec = job("db");
        if let WorkloadSpec::Job(job) = &mut spec.workload {
            job.backoff_limit = 0;
        }
        spec
    };
    let suspended = || {
        let mut spec = job("db");
        if let WorkloadSpec::Job(job) = &mut spec.workload {
            job.suspend = true;
        }
        spec
    };
    let nothing: Act = |_| {};
    let stop: Act = |bench| {
        let target = Target::Unit(key(Kind::Deployment, "db"));
        bench.ask(Request::Stop(target)).unwrap();
    };
    let refuse: Act = |bench| {
        crash(bench, 2);
        bench.at += 1;
        bench.core.handle(now(bench.at), Event::Tick);
        bench.core.settle(now(bench.at));
        let starts: Vec<Action> = std::iter::from_fn(|| bench.core.poll_action()).collect();
        for start in starts {
            if let Action::Spawn(spawn) = start {
                let message = "no such file".to_owned();
                bench.event(Event::SpawnFailed { id: spawn.id, message });
            }
        }
    };
    const UNREADY: &str = "its readiness probe has not succeeded yet";
    #[rustfmt::skip]
    let rows: Vec<(Rule, UnitSpec, Act, String)> = vec![
        (by("wsup", "it was stopped"), deployment("db", 1), stop, "it is stopped".into()),
        (by("wsup", "none is wanted"), deployment("db", 0), nothing, "no instance of it is wanted".into()),
        (by("wsup", "it waits for nodes"), agent(DaemonStrategy::OnDelete), nothing, "it has not begun".into()),
        (by("wsup", "it is suspended"), suspended(), nothing, "it has not begun".into()),
        (by("wsup", "it is not ready"), never_ready(), nothing, format!("ONE is in Running (not ready: {UNREADY})")),
        (by("wsup", "it was restarted: its end is no cause any more"), never_ready(), |b| crash(b, 1), format!("ONE is in Running (not ready: {UNREADY})")),
        (by("wsup", "it crashes"), deployment("db", 1), |b| crash(b, 2), "ONE is in Backoff (ended with exit code 4): it ended with exit code 4".into()),
        (by("wsup", "it cannot be started"), deployment("db", 1), refuse, "ONE is in Backoff (no such file): no such file".into()),
        (by("wsup", "a job runs"), job("db"), nothing, "ONE is in Ready".into()),
        (by("wsup", "a job failed"), failing(), |b| crash(b, 1), "it failed".into()),
    ];
    for (rule, spec, act, state) in rows {
        let mut bench = Bench::new();
        let on = spec.key.clone();
        bench.apply(vec![spec.clone()]);
        act(&mut bench);
        let state = match state.strip_prefix("ONE") {
            Some(rest) => format!("{}{rest}", one(&bench)),
            None => state,
        };
        bench.apply(vec![spec, after(deployment("api", 1), &[("db", Available)])]);
        let end = if on.kind == Kind::Job { "complete" } else { "be available" };
        assert_eq!(reason(&bench, &api()), format!("waits for {on} to {end}: {state}"), "{rule}");
    }
}

/// Of many things that are not there the first three are named.
#[test]
fn not_all_causes_are_told() {
    const FIRST: &str = "waits for `a`: there is no such unit; and for `b`: there is no such unit; \
                         and for `c`: there is no such unit";
    let all = ["a", "b", "c", "d", "e"].map(|on| (on, Started));
    for (n, more) in [(3, ""), (4, "; and for 1 more"), (5, "; and for 2 more")] {
        let mut bench = Bench::new();
        bench.apply(vec![after(deployment("api", 1), &all[..n])]);
        assert_eq!(reason(&bench, &api()), format!("{FIRST}{more}"));
    }
}
