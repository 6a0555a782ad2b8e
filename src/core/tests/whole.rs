//! What the core does as a whole, beside its controllers: the end of the daemon, who is told of
//! whom, what is asked for beside processes.

use super::*;
use crate::core::spec::{DaemonSetSpec, DaemonStrategy, Nodes};
use crate::core::view::KindView;

/// Everything that the core asks for at the present instant, with no machine to carry it out.
fn asked(core: &mut Core, event: Event) -> Vec<Action> {
    core.handle(now(0), event);
    core.settle(now(0));
    std::iter::from_fn(|| core.poll_action()).collect()
}

fn complete(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::ShutdownComplete)).count()
}

/// The daemon may go when the last process has ended, once, and not before.
#[test]
fn the_end_is_complete_with_the_last_process() {
    let mut core = Core::new(Bench::config(7));
    let units = UnitsRead { valid: vec![deployment("api", 1)], ..UnitsRead::default() };
    let actions = asked(&mut core, Event::Units(units));
    let id = actions.iter().find_map(|action| match action {
        Action::Spawn(spawn) => Some(spawn.id),
        _ => None,
    });
    let id = id.unwrap();
    asked(&mut core, Event::Spawned { id, pid: 1 });
    let actions = asked(&mut core, Event::Shutdown);
    assert!(actions.iter().any(|action| matches!(action, Action::Terminate { .. })));
    assert_eq!(complete(&actions), 0, "its process lives");
    let ended = Event::Exited { id, exit: Exit::Signal(15), at: now(0).mono };
    assert_eq!(complete(&asked(&mut core, ended)), 1);
    assert_eq!(complete(&asked(&mut core, Event::Tick)), 0, "said once");
    let mut idle = Core::new(Bench::config(7));
    assert_eq!(complete(&asked(&mut idle, Event::Shutdown)), 1, "nothing to wait for");
}

/// A daemonset's nodes are asked for, again when it wants others, and no more when it is gone.
#[test]
fn nodes_are_watched_as_long_as_somebody_counts_them() {
    let agent = |nodes: Nodes| {
        let spec = DaemonSetSpec {
            nodes,
            min_ready: Millis::ZERO,
            revision_history_limit: 10,
            strategy: DaemonStrategy::OnDelete,
            paused: false,
        };
        let key = key(Kind::DaemonSet, "agent");
        unit(key, RestartPolicy::Always, WorkloadSpec::DaemonSet(spec))
    };
    let mut core = Core::new(Bench::config(7));
    let mut watched = |valid: Vec<UnitSpec>| -> Vec<Option<Nodes>> {
        let read = UnitsRead { valid, ..UnitsRead::default() };
        asked(&mut core, Event::Units(read))
            .into_iter()
            .filter_map(|action| match action {
                Action::WatchNodes { nodes, .. } => Some(nodes),
                _ => None,
            })
            .collect()
    };
    assert_eq!(watched(vec![agent(Nodes::Cpus)]), [Some(Nodes::Cpus)]);
    assert_eq!(watched(vec![agent(Nodes::Cpus)]), [], "nothing new");
    assert_eq!(watched(vec![agent(Nodes::Numa)]), [Some(Nodes::Numa)]);
    assert_eq!(watched(Vec::new()), [None]);
}

/// A cronjob shows which of its jobs run, and stops showing one that has ended.
#[test]
fn a_cronjob_knows_its_running_jobs() {
    let mut bench = Bench::new();
    bench.apply(vec![cronjob("tick", "* * * * *")]);
    bench.pass(90);
    let active = |bench: &Bench| match bench.core.unit(&key(Kind::CronJob, "tick")).unwrap().kind {
        KindView::CronJob(view) => view.active,
        KindView::Service | KindView::Job(_) => panic!("a cronjob"),
    };
    let running = active(&bench);
    assert!(!running.is_empty(), "its slot has come");
    let first = running[0].clone();
    let instance = bench.names_of(&key(Kind::Job, &first))[0].clone();
    bench.end(&instance, Exit::Code(0));
    assert!(!active(&bench).contains(&first), "it has ended");
}

/// Before its program ran for the first time an instance is Pending to its controller; while it is
/// started again it is Running (Kubernetes: a container that waits for its restart).
#[test]
fn a_restart_is_no_first_start() {
    let mut core = Core::new(Bench::config(7));
    let units = UnitsRead { valid: vec![deployment("api", 1)], ..UnitsRead::default() };
    asked(&mut core, Event::Units(units));
    let phase = |core: &Core| core.instances.values().next().unwrap().phase();
    assert_eq!(phase(&core), crate::core::workload::Phase::Pending);
    let id = core.instances.values().next().unwrap().id();
    asked(&mut core, Event::Spawned { id, pid: 1 });
    assert_eq!(phase(&core), crate::core::workload::Phase::Running);
    asked(&mut core, Event::Exited { id, exit: Exit::Code(1), at: now(0).mono });
    let again = core.instances.values().next().unwrap();
    assert!(matches!(again.state, crate::core::instance::State::Starting { .. }));
    assert_eq!(phase(&core), crate::core::workload::Phase::Running);
}

/// A signal goes to what runs, and the answer counts.
#[test]
fn a_signal_is_answered_with_how_many_got_it() {
    let mut bench = Bench::new();
    bench.apply(vec![deployment("one", 1), deployment("two", 2), deployment("none", 0)]);
    let ask = |bench: &mut Bench, name: &str| {
        let target = Target::Unit(key(Kind::Deployment, name));
        bench.ask(Request::Signal(target, 1)).map(|done| done.messages.join("; "))
    };
    let said = |text: &str| Ok(text.to_owned());
    assert_eq!(ask(&mut bench, "one"), said("SIGHUP sent to 1 process of deployment/one"));
    assert_eq!(ask(&mut bench, "two"), said("SIGHUP sent to 2 processes of deployment/two"));
    assert!(ask(&mut bench, "none").is_err());
}

/// A unit that was deleted by hand and comes back leaves nothing behind of its having been gone.
#[test]
fn what_comes_back_is_no_more_remembered_as_gone() {
    let mut core = Core::new(Bench::config(7));
    let units = |explicit| {
        let valid = vec![deployment("api", 0)];
        Event::Units(UnitsRead { valid, explicit, ..UnitsRead::default() })
    };
    let about = |actions: Vec<Action>| -> Vec<String> {
        let keys = actions.into_iter().filter_map(|action| match action {
            Action::Put(record) => Some(format!("+{}", record.key)),
            Action::Drop { key, .. } => Some(format!("-{key}")),
            _ => None,
        });
        keys.filter(|key| key.contains("tombstone")).collect()
    };
    asked(&mut core, units(false));
    let target = Target::Unit(key(Kind::Deployment, "api"));
    let deleted = asked(&mut core, Event::Request(Request::Delete(target)));
    assert_eq!(about(deleted), ["+tombstone/deployment/api"]);
    assert_eq!(about(asked(&mut core, units(false))), [""; 0], "the file is still there");
    assert!(core.unit(&key(Kind::Deployment, "api")).is_none());
    assert_eq!(about(asked(&mut core, units(true))), ["-tombstone/deployment/api"]);
    assert!(core.unit(&key(Kind::Deployment, "api")).is_some());
}

/// A start that no runner heard of is asked for again.
#[test]
fn a_start_that_was_never_asked_for_is_begun_again() {
    let mut core = Core::new(Bench::config(7));
    let read = UnitsRead { valid: vec![deployment("api", 1)], ..UnitsRead::default() };
    let records: Vec<Record> = asked(&mut core, Event::Units(read))
        .into_iter()
        .filter_map(|action| match action {
            Action::Put(record) => Some(record),
            _ => None,
        })
        .collect();
    let mut next = Core::new(Bench::config(8));
    next.restore(now(0), Found { records, ..Found::default() });
    next.settle(now(0));
    let spawns: Vec<InstanceId> = std::iter::from_fn(|| next.poll_action())
        .filter_map(|action| match action {
            Action::Spawn(spawn) => Some(spawn.id),
            _ => None,
        })
        .collect();
    assert_eq!(spawns.len(), 1);
    assert_eq!(spawns[0].generation, 2, "an answer to the first start would be stale");
}

/// What goes is told of, and whoever keeps something of it hears that it may go.
#[test]
fn what_goes_says_so() {
    let told = |actions: Vec<Action>| -> Vec<String> {
        let word = |action: Action| match action {
            Action::InstanceGone { unit, .. } => Some(format!("instance of {unit}")),
            Action::UnitGone { unit } => Some(format!("unit {unit}")),
            Action::Report(report)
                if [Reason::UnitRemoved, Reason::JobDeleted, Reason::InstanceDeleted]
                    .contains(&report.reason) =>
            {
                Some(format!("{}: {}", report.reason.as_str(), report.message))
            }
            Action::Drop { key, durable } if !key.starts_with("instance/") => {
                Some(format!("{key} {durable}"))
            }
            _ => None,
        };
        actions.into_iter().filter_map(word).collect()
    };
    let mut core = Core::new(Bench::config(7));
    let read = |valid| Event::Units(UnitsRead { valid, ..UnitsRead::default() });
    asked(&mut core, read(vec![cronjob("tick", "0 0 1 1 *"), deployment("api", 1)]));
    let trigger = Request::Trigger(key(Kind::CronJob, "tick"), Some("now".to_owned()));
    asked(&mut core, Event::Request(trigger));
    let mut living: Vec<InstanceId> = core.instances.values().map(|one| one.id()).collect();
    for id in &living {
        asked(&mut core, Event::Spawned { id: *id, pid: 1 });
    }
    asked(&mut core, read(Vec::new()));
    let end = |id| Event::Exited { id, exit: Exit::Code(0), at: now(0).mono };
    let of_job = living.pop().unwrap();
    assert_eq!(
        told(asked(&mut core, end(of_job))),
        [
            "InstanceDeleted: gone",
            "instance of job/now",
            "unit/job/now true",
            "JobDeleted: removed",
            "unit job/now",
            "unit/cronjob/tick true",
            "UnitRemoved: removed",
            "unit cronjob/tick",
        ]
    );
    assert_eq!(
        told(asked(&mut core, end(living[0]))),
        [
            "InstanceDeleted: gone",
            "instance of deployment/api",
            "unit/deployment/api true",
            "status/deployment/api false",
            "UnitRemoved: removed",
            "unit deployment/api",
        ]
    );
    assert!(core.timers.next().is_none() && core.names.is_empty());
}

/// A step of the wall clock makes slots due without a deadline that has come.
#[test]
fn a_step_of_the_clock_is_looked_at_at_once() {
    let mut core = Core::new(Bench::config(7));
    let valid = vec![cronjob("tick", "0 * * * *")];
    asked(&mut core, Event::Units(UnitsRead { valid, ..UnitsRead::default() }));
    assert_eq!(core.units().len(), 1);
    let stepped = Now { wall: now(3_600).wall, ..now(1) };
    core.handle(stepped, Event::ClockStepped);
    core.settle(stepped);
    assert_eq!(core.units().len(), 2, "its slot has come");
}

/// A directory is asked to be removed until somebody says that it is.
#[test]
fn data_is_removed_once() {
    let db = |replicas| {
        let spec = StatefulSetSpec {
            replicas,
            min_ready: Millis::ZERO,
            revision_history_limit: 10,
            management_policy: ManagementPolicy::Parallel,
            strategy: StatefulStrategy::OnDelete,
            start_ordinal: 0,
            data_dir: Some("/data".to_owned()),
            when_deleted: Retention::Retain,
            when_scaled: Retention::Delete,
            paused: false,
        };
        unit(key(Kind::StatefulSet, "db"), RestartPolicy::Always, WorkloadSpec::StatefulSet(spec))
    };
    for answered in [false, true] {
        let mut bench = Bench::new();
        bench.apply(vec![db(2)]);
        let mut removed = Vec::new();
        let mut turn = |bench: &mut Bench, event: Event| {
            bench.core.handle(now(0), event);
            loop {
                bench.core.settle(now(0));
                let mut events = Vec::new();
                while let Some(action) = bench.core.poll_action() {
                    if let Action::RemoveData { dir, .. } = &action {
                        let base = dir.base.as_deref().unwrap_or_default();
                        removed.push(format!("{base} {}", dir.instance));
                    }
                    bench.carry_out(action, &mut events);
                }
                if events.is_empty() {
                    return;
                }
                for event in events {
                    bench.core.handle(now(0), event);
                }
            }
        };
        let valid = vec![db(1)];
        turn(&mut bench, Event::Units(UnitsRead { valid, ..UnitsRead::default() }));
        if answered {
            let unit = key(Kind::StatefulSet, "db");
            turn(&mut bench, Event::DataRemoved { unit, instance: "db-1".to_owned() });
        }
        let found = Found {
            records: bench.store.values().cloned().collect(),
            living: bench.living.iter().map(|(&id, &pid)| Living { id, pid }).collect(),
            ..Found::default()
        };
        bench.core = Core::new(Bench::config(8));
        bench.core.restore(now(0), found);
        turn(&mut bench, Event::Tick);
        let times = if answered { 1 } else { 2 };
        assert_eq!(removed, vec!["/data db-1"; times], "answered: {answered}");
    }
}
