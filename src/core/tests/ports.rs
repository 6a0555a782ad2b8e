//! Ports of instances' own: who gets which, keeps it, and what becomes of one that is taken.

use super::*;
use crate::core::action::Spawn;

fn with_ports(mut spec: UnitSpec, ranges: &[(&str, u16, u16)]) -> UnitSpec {
    let of = |(name, first, last): &(&str, u16, u16)| PortSpec {
        name: (*name).to_owned(),
        first: *first,
        last: *last,
    };
    Arc::make_mut(&mut spec.template).ports = ranges.iter().map(of).collect();
    spec
}

/// The ports of a unit's instances, by the order in which those were made.
fn ports(bench: &Bench, unit: &UnitKey) -> Vec<u16> {
    let views = bench.core.instances_of(unit);
    views.iter().flat_map(|view| view.ports.iter().map(|(_, port)| *port)).collect()
}

fn api() -> UnitKey {
    key(Kind::Deployment, "api")
}

#[test]
fn each_gets_the_lowest_free_one_keeps_it_and_gives_it_back() {
    let mut bench = Bench::new();
    let api_unit = |n| with_ports(deployment("api", n), &[("http", 9000, 9009)]);
    let other = with_ports(deployment("other", 1), &[("http", 9002, 9003), ("admin", 9000, 9009)]);
    bench.apply(vec![api_unit(3), other.clone()]);
    assert_eq!(ports(&bench, &api()), [9000, 9001, 9002]);
    assert_eq!(ports(&bench, &key(Kind::Deployment, "other")), [9003, 9004]);
    // A restart in place and another daemon change nothing.
    let second = bench.names_of(&api())[1].clone();
    bench.end(&second, Exit::Code(1));
    bench.reborn(true);
    assert_eq!(ports(&bench, &api()), [9000, 9001, 9002]);
    // What goes gives its port back at once: its successor, or whoever comes first, has it.
    bench.ask(Request::Delete(Target::Instance(second))).unwrap();
    // Its successor was made while it still ended.
    assert_eq!(ports(&bench, &api()), [9000, 9002, 9005]);
    bench.apply(vec![other]);
    let back = with_ports(deployment("back", 3), &[("http", 9000, 9009)]);
    bench.apply(vec![back]);
    assert_eq!(ports(&bench, &key(Kind::Deployment, "back")), [9000, 9001, 9002]);
}

#[test]
fn a_statefulset_has_the_port_of_its_ordinal() {
    let mut bench = Bench::new();
    let db = key(Kind::StatefulSet, "db");
    bench.apply(vec![with_ports(statefulset("db", 3), &[("sql", 5432, 5439)])]);
    assert_eq!(ports(&bench, &db), [5432, 5433, 5434]);
    bench.ask(Request::Delete(Target::Instance("db-1".to_owned()))).unwrap();
    assert_eq!(ports(&bench, &db), [5432, 5433, 5434]);
    // One that is taken is reported, and no other one is used.
    let id = *bench.living.keys().find(|id| bench.core.instances[&id.slot].name == "db-2").unwrap();
    bench.living.remove(&id);
    let exited = Event::Exited { id, exit: Exit::Code(1), at: now(bench.at).mono };
    bench.core.handle(now(bench.at), exited);
    let start = bench.core.instances[&id.slot].id();
    let by = Some("process 7 (nginx)".to_owned());
    bench.event(Event::PortTaken { id: start, port: 5434, by });
    let view = bench.core.instance("db-2").unwrap();
    assert_eq!(view.ports, [("sql".to_owned(), 5434)]);
    let told = bench.reports.iter().any(|report| {
        report.reason == Reason::InstanceStartFailed
            && report.message == "port 5434 is taken by process 7 (nginx)"
    });
    assert!(told, "{:?}", bench.reports);
}

/// What the core asks for at this instant.
fn settled(core: &mut Core, at: u64) -> Vec<Action> {
    core.settle(now(at));
    invariant::check(core).unwrap();
    std::iter::from_fn(|| core.poll_action()).collect()
}

/// The starts that an event leads to, once all is answered that cannot be made.
fn turn(core: &mut Core, at: u64, event: Event) -> Vec<Spawn> {
    let (mut events, mut spawns) = (vec![event], Vec::new());
    while !events.is_empty() {
        for event in events.drain(..) {
            core.handle(now(at), event);
        }
        for action in settled(core, at) {
            match action {
                Action::Spawn(spawn) => spawns.push(*spawn),
                Action::CannotStart { id, message } => {
                    events.push(Event::SpawnFailed { id, message });
                }
                _ => {}
            }
        }
    }
    spawns
}

/// Why a start cannot be made that an event leads to.
fn cannot(core: &mut Core, at: u64, event: Event) -> Option<String> {
    core.handle(now(at), event);
    settled(core, at).into_iter().find_map(|action| match action {
        Action::CannotStart { message, .. } => Some(message),
        _ => None,
    })
}

/// Without a back-off a start that cannot be made is tried once a turn, and not for ever in one.
#[test]
fn a_range_that_is_too_narrow_hangs_nothing() {
    let mut core = Core::new(Bench::config(7));
    let mut spec = with_ports(deployment("api", 2), &[("http", 9000, 9000)]);
    let backoff = &mut Arc::make_mut(&mut spec.template).restart.backoff;
    (backoff.initial, backoff.max) = (Millis::ZERO, Millis::ZERO);
    core.handle(now(0), Event::Units(UnitsRead { valid: vec![spec], ..UnitsRead::default() }));
    for _ in 0..5 {
        let actions = settled(&mut core, 0);
        let refused: Vec<(InstanceId, String)> = actions
            .into_iter()
            .filter_map(|action| match action {
                Action::CannotStart { id, message } => Some((id, message)),
                _ => None,
            })
            .collect();
        assert_eq!(refused.len(), 1);
        for (id, message) in refused {
            core.handle(now(0), Event::SpawnFailed { id, message });
        }
    }
}

/// A stop that comes before the answer: the start was not made, and the instance has stopped.
#[test]
fn one_that_is_to_stop_is_not_asked_for_again() {
    let mut core = Core::new(Bench::config(7));
    let spec = with_ports(deployment("api", 1), &[("http", 9000, 9001)]);
    let read = UnitsRead { valid: vec![spec], ..UnitsRead::default() };
    let start = turn(&mut core, 0, Event::Units(read)).pop().unwrap();
    let stop = Request::Stop(Target::Unit(api()));
    core.handle(now(0), Event::Request(stop)).unwrap().unwrap();
    let taken = Event::PortTaken { id: start.id, port: 9000, by: None };
    settled(&mut core, 0);
    assert!(turn(&mut core, 0, taken).is_empty());
    assert!(core.instances_of(&api()).is_empty(), "nothing of it is left");
}

#[test]
fn one_that_somebody_else_has_is_passed_over_for_a_while() {
    let mut core = Core::new(Bench::config(7));
    let spec = with_ports(deployment("api", 1), &[("http", 9000, 9001)]);
    let read = UnitsRead { valid: vec![spec], ..UnitsRead::default() };
    let first = turn(&mut core, 0, Event::Units(read)).pop().unwrap();
    assert_eq!(first.ports, [9000]);
    assert!(first.vars.contains(&("PORT".into(), "9000".to_owned())));
    let taken = |id, port| Event::PortTaken { id, port, by: None };
    let second = turn(&mut core, 0, taken(first.id, 9000)).pop().unwrap();
    assert_eq!((second.id, second.ports.as_slice()), (first.id, [9001].as_slice()));
    assert!(second.vars.contains(&("PORT_HTTP".into(), "9001".to_owned())));
    // All are taken: the start fails, and is tried again with the back-off.
    let message = cannot(&mut core, 0, taken(second.id, 9001)).unwrap();
    assert!(message.contains("none of 9000-9001 is free"), "{message}");
    let failed = Event::SpawnFailed { id: second.id, message };
    assert!(turn(&mut core, 0, failed).is_empty());
    let again = (1..200).find_map(|at| turn(&mut core, at, Event::Tick).pop().map(|s| (at, s)));
    let (at, third) = again.unwrap();
    assert!(at >= 60, "not before it is worth trying: {at}");
    assert_eq!(third.ports, [9000]);
    // An answer to an earlier start is nothing.
    assert!(turn(&mut core, at, taken(first.id, 9000)).is_empty());
    assert_eq!(core.instances_of(&api())[0].ports, [("http".to_owned(), 9000)]);
}
