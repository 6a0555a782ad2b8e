//! What holds for a daemonset whatever happens, tried with random lives.

use super::super::replicaset::fake::*;
use super::*;
use crate::core::spec::{Amount, Nodes};
use proptest::prelude::*;

const NODES: [&str; 5] = ["a", "b", "c", "d", "e"];

struct Checked {
    spec: DaemonSetSpec,
    state: State,
    nodes: BTreeMap<String, Option<String>>,
}

impl Controller for Checked {
    fn unit(&self) -> &'static str {
        "agent"
    }

    /// Takes a step and checks what it does to those that are there.
    fn step(&mut self, context: &Context<'_>, observed: &[Observed]) -> Outcome {
        let outcome = reconcile(&self.spec, context, &mut self.state, observed, &self.nodes);
        let node = |one: &Observed| match &one.identity {
            Identity::Node { name, .. } => name.clone(),
            _ => panic!("{one:?}"),
        };
        let now = context.now.mono;
        let deleted: Vec<u64> = outcome
            .intents
            .iter()
            .filter_map(|intent| match intent {
                Intent::Delete { slot } => Some(*slot),
                _ => None,
            })
            .collect();
        let up = |without: &[u64]| {
            let available = |one: &&Observed| {
                one.active()
                    && one.available(self.spec.min_ready, now)
                    && !without.contains(&one.slot)
            };
            let up = |name: &&String| observed.iter().filter(available).any(|o| node(o) == **name);
            self.nodes.keys().filter(up).count()
        };
        let (before, after) = (up(&[]), up(&deleted));
        if context.mode == Mode::Run && after < before {
            let total = self.nodes.len();
            let limit = match self.spec.strategy {
                DaemonStrategy::RollingUpdate { max_unavailable, .. } => {
                    max_unavailable.ceil_of(total as u32) as usize
                }
                DaemonStrategy::OnDelete => panic!("not of itself"),
            };
            // Kubernetes does not count old ones that are not available: they go in any case.
            let free = observed.iter().filter(|one| {
                one.active()
                    && Some(one.set) != self.state.update
                    && !one.available(self.spec.min_ready, now)
            });
            let limit = limit + free.count();
            assert!(total - after <= limit, "update.go: {after} of {before} up, limit {limit}");
        }
        outcome
    }

    fn template_of(&self, set: SetId) -> Option<&Arc<InstanceTemplate>> {
        self.state.template_of(set)
    }
}

/// Never two processes on a node without surge, never three with it (the third one goes).
fn bounds(world: &World<Checked>) {
    let surge = world.controller.spec.strategy;
    let surges =
        matches!(surge, DaemonStrategy::RollingUpdate { max_surge, .. } if !max_surge.is_zero());
    for node in NODES {
        let on =
            |one: &&Observed| matches!(&one.identity, Identity::Node { name, .. } if name == node);
        let there = world.observed.iter().filter(on).count();
        assert!(there <= 1 || surges, "{there} on {node}");
        let active = world.observed.iter().filter(on).filter(|one| one.active()).count();
        assert!(active <= 2, "{active} on {node}");
    }
}

#[derive(Clone, Debug)]
enum Op {
    Apply(&'static str),
    Nodes(Vec<&'static str>),
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
        2 => prop::sample::subsequence(NODES.to_vec(), 0..=5).prop_map(Op::Nodes),
        1 => any::<bool>().prop_map(Op::Pause),
        1 => any::<bool>().prop_map(Op::Stop),
        1 => (0usize..9).prop_map(Op::Delete),
        2 => (0usize..9).prop_map(Op::Unready),
        4 => (0u64..20_000).prop_map(Op::Pass),
        1 => Just(Op::Restart),
    ]
}

fn nodes(names: &[&str]) -> BTreeMap<String, Option<String>> {
    names.iter().map(|name| ((*name).to_owned(), None)).collect()
}

fn act(world: &mut World<Checked>, op: Op) {
    match op {
        Op::Apply(text) => world.template = template(text),
        Op::Nodes(names) => world.controller.nodes = nodes(&names),
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn bounds_hold_and_it_comes_to_rest(
        surge in 0u32..3,
        unavailable in 1u32..4,
        min_ready in prop_oneof![Just(0u64), 0u64..5000],
        limit in 0u32..3,
        ops in prop::collection::vec(op(), 1..25),
    ) {
        let spec = DaemonSetSpec {
            nodes: Nodes::Cpus,
            min_ready: Millis(min_ready),
            revision_history_limit: limit,
            strategy: DaemonStrategy::RollingUpdate {
                max_surge: Amount::Count(surge),
                max_unavailable: Amount::Count(if surge > 0 { 0 } else { unavailable }),
            },
            paused: false,
        };
        let checked = Checked { spec, state: State::default(), nodes: nodes(&["a", "b", "c"]) };
        let mut world = World::new(checked, "v1");
        world.behaviours.insert("bad".to_owned(), BROKEN);
        let slow = Behaviour { ready_after: Some(Millis(9000)), stop_takes: Millis(7000) };
        world.behaviours.insert("slow".to_owned(), slow);
        world.watch = Some(bounds);
        for op in ops {
            act(&mut world, op);
        }
        world.mode = Mode::Run;
        world.controller.spec.paused = false;
        world.apply("v9");
        world.pass_secs(1000);
        let state = &world.controller.state;
        prop_assert!(state.status().rolled_out, "{state:?} {:?}", world.observed);
        prop_assert_eq!(world.active_of("v9"), world.controller.nodes.len());
        prop_assert_eq!(world.observed.len(), world.controller.nodes.len());
        prop_assert!(state.revisions.len() <= limit as usize + 1, "history");
        world.mode = Mode::Deleting;
        world.pass_secs(60);
        prop_assert!(world.gone);
    }
}
