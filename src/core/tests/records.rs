//! What is stored, under which key, and what a new daemon makes of it.

use super::views::Life;
use super::*;
use crate::core::action::{Hook, Step};
use crate::core::report::Field;
use crate::core::spec::Nodes;
use crate::core::table::{Rule, by};

fn stored(bench: &Bench) -> Vec<&str> {
    bench.store.keys().map(String::as_str).filter(|key| !key.starts_with("instance/")).collect()
}

/// Two things never share a record.
#[test]
fn each_thing_has_a_record_of_its_own() {
    let mut bench = Bench::new();
    bench.apply(vec![deployment("api", 1), deployment("web", 1), job("api"), deployment("x", 0)]);
    bench.ask(Request::Delete(Target::Unit(key(Kind::Deployment, "x")))).unwrap();
    let keys = [
        "meta",
        "status/deployment/api",
        "status/deployment/web",
        "tombstone/deployment/x",
        "unit/deployment/api",
        "unit/deployment/web",
        "unit/job/api",
    ];
    assert_eq!(stored(&bench), keys);
    let slots: Vec<String> =
        bench.core.instances().iter().map(|view| format!("instance/{}", view.slot)).collect();
    assert_eq!(slots.len(), 3);
    assert!(slots.iter().all(|key| bench.store.contains_key(key)), "{slots:?}");
    assert_eq!(bench.store.len(), keys.len() + slots.len());
    let durable: Vec<&str> =
        bench.store.values().filter(|r| r.durable).map(|r| r.key.as_str()).collect();
    assert_eq!(durable, [keys[0], keys[3], keys[4], keys[5], keys[6]]);
    // What goes takes its records along.
    bench.apply(vec![deployment("web", 1)]);
    assert_eq!(stored(&bench), ["meta", "status/deployment/web", "unit/deployment/web"]);
    assert_eq!(bench.store.len(), 4);
}

/// What is said of one unit at the moment is not said of another by the next daemon.
#[test]
fn conditions_of_the_moment_come_back_to_their_own_unit() {
    let mut bench = Bench::new();
    bench.apply(vec![deployment("api", 1), deployment("web", 1)]);
    let available = |bench: &Bench, text| {
        let view = bench.core.unit(&key(Kind::Deployment, text)).unwrap();
        let condition = view.conditions.into_iter().find(|c| c.kind == "Available").unwrap();
        (condition.status.as_str(), condition.last_transition)
    };
    let name = bench.names_of(&key(Kind::Deployment, "api")).remove(0);
    bench.at = 50;
    for _ in 0..2 {
        bench.end(&name, Exit::Code(1));
    }
    let before = (available(&bench, "api"), available(&bench, "web"));
    assert_eq!(before, (("False", now(50).wall), ("True", now(0).wall)));
    bench.at = 51;
    bench.reborn(true);
    assert_eq!((available(&bench, "api"), available(&bench, "web")), before);
}

/// A record that cannot be read costs what it holds, and is told of.
#[test]
fn a_damaged_record_costs_one_thing() {
    for (broken, left) in [("unit/deployment/api", 1), ("tombstone/deployment/x", 2)] {
        let mut bench = Bench::new();
        bench.apply(vec![deployment("api", 1), deployment("web", 1), deployment("x", 0)]);
        bench.ask(Request::Delete(Target::Unit(key(Kind::Deployment, "x")))).unwrap();
        bench.store.get_mut(broken).unwrap().value = b"{".to_vec();
        bench.reborn(true);
        assert_eq!(bench.core.units().len(), left, "{broken}");
        let told: Vec<&Report> =
            bench.reports.iter().filter(|r| r.reason == Reason::StateDamaged).collect();
        assert_eq!(told.len(), 1, "{broken}");
        let message = format!("stored record `{broken}` cannot be read: ");
        assert!(told[0].message.starts_with(&message), "{}", told[0].message);
        assert_eq!(told[0].severity, Severity::Warning);
    }
}

/// Records of what belongs to nobody any more go.
#[test]
fn what_belongs_to_nobody_is_forgotten() {
    let mut bench = Bench::new();
    bench.apply(vec![deployment("api", 1), cronjob("tick", "0 0 1 1 *")]);
    bench.ask(Request::Trigger(key(Kind::CronJob, "tick"), Some("now".to_owned()))).unwrap();
    assert_eq!(bench.living.len(), 2);
    bench.store.retain(|key, _| key != "unit/deployment/api" && key != "unit/cronjob/tick");
    bench.reborn(true);
    assert_eq!(stored(&bench), ["meta"]);
    assert_eq!(bench.store.len(), 1, "{:?}", bench.store.keys());
    assert!(bench.living.is_empty(), "neither its instance nor its job runs on");
}

/// Numbers are never used again, whichever of the stores is lost.
#[test]
fn each_daemon_numbers_its_own() {
    let slot = |bench: &Bench| bench.core.instances()[0].slot;
    let mut bench = Bench::new();
    bench.apply(vec![deployment("api", 1)]);
    assert_eq!(slot(&bench) >> 32, 1, "its first life");
    for (lost, life) in [("", 2), ("instance/", 3), ("meta", 4)] {
        bench.store.retain(|key, _| lost.is_empty() || !key.starts_with(lost));
        bench.living.retain(|_, _| lost != "instance/");
        bench.reborn(true);
        let name = bench.names_of(&key(Kind::Deployment, "api")).remove(0);
        bench.ask(Request::Delete(Target::Instance(name))).unwrap();
        assert_eq!(slot(&bench) >> 32, life, "{lost}");
    }
    let config = Bench::config(7);
    let mut first = Core::new(config);
    first.restore(now(0), Found::default());
    first.handle(
        now(0),
        Event::Units(UnitsRead { valid: vec![deployment("api", 2)], ..UnitsRead::default() }),
    );
    first.settle(now(0));
    let slots: Vec<u64> = first.instances().iter().map(|view| view.slot).collect();
    assert_eq!(slots, [1 << 32, (1 << 32) + 1]);
}

/// What a word of the record's test stands for: the actions that are a program's or a process's.
fn said(action: &Action) -> Option<String> {
    match action {
        Action::Spawn(_) => Some("spawn".to_owned()),
        Action::Hook(spawn) => match spawn.step {
            Step::Hook(Hook::PostStart) => Some("post_start".to_owned()),
            Step::Hook(Hook::PreStop) => Some("pre_stop".to_owned()),
            _ => None,
        },
        Action::Probe(_) => Some("probe".to_owned()),
        Action::Terminate { signal, .. } => Some(format!("signal {signal}")),
        Action::KillTree { .. } => Some("kill".to_owned()),
        _ => None,
    }
}

/// (rule, what happened before the daemon ended, whether its process lives, what the next one asks for,
/// the state then)
#[test]
fn a_new_daemon_goes_on_where_the_last_one_was() {
    use InstanceState::{Backoff, Init, Pending, Ready, Running, Starting, Stopping};
    const INIT: &str = "spawned 0 spawned 0";
    type Row = (Rule, &'static str, &'static str, bool, &'static str, InstanceState);
    #[rustfmt::skip]
    let rows: &[Row] = &[
        (by("wsup", "a start that was made and not heard of"), "", "", true, "", Init),
        (by("wsup", "a start that nobody made is asked for again"), "", "", false, "spawn", Init),
        (by("wsup", "an init step goes on"), "spawned", "", true, "", Init),
        (by("wsup", "one that is gone has failed"), "spawned", "", false, "spawn", Init),
        (by("wsup", "a hook runs at least once"), INIT, "spawned", true, "post_start", Starting),
        (by("wsup", "a program runs on"), INIT, "spawned hook", true, "", Running),
        (by("wsup", "what was ready stays so"), INIT, "spawned hook ready", true, "", Ready),
        (by("wsup", "the stop hook runs at least once"), INIT, "spawned hook stop", true, "pre_stop", Stopping),
        (by("wsup", "it is asked to end once more"), INIT, "spawned hook stop hook-over", true, "signal 15", Stopping),
        (by("wsup", "after a kill it is not asked any more"), INIT, "spawned hook stop hook-over grace-over", true, "", Stopping),
        (by("wsup", "one that was to stop and is gone waits"), INIT, "spawned hook stop", false, "", Pending),
        (by("wsup", "one that waits to be started has no process to be found"), INIT, "spawned 3 spawned 3", false, "", Backoff),
        (by("wsup", "nor may it have one"), INIT, "spawned 3 spawned 3", true, "kill", Backoff),
    ];
    for (rule, first, then, lives, asked, state) in rows {
        let mut life = Life::new();
        for word in first.split(' ').chain(then.split(' ')).filter(|word| !word.is_empty()) {
            life.go(&word.replace('-', " "));
        }
        let id = life.core.instances.values().next().unwrap().id();
        let living = if *lives { vec![Living { id, pid: 41 }] } else { Vec::new() };
        let records = life.records.values().cloned().collect();
        let wall = now(life.at).wall;
        let mut next = Life { core: Core::new(Bench::config(8)), ..life };
        next.core.restore(
            now(next.at),
            Found { records, living: living.clone(), wall, ..Found::default() },
        );
        let mut actions = next.turn();
        next.core.handle(now(next.at), Event::Tick);
        actions.extend(next.turn());
        let words: Vec<String> = actions.iter().filter_map(said).collect();
        assert_eq!(words.join(" "), *asked, "{rule}");
        assert_eq!(next.view().state, *state, "{rule}");
        assert_eq!(next.view().pid, (*lives && *asked != "kill").then_some(41), "{rule}");
        let adopted = actions.iter().find_map(|action| match action {
            Action::Report(report) if report.reason == Reason::DaemonAdopted => Some(report),
            _ => None,
        });
        let known = adopted.map(|report| (report.message.as_str(), report.fields.get("instances")));
        let one = (*lives && *asked != "kill").then_some(&Field::Int(1));
        assert_eq!(known, one.map(|one| ("found 1 instance running", Some(one))), "{rule}");
    }
}

#[test]
fn several_that_run_are_counted() {
    let mut bench = Bench::new();
    bench.apply(vec![deployment("api", 3)]);
    bench.reborn(true);
    let told = bench.reports.iter().find(|report| report.reason == Reason::DaemonAdopted).unwrap();
    assert_eq!(told.message, "found 3 instances running");
    assert_eq!(told.fields.get("instances"), Some(&Field::Int(3)));
}

/// A new daemon asks for the nodes of each daemonset, and only of those.
#[test]
fn nodes_are_asked_for_anew() {
    let spec = DaemonSetSpec {
        nodes: Nodes::Numa,
        min_ready: Millis::ZERO,
        revision_history_limit: 10,
        strategy: DaemonStrategy::OnDelete,
        paused: false,
    };
    let agent = key(Kind::DaemonSet, "agent");
    let mut bench = Bench::new();
    let daemonset = unit(agent.clone(), RestartPolicy::Always, WorkloadSpec::DaemonSet(spec));
    bench.apply(vec![daemonset, deployment("api", 1)]);
    let mut next = Core::new(Bench::config(8));
    let records = bench.store.values().cloned().collect();
    next.restore(now(0), Found { records, ..Found::default() });
    next.settle(now(0));
    let watched: Vec<(UnitKey, Option<Nodes>)> = std::iter::from_fn(|| next.poll_action())
        .filter_map(|action| match action {
            Action::WatchNodes { unit, nodes } => Some((unit, nodes)),
            _ => None,
        })
        .collect();
    assert_eq!(watched, [(agent, Some(Nodes::Numa))]);
}

/// An instance is of its set's template, also when the file says something else since.
#[test]
fn an_old_set_is_made_of_its_old_template() {
    let mut bench = Bench::new();
    let api = key(Kind::Deployment, "api");
    bench.apply(vec![with_env(deployment("api", 1), "old")]);
    bench.ask(Request::Pause(api.clone())).unwrap();
    bench.apply(vec![with_env(deployment("api", 1), "new")]);
    bench.ask(Request::Scale(api, 2)).unwrap();
    let envs = |bench: &Bench| -> Vec<String> {
        let all = bench.core.instances.values();
        all.map(|one| one.template.process.env["V"].clone()).collect()
    };
    assert_eq!(envs(&bench), ["old", "old"]);
    bench.reborn(true);
    assert_eq!(envs(&bench), ["old", "old"]);
}
