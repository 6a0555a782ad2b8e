//! Tables of the rules of a statefulset, and whole lives. Each row names the Kubernetes source of
//! its rule (below `pkg/controller/statefulset`; `control.go` is `stateful_set_control.go`,
//! `utils.go` is `stateful_set_utils.go`).

use super::super::replicaset::fake::*;
use super::*;
use crate::core::report::Reason;
use crate::core::spec::{Amount, Retention};
use crate::core::table::{Rule, by};
use crate::core::time::Millis;

struct Sts {
    spec: StatefulSetSpec,
    state: State,
}

impl Controller for Sts {
    fn unit(&self) -> &'static str {
        "db"
    }
    fn step(&mut self, context: &Context<'_>, observed: &[Observed]) -> Outcome {
        reconcile(&self.spec, context, &mut self.state, observed)
    }
    fn template_of(&self, set: SetId) -> Option<&Arc<InstanceTemplate>> {
        self.state.template_of(set)
    }
    fn data_removed(&mut self, instance: &str) {
        self.state.data_removed(instance);
    }
}

fn spec(replicas: u32) -> StatefulSetSpec {
    StatefulSetSpec {
        replicas,
        min_ready: Millis::ZERO,
        revision_history_limit: 10,
        management_policy: ManagementPolicy::OrderedReady,
        strategy: rolling(0, 1),
        start_ordinal: 0,
        data_dir: None,
        when_deleted: Retention::Retain,
        when_scaled: Retention::Retain,
        paused: false,
    }
}

fn rolling(partition: u32, max_unavailable: u32) -> StatefulStrategy {
    let max_unavailable = Amount::Count(max_unavailable);
    StatefulStrategy::RollingUpdate { partition, max_unavailable }
}

fn fresh(spec: StatefulSetSpec) -> World<Sts> {
    let mut world = World::new(Sts { spec, state: State::default() }, "v1");
    world.behaviours.insert("bad".to_owned(), BROKEN);
    world
}

#[test]
fn starts_from_the_lowest_and_updates_from_the_highest() {
    let mut world = fresh(spec(3));
    world.pass_secs(60);
    assert_eq!(world.take_log(), ["+db-0", "+db-1", "+db-2"]);
    assert!(world.controller.state.status().rolled_out);
    world.apply("v2");
    world.pass_secs(60);
    assert_eq!(world.take_log(), ["-db-2", "+db-2", "-db-1", "+db-1", "-db-0", "+db-0"]);
    let status = world.controller.state.status();
    assert!(status.rolled_out);
    assert_eq!(status.revision, 2);
    assert_eq!((world.told(Reason::RolloutStarted), world.told(Reason::RolloutComplete)), (2, 2));
    world.controller.spec.replicas = 1;
    world.pass_secs(60);
    assert_eq!(world.take_log(), ["-db-2", "-db-1"]);
}

fn world(spec: StatefulSetSpec) -> World<Sts> {
    let mut world = fresh(spec);
    world.pass_secs(60);
    world.take_log();
    world
}

const OLD: SetId = 1;
const NEW: SetId = 2;

/// Ready, of the old revision.
fn old(ordinal: u32) -> Observed {
    instance(u64::from(ordinal) + 1, OLD).ordinal(ordinal)
}

/// Ready, of the new revision.
fn new(ordinal: u32) -> Observed {
    instance(u64::from(ordinal) + 1, NEW).ordinal(ordinal)
}

fn parallel(mut spec: StatefulSetSpec) -> StatefulSetSpec {
    spec.management_policy = ManagementPolicy::Parallel;
    spec
}

fn with(mut spec: StatefulSetSpec, strategy: StatefulStrategy) -> StatefulSetSpec {
    spec.strategy = strategy;
    spec
}

/// A state that rolls from OLD, which once ran everywhere, to NEW.
fn rolling_state(observed: &[Observed]) -> State {
    let mut state = State::default();
    state.revisions.adopt(&template("v1"), START.wall);
    state.revisions.adopt(&template("v2"), START.wall);
    state.current = Some(OLD);
    state.update = Some(NEW);
    state.proven = Some(OLD);
    let ready: Vec<Observed> = observed.iter().map(|one| instance(one.slot, one.set)).collect();
    state.seen.look(&ready);
    state.seen.updated(observed);
    state
}

fn say(intents: &[Intent], observed: &[Observed]) -> Vec<String> {
    let name = |slot: &u64| observed.iter().find(|o| o.slot == *slot).unwrap().name.clone();
    let said = intents.iter().filter_map(|intent| match intent {
        Intent::Create { set, name: NewName::Fixed(name), .. } => Some(format!("+{name}@{set}")),
        Intent::Delete { slot } => Some(format!("-{}", name(slot))),
        Intent::Forget { slot } => Some(format!("~{}", name(slot))),
        Intent::RemoveData { instance } => Some(format!("!{instance}")),
        Intent::Tell(_) => None,
        other => panic!("{other:?}"),
    });
    said.collect()
}

/// What one sync intends.
fn sync(spec: &StatefulSetSpec, mode: Mode, observed: &[Observed]) -> Vec<String> {
    let mut state = rolling_state(observed);
    let context = Context { name: "db", template: &template("v2"), mode, now: START };
    let outcome = reconcile(spec, &context, &mut state, observed);
    say(&outcome.intents, observed)
}

type Row<'a> = (Rule, StatefulSetSpec, Vec<Observed>, &'a [&'a str]);

fn check(rows: Vec<Row<'_>>) {
    for (rule, spec, observed, expected) in rows {
        assert_eq!(sync(&spec, Mode::Run, &observed), *expected, "{rule}");
    }
}

#[test]
fn creating() {
    let mut from_five = spec(2);
    from_five.start_ordinal = 5;
    // Ready since 4999 s, 4998 s, 4997 s: the third is not available yet.
    let slow = |replicas| StatefulSetSpec { min_ready: Millis::from_secs(4998), ..spec(replicas) };
    #[rustfmt::skip]
    check(vec![
        (by("stateful_set_control.go processReplica", "OrderedReady makes one"), spec(3), vec![], &["+db-0@2"]),
        (by("stateful_set_control.go processReplica", "Parallel makes all"), parallel(spec(3)), vec![], &["+db-0@2", "+db-1@2", "+db-2@2"]),
        (by("stateful_set_control.go processReplica", "the next once the one before is ready"), spec(3), vec![new(0)], &["+db-1@2"]),
        (by("stateful_set_control.go processReplica", "not while it is not"), spec(3), vec![new(0).unready()], &[]),
        (by("stateful_set_control.go processReplica", "not while it is pending"), spec(3), vec![new(0).pending()], &[]),
        (by("stateful_set_control.go processReplica", "not while it terminates"), spec(3), vec![new(0).going()], &[]),
        (by("stateful_set_control.go processReplica", "Parallel does not wait"), parallel(spec(3)), vec![new(0).unready(), new(1).going()], &["+db-2@2"]),
        (by("stateful_set_control.go processReplica", "a hole before the end"), spec(3), vec![new(0), new(2)], &["+db-1@2"]),
        (by("stateful_set_control.go processReplica", "the lowest hole"), spec(3), vec![new(2)], &["+db-0@2"]),
        (by("stateful_set_control.go processReplica", "never two of one ordinal"), parallel(spec(1)), vec![new(0).going()], &[]),
        (by("stateful_set_control.go processReplica", "Failed goes first"), spec(2), vec![new(0).phase(Phase::Failed)], &["~db-0"]),
        (by("stateful_set_control.go processReplica", "Succeeded too"), spec(2), vec![new(0).phase(Phase::Succeeded)], &["~db-0"]),
        (by("stateful_set_control.go processReplica", "Parallel, Failed"), parallel(spec(2)), vec![new(0).phase(Phase::Failed)], &["~db-0", "+db-1@2"]),
        (by("stateful_set_control.go processReplica", "Parallel, Succeeded"), parallel(spec(1)), vec![new(0).phase(Phase::Succeeded)], &["~db-0"]),
        (by("stateful_set_control.go processReplica", "one that failed and is going is waited for"), spec(2), vec![new(0).phase(Phase::Failed).going()], &[]),
        (by("stateful_set_control.go processReplica", "Parallel, one that failed and is going holds up nobody"), parallel(spec(2)), vec![new(0).phase(Phase::Failed).going()], &["+db-1@2"]),
        (by("stateful_set_control.go processReplica", "not before the one before is available"), slow(4), vec![new(0), new(1), new(2)], &[]),
        (by("stateful_set_control.go processReplica", "Parallel does not wait for that either"), parallel(slow(4)), vec![new(0), new(1), new(2)], &["+db-3@2"]),
        (by("stateful_set_control.go processReplica", "Parallel fills all holes"), parallel(spec(4)), vec![new(1), new(3)], &["+db-0@2", "+db-2@2"]),
        (by("stateful_set_utils.go getStartOrdinal", "it moved down: the lower ones are made before anything goes"), StatefulSetSpec { start_ordinal: 0, ..spec(2) }, vec![new(1), new(2)], &["+db-0@2"]),
        (by("wsup", "one that gave up waits for an operator"), spec(2), vec![new(0).phase(Phase::GaveUp)], &[]),
        (by("wsup", "also with Parallel"), parallel(spec(1)), vec![new(0).phase(Phase::GaveUp)], &[]),
        (by("stateful_set_utils.go getStartOrdinal", "the first is not always 0"), from_five.clone(), vec![], &["+db-5@2"]),
        (by("stateful_set_utils.go getEndOrdinal", "the last is start + replicas - 1"), from_five.clone(), vec![new(5), new(6)], &[]),
        (by("stateful_set_control.go updateStatefulSet", "none wanted"), spec(0), vec![], &[]),
        (by("stateful_set_utils.go newVersionedStatefulSetPod", "below the partition at the current one"), with(spec(3), rolling(2, 1)), vec![], &["+db-0@1"]),
        (by("stateful_set_utils.go newVersionedStatefulSetPod", "above it at the newest"), with(spec(3), rolling(2, 1)), vec![old(0), old(1)], &["+db-2@2"]),
        (by("stateful_set_utils.go newVersionedStatefulSetPod", "partition is an index"), with(from_five.clone(), rolling(1, 1)), vec![], &["+db-5@1"]),
        (by("stateful_set_utils.go newVersionedStatefulSetPod", "and from there"), with(from_five, rolling(1, 1)), vec![old(5)], &["+db-6@2"]),
        (by("stateful_set_utils.go newVersionedStatefulSetPod", "OnDelete at the newest"), with(spec(2), StatefulStrategy::OnDelete), vec![old(0)], &["+db-1@2"]),
    ]);
}

#[test]
fn scaling_down() {
    let min_ready = StatefulSetSpec { min_ready: Millis::from_secs(100_000), ..spec(0) };
    #[rustfmt::skip]
    check(vec![
        (by("stateful_set_control.go processCondemned", "the highest first"), spec(1), vec![new(0), new(1), new(2)], &["-db-2"]),
        (by("stateful_set_control.go processCondemned", "one at a time"), spec(1), vec![new(0), new(1), new(2).going()], &[]),
        (by("stateful_set_control.go processCondemned", "Parallel all"), parallel(spec(1)), vec![new(0), new(1), new(2)], &["-db-2", "-db-1"]),
        (by("stateful_set_control.go processCondemned", "Parallel past terminating ones"), parallel(spec(1)), vec![new(0), new(1), new(2).going()], &["-db-1"]),
        (by("stateful_set_control.go updateStatefulSet", "not before all wanted are ready"), spec(1), vec![new(0).unready(), new(1)], &[]),
        (by("stateful_set_control.go updateStatefulSet", "nor before they are there"), spec(2), vec![new(0), new(2)], &["+db-1@2"]),
        (by("stateful_set_control.go updateStatefulSet", "Parallel does both"), parallel(spec(2)), vec![new(0), new(2)], &["+db-1@2", "-db-2"]),
        (by("stateful_set_control.go processCondemned", "the first unhealthy may go"), spec(1), vec![new(0), new(1), new(2).unready()], &["-db-2"]),
        (by("stateful_set_control.go processCondemned", "not past another unhealthy one"), spec(1), vec![new(0), new(1).unready(), new(2).unready()], &[]),
        (by("stateful_set_control.go processCondemned", "healthy above an unhealthy one"), spec(1), vec![new(0), new(1).unready(), new(2)], &["-db-2"]),
        (by("wsup", "one that has ended need not be waited for"), spec(1), vec![new(0), new(1).unready(), new(2).phase(Phase::Failed)], &["~db-2"]),
        (by("stateful_set_control.go updateStatefulSet", "Parallel scales and updates in one sync"), parallel(spec(2)), vec![old(0), old(1), old(2)], &["-db-2", "-db-1"]),
        (by("stateful_set_control.go updateStatefulSet", "Parallel, with one wanted that is not ready"), parallel(spec(1)), vec![new(0).unready(), new(1)], &["-db-1"]),
        (by("stateful_set_utils.go getEndOrdinal", "all are out of range: first the new ones are made"), StatefulSetSpec { start_ordinal: 7, ..spec(1) }, vec![new(0), new(1)], &["+db-7@2"]),
        (by("wsup", "one that gave up need not be waited for"), spec(1), vec![new(0), new(1).unready(), new(2).phase(Phase::GaveUp)], &["-db-2"]),
        (by("stateful_set_control.go processCondemned", "Parallel, whatever their health"), parallel(spec(1)), vec![new(0), new(1).unready(), new(2).unready()], &["-db-2", "-db-1"]),
        (by("stateful_set_control.go processCondemned", "not available, not the first unhealthy"), min_ready, vec![new(0), new(1)], &[]),
        (by("stateful_set_control.go updateStatefulSet", "to nothing"), spec(0), vec![new(0)], &["-db-0"]),
        (by("stateful_set_control.go updateStatefulSet", "the start moved up"), StatefulSetSpec { start_ordinal: 1, ..spec(1) }, vec![new(0), new(1)], &["-db-0"]),
        (by("stateful_set_control.go updateStatefulSet", "scaling before updating"), spec(2), vec![old(0), old(1), old(2)], &["-db-2"]),
    ]);
}

#[test]
fn updating() {
    let paused = StatefulSetSpec { paused: true, ..spec(3) };
    let slow = StatefulSetSpec { min_ready: Millis::from_secs(100_000), ..spec(2) };
    let mut from_five = with(spec(2), rolling(1, 1));
    from_five.start_ordinal = 5;
    let ready = |secs| StatefulSetSpec { min_ready: Millis::from_secs(secs), ..spec(3) };
    let half_of_part =
        StatefulStrategy::RollingUpdate { partition: 2, max_unavailable: Amount::Percent(50) };
    let half = |n| {
        let max_unavailable = Amount::Percent(50);
        with(spec(n), StatefulStrategy::RollingUpdate { partition: 0, max_unavailable })
    };
    #[rustfmt::skip]
    check(vec![
        (by("stateful_set_control.go updateStatefulSet", "the highest first"), spec(3), vec![old(0), old(1), old(2)], &["-db-2"]),
        (by("stateful_set_control.go updateStatefulSet", "then the next"), spec(3), vec![old(0), old(1), new(2)], &["-db-1"]),
        (by("stateful_set_control.go updateStatefulSet", "wait for it to be healthy"), spec(3), vec![old(0), old(1), new(2).unready()], &[]),
        (by("stateful_set_control.go updateStatefulSet", "wait for it to be gone"), spec(3), vec![old(0), old(1), old(2).going()], &[]),
        (by("stateful_set_control.go updateStatefulSet", "done"), spec(3), vec![new(0), new(1), new(2)], &[]),
        (by("stateful_set_control.go updateStatefulSet", "down to the partition"), with(spec(3), rolling(2, 1)), vec![old(0), old(1), new(2)], &[]),
        (by("stateful_set_control.go updateStatefulSet", "the partition itself"), with(spec(3), rolling(2, 1)), vec![old(0), old(1), old(2)], &["-db-2"]),
        (by("stateful_set_control.go updateStatefulSet", "a partition beyond all"), with(spec(3), rolling(9, 1)), vec![old(0), old(1), old(2)], &[]),
        (by("stateful_set_control.go updateStatefulSet", "OnDelete"), with(spec(3), StatefulStrategy::OnDelete), vec![old(0), old(1), old(2)], &[]),
        (by("wsup", "paused"), paused, vec![old(0), old(1), old(2)], &[]),
        (by("stateful_set_control.go updateStatefulSet", "one at a time with Parallel"), parallel(spec(3)), vec![old(0), old(1), old(2)], &["-db-2"]),
        (by("stateful_set_control.go updateStatefulSet", "and waits with Parallel"), parallel(spec(3)), vec![old(0), old(1), new(2).unready()], &[]),
        (by("kubernetes#137666", "unavailable old ones outside the budget"), parallel(spec(3)), vec![old(0).unready(), old(1).unready(), old(2)], &["-db-1", "-db-0"]),
        (by("kubernetes#137666", "then the rest of the budget"), parallel(with(spec(4), rolling(0, 2))), vec![old(0).unready(), old(1), old(2), old(3)], &["-db-3", "-db-0"]),
        (by("kubernetes#137666", "unavailable new ones spend it"), parallel(with(spec(4), rolling(0, 2))), vec![old(0), old(1), new(2).unready(), new(3)], &["-db-1"]),
        (by("kubernetes#137666", "all of it"), parallel(with(spec(4), rolling(0, 2))), vec![old(0), old(1), new(2).unready(), new(3).unready()], &[]),
        (by("kubernetes#137666", "those below the partition spend it too"), parallel(with(spec(3), rolling(1, 1))), vec![old(0).unready(), old(1), old(2)], &[]),
        (by("kubernetes#137666", "and are not replaced"), parallel(with(spec(3), rolling(1, 2))), vec![old(0).unready(), old(1), old(2)], &["-db-2"]),
        (by("kubernetes#137666", "min_ready counts as unavailable"), parallel(slow), vec![old(0), new(1)], &["-db-0"]),
        (by("stateful_set_utils.go getStatefulSetMaxUnavailable", "two at once"), with(spec(4), rolling(0, 2)), vec![old(0), old(1), old(2), old(3)], &["-db-3", "-db-2"]),
        (by("stateful_set_utils.go getStatefulSetMaxUnavailable", "half of 4"), half(4), vec![old(0), old(1), old(2), old(3)], &["-db-3", "-db-2"]),
        (by("stateful_set_utils.go getStatefulSetMaxUnavailable", "half of 3, down"), half(3), vec![old(0), old(1), old(2)], &["-db-2"]),
        (by("stateful_set_utils.go getStatefulSetMaxUnavailable", "half of 1, at least 1"), half(1), vec![old(0)], &["-db-0"]),
        (by("stateful_set_control.go updateStatefulSet", "not before the one that is new is available"), ready(4998), vec![old(0), old(1), new(2)], &[]),
        (by("stateful_set_control.go updateStatefulSet", "but then"), ready(4997), vec![old(0), old(1), new(2)], &["-db-1"]),
        (by("stateful_set_control.go updateStatefulSet", "a partition that was raised takes nothing back"), with(spec(2), rolling(2, 1)), vec![new(0), new(1)], &[]),
        (by("stateful_set_control.go updateStatefulSet", "Parallel and OnDelete"), with(parallel(spec(2)), StatefulStrategy::OnDelete), vec![old(0), old(1)], &[]),
        (by("stateful_set_control.go updateStatefulSet", "the partition is an index, down to it"), from_five.clone(), vec![old(5), old(6)], &["-db-6"]),
        (by("stateful_set_control.go updateStatefulSet", "the partition is an index, no further"), from_five, vec![old(5), new(6)], &[]),
        (by("stateful_set_control.go updateStatefulSet", "ordered, a budget of two: each that is new is waited for"), with(spec(4), rolling(0, 2)), vec![old(0), old(1), new(2), new(3).unready()], &[]),
        (by("stateful_set_utils.go getStatefulSetMaxUnavailable", "of replicas, not of those above the partition"), with(spec(4), half_of_part), vec![old(0), old(1), old(2), old(3)], &["-db-3", "-db-2"]),
        (by("kubernetes#137666", "a missing one spends it"), parallel(spec(3)), vec![old(0), old(1)], &["+db-2@2"]),
        (by("kubernetes#137666", "one that goes spends it"), parallel(spec(3)), vec![old(0), old(1), new(2).going()], &[]),
        (by("kubernetes#137666", "more of it than there are old ones"), parallel(with(spec(3), rolling(0, 9))), vec![old(0), old(1), new(2)], &["-db-1", "-db-0"]),
        (by("wsup", "a new revision replaces one that gave up"), parallel(spec(2)), vec![old(0), old(1).phase(Phase::GaveUp)], &["-db-1"]),
        (by("stateful_set_control.go updateStatefulSet", "of a set that nobody knows"), spec(1), vec![instance(1, 9).ordinal(0)], &["-db-0"]),
    ]);
}

#[test]
fn limits() {
    // k8s-semantics 14 decides for the code, against the comment at the field.
    #[rustfmt::skip]
    let rows = [
        (by("stateful_set_utils.go getStatefulSetMaxUnavailable", "a number as it is"), Amount::Count(2), 5, 2),
        (by("stateful_set_utils.go getStatefulSetMaxUnavailable", "beyond replicas too"), Amount::Count(9), 5, 9),
        (by("stateful_set_utils.go getStatefulSetMaxUnavailable", "10 % of 5 is at least 1"), Amount::Percent(10), 5, 1),
        (by("k8s-semantics 14", "39 % of 5, down"), Amount::Percent(39), 5, 1),
        (by("stateful_set_utils.go getStatefulSetMaxUnavailable", "40 % of 5, exactly"), Amount::Percent(40), 5, 2),
        (by("stateful_set_utils.go getStatefulSetMaxUnavailable", "all"), Amount::Percent(100), 5, 5),
        (by("stateful_set_utils.go getStatefulSetMaxUnavailable", "of none, still 1"), Amount::Percent(50), 0, 1),
    ];
    for (rule, amount, replicas, expected) in rows {
        assert_eq!(update::limit(amount, replicas), expected, "{rule}");
    }
}

#[test]
fn stuck_roll_outs() {
    let crashing = |restarts: u32, ago: u64, mut one: Observed| {
        one.restarts = restarts;
        one.ended = Some(START.mono.minus(Millis::from_secs(ago)));
        one.unready()
    };
    #[rustfmt::skip]
    check(vec![
        (by("k8s-semantics 14", "gave up, at the old revision"), spec(2), vec![old(0).phase(Phase::GaveUp), old(1)], &["-db-0"]),
        (by("k8s-semantics 14", "keeps crashing, at the old revision"), spec(2), vec![crashing(2, 5, old(0)), old(1)], &["-db-0"]),
        (by("stateful_set_control.go processReplica", "one crash is waited for"), spec(2), vec![crashing(1, 5, old(0)), old(1)], &[]),
        (by("stateful_set_control.go processReplica", "crashes of long ago"), spec(2), vec![crashing(9, 601, old(0)), old(1)], &[]),
        (by("stateful_set_control.go processReplica", "no crash, a bad moment"), spec(2), vec![old(0).unready(), old(1)], &[]),
        (by("k8s-semantics 14", "a crash loop within the budget only"), spec(2), vec![crashing(2, 5, old(0)), new(1).unready()], &[]),
        (by("stateful_set_control.go processReplica", "the newest is waited for"), spec(2), vec![old(0), new(1).unready()], &[]),
        (by("k8s-semantics 14", "below the partition the newest is the wrong one"), with(spec(2), rolling(2, 1)), vec![old(0), new(1).unready()], &["-db-1"]),
        (by("k8s-semantics 14", "not when paused"), StatefulSetSpec { paused: true, ..spec(1) }, vec![old(0).phase(Phase::GaveUp)], &[]),
        (by("k8s-semantics 14", "not with OnDelete"), with(spec(1), StatefulStrategy::OnDelete), vec![old(0).phase(Phase::GaveUp)], &[]),
        (by("k8s-semantics 14", "not what is going"), spec(1), vec![old(0).phase(Phase::GaveUp).going()], &[]),
    ]);
    // Never ready, though its revision has shown elsewhere that it works.
    let observed = vec![old(0), old(1).unready()];
    let mut state = rolling_state(&observed[..1]);
    state.seen.updated(&observed);
    let context = Context { name: "db", template: &template("v2"), mode: Mode::Run, now: START };
    let outcome = reconcile(&spec(2), &context, &mut state, &observed);
    assert_eq!(say(&outcome.intents, &observed), ["-db-1"], "k8s-semantics 14: never ready");
    state.seen.updated(&observed[..1]);
    let outcome = reconcile(&spec(2), &context, &mut state, &observed);
    assert_eq!(say(&outcome.intents, &observed), [""; 0], "made since: it may just be late");
}

#[test]
fn stopping() {
    #[rustfmt::skip]
    let rows: Vec<Row<'_>> = vec![
        (by("wsup", "stop: the highest first"), spec(3), vec![old(0), old(1), old(2)], &["-db-2"]),
        (by("wsup", "stop: one after the other"), spec(3), vec![old(0), old(1), old(2).going()], &[]),
        (by("wsup", "stop: whatever its health"), spec(3), vec![old(0).unready(), old(1).phase(Phase::GaveUp)], &["-db-1"]),
        (by("wsup", "stop: condemned ones too"), spec(1), vec![old(0), old(7)], &["-db-7"]),
        (by("wsup", "stop: Parallel all"), parallel(spec(3)), vec![old(0), old(1), old(2).going()], &["-db-1", "-db-0"]),
        (by("wsup", "stop: nothing is made"), spec(3), vec![], &[]),
    ];
    for (rule, spec, observed, expected) in rows {
        assert_eq!(sync(&spec, Mode::Stopped, &observed), *expected, "stopped: {rule}");
        assert_eq!(sync(&spec, Mode::Deleting, &observed), *expected, "deleting: {rule}");
    }
}

#[test]
fn a_broken_update_is_left_by_a_revert() {
    for policy in [ManagementPolicy::OrderedReady, ManagementPolicy::Parallel] {
        let mut world = world(StatefulSetSpec { management_policy: policy, ..spec(3) });
        world.apply("bad");
        world.pass_secs(600);
        assert_eq!(world.take_log(), ["-db-2", "+db-2"]);
        world.apply("v1");
        world.pass_secs(5);
        assert_eq!(world.take_log(), ["-db-2", "+db-2"], "k8s-semantics 14: stuck, {policy:?}");
        assert_eq!((world.active_of("v1"), world.ready()), (3, 3));
        let history = world.controller.state.history();
        assert_eq!(history.iter().map(|e| e.revision).collect::<Vec<_>>(), [2, 3]);
        assert!(world.controller.state.status().rolled_out);
    }
}

#[test]
fn a_broken_update_is_left_by_a_correction() {
    let mut world = world(spec(3));
    world.apply("bad");
    world.pass_secs(60);
    world.take_log();
    world.apply("v3");
    world.pass_secs(60);
    assert_eq!(
        world.take_log(),
        ["-db-2", "+db-2", "-db-1", "+db-1", "-db-0", "+db-0"],
        "at once, then on as usual"
    );
}

#[test]
fn a_broken_first_version_is_left_by_a_correction() {
    let mut world = fresh(spec(2));
    world.template = template("bad");
    world.pass_secs(60);
    assert_eq!(world.take_log(), ["+db-0"]);
    world.apply("v2");
    world.pass_secs(60);
    assert_eq!(world.take_log(), ["-db-0", "+db-0", "+db-1"]);
}

#[test]
fn a_partition_rolls_in_part() {
    let mut world = world(with(spec(4), rolling(2, 1)));
    world.apply("v2");
    world.pass_secs(60);
    assert_eq!(world.take_log(), ["-db-3", "+db-3", "-db-2", "+db-2"]);
    let state = &world.controller.state;
    assert_eq!(state.current, Some(OLD), "utils.go completeRollingUpdate: never with a partition");
    assert!(state.status().rolled_out, "kubectl rollout_status.go: partitioned roll out complete");
    world.delete("db-0");
    world.pass_secs(10);
    assert_eq!(world.named("db-0").set, OLD, "utils.go newVersionedStatefulSetPod");
    world.delete("db-3");
    world.pass_secs(10);
    assert_eq!(world.named("db-3").set, NEW);
    world.controller.spec.strategy = rolling(0, 1);
    world.pass_secs(60);
    assert_eq!(world.active_of("v2"), 4);
    assert_eq!(world.controller.state.current, Some(NEW), "utils.go completeRollingUpdate");
}

#[test]
fn on_delete_waits_for_the_operator() {
    let mut world = world(with(spec(2), StatefulStrategy::OnDelete));
    world.apply("v2");
    world.pass_secs(60);
    assert_eq!((world.active_of("v1"), world.controller.state.status().rolled_out), (2, false));
    world.delete("db-0");
    world.pass_secs(60);
    assert_eq!((world.named("db-0").set, world.named("db-1").set), (NEW, OLD));
    world.delete("db-1");
    world.pass_secs(60);
    assert!(world.controller.state.status().rolled_out);
}

#[test]
fn min_ready_is_waited_for() {
    let mut world = fresh(StatefulSetSpec { min_ready: Millis::from_secs(10), ..spec(2) });
    world.pass(Millis(10_999));
    assert_eq!(world.take_log(), ["+db-0"], "control.go processReplica: isRunningAndAvailable");
    world.pass(Millis(1));
    assert_eq!(world.take_log(), ["+db-1"]);
}

#[test]
fn a_pause_holds_the_template_but_not_the_size() {
    let mut world = world(spec(2));
    world.controller.spec.paused = true;
    world.apply("v2");
    world.controller.spec.replicas = 3;
    world.pass_secs(60);
    assert_eq!((world.take_log(), world.active_of("v1")), (vec!["+db-2".to_owned()], 3));
    world.controller.spec.paused = false;
    world.pass_secs(60);
    assert_eq!(world.active_of("v2"), 3);
}

#[test]
fn a_stop_in_mid_roll_out_does_not_finish_it() {
    let mut world = world(spec(3));
    stop_in_mid_roll_out(&mut world);
    assert_eq!(world.take_log(), ["+db-0", "+db-1", "+db-2"], "a new template is started at once");
    let mut world = self::world(parallel(spec(3)));
    stop_in_mid_roll_out(&mut world);
    assert_eq!(world.take_log(), ["+db-0", "+db-1", "+db-2"], "with Parallel too");
}

fn stop_in_mid_roll_out(world: &mut World<Sts>) {
    world.apply("bad");
    world.pass_secs(60);
    world.take_log();
    world.mode = Mode::Stopped;
    world.pass_secs(60);
    assert_eq!(world.take_log(), ["-db-2", "-db-1", "-db-0"]);
    assert_eq!(world.controller.state.status().counts, Counts::default());
    world.mode = Mode::Run;
    world.pass_secs(60);
    assert_eq!((world.active_of("v1"), world.active_of("bad")), (2, 1));
    world.mode = Mode::Stopped;
    world.pass_secs(60);
    world.take_log();
    world.mode = Mode::Run;
    world.apply("v3");
    world.pass_secs(60);
    assert_eq!(world.active_of("v3"), 3);
}

#[test]
fn data_goes_only_as_asked() {
    use Retention::{Delete, Retain};
    // (rule, when_scaled, when_deleted, log of a scale-down from 3 to 1, log of the deletion after
    // it)
    #[rustfmt::skip]
    let rows = [
        (by("stateful_set_utils.go updateClaimOwnerRefForSetAndPod", "retain and retain: nothing goes"), Retain, Retain, vec!["-db-2", "-db-1"], vec!["-db-0"]),
        (by("stateful_set_utils.go updateClaimOwnerRefForSetAndPod", "scaled: the data of those that go, once they are gone"), Delete, Retain, vec!["-db-2", "!db-2", "-db-1", "!db-1"], vec!["-db-0"]),
        (by("stateful_set_utils.go updateClaimOwnerRefForSetAndPod", "deleted: the data of those that are wanted"), Retain, Delete, vec!["-db-2", "-db-1"], vec!["-db-0", "!db-0"]),
        (by("stateful_set_utils.go updateClaimOwnerRefForSetAndPod", "both"), Delete, Delete, vec!["-db-2", "!db-2", "-db-1", "!db-1"], vec!["-db-0", "!db-0"]),
    ];
    for (rule, when_scaled, when_deleted, scaled, deleted) in rows {
        let mut world = world(StatefulSetSpec { when_scaled, when_deleted, ..spec(3) });
        world.mode = Mode::Stopped;
        world.pass_secs(10);
        world.mode = Mode::Run;
        world.pass_secs(10);
        world.apply("v2");
        world.pass_secs(60);
        assert!(world.take_log().iter().all(|line| !line.starts_with('!')), "no stop, no update");
        world.controller.spec.replicas = 1;
        world.pass_secs(60);
        assert_eq!(world.take_log(), scaled, "{rule}");
        world.mode = Mode::Deleting;
        world.pass_secs(60);
        assert_eq!(world.take_log(), deleted, "{rule}");
        assert!(world.gone);
    }
}

#[test]
fn scaled_away_while_stopped() {
    let mut world = world(StatefulSetSpec { when_scaled: Retention::Delete, ..spec(2) });
    world.mode = Mode::Stopped;
    world.pass_secs(10);
    world.controller.spec.replicas = 1;
    world.pass_secs(10);
    assert_eq!(world.take_log(), ["-db-1", "-db-0"], "nothing while it is stopped");
    world.mode = Mode::Run;
    world.pass_secs(10);
    assert_eq!(world.take_log(), ["!db-1", "+db-0"]);
}

#[test]
fn data_that_was_left_behind_stays() {
    let mut world = world(spec(3));
    world.controller.spec.replicas = 2;
    world.pass_secs(10);
    world.controller.spec.when_scaled = Retention::Delete;
    world.pass_secs(10);
    assert_eq!(world.take_log(), ["-db-2"]);
}

#[test]
fn a_successor_waits_for_stale_data() {
    // stateful_pod_control.go PodClaimIsStale
    let mut world = world(StatefulSetSpec { when_scaled: Retention::Delete, ..spec(2) });
    world.hold_data = true;
    world.controller.spec.replicas = 1;
    world.settle();
    world.controller.spec.replicas = 2;
    world.pass_secs(60);
    assert_eq!(world.take_log(), ["-db-1", "!db-1"], "asked to go: its data goes too");
    let text = serde_json::to_string(&world.controller.state).unwrap();
    world.controller.state = serde_json::from_str(&text).unwrap();
    world.pass_secs(60);
    assert_eq!(world.take_log(), ["!db-1"], "asked again after the daemon's end");
    world.controller.state.data_removed("db-1");
    world.pass_secs(60);
    assert_eq!(world.take_log(), ["+db-1"]);
    world.mode = Mode::Deleting;
    world.controller.spec.when_deleted = Retention::Delete;
    world.pass_secs(60);
    assert!(!world.gone, "not before the data is");
    world.controller.state.data_removed("db-0");
    world.controller.state.data_removed("db-1");
    world.settle();
    assert!(world.gone);
}

#[test]
fn history_keeps_what_is_in_use() {
    let mut world = world(StatefulSetSpec { revision_history_limit: 1, ..spec(1) });
    for text in ["v2", "v3", "v4"] {
        world.apply(text);
        world.pass_secs(10);
    }
    let history = world.controller.state.history();
    assert_eq!(
        history.iter().map(|e| (e.revision, e.instances)).collect::<Vec<_>>(),
        [(3, 0), (4, 1)]
    );
}

#[test]
fn nothing_is_rolled_out_of_what_never_ran() {
    let mut world = fresh(spec(1));
    world.mode = Mode::Stopped;
    world.settle();
    assert!(world.controller.state.history().is_empty() && world.notes.is_empty());
    world.mode = Mode::Deleting;
    world.settle();
    assert!(world.gone);
}

#[test]
fn strangers_go() {
    let twice = vec![new(0), instance(9, NEW).ordinal(0), instance(8, NEW)];
    let mut twice = sync(&spec(1), Mode::Run, &twice);
    twice.sort();
    assert_eq!(twice, ["-db-0", "-i-8"]);
}

#[test]
fn state_survives_storage() {
    let mut world = world(spec(2));
    world.apply("bad");
    world.pass_secs(60);
    let text = serde_json::to_string(&world.controller.state).unwrap();
    let back: State = serde_json::from_str(&text).unwrap();
    assert_eq!(back, world.controller.state);
    assert_eq!(serde_json::from_str::<State>("{}").unwrap(), State::default());
}

#[test]
fn what_was_stopped_from_birth_begins_as_any_other() {
    let mut world = fresh(with(spec(0), rolling(1, 1)));
    world.mode = Mode::Stopped;
    world.settle();
    world.mode = Mode::Run;
    world.controller.spec.replicas = 2;
    world.pass_secs(10);
    assert_eq!((world.active_of("v1"), world.controller.state.current), (2, Some(1)));
}

#[test]
fn two_broken_ones_block_a_scale_down() {
    // control.go processCondemned, as it is in Kubernetes: an operator must help.
    let mut world = world(spec(3));
    for name in ["db-1", "db-2"] {
        let one = world.named(name);
        one.ready_since = None;
        one.restarts = 5;
    }
    world.controller.spec.replicas = 0;
    world.pass_secs(60);
    assert!(world.take_log().is_empty());
    world.delete("db-2");
    world.pass_secs(60);
    assert_eq!(world.take_log(), ["-db-2", "-db-1", "-db-0"]);
}

#[test]
fn counting() {
    let slow = StatefulSetSpec { min_ready: Millis::from_secs(100_000), ..spec(2) };
    let paused = StatefulSetSpec { paused: true, ..spec(2) };
    let from_five = StatefulSetSpec { start_ordinal: 5, ..spec(2) };
    let on_delete = || with(spec(2), StatefulStrategy::OnDelete);
    // (rule, spec, template, what is there, (desired, current, ready, updated, available), whether
    // it is rolled out, the current revision after, the one that has shown that it works)
    type Seen = (u32, u32, u32, u32, u32);
    type Row<'a> = (Rule, StatefulSetSpec, &'a str, Vec<Observed>, Seen, bool, SetId, SetId);
    #[rustfmt::skip]
    let rows: Vec<Row<'_>> = vec![
        (by("stateful_set_utils.go completeRollingUpdate", "all are new and ready"), spec(2), "v2", vec![new(0), new(1)], (2, 2, 2, 2, 2), true, NEW, NEW),
        (by("stateful_set_utils.go completeRollingUpdate", "not while an old one is there"), spec(2), "v2", vec![old(0), new(1)], (2, 2, 2, 1, 2), false, OLD, OLD),
        (by("stateful_set_utils.go completeRollingUpdate", "not while one is not ready"), spec(2), "v2", vec![new(0), new(1).unready()], (2, 2, 1, 2, 1), false, OLD, OLD),
        (by("stateful_set_utils.go completeRollingUpdate", "ready is enough, min_ready need not be over"), slow, "v2", vec![new(0), new(1)], (2, 2, 2, 2, 0), false, NEW, OLD),
        (by("stateful_set_utils.go completeRollingUpdate", "not while one is missing"), spec(2), "v2", vec![new(0)], (2, 1, 1, 1, 1), false, OLD, OLD),
        (by("stateful_set_utils.go completeRollingUpdate", "not while one is too many"), spec(2), "v2", vec![new(0), new(1), new(2)], (2, 3, 3, 3, 3), false, OLD, OLD),
        (by("stateful_set_utils.go completeRollingUpdate", "nor while that one is going"), spec(2), "v2", vec![new(0), new(1), new(2).going()], (2, 2, 2, 2, 2), false, OLD, OLD),
        (by("stateful_set_utils.go completeRollingUpdate", "nothing is wanted"), spec(0), "v2", vec![], (0, 0, 0, 0, 0), true, NEW, OLD),
        (by("stateful_set_utils.go completeRollingUpdate", "never with a partition, though its part is rolled out"), with(spec(2), rolling(1, 1)), "v2", vec![old(0), new(1)], (2, 2, 2, 1, 2), true, OLD, OLD),
        (by("stateful_set_utils.go completeRollingUpdate", "a partition that keeps nothing back any more"), with(spec(2), rolling(1, 1)), "v2", vec![new(0), new(1)], (2, 2, 2, 2, 2), true, NEW, NEW),
        (by("stateful_set_utils.go completeRollingUpdate", "a partition beyond all"), with(spec(2), rolling(9, 1)), "v2", vec![old(0), old(1)], (2, 2, 2, 0, 2), true, OLD, OLD),
        (by("stateful_set_utils.go completeRollingUpdate", "a partition, its part not yet new"), with(spec(2), rolling(1, 1)), "v2", vec![old(0), old(1)], (2, 2, 2, 0, 2), false, OLD, OLD),
        (by("stateful_set_utils.go completeRollingUpdate", "a partition counts from the first ordinal"), with(from_five.clone(), rolling(1, 1)), "v2", vec![old(5), new(6)], (2, 2, 2, 1, 2), true, OLD, OLD),
        (by("stateful_set_utils.go completeRollingUpdate", "of other ordinals than 0"), from_five, "v2", vec![new(5), new(6)], (2, 2, 2, 2, 2), true, NEW, NEW),
        (by("stateful_set_utils.go completeRollingUpdate", "OnDelete leaves the current one as it is"), on_delete(), "v2", vec![new(0), new(1)], (2, 2, 2, 2, 2), true, OLD, NEW),
        (by("stateful_set_control.go computeReplicaStatus", "OnDelete, an old one"), on_delete(), "v2", vec![old(0), new(1)], (2, 2, 2, 1, 2), false, OLD, OLD),
        (by("stateful_set_control.go computeReplicaStatus", "one that ended is neither ready nor there"), spec(2), "v2", vec![new(0), new(1).phase(Phase::Failed)], (2, 1, 1, 1, 1), false, OLD, OLD),
        (by("wsup", "one that gave up is there"), spec(2), "v2", vec![new(0), new(1).phase(Phase::GaveUp)], (2, 2, 1, 2, 1), false, OLD, OLD),
        (by("wsup", "paused with another template: none is of that, and nothing is rolled out"), paused.clone(), "v3", vec![new(0), new(1)], (2, 2, 2, 0, 2), false, NEW, NEW),
        (by("wsup", "paused with the same template: done as before"), paused, "v2", vec![new(0), new(1)], (2, 2, 2, 2, 2), true, NEW, NEW),
    ];
    for (rule, spec, text, observed, seen, done, current, proven) in rows {
        let mut state = rolling_state(&observed);
        let context =
            Context { name: "db", template: &template(text), mode: Mode::Run, now: START };
        reconcile(&spec, &context, &mut state, &observed);
        let Counts { desired, current: there, ready, updated, available } = state.status().counts;
        assert_eq!((desired, there, ready, updated, available), seen, "{rule}");
        assert_eq!(state.status().rolled_out, done, "{rule}");
        assert_eq!((state.current, state.proven), (Some(current), Some(proven)), "{rule}");
    }
}
