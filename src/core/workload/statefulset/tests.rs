//! Tables of the rules of a statefulset, and whole lives. Each row names the Kubernetes source of
//! its rule (below `pkg/controller/statefulset`; `control.go` is `stateful_set_control.go`,
//! `utils.go` is `stateful_set_utils.go`).

use super::super::replicaset::fake::*;
use super::*;
use crate::core::report::Reason;
use crate::core::spec::{Amount, Retention};
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
