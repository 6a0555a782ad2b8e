//! CronJobs on a virtual clock: jobs are made and removed at once, and end when a test says so.
//! The state goes through its durable form before every step.

use super::*;
use crate::core::spec::{
    Backoff, ClockChange, InstanceTemplate, JobSpec, RestartPolicy, RestartSpec,
};
use crate::core::table::{Rule, by};
use crate::core::time::{Mono, Now};
use jiff::Timestamp;

pub(super) fn template() -> Arc<InstanceTemplate> {
    let backoff = Backoff {
        initial: Millis::from_secs(10),
        factor_milli: 2_000,
        max: Millis::from_secs(600),
        reset_after: Millis::from_secs(600),
    };
    let restart = RestartSpec { policy: RestartPolicy::Never, backoff, limit: None, vital: false };
    Arc::new(InstanceTemplate::bare(vec!["true".into()], restart))
}

pub(super) fn cron(schedule: &str) -> CronJobSpec {
    CronJobSpec {
        schedule: schedule.into(),
        time_zone: None,
        concurrency_policy: ConcurrencyPolicy::Allow,
        starting_deadline: None,
        suspend: false,
        jitter: Millis::ZERO,
        clock_change: ClockChange::Once,
        successful_history_limit: 3,
        failed_history_limit: 1,
        job: JobSpec {
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
        },
    }
}

pub(super) fn with(policy: ConcurrencyPolicy, schedule: &str) -> CronJobSpec {
    CronJobSpec { concurrency_policy: policy, ..cron(schedule) }
}

pub(super) fn within(deadline: u64, spec: CronJobSpec) -> CronJobSpec {
    CronJobSpec { starting_deadline: Some(Millis::from_secs(deadline)), ..spec }
}

/// The system's zones; the machine's own is UTC.
struct Known;

impl Zones for Known {
    fn zone(&self, name: Option<&str>) -> Option<TimeZone> {
        name.map_or(Some(TimeZone::UTC), |name| TimeZone::get(name).ok())
    }
}

pub(super) fn wall(text: &str) -> Wall {
    Wall(text.parse::<Timestamp>().unwrap().as_millisecond())
}

fn clock(at: Wall) -> String {
    Timestamp::from_millisecond(at.0).unwrap().strftime("%H:%M:%S").to_string()
}

pub(super) struct World {
    name: &'static str,
    pub(super) spec: CronJobSpec,
    pub(super) state: State,
    pub(super) jobs: Vec<ObservedJob>,
    pub(super) now: Now,
    created: Wall,
    pub(super) mode: Mode,
    pub(super) notes: Vec<Note>,
    pub(super) recheck: Option<Mono>,
    /// Slots and when their jobs were made.
    pub(super) starts: Vec<(Wall, Wall)>,
    gone: bool,
    /// Jobs whose removal takes until `reap`.
    pub(super) stubborn: bool,
}

impl World {
    pub(super) fn new(from: &str, spec: CronJobSpec) -> World {
        let created = wall(from);
        let mut world = World {
            name: "backup",
            spec,
            state: State::default(),
            jobs: vec![],
            now: Now { mono: Mono(1_000_000), wall: created },
            created,
            mode: Mode::Run,
            notes: vec![],
            recheck: None,
            starts: vec![],
            gone: false,
            stubborn: false,
        };
        world.settle();
        world
    }

    pub(super) fn settle(&mut self) {
        let template = template();
        for _ in 0..100 {
            let text = serde_json::to_string(&self.state).unwrap();
            self.state = serde_json::from_str(&text).unwrap();
            let context =
                Context { name: self.name, template: &template, mode: self.mode, now: self.now };
            let out =
                reconcile(&self.spec, &context, &mut self.state, &self.jobs, self.created, &Known);
            self.gone = out.gone;
            if out.intents.is_empty() {
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
            Intent::CreateJob(new) => {
                assert!(self.jobs.iter().all(|job| job.name != new.name), "{}", new.name);
                self.starts.push((new.scheduled.unwrap(), self.now.wall));
                self.jobs.push(ObservedJob {
                    name: new.name,
                    finished: None,
                    started: Some(self.now.wall),
                    terminating: false,
                    scheduled: new.scheduled,
                    owned: true,
                });
            }
            Intent::DeleteJob { name } => {
                let at = self.jobs.iter().position(|job| job.name == name).unwrap();
                assert!(!self.jobs[at].terminating, "deleted twice");
                if self.stubborn && self.jobs[at].finished.is_none() {
                    self.jobs[at].terminating = true;
                } else {
                    self.jobs.remove(at);
                }
            }
            Intent::Tell(note) => self.notes.push(note),
            Intent::Create { .. }
            | Intent::Delete { .. }
            | Intent::Forget { .. }
            | Intent::RemoveData { .. }
            | Intent::RemoveUnit => panic!("{intent:?}"),
        }
    }

    pub(super) fn reap(&mut self) {
        self.jobs.retain(|job| !job.terminating);
        self.settle();
    }

    /// Time passes; the controller is called when it asked to be.
    pub(super) fn pass(&mut self, secs: u64) {
        let end = self.now.mono.plus(Millis::from_secs(secs));
        while let Some(at) = self.recheck.filter(|at| *at <= end) {
            self.now = self.now.plus(at.since(self.now.mono));
            self.recheck = None;
            self.settle();
        }
        self.now = self.now.plus(end.since(self.now.mono));
    }

    /// Time passes without a daemon; then there is one again.
    pub(super) fn down(&mut self, secs: u64) {
        self.now = self.now.plus(Millis::from_secs(secs));
        self.settle();
    }

    pub(super) fn finish(&mut self, at: usize, success: bool) {
        self.jobs[at].finished = Some(success);
        self.settle();
    }

    /// Slots started, as times of the day in UTC.
    fn slots(&self) -> Vec<String> {
        self.starts.iter().map(|(slot, _)| clock(*slot)).collect()
    }

    pub(super) fn told(&self, reason: Reason) -> usize {
        self.notes.iter().filter(|note| note.reason == reason).count()
    }

    pub(super) fn missed(&self) -> i64 {
        self.notes
            .iter()
            .filter(|note| note.reason == Reason::CronMissed)
            .map(|note| match note.fields["missed"] {
                Field::Int(n) => n,
                _ => panic!(),
            })
            .sum()
    }
}

pub(super) const FROM: &str = "2026-01-01T10:00:30Z";

#[test]
fn each_slot_is_started_on_time_under_its_minutes_name() {
    let mut world = World::new(FROM, cron("*/5 * * * *"));
    assert_eq!(world.state.next_schedule(), Some(wall("2026-01-01T10:05:00Z")));
    world.pass(900);
    assert_eq!(world.slots(), ["10:05:00", "10:10:00", "10:15:00"]);
    assert!(world.starts.iter().all(|(slot, at)| slot == at));
    let minute = wall("2026-01-01T10:15:00Z").unix_secs() / 60;
    assert_eq!(world.jobs[2].name, format!("backup-{minute}"), "utils.go getJobName");
    assert_eq!(world.state.last_schedule(), Some(wall("2026-01-01T10:15:00Z")));
    assert_eq!(world.state.next_schedule(), Some(wall("2026-01-01T10:20:00Z")));
    assert_eq!((world.told(Reason::CronTriggered), world.told(Reason::JobCreated)), (3, 3));
    let note = &world.notes[0];
    assert_eq!(note.fields["scheduled"], Field::Time(wall("2026-01-01T10:05:00Z")));
    assert_eq!(world.missed(), 0);
}

#[test]
fn every_second_is_a_job() {
    let mut world = World::new(FROM, cron("@every 1s"));
    for _ in 0..125 {
        world.pass(1);
        let last = world.jobs.len() - 1;
        world.finish(last, true);
    }
    assert_eq!(world.starts.len(), 125);
    assert_eq!(world.jobs.len(), 3, "the history's limit");
    assert!(world.jobs[0].name.len() <= "backup-".len() + 10, "fits a name of 52 characters");
}

/// (source, spec, seconds without a daemon, slots started after,
/// missed told)
#[test]
fn only_the_latest_missed_slot_is_started() {
    type Row = (Rule, CronJobSpec, u64, &'static [&'static str], i64);
    let rows: Vec<Row> = vec![
        (
            by("cronjob/utils.go mostRecentScheduleTime", "none missed"),
            cron("0 * * * *"),
            600,
            &[],
            0,
        ),
        (
            by("cronjob/utils.go mostRecentScheduleTime", "one missed"),
            cron("0 * * * *"),
            3_600,
            &["11:00:00"],
            0,
        ),
        (
            by("cronjob/utils.go mostRecentScheduleTime", "two missed"),
            cron("0 * * * *"),
            2 * 3_600,
            &["12:00:00"],
            1,
        ),
        (
            by("cronjob/utils.go mostRecentScheduleTime", "three missed"),
            cron("0 * * * *"),
            3 * 3_600 + 60,
            &["13:00:00"],
            2,
        ),
        (
            by("cronjob/utils.go mostRecentScheduleTime", "above a hundred, it still starts"),
            cron("* * * * *"),
            3 * 3_600,
            &["13:00:00"],
            179,
        ),
        (by("k8s-semantics 14", "@every"), cron("@every 7m"), 1_800, &["10:28:30"], 3),
        (
            by("cronjob/utils.go mostRecentScheduleTime", "uneven slots"),
            cron("0 11,15 * * *"),
            6 * 3_600,
            &["15:00:00"],
            1,
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "deadline not passed"),
            within(600, cron("0 * * * *")),
            3_570 + 600,
            &["11:00:00"],
            0,
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "deadline passed"),
            within(600, cron("0 * * * *")),
            3_570 + 601,
            &[],
            1,
        ),
        (
            by(
                "cronjob_controllerv2.go syncCronJob",
                "an older slot is beyond the deadline, the latest is not",
            ),
            within(600, cron("0 * * * *")),
            2 * 3_600,
            &["12:00:00"],
            1,
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "deadline longer than the period"),
            within(9_000, cron("0 * * * *")),
            2 * 3_600,
            &["12:00:00"],
            1,
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "deadline 0, late"),
            within(0, cron("0 * * * *")),
            3_600,
            &[],
            1,
        ),
        (
            by("k8s-semantics 7", "@every with a deadline keeps its grid"),
            within(60, cron("@every 7m")),
            450,
            &["10:07:30"],
            0,
        ),
        (
            by("k8s-semantics 7", "@every, deadline passed"),
            within(60, cron("@every 7m")),
            500,
            &[],
            1,
        ),
    ];
    for (rule, spec, secs, slots, missed) in rows {
        let mut world = World::new(FROM, spec);
        world.down(secs);
        world.settle();
        assert_eq!(world.slots(), slots, "{rule}");
        assert_eq!(world.missed(), missed, "{rule}");
        let left = world.state.next_schedule().unwrap();
        assert!(left > world.now.wall, "{rule}");
    }
}

#[test]
fn a_slot_at_its_very_deadline_is_started() {
    let mut world = World::new(FROM, within(0, cron("* * * * *")));
    world.pass(90);
    assert_eq!(world.slots(), ["10:01:00", "10:02:00"], "slot + deadline strictly before now");
}

#[test]
fn a_missed_slot_is_told_of_once_and_does_not_move_the_schedule() {
    let mut world = World::new(FROM, within(10, cron("0 * * * *")));
    world.down(3_700);
    for _ in 0..5 {
        world.settle();
    }
    assert_eq!(world.told(Reason::CronMissed), 1);
    assert_eq!(world.state.last_schedule(), None);
    world.pass(3_600);
    assert_eq!(world.slots(), ["12:00:00"]);
    assert_eq!(world.told(Reason::CronMissed), 1);
}

#[test]
fn allow_lets_jobs_run_side_by_side() {
    let mut world = World::new(FROM, cron("* * * * *"));
    world.pass(300);
    assert_eq!(world.state.active(), 5);
}

#[test]
fn forbid_skips_and_starts_late() {
    let mut world = World::new(FROM, with(ConcurrencyPolicy::Forbid, "*/5 * * * *"));
    world.pass(1_000);
    assert_eq!(world.slots(), ["10:05:00"]);
    assert_eq!(world.told(Reason::CronSkipped), 2, "10:10 and 10:15, once each");
    assert_eq!(world.state.last_schedule(), Some(wall("2026-01-01T10:05:00Z")));
    world.finish(0, true);
    assert_eq!(world.slots(), ["10:05:00", "10:15:00"], "only the latest, late");
    assert_eq!(world.missed(), 0, "what was skipped is not missed as well");
    assert_eq!(world.told(Reason::CronSkipped), 2);
}

#[test]
fn forbid_with_a_deadline_does_not_start_late() {
    let spec = within(60, with(ConcurrencyPolicy::Forbid, "*/5 * * * *"));
    let mut world = World::new(FROM, spec);
    world.pass(600);
    assert_eq!(world.told(Reason::CronSkipped), 1);
    world.down(60);
    world.finish(0, true);
    assert_eq!(world.slots(), ["10:05:00"]);
    assert_eq!(world.told(Reason::CronMissed), 0, "it was told of as skipped");
    world.pass(300);
    assert_eq!(world.slots(), ["10:05:00", "10:15:00"]);
}

#[test]
fn replace_removes_and_waits_for_the_processes() {
    let mut world = World::new(FROM, with(ConcurrencyPolicy::Replace, "*/5 * * * *"));
    world.pass(300);
    let first = world.jobs[0].name.clone();
    world.pass(300);
    assert_eq!(world.slots(), ["10:05:00", "10:10:00"]);
    assert_eq!(world.jobs.len(), 1);
    assert_eq!(world.told(Reason::CronReplaced), 1);
    let note = world.notes.iter().find(|n| n.reason == Reason::CronReplaced).unwrap();
    assert_eq!(note.fields["job"], Field::Text(first));
    world.stubborn = true;
    world.spec.starting_deadline = Some(Millis::from_secs(5));
    world.pass(310);
    assert_eq!(world.starts.len(), 2, "the old one is not gone");
    world.reap();
    assert_eq!(world.slots()[2], "10:15:00", "once begun, the deadline does not end it");
    assert_eq!(world.starts[2].1, wall("2026-01-01T10:15:40Z"));
    assert_eq!((world.told(Reason::CronReplaced), world.told(Reason::CronMissed)), (2, 0));
}

#[test]
fn a_job_made_by_hand_counts() {
    let by_hand = ObservedJob {
        name: "backup-manual-x7k2p".into(),
        finished: None,
        started: Some(wall(FROM)),
        terminating: false,
        scheduled: None,
        owned: true,
    };
    let mut world = World::new(FROM, with(ConcurrencyPolicy::Forbid, "*/5 * * * *"));
    world.jobs.push(by_hand);
    world.pass(300);
    assert_eq!((world.starts.len(), world.told(Reason::CronSkipped)), (0, 1));
    world.finish(0, true);
    assert_eq!(world.slots(), ["10:05:00"]);
}

#[test]
fn suspension_starts_nothing_and_ends_with_the_latest_slot() {
    let mut world = World::new(FROM, cron("*/5 * * * *"));
    world.pass(300);
    world.spec.suspend = true;
    world.settle();
    assert_eq!((world.state.next_schedule(), world.recheck), (None, None));
    world.pass(3_600);
    assert_eq!(world.starts.len(), 1);
    world.spec.suspend = false;
    world.settle();
    assert_eq!(world.slots(), ["10:05:00", "11:05:00"], "section 7: missed slots count");
    world.spec.suspend = true;
    world.spec.starting_deadline = Some(Millis::from_secs(60));
    world.settle();
    world.pass(3_600 - 180);
    world.spec.suspend = false;
    world.settle();
    assert_eq!(world.starts.len(), 2, "unless the deadline has passed");
}

#[test]
fn a_stop_is_like_a_suspension_and_removes_no_job() {
    let mut world = World::new(FROM, cron("*/5 * * * *"));
    world.pass(300);
    world.mode = Mode::Stopped;
    world.settle();
    world.pass(600);
    assert_eq!((world.starts.len(), world.jobs.len()), (1, 1));
    assert_eq!(world.state.next_schedule(), None);
    world.mode = Mode::Run;
    world.settle();
    assert_eq!(world.slots(), ["10:05:00", "10:15:00"]);
}

#[test]
fn deleting_removes_the_jobs_then_goes() {
    let mut world = World::new(FROM, cron("* * * * *"));
    world.pass(180);
    world.jobs[0].owned = false;
    world.stubborn = true;
    world.mode = Mode::Deleting;
    world.settle();
    assert!(!world.gone);
    world.reap();
    assert!(world.gone);
    assert_eq!(world.jobs.len(), 1, "somebody else's job stays");
}

#[test]
fn histories_keep_the_youngest() {
    // (source, successes, failures kept)
    let rows = [
        (by("cronjob_controllerv2.go cleanupFinishedJobs", "defaults"), 3, 1),
        (by("cronjob_controllerv2.go cleanupFinishedJobs", "none"), 0, 0),
        (by("cronjob_controllerv2.go cleanupFinishedJobs", "many"), 100, 100),
        (by("cronjob_controllerv2.go cleanupFinishedJobs", "two of each"), 2, 2),
    ];
    for (rule, good, bad) in rows {
        let mut world = World::new(FROM, cron("* * * * *"));
        (world.spec.successful_history_limit, world.spec.failed_history_limit) = (good, bad);
        let mut names = [vec![], vec![]];
        for round in 0..10 {
            world.pass(60);
            let at = world.jobs.iter().position(|job| job.finished.is_none()).unwrap();
            names[usize::from(round % 2 == 0)].push(world.jobs[at].name.clone());
            world.finish(at, round % 2 == 0);
        }
        for (success, limit) in [(true, good), (false, bad)] {
            let kept: Vec<String> = world
                .jobs
                .iter()
                .filter(|job| job.finished == Some(success))
                .map(|job| job.name.clone())
                .collect();
            let all = &names[usize::from(success)];
            let want = &all[all.len().saturating_sub(limit as usize)..];
            assert_eq!(kept, want, "{rule}");
        }
    }
}

#[test]
fn histories_order_by_start_then_name_and_leave_others_alone() {
    let job = |name: &str, started: Option<i64>, owned| ObservedJob {
        name: name.into(),
        finished: Some(true),
        started: started.map(Wall),
        terminating: false,
        scheduled: None,
        owned,
    };
    let mut world = World::new(FROM, cron("0 0 1 1 *"));
    world.spec.successful_history_limit = 2;
    world.jobs = vec![
        job("never-started", None, true),
        job("b", Some(5), true),
        job("a", Some(5), true),
        job("old", Some(1), true),
        job("foreign", Some(0), false),
    ];
    world.settle();
    let mut names: Vec<&str> = world.jobs.iter().map(|job| job.name.as_str()).collect();
    names.sort();
    assert_eq!(names, ["b", "foreign", "never-started"]);
    // Also while suspended (`cleanupFinishedJobs` comes after `syncCronJob`, whatever it did).
    world.spec.suspend = true;
    world.spec.successful_history_limit = 0;
    world.settle();
    assert_eq!(world.jobs.len(), 1);
}

#[test]
fn a_job_of_the_slots_name_is_adopted_or_left_alone() {
    let minute = wall("2026-01-01T10:05:00Z").unix_secs() / 60;
    let job = |owned| ObservedJob {
        name: format!("backup-{minute}"),
        finished: None,
        started: Some(wall("2026-01-01T10:05:00Z")),
        terminating: false,
        scheduled: None,
        owned,
    };
    let mut world = World::new(FROM, cron("*/5 * * * *"));
    world.jobs.push(job(true));
    world.pass(300);
    assert_eq!(world.starts, []);
    assert_eq!(world.state.last_schedule(), Some(wall("2026-01-01T10:05:00Z")));
    let mut world = World::new(FROM, cron("*/5 * * * *"));
    world.jobs.push(job(false));
    world.pass(400);
    assert_eq!((world.starts.len(), world.told(Reason::CronSkipped)), (0, 1));
    assert_eq!(world.state.last_schedule(), None);
    world.pass(300);
    assert_eq!(world.slots(), ["10:10:00"]);
}

#[test]
fn what_cannot_be_followed_is_told_once() {
    let rows = [
        (
            by("cronjob_controllerv2.go syncCronJob", "unknown zone"),
            CronJobSpec { time_zone: Some("Mars/Base".into()), ..cron("* * * * *") },
        ),
        (by("cronjob_controllerv2.go syncCronJob", "unparseable"), cron("61 * * * *")),
    ];
    for (rule, spec) in rows {
        let mut world = World::new(FROM, spec);
        world.pass(600);
        world.settle();
        assert_eq!(world.told(Reason::CronInvalid), 1, "{rule}");
        assert_eq!((world.starts.len(), world.recheck), (0, None), "{rule}");
        world.spec = cron("* * * * *");
        world.settle();
        assert_eq!(world.starts.len(), 1, "{rule}: good again");
    }
}

#[test]
fn a_schedule_that_never_runs_waits_for_nothing() {
    let mut world = World::new(FROM, cron("59 23 31 2 *"));
    world.down(60);
    assert_eq!((world.recheck, world.state.next_schedule()), (None, None));
    assert_eq!(world.told(Reason::CronInvalid), 1, "said at once, and once");
}

#[test]
fn a_changed_schedule_is_planned_from_the_last_slot() {
    let mut world = World::new(FROM, cron("5 * * * *"));
    world.pass(600);
    assert_eq!(world.slots(), ["10:05:00"]);
    world.spec.schedule = "8 * * * *".into();
    world.settle();
    assert_eq!(world.slots(), ["10:05:00", "10:08:00"]);
}

#[test]
fn every_is_anchored_at_the_last_slot() {
    let mut world = World::new("2026-01-01T10:00:17Z", cron("@every 5m"));
    world.pass(300);
    world.down(450);
    world.pass(300);
    assert_eq!(world.slots(), ["10:05:17", "10:10:17", "10:15:17"]);
    assert!(world.jobs[0].name.len() == "backup-".len() + 8, "named by its minute");
}

#[test]
fn zones_and_clock_changes() {
    let spec = |clock_change| CronJobSpec {
        time_zone: Some("Europe/Berlin".into()),
        clock_change,
        ..cron("30 2 * * *")
    };
    // (rule, from, starts within three days)
    let rows = [
        (by("k8s-semantics 14", "once, gap"), ClockChange::Once, "2026-03-28T12:00:00Z", 3),
        (
            by("k8s-semantics 7", "kubernetes, gap"),
            ClockChange::Kubernetes,
            "2026-03-28T12:00:00Z",
            2,
        ),
        (by("k8s-semantics 14", "once, fold"), ClockChange::Once, "2026-10-24T12:00:00Z", 3),
        (
            by("k8s-semantics 7", "kubernetes, fold"),
            ClockChange::Kubernetes,
            "2026-10-24T12:00:00Z",
            4,
        ),
    ];
    for (rule, clock_change, from, starts) in rows {
        let mut world = World::new(from, spec(clock_change));
        world.pass(3 * 86_400);
        assert_eq!(world.starts.len(), starts, "{rule}");
    }
}

#[test]
fn jitter_delays_every_start_by_the_same_amount() {
    let mut world =
        World::new(FROM, CronJobSpec { jitter: Millis::from_secs(120), ..cron("*/5 * * * *") });
    world.pass(1_200);
    let delays: Vec<u64> = world.starts.iter().map(|(slot, at)| at.since(*slot).0).collect();
    assert!(delays.len() >= 3 && delays.iter().all(|d| *d == delays[0]), "{delays:?}");
    assert!(delays[0] > 0 && delays[0] <= 120_000, "{delays:?}");
    assert_eq!(world.slots()[0], "10:05:00");
    let spread: std::collections::BTreeSet<u64> =
        ["a", "b", "c", "backup", "report"].map(|n| delay(Millis(1_000_000), n).0).into();
    assert_eq!(spread.len(), 5);
    assert_eq!(delay(Millis::ZERO, "a"), Millis::ZERO);
    assert!(delay(Millis::MAX, "a") > Millis::ZERO);
}

#[test]
fn a_clock_that_was_put_back() {
    // (rule, seconds put back, slots started in the next ten minutes)
    let rows = [
        (by("wsup", "a correction, no slot twice"), 3_000, 0),
        (by("wsup", "the clock was wrong, it goes on"), 86_400, 2),
    ];
    for (rule, back, starts) in rows {
        let mut world = World::new(FROM, cron("*/5 * * * *"));
        world.pass(3_600);
        let before = world.starts.len();
        world.now.wall = world.now.wall.minus(Millis::from_secs(back));
        world.settle();
        world.pass(600);
        assert_eq!(world.starts.len() - before, starts, "{rule}");
    }
}

#[test]
fn names_of_jobs_made_by_hand_fit() {
    assert_eq!(manual_prefix("backup"), "backup-manual");
    let longest = "a".repeat(52);
    assert!(manual_prefix(&longest).len() + 6 <= 63);
    let dashed = format!("{}-{}", "a".repeat(49), "bb");
    assert!(!manual_prefix(&dashed).contains("--"));
}
