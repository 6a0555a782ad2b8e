//! Tables of what probes' answers mean; each row names where Kubernetes says so, below
//! `pkg/kubelet/prober` where nothing else is said.

use super::State;
use super::probe::{Answer, Change, Counter, Kind, Probes, Verdict};
use super::tests::instance;
use crate::core::spec::{InstanceTemplate, ProbeHandler, ProbeSpec, RestartPolicy};
use crate::core::table::{Rule, by};
use crate::core::time::{Millis, Mono};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

fn spec(delay: u64, period: u64, failure_threshold: u32, success_threshold: u32) -> ProbeSpec {
    ProbeSpec {
        handler: ProbeHandler::Tcp("127.0.0.1:1".to_owned()),
        initial_delay: Millis::from_secs(delay),
        period: Millis::from_secs(period),
        timeout: Millis::from_secs(1),
        success_threshold,
        failure_threshold,
    }
}

fn answer_of(letter: char) -> Answer {
    match letter {
        'S' => Answer::Success,
        'F' => Answer::Failure,
        'E' => Answer::Error,
        other => panic!("no answer: {other}"),
    }
}

const fn verdict_letter(verdict: Verdict) -> char {
    match verdict {
        Verdict::Unknown => '?',
        Verdict::Success => '+',
        Verdict::Failure => '-',
    }
}

#[test]
fn answers_are_counted() {
    use Kind::{Liveness, Readiness, Startup};
    // The rule, which probe, failure and success threshold, the answers, the verdict before the
    // first of them and after each.
    let rows: &[(Rule, Kind, u32, u32, &str, &str)] = &[
        (
            by("prober/worker.go newWorker", "initialValue: readiness no answer"),
            Readiness,
            3,
            1,
            "",
            "-",
        ),
        (
            by("prober/worker.go newWorker", "initialValue: liveness no answer"),
            Liveness,
            3,
            1,
            "",
            "+",
        ),
        (
            by("prober/worker.go newWorker", "initialValue: startup no answer"),
            Startup,
            3,
            1,
            "",
            "?",
        ),
        (
            by("prober/worker.go doProbe", "resultRun reaches the threshold: readiness S"),
            Readiness,
            3,
            1,
            "S",
            "-+",
        ),
        (
            by("prober/worker.go doProbe", "resultRun below the threshold: readiness SFF"),
            Readiness,
            3,
            1,
            "SFF",
            "-+++",
        ),
        (
            by("prober/worker.go doProbe", "resultRun reaches the threshold: readiness SFFF"),
            Readiness,
            3,
            1,
            "SFFF",
            "-+++-",
        ),
        (
            by("prober/worker.go doProbe", "another result begins at 1: readiness SFFSFF"),
            Readiness,
            3,
            1,
            "SFFSFF",
            "-++++++",
        ),
        (
            by("prober/worker.go doProbe", "another result begins at 1: readiness SFFSFFF"),
            Readiness,
            3,
            1,
            "SFFSFFF",
            "-++++++-",
        ),
        (
            by("prober/worker.go doProbe", "failure threshold 1: readiness FSFS"),
            Readiness,
            1,
            1,
            "FSFS",
            "--+-+",
        ),
        (
            by("prober/worker.go doProbe", "success threshold: readiness S"),
            Readiness,
            1,
            2,
            "S",
            "--",
        ),
        (
            by("prober/worker.go doProbe", "success threshold: readiness SS"),
            Readiness,
            1,
            2,
            "SS",
            "--+",
        ),
        (
            by("prober/worker.go doProbe", "success threshold: readiness SFS"),
            Readiness,
            1,
            2,
            "SFS",
            "----",
        ),
        (
            by("prober/worker.go doProbe", "success threshold: readiness SSFSSS"),
            Readiness,
            1,
            3,
            "SSFSSS",
            "------+",
        ),
        (
            by("prober/worker.go doProbe", "both thresholds: readiness SSFSFFSFSS"),
            Readiness,
            2,
            2,
            "SSFSFFSFSS",
            "--++++----+",
        ),
        (
            by("prober/worker.go doProbe", "the run goes on past the threshold: readiness FFFFS"),
            Readiness,
            2,
            1,
            "FFFFS",
            "-----+",
        ),
        (
            by("prober/worker.go doProbe", "the run goes on past the threshold: readiness SSSSFF"),
            Readiness,
            2,
            1,
            "SSSSFF",
            "-+++++-",
        ),
        (
            by("prober/worker.go doProbe", "err, throw away the result: readiness EEEE"),
            Readiness,
            3,
            1,
            "EEEE",
            "-----",
        ),
        (
            by("prober/worker.go doProbe", "err, throw away the result: readiness SFFEF"),
            Readiness,
            3,
            1,
            "SFFEF",
            "-++++-",
        ),
        (
            by("prober/worker.go doProbe", "err, throw away the result: readiness SES"),
            Readiness,
            1,
            2,
            "SES",
            "---+",
        ),
        (
            by("prober/worker.go doProbe", "err, throw away the result: liveness FEEF"),
            Liveness,
            2,
            1,
            "FEEF",
            "++++-",
        ),
        (by("prober/worker.go doProbe", "liveness: liveness S"), Liveness, 3, 1, "S", "++"),
        (
            by("prober/worker.go doProbe", "liveness: liveness FFSFF"),
            Liveness,
            3,
            1,
            "FFSFF",
            "++++++",
        ),
        (by("prober/worker.go doProbe", "liveness: liveness FFF"), Liveness, 3, 1, "FFF", "+++-"),
        (
            by("prober/worker.go doProbe", "liveness, threshold 1: liveness F"),
            Liveness,
            1,
            1,
            "F",
            "+-",
        ),
        (
            by("prober/worker.go doProbe", "onHold until a new container: liveness FFFSSS"),
            Liveness,
            3,
            1,
            "FFFSSS",
            "+++----",
        ),
        (
            by("prober/worker.go doProbe", "onHold until a new container: startup FFSS"),
            Startup,
            2,
            1,
            "FFSS",
            "??---",
        ),
        (by("prober/worker.go doProbe", "startup: startup S"), Startup, 3, 1, "S", "?+"),
        (by("prober/worker.go doProbe", "startup: startup FFS"), Startup, 3, 1, "FFS", "???+"),
        (by("prober/worker.go doProbe", "startup: startup FFF"), Startup, 3, 1, "FFF", "???-"),
        (by("prober/worker.go doProbe", "startup: startup E"), Startup, 3, 1, "E", "??"),
        (
            by("prober/worker.go doProbe", "readiness is never on hold: readiness FFFFS"),
            Readiness,
            1,
            1,
            "FFFFS",
            "-----+",
        ),
    ];
    for (rule, kind, failures, successes, answers, want) in rows {
        let mut counter = Counter::new(*kind, &spec(0, 10, *failures, *successes));
        let mut got = String::from(verdict_letter(counter.verdict()));
        for letter in answers.chars() {
            got.push(verdict_letter(counter.count(answer_of(letter))));
            assert_eq!(got.chars().last(), Some(verdict_letter(counter.verdict())));
        }
        assert_eq!(got, *want, "{rule}: {answers}");
    }
}

fn template() -> InstanceTemplate {
    let made = instance(RestartPolicy::Always, 0, State::Succeeded);
    Arc::unwrap_or_clone(made.template)
}

const fn letter(kind: Kind) -> char {
    match kind {
        Kind::Startup => 'U',
        Kind::Readiness => 'R',
        Kind::Liveness => 'L',
    }
}

/// A made-up program whose answers are known. `probes`: `U` (startup), `R` or `L`, delay,
/// period, failure and success threshold, and the answers, of which the last one repeats.
struct World {
    probes: Probes,
    answers: BTreeMap<char, Vec<char>>,
    /// Questions under way, by the second of their answer.
    pending: Vec<(u64, Kind)>,
    trace: String,
}

impl World {
    fn new(probes: &str) -> World {
        let mut template = template();
        let mut answers = BTreeMap::new();
        for text in probes.split(", ").filter(|text| !text.is_empty()) {
            let words: Vec<&str> = text.split(' ').collect();
            let n = |at: usize| words[at].parse::<u32>().unwrap();
            let made = spec(n(1).into(), n(2).into(), n(3), n(4));
            match words[0] {
                "U" => template.startup = Some(Box::new(made)),
                "R" => template.readiness = Some(Box::new(made)),
                "L" => template.liveness = Some(Box::new(made)),
                other => panic!("no probe: {other}"),
            }
            let reversed = words[5].chars().rev().collect();
            answers.insert(words[0].chars().next().unwrap(), reversed);
        }
        World {
            probes: Probes::new(&template, Mono(0)).unwrap_or_default(),
            answers,
            pending: Vec::new(),
            trace: String::new(),
        }
    }

    fn tell(&mut self, at: u64, what: &str) {
        let space = if self.trace.is_empty() { "" } else { " " };
        write!(self.trace, "{space}{at}{what}").unwrap();
    }

    fn answer(&mut self, at: u64, kind: Kind) {
        let left = self.answers.get_mut(&letter(kind)).unwrap();
        let answer = if left.len() > 1 { left.pop() } else { left.last().copied() };
        let now = Mono(at * 1_000);
        match self.probes.answer(kind, answer_of(answer.unwrap()), now) {
            None => {}
            Some(Change::Started) => self.tell(at, "started"),
            Some(Change::Ready) => self.tell(at, "ready"),
            Some(Change::Unready) => self.tell(at, "unready"),
            Some(Change::Kill(kind)) => self.tell(at, &format!("kill-{}", letter(kind))),
        }
    }

    /// Second by second: answers that are due, then questions, which are answered `takes` later.
    fn run(&mut self, takes: u64, until: u64) {
        for at in 0..=until {
            let now = Mono(at * 1_000);
            let (due, later) = self.pending.drain(..).partition(|(when, _)| *when <= at);
            self.pending = later;
            let due: Vec<(u64, Kind)> = due;
            for (_, question) in due {
                self.answer(at, question);
            }
            while self.probes.next_question().is_some_and(|due| due <= now) {
                for question in self.probes.ask(now) {
                    self.tell(at, &letter(question).to_string());
                    match takes {
                        0 => self.answer(at, question),
                        _ => self.pending.push((at + takes, question)),
                    }
                }
            }
        }
    }
}

#[test]
fn questions_are_asked_in_their_rhythm_and_answers_have_their_consequences() {
    // The rule, the probes, how long an answer takes, until when to look (all in seconds), and
    // what happens.
    type Row = (Rule, &'static str, u64, u64, &'static str);
    let rows: &[Row] = &[
        (by("prober/worker.go", "nothing is asked"), "", 0, 99, ""),
        (
            by("prober/worker.go run", "at once, then each period"),
            "R 0 10 3 1 S",
            0,
            25,
            "0R 0ready 10R 20R",
        ),
        (
            by("prober/worker.go doProbe", "InitialDelaySeconds"),
            "R 15 10 3 1 S",
            0,
            40,
            "15R 15ready 25R 35R",
        ),
        (
            by("prober/worker.go doProbe", "InitialDelaySeconds of liveness"),
            "L 7 5 1 1 SF",
            0,
            40,
            "7L 12L 12kill-L",
        ),
        (
            by("prober/worker.go doProbe", "not Started gates the others"),
            "U 0 10 3 1 FFS, R 0 10 3 1 S, L 0 10 3 1 S",
            0,
            30,
            "0U 10U 20U 20started 20R 20ready 20L 30R 30L",
        ),
        (
            by("prober/worker.go doProbe", "Started ends the startup probe"),
            "U 0 5 3 1 S",
            0,
            99,
            "0U 0started",
        ),
        (
            by(
                "prober_manager.go UpdatePodStatus",
                "manualTriggerCh for readiness, the ticker for liveness",
            ),
            "U 0 7 3 1 FFS, R 0 10 3 1 S, L 0 10 3 1 S",
            0,
            30,
            "0U 7U 14U 14started 14R 14ready 20R 20L 30R 30L",
        ),
        (
            by("prober/worker.go doProbe", "the delay counts from the process's start"),
            "U 0 5 3 1 S, R 12 10 3 1 S, L 3 10 3 1 S",
            0,
            25,
            "0U 0started 3L 12R 12ready 13L 22R 23L",
        ),
        (
            by("prober/worker.go doProbe", "a delay that is over when the gate opens"),
            "U 0 20 3 1 FS, R 5 10 3 1 S",
            0,
            30,
            "0U 20U 20started 20R 20ready 25R",
        ),
        (
            by("prober/worker.go doProbe", "startup fails"),
            "U 0 10 2 1 F, R 0 10 3 1 S, L 0 10 3 1 S",
            0,
            60,
            "0U 10U 10kill-U",
        ),
        (
            by("prober/worker.go doProbe", "startup fails, an error between"),
            "U 0 10 2 1 FEF",
            0,
            60,
            "0U 10U 20U 20kill-U",
        ),
        (
            by("prober/worker.go doProbe", "liveness on hold, readiness goes on"),
            "R 0 10 3 1 S, L 0 10 2 1 F",
            0,
            30,
            "0R 0ready 0L 10R 10L 10kill-L 20R 30R",
        ),
        (
            by("prober/worker.go doProbe", "readiness fails, nothing is killed"),
            "R 0 10 2 1 SFFS",
            0,
            35,
            "0R 0ready 10R 20R 20unready 30R 30ready",
        ),
        (
            by("prober/worker.go doProbe", "below the threshold nothing is told"),
            "R 0 10 3 1 SFFSFFS",
            0,
            60,
            "0R 0ready 10R 20R 30R 40R 50R 60R",
        ),
        (
            by("prober/worker.go doProbe", "success threshold"),
            "R 0 10 3 3 SSFSSS",
            0,
            50,
            "0R 10R 20R 30R 40R 50R 50ready",
        ),
        (
            by("prober/worker.go doProbe", "err, throw away the result"),
            "R 0 10 1 1 ES",
            0,
            10,
            "0R 10R 10ready",
        ),
        (
            by("prober/worker.go run", "one question at a time, then the tick that was missed"),
            "R 0 5 3 1 S",
            12,
            30,
            "0R 12ready 12R 24R",
        ),
        (
            by("prober/worker.go run", "the ticker keeps its rhythm"),
            "R 0 10 3 1 S",
            12,
            35,
            "0R 12ready 12R 24R",
        ),
        (
            by("prober/worker.go run", "an answer within the period"),
            "R 0 10 3 1 S",
            4,
            24,
            "0R 4ready 10R 20R",
        ),
        (
            by("prober/worker.go run", "a worker for each probe"),
            "R 0 10 3 1 S, L 1 3 3 1 S",
            2,
            10,
            "0R 1L 2ready 4L 7L 10R 10L",
        ),
        (by("wsup", "no period of nothing"), "R 0 0 1 1 S", 1, 2, "0R 1ready 1R 2R"),
    ];
    for (rule, probes, takes, until, want) in rows {
        let mut world = World::new(probes);
        world.run(*takes, *until);
        assert_eq!(world.trace, *want, "{rule}: {probes}");
    }
}

#[test]
fn started_and_ready() {
    // The rule, the probes; then whether it is started, and ready.
    type Row = (Rule, &'static str, bool, bool);
    let rows: &[Row] = &[
        (
            by(
                "prober_manager.go isContainerStarted",
                "no startup probe; ready without a readiness probe",
            ),
            "",
            true,
            true,
        ),
        (
            by("prober_manager.go UpdatePodStatus", "liveness has no say"),
            "L 0 10 1 1 F",
            true,
            true,
        ),
        (
            by("prober_manager.go UpdatePodStatus", "not ready before the first success"),
            "R 20 10 1 1 S",
            true,
            false,
        ),
        (by("prober_manager.go UpdatePodStatus", "ready by its probe"), "R 0 10 1 1 S", true, true),
        (
            by("prober_manager.go UpdatePodStatus", "not ready by its probe"),
            "R 0 10 1 1 F",
            true,
            false,
        ),
        (
            by("prober_manager.go isContainerStarted", "the startup probe has not run yet"),
            "U 20 10 1 1 S",
            false,
            false,
        ),
        (
            by("prober_manager.go isContainerStarted", "the startup probe has failed"),
            "U 0 10 1 1 F",
            false,
            false,
        ),
        (
            by("prober_manager.go isContainerStarted", "the startup probe has no verdict"),
            "U 0 10 9 1 F",
            false,
            false,
        ),
        (
            by("prober_manager.go UpdatePodStatus", "started is ready without a readiness probe"),
            "U 0 10 1 1 S",
            true,
            true,
        ),
        (
            by("prober_manager.go UpdatePodStatus", "started and not ready"),
            "U 0 10 1 1 S, R 20 10 1 1 S",
            true,
            false,
        ),
        (by("prober_manager.go UpdatePodStatus", "both"), "U 0 10 1 1 S, R 0 10 1 1 S", true, true),
    ];
    for (rule, probes, started, ready) in rows {
        let mut world = World::new(probes);
        world.run(0, 9);
        assert_eq!(world.probes.started(), *started, "{rule}: {probes}: started");
        assert_eq!(world.probes.ready(), *ready, "{rule}: {probes}: ready");
    }
}

/// An answer to no question is nothing: one that was never asked, and one that was answered.
#[test]
fn only_answers_to_questions_count() {
    let mut template = template();
    template.readiness = Some(Box::new(spec(0, 10, 1, 1)));
    template.liveness = Some(Box::new(spec(0, 10, 1, 1)));
    let fresh = || Probes::new(&template, Mono(0)).unwrap();
    for kind in [Kind::Readiness, Kind::Liveness] {
        let mut probes = fresh();
        assert_eq!(probes.answer(kind, Answer::Failure, Mono(0)), None);
        assert_eq!(probes, fresh(), "{kind:?}: never asked");
        let _ = probes.ask(Mono(0));
        let _ = probes.answer(kind, Answer::Success, Mono(1));
        let once = probes.clone();
        assert_eq!(probes.answer(kind, Answer::Failure, Mono(1)), None);
        assert_eq!(probes, once, "{kind:?}: answered already");
    }
    assert_eq!(fresh().answer(Kind::Startup, Answer::Success, Mono(0)), None);
}

/// What a program says by itself (READY=1, a line of its log): never asked for, counted like an
/// answer, kept if it comes before the startup probe has succeeded.
#[test]
fn what_is_told_counts_without_a_question() {
    let mut template = template();
    template.startup = Some(Box::new(spec(0, 10, 3, 1)));
    template.readiness =
        Some(Box::new(ProbeSpec { handler: ProbeHandler::Notify, ..spec(0, 10, 1, 1) }));
    let mut probes = Probes::new(&template, Mono(0)).unwrap();
    assert_eq!(probes.ask(Mono(0)), [Kind::Startup]);
    let told = |probes: &mut Probes, answer| probes.told(Kind::Readiness, answer, Mono(1));
    assert_eq!(told(&mut probes, Answer::Success), None, "not started yet");
    assert!(!probes.ready());
    let change = probes.answer(Kind::Startup, Answer::Success, Mono(2));
    assert_eq!(change, Some(Change::Started));
    assert!(probes.ready());
    assert_eq!(probes.next_question(), None, "nothing is left to be asked");
    assert_eq!(told(&mut probes, Answer::Failure), Some(Change::Unready));
    assert_eq!(told(&mut probes, Answer::Success), Some(Change::Ready));
    // A probe that is asked is not told.
    assert_eq!(probes.told(Kind::Startup, Answer::Failure, Mono(3)), None);
}

/// A question that was under way when the daemon ended is asked again by the next one; what was
/// counted before stays.
#[test]
fn what_is_remembered_of_probes() {
    let mut template = template();
    template.readiness = Some(Box::new(spec(0, 10, 3, 1)));
    let mut probes = Probes::new(&template, Mono(0)).unwrap();
    let _ = probes.ask(Mono(0));
    let _ = probes.answer(Kind::Readiness, Answer::Success, Mono(1));
    let _ = probes.ask(Mono(10_000));
    assert_eq!(probes.next_question(), None, "one is under way");
    let text = serde_json::to_string(&probes).unwrap();
    let mut again: Probes = serde_json::from_str(&text).unwrap();
    assert!(again.ready());
    assert_eq!(again.next_question(), Some(Mono(20_000)));
    assert_eq!(again.ask(Mono(21_000)), [Kind::Readiness]);
}

/// What is told to people: the first failure, the one that decides, and any for another reason.
#[test]
fn repeated_failures_are_no_news() {
    let mut template = template();
    template.readiness = Some(Box::new(spec(0, 1, 4, 1)));
    let mut probes = Probes::new(&template, Mono(0)).unwrap();
    let mut news = String::new();
    let answers = "SFFFFFFSFgF";
    for (second, letter) in answers.chars().enumerate() {
        let now = Mono(second as u64 * 1_000);
        assert_eq!(probes.ask(now), [Kind::Readiness]);
        let answer = if letter == 'S' { Answer::Success } else { Answer::Failure };
        let _ = probes.answer(Kind::Readiness, answer, now);
        let complaint = if letter == 'g' { "gone" } else { "refused" };
        let is_news = probes.note(Kind::Readiness, (letter != 'S').then_some(complaint));
        news.push(if is_news { letter } else { '.' });
    }
    assert_eq!(news, ".F..F...FgF", "of {answers}");
}
