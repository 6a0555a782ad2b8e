//! Tables of the rules of a daemonset, and whole roll-outs. Each row names the Kubernetes source
//! of its rule (below `pkg/controller/daemon`; `controller.go` is `daemon_controller.go`).

use super::super::replicaset::fake::*;
use super::*;
use crate::core::report::Reason;
use crate::core::spec::{Amount, Nodes};
use crate::core::table::{Rule, by};

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

const OLD: SetId = 1;
const NEW: SetId = 2;

/// Ready, of the old revision.
fn old(slot: u64, node: &str) -> Observed {
    instance(slot, OLD).node(node)
}

/// Ready, of the new revision.
fn new(slot: u64, node: &str) -> Observed {
    instance(slot, NEW).node(node)
}

/// A state that rolls from OLD to NEW.
fn rolling_state(observed: &[Observed]) -> State {
    let mut state = State::default();
    state.revisions.adopt(&template("v1"), START.wall);
    state.revisions.adopt(&template("v2"), START.wall);
    state.update = Some(NEW);
    state.seen.updated(observed);
    state
}

fn say(intents: &[Intent], observed: &[Observed]) -> Vec<String> {
    let name = |slot: &u64| {
        let one = observed.iter().find(|o| o.slot == *slot).unwrap();
        format!("{}/{slot}", one.name.trim_start_matches("agent-"))
    };
    let said = intents.iter().filter_map(|intent| match intent {
        Intent::Create { set, name: NewName::Fixed(name), .. } => Some(format!("+{name}@{set}")),
        Intent::Create { set, name: NewName::Random(name), .. } => Some(format!("+{name}?@{set}")),
        Intent::Delete { slot } => Some(format!("-{}", name(slot))),
        Intent::Forget { slot } => Some(format!("~{}", name(slot))),
        Intent::Tell(_) => None,
        other => panic!("{other:?}"),
    });
    said.collect()
}

fn sync(spec: &DaemonSetSpec, mode: Mode, names: &[&str], observed: &[Observed]) -> Vec<String> {
    let mut state = rolling_state(observed);
    let context = Context { name: "agent", template: &template("v2"), mode, now: START };
    let outcome = reconcile(spec, &context, &mut state, observed, &nodes(names));
    say(&outcome.intents, observed)
}

/// Rule, spec, nodes, what is there, what is intended.
type Row<'a> = (Rule, DaemonSetSpec, &'a [&'a str], Vec<Observed>, &'a [&'a str]);

fn check(rows: Vec<Row<'_>>) {
    for (rule, spec, names, observed, expected) in rows {
        assert_eq!(sync(&spec, Mode::Run, names, &observed), *expected, "{rule}");
    }
}

fn on_delete() -> DaemonSetSpec {
    DaemonSetSpec { strategy: DaemonStrategy::OnDelete, ..spec(0, 1) }
}

#[test]
fn managing_nodes() {
    #[rustfmt::skip]
    check(vec![
        (by("daemon_controller.go podsShouldBeOnNode", "one on each node"), spec(0, 1), &["a", "b"], vec![], &["+agent-a@2", "+agent-b@2"]),
        (by("daemon_controller.go podsShouldBeOnNode", "as it should be"), spec(0, 1), &["a"], vec![new(1, "a")], &[]),
        (by("daemon_controller.go podsShouldBeOnNode", "no such node any more"), spec(0, 1), &["a"], vec![new(1, "a"), new(2, "b")], &["-b/2"]),
        (by("daemon_controller.go podsShouldBeOnNode", "none at all"), spec(0, 1), &[], vec![new(1, "a")], &["-a/1"]),
        (by("daemon_controller.go podsShouldBeOnNode", "gone and back, the old one still goes"), spec(0, 1), &["a"], vec![new(1, "a").going()], &[]),
        (by("daemon_controller.go podsShouldBeOnNode", "also with surge"), spec(1, 0), &["a"], vec![new(1, "a").going()], &[]),
        (by("daemon_controller.go podsShouldBeOnNode", "Failed"), spec(0, 1), &["a"], vec![new(1, "a").phase(Phase::Failed)], &["~a/1"]),
        (by("daemon_controller.go podsShouldBeOnNode", "Succeeded"), spec(0, 1), &["a"], vec![new(1, "a").phase(Phase::Succeeded)], &["~a/1"]),
        (by("daemon_controller.go podsShouldBeOnNode", "Failed and going"), spec(0, 1), &["a"], vec![new(1, "a").phase(Phase::Failed).going()], &[]),
        (by("wsup", "one that gave up waits for an operator"), spec(0, 1), &["a"], vec![new(1, "a").phase(Phase::GaveUp)], &[]),
        (by("daemon_controller.go podsShouldBeOnNode", "of two the oldest stays"), spec(0, 1), &["a"], vec![new(1, "a"), new(2, "a")], &["-a/2"]),
        (by("daemon_controller.go podsShouldBeOnNode", "of any revision"), spec(0, 1), &["a"], vec![old(1, "a"), new(2, "a")], &["-a/2"]),
        (by("daemon_controller.go podsShouldBeOnNode", "surge, old works, new not yet"), spec(1, 0), &["a"], vec![old(1, "a"), new(2, "a").unready()], &[]),
        (by("daemon_controller.go podsShouldBeOnNode", "surge, old does not work"), spec(1, 0), &["a"], vec![old(1, "a").unready(), new(2, "a").unready()], &["-a/1"]),
        (by("daemon_controller.go podsShouldBeOnNode", "surge, new works"), spec(1, 0), &["a"], vec![old(1, "a"), new(2, "a")], &["-a/1"]),
        (by("daemon_controller.go podsShouldBeOnNode", "surge, two old ones"), spec(1, 0), &["a"], vec![old(1, "a"), old(2, "a")], &["-a/2"]),
        (by("daemon_controller.go podsShouldBeOnNode", "surge, two new ones"), spec(1, 0), &["a"], vec![new(1, "a"), new(2, "a")], &["-a/2"]),
        (by("daemon_controller.go podsShouldBeOnNode", "surge, two of each"), spec(1, 0), &["a"], vec![old(1, "a"), old(2, "a"), new(3, "a").unready(), new(4, "a").unready()], &["-a/4", "-a/2"]),
        (by("daemon_controller.go updateDaemonSet", "an empty node gets the newest"), on_delete(), &["a", "b"], vec![old(1, "a")], &["+agent-b@2"]),
        (by("wsup", "a foreign instance goes"), spec(0, 1), &[], vec![instance(1, NEW)], &["-i-1/1"]),
    ]);
}

#[test]
fn replacing() {
    let three: &[&str] = &["a", "b", "c"];
    let all_old = || vec![old(1, "a"), old(2, "b"), old(3, "c")];
    let percent = |n| DaemonSetSpec {
        strategy: DaemonStrategy::RollingUpdate {
            max_surge: Amount::Count(0),
            max_unavailable: Amount::Percent(n),
        },
        ..spec(0, 1)
    };
    let paused = DaemonSetSpec { paused: true, ..spec(0, 1) };
    let slow = DaemonSetSpec { min_ready: Millis::from_secs(100_000), ..spec(0, 1) };
    #[rustfmt::skip]
    check(vec![
        (by("daemon/update.go rollingUpdate", "as many as the budget"), spec(0, 2), three, all_old(), &["-a/1", "-b/2"]),
        (by("daemon/update.go rollingUpdate", "a new one that is not available spends it"), spec(0, 1), three, vec![new(1, "a").unready(), old(2, "b"), old(3, "c")], &[]),
        (by("daemon/update.go rollingUpdate", "in part"), spec(0, 2), three, vec![new(1, "a").unready(), old(2, "b"), old(3, "c")], &["-b/2"]),
        (by("daemon/update.go rollingUpdate", "one that is available does not"), spec(0, 1), three, vec![new(1, "a"), old(2, "b"), old(3, "c")], &["-b/2"]),
        (by("daemon/update.go rollingUpdate", "one that goes spends it"), spec(0, 1), three, vec![old(1, "a").going(), old(2, "b"), old(3, "c")], &[]),
        (by("daemon/update.go rollingUpdate", "old ones that are not available go outside the budget"), spec(0, 1), three, vec![old(1, "a").unready(), old(2, "b").unready(), old(3, "c")], &["-a/1", "-b/2", "-c/3"]),
        (by("daemon/update.go rollingUpdate", "also when it is spent"), spec(0, 1), three, vec![new(1, "a").unready(), old(2, "b").unready(), old(3, "c")], &["-b/2"]),
        (by("daemon/update.go rollingUpdate", "one that was only just made spends it"), spec(0, 1), three, vec![new(1, "a").pending(), old(2, "b"), old(3, "c")], &[]),
        (by("daemon/update.go rollingUpdate", "an old one that has not started yet goes outside it"), spec(0, 1), &["a", "b"], vec![new(1, "a").unready(), old(2, "b").pending()], &["-b/2"]),
        (by("daemon/update.go rollingUpdate", "a budget beyond the nodes"), spec(0, 9), three, all_old(), &["-a/1", "-b/2", "-c/3"]),
        (by("wsup", "by the nodes' names"), spec(0, 1), &["b", "a"], vec![old(1, "b"), old(2, "a")], &["-a/2"]),
        (by("wsup", "one that gave up is such"), spec(0, 1), three, vec![new(1, "a").unready(), old(2, "b").phase(Phase::GaveUp), old(3, "c")], &["-b/2"]),
        (by("daemon/update.go updatedDesiredNodeCounts", "percent, up"), percent(34), three, all_old(), &["-a/1", "-b/2"]),
        (by("daemon/update.go updatedDesiredNodeCounts", "percent, up to all"), percent(100), three, all_old(), &["-a/1", "-b/2", "-c/3"]),
        (by("daemon/update.go updatedDesiredNodeCounts", "both nothing is one"), spec(0, 0), three, all_old(), &["-a/1"]),
        (by("daemon/update.go rollingUpdate", "done"), spec(0, 1), &["a"], vec![new(1, "a")], &[]),
        (by("daemon/update.go rollingUpdate", "min_ready"), slow, &["a", "b"], vec![new(1, "a"), old(2, "b")], &["-b/2"]),
        (by("daemon_controller.go updateDaemonSet", "empty nodes first"), spec(0, 3), three, vec![old(1, "a"), old(2, "b")], &["+agent-c@2"]),
        (by("daemon_controller.go updateDaemonSet", "OnDelete takes no step"), on_delete(), three, all_old(), &[]),
        (by("wsup", "paused"), paused, three, all_old(), &[]),
    ]);
}

#[test]
fn surging() {
    let three: &[&str] = &["a", "b", "c"];
    let all_old = || vec![old(1, "a"), old(2, "b"), old(3, "c")];
    #[rustfmt::skip]
    check(vec![
        (by("daemon/update.go rollingUpdate", "a second one on as many as the budget"), spec(2, 0), three, all_old(), &["+agent-a?@2", "+agent-b?@2"]),
        (by("daemon/update.go rollingUpdate", "those that wait spend it"), spec(1, 0), three, vec![old(1, "a"), new(4, "a").unready(), old(2, "b"), old(3, "c")], &[]),
        (by("daemon/update.go rollingUpdate", "old ones that are not available outside it"), spec(1, 0), three, vec![old(1, "a").unready(), old(2, "b").unready(), old(3, "c")], &["+agent-a?@2", "+agent-b?@2", "+agent-c?@2"]),
        (by("daemon/update.go rollingUpdate", "a new one alone spends nothing"), spec(1, 0), three, vec![new(1, "a").unready(), old(2, "b"), old(3, "c")], &["+agent-b?@2"]),
        (by("daemon/update.go rollingUpdate", "where the new one works the old one goes, and the next node begins"), spec(1, 0), &["a", "b"], vec![new(1, "a"), old(2, "b")], &["+agent-b?@2"]),
        (by("daemon/update.go rollingUpdate", "a surge beyond the nodes"), spec(9, 0), three, all_old(), &["+agent-a?@2", "+agent-b?@2", "+agent-c?@2"]),
        (by("daemon/update.go rollingUpdate", "surge, one that goes leaves the node to manage"), spec(1, 0), &["a", "b"], vec![old(1, "a").going(), old(2, "b")], &["+agent-b?@2"]),
        (by("daemon/update.go rollingUpdate", "surge, done"), spec(1, 0), &["a"], vec![new(1, "a")], &[]),
        (by("wsup", "the name is free where the old one has another"), spec(1, 0), &["a"], vec![Observed { name: "agent-a-xxxxx".into(), ..old(1, "a") }], &["+agent-a@2"]),
    ]);
}

#[test]
fn stopping() {
    let there = vec![old(1, "a"), new(2, "b").unready(), new(3, "c").going(), new(4, "z")];
    let expected = ["-a/1", "-b/2", "-z/4"];
    assert_eq!(sync(&spec(0, 1), Mode::Stopped, &["a", "b", "c"], &there), expected);
    assert_eq!(sync(&spec(0, 1), Mode::Deleting, &["a", "b", "c"], &there), expected);
}

#[test]
fn failures_back_off_by_node() {
    // controller.go failedPodsBackoff: 1 s, doubling to 15 min; client-go backoff.go.
    let mut state = State::default();
    let template = template("v1");
    let mut now = START;
    let mut delays = Vec::new();
    for slot in 1..15 {
        let failed = [instance(slot, 1).node("a").phase(Phase::Failed)];
        let started = now;
        loop {
            let context = Context { name: "agent", template: &template, mode: Mode::Run, now };
            let outcome = reconcile(&spec(0, 1), &context, &mut state, &failed, &nodes(&["a"]));
            if !say(&outcome.intents, &failed).is_empty() {
                break;
            }
            now = now.plus(outcome.recheck.unwrap().since(now.mono));
        }
        delays.push(now.mono.since(started.mono).as_secs());
    }
    assert_eq!(delays, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]);
    // IsInBackOffSinceUpdate: after twice the longest delay it begins anew.
    now = now.plus(Millis(30 * 60_000 + 1));
    let context = Context { name: "agent", template: &template, mode: Mode::Run, now };
    reconcile(&spec(0, 1), &context, &mut state, &[], &nodes(&["a"]));
    assert!(state.failures.is_empty());
}

#[test]
fn nodes_come_and_go() {
    let mut world = world(spec(0, 1), &["a"]);
    world.controller.nodes =
        BTreeMap::from([("a".to_owned(), None), ("b".to_owned(), Some("/dev/b".to_owned()))]);
    world.pass_secs(5);
    assert_eq!(world.take_log(), ["+agent-b"]);
    let path = Some("/dev/b".to_owned());
    assert_eq!(world.named("agent-b").identity, Identity::Node { name: "b".to_owned(), path });
    world.controller.nodes = nodes(&["b"]);
    world.settle();
    assert_eq!(world.controller.state.status().counts.desired, 1);
    world.controller.nodes = nodes(&["a", "b"]);
    world.pass_secs(5);
    assert_eq!(world.take_log(), ["-agent-a", "+agent-a"], "back only when it is gone");
}

#[test]
fn surge_never_leaves_a_node_without_one() {
    let mut world = world(spec(1, 0), &["a", "b", "c"]);
    world.watch = Some(|world| {
        assert!(world.ready() >= 3);
        assert!(world.active() <= 4);
    });
    world.apply("v2");
    world.pass_secs(60);
    assert_eq!((world.active_of("v2"), world.active()), (3, 3));
    assert!(world.controller.state.status().rolled_out);
    world.apply("v3");
    world.pass_secs(60);
    assert!(world.observed.iter().any(|one| one.name == "agent-a"), "the plain name again");
}

#[test]
fn a_broken_update_stops_by_itself_and_undo_works() {
    for (surge, unavailable) in [(0, 1), (1, 0)] {
        let mut world = world(spec(surge, unavailable), &["a", "b", "c"]);
        world.apply("bad");
        world.pass_secs(600);
        assert_eq!((world.active_of("v1"), world.active_of("bad")), (2 + surge as usize, 1));
        world.apply("v1");
        world.pass_secs(60);
        assert_eq!((world.active_of("v1"), world.active()), (3, 3));
        assert_eq!(world.controller.state.status().revision, 3);
    }
}

#[test]
fn a_stop_in_mid_roll_out_does_not_finish_it() {
    let mut world = world(spec(0, 1), &["a", "b", "c"]);
    world.apply("bad");
    world.pass_secs(60);
    world.mode = Mode::Stopped;
    world.pass_secs(60);
    assert!(world.observed.is_empty());
    assert_eq!(world.controller.state.status().counts.desired, 0);
    world.mode = Mode::Run;
    world.pass_secs(60);
    assert_eq!((world.active_of("v1"), world.active_of("bad")), (2, 1));
    world.mode = Mode::Stopped;
    world.pass_secs(60);
    world.take_log();
    world.mode = Mode::Run;
    world.apply("v3");
    world.pass_secs(60);
    assert_eq!(world.take_log(), ["+agent-a", "+agent-b", "+agent-c"]);
    world.mode = Mode::Deleting;
    world.pass_secs(60);
    assert!(world.gone);
}

#[test]
fn on_delete_and_pause_wait() {
    let mut world = world(on_delete(), &["a", "b"]);
    world.apply("v2");
    world.pass_secs(60);
    assert_eq!(world.active_of("v1"), 2);
    world.delete("agent-a");
    world.pass_secs(60);
    assert_eq!(world.active_of("v2"), 1);
    world.controller.spec = DaemonSetSpec { paused: true, ..spec(0, 1) };
    world.apply("v3");
    world.pass_secs(60);
    assert_eq!((world.active_of("v1"), world.active_of("v2")), (1, 1), "no step while paused");
    world.controller.spec.paused = false;
    world.pass_secs(60);
    assert_eq!(world.active_of("v3"), 2);
}

#[test]
fn min_ready_holds_the_roll_out_back() {
    let slow = DaemonSetSpec { min_ready: Millis::from_secs(30), ..spec(0, 1) };
    let mut world = world(slow, &["a", "b"]);
    world.pass_secs(60);
    world.apply("v2");
    world.pass_secs(31);
    assert_eq!(world.take_log(), ["-agent-a", "+agent-a"]);
    world.pass_secs(40);
    assert_eq!(world.take_log(), ["-agent-b", "+agent-b"]);
}

#[test]
fn history_is_cleaned_up() {
    let mut world = world(DaemonSetSpec { revision_history_limit: 1, ..spec(0, 1) }, &["a"]);
    for text in ["v2", "v3", "v4"] {
        world.apply(text);
        world.pass_secs(10);
    }
    let history = world.controller.state.history();
    let entries: Vec<(u64, u32)> = history.iter().map(|e| (e.revision, e.instances)).collect();
    assert_eq!(entries, [(3, 0), (4, 1)], "update.go cleanupHistory");
}

#[test]
fn state_survives_storage() {
    let mut world = world(spec(0, 1), &["a", "b"]);
    world.apply("bad");
    world.pass_secs(60);
    let text = serde_json::to_string(&world.controller.state).unwrap();
    let back: State = serde_json::from_str(&text).unwrap();
    assert_eq!(back, world.controller.state);
    assert_eq!(serde_json::from_str::<State>("{}").unwrap(), State::default());
}

#[test]
fn history_keeps_what_is_about_to_be_used() {
    let mut world = world(DaemonSetSpec { revision_history_limit: 0, ..spec(0, 1) }, &["a", "b"]);
    world.apply("bad");
    world.pass_secs(10);
    world.mode = Mode::Stopped;
    world.pass_secs(10);
    world.mode = Mode::Run;
    world.pass_secs(10);
    assert_eq!((world.active_of("v1"), world.active_of("bad")), (1, 1));
}

#[test]
fn counting() {
    let ab: &[&str] = &["a", "b"];
    let slow = DaemonSetSpec { min_ready: Millis::from_secs(100_000), ..spec(0, 1) };
    let paused = || DaemonSetSpec { paused: true, ..spec(0, 1) };
    // (rule, spec, template, nodes, what is there, (desired, current, ready, updated, available),
    // whether it is rolled out)
    type Seen = (u32, u32, u32, u32, u32);
    type Row<'a> = (Rule, DaemonSetSpec, &'a str, &'a [&'a str], Vec<Observed>, Seen, bool);
    #[rustfmt::skip]
    let rows: Vec<Row<'_>> = vec![
        (by("daemon_controller.go updateDaemonSetStatus", "one on each node"), spec(0, 1), "v2", ab, vec![new(1, "a"), new(2, "b")], (2, 2, 2, 2, 2), true),
        (by("daemon_controller.go updateDaemonSetStatus", "a node without one"), spec(0, 1), "v2", ab, vec![new(1, "a")], (2, 1, 1, 1, 1), false),
        (by("daemon_controller.go updateDaemonSetStatus", "an old one"), spec(0, 1), "v2", ab, vec![old(1, "a"), new(2, "b")], (2, 2, 2, 1, 2), false),
        (by("daemon_controller.go updateDaemonSetStatus", "one that is not ready"), spec(0, 1), "v2", ab, vec![new(1, "a").unready(), new(2, "b")], (2, 2, 1, 2, 1), false),
        (by("daemon_controller.go updateDaemonSetStatus", "ready but not for min_ready"), slow, "v2", ab, vec![new(1, "a"), new(2, "b")], (2, 2, 2, 2, 0), false),
        (by("daemon_controller.go updateDaemonSetStatus", "one where no node is any more does not count"), spec(0, 1), "v2", &["a"], vec![new(1, "a"), new(2, "z")], (1, 1, 1, 1, 1), true),
        (by("daemon_controller.go updateDaemonSetStatus", "no node, nothing to do"), spec(0, 1), "v2", &[], vec![], (0, 0, 0, 0, 0), true),
        (by("wsup", "one that goes does not count"), spec(0, 1), "v2", ab, vec![new(1, "a"), new(2, "b").going()], (2, 1, 1, 1, 1), false),
        (by("wsup", "one that failed does not count"), spec(0, 1), "v2", ab, vec![new(1, "a"), new(2, "b").phase(Phase::Failed)], (2, 1, 1, 1, 1), false),
        (by("wsup", "of an old and a new one on a node the better counts"), spec(1, 0), "v2", &["a"], vec![old(1, "a"), new(2, "a").unready()], (1, 1, 1, 1, 1), false),
        (by("wsup", "paused with another template: none is of that, and nothing is rolled out"), paused(), "v3", ab, vec![new(1, "a"), new(2, "b")], (2, 2, 2, 0, 2), false),
        (by("wsup", "paused with the same template: done as before"), paused(), "v2", ab, vec![new(1, "a"), new(2, "b")], (2, 2, 2, 2, 2), true),
    ];
    for (rule, spec, text, names, observed, seen, done) in rows {
        let mut state = rolling_state(&observed);
        let context =
            Context { name: "agent", template: &template(text), mode: Mode::Run, now: START };
        reconcile(&spec, &context, &mut state, &observed, &nodes(names));
        let Counts { desired, current, ready, updated, available } = state.status().counts;
        assert_eq!((desired, current, ready, updated, available), seen, "{rule}");
        assert_eq!(state.status().rolled_out, done, "{rule}");
    }
}

#[test]
fn budgets() {
    let rolling = |max_surge, max_unavailable| DaemonSetSpec {
        strategy: DaemonStrategy::RollingUpdate { max_surge, max_unavailable },
        ..spec(0, 1)
    };
    let (count, percent) = (Amount::Count, Amount::Percent);
    // (rule, spec, how many nodes, surge and unavailable, whether two may be on one node)
    type Row = (Rule, DaemonSetSpec, usize, (u32, u32), bool);
    #[rustfmt::skip]
    let rows: Vec<Row> = vec![
        (by("daemon/update.go updatedDesiredNodeCounts", "unavailable rounds up"), rolling(count(0), percent(25)), 5, (0, 2), false),
        (by("daemon/update.go updatedDesiredNodeCounts", "unavailable, exactly"), rolling(count(0), percent(20)), 5, (0, 1), false),
        (by("daemon/update.go updatedDesiredNodeCounts", "surge rounds up"), rolling(percent(1), count(0)), 5, (1, 0), true),
        (by("daemon/update.go updatedDesiredNodeCounts", "surge of all"), rolling(percent(100), count(0)), 5, (5, 0), true),
        (by("daemon/update.go updatedDesiredNodeCounts", "a number may exceed the nodes"), rolling(count(0), count(9)), 2, (0, 9), false),
        (by("daemon/update.go updatedDesiredNodeCounts", "both come to nothing: one unavailable"), rolling(percent(0), percent(0)), 3, (0, 1), false),
        (by("daemon/update.go updatedDesiredNodeCounts", "of no nodes nothing"), rolling(count(0), percent(50)), 0, (0, 0), false),
        (by("daemon/util.go AllowsSurge", "OnDelete does not"), on_delete(), 3, (0, 0), false),
    ];
    for (rule, spec, many, limits, surges) in rows {
        let names: Vec<String> = (0..many).map(|n| n.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (mut state, paths) = (State::default(), nodes(&names));
        let context =
            Context { name: "agent", template: &template("v1"), mode: Mode::Run, now: START };
        let sync = Sync {
            spec: &spec,
            context: &context,
            state: &mut state,
            observed: &[],
            names: BTreeSet::new(),
            nodes: place(&[], &paths).0,
            paths: &paths,
            update: 1,
            outcome: Outcome::default(),
        };
        assert_eq!((sync.limits(), sync.allows_surge()), (limits, surges), "{rule}");
    }
}

#[test]
fn failures() {
    const MIN: u64 = 60_000;
    // (rule, the delay of node a and for how long (ms) it has run, what is there, what is
    // intended, in how many ms it is looked at again, the delay after)
    type Row<'a> =
        (Rule, Option<(u64, u64)>, Vec<Observed>, &'a [&'a str], Option<u64>, Option<u64>);
    let failed = || new(1, "a").phase(Phase::Failed);
    #[rustfmt::skip]
    let rows: Vec<Row<'_>> = vec![
        (by("daemon_controller.go failedPodsBackoff", "the first goes at once"), None, vec![failed()], &["~a/1"], None, Some(1000)),
        (by("flowcontrol/backoff.go IsInBackOffSinceUpdate", "the next waits"), Some((1000, 400)), vec![failed()], &[], Some(600), Some(1000)),
        (by("flowcontrol/backoff.go IsInBackOffSinceUpdate", "until its delay is over"), Some((1000, 1000)), vec![failed()], &["~a/1"], None, Some(2000)),
        (by("flowcontrol/backoff.go Next", "the delay doubles"), Some((256_000, 300_000)), vec![failed()], &["~a/1"], None, Some(512_000)),
        (by("flowcontrol/backoff.go Next", "up to 15 minutes"), Some((512_000, 600_000)), vec![failed()], &["~a/1"], None, Some(15 * MIN)),
        (by("flowcontrol/backoff.go Next", "and no further"), Some((15 * MIN, 15 * MIN)), vec![failed()], &["~a/1"], None, Some(15 * MIN)),
        (by("flowcontrol/backoff.go hasExpired", "30 minutes without a failure do not yet forget it"), Some((4000, 30 * MIN)), vec![failed()], &["~a/1"], None, Some(8000)),
        (by("flowcontrol/backoff.go hasExpired", "a moment more does"), Some((4000, 30 * MIN + 1)), vec![failed()], &["~a/1"], None, Some(1000)),
        (by("daemon_controller.go failedPodsBackoffKey", "another node's is its own"), Some((1000, 0)), vec![new(1, "a"), new(2, "b").phase(Phase::Failed)], &["~b/2"], None, Some(1000)),
        (by("daemon_controller.go podsShouldBeOnNode", "success waits for nothing"), Some((1000, 0)), vec![new(1, "a").phase(Phase::Succeeded)], &["~a/1"], None, Some(1000)),
        (by("daemon_controller.go podsShouldBeOnNode", "nothing is made before the failed one is gone"), Some((1000, 0)), vec![failed().going()], &[], None, Some(1000)),
        (by("daemon/update.go rollingUpdate", "a failed one of another revision does not wait"), Some((1000, 0)), vec![old(1, "a").phase(Phase::Failed)], &["-a/1"], Some(1000), Some(1000)),
    ];
    for (rule, failure, observed, intended, recheck, after) in rows {
        let mut state = rolling_state(&observed);
        if let Some((delay, ago)) = failure {
            let at = START.mono.minus(Millis(ago));
            state.failures.insert("a".to_owned(), Failure { delay: Millis(delay), at });
        }
        let names: BTreeSet<&str> =
            observed.iter().map(|one| &one.name["agent-".len()..]).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let context =
            Context { name: "agent", template: &template("v2"), mode: Mode::Run, now: START };
        let outcome = reconcile(&spec(0, 1), &context, &mut state, &observed, &nodes(&names));
        assert_eq!(say(&outcome.intents, &observed), *intended, "{rule}");
        assert_eq!(outcome.recheck.map(|at| at.since(START.mono).0), recheck, "{rule}");
        let delay = state.failures.get("a").map(|failure| failure.delay.0);
        assert_eq!(delay, after, "{rule}");
    }
}

#[test]
fn after_a_stop_in_mid_roll_out() {
    // It came back at the old revision, since it was made when the new one was wished already.
    let late = |slot, node| old(slot, node).pending();
    // (rule, surge and unavailable, what was made before, what is made since, intended)
    type Row<'a> = (Rule, (u32, u32), Vec<Observed>, Vec<Observed>, &'a [&'a str]);
    #[rustfmt::skip]
    let rows: Vec<Row<'_>> = vec![
        (by("wsup", "one that is late is not taken for broken"), (0, 1), vec![], vec![late(9, "a")], &[]),
        (by("wsup", "and spends the budget"), (0, 1), vec![old(1, "a")], vec![late(9, "b")], &[]),
        (by("wsup", "but only its part"), (0, 2), vec![old(1, "a")], vec![late(9, "b")], &["-a/1"]),
        (by("wsup", "with surge it gets no second one"), (1, 0), vec![], vec![late(9, "a")], &[]),
        (by("wsup", "with surge it counts as waiting"), (1, 0), vec![old(1, "a")], vec![late(9, "b")], &[]),
        (by("wsup", "one that has crashed since is broken"), (0, 1), vec![], vec![Observed { restarts: 1, ..late(9, "a") }], &["-a/9"]),
        (by("wsup", "one that gave up is broken"), (0, 1), vec![], vec![late(9, "a").phase(Phase::GaveUp)], &["-a/9"]),
    ];
    for (rule, (surge, unavailable), before, since, intended) in rows {
        let mut state = rolling_state(&before);
        let observed: Vec<Observed> = before.into_iter().chain(since).collect();
        let names: Vec<&str> = observed.iter().map(|one| &one.name["agent-".len()..]).collect();
        let context =
            Context { name: "agent", template: &template("v2"), mode: Mode::Run, now: START };
        let spec = spec(surge, unavailable);
        let outcome = reconcile(&spec, &context, &mut state, &observed, &nodes(&names));
        assert_eq!(say(&outcome.intents, &observed), *intended, "{rule}");
    }
}
