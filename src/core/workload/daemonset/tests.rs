//! Tables of the rules of a daemonset, and whole roll-outs. Each row names the Kubernetes source
//! of its rule (below `pkg/controller/daemon`; `controller.go` is `daemon_controller.go`).

use super::super::replicaset::fake::*;
use super::*;
use crate::core::report::Reason;
use crate::core::spec::{Amount, Nodes};

struct Daemons {
    spec: DaemonSetSpec,
    state: State,
    nodes: BTreeMap<String, Option<String>>,
}

impl Controller for Daemons {
    fn unit(&self) -> &'static str {
        "agent"
    }
    fn step(&mut self, context: &Context<'_>, observed: &[Observed]) -> Outcome {
        reconcile(&self.spec, context, &mut self.state, observed, &self.nodes)
    }
    fn template_of(&self, set: SetId) -> Option<&Arc<InstanceTemplate>> {
        self.state.template_of(set)
    }
}

fn spec(surge: u32, unavailable: u32) -> DaemonSetSpec {
    DaemonSetSpec {
        nodes: Nodes::Cpus,
        min_ready: Millis::ZERO,
        revision_history_limit: 10,
        strategy: DaemonStrategy::RollingUpdate {
            max_surge: Amount::Count(surge),
            max_unavailable: Amount::Count(unavailable),
        },
        paused: false,
    }
}

fn nodes(names: &[&str]) -> BTreeMap<String, Option<String>> {
    names.iter().map(|name| ((*name).to_owned(), None)).collect()
}

fn world(spec: DaemonSetSpec, names: &[&str]) -> World<Daemons> {
    let controller = Daemons { spec, state: State::default(), nodes: nodes(names) };
    let mut world = World::new(controller, "v1");
    world.behaviours.insert("bad".to_owned(), BROKEN);
    world.pass_secs(10);
    world.take_log();
    world
}

#[test]
fn a_roll_out_takes_one_node_at_a_time() {
    let mut world = world(spec(0, 1), &["a", "b", "c"]);
    assert_eq!(world.ready(), 3);
    world.watch = Some(|world| assert!(world.ready() >= 2));
    world.apply("v2");
    world.pass_secs(60);
    assert_eq!(
        world.take_log(),
        ["-agent-a", "+agent-a", "-agent-b", "+agent-b", "-agent-c", "+agent-c"]
    );
    assert!(world.controller.state.status().rolled_out);
    assert_eq!((world.told(Reason::RolloutStarted), world.told(Reason::RolloutComplete)), (2, 2));
}
