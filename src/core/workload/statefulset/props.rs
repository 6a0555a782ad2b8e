//! What holds for a statefulset whatever happens, tried with random lives.

use super::super::replicaset::fake::*;
use super::*;
use crate::core::spec::{Amount, Retention};
use crate::core::time::Millis;
use proptest::prelude::*;

struct Checked {
    spec: StatefulSetSpec,
    state: State,
}

impl Controller for Checked {
    fn unit(&self) -> &'static str {
        "db"
    }

    /// Takes a step and checks what it does to those that are there.
    fn step(&mut self, context: &Context<'_>, observed: &[Observed]) -> Outcome {
        let outcome = reconcile(&self.spec, context, &mut self.state, observed);
        let ordinal = |one: &Observed| match one.identity {
            Identity::Ordinal(ordinal) => ordinal,
            _ => panic!("{one:?}"),
        };
        let now = context.now.mono;
        let available = |one: &Observed| one.active() && one.available(self.spec.min_ready, now);
        let range = self.spec.start_ordinal..self.spec.start_ordinal + self.spec.replicas;
        let up = |n: u32| observed.iter().any(|one| ordinal(one) == n && available(one));
        let ordered = self.spec.management_policy == ManagementPolicy::OrderedReady;
        let down = range.clone().filter(|n| !up(*n)).count();
        let mut taken_down = 0;
        for intent in &outcome.intents {
            match intent {
                Intent::Create { identity: Identity::Ordinal(n), .. } => {
                    assert_eq!(context.mode, Mode::Run);
                    assert!(range.contains(n), "{n} is not wanted");
                    assert!(observed.iter().all(|one| ordinal(one) != *n), "two of {n}");
                    let below = range.start..*n;
                    assert!(!ordered || below.clone().all(up), "{n} before one below it");
                }
                Intent::Delete { slot } if context.mode == Mode::Run => {
                    let one = observed.iter().find(|one| one.slot == *slot).unwrap();
                    let wanted = range.contains(&ordinal(one));
                    taken_down += usize::from(wanted && available(one));
                    let above = observed.iter().any(|o| ordinal(o) > ordinal(one));
                    assert!(wanted || !ordered || ordinal(one) < range.start || !above);
                }
                Intent::RemoveData { .. } => {
                    assert_ne!(context.mode, Mode::Stopped);
                    assert_eq!(self.spec.when_scaled, Retention::Delete);
                }
                _ => {}
            }
        }
        if let StatefulStrategy::RollingUpdate { max_unavailable, .. } = self.spec.strategy {
            let limit = update::limit(max_unavailable, self.spec.replicas) as usize;
            assert!(taken_down == 0 || taken_down + down <= limit, "{taken_down} + {down}");
        }
        outcome
    }

    fn template_of(&self, set: SetId) -> Option<&Arc<InstanceTemplate>> {
        self.state.template_of(set)
    }

    fn data_removed(&mut self, instance: &str) {
        self.state.data_removed(instance);
    }
}

#[derive(Clone, Debug)]
enum Op {
    Apply(&'static str),
    Scale(u32),
    Start(u32),
    Partition(u32),
    Pause(bool),
    Stop(bool),
    Delete(usize),
    Unready(usize),
    Pass(u64),
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => prop::sample::select(vec!["v1", "v2", "v3", "bad", "slow"]).prop_map(Op::Apply),
        2 => (0u32..6).prop_map(Op::Scale),
        1 => (0u32..3).prop_map(Op::Start),
        1 => (0u32..6).prop_map(Op::Partition),
        1 => any::<bool>().prop_map(Op::Pause),
        1 => any::<bool>().prop_map(Op::Stop),
        1 => (0usize..9).prop_map(Op::Delete),
        2 => (0usize..9).prop_map(Op::Unready),
        4 => (0u64..20_000).prop_map(Op::Pass),
        1 => Just(Op::Restart),
    ]
}

fn set_partition(world: &mut World<Checked>, to: u32) {
    if let StatefulStrategy::RollingUpdate { partition, .. } = &mut world.controller.spec.strategy {
        *partition = to;
    }
}

fn act(world: &mut World<Checked>, op: Op) {
    match op {
        Op::Apply(text) => world.template = template(text),
        Op::Scale(replicas) => world.controller.spec.replicas = replicas,
        Op::Start(ordinal) => world.controller.spec.start_ordinal = ordinal,
        Op::Partition(partition) => set_partition(world, partition),
        Op::Pause(paused) => world.controller.spec.paused = paused,
        Op::Stop(stopped) => world.mode = if stopped { Mode::Stopped } else { Mode::Run },
        Op::Delete(at) => {
            let there = world.observed.get(at).filter(|one| !one.terminating);
            if let Some(name) = there.map(|one| one.name.clone()) {
                world.delete(&name);
            }
        }
        Op::Unready(at) => {
            if let Some(one) = world.observed.get_mut(at) {
                one.ready_since = None;
            }
        }
        Op::Pass(ms) => world.pass(Millis(ms)),
        Op::Restart => {
            let text = serde_json::to_string(&world.controller.state).unwrap();
            world.controller.state = serde_json::from_str(&text).unwrap();
        }
    }
    world.settle();
}

/// With ordered management two broken ones that are to be scaled away block each other, as in
/// Kubernetes (control.go processCondemned), until an operator helps.
fn help_scale_down(world: &mut World<Checked>) {
    let spec = &world.controller.spec;
    let range = spec.start_ordinal..spec.start_ordinal + spec.replicas;
    let broken = world.observed.iter().filter(|one| {
        let Identity::Ordinal(ordinal) = one.identity else { return false };
        !range.contains(&ordinal) && one.active() && !one.ready()
    });
    let broken: Vec<String> = broken.map(|one| one.name.to_string()).collect();
    for name in broken {
        if world.observed.iter().any(|one| one.name == name && !one.terminating) {
            world.delete(&name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn order_holds_and_it_comes_to_rest(
        replicas in 0u32..6,
        parallel in any::<bool>(),
        max_unavailable in prop_oneof![Just(1u32), 1u32..4],
        min_ready in prop_oneof![Just(0u64), 0u64..5000],
        delete in any::<bool>(),
        limit in 0u32..3,
        ops in prop::collection::vec(op(), 1..25),
    ) {
        let spec = StatefulSetSpec {
            replicas,
            min_ready: Millis(min_ready),
            revision_history_limit: limit,
            management_policy: if parallel {
                ManagementPolicy::Parallel
            } else {
                ManagementPolicy::OrderedReady
            },
            strategy: StatefulStrategy::RollingUpdate {
                partition: 0,
                max_unavailable: Amount::Count(max_unavailable),
            },
            start_ordinal: 0,
            data_dir: None,
            when_deleted: Retention::Retain,
            when_scaled: if delete { Retention::Delete } else { Retention::Retain },
            paused: false,
        };
        let mut world = World::new(Checked { spec, state: State::default() }, "v1");
        world.behaviours.insert("bad".to_owned(), BROKEN);
        let slow = Behaviour { ready_after: Some(Millis(9000)), stop_takes: Millis(7000) };
        world.behaviours.insert("slow".to_owned(), slow);
        for op in ops {
            act(&mut world, op);
        }
        world.mode = Mode::Run;
        world.controller.spec.paused = false;
        set_partition(&mut world, 0);
        world.apply("v9");
        world.pass_secs(500);
        help_scale_down(&mut world);
        world.pass_secs(500);
        let replicas = world.controller.spec.replicas as usize;
        let state = &world.controller.state;
        prop_assert!(state.status().rolled_out, "{state:?} {:?}", world.observed);
        prop_assert_eq!(world.active_of("v9"), replicas);
        prop_assert_eq!(world.observed.len(), replicas);
        prop_assert!(state.revisions.len() <= limit as usize + 2, "history");
        prop_assert!(state.removing.is_empty() && state.doomed.is_empty());
        world.mode = Mode::Deleting;
        world.pass_secs(60);
        prop_assert!(world.gone);
    }
}
