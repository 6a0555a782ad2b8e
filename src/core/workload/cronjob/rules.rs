//! The rules of a cronjob, one row each: its schedule, what is set and what happens, as words, and
//! what was started then. Each row begins with the Kubernetes source of its rule (below
//! `pkg/controller/cronjob`), or with `k8s-semantics 14` or `wsup` if it is our own.
//!
//! It is 10:00:30 when the cronjob is made. Words that set: `allow`, `forbid`, `replace`,
//! `withinN` (starting deadline, seconds), `keepN/M` (histories), `zone:NAME`, `cron:EXPR` (with
//! `_` for a blank), `suspend`, `resume`. Words that happen: `passN` (seconds, the controller is
//! called when it asked to be), `downN` (it is not, and then once), `backN` (the wall clock is put
//! back), `look`, `ok` and `bad` (the oldest job that runs ends), `hand` (a job is made by hand),
//! `own:HH:MM`, `done:HH:MM`, `foreign:HH:MM` (there is a job of that slot's name: its own, its
//! own and complete, somebody else's), `remove` (the oldest job is gone), `stubborn` (jobs go only
//! when there is `reap`), `stop`, `start`.

use super::tests::{FROM, World, cron, wall};
use super::*;
use crate::core::table::{Rule, by};
use crate::core::time::Millis;
use jiff::Timestamp;

type Row = (Rule, &'static str, &'static str, &'static str);

const FIVE: &str = "*/5 * * * *";

fn number(text: &str) -> u64 {
    text.parse().unwrap()
}

fn job(name: String, finished: Option<bool>, owned: bool) -> ObservedJob {
    let started = Some(wall(FROM));
    ObservedJob { name, finished, started, terminating: false, scheduled: None, owned }
}

/// The name that the slot's job has.
fn of_slot(clock: &str) -> String {
    format!("backup-{}", wall(&format!("2026-01-01T{clock}:00Z")).unix_secs() / 60)
}

fn set(world: &mut World, verb: &str, rest: &str) -> bool {
    let spec = &mut world.spec;
    match verb {
        "allow" => spec.concurrency_policy = ConcurrencyPolicy::Allow,
        "forbid" => spec.concurrency_policy = ConcurrencyPolicy::Forbid,
        "replace" => spec.concurrency_policy = ConcurrencyPolicy::Replace,
        "within" => spec.starting_deadline = Some(Millis::from_secs(number(rest))),
        "zone" => spec.time_zone = Some(rest[1..].to_owned()),
        "cron" => spec.schedule = rest[1..].replace('_', " "),
        "suspend" => spec.suspend = true,
        "resume" => spec.suspend = false,
        "keep" => {
            let (good, bad) = rest.split_once('/').unwrap();
            spec.successful_history_limit = good.parse().unwrap();
            spec.failed_history_limit = bad.parse().unwrap();
        }
        _ => return false,
    }
    true
}

fn happen(world: &mut World, verb: &str, rest: &str) {
    match verb {
        "pass" => world.pass(number(rest)),
        "down" => world.down(number(rest)),
        "back" => world.now.wall = world.now.wall.minus(Millis::from_secs(number(rest))),
        "look" => {}
        "ok" | "bad" => {
            let at = world.jobs.iter().position(|job| job.finished.is_none()).unwrap();
            world.finish(at, verb == "ok");
        }
        "hand" => world.jobs.push(job("backup-manual-x7k2p".into(), None, true)),
        "own" => world.jobs.push(job(of_slot(&rest[1..]), None, true)),
        "done" => world.jobs.push(job(of_slot(&rest[1..]), Some(true), true)),
        "foreign" => world.jobs.push(job(of_slot(&rest[1..]), None, false)),
        "remove" => drop(world.jobs.remove(0)),
        "stubborn" => world.stubborn = true,
        "reap" => world.reap(),
        "stop" => world.mode = Mode::Stopped,
        "start" => world.mode = Mode::Run,
        _ => panic!("{verb}{rest}"),
    }
}

fn clock(at: Wall) -> String {
    let text = Timestamp::from_millisecond(at.0).unwrap().strftime("%H:%M:%S").to_string();
    text.trim_end_matches(":00").to_owned()
}

/// The slots that were started, with `@` and the time if that was another; how much was told of;
/// how many jobs there are.
fn tale(world: &World) -> String {
    let mut words: Vec<String> = world
        .starts
        .iter()
        .map(|(slot, at)| match slot == at {
            true => clock(*slot),
            false => format!("{}@{}", clock(*slot), clock(*at)),
        })
        .collect();
    let told = [
        ("missed", world.missed()),
        ("skipped", world.told(Reason::CronSkipped) as i64),
        ("replaced", world.told(Reason::CronReplaced) as i64),
        ("invalid", world.told(Reason::CronInvalid) as i64),
        ("jobs", world.jobs.len() as i64),
    ];
    words.extend(told.iter().filter(|(_, n)| *n > 0).map(|(word, n)| format!("{word}={n}")));
    words.join(" ")
}

fn play(schedule: &str, script: &str) -> World {
    let mut world = World::new(FROM, CronJobSpec { suspend: true, ..cron(schedule) });
    world.spec.suspend = false;
    for word in script.split_whitespace() {
        let letters = word.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(word.len());
        let (verb, rest) = word.split_at(letters);
        if !set(&mut world, verb, rest) {
            world.settle();
            happen(&mut world, verb, rest);
            world.settle();
        }
    }
    world.settle();
    world
}

fn check(rows: &[Row]) {
    let wrong: Vec<String> = rows
        .iter()
        .map(|(source, schedule, script, want)| {
            (source, tale(&play(schedule, script)), script, want)
        })
        .filter(|(_, got, _, want)| got != *want)
        .map(|(source, got, script, _)| format!("{source}: {script}: {got}"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn which_slots_are_started() {
    check(&[
        (
            by("cronjob_controllerv2.go syncCronJob", "each slot, on time"),
            FIVE,
            "pass900",
            "10:05 10:10 10:15 jobs=3",
        ),
        (
            by("cronjob/utils.go mostRecentScheduleTime", "none before the first"),
            FIVE,
            "pass269",
            "",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "late, at the very deadline"),
            FIVE,
            "within30 down300",
            "10:05@10:05:30 jobs=1",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "MissSchedule, strictly after the deadline"),
            FIVE,
            "within29 down300",
            "missed=1",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "MissSchedule is told once"),
            FIVE,
            "within29 down300 look look look",
            "missed=1",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "after MissSchedule the next slot"),
            FIVE,
            "within29 down300 pass270",
            "10:10 missed=1 jobs=1",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "a deadline that is raised saves the slot"),
            FIVE,
            "within29 down300 within60 look",
            "10:05@10:05:30 missed=1 jobs=1",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "without a deadline no slot is too late"),
            "0 11 * * *",
            "down86000",
            "11@09:53:50 jobs=1",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "a slot is started once"),
            FIVE,
            "pass300 look look look",
            "10:05 jobs=1",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "once, also if its job is gone"),
            FIVE,
            "pass300 remove look",
            "10:05",
        ),
        (
            by("cronjob/utils.go mostRecentScheduleTime", "only the latest of several"),
            FIVE,
            "down1000",
            "10:15@10:17:10 missed=2 jobs=1",
        ),
        (
            by("cronjob/utils.go mostRecentScheduleTime", "those after the last that was started"),
            FIVE,
            "pass300 down600",
            "10:05 10:15@10:15:30 missed=1 jobs=2",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "suspended, nothing"),
            FIVE,
            "suspend pass900",
            "",
        ),
        (
            by("k8s-semantics 7", "no longer suspended, the latest missed slot starts"),
            FIVE,
            "suspend pass600 resume look",
            "10:10@10:10:30 missed=1 jobs=1",
        ),
        (
            by("k8s-semantics 7", "no longer suspended, but the deadline has passed"),
            FIVE,
            "within10 suspend pass600 resume look",
            "missed=1",
        ),
        (
            by("k8s-semantics 7", "no longer suspended before the next slot, nothing was missed"),
            FIVE,
            "pass300 suspend pass60 resume look",
            "10:05 jobs=1",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "suspended, jobs that run go on"),
            FIVE,
            "pass300 suspend pass600",
            "10:05 jobs=1",
        ),
        (
            by("k8s-semantics 7", "another schedule is planned from the last slot"),
            "5 * * * *",
            "pass1800 cron:20_*_*_*_* look",
            "10:05 10:20@10:30:30 jobs=2",
        ),
        (
            by("k8s-semantics 7", "another schedule repeats no slot"),
            FIVE,
            "pass300 cron:*_*_*_*_* look",
            "10:05 jobs=1",
        ),
        (
            by(
                "k8s-semantics 7",
                "another schedule before the first slot counts from the beginning",
            ),
            "0 12 * * *",
            "pass600 cron:*/5_*_*_*_* look",
            "10:10@10:10:30 missed=1 jobs=1",
        ),
        (by("wsup", "stopped, nothing"), FIVE, "stop pass900", ""),
        (
            by("wsup", "started again, the latest missed slot"),
            FIVE,
            "stop pass900 start look",
            "10:15@10:15:30 missed=2 jobs=1",
        ),
        (
            by("k8s-semantics 14", "@every counts from the creation"),
            "@every 7m",
            "pass1300",
            "10:07:30 10:14:30 10:21:30 jobs=3",
        ),
        (
            by("k8s-semantics 14", "@every keeps its grid over the daemon's absence"),
            "@every 7m",
            "pass420 down600 pass300",
            "10:07:30 10:14:30@10:17:30 10:21:30 jobs=3",
        ),
        (
            by("k8s-semantics 7", "@every keeps its grid with a deadline"),
            "@every 7m",
            "within60 pass420 down450 pass390",
            "10:07:30 10:14:30@10:15 10:21:30 jobs=3",
        ),
        (
            by("k8s-semantics 14", "another @every counts from the last slot"),
            "@every 5m",
            "pass300 cron:@every_7m pass420",
            "10:05:30 10:12:30 jobs=2",
        ),
        (
            by("cron/constantdelay.go Every", "below a second is a second"),
            "@every 10ms",
            "keep9/9 pass3",
            "10:00:31 10:00:32 10:00:33 jobs=3",
        ),
        (
            by("wsup", "a clock that is put back by minutes repeats no slot"),
            FIVE,
            "pass600 back400 pass390",
            "10:05 10:10 jobs=2",
        ),
        (
            by("wsup", "and goes on when it has caught up"),
            FIVE,
            "pass600 back400 pass670",
            "10:05 10:10 10:15 jobs=3",
        ),
        (
            by("wsup", "nor one that is put back by three hours"),
            FIVE,
            "pass600 back10800 pass600",
            "10:05 10:10 jobs=2",
        ),
        (
            by("wsup", "by more it was wrong before, and the schedule begins anew"),
            FIVE,
            "pass600 back10831 pass300",
            "10:05 10:10 07:10 jobs=3",
        ),
    ]);
}

#[test]
fn what_the_concurrency_policy_says() {
    check(&[
        (
            by("cronjob_controllerv2.go syncCronJob", "Allow, side by side"),
            FIVE,
            "allow pass900",
            "10:05 10:10 10:15 jobs=3",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "Forbid, JobAlreadyActive, told once a slot"),
            FIVE,
            "forbid pass900 look look",
            "10:05 skipped=2 jobs=1",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "Forbid, the slot starts late"),
            FIVE,
            "forbid pass600 ok",
            "10:05 10:10@10:10:30 skipped=1 jobs=2",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "Forbid, also after a failure"),
            FIVE,
            "forbid pass600 bad",
            "10:05 10:10@10:10:30 skipped=1 jobs=2",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "Forbid, of two skipped slots the later"),
            FIVE,
            "forbid pass900 ok",
            "10:05 10:15@10:15:30 skipped=2 jobs=2",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "Forbid, late within the deadline"),
            FIVE,
            "within60 forbid pass600 pass30 ok",
            "10:05 10:10@10:11 skipped=1 jobs=2",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "Forbid, not past the deadline"),
            FIVE,
            "within60 forbid pass600 pass31 ok",
            "10:05 skipped=1 jobs=1",
        ),
        (
            by(
                "cronjob_controllerv2.go syncCronJob",
                "Forbid, a job that ended in time is no obstacle",
            ),
            FIVE,
            "forbid pass300 ok pass300",
            "10:05 10:10 jobs=2",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "Forbid, a job that is gone is no obstacle"),
            FIVE,
            "forbid pass600 remove look",
            "10:05 10:10@10:10:30 skipped=1 jobs=1",
        ),
        (
            by("wsup", "Forbid, a job made by hand is an obstacle"),
            FIVE,
            "hand forbid pass300",
            "skipped=1 jobs=1",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "Forbid, another's job is none"),
            FIVE,
            "foreign:09:00 forbid pass300",
            "10:05 jobs=2",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "Forbid becomes Allow, the slot starts late"),
            FIVE,
            "forbid pass600 allow look",
            "10:05 10:10@10:10:30 skipped=1 jobs=2",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "Forbid, suspended before the job ended"),
            FIVE,
            "forbid pass600 suspend ok",
            "10:05 skipped=1 jobs=1",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "Replace"),
            FIVE,
            "replace pass600",
            "10:05 10:10 replaced=1 jobs=1",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "Replace, all that are active"),
            FIVE,
            "pass900 replace pass300",
            "10:05 10:10 10:15 10:20 replaced=3 jobs=1",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "Replace, finished ones stay"),
            FIVE,
            "replace pass300 ok pass300",
            "10:05 10:10 jobs=2",
        ),
        (
            by("wsup", "Replace, one that was made by hand too"),
            FIVE,
            "hand replace pass300",
            "10:05 replaced=1 jobs=1",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "Replace, not another's"),
            FIVE,
            "foreign:09:00 replace pass300",
            "10:05 jobs=2",
        ),
        (
            by("wsup", "Replace waits for the old job's processes"),
            FIVE,
            "replace stubborn pass600 look",
            "10:05 replaced=1 jobs=1",
        ),
        (
            by("wsup", "Replace, when they are gone"),
            FIVE,
            "replace stubborn pass600 reap",
            "10:05 10:10@10:10:30 replaced=1 jobs=1",
        ),
        (
            by("wsup", "Replace, the deadline does not end what it began"),
            FIVE,
            "within10 replace stubborn pass600 reap",
            "10:05 10:10@10:10:30 replaced=1 jobs=1",
        ),
        (
            by("wsup", "Replace, the old job takes until the slot after"),
            FIVE,
            "replace stubborn pass900 reap",
            "10:05 10:15@10:15:30 missed=1 replaced=1 jobs=1",
        ),
    ]);
}

#[test]
fn a_job_of_the_slots_name() {
    check(&[
        (
            by("cronjob_controllerv2.go syncCronJob", "AlreadyExists, our own is adopted"),
            FIVE,
            "own:10:05 pass300",
            "jobs=1",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "adopted, the next slot is the next"),
            FIVE,
            "own:10:05 pass600",
            "10:10 jobs=2",
        ),
        (
            by(
                "cronjob_controllerv2.go syncCronJob",
                "adopted though complete, it is not run again",
            ),
            FIVE,
            "done:10:05 pass300",
            "jobs=1",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "adopted, it is active for Forbid"),
            FIVE,
            "own:10:05 forbid pass600",
            "skipped=1 jobs=1",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "adopted after the daemon's absence"),
            FIVE,
            "own:10:05 down300",
            "jobs=1",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "AlreadyExists, another's is left alone"),
            FIVE,
            "foreign:10:05 pass300 look",
            "skipped=1 jobs=1",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "left alone, the next slot is the next"),
            FIVE,
            "foreign:10:05 pass600",
            "10:10 skipped=1 jobs=2",
        ),
        (
            by("wsup", "another's that is removed makes room for the slot"),
            FIVE,
            "foreign:10:05 pass300 remove look",
            "10:05@10:05:30 skipped=1 jobs=1",
        ),
    ]);
}

#[test]
fn what_is_kept() {
    check(&[
        (
            by("cronjob_controllerv2.go cleanupFinishedJobs", "successes"),
            FIVE,
            "keep2/1 pass300 ok pass300 ok pass300 ok",
            "10:05 10:10 10:15 jobs=2",
        ),
        (
            by("cronjob_controllerv2.go cleanupFinishedJobs", "failures apart"),
            FIVE,
            "keep2/1 pass300 bad pass300 ok pass300 bad",
            "10:05 10:10 10:15 jobs=2",
        ),
        (
            by("cronjob_controllerv2.go cleanupFinishedJobs", "0 keeps none"),
            FIVE,
            "keep3/0 pass300 bad",
            "10:05",
        ),
        (
            by("cronjob_controllerv2.go cleanupFinishedJobs", "what runs is not finished"),
            FIVE,
            "keep0/0 pass900",
            "10:05 10:10 10:15 jobs=3",
        ),
        (
            by("cronjob_controllerv2.go cleanupFinishedJobs", "also while suspended"),
            FIVE,
            "pass300 ok suspend keep0/0 look",
            "10:05",
        ),
        (
            by(
                "cronjob_controllerv2.go cleanupFinishedJobs",
                "also if the schedule cannot be read",
            ),
            FIVE,
            "pass300 ok cron:61_*_*_*_* keep0/0 look",
            "10:05 invalid=1",
        ),
        (
            by("cronjob_controllerv2.go cleanupFinishedJobs", "also if the slot is skipped"),
            FIVE,
            "pass300 ok forbid pass300 keep0/0 pass300",
            "10:05 10:10 skipped=1 jobs=1",
        ),
        (
            by("cronjob_controllerv2.go cleanupFinishedJobs", "a limit that is lowered"),
            FIVE,
            "pass300 ok pass300 ok keep1/1 look",
            "10:05 10:10 jobs=1",
        ),
        (by("wsup", "a job made by hand is part of the history"), FIVE, "hand keep0/0 ok look", ""),
        (
            by("cronjob_controllerv2.go cleanupFinishedJobs", "another's is not"),
            FIVE,
            "foreign:09:00 keep0/0 ok look",
            "jobs=1",
        ),
        (
            by("wsup", "stopped, nothing is removed"),
            FIVE,
            "pass300 ok stop keep0/0 look",
            "10:05 jobs=1",
        ),
    ]);
}

#[test]
fn what_cannot_be_followed() {
    check(&[
        (
            by("cronjob_controllerv2.go syncCronJob", "UnknownTimeZone, nothing starts"),
            FIVE,
            "zone:Mars/Base pass900",
            "invalid=1",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "the zone is known again"),
            FIVE,
            "zone:Mars/Base pass600 zone:UTC look",
            "10:10@10:10:30 missed=1 invalid=1 jobs=1",
        ),
        (
            by("wsup", "another complaint is told"),
            FIVE,
            "zone:Mars/Base look zone:Mars/Dome look look",
            "invalid=2",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "UnparseableSchedule"),
            "61 * * * *",
            "pass900",
            "invalid=1",
        ),
        (
            by("cronjob_controllerv2.go syncCronJob", "jobs that run go on"),
            FIVE,
            "pass300 zone:Mars/Base pass600",
            "10:05 invalid=1 jobs=1",
        ),
        (
            by("wsup", "a schedule that never runs says so"),
            "0 0 30 2 *",
            "pass900 look",
            "invalid=1",
        ),
        (by("cron/spec.go Next", "nor in April"), "0 0 31 4,6,9,11 *", "pass900 look", "invalid=1"),
        (by("wsup", "suspended it says nothing"), "0 0 30 2 *", "suspend pass900", ""),
        (
            by("wsup", "given a time it runs"),
            "0 0 30 2 *",
            "pass900 cron:*/5_*_*_*_* look",
            "10:15@10:15:30 missed=2 invalid=1 jobs=1",
        ),
        (by("cron/spec.go Next", "29 February comes"), "0 0 29 2 *", "pass900 look", ""),
    ]);
}

/// (source, slots that were missed, whether the warning asks to look at the clock)
#[test]
fn many_missed_slots_start_the_latest_with_a_warning() {
    let rows = [
        (by("cronjob/utils.go mostRecentScheduleTime", "two"), 2, false),
        (by("cronjob/utils.go mostRecentScheduleTime", "100 is not too many"), 100, false),
        (by("cronjob/utils.go mostRecentScheduleTime", "TooManyMissedTimes above 100"), 101, true),
        (by("cronjob/utils.go mostRecentScheduleTime", "thousands"), 5_000, true),
    ];
    for (source, slots, asks) in rows {
        let mut world = World::new(FROM, cron("* * * * *"));
        world.down(slots * 60);
        assert_eq!(world.starts.len(), 1, "{source}");
        let note = world.notes.iter().find(|n| n.reason == Reason::CronMissed).unwrap();
        assert_eq!(note.message.contains("check the clock"), asks, "{source}: {}", note.message);
        assert_eq!(world.missed(), slots as i64 - 1, "{source}");
    }
}

/// (source, schedule, slot, the name of its job)
#[test]
fn names_of_the_jobs() {
    let rows = [
        (
            by("cronjob/utils.go getJobName", "the unix minute"),
            "* * * * *",
            "1970-01-01T00:02:00Z",
            "backup-2",
        ),
        (
            by("cronjob/utils.go getJobName", "seconds are cut"),
            "@every 61s",
            "1970-01-01T00:02:59Z",
            "backup-2",
        ),
        (
            by("cronjob/utils.go getJobName", "a minute"),
            "@every 60s",
            "2026-01-01T10:00:00Z",
            "backup-29454360",
        ),
        (
            by("wsup", "below a minute the second"),
            "@every 59s",
            "1970-01-01T00:02:59Z",
            "backup-179",
        ),
    ];
    for (source, schedule, slot, want) in rows {
        let spec = cron(schedule);
        let template = super::tests::template();
        let now = crate::core::time::Now { mono: crate::core::time::Mono(1), wall: wall(slot) };
        let context = Context { name: "backup", template: &template, mode: Mode::Run, now };
        let sync = Sync {
            spec: &spec,
            context: &context,
            jobs: &[],
            created: wall(slot),
            schedule: Arc::new(Schedule::parse(schedule).unwrap()),
            zone: TimeZone::UTC,
            delay: Millis::ZERO,
        };
        assert_eq!(sync.job_name(wall(slot)), want, "{source}");
    }
}

/// (source, name of the cronjob, what the random part is appended to)
#[test]
fn names_of_jobs_made_by_hand() {
    let long = "a".repeat(52);
    let dashed = format!("{}-{}", "a".repeat(49), "bb");
    let rows = [
        (by("wsup", "its name and `manual`"), "backup", "backup-manual".to_owned()),
        (by("wsup", "cut to fit a label"), &long, format!("{}-manual", "a".repeat(50))),
        (by("wsup", "no two dashes in a row"), &dashed, format!("{}-manual", "a".repeat(49))),
    ];
    for (source, name, want) in rows {
        assert_eq!(manual_prefix(name), want, "{source}");
        assert!(want.len() + 6 <= 63, "{source}");
    }
}

/// (source, the most it may be in ms, whether it delays at all)
#[test]
fn jitter() {
    let rows = [
        (by("wsup", "none"), 0, false),
        (by("wsup", "some"), 120_000, true),
        (by("wsup", "as long as can be"), u64::MAX, true),
    ];
    for (source, most, delays) in rows {
        let fixed = delay(Millis(most), "backup");
        assert!(fixed.0 <= most, "{source}");
        assert_eq!(fixed.0 > 0, delays, "{source}");
        assert_eq!(fixed, delay(Millis(most), "backup"), "{source}: the same each time");
        assert_eq!(fixed != delay(Millis(most), "report"), delays, "{source}: spread over names");
    }
}

/// FNV-1a of 64 bits with its published values for these texts, both halves folded into the lower one.
#[test]
fn the_delay_by_jitter_follows_from_the_name() {
    for (name, hash) in [
        ("", 0xcbf2_9ce4_4fd0_bfc1),
        ("a", 0xaf63_dc4c_2962_30c0),
        ("foobar", 0x8594_4171_72ad_2699),
    ] {
        let hash: u64 = hash;
        assert_eq!(delay(Millis(u64::MAX - 1), name), Millis(hash % u64::MAX), "{name}");
        assert_eq!(
            delay(Millis(999), name),
            Millis(hash % 1_000),
            "{name}: up to the jitter itself"
        );
        assert_eq!(delay(Millis::ZERO, name), Millis::ZERO);
    }
}
