//! Jobs on a made-up machine: intents are applied at once, programs end when a test says so, and
//! the state goes through its durable form before every step.

use super::*;
use crate::core::event::Exit;
use crate::core::spec::{Backoff, FailureAction, FailureRule, RestartSpec};
use crate::core::table::{Rule, by};
use crate::core::time::{Millis, Mono};
use crate::core::workload::{Identity, NewName};

pub(super) fn template(policy: RestartPolicy) -> Arc<InstanceTemplate> {
    let backoff = Backoff {
        initial: Millis::from_secs(10),
        factor_milli: 2_000,
        max: Millis::from_secs(600),
        reset_after: Millis::from_secs(600),
    };
    let restart = RestartSpec { policy, backoff, limit: None, vital: false };
    Arc::new(InstanceTemplate::bare(vec!["true".into()], restart))
}

pub(super) fn job() -> JobSpec {
    JobSpec {
        completions: Some(1),
        parallelism: 1,
        indexed: false,
        backoff_limit: 6,
        backoff_limit_per_index: None,
        max_failed_indexes: None,
        active_deadline: None,
        ttl_after_finished: None,
        suspend: false,
        failure_policy: vec![],
        success_policy: vec![],
    }
}

pub(super) fn many(completions: u32, parallelism: u32) -> JobSpec {
    JobSpec { completions: Some(completions), parallelism, ..job() }
}

pub(super) fn indexed(completions: u32, parallelism: u32) -> JobSpec {
    JobSpec { indexed: true, ..many(completions, parallelism) }
}

pub(super) fn queue(parallelism: u32) -> JobSpec {
    JobSpec { completions: None, parallelism, ..job() }
}

const OK: Exit = Exit::Code(0);
const BAD: Exit = Exit::Code(1);

pub(super) struct World {
    pub(super) spec: JobSpec,
    pub(super) template: Arc<InstanceTemplate>,
    pub(super) state: State,
    pub(super) here: Vec<Observed>,
    pub(super) now: Now,
    pub(super) mode: Mode,
    notes: Vec<Note>,
    recheck: Option<Mono>,
    next_slot: u64,
    pub(super) removed: bool,
    gone: bool,
    peak: usize,
}

impl World {
    fn new(spec: JobSpec) -> World {
        let mut world = World::unsettled(spec);
        world.settle();
        world
    }

    /// Before the controller's first look.
    pub(super) fn unsettled(spec: JobSpec) -> World {
        World {
            spec,
            template: template(RestartPolicy::Never),
            state: State::default(),
            here: vec![],
            now: Now { mono: Mono(1_000_000), wall: Wall(1_767_225_600_000) },
            mode: Mode::Run,
            notes: vec![],
            recheck: None,
            next_slot: 1,
            removed: false,
            gone: false,
            peak: 0,
        }
    }

    pub(super) fn settle(&mut self) {
        for _ in 0..1_000 {
            let text = serde_json::to_string(&self.state).unwrap();
            self.state = serde_json::from_str(&text).unwrap();
            let context = Context {
                name: "migrate",
                template: &self.template,
                mode: self.mode,
                now: self.now,
            };
            let out = reconcile(&self.spec, &context, &mut self.state, &self.here);
            self.gone = out.gone;
            if out.intents.is_empty() || self.removed {
                self.recheck = out.recheck;
                return;
            }
            for intent in out.intents {
                self.apply(intent);
            }
        }
        panic!("never comes to rest");
    }

    fn apply(&mut self, intent: Intent) {
        match intent {
            Intent::Create { set, name, identity } => {
                assert!(self.state.template_of(set).is_some());
                let NewName::Random(prefix) = name else { panic!("{name:?}") };
                let slot = self.next_slot;
                self.next_slot += 1;
                self.here.push(Observed {
                    slot,
                    name: format!("{prefix}-{slot:05}").into(),
                    set,
                    identity,
                    phase: Phase::Running,
                    ready_since: Some(self.now.mono),
                    terminating: false,
                    created: self.now.mono,
                    restarts: 0,
                    exit: None,
                    ended: None,
                    start_failure: None,
                });
                self.peak = self.peak.max(self.running().len());
            }
            Intent::Delete { slot } | Intent::Forget { slot } => {
                let at = self.here.iter().position(|o| o.slot == slot).unwrap();
                if !manage::unfinished(&self.here[at]) {
                    self.here.remove(at);
                } else {
                    assert!(!self.here[at].terminating, "deleted twice");
                    self.here[at].terminating = true;
                }
            }
            Intent::RemoveUnit => self.removed = true,
            Intent::Tell(note) => self.notes.push(note),
            Intent::RemoveData { .. } | Intent::CreateJob(_) | Intent::DeleteJob { .. } => {
                panic!("{intent:?}")
            }
        }
    }

    /// Everything that was asked to go has gone.
    pub(super) fn reap(&mut self) {
        self.here.retain(|o| !o.terminating);
        self.settle();
    }

    pub(super) fn running(&self) -> Vec<u64> {
        self.here.iter().filter(|o| manage::unfinished(o)).map(|o| o.slot).collect()
    }

    pub(super) fn active(&self) -> usize {
        self.here.iter().filter(|o| o.active()).count()
    }

    pub(super) fn indexes(&self) -> Vec<u32> {
        let mut indexes: Vec<u32> = self
            .here
            .iter()
            .filter(|o| o.active())
            .map(|o| match o.identity {
                Identity::Index(index) => index,
                _ => panic!(),
            })
            .collect();
        indexes.sort();
        indexes
    }

    /// The instance's program ends.
    pub(super) fn end(&mut self, slot: u64, exit: Exit) {
        let now = self.now.mono;
        let one = self.here.iter_mut().find(|o| o.slot == slot).unwrap();
        one.phase = if exit.is_success() { Phase::Succeeded } else { Phase::Failed };
        one.exit = Some(exit);
        one.ended = Some(now);
        one.ready_since = None;
        self.settle();
    }

    /// The oldest running instance's program ends.
    fn end_one(&mut self, exit: Exit) {
        self.end(self.running()[0], exit);
    }

    fn end_index(&mut self, index: u32, exit: Exit) {
        let slot = self
            .here
            .iter()
            .find(|o| o.active() && o.identity == Identity::Index(index))
            .unwrap_or_else(|| panic!("index {index} does not run"))
            .slot;
        self.end(slot, exit);
    }

    fn restart_in_place(&mut self) {
        self.here.iter_mut().find(|o| o.active()).unwrap().restarts += 1;
        self.settle();
    }

    pub(super) fn pass(&mut self, secs: u64) {
        self.pass_ms(secs * 1_000);
    }

    /// Time passes; the controller is called when it asked to be.
    fn pass_ms(&mut self, ms: u64) {
        let end = self.now.mono.plus(Millis(ms));
        while let Some(at) = self.recheck.filter(|at| *at <= end) {
            self.now = self.now.plus(at.since(self.now.mono));
            self.recheck = None;
            self.settle();
        }
        self.now = self.now.plus(end.since(self.now.mono));
    }

    pub(super) fn counts(&self) -> (u32, u32) {
        (self.state.succeeded(), self.state.failed())
    }

    fn reason(&self) -> &str {
        let kind = if self.state.finished() == Some(true) { COMPLETE } else { FAILED };
        self.state.conditions.get(kind).map_or("", |c| &*c.reason)
    }

    fn told(&self) -> Vec<Reason> {
        self.notes.iter().map(|note| note.reason).collect()
    }
}

/// (rule, spec, ends one after the other, finished, (succeeded, failed), reason). While a delay
/// runs, time passes.
#[test]
fn outcomes() {
    type Row = (Rule, JobSpec, Vec<Exit>, Option<bool>, (u32, u32), &'static str);
    let bad = |n: usize| vec![BAD; n];
    let limit = |backoff_limit: u32, spec: JobSpec| JobSpec { backoff_limit, ..spec };
    let rows: Vec<Row> = vec![
        (
            by("job_controller.go", "one success"),
            job(),
            vec![OK],
            Some(true),
            (1, 0),
            "CompletionsReached",
        ),
        (by("job_controller.go", "not yet"), job(), vec![], None, (0, 0), ""),
        (
            by("docs/job", "fails twice, then exits 0"),
            job(),
            vec![BAD, BAD, OK],
            Some(true),
            (1, 2),
            "CompletionsReached",
        ),
        (by("job_controller.go", "failed > limit, 6 borne"), job(), bad(6), None, (0, 6), ""),
        (
            by("job_controller.go", "failed > limit, the 7th fails it"),
            job(),
            bad(7),
            Some(false),
            (0, 7),
            "BackoffLimitExceeded",
        ),
        (
            by("job_controller.go", "limit 0"),
            limit(0, job()),
            bad(1),
            Some(false),
            (0, 1),
            "BackoffLimitExceeded",
        ),
        (
            by("job_controller.go", "limit 1"),
            limit(1, job()),
            bad(2),
            Some(false),
            (0, 2),
            "BackoffLimitExceeded",
        ),
        (
            by("batch/validation.go", "2147483647 is no limit"),
            limit(u32::MAX, job()),
            bad(40),
            None,
            (0, 40),
            "",
        ),
        (
            by("job_controller.go", "a success never refunds"),
            limit(2, many(3, 1)),
            vec![BAD, BAD, OK, BAD],
            Some(false),
            (1, 3),
            "BackoffLimitExceeded",
        ),
        (
            by("job_controller.go", "all completions"),
            many(3, 1),
            vec![OK, OK, OK],
            Some(true),
            (3, 0),
            "CompletionsReached",
        ),
        (by("job_controller.go", "some completions"), many(3, 1), vec![OK, OK], None, (2, 0), ""),
        (
            by("job_controller.go manageJob", "parallelism above the rest"),
            many(3, 2),
            vec![OK, OK, OK],
            Some(true),
            (3, 0),
            "CompletionsReached",
        ),
        (
            by("job_controller.go manageJob", "completions 0"),
            many(0, 1),
            vec![],
            Some(true),
            (0, 0),
            "CompletionsReached",
        ),
        (
            by("job_controller.go manageJob", "completions 0, suspended"),
            JobSpec { suspend: true, ..many(0, 1) },
            vec![],
            Some(true),
            (0, 0),
            "CompletionsReached",
        ),
        (
            by("job_controller.go isPodFailed", "death by signal is a failure"),
            job(),
            vec![Exit::Signal(9), OK],
            Some(true),
            (1, 1),
            "CompletionsReached",
        ),
        (
            by("wsup", "an unknown end is a failure"),
            job(),
            vec![Exit::Unknown, OK],
            Some(true),
            (1, 1),
            "CompletionsReached",
        ),
        (
            by("job_controller.go syncJob, work queue", "first success alone"),
            queue(1),
            vec![OK],
            Some(true),
            (1, 0),
            "CompletionsReached",
        ),
        (
            by("job_controller.go syncJob, work queue", "others finish"),
            queue(3),
            vec![OK, OK],
            None,
            (2, 0),
            "",
        ),
        (
            by("job_controller.go syncJob, work queue", "all finished"),
            queue(3),
            vec![OK, OK, OK],
            Some(true),
            (3, 0),
            "CompletionsReached",
        ),
        (
            by("job_controller.go syncJob, work queue", "failures after the success"),
            queue(3),
            vec![OK, BAD, BAD],
            Some(true),
            (1, 2),
            "CompletionsReached",
        ),
        (
            by("job_controller.go syncJob, work queue", "limit passed after the success"),
            limit(0, queue(3)),
            vec![OK, BAD],
            Some(false),
            (1, 2),
            "BackoffLimitExceeded",
        ),
        (
            by("job_controller.go syncJob, work queue", "failures before the success"),
            queue(1),
            vec![BAD, OK],
            Some(true),
            (1, 1),
            "CompletionsReached",
        ),
        (
            by("job_controller.go syncJob, indexed", "all"),
            indexed(3, 3),
            vec![OK, OK, OK],
            Some(true),
            (3, 0),
            "CompletionsReached",
        ),
        (
            by("job_controller.go syncJob, indexed", "a failed index comes again"),
            indexed(2, 1),
            vec![BAD, OK, OK],
            Some(true),
            (2, 1),
            "CompletionsReached",
        ),
        (
            by("job_controller.go syncJob, indexed", "limit"),
            limit(1, indexed(2, 1)),
            bad(2),
            Some(false),
            (0, 2),
            "BackoffLimitExceeded",
        ),
        (
            by("job_controller.go syncJob, indexed", "completions 0"),
            indexed(0, 0),
            vec![],
            Some(true),
            (0, 0),
            "CompletionsReached",
        ),
    ];
    for (rule, spec, exits, finished, counts, reason) in rows {
        let mut world = World::new(spec);
        for exit in exits {
            if world.running().is_empty() {
                world.pass(600);
            }
            world.end_one(exit);
        }
        world.reap();
        assert_eq!(world.state.finished(), finished, "{rule}");
        assert_eq!(world.counts(), counts, "{rule}");
        assert_eq!(world.reason(), reason, "{rule}");
        assert_eq!(world.state.completed_at().is_some(), finished.is_some(), "{rule}");
    }
}

/// (rule, spec, succeeded before, wanted active)
#[test]
fn wanted_active() {
    let rows = [
        (by("job_controller.go manageJob", "parallelism"), many(10, 3), 0, 3),
        (by("job_controller.go manageJob", "remaining completions"), many(10, 3), 8, 2),
        (by("job_controller.go manageJob", "last one"), many(10, 3), 9, 1),
        (by("job_controller.go manageJob", "parallelism above completions"), many(2, 5), 0, 2),
        (by("job_controller.go manageJob", "parallelism 0 holds the job"), many(2, 0), 0, 0),
        (by("job_controller.go manageJob", "work queue"), queue(4), 0, 4),
        (by("job_controller.go manageJob", "work queue held"), queue(0), 0, 0),
        (by("job_controller.go manageJob", "indexed"), indexed(6, 2), 0, 2),
        (by("job_controller.go manageJob", "indexed, remaining"), indexed(6, 4), 4, 2),
    ];
    for (rule, spec, succeeded, want) in rows {
        let mut world = World::new(spec);
        for _ in 0..succeeded {
            world.end_one(OK);
        }
        assert_eq!(world.active(), want, "{rule}");
        let shown = world.state.status().counts;
        assert_eq!(shown.current as usize, want, "{rule}");
    }
}

#[test]
fn a_work_queue_begins_nothing_after_its_first_success() {
    let mut world = World::new(queue(3));
    world.end_one(OK);
    world.end_one(BAD);
    world.pass(3_600);
    assert_eq!(world.active(), 1);
    world.spec.parallelism = 5;
    world.settle();
    assert_eq!(
        world.active(),
        1,
        "job_controller.go manageJob: wantActive = active once one succeeded"
    );
}

/// `backoff_utils_test.go`: 10 s, doubling, at most 10 min, from the last failure's end.
#[test]
fn the_delay_doubles_up_to_ten_minutes() {
    let mut world = World::new(JobSpec { backoff_limit: u32::MAX, ..job() });
    for delay in [10, 20, 40, 80, 160, 320, 600, 600, 600] {
        world.end_one(BAD);
        assert_eq!(world.active(), 0);
        world.pass_ms(delay * 1_000 - 1);
        assert_eq!(world.active(), 0, "before {delay} s");
        world.pass_ms(1);
        assert_eq!(world.active(), 1, "after {delay} s");
    }
}

#[test]
fn the_delay_is_the_templates() {
    let mut world = World::new(JobSpec { backoff_limit: u32::MAX, ..job() });
    let mut template = (*world.template).clone();
    template.restart.backoff.initial = Millis(500);
    template.restart.backoff.factor_milli = 3_000;
    template.restart.backoff.max = Millis(4_000);
    world =
        World { template: Arc::new(template), ..World::new(JobSpec { suspend: true, ..job() }) };
    world.spec.suspend = false;
    world.settle();
    for delay in [500, 1_500, 4_000, 4_000] {
        world.end_one(BAD);
        world.pass_ms(delay - 1);
        assert_eq!(world.active(), 0, "before {delay} ms");
        world.pass_ms(1);
        assert_eq!(world.active(), 1, "after {delay} ms");
    }
}

#[test]
fn a_success_forgets_earlier_failures_and_failures_of_a_batch_add_up() {
    // `backoff_utils.go` `newBackoffRecord`.
    let mut world = World::new(many(10, 3));
    let [a, b, c] = world.running()[..] else { panic!() };
    for slot in [a, b] {
        let now = world.now.mono;
        let one = world.here.iter_mut().find(|o| o.slot == slot).unwrap();
        one.phase = Phase::Failed;
        one.ended = Some(now);
    }
    world.settle();
    world.pass_ms(19_999);
    assert_eq!(world.active(), 1, "two failures at once: 20 s");
    world.pass_ms(1);
    assert_eq!(world.active(), 3);
    world.end(c, OK);
    assert_eq!(world.active(), 3, "no delay after a success");
    world.end_one(BAD);
    world.pass(10);
    assert_eq!(world.active(), 3, "the delay begins anew");
}

#[test]
fn nothing_is_made_while_a_delay_runs() {
    let mut world = World::new(many(10, 2));
    world.end_one(BAD);
    world.spec.parallelism = 5;
    world.settle();
    assert_eq!(world.active(), 1);
    world.pass(10);
    assert_eq!(world.active(), 5);
}

/// `pastBackoffLimitOnFailure`: (rule, limit, restarts, failed)
#[test]
fn restarts_in_place_count_against_the_limit() {
    let rows = [
        (
            by("job_controller.go pastBackoffLimitOnFailure", "limit 0, the first restart"),
            0,
            1,
            true,
        ),
        (
            by("job_controller.go pastBackoffLimitOnFailure", "limit 1, the first restart"),
            1,
            1,
            true,
        ),
        (
            by("job_controller.go pastBackoffLimitOnFailure", "limit 2, one restart is borne"),
            2,
            1,
            false,
        ),
        (
            by("job_controller.go pastBackoffLimitOnFailure", "limit 2, the second restart"),
            2,
            2,
            true,
        ),
        (by("job_controller.go pastBackoffLimitOnFailure", "limit 6, five are borne"), 6, 5, false),
        (by("job_controller.go pastBackoffLimitOnFailure", "limit 6, the sixth"), 6, 6, true),
        (by("wsup", "without a limit no number of restarts is too great"), u32::MAX, 500, false),
    ];
    for (rule, limit, restarts, failed) in rows {
        let mut world = World::new(JobSpec { suspend: true, backoff_limit: limit, ..job() });
        world.template = template(RestartPolicy::OnFailure);
        world.spec.suspend = false;
        world.settle();
        for _ in 0..restarts {
            world.restart_in_place();
        }
        world.reap();
        assert_eq!(world.state.finished(), failed.then_some(false), "{rule}");
        if failed {
            assert_eq!(world.reason(), "BackoffLimitExceeded", "{rule}");
            assert_eq!(world.counts(), (0, 1), "{rule}: the run that is stopped is a failure");
        }
    }
}

#[test]
fn restarts_of_all_instances_add_up() {
    let mut world = World::new(JobSpec { suspend: true, backoff_limit: 3, ..many(5, 2) });
    world.template = template(RestartPolicy::OnFailure);
    world.spec.suspend = false;
    world.settle();
    world.here.iter_mut().for_each(|o| o.restarts = 1);
    world.settle();
    assert!(!world.state.settled());
    world.restart_in_place();
    assert!(world.state.settled());
}

#[test]
fn never_ignores_restart_counts() {
    let mut world = World::new(JobSpec { backoff_limit: 0, ..job() });
    world.restart_in_place();
    assert!(!world.state.settled());
}

#[test]
fn an_end_is_counted_once_over_any_number_of_looks() {
    let mut world = World::new(many(5, 2));
    world.end_one(BAD);
    world.end_one(OK);
    for _ in 0..10 {
        world.settle();
        world.pass(1);
    }
    assert_eq!(world.counts(), (1, 1));
    assert_eq!(world.state.counted.len(), 2);
    world.here.retain(manage::unfinished);
    world.settle();
    assert!(world.state.counted.is_empty(), "slots that are gone are not remembered");
    assert_eq!(world.counts(), (1, 1));
}

#[test]
fn records_are_bounded() {
    let mut world = World::new(many(100, 1));
    for n in 0..60 {
        if world.running().is_empty() {
            world.pass(600);
        }
        world.spec.backoff_limit = u32::MAX;
        world.end_one(if n % 2 == 0 { OK } else { BAD });
    }
    assert_eq!(world.counts(), (30, 30));
    let of = |phase| world.here.iter().filter(|o| o.phase == phase).count();
    assert_eq!((of(Phase::Succeeded), of(Phase::Failed)), (RECORDS_KEPT, RECORDS_KEPT));
    let oldest = world.here.iter().map(|o| o.slot).min().unwrap();
    assert!(oldest > 40, "the newest are kept");
}

#[test]
fn the_outcome_is_said_when_all_processes_are_gone() {
    // Kubernetes 1.31: FailureTarget first.
    let mut world = World::new(JobSpec { backoff_limit: 0, ..many(4, 3) });
    world.end_one(BAD);
    assert!(world.state.conditions.holds(FAILURE_TARGET));
    assert_eq!(world.state.finished(), None);
    assert_eq!(world.active(), 0);
    assert_eq!(world.counts(), (0, 3), "those stopped because the job failed are failures");
    assert!(!world.told().contains(&Reason::JobFailed));
    world.reap();
    assert_eq!(world.state.finished(), Some(false));
    assert_eq!(world.counts(), (0, 3));
    let note = world.notes.last().unwrap();
    assert_eq!(note.reason, Reason::JobFailed);
    assert_eq!(note.fields["cause"], Field::Text("BackoffLimitExceeded".into()));
    assert_eq!(note.fields["failed"], Field::Int(3));
    assert_eq!(note.fields["succeeded"], Field::Int(0));
}

#[test]
fn a_surplus_run_on_its_way_out_delays_completion() {
    let mut world = World::new(many(2, 2));
    world.spec.completions = Some(1);
    world.settle();
    assert_eq!(world.active(), 1);
    world.end_one(OK);
    world.here.iter().for_each(|o| assert!(o.terminating || o.phase == Phase::Succeeded));
    assert!(world.state.conditions.holds(SUCCESS_CRITERIA_MET));
    assert_eq!(world.state.finished(), None);
    world.reap();
    assert_eq!(world.state.finished(), Some(true));
    assert_eq!(world.counts(), (1, 0), "surplus runs are not failures");
    assert_eq!(world.told(), [Reason::JobStarted, Reason::JobCompleted]);
}

#[test]
fn surplus_goes_in_the_order_of_replica_sets() {
    // `controller_utils.go` `ActivePodsWithRanks`, section 3.
    let mut world = World::new(many(10, 6));
    let slots = world.running();
    let now = world.now.mono;
    let mut set = |slot: u64, phase, ready: Option<u64>, restarts| {
        let one = world.here.iter_mut().find(|o| o.slot == slot).unwrap();
        one.phase = phase;
        one.ready_since = ready.map(|ago| now.minus(Millis::from_secs(ago)));
        one.restarts = restarts;
    };
    set(slots[0], Phase::Running, Some(100), 0);
    set(slots[1], Phase::Pending, None, 0);
    set(slots[2], Phase::Running, None, 0);
    set(slots[3], Phase::Running, Some(10), 0);
    set(slots[4], Phase::Running, Some(100), 3);
    set(slots[5], Phase::Running, Some(100), 0);
    let order = [1, 2, 3, 4, 5].map(|at| slots[at]);
    for (left, goes) in (1..=5).rev().zip(order) {
        world.spec.parallelism = left;
        world.settle();
        let gone: Vec<u64> = world.here.iter().filter(|o| o.terminating).map(|o| o.slot).collect();
        assert_eq!(gone, [goes], "{left} left");
        world.reap();
    }
}

#[test]
fn never_more_processes_than_parallelism() {
    let mut world = World::new(many(10, 2));
    world.spec.parallelism = 1;
    world.settle();
    world.spec.parallelism = 2;
    world.settle();
    assert_eq!(world.running().len(), 2, "one is still on its way out");
    world.reap();
    assert_eq!(world.active(), 2);
    assert_eq!(world.peak, 2);
    assert_eq!(world.counts(), (0, 0));
}

#[test]
fn a_run_removed_by_hand_is_a_failure_and_is_replaced() {
    // `job_controller.go` `isPodFailed`: terminating and not succeeded.
    let mut world = World::new(job());
    world.here[0].terminating = true;
    world.settle();
    assert_eq!(world.counts(), (0, 1));
    world.reap();
    assert_eq!(world.active(), 0);
    world.pass(10);
    assert_eq!(world.active(), 1);
    assert_eq!(world.counts(), (0, 1));
}

#[test]
fn indexes_go_lowest_first_each_once() {
    let mut world = World::new(indexed(6, 2));
    let mut ran = vec![];
    while world.state.finished().is_none() {
        assert!(world.active() <= 2);
        let index = world.indexes()[0];
        ran.push(index);
        world.end_index(index, OK);
    }
    assert_eq!(ran, [0, 1, 2, 3, 4, 5]);
    assert_eq!(world.peak, 2);
    assert_eq!(world.state.completed_indexes().text(), "0-5");
    assert_eq!(world.next_slot, 7, "six instances in all");
    assert!(world.here.iter().any(|o| o.name.starts_with("migrate-5-")));
}

#[test]
fn a_failed_index_is_the_next_to_run() {
    let mut world = World::new(indexed(5, 2));
    world.end_index(0, BAD);
    world.end_index(1, OK);
    assert_eq!(world.indexes(), [0, 2], "indexed_job_utils.go firstPendingIndexes");
    world.end_index(2, OK);
    assert_eq!(world.state.completed_indexes().text(), "1,2");
}

#[test]
fn duplicates_and_strangers_go_and_do_not_count() {
    let mut world = World::new(indexed(3, 2));
    let mut double = world.here[0].clone();
    double.slot = 100;
    let mut stranger = world.here[0].clone();
    (stranger.slot, stranger.identity) = (101, Identity::Index(9));
    let mut nobody = world.here[0].clone();
    (nobody.slot, nobody.identity) = (102, Identity::Anonymous);
    world.here.extend([double, stranger, nobody]);
    world.settle();
    let gone: Vec<u64> = world.here.iter().filter(|o| o.terminating).map(|o| o.slot).collect();
    assert_eq!(gone, [100, 101, 102]);
    world.reap();
    assert_eq!(world.indexes(), [0, 1]);
    assert_eq!(world.counts(), (0, 0));
}

#[test]
fn a_second_success_of_an_index_counts_once() {
    let mut world = World::new(indexed(3, 1));
    let mut double = world.here[0].clone();
    (double.slot, double.phase, double.exit) = (100, Phase::Succeeded, Some(OK));
    world.here.push(double);
    world.settle();
    assert_eq!(world.counts(), (1, 0));
    world.reap();
    assert_eq!(world.indexes(), [1]);
}

#[test]
fn index_sets_have_kubernetes_text_form() {
    let rows: &[(Rule, &[u32], &str)] = &[
        (by("indexed_job_utils.go orderedIntervals", "none"), &[], ""),
        (by("indexed_job_utils.go orderedIntervals", "one"), &[0], "0"),
        (by("indexed_job_utils.go orderedIntervals", "two neighbours"), &[0, 1], "0,1"),
        (by("indexed_job_utils.go orderedIntervals", "three neighbours"), &[0, 1, 2], "0-2"),
        (
            by("indexed_job_utils.go orderedIntervals", "all forms"),
            &[0, 2, 3, 5, 6, 7],
            "0,2,3,5-7",
        ),
        (
            by("indexed_job_utils.go orderedIntervals", "in any order"),
            &[12, 10, 9, 11, 5, 4],
            "4,5,9-12",
        ),
        (by("indexed_job_utils.go orderedIntervals", "a gap that is filled"), &[3, 5, 4], "3-5"),
        (by("wsup", "the greatest index"), &[u32::MAX - 1, u32::MAX], "4294967294,4294967295"),
    ];
    for (_, set, text) in rows {
        let indexes: Indexes = set.iter().copied().collect();
        assert_eq!(indexes.text(), *text);
        assert_eq!(Indexes::parse(text), Ok(indexes));
    }
    let bad = [
        (by("wsup", "no number at the end"), "1-x"),
        (by("wsup", "no number"), "x"),
        (by("wsup", "ends before it begins"), "3-1"),
        (by("wsup", "twice"), "1,1"),
        (by("wsup", "not ascending"), "2,1"),
        (by("wsup", "overlapping"), "0-3,3"),
        (by("wsup", "negative"), "-1"),
    ];
    for (source, bad) in bad {
        assert!(Indexes::parse(bad).is_err(), "{source}: {bad}");
    }
    let mut rng = Rng(7);
    let (mut set, mut plain) = (Indexes::default(), BTreeSet::new());
    for _ in 0..300 {
        let index = rng.below(200) as u32;
        assert_eq!(set.insert(index), plain.insert(index));
        let (a, b) = (rng.below(200) as u32, rng.below(200) as u32);
        assert_eq!(set.contains(a), plain.contains(&a));
        let within = if a <= b { plain.range(a..=b).count() } else { 0 };
        assert_eq!(set.count_within(a, b) as usize, within);
        assert_eq!(set.count_below(a) as usize, plain.range(..a).count());
        let mut cut = set.clone();
        cut.truncate(a);
        assert_eq!(cut, plain.range(..a).copied().collect::<Indexes>());
        assert_eq!(Indexes::parse(&set.text()).as_ref(), Ok(&set));
    }
}

#[test]
fn the_deadline_stops_everything() {
    // `pastActiveDeadline`: elapsed >= limit.
    let spec = JobSpec { active_deadline: Some(Millis::from_secs(60)), ..many(3, 2) };
    let mut world = World::new(spec);
    world.pass_ms(59_999);
    assert!(!world.state.settled());
    world.pass_ms(1);
    assert!(world.state.settled());
    world.reap();
    assert_eq!(world.state.finished(), Some(false));
    assert_eq!(world.reason(), "DeadlineExceeded");
    assert_eq!(world.counts(), (0, 2));
}

#[test]
fn the_deadline_stands_still_while_stopped_and_over_a_reboot() {
    let spec = JobSpec { active_deadline: Some(Millis::from_secs(60)), ..job() };
    let mut world = World::new(spec);
    world.pass(30);
    world.mode = Mode::Stopped;
    world.settle();
    world.reap();
    world.pass(10_000);
    world.mode = Mode::Run;
    world.settle();
    assert!(!world.state.settled());
    assert_eq!(world.active(), 1);
    assert_eq!(world.counts(), (0, 0), "a stop is not the job's fault");
    world.now.mono = Mono(5_000);
    world.here.clear();
    world.settle();
    world.pass_ms(29_999);
    assert!(!world.state.settled());
    world.pass_ms(1);
    assert!(world.state.settled());
}

#[test]
fn a_stop_counts_nothing_whoever_comes_first() {
    let mut world = World::new(many(3, 3));
    // The core marked one before the controller was asked.
    world.here[0].terminating = true;
    world.mode = Mode::Stopped;
    world.settle();
    assert_eq!(world.active(), 0);
    let slot = world.here[1].slot;
    world.end(slot, Exit::Signal(15));
    world.reap();
    world.settle();
    assert_eq!(world.counts(), (0, 0));
    assert!(world.state.discarded.is_empty(), "slots that are gone are not remembered");
    assert_eq!(world.active(), 0);
    world.mode = Mode::Run;
    world.settle();
    assert_eq!(world.active(), 3);
    assert_eq!(world.told(), [Reason::JobStarted], "it goes on, it does not begin anew");
}

#[test]
fn an_end_before_the_stop_counts() {
    let mut world = World::new(job());
    world.here[0].phase = Phase::Succeeded;
    world.here[0].exit = Some(OK);
    world.mode = Mode::Stopped;
    world.settle();
    assert_eq!(world.state.finished(), Some(true));
}

#[test]
fn suspension_stops_and_resets_the_start_time() {
    let spec = JobSpec { active_deadline: Some(Millis::from_secs(60)), ..many(4, 2) };
    let mut world = World::new(spec);
    world.end_one(OK);
    let started = world.state.started().unwrap();
    world.pass(50);
    world.spec.suspend = true;
    world.settle();
    world.reap();
    assert_eq!(world.active(), 0);
    assert_eq!(world.counts(), (1, 0), "runs removed by suspension are not failures");
    assert!(world.state.conditions.holds(SUSPENDED));
    world.pass(500);
    assert_eq!(world.state.finished(), None, "the deadline does not run");
    world.spec.suspend = false;
    world.settle();
    assert_eq!(world.state.started(), Some(started.plus(Millis::from_secs(550))));
    assert_eq!(world.state.conditions.get(SUSPENDED).unwrap().reason, "JobResumed");
    assert_eq!(world.active(), 2);
    assert_eq!(world.counts(), (1, 0));
    world.pass_ms(59_999);
    assert!(!world.state.settled());
    world.pass_ms(1);
    assert_eq!(world.state.conditions.get(FAILURE_TARGET).unwrap().reason, "DeadlineExceeded");
    assert_eq!(world.told(), [Reason::JobStarted, Reason::JobSuspended, Reason::JobResumed]);
}

#[test]
fn a_job_suspended_from_the_outset_has_no_start_time() {
    let mut world = World::new(JobSpec { suspend: true, ..job() });
    assert_eq!((world.active(), world.state.started()), (0, None));
    assert_eq!(world.told(), [Reason::JobSuspended]);
    world.spec.suspend = false;
    world.settle();
    assert_eq!(world.state.started(), Some(world.now.wall));
    assert_eq!(world.told(), [Reason::JobSuspended, Reason::JobResumed, Reason::JobStarted]);
}

#[test]
fn finished_jobs_are_never_touched() {
    let mut world = World::new(job());
    world.end_one(OK);
    let before = world.state.clone();
    for change in 0..4 {
        match change {
            0 => world.spec.suspend = true,
            1 => world.spec.completions = Some(9),
            2 => world.spec.active_deadline = Some(Millis(1)),
            _ => world.mode = Mode::Stopped,
        }
        world.pass(100);
        world.settle();
        assert_eq!(world.state.conditions, before.conditions);
        assert_eq!(world.active(), 0);
    }
    world.mode = Mode::Run;
    world.settle();
    assert_eq!(world.active(), 0, "finished stays finished");
}

#[test]
fn time_to_live() {
    // (source, ttl, seconds, removed)
    let rows = [
        (by("ttlafterfinished_controller.go needsCleanup", "no limit"), None, 100_000, false),
        (by("ttlafterfinished_controller.go timeLeft", "0, at once"), Some(0), 0, true),
        (by("ttlafterfinished_controller.go timeLeft", "not yet"), Some(60), 59, false),
        (by("ttlafterfinished_controller.go timeLeft", "due"), Some(60), 60, true),
    ];
    for (rule, ttl, secs, removed) in rows {
        let spec = JobSpec { ttl_after_finished: ttl.map(Millis::from_secs), ..job() };
        let mut world = World::new(spec);
        world.pass(1_000);
        assert!(!world.removed, "{rule}: it runs");
        world.end_one(OK);
        world.pass(secs);
        assert_eq!(world.removed, removed, "{rule}");
    }
    let mut world = World::new(job());
    world.end_one(OK);
    world.pass(100);
    world.spec.ttl_after_finished = Some(Millis::from_secs(60));
    world.mode = Mode::Stopped;
    world.settle();
    assert!(!world.removed, "not while stopped");
    world.mode = Mode::Run;
    world.settle();
    assert!(world.removed, "also if set afterwards");
}

#[test]
fn a_changed_template_makes_a_new_run_after_the_end() {
    let mut world = World::new(many(2, 1));
    let old = Arc::clone(&world.template);
    let mut new = (*old).clone();
    new.process.args.push("v2".into());
    world.template = Arc::new(new);
    world.settle();
    assert_eq!(world.state.template_of(1), Some(&old), "the old template runs on");
    world.end_one(BAD);
    world.pass(10);
    assert_eq!(world.state.template_of(world.here.last().unwrap().set), Some(&old));
    world.end_one(OK);
    world.end_one(OK);
    assert_eq!(world.state.template_of(2), Some(&world.template));
    assert_eq!(world.counts(), (0, 0));
    assert_eq!(world.here.len(), 1, "the records of the old run are gone");
    assert_eq!(world.here[0].set, 2);
    assert_eq!(world.state.revision_of(2), Some(2));
    assert_eq!(world.told(), [Reason::JobStarted, Reason::JobCompleted, Reason::JobStarted]);
    world.end_one(OK);
    world.end_one(OK);
    assert_eq!(world.state.finished(), Some(true));
    world.settle();
    assert_eq!(world.state.run, 2);
}

#[test]
fn a_fresh_state_waits_for_what_is_left_of_former_runs() {
    let mut world = World::new(many(3, 2));
    world.end_one(OK);
    world.state = State::default();
    world.settle();
    assert_eq!(world.active(), 0);
    assert_eq!(world.running().len(), 2, "both are asked to go");
    assert_eq!(world.counts(), (0, 0), "what a former run did is not counted");
    world.reap();
    assert_eq!(world.active(), 2);
    assert!(world.here.iter().all(|o| o.set == 2));
}

#[test]
fn deleting_takes_everything() {
    let mut world = World::new(many(5, 2));
    world.end_one(OK);
    world.mode = Mode::Deleting;
    world.settle();
    assert_eq!(world.active(), 0);
    assert!(!world.gone);
    world.reap();
    assert!(world.gone && world.here.is_empty());
}

#[test]
fn steps_are_bounded() {
    let mut state = State::default();
    let template = template(RestartPolicy::Never);
    let now = Now { mono: Mono(1), wall: Wall(1) };
    let context = Context { name: "m", template: &template, mode: Mode::Run, now };
    let out = reconcile(&many(2_000, 1_200), &context, &mut state, &[]);
    let creations = out.intents.iter().filter(|i| matches!(i, Intent::Create { .. })).count();
    assert_eq!(creations, BURST);
    let mut world = World::new(many(2_000, 1_200));
    assert_eq!(world.active(), 1_200);
    world.spec.parallelism = 0;
    world.settle();
    assert_eq!(world.active(), 0);
}

#[test]
fn limit_for_each_index() {
    let spec =
        JobSpec { backoff_limit: u32::MAX, backoff_limit_per_index: Some(1), ..indexed(3, 3) };
    let mut world = World::new(spec.clone());
    world.end_index(0, BAD);
    assert_eq!(world.indexes(), [1, 2]);
    world.end_index(1, OK);
    world.pass(10);
    assert_eq!(world.indexes(), [0, 2], "each index waits for itself");
    world.end_index(0, BAD);
    assert_eq!(world.state.failed_indexes().text(), "0");
    world.pass(1_000);
    assert_eq!(world.indexes(), [2], "a failed index is not tried again");
    world.end_index(2, OK);
    world.reap();
    assert_eq!(world.state.finished(), Some(false));
    assert_eq!(world.reason(), "FailedIndexes");
    assert_eq!(world.counts(), (2, 2));
    let mut world = World::new(JobSpec { max_failed_indexes: Some(0), ..spec.clone() });
    world.end_index(2, BAD);
    world.pass(10);
    world.end_index(2, BAD);
    world.reap();
    assert_eq!(world.reason(), "MaxFailedIndexesExceeded");
    let mut world = World::new(JobSpec { parallelism: 1, ..spec });
    world.end_index(0, BAD);
    assert_eq!(world.indexes(), [1], "a delay of one index does not hold up another");
}

#[test]
fn failure_policy() {
    let rule =
        |action, codes: &[i32], negate| FailureRule { action, exit_codes: codes.to_vec(), negate };
    let policy = vec![
        rule(FailureAction::FailJob, &[42], false),
        rule(FailureAction::Ignore, &[143], false),
        rule(FailureAction::Count, &[1], false),
        rule(FailureAction::FailJob, &[2, 3], true),
    ];
    // (rule, exit, failed, finished)
    let rows = [
        (by("pod_failure_policy.go", "fail_job"), Exit::Code(42), 1, Some(false)),
        (
            by("pod_failure_policy.go", "ignore; a signal is 128 + signal"),
            Exit::Signal(15),
            0,
            None,
        ),
        (by("pod_failure_policy.go", "count"), Exit::Code(1), 1, None),
        (by("pod_failure_policy.go", "not_in does not match"), Exit::Code(2), 1, None),
        (by("pod_failure_policy.go", "not_in matches"), Exit::Code(7), 1, Some(false)),
        (by("wsup", "an unknown end has no code"), Exit::Unknown, 1, None),
    ];
    for (name, exit, failed, finished) in rows {
        let mut world = World::new(JobSpec { failure_policy: policy.clone(), ..job() });
        world.end_one(exit);
        assert_eq!(world.state.failed(), failed, "{name}");
        assert_eq!(world.state.finished(), finished, "{name}");
        if finished.is_some() {
            assert_eq!(world.reason(), "PodFailurePolicy", "{name}");
        } else {
            assert_eq!(world.active(), 0, "{name}: the delay applies");
            world.pass(10);
            assert_eq!(world.active(), 1, "{name}");
        }
    }
    let spec = JobSpec {
        backoff_limit_per_index: Some(5),
        failure_policy: vec![rule(FailureAction::FailIndex, &[9], false)],
        ..indexed(2, 2)
    };
    let mut world = World::new(spec);
    world.end_index(1, Exit::Code(9));
    assert_eq!(world.state.failed_indexes().text(), "1");
    assert_eq!(world.indexes(), [0]);
}

#[test]
fn success_policy() {
    let rule = |indexes: Option<&[(u32, u32)]>, count| SuccessRule {
        indexes: indexes.map(<[_]>::to_vec),
        count,
    };
    // (rule, policy, indexes that succeed, met)
    let rows = [
        (
            by("success_policy.go", "indexes, all listed"),
            rule(Some(&[(0, 1)]), None),
            vec![0, 1],
            true,
        ),
        (
            by("success_policy.go", "indexes, not all"),
            rule(Some(&[(0, 1)]), None),
            vec![0, 2],
            false,
        ),
        (by("success_policy.go", "count"), rule(None, Some(2)), vec![3, 1], true),
        (by("success_policy.go", "count, too few"), rule(None, Some(2)), vec![3], false),
        (
            by("success_policy.go", "both, of the listed"),
            rule(Some(&[(0, 2)]), Some(1)),
            vec![2],
            true,
        ),
        (
            by("success_policy.go", "both, not of the listed"),
            rule(Some(&[(0, 2)]), Some(1)),
            vec![3],
            false,
        ),
        (
            by("success_policy.go", "an empty list never matches"),
            rule(Some(&[]), Some(0)),
            vec![3],
            false,
        ),
        (by("success_policy.go", "nothing succeeded yet"), rule(None, Some(0)), vec![], false),
    ];
    for (name, rule, succeed, met) in rows {
        let mut world = World::new(JobSpec { success_policy: vec![rule], ..indexed(5, 5) });
        for index in &succeed {
            world.end_index(*index, OK);
        }
        world.reap();
        assert_eq!(world.state.finished(), met.then_some(true), "{name}");
        if met {
            assert_eq!(world.reason(), "SuccessPolicy", "{name}");
            assert_eq!(world.counts(), (succeed.len() as u32, 0), "{name}: the rest is no failure");
        }
    }
}

#[test]
fn an_instance_that_gave_up_waits_for_an_operator() {
    let mut world = World::new(job());
    world.here[0].phase = Phase::GaveUp;
    world.settle();
    world.pass(3_600);
    assert_eq!((world.counts(), world.active()), ((0, 0), 1));
}

/// SplitMix64, so that a failing seed can be repeated.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

/// What must hold whatever happens, and the counts as an independent book-keeper has them.
struct Book {
    world: World,
    succeeded: u32,
    failed: u32,
}

impl Book {
    fn settle(&mut self) {
        let before: BTreeSet<u64> =
            self.world.here.iter().filter(|o| o.active()).map(|o| o.slot).collect();
        let first_new = self.world.next_slot;
        self.world.settle();
        let world = &self.world;
        let made = world.here.iter().filter(|o| o.slot >= first_new && o.active()).count();
        if made > 0 {
            assert!(world.running().len() <= world.spec.parallelism as usize, "too many at once");
            assert!(world.mode == Mode::Run && !world.spec.suspend);
        }
        if world.state.conditions.holds(FAILURE_TARGET) {
            // Stopped because the job failed: failures themselves.
            let stopped =
                world.here.iter().filter(|o| before.contains(&o.slot) && o.terminating).count();
            self.failed += stopped as u32;
        }
        if world.spec.indexed {
            let indexes = world.indexes();
            assert!(indexes.windows(2).all(|pair| pair[0] != pair[1]), "an index twice");
            let done = world.state.completed_indexes();
            assert!(indexes.iter().all(|index| !done.contains(*index)), "a decided index again");
        }
        let records = world.here.iter().filter(|o| !o.terminating && !o.active()).count();
        assert!(records <= 2 * RECORDS_KEPT);
        assert!(world.state.finished().is_none() || world.running().is_empty());
        assert_eq!(world.counts(), (self.succeeded, self.failed));
    }

    fn end(&mut self, slot: u64, exit: Exit) {
        let now = self.world.now.mono;
        let one = self.world.here.iter_mut().find(|o| o.slot == slot).unwrap();
        one.phase = if exit.is_success() { Phase::Succeeded } else { Phase::Failed };
        (one.exit, one.ended) = (Some(exit), Some(now));
        if !one.terminating {
            self.succeeded += u32::from(exit.is_success());
            self.failed += u32::from(!exit.is_success());
        }
        self.settle();
    }

    fn step(&mut self, rng: &mut Rng) {
        let running = self.world.running();
        let one = (!running.is_empty()).then(|| running[rng.below(running.len().max(1))]);
        match (rng.below(12), one) {
            (0..=3, Some(slot)) => self.end(slot, OK),
            (4..=5, Some(slot)) => self.end(slot, BAD),
            (6, Some(slot)) => {
                let at = self.world.here.iter().position(|o| o.slot == slot).unwrap();
                if self.world.here[at].active() {
                    self.world.here[at].terminating = true;
                    self.failed += 1;
                }
                self.settle();
            }
            (7, _) => {
                self.world.here.retain(|o| !o.terminating);
                self.settle();
            }
            (8, _) => {
                self.world.mode =
                    if self.world.mode == Mode::Run { Mode::Stopped } else { Mode::Run };
                self.settle();
            }
            (9, _) => {
                self.world.spec.suspend = !self.world.spec.suspend;
                self.settle();
            }
            (10, _) => {
                self.world.spec.parallelism = rng.below(6) as u32;
                self.settle();
            }
            (11, _) if rng.below(4) == 0 => {
                // The machine was started anew.
                self.world.here.retain(|o| !manage::unfinished(o));
                self.world.now.mono = Mono(rng.below(50_000) as u64);
                self.settle();
            }
            (_, _) => {
                self.world.now = self.world.now.plus(Millis(rng.below(100_000) as u64));
                self.settle();
            }
        }
    }
}

#[test]
fn counts_are_exact_whatever_happens() {
    let mut outcomes = [0, 0];
    for seed in 0..60 {
        let mut rng = Rng(seed);
        let mut spec = many(1 + rng.below(25) as u32, 1 + rng.below(5) as u32);
        spec.indexed = rng.below(2) == 0;
        spec.backoff_limit = [0, 3, 10, u32::MAX][rng.below(4)];
        let mut book = Book { world: World::new(spec), succeeded: 0, failed: 0 };
        for _ in 0..120 {
            book.step(&mut rng);
        }
        // From here all goes well: it must come to an end.
        book.world.mode = Mode::Run;
        (book.world.spec.suspend, book.world.spec.parallelism) = (false, 3);
        for _ in 0..200 {
            if book.world.state.finished().is_some() {
                break;
            }
            book.world.here.retain(|o| !o.terminating);
            book.settle();
            book.world.now = book.world.now.plus(Millis::from_secs(600));
            book.settle();
            if let Some(slot) = book.world.running().first() {
                book.end(*slot, OK);
            }
        }
        let finished = book.world.state.finished();
        assert!(finished.is_some(), "seed {seed} does not end: {:?}", book.world.state);
        outcomes[usize::from(finished == Some(true))] += 1;
    }
    assert!(outcomes.iter().all(|n| *n > 5), "{outcomes:?}");
}
