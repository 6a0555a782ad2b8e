//! The rules of a job, one row each: what is set and what happens, as words, and how things stand
//! then. Each row begins with the Kubernetes source of its rule (below `pkg/controller/job` or
//! `pkg/controller/ttlafterfinished`; `validation.go` is `pkg/apis/batch/validation`), or with
//! `wsup` if it is our own.
//!
//! Words that set: `limitN` (backoff_limit), `perN` (backoff_limit_per_index), `maxN`
//! (max_failed_indexes), `deadlineN`, `ttlN` (seconds), `parN`, `compN`, `onfailure`, `suspend`,
//! `resume`; rules of the failure policy in their order: `failjobN`, `failindexN`, `ignoreN`,
//! `countN`, `elsejobN` (fail_job, not_in); of the success policy: `all:A-B`, `any:N`, `of:A-B:N`.
//!
//! Words that happen: `ok`, `exitN`, `sigN` end the oldest active run, or with `@I` that of index
//! I; with `!` before it the controller is not called, so that the next end comes in the same look.
//! `delete` (an operator removes the oldest active run), `goneN` (the oldest of those on their way
//! out ends with this code), `reap` (all of those end, by TERM), `restart` (in place), `waitN`
//! (seconds, the controller is called when it asked to be), `jumpN` (it is not), `look`.

use super::tests::{World, indexed, job, many, queue, template};
use super::*;
use crate::core::event::Exit;
use crate::core::spec::{FailureAction, FailureRule};
use crate::core::table::{Rule, by};
use crate::core::time::Millis;
use crate::core::workload::Identity;

type Row = (Rule, JobSpec, &'static str, &'static str);

fn number(text: &str) -> u32 {
    text.parse().unwrap()
}

fn range(text: &str) -> Vec<(u32, u32)> {
    let (first, last) = text.split_once('-').unwrap();
    vec![(number(first), number(last))]
}

fn failure(action: FailureAction, code: &str, negate: bool) -> FailureRule {
    FailureRule { action, exit_codes: vec![code.parse().unwrap()], negate }
}

/// Changes the spec if the word is one that does.
fn set(world: &mut World, word: &str) -> bool {
    let letters = word.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(word.len());
    let (verb, rest) = word.split_at(letters);
    let spec = &mut world.spec;
    let seconds = || Some(Millis::from_secs(u64::from(number(rest))));
    let rules = &mut spec.failure_policy;
    match verb {
        "limit" => spec.backoff_limit = number(rest),
        "per" => spec.backoff_limit_per_index = Some(number(rest)),
        "max" => spec.max_failed_indexes = Some(number(rest)),
        "deadline" => spec.active_deadline = seconds(),
        "ttl" => spec.ttl_after_finished = seconds(),
        "par" => spec.parallelism = number(rest),
        "comp" => spec.completions = Some(number(rest)),
        "onfailure" => world.template = template(RestartPolicy::OnFailure),
        "suspend" => spec.suspend = true,
        "resume" => spec.suspend = false,
        "failjob" => rules.push(failure(FailureAction::FailJob, rest, false)),
        "failindex" => rules.push(failure(FailureAction::FailIndex, rest, false)),
        "ignore" => rules.push(failure(FailureAction::Ignore, rest, false)),
        "count" => rules.push(failure(FailureAction::Count, rest, false)),
        "elsejob" => rules.push(failure(FailureAction::FailJob, rest, true)),
        "all" => {
            let indexes = Some(range(&rest[1..]));
            spec.success_policy.push(SuccessRule { indexes, count: None });
        }
        "any" => {
            let count = Some(number(&rest[1..]));
            spec.success_policy.push(SuccessRule { indexes: None, count });
        }
        "of" => {
            let (indexes, count) = rest[1..].split_once(':').unwrap();
            let (indexes, count) = (Some(range(indexes)), Some(number(count)));
            spec.success_policy.push(SuccessRule { indexes, count });
        }
        _ => return false,
    }
    true
}

fn exit(word: &str) -> Option<Exit> {
    if word == "ok" {
        Some(Exit::Code(0))
    } else if let Some(code) = word.strip_prefix("exit") {
        Some(Exit::Code(code.parse().unwrap()))
    } else {
        Some(Exit::Signal(word.strip_prefix("sig")?.parse().unwrap()))
    }
}

/// The program of a run ends, and nobody has looked yet.
fn end(world: &mut World, at: usize, exit: Exit) {
    let now = world.now.mono;
    let one = &mut world.here[at];
    one.phase = if exit.is_success() { Phase::Succeeded } else { Phase::Failed };
    (one.exit, one.ended, one.ready_since) = (Some(exit), Some(now), None);
}

/// The first run on its way out ends, as the core has it: the job may judge it, then it is gone.
fn gone(world: &mut World, exit: Exit) {
    let at = world.here.iter().position(|o| o.terminating).unwrap();
    end(world, at, exit);
    let one = world.here.remove(at);
    ended_leaving(&world.spec, &mut world.state, &one, world.now);
}

fn happen(world: &mut World, word: &str) {
    let active = |world: &World| world.here.iter().position(Observed::active).unwrap();
    let seconds = |n: &str| Millis::from_secs(n.parse().unwrap());
    let word = word.trim_start_matches('!');
    let (what, index) = word.split_once('@').unwrap_or((word, ""));
    match what {
        "delete" => {
            let at = active(world);
            world.here[at].terminating = true;
        }
        "reap" => {
            while world.here.iter().any(|o| o.terminating) {
                gone(world, Exit::Signal(15));
            }
        }
        "restart" => {
            let at = active(world);
            world.here[at].restarts += 1;
        }
        "look" => {}
        "stop" => world.mode = Mode::Stopped,
        "start" => world.mode = Mode::Run,
        _ => {
            if let Some(code) = what.strip_prefix("gone") {
                gone(world, Exit::Code(code.parse().unwrap()));
            } else if let Some(n) = what.strip_prefix("wait") {
                world.pass(n.parse().unwrap());
            } else if let Some(n) = what.strip_prefix("jump") {
                world.now = world.now.plus(seconds(n));
            } else {
                let at = match index {
                    "" => active(world),
                    index => {
                        let identity = Identity::Index(number(index));
                        let here = &world.here;
                        here.iter().position(|o| o.active() && o.identity == identity).unwrap()
                    }
                };
                end(world, at, exit(what).unwrap_or_else(|| panic!("{word}")));
            }
        }
    }
}

/// `ACTIVE SUCCEEDED/FAILED`, of an indexed job what became of its indexes, the conditions that
/// hold, and `removed`.
fn tale(world: &World) -> String {
    let (succeeded, failed) = world.counts();
    let mut tale = format!("{} {succeeded}/{failed}", world.active());
    let (done, lost) = (world.state.completed_indexes(), world.state.failed_indexes());
    for (word, set) in [("done", done), ("lost", lost)] {
        if !set.is_empty() {
            tale += &format!(" {word}={}", set.text());
        }
    }
    for condition in world.state.conditions.0.iter().filter(|c| c.status == Truth::True) {
        let kind = match &*condition.kind {
            SUCCESS_CRITERIA_MET => "Success",
            FAILURE_TARGET => "Failing",
            other => other,
        };
        tale += &format!(" {kind}:{}", condition.reason);
    }
    if world.removed {
        tale += " removed";
    }
    tale
}

fn play(spec: JobSpec, script: &str) -> String {
    let mut world = World::unsettled(spec);
    let mut unseen = false;
    for word in script.split_whitespace() {
        if set(&mut world, word) {
            continue;
        }
        // What was set before is seen first, unless nobody is to look.
        unseen |= word.starts_with('!');
        if !unseen {
            world.settle();
        }
        happen(&mut world, word);
        unseen = word.starts_with('!') || word.starts_with("jump");
        if !unseen {
            world.settle();
        }
    }
    world.settle();
    tale(&world)
}

fn check(rows: Vec<Row>) {
    let wrong: Vec<String> = rows
        .into_iter()
        .map(|(source, spec, script, expected)| (source, play(spec, script), script, expected))
        .filter(|(_, got, _, expected)| got != expected)
        .map(|(source, got, script, _)| format!("{source}: {script}: {got}"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_first_check_that_holds_decides() {
    check(vec![
        (
            by("job_controller.go syncJob", "the failure policy comes before the limit"),
            job(),
            "limit0 failjob42 exit42",
            "0 0/1 Failing:PodFailurePolicy Failed:PodFailurePolicy",
        ),
        (
            by("job_controller.go syncJob", "the limit comes before the deadline"),
            job(),
            "limit0 deadline60 look jump60 exit1",
            "0 0/1 Failing:BackoffLimitExceeded Failed:BackoffLimitExceeded",
        ),
        (
            by("job_controller.go syncJob", "the deadline comes before the failed indexes"),
            indexed(2, 1),
            "per0 max0 deadline60 look jump60 exit1@0",
            "0 0/1 lost=0 Failing:DeadlineExceeded Failed:DeadlineExceeded",
        ),
        (
            by("job_controller.go syncJob", "too many failed indexes come before failed indexes"),
            indexed(1, 1),
            "per0 max0 exit1@0",
            "0 0/1 lost=0 Failing:MaxFailedIndexesExceeded Failed:MaxFailedIndexesExceeded",
        ),
        (
            by("job_controller.go syncJob", "failed indexes come before the success policy"),
            indexed(2, 2),
            "per0 limit9 any:1 look !ok@0 exit1@1",
            "0 1/1 done=0 lost=1 Failing:FailedIndexes Failed:FailedIndexes",
        ),
        (
            by("job_controller.go syncJob", "the success policy comes before the completions"),
            indexed(2, 2),
            "any:1 look !ok@0 ok@1",
            "0 2/0 done=0,1 Success:SuccessPolicy Complete:SuccessPolicy",
        ),
        (
            by("job_controller.go syncJob", "the deadline comes before the completions"),
            job(),
            "deadline60 look jump60 ok",
            "0 1/0 Failing:DeadlineExceeded Failed:DeadlineExceeded",
        ),
        (
            by("job_controller.go syncJob", "the limit comes before the completions"),
            many(1, 2),
            "comp2 limit0 look comp1 !exit1 ok",
            "0 1/1 Failing:BackoffLimitExceeded Failed:BackoffLimitExceeded",
        ),
        (
            by(
                "job_controller.go syncJob",
                "SuccessCriteriaMet stays, a later failure is not counted",
            ),
            indexed(3, 3),
            "limit0 any:1 ok@0 gone1 gone1",
            "0 1/0 done=0 Success:SuccessPolicy Complete:SuccessPolicy",
        ),
        (
            by("job_controller.go syncJob", "SuccessCriteriaMet stays when more is wanted"),
            many(2, 2),
            "look comp1 look ok comp5 reap",
            "0 1/0 Success:CompletionsReached Complete:CompletionsReached",
        ),
        (
            by("job_controller.go syncJob", "SuccessCriteriaMet stays past the deadline"),
            many(2, 2),
            "deadline60 look comp1 look ok wait60 reap",
            "0 1/0 Success:CompletionsReached Complete:CompletionsReached",
        ),
        (
            by("job_controller.go syncJob", "FailureTarget stays when the limit is raised"),
            many(2, 2),
            "limit0 exit1 limit9 reap",
            "0 0/2 Failing:BackoffLimitExceeded Failed:BackoffLimitExceeded",
        ),
        (
            by("job_controller.go syncJob", "FailureTarget stays when a run that leaves exits 0"),
            many(2, 2),
            "limit0 exit1 gone0",
            "0 0/2 Failing:BackoffLimitExceeded Failed:BackoffLimitExceeded",
        ),
        (
            by(
                "job_controller.go exceedsBackoffLimit",
                "a limit that is lowered below the failures",
            ),
            many(5, 1),
            "exit1 limit0 look",
            "0 0/1 Failing:BackoffLimitExceeded Failed:BackoffLimitExceeded",
        ),
        (
            by("job_controller.go exceedsBackoffLimit", "a limit that is lowered to the failures"),
            many(5, 1),
            "exit1 limit1 wait10",
            "1 0/1",
        ),
    ]);
}

#[test]
fn the_end_is_said_when_nothing_is_left() {
    check(vec![
        (
            by("job_controller.go delayTerminalCondition", "failing, while processes are there"),
            many(3, 3),
            "limit0 exit1",
            "0 0/3 Failing:BackoffLimitExceeded",
        ),
        (
            by("job_controller.go delayTerminalCondition", "failing, while one of them is there"),
            many(3, 3),
            "limit0 exit1 gone143",
            "0 0/3 Failing:BackoffLimitExceeded",
        ),
        (
            by("job_controller.go delayTerminalCondition", "failed, when the last is gone"),
            many(3, 3),
            "limit0 exit1 gone143 gone143",
            "0 0/3 Failing:BackoffLimitExceeded Failed:BackoffLimitExceeded",
        ),
        (
            by("job_controller.go delayTerminalCondition", "to be complete"),
            indexed(3, 3),
            "any:1 ok@1 gone143",
            "0 1/0 done=1 Success:SuccessPolicy",
        ),
        (
            by("job_controller.go delayTerminalCondition", "complete, when the last is gone"),
            indexed(3, 3),
            "any:1 ok@1 gone143 gone143",
            "0 1/0 done=1 Success:SuccessPolicy Complete:SuccessPolicy",
        ),
        (
            by("job_controller.go delayTerminalCondition", "the deadline, while a process hangs"),
            job(),
            "deadline60 look wait3600",
            "0 0/1 Failing:DeadlineExceeded",
        ),
        (
            by("job_controller.go newSuccessCondition", "reason CompletionsReached"),
            job(),
            "ok",
            "0 1/0 Success:CompletionsReached Complete:CompletionsReached",
        ),
        (
            by("ttlafterfinished_controller.go", "not while processes are there"),
            many(2, 2),
            "ttl0 limit0 exit1 wait600",
            "0 0/2 Failing:BackoffLimitExceeded",
        ),
        (
            by("ttlafterfinished_controller.go", "a failed job goes too"),
            job(),
            "ttl60 limit0 exit1 wait60",
            "0 0/1 Failing:BackoffLimitExceeded Failed:BackoffLimitExceeded removed",
        ),
        (
            by("ttlafterfinished_controller.go", "counted from the end, not from the start"),
            job(),
            "ttl60 look wait600 ok wait59",
            "0 1/0 Success:CompletionsReached Complete:CompletionsReached",
        ),
        (
            by("ttlafterfinished_controller.go", "set afterwards, still to come"),
            job(),
            "ok wait30 ttl60 look wait29",
            "0 1/0 Success:CompletionsReached Complete:CompletionsReached",
        ),
        (
            by("ttlafterfinished_controller.go", "set afterwards, overdue"),
            job(),
            "ok wait90 ttl60 look",
            "0 1/0 Success:CompletionsReached Complete:CompletionsReached removed",
        ),
        (
            by("ttlafterfinished_controller.go", "a suspended job is not finished"),
            job(),
            "ttl0 suspend look wait600",
            "0 0/0 Suspended:JobSuspended",
        ),
    ]);
}

#[test]
fn the_delay_before_a_replacement() {
    check(vec![
        (
            by("backoff_utils.go", "10 s after the first failure, not yet"),
            job(),
            "exit1 wait9",
            "0 0/1",
        ),
        (by("backoff_utils.go", "10 s after the first failure"), job(), "exit1 wait10", "1 0/1"),
        (
            by("backoff_utils.go", "20 s after the second, not yet"),
            job(),
            "exit1 wait10 exit1 wait19",
            "0 0/2",
        ),
        (
            by("backoff_utils.go", "20 s after the second"),
            job(),
            "exit1 wait10 exit1 wait20",
            "1 0/2",
        ),
        (
            by("backoff_utils.go", "a long run does not shorten it"),
            job(),
            "exit1 wait10 look wait3600 exit1 wait19",
            "0 0/2",
        ),
        (
            by("backoff_utils.go", "from the end, not from when it was seen; not yet"),
            job(),
            "look !exit1 jump4 look wait5",
            "0 0/1",
        ),
        (
            by("backoff_utils.go", "from the end, not from when it was seen"),
            job(),
            "look !exit1 jump4 look wait6",
            "1 0/1",
        ),
        (
            by("backoff_utils.go newBackoffRecord", "a success begins anew"),
            many(3, 1),
            "exit1 wait10 exit1 wait20 ok exit1 wait10",
            "1 1/3",
        ),
        (
            by("backoff_utils.go newBackoffRecord", "in one look, the failure after the success"),
            many(5, 2),
            "look !ok jump1 exit1 wait9",
            "0 1/1",
        ),
        (
            by("backoff_utils.go newBackoffRecord", "in one look, the failure before the success"),
            many(5, 2),
            "look !exit1 jump1 ok",
            "2 1/1",
        ),
        (
            by(
                "backoff_utils.go newBackoffRecord",
                "a failure that ended not later than the success",
            ),
            many(5, 2),
            "look !exit1 ok",
            "2 1/1",
        ),
        (
            by("backoff_utils.go newBackoffRecord", "three at once wait 40 s; not yet"),
            many(9, 3),
            "look !exit1 !exit1 exit1 wait39",
            "0 0/3",
        ),
        (
            by("backoff_utils.go newBackoffRecord", "three at once wait 40 s"),
            many(9, 3),
            "look !exit1 !exit1 exit1 wait40",
            "3 0/3",
        ),
        (
            by("backoff_utils.go", "from the latest of several ends"),
            many(9, 2),
            "look !exit1 jump5 exit1 wait19",
            "0 0/2",
        ),
        (
            by("job_controller.go manageJob", "nothing at all is made while it runs"),
            many(10, 3),
            "exit1 par5 wait9",
            "2 0/1",
        ),
        (
            by("job_controller.go manageJob", "all that is missing is made after it"),
            many(10, 3),
            "exit1 par5 wait10",
            "5 0/1",
        ),
        (
            by("job_controller.go manageJob", "removing waits for nothing"),
            many(10, 3),
            "exit1 par1",
            "1 0/1",
        ),
        (
            by("job_controller.go newBackoffRecord", "a run removed by hand counts"),
            job(),
            "delete gone143 wait9",
            "0 0/1",
        ),
        (
            by("job_controller.go newBackoffRecord", "surplus does not count"),
            many(5, 2),
            "look par1 look reap par2 look",
            "2 0/0",
        ),
        (
            by("backoff_utils.go", "an ignored failure waits too"),
            job(),
            "ignore3 exit3 wait9",
            "0 0/0",
        ),
        (
            by("backoff_utils.go", "ignored failures lengthen it"),
            job(),
            "ignore3 exit3 wait10 exit3 wait19",
            "0 0/0",
        ),
        (
            by("backoff_utils.go", "it goes on while the job is suspended"),
            job(),
            "exit1 suspend wait5 resume wait4",
            "0 0/1",
        ),
        (
            by("backoff_utils.go", "over by the time the job is resumed"),
            job(),
            "exit1 suspend wait10 resume look",
            "1 0/1",
        ),
        (
            by("backoff_utils.go getRemainingTimePerIndex", "each index has its own count"),
            indexed(2, 2),
            "per9 limit99 exit1@0 wait10 exit1@0 exit1@1 wait10",
            "1 0/3",
        ),
        (
            by("backoff_utils.go getRemainingTimePerIndex", "both are over"),
            indexed(2, 2),
            "per9 limit99 exit1@0 wait10 exit1@0 exit1@1 wait20",
            "2 0/3",
        ),
        (
            by("backoff_utils.go getRemainingTimePerIndex", "ignored failures lengthen it"),
            indexed(1, 1),
            "per9 limit99 ignore3 exit3@0 wait10 exit3@0 wait19",
            "0 0/0",
        ),
        (
            by("k8s-semantics 6", "an index that waits does not hold up another"),
            indexed(3, 1),
            "per9 limit99 exit1@0",
            "1 0/1",
        ),
    ]);
}

#[test]
fn suspension() {
    check(vec![
        (
            by("job_controller.go manageJob", "everything active is removed"),
            many(5, 3),
            "suspend look",
            "0 0/0 Suspended:JobSuspended",
        ),
        (
            by(
                "job_controller.go deleteJobPods",
                "what is removed is not counted, however it ends",
            ),
            many(5, 2),
            "look suspend gone0 gone1",
            "0 0/0 Suspended:JobSuspended",
        ),
        (
            by("job_controller.go syncJob", "what had ended before is counted"),
            many(5, 2),
            "look !ok suspend look",
            "0 1/0 Suspended:JobSuspended",
        ),
        (
            by("job_controller.go syncJob", "resumed, Suspended does not hold"),
            many(5, 2),
            "look suspend reap resume look",
            "2 0/0",
        ),
        (
            by("k8s-semantics 6", "resumed, a run that is still leaving keeps its place"),
            many(5, 2),
            "look suspend look resume look",
            "0 0/0",
        ),
        (
            by("job_controller.go pastActiveDeadline", "not while suspended"),
            job(),
            "deadline60 look suspend reap wait600",
            "0 0/0 Suspended:JobSuspended",
        ),
        (
            by("job_controller.go syncJob", "resumed, the start time is reset; not yet"),
            job(),
            "deadline60 look wait50 suspend reap wait600 resume wait59",
            "1 0/0",
        ),
        (
            by("job_controller.go syncJob", "resumed, the start time is reset"),
            job(),
            "deadline60 look wait50 suspend reap wait600 resume wait60 reap",
            "0 0/1 Failing:DeadlineExceeded Failed:DeadlineExceeded",
        ),
        (
            by(
                "job_controller.go syncJob",
                "suspended from the outset, the deadline has not begun",
            ),
            job(),
            "deadline60 suspend wait600 resume wait59",
            "1 0/0",
        ),
        (
            by("job_controller.go syncJob", "the limit holds while suspended"),
            many(5, 1),
            "exit1 suspend look limit0 look",
            "0 0/1 Suspended:JobSuspended Failing:BackoffLimitExceeded Failed:BackoffLimitExceeded",
        ),
        (
            by("job_controller.go syncJob", "suspended is only what is not complete"),
            many(0, 1),
            "suspend look",
            "0 0/0 Success:CompletionsReached Complete:CompletionsReached",
        ),
        (
            by("job_controller.go syncJob", "complete in the look that would suspend it"),
            job(),
            "look !ok suspend look",
            "0 1/0 Success:CompletionsReached Complete:CompletionsReached",
        ),
        (
            by("job_controller.go syncJob", "finished jobs are never touched"),
            job(),
            "ok suspend wait10 resume wait10",
            "0 1/0 Success:CompletionsReached Complete:CompletionsReached",
        ),
        (
            by("job_controller.go syncJob", "counts stay over a suspension"),
            many(9, 1),
            "exit1 wait10 ok suspend reap resume look",
            "1 1/1",
        ),
        (
            by("job_controller.go syncJob", "indexes stay over a suspension"),
            indexed(3, 1),
            "ok@0 suspend reap resume look ok@1",
            "1 2/0 done=0,1",
        ),
        (
            by("wsup", "a stop removes and counts nothing"),
            many(5, 2),
            "look stop gone0 gone1",
            "0 0/0",
        ),
        (
            by("wsup", "a stop is no suspension, the job goes on"),
            many(5, 2),
            "stop reap start",
            "2 0/0",
        ),
        (
            by("wsup", "the deadline stands still while stopped and is not reset"),
            job(),
            "deadline60 look wait50 stop reap wait600 start wait10 reap",
            "0 0/1 Failing:DeadlineExceeded Failed:DeadlineExceeded",
        ),
    ]);
}

#[test]
fn the_deadline() {
    check(vec![
        (
            by("job_controller.go pastActiveDeadline", "not yet"),
            job(),
            "deadline60 look wait59",
            "1 0/0",
        ),
        (
            by("job_controller.go pastActiveDeadline", "elapsed >= limit"),
            job(),
            "deadline60 look wait60 reap",
            "0 0/1 Failing:DeadlineExceeded Failed:DeadlineExceeded",
        ),
        (
            by("job_controller.go pastActiveDeadline", "set later, it counts from the start"),
            job(),
            "look wait90 deadline60 look reap",
            "0 0/1 Failing:DeadlineExceeded Failed:DeadlineExceeded",
        ),
        (
            by("job_controller.go pastActiveDeadline", "raised in time"),
            job(),
            "deadline60 look wait50 deadline100 look wait49",
            "1 0/0",
        ),
        (
            by("job_controller.go pastActiveDeadline", "of the job, not of a run"),
            job(),
            "deadline60 exit1 wait10 exit1 wait20 exit1 wait30",
            "0 0/3 Failing:DeadlineExceeded Failed:DeadlineExceeded",
        ),
        (
            by("job_controller.go pastActiveDeadline", "it holds a job of parallelism 0 too"),
            many(3, 0),
            "deadline60 look wait60",
            "0 0/0 Failing:DeadlineExceeded Failed:DeadlineExceeded",
        ),
        (
            by("job_controller.go pastActiveDeadline", "before the limit of restarts is reached"),
            job(),
            "onfailure limit9 deadline60 restart wait60 reap",
            "0 0/1 Failing:DeadlineExceeded Failed:DeadlineExceeded",
        ),
    ]);
}

#[test]
fn how_many_run() {
    check(vec![
        (
            by("job_controller.go manageJob", "parallelism raised"),
            many(9, 1),
            "look par4 look",
            "4 0/0",
        ),
        (
            by("job_controller.go manageJob", "parallelism lowered"),
            many(9, 4),
            "look par1",
            "1 0/0",
        ),
        (
            by("job_controller.go manageJob", "parallelism 0 holds"),
            many(9, 4),
            "look par0",
            "0 0/0",
        ),
        (
            by("job_controller.go manageJob", "held and let go"),
            many(9, 4),
            "look par0 reap par2 look",
            "2 0/0",
        ),
        (by("job_controller.go manageJob", "the last completion"), many(3, 3), "ok ok", "1 2/0"),
        (
            by("job_controller.go manageJob", "a failure leaves as many to do"),
            many(3, 3),
            "exit1 wait10",
            "3 0/1",
        ),
        (
            by(
                "job_controller.go manageJob",
                "fewer completions, surplus is removed and not counted",
            ),
            many(5, 5),
            "ok ok look comp3 reap",
            "1 2/0",
        ),
        (
            by("job_controller.go syncJob", "fewer completions than succeeded"),
            many(5, 1),
            "ok ok ok comp2 look reap",
            "0 3/0 Success:CompletionsReached Complete:CompletionsReached",
        ),
        (
            by(
                "job_controller.go manageJob",
                "work queue, nothing is begun after the first success",
            ),
            queue(3),
            "ok exit1 wait600",
            "1 1/1",
        ),
        (
            by("job_controller.go manageJob", "work queue, nor when parallelism is raised then"),
            queue(2),
            "ok par5 look",
            "1 1/0",
        ),
        (
            by("job_controller.go manageJob", "work queue, nor removed when it is lowered then"),
            queue(3),
            "ok par1 look",
            "2 1/0",
        ),
        (
            by("job_controller.go manageJob", "work queue, failures before it are replaced"),
            queue(3),
            "exit1 wait10",
            "3 0/1",
        ),
        (
            by("job_controller.go syncJob", "work queue, complete when the others have ended"),
            queue(2),
            "ok exit1",
            "0 1/1 Success:CompletionsReached Complete:CompletionsReached",
        ),
        (
            by(
                "job_controller.go syncJob",
                "work queue, a run removed after the success is no obstacle",
            ),
            queue(2),
            "ok delete gone143",
            "0 1/1 Success:CompletionsReached Complete:CompletionsReached",
        ),
        (
            by("job_controller.go isPodFailed", "removed by hand, a failure at once"),
            job(),
            "delete",
            "0 0/1",
        ),
        (
            by("job_controller.go isPodFailed", "removed by hand, however it ends"),
            job(),
            "delete gone0 wait10",
            "1 0/1",
        ),
        (
            by("k8s-semantics 6", "it is replaced when it is gone, not before"),
            job(),
            "delete wait600",
            "0 0/1",
        ),
        (
            by("job_controller.go pastBackoffLimitOnFailure", "restarts of all runs add up"),
            many(4, 2),
            "onfailure limit2 restart restart",
            "0 0/2 Failing:BackoffLimitExceeded",
        ),
        (
            by("job_controller.go pastBackoffLimitOnFailure", "those of a run that ended do not"),
            many(4, 2),
            "onfailure limit2 restart ok restart",
            "2 1/0",
        ),
        (
            by(
                "job_controller.go pastBackoffLimitOnFailure",
                "those of a run that was removed do not",
            ),
            many(4, 2),
            "onfailure limit2 restart par0 look reap par1 restart",
            "1 0/0",
        ),
        (
            by("job_controller.go pastBackoffLimitOnFailure", "Never does not look at restarts"),
            job(),
            "limit0 restart",
            "1 0/0",
        ),
        (
            by(
                "job_controller.go syncJob",
                "OnFailure, a run removed by hand counts against the limit",
            ),
            job(),
            "onfailure limit0 delete reap",
            "0 0/1 Failing:BackoffLimitExceeded Failed:BackoffLimitExceeded",
        ),
    ]);
}

#[test]
fn indexes_that_come_and_go() {
    check(vec![
        (
            by("batch/validation.go validateCompletions", "elastic: an index beyond is forgotten"),
            indexed(5, 5),
            "ok@4 comp3 par3 reap",
            "3 0/0",
        ),
        (
            by("batch/validation.go validateCompletions", "elastic: an index below stays"),
            indexed(5, 5),
            "ok@0 ok@4 comp3 par3 reap",
            "2 1/0 done=0",
        ),
        (
            by(
                "batch/validation.go validateCompletions",
                "elastic: runs beyond are removed and not counted",
            ),
            indexed(4, 4),
            "look comp2 par2 gone0 gone1",
            "2 0/0",
        ),
        (
            by("batch/validation.go validateCompletions", "elastic: complete with what is left"),
            indexed(4, 2),
            "ok@0 ok@1 comp2 par2 reap",
            "0 2/0 done=0,1 Success:CompletionsReached Complete:CompletionsReached",
        ),
        (
            by("batch/validation.go validateCompletions", "elastic: more indexes begin"),
            indexed(2, 2),
            "ok@0 comp4 par4 look",
            "3 1/0 done=0",
        ),
        (
            by(
                "indexed_job_utils.go calculateSucceededIndexes",
                "narrowed and widened, it runs again",
            ),
            indexed(3, 3),
            "ok@2 comp2 par2 look comp3 par3 look",
            "3 0/0",
        ),
        (
            by("indexed_job_utils.go calculateFailedIndexes", "a failed index beyond is forgotten"),
            indexed(3, 3),
            "per0 limit9 exit1@2 comp2 par2 ok@0 ok@1",
            "0 2/1 done=0,1 Success:CompletionsReached Complete:CompletionsReached",
        ),
        (
            by("indexed_job_utils.go firstPendingIndexes", "the lowest free first"),
            indexed(9, 2),
            "ok@0 ok@2 ok@1",
            "2 3/0 done=0-2",
        ),
        (
            by("indexed_job_utils.go firstPendingIndexes", "a failed one comes before new ones"),
            indexed(9, 2),
            "exit1@0 ok@1 ok@0",
            "2 2/1 done=0,1",
        ),
        (
            by("indexed_job_utils.go calculateSucceededIndexes", "the text of what is done"),
            indexed(9, 9),
            "ok@0 ok@2 ok@3 ok@5 ok@6 ok@7",
            "3 6/0 done=0,2,3,5-7",
        ),
    ]);
}

#[test]
fn a_limit_for_each_index() {
    check(vec![
        (
            by("indexed_job_utils.go isIndexFailed", "limit 0, the first failure"),
            indexed(2, 2),
            "per0 limit9 exit1@0",
            "1 0/1 lost=0",
        ),
        (
            by("indexed_job_utils.go isIndexFailed", "limit 2, two failures are borne"),
            indexed(2, 2),
            "per2 limit9 exit1@0 wait10 exit1@0 wait20",
            "2 0/2",
        ),
        (
            by("indexed_job_utils.go isIndexFailed", "limit 2, the third"),
            indexed(2, 2),
            "per2 limit9 exit1@0 wait10 exit1@0 wait20 exit1@0",
            "1 0/3 lost=0",
        ),
        (
            by("indexed_job_utils.go isIndexFailed", "an ignored failure does not count"),
            indexed(2, 2),
            "per1 limit9 ignore3 exit3@0 wait10 exit3@0 wait20 exit1@0 wait40",
            "2 0/1",
        ),
        (
            by("indexed_job_utils.go isIndexFailed", "FailIndex at once"),
            indexed(2, 2),
            "per5 limit9 failindex9 exit9@0",
            "1 0/1 lost=0",
        ),
        (
            by("indexed_job_utils.go firstPendingIndexes", "a failed index is not tried again"),
            indexed(3, 1),
            "per0 limit9 exit1@0 wait600",
            "1 0/1 lost=0",
        ),
        (
            by(
                "indexed_job_utils.go calculateFailedIndexes",
                "a run removed by hand is a failure of it",
            ),
            indexed(2, 2),
            "per0 limit9 delete",
            "1 0/1 lost=0",
        ),
        (
            by("job_controller.go syncJob", "the others go on"),
            indexed(3, 3),
            "per0 limit9 exit1@1 ok@0",
            "1 1/1 done=0 lost=1",
        ),
        (
            by("job_controller.go syncJob", "all decided, one failed"),
            indexed(3, 3),
            "per0 limit9 exit1@1 ok@0 ok@2",
            "0 2/1 done=0,2 lost=1 Failing:FailedIndexes Failed:FailedIndexes",
        ),
        (
            by("job_controller.go syncJob", "all succeeded in the end"),
            indexed(2, 2),
            "per1 limit9 exit1@1 ok@0 wait10 ok@1",
            "0 2/1 done=0,1 Success:CompletionsReached Complete:CompletionsReached",
        ),
        (
            by("job_controller.go syncJob", "as many failed indexes as are allowed"),
            indexed(4, 4),
            "per0 max1 limit9 exit1@0",
            "3 0/1 lost=0",
        ),
        (
            by("job_controller.go syncJob", "more failed indexes than are allowed"),
            indexed(4, 4),
            "per0 max1 limit9 exit1@0 exit1@1 reap",
            "0 0/4 lost=0-3 Failing:MaxFailedIndexesExceeded Failed:MaxFailedIndexesExceeded",
        ),
        (
            by("job_controller.go syncJob", "the overall limit holds too"),
            indexed(4, 2),
            "per9 limit1 exit1@0 exit1@1",
            "0 0/3 Failing:BackoffLimitExceeded",
        ),
    ]);
}

#[test]
fn failures_are_told_apart() {
    check(vec![
        (
            by("pod_failure_policy.go matchPodFailurePolicy", "the first match wins"),
            job(),
            "ignore3 failjob3 exit3",
            "0 0/0",
        ),
        (
            by("pod_failure_policy.go matchPodFailurePolicy", "the other way round"),
            job(),
            "failjob3 ignore3 exit3",
            "0 0/1 Failing:PodFailurePolicy Failed:PodFailurePolicy",
        ),
        (
            by("pod_failure_policy.go matchPodFailurePolicy", "none matches, it counts"),
            job(),
            "ignore3 failjob4 exit5 wait10",
            "1 0/1",
        ),
        (
            by("pod_failure_policy.go matchPodFailurePolicy", "Count ends the search"),
            job(),
            "count3 failjob3 exit3 wait10",
            "1 0/1",
        ),
        (
            by("pod_failure_policy.go matchOnExitCodes", "NotIn, listed"),
            job(),
            "elsejob3 exit3 wait10",
            "1 0/1",
        ),
        (
            by("pod_failure_policy.go matchOnExitCodes", "NotIn, not listed"),
            job(),
            "elsejob3 exit4",
            "0 0/1 Failing:PodFailurePolicy Failed:PodFailurePolicy",
        ),
        (
            by("pod_failure_policy.go matchOnExitCodes", "NotIn, 0 takes no part"),
            job(),
            "elsejob3 ok",
            "0 1/0 Success:CompletionsReached Complete:CompletionsReached",
        ),
        (
            by("pod_failure_policy.go getMatchingContainerFromList", "SIGKILL is 137"),
            job(),
            "ignore137 sig9",
            "0 0/0",
        ),
        (
            by("pod_failure_policy.go getMatchingContainerFromList", "SIGTERM is 143"),
            job(),
            "failjob143 sig15",
            "0 0/1 Failing:PodFailurePolicy Failed:PodFailurePolicy",
        ),
        (
            by("pod_failure_policy.go", "an ignored failure never reaches the limit"),
            job(),
            "limit0 ignore3 exit3 wait10 exit3 wait20",
            "1 0/0",
        ),
        (
            by("pod_failure_policy.go", "FailJob stops the others, and they count"),
            many(3, 3),
            "failjob42 exit42 reap",
            "0 0/3 Failing:PodFailurePolicy Failed:PodFailurePolicy",
        ),
        (
            by("pod_failure_policy.go", "FailJob, those stopped are judged by how they end"),
            many(3, 3),
            "failjob42 ignore143 exit42 gone143 gone1",
            "0 0/2 Failing:PodFailurePolicy Failed:PodFailurePolicy",
        ),
        (
            by(
                "job_controller.go onlyReplaceFailedPods",
                "removed by hand, not judged before its end",
            ),
            job(),
            "ignore143 delete wait600",
            "0 0/0",
        ),
        (
            by(
                "job_controller.go onlyReplaceFailedPods",
                "removed by hand, judged by its end: ignored",
            ),
            job(),
            "limit0 ignore143 delete gone143 wait10",
            "1 0/0",
        ),
        (
            by(
                "job_controller.go onlyReplaceFailedPods",
                "removed by hand, judged by its end: counted",
            ),
            job(),
            "ignore143 delete gone1 wait10",
            "1 0/1",
        ),
        (
            by(
                "job_controller.go onlyReplaceFailedPods",
                "removed by hand, judged by its end: FailJob",
            ),
            many(2, 2),
            "failjob143 delete gone143 reap",
            "0 0/2 Failing:PodFailurePolicy Failed:PodFailurePolicy",
        ),
        (
            by("job_controller.go isPodFailed", "removed by hand, it exits 0 all the same"),
            job(),
            "ignore143 delete gone0",
            "0 1/0 Success:CompletionsReached Complete:CompletionsReached",
        ),
        (
            by(
                "job_controller.go onlyReplaceFailedPods",
                "the delay is counted from its end; not yet",
            ),
            job(),
            "ignore143 delete wait100 gone143 wait9",
            "0 0/0",
        ),
        (
            by("job_controller.go deleteJobPods", "removed by suspension, it is not judged"),
            job(),
            "failjob143 look suspend gone143",
            "0 0/0 Suspended:JobSuspended",
        ),
        (
            by("job_controller.go deleteJobPods", "removed as surplus, it is not judged"),
            many(5, 2),
            "failjob143 look par1 gone143",
            "1 0/0",
        ),
        (
            by("job_controller.go syncJob", "removed by hand, then suspended: it is judged"),
            job(),
            "failjob143 delete suspend look gone143",
            "0 0/1 Suspended:JobSuspended Failing:PodFailurePolicy Failed:PodFailurePolicy",
        ),
        (
            by("wsup", "removed by hand, then stopped: it is not"),
            job(),
            "failjob143 delete stop gone143",
            "0 0/0",
        ),
        (
            by("pod_failure_policy.go", "FailIndex of a run removed by hand"),
            indexed(2, 2),
            "per9 limit9 failindex143 delete gone143",
            "1 0/1 lost=0",
        ),
    ]);
}

#[test]
fn success_before_all_is_done() {
    check(vec![
        (
            by("success_policy.go matchSuccessPolicy", "any rule will do"),
            indexed(5, 5),
            "all:0-3 any:2 ok@4 ok@3 reap",
            "0 2/0 done=3,4 Success:SuccessPolicy Complete:SuccessPolicy",
        ),
        (
            by("success_policy.go matchSuccessPolicy", "a count of all"),
            indexed(3, 3),
            "any:3 ok@0 ok@1",
            "1 2/0 done=0,1",
        ),
        (
            by("success_policy.go matchSucceededIndexesRule", "all of a list"),
            indexed(5, 5),
            "all:1-3 ok@1 ok@3 ok@2 reap",
            "0 3/0 done=1-3 Success:SuccessPolicy Complete:SuccessPolicy",
        ),
        (
            by("success_policy.go matchSucceededIndexesRule", "as many of a list as are asked for"),
            indexed(5, 5),
            "of:1-3:2 ok@1 ok@3 reap",
            "0 2/0 done=1,3 Success:SuccessPolicy Complete:SuccessPolicy",
        ),
        (
            by("success_policy.go matchSucceededIndexesRule", "others do not help"),
            indexed(5, 5),
            "of:1-3:2 ok@0 ok@4 ok@1",
            "2 3/0 done=0,1,4",
        ),
        (
            by("success_policy.go matchSuccessPolicy", "set when it is met already"),
            indexed(3, 3),
            "ok@1 any:1 look reap",
            "0 1/0 done=1 Success:SuccessPolicy Complete:SuccessPolicy",
        ),
        (
            by("job_controller.go syncJob", "failures before it do not matter"),
            indexed(3, 3),
            "any:1 exit1@0 ok@1 reap",
            "0 1/1 done=1 Success:SuccessPolicy Complete:SuccessPolicy",
        ),
        (
            by("job_controller.go syncJob", "met beside a failed index"),
            indexed(3, 3),
            "per0 limit9 any:1 exit1@0 ok@1 reap",
            "0 1/1 done=1 lost=0 Success:SuccessPolicy Complete:SuccessPolicy",
        ),
    ]);
}
