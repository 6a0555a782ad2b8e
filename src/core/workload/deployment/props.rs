//! What holds for a deployment whatever happens, tried with random lives.

use super::super::Intent;
use super::super::replicaset::fake::*;
use super::*;
use crate::core::spec::{Amount, DeploymentStrategy};
use crate::core::time::Millis;
use proptest::prelude::*;

struct Checked {
    spec: DeploymentSpec,
    state: State,
}

impl Controller for Checked {
    fn unit(&self) -> &'static str {
        "api"
    }

    /// Takes a step and checks what it does to those that are there.
    fn step(&mut self, context: &Context<'_>, observed: &[Observed]) -> Outcome {
        let bounds = Bounds::of(&self.spec);
        let scaling = {
            let mut active = self.state.sets.iter().filter(|s| s.active());
            active.any(|s| s.recorded.desired != bounds.replicas)
        };
        let outcome =
            reconcile(&self.spec, context, &mut self.state, &observed.iter().cloned().collect());
        let now = context.now.mono;
        let deleted: Vec<u64> = outcome
            .intents
            .iter()
            .filter_map(|intent| match intent {
                Intent::Delete { slot } => Some(*slot),
                _ => None,
            })
            .collect();
        let created = outcome.intents.iter().filter(|i| matches!(i, Intent::Create { .. })).count();
        let stays = |one: &&Observed| one.active() && !deleted.contains(&one.slot);
        let active = observed.iter().filter(stays).count();
        assert!(
            created == 0 || (active + created) as u32 <= bounds.max_total(),
            "{created} are made beside {active}"
        );
        let available = |one: &&Observed| one.active() && one.available(self.spec.min_ready, now);
        let before = observed.iter().filter(available).count();
        let after =
            observed.iter().filter(available).filter(|o| !deleted.contains(&o.slot)).count();
        if context.mode == Mode::Run && bounds.rolling && !scaling && after < before {
            assert!(
                after as u32 >= bounds.min_available(),
                "rolling.go: {after} of {before} available are left, {:?}",
                self.state
            );
        }
        outcome
    }

    fn template_of(&self, set: SetId) -> Option<&Arc<InstanceTemplate>> {
        self.state.template_of(set)
    }
}

/// With Recreate never two templates at once, at any step.
fn one_template(world: &World<Checked>) {
    let bounds = Bounds::of(&world.controller.spec);
    if !bounds.rolling {
        let mut sets: Vec<SetId> = world.observed.iter().map(|one| one.set).collect();
        sets.sort_unstable();
        sets.dedup();
        assert!(sets.len() <= 1, "recreate.go: {sets:?} at once");
    }
}

#[derive(Clone, Debug)]
enum Op {
    Apply(&'static str),
    Scale(u32),
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
        2 => (0u32..9).prop_map(Op::Scale),
        1 => any::<bool>().prop_map(Op::Pause),
        1 => any::<bool>().prop_map(Op::Stop),
        1 => (0usize..9).prop_map(Op::Delete),
        2 => (0usize..9).prop_map(Op::Unready),
        4 => (0u64..20_000).prop_map(Op::Pass),
        1 => Just(Op::Restart),
    ]
}

fn strategy() -> impl Strategy<Value = DeploymentStrategy> {
    let rolling = |(max_surge, max_unavailable)| DeploymentStrategy::RollingUpdate {
        max_surge,
        max_unavailable,
    };
    let amount =
        || prop_oneof![(0u32..4).prop_map(Amount::Count), (0u32..101).prop_map(Amount::Percent)];
    prop_oneof![
        5 => (amount(), amount()).prop_map(rolling),
        1 => Just(DeploymentStrategy::Recreate),
    ]
}

fn act(world: &mut World<Checked>, op: Op) {
    match op {
        Op::Apply(text) => world.template = template(text),
        Op::Scale(replicas) => world.controller.spec.replicas = replicas,
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
    // Never more than replicas and surge, once it has settled. On the way down from a greater size the
    // first step may leave some too many (sync.go scale: what is left over is taken from one set, which
    // may not have so many), and the next takes them; none is ever made beyond the bound.
    if world.mode == Mode::Run {
        let most = Bounds::of(&world.controller.spec).max_total();
        assert!(world.active() as u32 <= most, "{} active", world.active());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn bounds_hold_and_it_comes_to_rest(
        replicas in 0u32..9,
        strategy in strategy(),
        min_ready in prop_oneof![Just(0u64), 0u64..5000],
        limit in 0u32..4,
        ops in prop::collection::vec(op(), 1..25),
    ) {
        let spec = DeploymentSpec {
            replicas,
            min_ready: Millis(min_ready),
            revision_history_limit: limit,
            strategy,
            progress_deadline: Some(Millis::from_secs(60)),
            paused: false,
        };
        let mut world = World::new(Checked { spec, state: State::default() }, "v1");
        world.behaviours.insert("bad".to_owned(), BROKEN);
        let slow = Behaviour { ready_after: Some(Millis(9000)), stop_takes: Millis(7000) };
        world.behaviours.insert("slow".to_owned(), slow);
        world.watch = Some(one_template);
        for op in ops {
            act(&mut world, op);
        }
        world.mode = Mode::Run;
        world.controller.spec.paused = false;
        world.apply("v9");
        world.pass_secs(1000);
        let status = world.controller.state.status();
        prop_assert!(status.rolled_out && !status.stalled, "{:?}", world.controller.state);
        prop_assert_eq!(world.active_of("v9"), world.controller.spec.replicas as usize);
        prop_assert_eq!(world.observed.len(), world.controller.spec.replicas as usize);
        prop_assert!(world.controller.state.sets.len() <= limit as usize + 1, "history");
        world.mode = Mode::Deleting;
        world.pass_secs(60);
        prop_assert!(world.gone);
    }
}
