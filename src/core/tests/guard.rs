//! The storm guard: which starts it holds back, what is said of them, and who takes them out of its
//! hands.

use super::*;
use crate::core::guard::Hold;
use crate::core::spec::{Dependency, DependencyCondition};
use crate::core::table::{Rule, by};
use crate::core::view::InstanceState;

/// One in a second.
fn bench(hold: Hold) -> Bench {
    let mut bench = Bench::new();
    bench.guard = StormGuard { restarts_per_second: 1, hold };
    bench.reborn(false);
    bench
}

fn api() -> UnitKey {
    key(Kind::Deployment, "api")
}

fn db() -> Target {
    Target::Unit(key(Kind::Deployment, "db"))
}

fn held(bench: &Bench) -> usize {
    bench.core.instances().iter().filter(|view| view.held_back).count()
}

/// How many run, and how many are held back.
fn count(bench: &Bench) -> (usize, usize) {
    let views = bench.core.instances();
    (views.iter().filter(|view| view.pid.is_some()).count(), held(bench))
}

/// All that runs ends now. What is told of it in the same turn `late` seconds later.
fn end_all(bench: &mut Bench, late: u64) {
    let at = now(bench.at).mono;
    let ids: Vec<InstanceId> = std::mem::take(&mut bench.living).into_keys().collect();
    bench.pass(late);
    for id in ids {
        let exit = Exit::Code(1);
        bench.core.handle(now(bench.at), Event::Exited { id, exit, at });
    }
    bench.turn();
}

/// What begins three programs of `api` again that have ended twice and waited for a second.
fn crash(bench: &mut Bench) {
    bench.apply(vec![deployment("api", 3)]);
    end_all(bench, 0);
    end_all(bench, 0);
    bench.pass(1);
}

fn after_db(mut spec: UnitSpec) -> UnitSpec {
    let condition = DependencyCondition::Available;
    spec.depends_on = vec![Dependency { unit: "db".to_owned(), condition }];
    spec
}

/// They end while their database is stopped, and it comes back.
fn outage(bench: &mut Bench) {
    bench.apply(vec![after_db(deployment("api", 3)), deployment("db", 1)]);
    bench.ask(Request::Stop(db())).unwrap();
    end_all(bench, 0);
    assert_eq!(count(bench), (0, 0), "they wait for the database instead");
    bench.ask(Request::Start(db())).unwrap();
}

/// The rule; which are held; what happens; how many run then and how many are held back.
type Row = (Rule, Hold, fn(&mut Bench), (usize, usize));

#[test]
fn which_starts_are_held_back() {
    let first: fn(&mut Bench) = |bench| bench.apply(vec![deployment("api", 3)]);
    let first_after_db: fn(&mut Bench) = |bench| {
        bench.apply(vec![after_db(deployment("api", 3))]);
        bench.pass(5);
        bench.apply(vec![after_db(deployment("api", 3)), deployment("db", 1)]);
    };
    let once: fn(&mut Bench) = |bench| {
        bench.apply(vec![deployment("api", 3)]);
        end_all(bench, 0);
    };
    let late: fn(&mut Bench) = |bench| {
        bench.apply(vec![deployment("api", 3)]);
        end_all(bench, 60);
    };
    let wished: fn(&mut Bench) = |bench| {
        bench.apply(vec![deployment("api", 3)]);
        bench.ask(Request::Restart(Target::Unit(api()))).unwrap();
    };
    let rolled_out: fn(&mut Bench) = |bench| {
        bench.apply(vec![deployment("api", 3)]);
        bench.apply(vec![with_env(deployment("api", 3), "new")]);
    };
    let job_again: fn(&mut Bench) = |bench| {
        bench.apply(vec![job("a"), job("b"), job("c")]);
        end_all(bench, 0);
        bench.pass(10);
    };
    #[rustfmt::skip]
    let rows: &[Row] = &[
        (by("wsup", "no first start"), Hold::All, first, (3, 0)),
        (by("wsup", "no first start, though it had to wait for a database"), Hold::All, first_after_db, (4, 0)),
        (by("wsup", "an end's first restart, if all are"), Hold::All, once, (1, 2)),
        (by("k8s-semantics 8", "an end's first restart is at once otherwise"), Hold::Waiting, once, (3, 0)),
        (by("wsup", "a restart that has waited for its back-off"), Hold::Waiting, crash, (1, 2)),
        (by("wsup", "a restart that has waited for a database"), Hold::Waiting, outage, (2, 2)),
        (by("wsup", "a restart that has waited for a database, if all are"), Hold::All, outage, (2, 2)),
        (by("wsup", "a first restart after an end that was heard of late"), Hold::Waiting, late, (1, 2)),
        (by("wsup", "no restart that somebody asked for"), Hold::All, wished, (3, 0)),
        (by("wsup", "nothing new in a roll-out"), Hold::All, rolled_out, (3, 0)),
        (by("wsup", "no new try of a job"), Hold::All, job_again, (3, 0)),
    ];
    for (rule, hold, story, expected) in rows {
        let mut bench = bench(*hold);
        story(&mut bench);
        assert_eq!(count(&bench), *expected, "{rule}");
        bench.pass(10);
        assert_eq!(count(&bench), (expected.0 + expected.1, 0), "{rule}: nobody waits for ever");
    }
}

/// The rule; what happens to three of which one began and two are held back; how many run then, and
/// how many are held back still.
type Way = (Rule, fn(&mut Bench), (usize, usize));

#[test]
fn who_takes_them_out_of_its_hands() {
    #[rustfmt::skip]
    let rows: &[Way] = &[
        (by("wsup", "a second passes"), |b| b.pass(2), (2, 1)),
        (by("wsup", "an operator starts it"), |b| { b.ask(Request::Start(Target::Unit(api()))).unwrap(); }, (3, 0)),
        (by("wsup", "an operator restarts it"), |b| { b.ask(Request::Restart(Target::Unit(api()))).unwrap(); }, (3, 0)),
        (by("wsup", "an operator stops it"), |b| { b.ask(Request::Stop(Target::Unit(api()))).unwrap(); }, (0, 0)),
        (by("wsup", "it is scaled away"), |b| b.apply(vec![deployment("api", 1)]), (1, 0)),
        (by("wsup", "its file goes"), |b| b.apply(vec![]), (0, 0)),
        (by("wsup", "its successor of a roll-out"), |b| b.apply(vec![with_env(deployment("api", 3), "new")]), (3, 0)),
        (by("wsup", "the daemon stops"), |b| b.event(Event::Shutdown), (0, 0)),
        (by("wsup", "what it depends on from now is not there"), |b| b.apply(vec![after_db(deployment("api", 3))]), (1, 0)),
        (by("wsup", "another daemon goes on with the queue"), |b| b.reborn(true), (1, 2)),
        (by("wsup", "another daemon that has no guard"), |b| { b.guard = StormGuard::OFF; b.reborn(true); }, (3, 0)),
        (by("wsup", "another boot of the machine"), |b| b.reborn(false), (3, 0)),
    ];
    for (rule, story, expected) in rows {
        let mut bench = bench(Hold::Waiting);
        crash(&mut bench);
        assert_eq!(count(&bench), (1, 2), "{rule}");
        story(&mut bench);
        assert_eq!(count(&bench), *expected, "{rule}");
        bench.pass(20);
        assert_eq!(held(&bench), 0, "{rule}: nobody waits for ever");
    }
}

#[test]
fn a_new_daemon_counts_what_the_one_before_let_begin() {
    let mut bench = bench(Hold::Waiting);
    crash(&mut bench);
    bench.pass(2);
    assert_eq!(count(&bench), (2, 1));
    bench.reborn(true);
    assert_eq!(count(&bench), (2, 1), "the one before has just begun one");
    bench.pass(2);
    assert_eq!(count(&bench), (3, 0));
    // Nobody waits for it when nothing was begun for long.
    end_all(&mut bench, 60);
    assert_eq!(count(&bench), (1, 2));
    bench.pass(20);
    let name = bench.names_of(&api())[0].clone();
    let slot = bench.core.instance(&name).unwrap().slot;
    let id = *bench.living.keys().find(|id| id.slot == slot).unwrap();
    let at = now(bench.at).mono;
    bench.pass(30);
    bench.reborn(true);
    bench.living.remove(&id);
    bench.event(Event::Exited { id, exit: Exit::Code(1), at });
    assert_eq!(count(&bench), (3, 0), "heard of late, and begun at once");
}

#[test]
fn vital_units_begin_first() {
    let mut bench = bench(Hold::All);
    let vital = |mut spec: UnitSpec| {
        Arc::make_mut(&mut spec.template).restart.vital = true;
        spec
    };
    // By name and age the vital one comes last.
    let units = vec![deployment("a", 2), deployment("b", 2), vital(deployment("z", 2))];
    bench.apply(units);
    end_all(&mut bench, 0);
    bench.pass(20);
    let restarts = bench.reports.iter().filter(|report| report.reason == Reason::InstanceStarted);
    let units: Vec<&str> =
        restarts.skip(6).filter_map(|report| Some(report.unit.as_ref()?.name.as_str())).collect();
    assert_eq!(units, ["z", "z", "a", "a", "b", "b"]);
}

#[test]
fn it_is_seen_who_is_held_back() {
    let mut bench = bench(Hold::Waiting);
    crash(&mut bench);
    let all = bench.core.instances();
    let one = all.iter().find(|view| view.held_back).unwrap();
    assert_eq!((one.state, one.next_start), (InstanceState::Backoff, None));
    assert_eq!(
        one.reason.as_deref(),
        Some(
            "ended with exit code 1; held back by the storm guard: 2 wait, at most 1 restarts begin in \
             a second"
        )
    );
    let told = |bench: &Bench, reason| {
        bench.reports.iter().filter(|report| report.reason == reason).count()
    };
    assert_eq!((told(&bench, Reason::RestartsHeld), told(&bench, Reason::InstanceWaiting)), (1, 2));
    bench.pass(30);
    assert_eq!(
        (told(&bench, Reason::RestartsHeld), told(&bench, Reason::RestartsReleased)),
        (1, 1)
    );
    let told = bench.reports.iter().find(|report| report.reason == Reason::RestartsHeld).unwrap();
    assert_eq!((told.severity, told.unit.as_ref()), (Severity::Warning, None));
}
