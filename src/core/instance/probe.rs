//! What probes' answers mean: counting, gating, and when to ask next.
//!
//! Responsible for the rules of `pkg/kubelet/prober/worker.go` (`doProbe`) and
//! `prober_manager.go` (`UpdatePodStatus`): thresholds, the startup probe as a gate, the verdict
//! before the first answer. Must not ask anything itself, read a clock, or start and stop
//! processes: it says when a question is due and what an answer leads to.
//!
//! [`Probes`] belongs to one running process: they begin with it, and there are none any more once
//! it was asked to end or has ended. Answers about the process before never get here, since the
//! core drops what comes from an earlier start.
//!
//! A probe of a program that speaks by itself is not asked, and what it did not say is no answer; but
//! a start must end: where Kubernetes would have asked for the last time, at `failure_threshold` times
//! `period`, the startup probe has failed. `EXTEND_TIMEOUT_USEC=` of sd_notify(3) puts that off, for
//! probes that ask too.
//!
//! Two things differ from Kubernetes. The first question comes exactly `initial_delay` after the
//! process's start, where Kubernetes waits for the next tick of its ticker. And an instance that
//! was asked to end is not ready and is asked nothing, where Kubernetes goes on with readiness:
//! nobody is to be sent to a server that is on its way out.

use super::watchdog::Watchdog;
use crate::core::spec::{InstanceTemplate, ProbeHandler, ProbeSpec};
use crate::core::time::{Millis, Mono};
use serde::{Deserialize, Serialize};

/// The shortest period that is kept, so that a rhythm has steps. Unit files ask for more.
const PERIOD_MIN: Millis = Millis(1);

impl ProbeHandler {
    /// The program speaks by itself and is not asked.
    pub fn is_pushed(&self) -> bool {
        match self {
            ProbeHandler::Notify | ProbeHandler::Log(_) => true,
            ProbeHandler::Exec(_)
            | ProbeHandler::Http(_)
            | ProbeHandler::Tcp(_)
            | ProbeHandler::Unix(_) => false,
        }
    }
}

/// What a probe is for, in the order in which questions are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Gates the other two.
    Startup,
    /// Decides whether the instance is ready.
    Readiness,
    /// Decides whether the process lives on.
    Liveness,
}

impl Kind {
    /// The word in unit files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Startup => "startup",
            Kind::Readiness => "readiness",
            Kind::Liveness => "liveness",
        }
    }

    /// Its probe in a template.
    pub fn spec(self, template: &InstanceTemplate) -> Option<&ProbeSpec> {
        match self {
            Kind::Startup => template.startup.as_deref(),
            Kind::Readiness => template.readiness.as_deref(),
            Kind::Liveness => template.liveness.as_deref(),
        }
    }

    /// The words of a probe that runs a command; empty for others.
    pub fn command(self, template: &InstanceTemplate) -> &[String] {
        match self.spec(template).map(|spec| &spec.handler) {
            Some(ProbeHandler::Exec(words)) => words,
            Some(
                ProbeHandler::Http(_)
                | ProbeHandler::Tcp(_)
                | ProbeHandler::Unix(_)
                | ProbeHandler::Notify
                | ProbeHandler::Log(_),
            )
            | None => &[],
        }
    }

    /// What holds before the first verdict (`worker.go` `newWorker`).
    const fn initial(self) -> Verdict {
        match self {
            Kind::Startup => Verdict::Unknown,
            Kind::Readiness => Verdict::Failure,
            Kind::Liveness => Verdict::Success,
        }
    }

    /// Whether a failure ends the process.
    const fn kills(self) -> bool {
        match self {
            Kind::Startup | Kind::Liveness => true,
            Kind::Readiness => false,
        }
    }
}

/// One answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// As it should be.
    Success,
    /// Not as it should be, or not in time.
    Failure,
    /// The question could not be asked. Says nothing about the program.
    Error,
}

/// What holds after enough equal answers in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing yet.
    Unknown,
    /// Good.
    Success,
    /// Bad.
    Failure,
}

/// Counts the answers of one probe about one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    kind: Kind,
    success_threshold: u32,
    failure_threshold: u32,
    /// The last answer that said something, and how often it came in a row.
    last: Option<Answer>,
    run: u32,
    verdict: Verdict,
    /// The process is to be killed: nothing more is counted (`onHold`).
    held: bool,
}

impl Counter {
    /// Nothing counted yet.
    pub fn new(kind: Kind, spec: &ProbeSpec) -> Counter {
        Counter {
            kind,
            success_threshold: spec.success_threshold,
            failure_threshold: spec.failure_threshold,
            last: None,
            run: 0,
            verdict: kind.initial(),
            held: false,
        }
    }

    /// Counts an answer and gives what holds now. The verdict changes only when the answer has
    /// come as often in a row as its threshold says; an error leaves the count as it is.
    pub fn count(&mut self, answer: Answer) -> Verdict {
        self.count_unless(answer, false)
    }

    /// The same; `put_off`: a failure decides nothing yet, however often it came.
    fn count_unless(&mut self, answer: Answer, put_off: bool) -> Verdict {
        if self.held {
            return self.verdict;
        }
        let (threshold, verdict) = match answer {
            Answer::Success => (self.success_threshold, Verdict::Success),
            Answer::Failure if put_off => (u32::MAX, Verdict::Failure),
            Answer::Failure => (self.failure_threshold, Verdict::Failure),
            Answer::Error => return self.verdict,
        };
        self.run = if self.last == Some(answer) { self.run.saturating_add(1) } else { 1 };
        self.last = Some(answer);
        if self.run >= threshold {
            self.verdict = verdict;
            self.held = self.kind.kills() && verdict == Verdict::Failure;
        }
        self.verdict
    }

    /// There was enough time for an answer.
    fn fail(&mut self) {
        (self.last, self.verdict) = (Some(Answer::Failure), Verdict::Failure);
        self.held = self.kind.kills();
    }

    /// A new daemon counts from nothing, as a new kubelet does: not every answer that the last one
    /// had was remembered, so what was may not have been in a row. What was decided stays.
    fn count_anew(&mut self) {
        (self.last, self.run) = (None, 0);
    }

    /// What holds now.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Whether the last answer was the one that reached its threshold.
    fn has_just_decided(&self) -> bool {
        match self.last {
            Some(Answer::Success) => self.run == self.success_threshold,
            Some(Answer::Failure) => self.run == self.failure_threshold,
            Some(Answer::Error) | None => false,
        }
    }
}

/// What an answer leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The startup probe has succeeded; the other probes are asked from now on. Without a
    /// readiness probe it is ready too: see [`Probes::ready`].
    Started,
    /// Ready from now on.
    Ready,
    /// Not ready any more. Nothing is restarted for it.
    Unready,
    /// The process is to be killed, and started again as the restart policy says.
    Kill(Kind),
}

/// One probe: its count and its rhythm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Probe {
    counter: Counter,
    /// The first question is due then, the others whole periods later.
    first: Mono,
    period: Millis,
    /// When the next question is due.
    due: Mono,
    /// A question is under way: there is never a second one. Not remembered over the end of the
    /// daemon, with which the question ends too.
    #[serde(skip)]
    asked: bool,
    /// The program speaks by itself (`notify`, `log`); it is not asked.
    pushed: bool,
    /// Why its last answer was not a good one, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    complaint: Option<String>,
}

impl Probe {
    fn new(kind: Kind, spec: &ProbeSpec, since: Mono) -> Probe {
        let first = since.plus(spec.initial_delay);
        Probe {
            counter: Counter::new(kind, spec),
            first,
            period: spec.period.max(PERIOD_MIN),
            due: first,
            asked: false,
            pushed: spec.handler.is_pushed(),
            complaint: None,
        }
    }

    /// The first instant of its rhythm that is not before `at`.
    fn tick(&self, at: Mono) -> Mono {
        let late = at.since(self.first).0;
        self.first.plus(Millis(late.div_ceil(self.period.0).saturating_mul(self.period.0)))
    }
}

/// The probes of a running process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probes {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    startup: Option<Probe>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    readiness: Option<Probe>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    liveness: Option<Probe>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) watchdog: Option<Watchdog>,
    /// Its program has asked to be given until then to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extended: Option<Mono>,
}

impl Probes {
    /// The probes of a process that runs `since` then; `None` if the template has none.
    pub fn new(template: &InstanceTemplate, since: Mono) -> Option<Probes> {
        let probe = |kind: Kind| kind.spec(template).map(|spec| Probe::new(kind, spec, since));
        let probes = Probes {
            startup: probe(Kind::Startup),
            readiness: probe(Kind::Readiness),
            liveness: probe(Kind::Liveness),
            watchdog: template
                .watchdog
                .map(|limit| Watchdog::new(limit, template.startup.is_none().then_some(since))),
            extended: None,
        };
        let asks = KINDS.into_iter().any(|kind| probes.probe(kind).is_some());
        (asks || probes.watchdog.is_some()).then_some(probes)
    }

    /// Whether it counts as started: without a startup probe, at once (`isContainerStarted`).
    pub fn started(&self) -> bool {
        self.startup.as_ref().is_none_or(is_good)
    }

    /// Whether the program does its work: started, and good by its readiness probe if it has one
    /// (`UpdatePodStatus`).
    pub fn ready(&self) -> bool {
        self.started() && self.readiness.as_ref().is_none_or(is_good)
    }

    /// When the next question is due, or the time of the watchdog or of the start is over; `None`: not
    /// before something else happens.
    pub fn next_question(&self) -> Option<Mono> {
        let watchdog = self.watchdog.as_ref().and_then(Watchdog::due);
        let times = watchdog.into_iter().chain(self.start_limit());
        KINDS.into_iter().filter_map(|kind| self.due(kind)).chain(times).min()
    }

    /// The start may take until then, if that is longer than it may anyway.
    pub(super) fn extend(&mut self, until: Mono) {
        if !self.started() {
            self.extended = Some(until);
        }
    }

    /// A new daemon hears only now what was said before.
    pub(super) fn give_time_to_be_heard(&mut self, now: Mono) {
        if let Some(probe) = self.startup.as_ref().filter(|probe| probe.pushed) {
            let until = now.plus(probe.period);
            self.extended = Some(self.extended.map_or(until, |extended| extended.max(until)));
        }
    }

    /// When a program that says by itself that it has started must have said so.
    fn start_limit(&self) -> Option<Mono> {
        let probe = self.startup.as_ref()?;
        let waits = probe.pushed && !self.started() && !probe.counter.held;
        let tries = u64::from(probe.counter.failure_threshold);
        let limit = probe.first.plus(Millis(probe.period.0.saturating_mul(tries)));
        waits.then(|| self.extended.map_or(limit, |extended| limit.max(extended)))
    }

    /// Whether the time of the start is over: then the startup probe has failed. Gives why.
    pub(super) fn start_is_late(&mut self, now: Mono) -> Option<String> {
        let limit = self.start_limit().filter(|limit| *limit <= now)?;
        let probe = self.startup.as_mut()?;
        probe.counter.fail();
        let since = limit.since(probe.first);
        Some(format!("the program did not say within {since} that it has started"))
    }

    /// The questions that are due. They are taken for asked; each is to be answered once.
    pub fn ask(&mut self, now: Mono) -> Vec<Kind> {
        let mut questions = Vec::new();
        for kind in KINDS {
            if self.due(kind).is_none_or(|due| due > now) {
                continue;
            }
            if let Some(probe) = self.probe_mut(kind) {
                probe.asked = true;
                probe.due = probe.tick(now.plus(Millis(1)));
                questions.push(kind);
            }
        }
        questions
    }

    /// A new daemon took over.
    pub(super) fn count_anew(&mut self) {
        for kind in KINDS {
            if let Some(probe) = self.probe_mut(kind) {
                probe.counter.count_anew();
            }
        }
    }

    /// Takes an answer. One to no question is nothing.
    pub fn answer(&mut self, kind: Kind, answer: Answer, now: Mono) -> Option<Change> {
        if !std::mem::take(&mut self.probe_mut(kind)?.asked) {
            return None;
        }
        self.count(kind, answer, now)
    }

    /// Takes what the program said by itself, for a probe that is not asked. It may come before
    /// the startup probe has succeeded and is kept: it is not said twice.
    pub fn told(&mut self, kind: Kind, answer: Answer, now: Mono) -> Option<Change> {
        if !self.probe_mut(kind)?.pushed {
            return None;
        }
        self.count(kind, answer, now)
    }

    /// Keeps why this probe was not answered well the last time it was, if it was not. Returns
    /// whether that is news: another complaint than before, or the one that decides.
    pub fn note(&mut self, kind: Kind, complaint: Option<&str>) -> bool {
        let Some(probe) = self.probe_mut(kind) else { return false };
        let other = probe.complaint.as_deref() != complaint;
        if other {
            probe.complaint = complaint.map(str::to_owned);
        }
        complaint.is_some() && (other || probe.counter.has_just_decided())
    }

    /// Why it is not ready, for people.
    pub fn why_not_ready(&self) -> String {
        let gate = if self.started() { Kind::Readiness } else { Kind::Startup };
        let word = gate.as_str();
        match self.probe(gate).and_then(|probe| probe.complaint.as_deref()) {
            Some(complaint) => format!("not ready: {word} probe: {complaint}"),
            None => format!("not ready: its {word} probe has not succeeded yet"),
        }
    }

    fn count(&mut self, kind: Kind, answer: Answer, now: Mono) -> Option<Change> {
        let was_ready = self.ready();
        let put_off = kind == Kind::Startup && self.extended.is_some_and(|until| until > now);
        let probe = self.probe_mut(kind)?;
        let before = probe.counter.verdict();
        let after = probe.counter.count_unless(answer, put_off);
        if after == before {
            return None;
        }
        match (kind, after) {
            (Kind::Startup, Verdict::Success) => {
                self.open(now);
                Some(Change::Started)
            }
            (Kind::Startup | Kind::Liveness, Verdict::Failure) => Some(Change::Kill(kind)),
            (Kind::Readiness, Verdict::Success | Verdict::Failure) => {
                match (was_ready, self.ready()) {
                    (false, true) => Some(Change::Ready),
                    (true, false) => Some(Change::Unready),
                    (true, true) | (false, false) => None,
                }
            }
            (Kind::Liveness, Verdict::Success)
            | (Kind::Startup | Kind::Readiness | Kind::Liveness, Verdict::Unknown) => None,
        }
    }

    /// The gate is open. Readiness, which was due all the while if its delay is over, is asked at
    /// once (`manualTriggerCh`); liveness keeps its rhythm.
    fn open(&mut self, now: Mono) {
        if let Some(probe) = &mut self.liveness {
            probe.due = probe.tick(now);
        }
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.begin(now);
        }
    }

    /// When this probe is to be asked, if it is to be at all.
    fn due(&self, kind: Kind) -> Option<Mono> {
        let gated = match kind {
            // After its success it is not asked again for this process.
            Kind::Startup => self.started(),
            Kind::Readiness | Kind::Liveness => !self.started(),
        };
        self.probe(kind)
            .filter(|p| !(gated || p.pushed || p.asked || p.counter.held))
            .map(|probe| probe.due)
    }

    fn probe(&self, kind: Kind) -> Option<&Probe> {
        match kind {
            Kind::Startup => self.startup.as_ref(),
            Kind::Readiness => self.readiness.as_ref(),
            Kind::Liveness => self.liveness.as_ref(),
        }
    }

    fn probe_mut(&mut self, kind: Kind) -> Option<&mut Probe> {
        match kind {
            Kind::Startup => self.startup.as_mut(),
            Kind::Readiness => self.readiness.as_mut(),
            Kind::Liveness => self.liveness.as_mut(),
        }
    }
}

/// All of them, in the order in which they are asked.
const KINDS: [Kind; 3] = [Kind::Startup, Kind::Readiness, Kind::Liveness];

fn is_good(probe: &Probe) -> bool {
    probe.counter.verdict() == Verdict::Success
}
