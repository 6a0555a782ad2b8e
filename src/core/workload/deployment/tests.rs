//! Tables of the rules of a deployment, and whole roll-outs. Each row names the Kubernetes source
//! of its rule (below `pkg/controller/deployment`).

use super::super::Phase;
use super::super::replicaset::fake::*;
use super::rollout::{proportion, resolve_fenceposts};
use super::*;
use crate::core::report::Reason;
use crate::core::spec::{Amount, DeploymentStrategy};
use crate::core::table::{Rule, by};
use crate::core::time::Millis;

struct Deployment {
    spec: DeploymentSpec,
    state: State,
}

impl Controller for Deployment {
    fn unit(&self) -> &'static str {
        "api"
    }
    fn step(&mut self, context: &Context<'_>, observed: &[Observed]) -> Outcome {
        reconcile(&self.spec, context, &mut self.state, &observed.iter().cloned().collect())
    }
    fn template_of(&self, set: SetId) -> Option<&Arc<InstanceTemplate>> {
        self.state.template_of(set)
    }
}

pub(super) fn spec(replicas: u32, surge: Amount, unavailable: Amount) -> DeploymentSpec {
    DeploymentSpec {
        replicas,
        min_ready: Millis::ZERO,
        revision_history_limit: 10,
        strategy: DeploymentStrategy::RollingUpdate {
            max_surge: surge,
            max_unavailable: unavailable,
        },
        progress_deadline: Some(Millis::from_secs(600)),
        paused: false,
    }
}

fn world(spec: DeploymentSpec) -> World<Deployment> {
    let mut world = World::new(Deployment { spec, state: State::default() }, "v1");
    world.behaviours.insert("bad".to_owned(), BROKEN);
    world.pass_secs(10);
    world
}

/// Never fewer available than allowed, never more than allowed.
fn bounds(world: &World<Deployment>) {
    let bounds = Bounds::of(&world.controller.spec);
    let min_ready = world.controller.spec.min_ready;
    let now = world.now.mono;
    let available =
        world.observed.iter().filter(|o| o.active() && o.available(min_ready, now)).count();
    assert!(available as u32 >= bounds.min_available(), "{available} available");
    assert!(world.active() as u32 <= bounds.max_total(), "{} active", world.active());
}

#[test]
fn a_roll_out_keeps_its_bounds_and_ends() {
    let mut world = world(spec(4, Amount::Percent(25), Amount::Percent(25)));
    assert_eq!((world.ready(), world.controller.state.status().rolled_out), (4, true));
    world.watch = Some(bounds);
    world.apply("v2");
    assert!(!world.controller.state.status().rolled_out);
    world.pass_secs(30);
    assert_eq!((world.active_of("v2"), world.active()), (4, 4));
    let status = world.controller.state.status();
    assert!(status.rolled_out && !status.stalled);
    assert_eq!(status.revision, 2);
    assert_eq!((world.told(Reason::RolloutStarted), world.told(Reason::RolloutComplete)), (2, 2));
}

pub(super) fn count(n: u32) -> Amount {
    Amount::Count(n)
}

fn percent(n: u32) -> Amount {
    Amount::Percent(n)
}

#[test]
fn fenceposts() {
    // (rule, replicas, surge, unavailable, both resolved)
    #[rustfmt::skip]
    let rows = [
        (by("deployment/util.go ResolveFenceposts", "surge up, unavailable down"), 10, percent(25), percent(25), (3, 2)),
        (by("deployment/util.go ResolveFenceposts", "nothing to round"), 4, percent(25), percent(25), (1, 1)),
        (by("deployment/util.go ResolveFenceposts", "unavailable may come to nothing"), 1, percent(25), percent(25), (1, 0)),
        (by("deployment/util.go ResolveFenceposts", "of no replicas, one unavailable"), 0, percent(25), percent(25), (0, 1)),
        (by("deployment/util.go ResolveFenceposts", "both come to nothing: one unavailable"), 10, count(0), percent(5), (0, 1)),
        (by("deployment/util.go ResolveFenceposts", "both are nothing: one unavailable"), 10, count(0), count(0), (0, 1)),
        (by("deployment/util.go ResolveFenceposts", "a surge above 100 %"), 3, percent(200), count(0), (6, 0)),
        (by("deployment/util.go ResolveFenceposts", "numbers as they are"), 3, count(1), count(7), (1, 7)),
        (by("deployment/util.go ResolveFenceposts", "1 % of 100"), 100, percent(1), percent(1), (1, 1)),
        (by("deployment/util.go ResolveFenceposts", "1 % of 99"), 99, percent(1), percent(1), (1, 0)),
        (by("deployment/util.go ResolveFenceposts", "100 % of either"), 7, percent(100), percent(100), (7, 7)),
        (by("deployment/util.go ResolveFenceposts", "no overflow on the way"), 100_000, percent(100), percent(99), (100_000, 99_000)),
    ];
    for (rule, replicas, surge, unavailable, expected) in rows {
        assert_eq!(resolve_fenceposts(surge, unavailable, replicas), expected, "{rule}");
    }
}

#[test]
fn bounds_of_a_spec() {
    let recreate = |n| DeploymentSpec {
        strategy: DeploymentStrategy::Recreate,
        ..spec(n, count(0), count(0))
    };
    // (rule, spec, how many there may be, how many must be available)
    #[rustfmt::skip]
    let rows = [
        (by("deployment/util.go MaxUnavailable", "never more than there are"), spec(3, count(1), count(7)), 4, 0),
        (by("deployment/util.go MaxUnavailable", "of none, none"), spec(0, count(0), count(0)), 0, 0),
        (by("deployment/util.go MaxUnavailable", "as it is"), spec(10, count(3), count(2)), 13, 8),
        (by("deployment/util.go MaxUnavailable", "rounded down"), spec(10, percent(25), percent(25)), 13, 8),
        (by("deployment/util.go MaxUnavailable", "none without rolling"), recreate(3), 3, 3),
        (by("deployment/util.go MaxSurge", "none without rolling"), recreate(0), 0, 0),
        (by("deployment/util.go MaxSurge", "nothing of both is one unavailable, no surge"), spec(3, count(0), percent(10)), 3, 2),
    ];
    for (rule, spec, most, least) in rows {
        let bounds = Bounds::of(&spec);
        assert_eq!((bounds.max_total(), bounds.min_available()), (most, least), "{rule}");
    }
}

#[test]
fn room_for_a_new_set() {
    // (rule, spec, wanted of all sets, of these of the new one, its size after)
    let recreate =
        DeploymentSpec { strategy: DeploymentStrategy::Recreate, ..spec(3, count(0), count(0)) };
    #[rustfmt::skip]
    let rows = [
        (by("deployment/util.go NewRSNewReplicas", "nothing else is there"), spec(3, count(1), count(0)), 0, 0, 3),
        (by("deployment/util.go NewRSNewReplicas", "the surge"), spec(3, count(2), count(0)), 3, 0, 2),
        (by("deployment/util.go NewRSNewReplicas", "no room"), spec(3, count(0), count(1)), 3, 0, 0),
        (by("deployment/util.go NewRSNewReplicas", "more than may be, it keeps what it has"), spec(3, count(1), count(0)), 6, 2, 2),
        (by("deployment/util.go NewRSNewReplicas", "never beyond replicas"), spec(3, count(9), count(0)), 3, 1, 3),
        (by("deployment/util.go NewRSNewReplicas", "in full with Recreate, whatever is there"), recreate, 9, 0, 3),
    ];
    for (rule, spec, total, wanted, expected) in rows {
        assert_eq!(Bounds::of(&spec).room_for_new(total, wanted), expected, "{rule}");
    }
}

#[test]
fn proportions() {
    // (rule, size, allowed when it was sized, allowed now, how many to add)
    #[rustfmt::skip]
    let rows = [
        (by("deployment/util.go getReplicaSetFraction", "twice as many"), 2, 5, 10, 2),
        (by("deployment/util.go getReplicaSetFraction", "fewer: 1.2 is 1"), 2, 5, 3, -1),
        (by("deployment/util.go getReplicaSetFraction", "fewer: 1.8 is 2"), 3, 5, 3, -1),
        (by("integer.go RoundToInt32", "1.5 is 2: halves away from zero"), 1, 2, 3, 1),
        (by("integer.go RoundToInt32", "0.5 is 1: halves away from zero"), 1, 4, 2, 0),
        (by("integer.go RoundToInt32", "0.49 is nothing"), 1, 100, 49, -1),
        (by("deployment/util.go getReplicaSetFraction", "with a surge in both: 21.5 is 22"), 5, 13, 56, 17),
        (by("deployment/util.go getReplicaSetFraction", "with a surge in both: 12.9 is 13"), 3, 13, 56, 10),
        (by("deployment/util.go getReplicaSetFraction", "none are wanted any more"), 7, 10, 0, -7),
        (by("deployment/util.go getReplicaSetFraction", "the same as before"), 4, 9, 9, 0),
        (by("wsup", "a set that was sized under no bound"), 1, 0, 4, 3),
    ];
    for (rule, size, recorded, allowed, expected) in rows {
        assert_eq!(proportion(size, recorded, allowed), expected, "{rule}");
    }
}

/// A set before a sync: wanted, desired and max when it was last sized, and of its instances how
/// many are available and how many are not.
pub(super) type Set = (u32, u32, u32, u64, u64);

/// A deployment with these sets, oldest first, and their instances.
pub(super) fn with_sets(sets: &[Set]) -> (State, Vec<Observed>) {
    let mut state = State { last_id: sets.len() as SetId, ..State::default() };
    let mut observed = Vec::new();
    for (at, (wanted, desired, max, available, unavailable)) in sets.iter().copied().enumerate() {
        let id = at as SetId + 1;
        let template = template(&format!("t{at}"));
        let stored = store(id, id.into(), &template, START.wall, &mut 0, &[]);
        let recorded = Recorded { desired, max };
        state.sets.push(ReplicaSet { stored, wanted, recorded, instances: Computed(0) });
        for _ in 0..available {
            observed.push(instance(observed.len() as u64 + 1, id));
        }
        for _ in 0..unavailable {
            observed.push(instance(observed.len() as u64 + 1, id).unready());
        }
    }
    (state, observed)
}

/// The template of the set at `new`; of none: a new one.
pub(super) fn template_at(new: Option<usize>) -> Arc<InstanceTemplate> {
    template(&new.map_or_else(|| "new".to_owned(), |at| format!("t{at}")))
}

/// One sync on these sets, of which the one at `new` has the present template (none: a new one).
fn sync(spec: &DeploymentSpec, sets: &[Set], new: Option<usize>) -> State {
    let (mut state, observed) = with_sets(sets);
    let template = template_at(new);
    let context = Context { name: "api", template: &template, mode: Mode::Run, now: START };
    reconcile(spec, &context, &mut state, &observed.into_iter().collect());
    state
}

fn sizes(state: &State) -> Vec<u32> {
    state.sets.iter().map(|s| s.wanted).collect()
}

/// A set of a deployment of 10 whose instances are all available.
pub(super) fn ok(wanted: u32, of: u32, max: u32) -> Set {
    (wanted, of, max, wanted.into(), 0)
}

#[test]
fn one_rolling_step() {
    // (rule, replicas, surge, unavailable, sets, which is new, sizes after one sync)
    type Row<'a> = (Rule, u32, u32, u32, &'a [Set], Option<usize>, &'a [u32]);
    #[rustfmt::skip]
    let rows: &[Row<'_>] = &[
        (by("deployment/rolling.go reconcileNewReplicaSet", "no room"), 10, 0, 1, &[ok(10, 10, 10), ok(0, 10, 10)], Some(1), &[9, 0]),
        (by("deployment/rolling.go reconcileNewReplicaSet", "the surge is the room"), 10, 2, 0, &[ok(10, 10, 12), ok(0, 10, 12)], Some(1), &[10, 2]),
        (by("deployment/rolling.go reconcileNewReplicaSet", "what old ones leave is room"), 10, 2, 0, &[ok(5, 10, 12), ok(0, 10, 12)], Some(1), &[5, 7]),
        (by("deployment/rolling.go reconcileNewReplicaSet", "never beyond replicas"), 10, 2, 0, &[ok(1, 10, 12), (9, 10, 12, 9, 0)], Some(1), &[1, 10]),
        (by("deployment/rolling.go reconcileNewReplicaSet", "too many new ones"), 10, 2, 0, &[ok(2, 10, 12), (11, 10, 12, 11, 0)], Some(1), &[2, 10]),
        (by("deployment/rolling.go reconcileNewReplicaSet", "full, so old ones may shrink"), 10, 2, 0, &[ok(10, 10, 12), (2, 10, 12, 2, 0)], Some(1), &[8, 2]),
        (by("deployment/rolling.go reconcileNewReplicaSet", "full, and new ones not available"), 10, 2, 0, &[ok(10, 10, 12), (2, 10, 12, 0, 2)], Some(1), &[10, 2]),
        (by("deployment/rolling.go reconcileNewReplicaSet", "a new one of two available"), 10, 2, 0, &[ok(10, 10, 12), (2, 10, 12, 1, 1)], Some(1), &[9, 2]),
        (by("deployment/rolling.go reconcileOldReplicaSets", "nothing may be unavailable"), 10, 0, 0, &[ok(10, 10, 10), ok(0, 10, 10)], Some(1), &[9, 0]),
        (by("deployment/rolling.go reconcileOldReplicaSets", "two may"), 10, 0, 2, &[ok(10, 10, 10), ok(0, 10, 10)], Some(1), &[8, 0]),
        (by("deployment/rolling.go cleanupUnhealthyReplicas", "unavailable old ones first"), 10, 0, 2, &[(10, 10, 10, 8, 2), ok(0, 10, 10)], Some(1), &[8, 0]),
        (by("deployment/rolling.go cleanupUnhealthyReplicas", "then healthy ones"), 10, 0, 4, &[(10, 10, 10, 8, 2), ok(0, 10, 10)], Some(1), &[6, 0]),
        (by("deployment/rolling.go cleanupUnhealthyReplicas", "up to the room"), 10, 0, 2, &[(10, 10, 10, 5, 5), ok(0, 10, 10)], Some(1), &[8, 0]),
        (by("deployment/rolling.go cleanupUnhealthyReplicas", "oldest set first"), 10, 0, 2, &[(4, 10, 10, 2, 2), (6, 10, 10, 4, 2), ok(0, 10, 10)], Some(2), &[2, 6, 0]),
        (by("deployment/rolling.go cleanupUnhealthyReplicas", "then the next"), 10, 0, 3, &[(4, 10, 10, 2, 2), (6, 10, 10, 4, 2), ok(0, 10, 10)], Some(2), &[2, 5, 0]),
        (by("deployment/rolling.go cleanupUnhealthyReplicas", "a broken old version is always replaced"), 3, 1, 0, &[(3, 3, 4, 0, 3), (1, 3, 4, 0, 1)], Some(1), &[3, 1]),
        (by("deployment/rolling.go cleanupUnhealthyReplicas", "also by an available new one"), 3, 1, 0, &[(3, 3, 4, 0, 3), (1, 3, 4, 1, 0)], Some(1), &[2, 1]),
        (by("deployment/rolling.go scaleDownOldReplicaSetsForRollingUpdate", "oldest set first"), 10, 0, 5, &[ok(4, 10, 10), ok(6, 10, 10), ok(0, 10, 10)], Some(2), &[0, 5, 0]),
        (by("deployment/rolling.go scaleDownOldReplicaSetsForRollingUpdate", "not below the minimum"), 10, 2, 1, &[ok(9, 10, 12), (3, 10, 12, 0, 3)], Some(1), &[9, 3]),
        (by("deployment/rolling.go scaleDownOldReplicaSetsForRollingUpdate", "the two bounds are separate"), 10, 0, 5, &[(6, 10, 10, 5, 1), (4, 10, 10, 4, 0)], Some(1), &[1, 4]),
        (by("deployment/rolling.go reconcileOldReplicaSets", "new unavailable ones eat the budget"), 10, 2, 2, &[ok(8, 10, 12), (4, 10, 12, 0, 4)], Some(1), &[8, 4]),
        (by("deployment/rolling.go reconcileOldReplicaSets", "in part"), 10, 2, 2, &[ok(8, 10, 12), (4, 10, 12, 2, 2)], Some(1), &[6, 4]),
        (by("deployment/sync.go getNewReplicaSet", "made at the size there is room for"), 10, 3, 2, &[ok(10, 10, 13)], None, &[10, 3]),
        (by("deployment/sync.go getNewReplicaSet", "made empty when there is none"), 10, 0, 2, &[ok(10, 10, 10)], None, &[10, 0]),
        (by("deployment/sync.go getNewReplicaSet", "the first at full size"), 10, 3, 2, &[], None, &[10]),
        (by("deployment/sync.go getNewReplicaSet", "none wanted, none made"), 0, 1, 1, &[], None, &[0]),
        (by("deployment/sync.go getNewReplicaSet", "a third in mid-flight starts where there is room"), 10, 2, 2, &[ok(8, 10, 12), (4, 10, 12, 0, 4)], None, &[8, 4, 0]),
        (by("deployment/util.go FindNewReplicaSet", "undo in mid-flight drains the newer"), 10, 2, 2, &[ok(8, 10, 12), (4, 10, 12, 0, 4)], Some(0), &[8, 0]),
        (by("deployment/util.go FindNewReplicaSet", "undo grows the old one again"), 10, 3, 2, &[ok(4, 10, 13), (6, 10, 13, 0, 6)], Some(0), &[7, 6]),
        (by("deployment/rolling.go reconcileOldReplicaSets", "old ones are all gone, though new ones are missing"), 10, 2, 2, &[ok(0, 10, 12), (10, 10, 12, 7, 0)], Some(1), &[0, 10]),
        (by("deployment/rolling.go reconcileOldReplicaSets", "available old ones beyond the minimum go, though new ones are not available"), 10, 3, 2, &[ok(10, 10, 13), (3, 10, 13, 0, 3)], Some(1), &[8, 3]),
        (by("deployment/rolling.go cleanupUnhealthyReplicas", "unavailable ones of the oldest set first, healthy ones of it last"), 10, 1, 1, &[(5, 10, 11, 3, 2), (5, 10, 11, 5, 0), (1, 10, 11, 1, 0)], Some(2), &[3, 5, 1]),
        (by("deployment/rolling.go rolloutRolling", "a surge of all at once"), 3, 3, 0, &[ok(3, 3, 6), ok(0, 3, 6)], Some(1), &[3, 3]),
        (by("deployment/rolling.go rolloutRolling", "all unavailable at once"), 3, 0, 3, &[ok(3, 3, 3), ok(0, 3, 3)], Some(1), &[0, 0]),
        (by("wsup", "surplus ones that are about to go protect nobody"), 3, 1, 0, &[(2, 3, 4, 3, 0), (2, 3, 4, 1, 1)], Some(1), &[2, 2]),
        (by("deployment/rolling.go rolloutRolling", "all done, nothing to do"), 10, 2, 2, &[ok(0, 10, 12), ok(10, 10, 12)], Some(1), &[0, 10]),
        (by("deployment/rolling.go rolloutRolling", "unavailable new ones are left alone"), 10, 2, 2, &[ok(0, 10, 12), (10, 10, 12, 4, 6)], Some(1), &[0, 10]),
    ];
    for (rule, replicas, surge, unavailable, sets, new, expected) in rows {
        let spec = spec(*replicas, count(*surge), count(*unavailable));
        let state = sync(&spec, sets, *new);
        assert_eq!(sizes(&state), *expected, "{rule}");
    }
}

#[test]
fn one_scaling_step() {
    // sync.go scale, as in sync_test.go TestScale; sets oldest first.
    // (rule, replicas, surge, paused, sets, which is new, sizes after one sync)
    type Row<'a> = (Rule, u32, u32, bool, &'a [Set], Option<usize>, &'a [u32]);
    #[rustfmt::skip]
    let rows: &[Row<'_>] = &[
        (by("deployment/util.go FindActiveOrLatest", "one active, up"), 12, 0, false, &[ok(10, 10, 10)], Some(0), &[12]),
        (by("deployment/util.go FindActiveOrLatest", "one active, down"), 5, 0, false, &[ok(10, 10, 10)], Some(0), &[5]),
        (by("deployment/util.go FindActiveOrLatest", "the one active may be an old one"), 8, 0, false, &[ok(10, 10, 10)], None, &[8]),
        (by("deployment/util.go FindActiveOrLatest", "none active, the new one"), 5, 0, true, &[ok(0, 0, 0), ok(0, 0, 0)], Some(0), &[5, 0]),
        (by("deployment/util.go FindActiveOrLatest", "none active, none new, the youngest"), 5, 0, true, &[ok(0, 0, 0), ok(0, 0, 0)], None, &[0, 5]),
        (by("deployment/sync_test.go TestScale", "in proportion, 5 -> 10"), 10, 0, false, &[ok(3, 5, 5), ok(2, 5, 5)], Some(1), &[6, 4]),
        (by("deployment/sync_test.go TestScale", "in proportion, 5 -> 3"), 3, 0, false, &[ok(3, 5, 5), ok(2, 5, 5)], Some(1), &[2, 1]),
        (by("deployment/sync_test.go TestScale", "in proportion, 9 -> 4"), 4, 0, false, &[ok(1, 9, 9), (8, 9, 9, 4, 4)], Some(1), &[0, 4]),
        (by("deployment/sync_test.go TestScale", "in proportion, 7 -> 10"), 10, 0, false, &[ok(2, 7, 7), ok(3, 7, 7), ok(2, 7, 7)], Some(2), &[3, 4, 3]),
        (by("deployment/sync_test.go TestScale", "in proportion, 13 -> 8"), 8, 0, false, &[ok(3, 13, 13), ok(8, 13, 13), ok(2, 13, 13)], Some(2), &[2, 5, 1]),
        (by("deployment/sync_test.go TestScale", "what is left over, 3 -> 4, equal sizes: to the youngest"), 4, 0, false, &[ok(1, 3, 3), ok(1, 3, 3), ok(1, 3, 3)], Some(2), &[1, 1, 2]),
        (by("deployment/sync_test.go TestScale", "what is left over, 3 -> 2, equal sizes: from the oldest"), 2, 0, false, &[ok(1, 3, 3), ok(1, 3, 3), ok(1, 3, 3)], Some(2), &[0, 1, 1]),
        (by("deployment/sync_test.go TestScale", "no change, 4 -> 4 while paused"), 4, 0, true, &[ok(2, 4, 4), ok(2, 4, 4)], Some(1), &[2, 2]),
        (by("deployment/sync_test.go TestScale", "in proportion, to zero"), 0, 0, false, &[ok(2, 4, 4), ok(2, 4, 4)], Some(1), &[0, 0]),
        (by("deployment/sync_test.go TestScale", "size and surge change, 10+3 -> 50+6"), 50, 6, false, &[ok(3, 10, 13), ok(5, 10, 13), ok(5, 10, 13)], Some(2), &[12, 22, 22]),
        (by("deployment/sync_test.go TestScale", "size and template change, 10 -> 14"), 14, 0, false, &[ok(3, 10, 10), ok(7, 10, 10)], None, &[4, 10]),
        (by("deployment/util.go IsSaturated", "all new ones available, old ones go"), 2, 1, true, &[ok(1, 2, 3), ok(2, 2, 3)], Some(1), &[0, 2]),
        (by("deployment/util.go IsSaturated", "a broken new set does not drain the old one"), 2, 1, true, &[ok(1, 2, 3), (2, 2, 3, 0, 2)], Some(1), &[1, 2]),
        (by("deployment/sync.go scale", "the surge is spread too"), 3, 1, true, &[ok(2, 3, 3), ok(1, 3, 3)], Some(1), &[3, 1]),
        (by("deployment/util.go FindActiveOrLatest", "an old one that is alone active grows, also without a new one"), 4, 1, true, &[ok(2, 2, 3), ok(0, 2, 3)], None, &[4, 0]),
        (by("deployment/sync.go scale", "up from a smaller surge: the recorded maximum decides"), 10, 5, false, &[ok(5, 8, 10), ok(5, 8, 10)], Some(1), &[7, 8]),
        (by("deployment/sync.go scale", "what is left over is taken from the largest"), 2, 0, false, &[ok(3, 6, 6), ok(2, 6, 6), ok(1, 6, 6)], Some(2), &[1, 1, 0]),
        (by("deployment/sync.go scale", "never below none"), 1, 0, false, &[ok(1, 5, 5), ok(2, 5, 5), ok(2, 5, 5)], Some(2), &[1, 0, 0]),
        (by("deployment/util.go IsSaturated", "not by the count of before"), 3, 0, true, &[ok(1, 2, 2), ok(2, 2, 2)], Some(1), &[1, 2]),
        (by("deployment/sync.go isScalingEvent", "the same count is none"), 10, 0, false, &[ok(9, 10, 10), (1, 10, 10, 1, 0)], Some(1), &[8, 1]),
        (by("deployment/sync.go isScalingEvent", "empty sets do not count"), 10, 0, false, &[ok(0, 3, 3), ok(10, 10, 10)], Some(1), &[0, 10]),
    ];
    for (rule, replicas, surge, paused, sets, new, expected) in rows {
        let mut spec = spec(*replicas, count(*surge), count(1));
        spec.paused = *paused;
        let state = sync(&spec, sets, *new);
        assert_eq!(sizes(&state), *expected, "{rule}");
        let active = state.sets.iter().filter(|s| s.active());
        let recorded: Vec<u32> = active.map(|s| s.recorded.desired).collect();
        assert!(recorded.iter().all(|desired| desired == replicas), "{rule}: {recorded:?}");
    }
}

#[test]
fn one_recreate_step() {
    type Row<'a> = (Rule, &'a [Set], Option<usize>, &'a [u32]);
    #[rustfmt::skip]
    let rows: &[Row<'_>] = &[
        (by("deployment/recreate.go scaleDownOldReplicaSetsForRecreate", "the old ones go first"), &[ok(3, 3, 3)], None, &[0]),
        (by("deployment/recreate.go scaleDownOldReplicaSetsForRecreate", "all at once"), &[ok(1, 3, 3), ok(2, 3, 3)], None, &[0, 0]),
        (by("deployment/recreate.go oldPodsRunning", "waits"), &[(0, 3, 3, 0, 1)], None, &[0]),
        (by("deployment/recreate.go rolloutRecreate", "then the new one in full"), &[ok(0, 3, 3)], None, &[0, 3]),
        (by("deployment/recreate.go rolloutRecreate", "undo"), &[ok(0, 3, 3), ok(3, 3, 3)], Some(0), &[0, 0]),
        (by("deployment/recreate.go rolloutRecreate", "undo, all gone"), &[ok(0, 3, 3), ok(0, 3, 3)], Some(0), &[3, 0]),
        (by("deployment/sync.go scale", "one active"), &[ok(2, 2, 2)], Some(0), &[3]),
        (by("deployment/sync.go scale", "several are left to the roll-out"), &[ok(1, 2, 2), ok(1, 2, 2)], Some(1), &[0, 1]),
    ];
    for (rule, sets, new, expected) in rows {
        let mut spec = spec(3, count(0), count(0));
        spec.strategy = DeploymentStrategy::Recreate;
        let state = sync(&spec, sets, *new);
        assert_eq!(sizes(&state), *expected, "{rule}");
    }
}

#[test]
fn recreate_waits_for_the_last_old_process() {
    let mut spec = spec(3, count(0), count(0));
    spec.strategy = DeploymentStrategy::Recreate;
    let mut world = world(spec);
    world.watch = Some(|world| {
        let old = world.observed.iter().filter(|one| one.set == 1).count();
        let new = world.observed.iter().filter(|one| one.set == 2).count();
        assert!(old == 0 || new == 0, "{old} old beside {new} new");
    });
    world.apply("v2");
    assert_eq!((world.active(), world.observed.len()), (0, 3));
    world.pass_secs(5);
    assert_eq!((world.active_of("v2"), world.active()), (3, 3));
    // recreate.go oldPodsRunning: an old one that has ended is no obstacle.
    let template = template("v3");
    let context = Context { name: "api", template: &template, mode: Mode::Run, now: world.now };
    let ended: Observations =
        world.observed.iter().map(|one| one.clone().phase(Phase::Failed)).collect();
    let Deployment { spec, state } = &mut world.controller;
    reconcile(spec, &context, state, &ended);
    reconcile(spec, &context, state, &ended);
    assert_eq!(sizes(state), [0, 0, 3]);
}

#[test]
fn conditions_and_progress() {
    let reason = |world: &World<Deployment>, kind: &str| {
        let condition = world.controller.state.conditions.get(kind).cloned();
        condition.map_or_else(String::new, |c| format!("{}/{}", c.status.as_str(), c.reason))
    };
    let mut world =
        World::new(Deployment { spec: spec(3, count(1), count(0)), state: State::default() }, "v1");
    world.behaviours.insert("bad".to_owned(), BROKEN);
    let expect = |world: &mut World<Deployment>, rule: &str, available: &str, progress: &str| {
        world.settle();
        assert_eq!(reason(world, "Available"), available, "{rule}");
        assert_eq!(reason(world, "Progressing"), progress, "{rule}");
    };
    const ENOUGH: &str = "True/MinimumReplicasAvailable";
    const TOO_FEW: &str = "False/MinimumReplicasUnavailable";
    expect(
        &mut world,
        "progress.go DeploymentProgressing: instances came",
        TOO_FEW,
        "True/ReplicaSetUpdated",
    );
    world.pass_secs(5);
    expect(&mut world, "progress.go DeploymentComplete", ENOUGH, "True/NewReplicaSetAvailable");
    world.observed[0].ready_since = None;
    expect(
        &mut world,
        "progress.go: a later crash is no failed roll-out",
        TOO_FEW,
        "True/NewReplicaSetAvailable",
    );
    world.observed[0].restarts = 1;
    world.pass_secs(1000);
    expect(
        &mut world,
        "deployment_util.go DeploymentTimedOut: not after completion",
        TOO_FEW,
        "True/NewReplicaSetAvailable",
    );
    world.observed[0].ready_since = Some(world.now.mono);
    world.apply("bad");
    expect(&mut world, "sync.go getNewReplicaSet, then progress", ENOUGH, "True/ReplicaSetUpdated");
    world.pass_secs(600);
    expect(
        &mut world,
        "deployment_util.go DeploymentTimedOut: strictly after",
        ENOUGH,
        "True/ReplicaSetUpdated",
    );
    world.pass(Millis(200));
    expect(
        &mut world,
        "deployment_util.go DeploymentTimedOut",
        ENOUGH,
        "False/ProgressDeadlineExceeded",
    );
    assert!(world.controller.state.status().stalled);
    world.pass_secs(5000);
    assert_eq!(world.told(Reason::RolloutStalled), 1, "told once");
    world.controller.spec.paused = true;
    expect(
        &mut world,
        "sync.go checkPausedConditions: not over a time-out",
        ENOUGH,
        "False/ProgressDeadlineExceeded",
    );
    world.controller.spec.paused = false;
    world.apply("v1");
    assert!(!world.controller.state.status().stalled, "undo clears it");
    world.pass_secs(5);
    expect(&mut world, "progress.go: complete after undo", ENOUGH, "True/NewReplicaSetAvailable");
    world.controller.spec.paused = true;
    expect(&mut world, "sync.go checkPausedConditions: paused", ENOUGH, "Unknown/DeploymentPaused");
    world.pass_secs(5000);
    expect(
        &mut world,
        "sync.go checkPausedConditions: the clock stands",
        ENOUGH,
        "Unknown/DeploymentPaused",
    );
    world.controller.spec.paused = false;
    expect(
        &mut world,
        "sync.go checkPausedConditions: resumed and complete",
        ENOUGH,
        "True/NewReplicaSetAvailable",
    );
    world.controller.spec.progress_deadline = None;
    expect(&mut world, "progress.go: no deadline, no condition", ENOUGH, "");
    world.controller.spec.progress_deadline = Some(Millis::from_secs(60));
    expect(
        &mut world,
        "sync.go getNewReplicaSet: the deadline is back; complete",
        ENOUGH,
        "True/NewReplicaSetAvailable",
    );
    assert_eq!(world.told(Reason::RolloutComplete), 2, "v1, and v1 again after the undo");
}

#[test]
fn a_stalled_roll_out_goes_on_when_it_can() {
    let mut world = world(spec(3, count(1), count(0)));
    world.apply("bad");
    world.pass_secs(700);
    assert!(world.controller.state.status().stalled);
    let new = world.observed.iter_mut().find(|one| one.set == 2).unwrap();
    new.ready_since = Some(world.now.mono);
    world.settle();
    assert!(!world.controller.state.status().stalled, "progress.go: progress clears it");
    world.pass_secs(700);
    assert_eq!(world.told(Reason::RolloutStalled), 2, "and it may come again");
}

#[test]
fn resume_restarts_the_clock() {
    let mut world = world(spec(3, count(1), count(0)));
    world.apply("bad");
    world.pass_secs(500);
    world.controller.spec.paused = true;
    world.pass_secs(500);
    assert!(!world.controller.state.status().stalled, "sync.go: a pause is no lack of progress");
    world.controller.spec.paused = false;
    world.pass_secs(500);
    assert!(!world.controller.state.status().stalled, "sync.go checkPausedConditions");
    world.pass_secs(101);
    assert!(world.controller.state.status().stalled);
}

#[test]
fn a_broken_version_stops_by_itself_and_undo_brings_the_old_one_back() {
    let mut world = world(spec(4, count(1), count(1)));
    world.watch = Some(bounds);
    world.apply("bad");
    world.pass_secs(3600);
    assert_eq!((world.active_of("v1"), world.active_of("bad")), (3, 2));
    let history = world.controller.state.history();
    let back = super::super::history::undo_template(&history, None).unwrap();
    assert_eq!(back, template("v1"));
    world.apply("v1");
    world.pass_secs(10);
    assert_eq!((world.active_of("v1"), world.active()), (4, 4));
    let revisions: Vec<(u64, String)> = world
        .controller
        .state
        .history()
        .into_iter()
        .map(|entry| (entry.revision, entry.earlier))
        .collect();
    // deployment_util.go SetNewReplicaSetAnnotations
    assert_eq!(revisions, [(2, String::new()), (3, "1".to_owned())]);
    assert!(world.controller.state.status().rolled_out);
}

#[test]
fn a_third_version_in_mid_flight_takes_over() {
    let mut world = world(spec(6, count(2), count(1)));
    world.watch = Some(bounds);
    world.apply("bad");
    world.pass_secs(60);
    world.apply("v3");
    world.pass_secs(60);
    assert_eq!((world.active_of("v3"), world.active()), (6, 6));
    let history = world.controller.state.history();
    assert_eq!(
        history.iter().map(|e| (e.revision, e.instances)).collect::<Vec<_>>(),
        [(1, 0), (2, 0), (3, 6)]
    );
}

#[test]
fn scaling_in_mid_roll_out_keeps_the_proportion() {
    let mut world = world(spec(10, count(3), count(2)));
    world.apply("bad");
    world.pass_secs(60);
    assert_eq!((world.active_of("v1"), world.active_of("bad")), (8, 5));
    world.controller.spec.replicas = 15;
    world.settle();
    // docs: concepts/workloads/controllers/deployment, "Proportional scaling"
    assert_eq!((world.active_of("v1"), world.active_of("bad")), (11, 7));
}

#[test]
fn a_pause_holds_the_template_but_not_the_size() {
    let mut world = world(spec(3, count(1), count(0)));
    world.controller.spec.paused = true;
    world.apply("v2");
    world.pass_secs(10);
    assert_eq!((world.active_of("v1"), world.active()), (3, 3));
    let status = world.controller.state.status();
    assert!(!status.rolled_out && status.counts.updated == 0);
    world.controller.spec.replicas = 5;
    world.pass_secs(10);
    assert_eq!((world.active_of("v1"), world.active()), (5, 5), "sync.go sync: scale while paused");
    let slot = world.observed[0].name.clone();
    world.delete(&slot);
    assert_eq!(world.active_of("v1"), 5, "a lost one comes back at the old version");
    world.controller.spec.paused = false;
    world.pass_secs(60);
    assert_eq!((world.active_of("v2"), world.active()), (5, 5));
}

#[test]
fn nothing_is_made_of_what_is_paused_from_birth() {
    let mut paused = spec(3, count(1), count(0));
    paused.paused = true;
    let mut world = world(paused);
    assert!(world.observed.is_empty() && world.controller.state.history().is_empty());
    world.controller.spec.paused = false;
    world.pass_secs(10);
    assert_eq!(world.ready(), 3);
}

#[test]
fn min_ready_holds_the_roll_out_back() {
    let mut slow = spec(2, count(1), count(0));
    slow.min_ready = Millis::from_secs(30);
    let mut world = world(slow);
    assert!(!world.controller.state.status().rolled_out);
    world.pass_secs(60);
    assert!(world.controller.state.status().rolled_out, "rechecked without an event");
    world.watch = Some(bounds);
    world.apply("v2");
    world.pass(Millis(30_999));
    assert_eq!(world.active_of("v1"), 2);
    world.pass_secs(1);
    assert_eq!(world.active_of("v1"), 1);
    world.pass_secs(60);
    assert!(world.controller.state.status().rolled_out);
}

#[test]
fn a_stop_keeps_the_sizes() {
    let mut world = world(spec(4, count(1), count(1)));
    world.apply("bad");
    world.pass_secs(60);
    let before = sizes(&world.controller.state);
    world.mode = Mode::Stopped;
    world.settle();
    assert_eq!(world.active(), 0);
    assert_eq!(world.controller.state.status().counts.desired, 0);
    world.pass_secs(5000);
    assert!(world.observed.is_empty() && !world.controller.state.status().stalled);
    world.mode = Mode::Run;
    world.pass_secs(10);
    assert_eq!(sizes(&world.controller.state), before);
    assert_eq!((world.active_of("v1"), world.active_of("bad")), (3, 2), "as far as it was");
    world.mode = Mode::Stopped;
    world.pass_secs(10);
    world.mode = Mode::Run;
    world.take_log();
    world.apply("v3");
    world.pass_secs(10);
    assert_eq!(world.active_of("v3"), 4);
    let started = world.take_log();
    assert!(started.len() == 4, "no old one is started for its sake: {started:?}");
}

#[test]
fn scaled_while_stopped() {
    let mut world = world(spec(2, count(1), count(0)));
    world.mode = Mode::Stopped;
    world.pass_secs(10);
    world.controller.spec.replicas = 5;
    world.mode = Mode::Run;
    world.pass_secs(10);
    assert_eq!(world.ready(), 5);
}

#[test]
fn deleting_ends_when_all_are_gone() {
    let mut world = world(spec(2, count(1), count(0)));
    world.mode = Mode::Deleting;
    world.settle();
    assert!(!world.gone);
    world.pass_secs(1);
    assert!(world.gone && world.observed.is_empty());
}

#[test]
fn history_is_cleaned_up() {
    // (limit, versions before the last, revisions kept)
    let rows: [(u32, usize, &[u64]); 4] =
        [(10, 3, &[1, 2, 3, 4]), (2, 3, &[2, 3, 4]), (0, 3, &[4]), (u32::MAX, 3, &[1, 2, 3, 4])];
    for (limit, versions, kept) in rows {
        let mut world = world(spec(2, count(1), count(0)));
        world.controller.spec.revision_history_limit = limit;
        for version in 0..versions {
            world.apply(&format!("w{version}"));
            world.pass_secs(30);
        }
        let history = world.controller.state.history();
        let revisions: Vec<u64> = history.iter().map(|e| e.revision).collect();
        assert_eq!(revisions, kept, "sync.go cleanupDeployment, limit {limit}");
    }
}

#[test]
fn one_clean_up() {
    let paused = |replicas| DeploymentSpec { paused: true, ..spec(replicas, count(1), count(0)) };
    let rolling = || spec(3, count(1), count(0));
    let empty: Set = (0, 3, 4, 0, 0);
    let done = [empty, empty, empty, ok(3, 3, 4)];
    let in_use = [(1, 3, 4, 1, 0), empty, empty, ok(2, 3, 4)];
    let leaving = [(0, 3, 4, 0, 1), empty, empty, ok(3, 3, 4)];
    let under_way = [empty, empty, ok(3, 3, 4), (1, 3, 4, 0, 1)];
    let unready = [empty, empty, empty, (3, 3, 4, 2, 1)];
    // (rule, spec, limit, sets, their revisions, which is new, the revisions that are left)
    type Row<'a> =
        (Rule, DeploymentSpec, u32, &'a [Set], [Revision; 4], Option<usize>, &'a [Revision]);
    #[rustfmt::skip]
    let rows: Vec<Row<'_>> = vec![
        (by("deployment/sync.go cleanupDeployment", "the oldest beyond the limit"), rolling(), 1, &done, [1, 2, 3, 4], Some(3), &[3, 4]),
        (by("deployment/sync.go cleanupDeployment", "as many as the limit stay"), rolling(), 3, &done, [1, 2, 3, 4], Some(3), &[1, 2, 3, 4]),
        (by("deployment/sync.go cleanupDeployment", "the limit is of old ones: none, the new one stays"), rolling(), 0, &done, [1, 2, 3, 4], Some(3), &[4]),
        (by("deployment/util.go ReplicaSetsByRevision", "by their numbers, not by their age"), rolling(), 1, &done, [3, 1, 2, 4], Some(3), &[3, 4]),
        (by("deployment/util.go HasRevisionHistoryLimit", "no limit"), rolling(), u32::MAX, &done, [1, 2, 3, 4], Some(3), &[1, 2, 3, 4]),
        (by("deployment/sync.go cleanupDeployment", "one that is to have instances is skipped, not replaced by a younger one"), paused(3), 2, &in_use, [1, 2, 3, 4], Some(3), &[1, 2, 3, 4]),
        (by("deployment/sync.go cleanupDeployment", "but one beside it goes if it is beyond the limit itself"), paused(3), 1, &in_use, [1, 2, 3, 4], Some(3), &[1, 3, 4]),
        (by("deployment/sync.go cleanupDeployment", "one that still has instances is skipped too"), paused(3), 0, &leaving, [1, 2, 3, 4], Some(3), &[1, 4]),
        (by("deployment/rolling.go rolloutRolling", "nothing goes while a roll-out is under way"), rolling(), 0, &under_way, [1, 2, 3, 4], Some(3), &[1, 2, 3, 4]),
        (by("deployment/rolling.go rolloutRolling", "nor while the new ones are not available"), rolling(), 0, &unready, [1, 2, 3, 4], Some(3), &[1, 2, 3, 4]),
        (by("deployment/sync.go sync", "it goes while paused, whatever the roll-out"), paused(3), 0, &under_way, [1, 2, 3, 4], Some(3), &[3, 4]),
        (by("deployment/sync.go sync", "paused without a new one: all are old"), paused(3), 1, &done, [1, 2, 3, 4], None, &[4]),
    ];
    for (rule, mut spec, limit, sets, revisions, new, expected) in rows {
        spec.revision_history_limit = limit;
        let (mut state, observed) = with_sets(sets);
        for (set, revision) in state.sets.iter_mut().zip(revisions) {
            set.stored.revision = revision;
        }
        let template = template_at(new);
        let context = Context { name: "api", template: &template, mode: Mode::Run, now: START };
        reconcile(&spec, &context, &mut state, &observed.into_iter().collect());
        let left: Vec<Revision> = state.history().iter().map(|entry| entry.revision).collect();
        assert_eq!(left, expected, "{rule}");
    }
}

#[test]
fn which_set_is_the_new_one() {
    // (rule, the sets' templates with their revisions, the template, its set (from 1) and revision)
    type Row<'a> = (Rule, &'a [(&'a str, Revision)], &'a str, Option<(SetId, Revision)>);
    #[rustfmt::skip]
    let rows: &[Row<'_>] = &[
        (by("deployment/util.go FindNewReplicaSet", "the one that has its template"), &[("a", 1), ("b", 2)], "b", Some((2, 2))),
        (by("deployment/util.go FindNewReplicaSet", "of several the oldest"), &[("a", 1), ("b", 2), ("b", 3)], "b", Some((2, 4))),
        (by("deployment/util.go FindNewReplicaSet", "none"), &[("a", 1), ("b", 2)], "c", None),
        (by("deployment/util.go MaxRevision", "an earlier one gets the next number"), &[("a", 1), ("b", 2)], "a", Some((1, 3))),
        (by("deployment/util.go MaxRevision", "beyond the greatest of the others, not of all"), &[("a", 9), ("b", 2)], "a", Some((1, 9))),
        (by("deployment/util.go MaxRevision", "not lowered when the others are fewer"), &[("a", 7)], "a", Some((1, 7))),
        (by("deployment/sync.go getNewReplicaSet", "a new one gets the next number"), &[("a", 4), ("b", 9)], "c", None),
    ];
    for (rule, sets, text, expected) in rows {
        let (mut state, observed) = with_sets(&vec![ok(1, 1, 2); sets.len()]);
        for (set, (text, revision)) in state.sets.iter_mut().zip(*sets) {
            set.stored.template = template(text).into();
            set.stored.revision = *revision;
        }
        let greatest = state.newest_revision();
        let template = template(text);
        let context = Context { name: "api", template: &template, mode: Mode::Run, now: START };
        assert_eq!(state.find(&template), expected.map(|(id, _)| id), "{rule}");
        let all = observed.into_iter().collect();
        reconcile(&spec(1, count(1), count(0)), &context, &mut state, &all);
        let (id, revision) = expected.unwrap_or((sets.len() as SetId + 1, greatest + 1));
        assert_eq!(state.revision_of(id), Some(revision), "{rule}");
        assert_eq!(state.status().revision, revision, "{rule}");
    }
}

#[test]
fn edits_outside_the_template_make_no_revision() {
    let mut world = world(spec(2, count(1), count(0)));
    world.controller.spec.replicas = 3;
    world.controller.spec.revision_history_limit = 3;
    world.controller.spec.min_ready = Millis(5);
    world.controller.spec.strategy = DeploymentStrategy::Recreate;
    world.pass_secs(60);
    assert_eq!(world.controller.state.status().revision, 1);
    assert_eq!(world.active(), 3);
}

#[test]
fn scaling_notes_say_what_happened() {
    let mut world = world(spec(2, count(1), count(0)));
    world.notes.clear();
    world.controller.spec.replicas = 5;
    world.settle();
    world.controller.spec.replicas = 1;
    world.settle();
    let notes: Vec<String> =
        world.notes.iter().map(|n| format!("{:?} {}", n.reason, n.message)).collect();
    assert_eq!(notes, ["ScaledUp revision 1 from 2 to 5", "ScaledDown revision 1 from 5 to 1"]);
}

#[test]
fn strangers_go_and_the_ended_are_replaced() {
    let mut world = world(spec(2, count(1), count(0)));
    world.observed.push(instance(99, 77));
    world.observed[0].phase = Phase::Failed;
    world.observed[0].ready_since = None;
    world.settle();
    assert!(world.observed.iter().any(|one| one.slot == 99 && one.terminating));
    assert_eq!(world.active(), 2);
    assert!(world.observed.iter().all(|one| one.phase != Phase::Failed), "forgotten");
    world.observed[0].phase = Phase::GaveUp;
    world.observed[0].ready_since = None;
    let slot = world.observed[0].slot;
    world.settle();
    assert_eq!(world.observed[0].slot, slot, "one that gave up is not replaced");
    world.controller.spec.replicas = 1;
    world.settle();
    assert!(world.observed.iter().all(|one| one.slot != slot || one.terminating), "but goes first");
}

#[test]
fn state_survives_storage() {
    let mut world = world(spec(4, count(1), count(1)));
    world.apply("bad");
    world.pass_secs(60);
    let text = serde_json::to_string(&world.controller.state).unwrap();
    let back: State = serde_json::from_str(&text).unwrap();
    assert_eq!(back, world.controller.state);
    assert_eq!(serde_json::from_str::<State>("{}").unwrap(), State::default());
}

#[test]
fn a_pause_in_mid_recreate_starts_nothing_beside_the_old_ones() {
    // Kubernetes' sync.go scale would: none is active, so the new one is sized to the full.
    let mut spec = spec(2, count(0), count(0));
    spec.strategy = DeploymentStrategy::Recreate;
    let mut world = world(spec);
    world.apply("v2");
    world.pass_secs(5);
    world.apply("v1");
    world.controller.spec.paused = true;
    world.settle();
    assert_eq!((world.active(), world.observed.len()), (0, 2));
    world.pass_secs(5);
    assert_eq!(world.active_of("v1"), 2, "but when they are gone");
}
