//! Tables of the rules of a ReplicaSet; each row names the Kubernetes source of its rule.

use super::super::history::store;
use super::fake::{Change, START, instance, template};
use super::*;
use crate::core::table::{Rule, by};
use crate::core::time::Millis;

/// The instance, since when it is ready (seconds ago), how often restarted, when made.
fn one(slot: u64, ready: Option<u64>, restarts: u32, age: u64) -> Observed {
    Observed {
        ready_since: ready.map(|ago| START.mono.minus(Millis::from_secs(ago))),
        restarts,
        created: START.mono.minus(Millis::from_secs(age)),
        ..instance(slot, 1)
    }
}

#[test]
fn whom_to_remove_first() {
    // controller_utils.go ActivePodsWithRanks.Less; the first of each pair goes first.
    let ready = |ago| one(1, Some(ago), 0, 100);
    #[rustfmt::skip]
    let rows = [
        (by("wsup", "given up before all"), one(1, None, 0, 100).phase(Phase::GaveUp), one(2, None, 0, 5).pending()),
        (by("controller_utils.go ActivePodsWithRanks", "2: Pending before Running"), one(1, None, 0, 100).pending(), one(2, None, 9, 5)),
        (by("controller_utils.go ActivePodsWithRanks", "2: Pending before Running, whatever its age"), one(1, None, 0, 900).pending(), ready(1)),
        (by("controller_utils.go ActivePodsWithRanks", "3: not ready before ready"), one(1, None, 0, 900), ready(1)),
        (by("controller_utils.go ActivePodsWithRanks", "3: not ready before ready, whatever the restarts"), one(1, None, 0, 900), one(2, Some(1), 9, 1)),
        (by("controller_utils.go ActivePodsWithRanks", "6: ready for a shorter time"), one(2, Some(10), 0, 900), one(1, Some(20), 9, 30)),
        (by("k8s-semantics 14", "6: exactly, not by powers of two"), one(2, Some(1000), 0, 2000), one(1, Some(1001), 0, 2000)),
        (by("controller_utils.go ActivePodsWithRanks", "7: more restarts"), one(1, Some(10), 3, 900), one(2, Some(10), 2, 20)),
        (by("controller_utils.go ActivePodsWithRanks", "7: more restarts, not ready ones too"), one(1, None, 3, 900), one(2, None, 2, 20)),
        (by("controller_utils.go ActivePodsWithRanks", "8: younger"), one(1, Some(10), 0, 20), one(2, Some(10), 0, 30)),
        (by("k8s-semantics 14", "8: exactly, not by powers of two"), one(1, None, 0, 1000), one(2, None, 0, 1001)),
        (by("controller_utils.go ActivePodsWithRanks", "8: else made later"), one(2, Some(10), 0, 20), one(1, Some(10), 0, 20)),
    ];
    for (rule, first, second) in rows {
        assert_eq!(removal_order(&first, &second), Ordering::Less, "{rule}");
        assert_eq!(removal_order(&second, &first), Ordering::Greater, "{rule}");
    }
}

fn intents(wanted: u32, observed: &[Observed]) -> Vec<String> {
    let observed: Observations = observed.iter().cloned().collect();
    let stored = store(1, 1, &template("a"), START.wall, &mut 0, &[]);
    let recorded = Recorded { desired: wanted, max: wanted };
    let set = ReplicaSet { stored, wanted, recorded, instances: Computed(0) };
    let mut outcome = Outcome::default();
    forget_ended(&observed, &mut outcome);
    reconcile("api", &set, &observed, &mut outcome);
    let say = |intent: &Intent| match intent {
        Intent::Create { name: NewName::Random(prefix), .. } => {
            assert_eq!(prefix, &format!("api-{}", set.stored.hash));
            "+".to_owned()
        }
        Intent::Delete { slot } => format!("-{slot}"),
        Intent::Forget { slot } => format!("~{slot}"),
        other => panic!("{other:?}"),
    };
    outcome.intents.iter().map(say).collect()
}

#[test]
fn keeping_a_size() {
    let a = instance(1, 1);
    let b = instance(2, 1);
    #[rustfmt::skip]
    let rows: Vec<(Rule, u32, Vec<Observed>, &[&str])> = vec![
        (by("replica_set.go manageReplicas", "missing ones are made"), 3, vec![a.clone()], &["+", "+"]),
        (by("replica_set.go manageReplicas", "surplus ones go"), 1, vec![a.clone(), b.clone()], &["-2"]),
        (by("replica_set.go manageReplicas", "as it should be"), 2, vec![a.clone(), b.clone()], &[]),
        (by("replica_set.go manageReplicas", "none wanted"), 0, vec![a.clone(), b.clone()], &["-2", "-1"]),
        (by("replica_set.go manageReplicas", "not ready ones are not replaced"), 1, vec![a.clone().unready()], &[]),
        (by("controller_utils.go IsPodActive", "a terminating one does not count"), 1, vec![a.clone().going()], &["+"]),
        (by("controller_utils.go IsPodActive", "nor is it asked again"), 0, vec![a.clone().going()], &[]),
        (by("controller_utils.go IsPodActive", "a failed one is replaced"), 1, vec![a.clone().phase(Phase::Failed)], &["~1", "+"]),
        (by("controller_utils.go IsPodActive", "a succeeded one too"), 1, vec![a.clone().phase(Phase::Succeeded)], &["~1", "+"]),
        (by("controller_utils.go IsPodActive", "one that goes and failed"), 1, vec![a.clone().phase(Phase::Failed).going()], &["+"]),
        (by("wsup", "one that gave up counts"), 1, vec![a.clone().phase(Phase::GaveUp)], &[]),
        (by("wsup", "one that gave up goes first"), 1, vec![a.clone().phase(Phase::GaveUp), b.clone().pending()], &["-1"]),
        (by("controller_ref_manager.go", "another set's do not count"), 1, vec![instance(3, 2)], &["+"]),
    ];
    for (rule, wanted, observed, expected) in rows {
        assert_eq!(intents(wanted, &observed), *expected, "{rule}");
    }
}

#[test]
fn a_step_is_bounded() {
    // replica_set.go BurstReplicas
    assert_eq!(intents(2000, &[]).len(), BURST);
    let many: Vec<Observed> = (1..1201).map(|slot| instance(slot, 1)).collect();
    assert_eq!(intents(100, &many).len(), BURST);
}

#[test]
fn who_counts() {
    let a = || instance(1, 1);
    // The kit's first instance has been ready for so long.
    const READY: u64 = 5_000_000 - 1000;
    // (rule, the instance, min_ready, active, ready, available)
    #[rustfmt::skip]
    let rows = [
        (by("controller_utils.go IsPodActive", "it runs"), a(), 0, true, true, true),
        (by("controller_utils.go IsPodActive", "it has not started yet"), a().pending(), 0, true, false, false),
        (by("controller_utils.go IsPodActive", "it succeeded"), a().phase(Phase::Succeeded), 0, false, false, false),
        (by("controller_utils.go IsPodActive", "it failed"), a().phase(Phase::Failed), 0, false, false, false),
        (by("controller_utils.go IsPodActive", "it is going"), a().going(), 0, false, false, false),
        (by("wsup", "it gave up"), a().phase(Phase::GaveUp), 0, true, false, false),
        (by("podutil.go IsPodAvailable", "min_ready is over to the moment"), a(), READY, true, true, true),
        (by("podutil.go IsPodAvailable", "a moment is missing"), a(), READY + 1, true, true, false),
        (by("podutil.go IsPodAvailable", "it is not ready"), a().unready(), READY, true, false, false),
        (by("podutil.go IsPodAvailable", "not ready is not available, whatever min_ready"), a().unready(), 0, true, false, false),
        (by("podutil.go IsPodAvailable", "ready again only now: it waits from now"), Observed { ready_since: Some(START.mono), ..a() }, 1, true, true, false),
        (by("podutil.go IsPodAvailable", "ready only now, and that is enough"), Observed { ready_since: Some(START.mono), ..a() }, 0, true, true, true),
    ];
    for (rule, one, min_ready, active, ready, available) in rows {
        assert_eq!(one.active(), active, "{rule}");
        let observed: Observations = [one].into_iter().collect();
        let tally = observed.tallies(Millis(min_ready), START.mono).of(1);
        let counted = (u32::from(active), u32::from(ready), u32::from(available), 1);
        assert_eq!((tally.active, tally.ready, tally.available, tally.present), counted, "{rule}");
    }
}

#[test]
fn counting() {
    let observed: Observations = [
        instance(1, 1),
        instance(2, 1).unready(),
        instance(3, 1).going(),
        instance(4, 1).phase(Phase::Failed),
        instance(5, 2).pending(),
    ]
    .into_iter()
    .collect();
    let now = START.mono;
    let tallies = observed.tallies(Millis::ZERO, now);
    assert_eq!(tallies.of(1), Tally { active: 2, ready: 1, available: 1, present: 4 });
    assert_eq!(tallies.of(2), Tally { active: 1, ready: 0, available: 0, present: 1 });
    // podutil IsPodAvailable: exactly min_ready after is available.
    let since = observed[0].ready_since.unwrap();
    let ready_for = now.since(since);
    assert_eq!(observed.tallies(ready_for, now).of(1).available, 1);
    assert_eq!(observed.tallies(ready_for.saturating_add(Millis(1)), now).of(1).available, 0);
    let mut outcome = Outcome::default();
    remove_all(observed.iter(), &mut outcome);
    assert_eq!(outcome.intents.len(), 4, "all but the one that goes");
}
