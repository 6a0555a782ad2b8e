//! The checks between two events: each finds what it is there for.

use super::*;
use crate::core::depends::Offers;
use crate::core::spec::{Dependency, DependencyCondition};
use crate::core::workload::Identity;

/// A world in which there is something of everything that is checked.
fn world() -> Core {
    let mut bench = Bench::new();
    let mut api = deployment("api", 2);
    Arc::make_mut(&mut api.template).ports =
        vec![PortSpec { name: "http".to_owned(), first: 9_000, last: 9_009 }];
    api.depends_on =
        vec![Dependency { unit: "db".to_owned(), condition: DependencyCondition::Available }];
    bench.apply(vec![api, deployment("db", 1), cronjob("tick", "0 0 1 1 *")]);
    let trigger = Request::Trigger(key(Kind::CronJob, "tick"), Some("now".to_owned()));
    bench.ask(trigger).unwrap();
    // One waits to be started again.
    let name = bench.names_of(&key(Kind::Deployment, "api")).remove(0);
    bench.end(&name, Exit::Code(1));
    bench.end(&name, Exit::Code(1));
    bench.core
}

fn unit_of<'a>(core: &'a mut Core, kind: Kind, text: &str) -> &'a mut Unit {
    core.units.get_mut(&key(kind, text)).unwrap()
}

/// The first instance of a unit.
fn first<'a>(core: &'a mut Core, text: &str) -> &'a mut Instance {
    core.instances.values_mut().find(|one| one.unit.name == name(text)).unwrap()
}

/// (what is broken, how, part of what is said)
#[test]
fn each_check_finds_what_it_is_there_for() {
    type Break = fn(&mut Core);
    let rows: &[(&str, Break, &str)] = &[
        (
            "an instance without a unit",
            |core| {
                core.units.remove(&key(Kind::Deployment, "db"));
            },
            "belongs to no unit",
        ),
        (
            "an instance that its unit does not know",
            |core| {
                let slot = first(core, "db").slot;
                unit_of(core, Kind::Deployment, "db").instances.remove(slot);
            },
            "is not known to its unit",
        ),
        (
            "an instance that changed behind its controller's back",
            |core| first(core, "db").restarts = 9,
            "is not as its controller sees it",
        ),
        ("no names", |core| core.names.clear(), "cannot be found by name"),
        (
            "a name that means another",
            |core| {
                let name = first(core, "db").name.clone();
                core.names.insert(name, BTreeSet::from([1]));
            },
            "cannot be found by name",
        ),
        (
            "another kind's memory",
            |core| {
                let memory = managed::Memory::new(Kind::Job);
                unit_of(core, Kind::CronJob, "tick").kept.memory = memory;
            },
            "has another kind's memory",
        ),
        (
            "an instance that is gone",
            |core| {
                let slot = first(core, "db").slot;
                core.instances.remove(&slot);
            },
            "which is not there",
        ),
        (
            "a job that is not there",
            |core| {
                let jobs = &mut unit_of(core, Kind::CronJob, "tick").jobs;
                jobs.insert(key(Kind::Job, "other"));
            },
            "counts job/other, which is not its own",
        ),
        (
            "somebody else's job",
            |core| unit_of(core, Kind::Job, "now").kept.owner = None,
            "counts job/now, which is not its own",
        ),
        (
            "two of one ordinal",
            |core| {
                let api = key(Kind::Deployment, "api");
                let slots: Vec<u64> = core.units[&api].instances.slots().collect();
                for slot in slots {
                    let one = core.instances.get_mut(&slot).unwrap();
                    one.identity = Identity::Ordinal(3);
                    let seen = one.observed();
                    unit_of(core, Kind::Deployment, "api").instances.insert(seen);
                }
            },
            "share an ordinal",
        ),
        (
            "a unit that is still to be looked at",
            |core| {
                core.dirty.insert(key(Kind::Deployment, "db"));
            },
            "deployment/db is still to be reconciled",
        ),
        (
            "an instance that is still to be stored",
            |core| {
                core.changed.insert(5);
            },
            "instance 5 is still to be stored",
        ),
        ("no deadline", |core| core.timers = Timers::default(), "which nobody will call"),
        (
            "a deadline that is too late",
            |core| {
                let one = first(core, "api");
                let (slot, at) = (one.slot, one.deadline());
                core.timers.shift(Timer::Instance(slot), at, Some(Mono(u64::MAX)));
            },
            "which nobody will call",
        ),
        (
            "a port that is another's",
            |core| first(core, "api").ports = vec![9_001],
            "has port 9001, which is not its own",
        ),
        (
            "a port that nobody has",
            |core| first(core, "api").ports.clear(),
            "2 ports are taken, 1 are had",
        ),
        (
            "one that does not depend on it",
            |core| {
                let db = SmolStr::new("db");
                core.dependents.entry(db).or_default().insert(key(Kind::Job, "now"));
            },
            "job/now is listed as one that depends on db",
        ),
        (
            "one that depends on it unknown to it",
            |core| core.dependents.clear(),
            "deployment/api depends on db, which does not know it",
        ),
        (
            "one that waits for what is there",
            |core| unit_of(core, Kind::Deployment, "api").waits = true,
            "deployment/api is wrong about whether it has to wait",
        ),
        (
            "one that does not wait for what is not there",
            |core| {
                let offers = Offers::default();
                unit_of(core, Kind::Deployment, "db").offers = offers;
            },
            "deployment/api is wrong about whether it has to wait",
        ),
        (
            "one that offers what it is not, to one that does not look",
            |core| {
                let offers = Offers::default();
                unit_of(core, Kind::Deployment, "db").offers = offers;
                unit_of(core, Kind::Deployment, "api").waits = true;
                let all = core.instances.values_mut();
                all.filter(|one| one.unit.name == name("api")).for_each(|one| one.gated = true);
            },
            "offers something else than it is",
        ),
        (
            "an instance that waits against its unit",
            |core| first(core, "api").gated = true,
            "waits, or does not, against its unit",
        ),
    ];
    let whole = world();
    assert_eq!(invariant::check(&whole), Ok(()));
    assert!(whole.next_deadline().is_some(), "one waits for a time");
    for (what, break_it, said) in rows {
        let mut core = whole.clone();
        break_it(&mut core);
        let error = invariant::check(&core).unwrap_err();
        assert!(error.contains(said), "{what}: {error}");
    }
}
