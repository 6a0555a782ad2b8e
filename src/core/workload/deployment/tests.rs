//! Tables of the rules of a deployment, and whole roll-outs. Each row names the Kubernetes source
//! of its rule (below `pkg/controller/deployment`).

use super::super::replicaset::fake::*;
use super::*;
use crate::core::report::Reason;
use crate::core::spec::{Amount, DeploymentStrategy};
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
        reconcile(&self.spec, context, &mut self.state, observed)
    }
    fn template_of(&self, set: SetId) -> Option<&Arc<InstanceTemplate>> {
        self.state.template_of(set)
    }
}

fn spec(replicas: u32, surge: Amount, unavailable: Amount) -> DeploymentSpec {
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
