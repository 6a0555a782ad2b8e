//! A table of what an operator does with roll-outs: undo, pause, resume, restart, scale, and how
//! that goes together with the unit file. One row is one story.

use super::*;
use crate::core::table::{Rule, by};

fn spec(kind: Kind) -> UnitSpec {
    let rolling = Amount::Count(1);
    let workload = match kind {
        Kind::Deployment => return deployment("x", 2),
        Kind::StatefulSet => WorkloadSpec::StatefulSet(StatefulSetSpec {
            replicas: 2,
            min_ready: Millis::ZERO,
            revision_history_limit: 10,
            management_policy: ManagementPolicy::OrderedReady,
            strategy: StatefulStrategy::RollingUpdate { partition: 0, max_unavailable: rolling },
            start_ordinal: 0,
            data_dir: None,
            when_deleted: Retention::Retain,
            when_scaled: Retention::Retain,
            paused: false,
        }),
        Kind::DaemonSet => WorkloadSpec::DaemonSet(DaemonSetSpec {
            nodes: Nodes::Machine,
            min_ready: Millis::ZERO,
            revision_history_limit: 10,
            strategy: DaemonStrategy::RollingUpdate {
                max_surge: Amount::Count(0),
                max_unavailable: rolling,
            },
            paused: false,
        }),
        Kind::Job => return job("x"),
        Kind::CronJob => return cronjob("x", "@daily"),
    };
    unit(key(kind, "x"), RestartPolicy::Always, workload)
}

/// A story under way.
struct Story {
    bench: Bench,
    key: UnitKey,
    file: UnitSpec,
    said: String,
}

impl Story {
    fn begin(kind: Kind) -> Story {
        Story { bench: Bench::new(), key: key(kind, "x"), file: spec(kind), said: String::new() }
    }

    fn ask(&mut self, request: Request) {
        self.said = match self.bench.ask(request) {
            Ok(done) => done.messages.join("\n"),
            Err(Refusal::Invalid(why) | Refusal::NotFound(why)) => format!("refused: {why}"),
        };
    }

    fn apply(&mut self) {
        let file = self.file.clone();
        self.bench.apply(vec![file]);
        if self.key.kind == Kind::DaemonSet {
            let nodes = BTreeMap::from([("here".to_owned(), None)]);
            self.bench.event(Event::NodesChanged { unit: self.key.clone(), nodes });
        }
    }

    /// One word is a template that the file has from now, or what somebody asks for.
    fn go(&mut self, word: &str) {
        let key = self.key.clone();
        let target = Target::Unit(key.clone());
        match word.split_once(':').unwrap_or((word, "")) {
            ("undo", "") => self.ask(Request::Undo(key, None)),
            ("undo", to) => self.ask(Request::Undo(key, Some(to.parse().unwrap()))),
            ("pause", _) => self.ask(Request::Pause(key)),
            ("resume", _) => self.ask(Request::ResumeRollout(key)),
            ("restart", _) => self.ask(Request::RolloutRestart(key)),
            ("scale", to) => self.ask(Request::Scale(key, to.parse().unwrap())),
            ("stop", _) => self.ask(Request::Stop(target)),
            ("start", _) => self.ask(Request::Start(target)),
            ("reborn", _) => self.bench.reborn(true),
            ("file", change) => {
                match (&mut self.file.workload, change) {
                    (WorkloadSpec::Deployment(d), "replicas") => d.replicas = 4,
                    (WorkloadSpec::Deployment(d), "paused") => d.paused = true,
                    (WorkloadSpec::Deployment(d), "going") => d.paused = false,
                    (WorkloadSpec::Deployment(d), "no_history") => d.revision_history_limit = 0,
                    (WorkloadSpec::Deployment(d), "recreate") => {
                        d.strategy = DeploymentStrategy::Recreate;
                    }
                    (WorkloadSpec::StatefulSet(s), "parallel") => {
                        s.management_policy = ManagementPolicy::Parallel;
                    }
                    other => panic!("{other:?}"),
                }
                self.apply();
            }
            (text, _) => {
                self.file = with_env(self.file.clone(), text);
                self.apply();
            }
        }
        self.bench.pass(60);
    }

    /// The revisions with their templates, `+` for one that a restart has marked; then how many
    /// are wanted, and which live changes are in force.
    fn end(&self) -> String {
        let core = &self.bench.core;
        let one = |template: &InstanceTemplate| {
            let mark = if template.restarted_at.is_some() { "+" } else { "" };
            let text = template.process.env.get("V").cloned().unwrap_or_default();
            format!("{text}{mark}")
        };
        let entries = core.history(&self.key);
        let list: Vec<String> =
            entries.iter().map(|e| format!("{}={}", e.revision, one(&e.template))).collect();
        let unit = core.unit(&self.key).unwrap();
        let live: Vec<&str> = unit.overrides.iter().map(|(field, _)| field.as_str()).collect();
        let live = if live.is_empty() { String::new() } else { format!(" [{}]", live.join(" ")) };
        format!("{} x{}{live}", list.join(" "), unit.counts.desired)
    }
}

#[test]
fn stories_of_roll_outs() {
    use Kind::{CronJob, DaemonSet, Deployment, Job, StatefulSet};
    const BACK: &str = "rolled back to the previous revision";
    // (rule, kind, what happens, part of what was last said, how it ends)
    #[rustfmt::skip]
    let rows: &[(Rule, Kind, &str, &str, &str)] = &[
        (by("kubectl/rollback.go DeploymentRollbacker", "undo goes back and gives the next number"), Deployment, "a b undo", BACK, "2=b 3=a x2 [process]"),
        (by("kubectl/rollback.go DeploymentRollbacker", "undo of an undo"), Deployment, "a b undo undo", BACK, "3=a 4=b x2"),
        (by("kubectl/rollback.go DeploymentRollbacker", "to a number"), Deployment, "a b c undo:1", "rolled back to revision 1", "2=b 3=c 4=a x2 [process]"),
        (by("kubectl/rollback.go DeploymentRollbacker", "to the one it has"), Deployment, "a b undo:2", "nothing to undo", "1=a 2=b x2"),
        (by("kubectl/rollback.go DeploymentRollbacker", "a number that is not there"), Deployment, "a b undo:9", "refused: deployment/x: there is no revision 9; known revisions: 1, 2", "1=a 2=b x2"),
        (by("kubectl/rollback.go DeploymentRollbacker", "a number that was given up"), Deployment, "a b a undo:1", "refused: deployment/x: there is no revision 1; known revisions: 2, 3", "2=b 3=a x2"),
        (by("kubectl/rollback.go DeploymentRollbacker", "there is only one"), Deployment, "a undo", "refused: deployment/x: there is no earlier revision", "1=a x2"),
        (by("kubectl/rollback.go DeploymentRollbacker", "refused while it is paused"), Deployment, "a b pause undo", "refused: deployment/x is paused; `rollout resume deployment/x` first", "1=a 2=b x2 [rollout.paused]"),
        (by("kubectl/rollback.go DeploymentRollbacker", "also if the file pauses it"), Deployment, "a b file:paused undo", "refused: deployment/x is paused", "1=a 2=b x2"),
        (by("kubectl/rollback.go DeploymentRollbacker", "and to a number too"), Deployment, "a b pause undo:1", "refused: deployment/x is paused", "1=a 2=b x2 [rollout.paused]"),
        (by("deployment/sync.go cleanupDeployment", "without a history there is no way back"), Deployment, "a file:no_history b undo", "refused: deployment/x: there is no earlier revision", "2=b x2"),
        (by("deployment/sync.go sync", "several edits while paused are one revision"), Deployment, "a pause b c d resume", "resumed", "1=a 2=d x2"),
        (by("deployment/sync.go sync", "edits while paused are no revision yet"), Deployment, "a pause b", "paused", "1=a x2 [rollout.paused]"),
        (by("deployment/sync.go sync", "edits while paused that end where they began"), Deployment, "a pause b a resume", "resumed", "1=a x2"),
        (by("deployment/sync.go sync", "an earlier template while paused is renumbered"), Deployment, "a b pause a", "paused", "2=b 3=a x2 [rollout.paused]"),
        (by("deployment/sync.go sync", "it scales while paused"), Deployment, "a pause scale:5", "scaled from 2 to 5", "1=a x5 [replicas rollout.paused]"),
        (by("kubectl/objectpauser.go defaultObjectPauser", "paused twice"), Deployment, "a pause pause", "is paused already", "1=a x2 [rollout.paused]"),
        (by("kubectl/objectresumer.go defaultObjectResumer", "resumed though it is not paused"), Deployment, "a resume", "is resumed already", "1=a x2"),
        (by("kubectl/objectrestarter.go defaultObjectRestarter", "a restart is a revision"), Deployment, "a restart", "restarted, step by step", "1=a 2=a+ x2 [restarted]"),
        (by("kubectl/objectrestarter.go defaultObjectRestarter", "undo takes it back"), Deployment, "a restart undo", BACK, "2=a+ 3=a x2"),
        (by("kubectl/objectrestarter.go defaultObjectRestarter", "refused while it is paused"), Deployment, "a pause restart", "refused: deployment/x is paused", "1=a x2 [rollout.paused]"),
        (by("deployment/util.go EqualIgnoreHash", "a count is no revision"), Deployment, "a file:replicas", "", "1=a x4"),
        (by("deployment/util.go EqualIgnoreHash", "a strategy is no revision"), Deployment, "a file:recreate", "", "1=a x2"),
        (by("deployment/util.go EqualIgnoreHash", "a scaling is no revision"), Deployment, "a scale:3", "scaled from 2 to 3", "1=a x3 [replicas]"),
        (by("wsup", "an undo lasts until the file's template changes"), Deployment, "a b undo c", BACK, "2=b 3=a 4=c x2"),
        (by("wsup", "an undo outlasts a file that says the same again"), Deployment, "a b undo b", BACK, "2=b 3=a x2 [process]"),
        (by("wsup", "an undo outlasts other changes of the file"), Deployment, "a b undo file:replicas", BACK, "2=b 3=a x4 [process]"),
        (by("wsup", "an undo outlasts the daemon"), Deployment, "a b undo reborn", BACK, "2=b 3=a x2 [process]"),
        (by("wsup", "a restart's mark ends with the next template"), Deployment, "a restart b", "restarted", "1=a 2=a+ 3=b x2"),
        (by("wsup", "a scaling lasts until the file's count changes"), Deployment, "a scale:3 file:replicas", "scaled", "1=a x4"),
        (by("wsup", "a scaling to what the file says is no live change"), Deployment, "a scale:3 scale:2", "scaled from 3 to 2", "1=a x2"),
        (by("wsup", "a pause lasts until the file's own changes"), Deployment, "a pause file:paused file:going b", "paused", "1=a 2=b x2"),
        (by("wsup", "a pause outlasts the daemon"), Deployment, "a pause reborn b", "paused", "1=a x2 [rollout.paused]"),
        (by("wsup", "a template that comes while it is stopped waits for the start"), Deployment, "a stop b", "stopped", "1=a x0 [stopped]"),
        (by("wsup", "and is rolled out then"), Deployment, "a stop b start", "started", "1=a 2=b x2"),
        (by("wsup", "an undo while it is stopped waits too"), Deployment, "a b stop undo start", "started", "2=b 3=a x2 [process]"),
        (by("kubectl/rollback.go StatefulSetRollbacker", "undo"), StatefulSet, "a b undo", BACK, "2=b 3=a x2 [process]"),
        (by("kubectl/rollback.go StatefulSetRollbacker", "to a number"), StatefulSet, "a b c undo:1", "rolled back to revision 1", "2=b 3=c 4=a x2 [process]"),
        (by("wsup", "a statefulset is paused as a deployment is"), StatefulSet, "a pause b c resume", "resumed", "1=a 2=c x2"),
        (by("wsup", "undo of a paused statefulset is refused as well"), StatefulSet, "a b pause undo", "refused: statefulset/x is paused", "1=a 2=b x2 [rollout.paused]"),
        (by("wsup", "no field is immutable: the management policy changes, and makes no revision"), StatefulSet, "a file:parallel scale:4", "scaled from 2 to 4", "1=a x4 [replicas]"),
        (by("kubectl/objectrestarter.go defaultObjectRestarter", "a statefulset"), StatefulSet, "a restart", "restarted", "1=a 2=a+ x2 [restarted]"),
        (by("kubectl/rollback.go DaemonSetRollbacker", "undo"), DaemonSet, "a b undo", BACK, "2=b 3=a x1 [process]"),
        (by("kubectl/rollback.go DaemonSetRollbacker", "to a number that is not there"), DaemonSet, "a b undo:7", "refused: daemonset/x: there is no revision 7", "1=a 2=b x1"),
        (by("wsup", "a daemonset is paused as a deployment is"), DaemonSet, "a pause b c resume", "resumed", "1=a 2=c x1"),
        (by("kubectl/objectrestarter.go defaultObjectRestarter", "a daemonset"), DaemonSet, "a restart", "restarted", "1=a 2=a+ x1 [restarted]"),
        (by("wsup", "a daemonset cannot be scaled"), DaemonSet, "a scale:3", "refused: a daemonset cannot be scaled", "1=a x1"),
        (by("kubectl/rollback.go RollbackVisitor", "a job has no revisions"), Job, "a undo", "refused: a job has no revisions to go back to", " x1"),
        (by("kubectl/rollback.go RollbackVisitor", "nor has a cronjob"), CronJob, "a undo", "refused: a cronjob has no revisions to go back to", " x0"),
        (by("kubectl/objectpauser.go defaultObjectPauser", "a job has no roll-out"), Job, "a pause", "refused: a job has no roll-out to be paused", " x1"),
        (by("kubectl/objectrestarter.go defaultObjectRestarter", "a job has no roll-out"), Job, "a restart", "refused: a job has no roll-out; use `restart job/x`", " x1"),
    ];
    for (rule, kind, words, said, end) in rows {
        let mut story = Story::begin(*kind);
        words.split(' ').for_each(|word| story.go(word));
        assert!(story.said.contains(said), "{rule}: {}", story.said);
        assert_eq!(story.end(), *end, "{rule}");
    }
}
