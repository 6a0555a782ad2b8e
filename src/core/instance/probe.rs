//! What probes' answers mean: counting, gating, and when to ask next.
//!
//! Responsible for the rules of `pkg/kubelet/prober/worker.go` (`doProbe`) and
//! `prober_manager.go` (`UpdatePodStatus`): thresholds, the startup probe as a gate, the verdict
//! before the first answer, silence while stopping. Must not ask anything itself, read a clock,
//! or start and stop processes: it says when a question is due and what an answer leads to.
//!
//! [`Probes`] belongs to one start of the program. A new start makes new ones with the next
//! generation, so counts begin anew and an answer about the process before is told apart.
//!
//! Where Kubernetes' timing is an accident of its ticker: the first question comes exactly
//! `initial_delay` after the process's start, not at the first tick after that.

use crate::core::spec::{InstanceTemplate, ProbeHandler, ProbeSpec};
use crate::core::time::{Millis, Mono};

/// The shortest period that is kept, so that a rhythm has steps. Unit files ask for more.
const PERIOD_MIN: Millis = Millis(1);

/// What a probe is for, in the order in which questions are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Gates the other two.
    Startup,
    /// Decides whether the instance is ready.
    Readiness,
    /// Decides whether the process lives on.
    Liveness,
}

impl Kind {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// As it should be.
    Success,
    /// Not as it should be, or not in time.
    Failure,
    /// The question could not be asked. Says nothing about the program.
    Error,
}

/// What holds after enough equal answers in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    Unknown,
    /// Good.
    Success,
    /// Bad.
    Failure,
}

/// Counts the answers of one probe about one process.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        if self.held {
            return self.verdict;
        }
        let (threshold, verdict) = match answer {
            Answer::Success => (self.success_threshold, Verdict::Success),
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

    /// What holds now.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }
}

/// What is to be asked. It comes back with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// For which probe.
    pub kind: Kind,
    /// About which start of the program.
    pub generation: u64,
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
#[derive(Clone, Debug, PartialEq, Eq)]
struct Probe {
    counter: Counter,
    /// The first question is due then, the others whole periods later.
    first: Mono,
    period: Millis,
    /// When the next question is due.
    due: Mono,
    /// A question is under way: there is never a second one.
    asked: bool,
    /// The program speaks by itself (`notify`, `log`); it is not asked.
    pushed: bool,
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
            pushed: match spec.handler {
                ProbeHandler::Notify | ProbeHandler::Log(_) => true,
                ProbeHandler::Exec(_)
                | ProbeHandler::Http(_)
                | ProbeHandler::Tcp(_)
                | ProbeHandler::Unix(_) => false,
            },
        }
    }

    /// The first instant of its rhythm that is not before `at`.
    fn tick(&self, at: Mono) -> Mono {
        let late = at.since(self.first).0;
        self.first.plus(Millis(late.div_ceil(self.period.0).saturating_mul(self.period.0)))
    }
}

/// How the process is doing, as far as its probes are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running,
    /// It was asked to end.
    Stopping,
    Ended,
}

/// The probes of one start of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probes {
    generation: u64,
    life: Life,
    startup: Option<Probe>,
    readiness: Option<Probe>,
    liveness: Option<Probe>,
}

impl Probes {
    /// The probes of a process that runs `since` then and is the program's start number
    /// `generation`.
    pub fn new(template: &InstanceTemplate, generation: u64, since: Mono) -> Probes {
        let probe = |kind: Kind, spec: &Option<ProbeSpec>| {
            spec.as_ref().map(|spec| Probe::new(kind, spec, since))
        };
        Probes {
            generation,
            life: Life::Running,
            startup: probe(Kind::Startup, &template.startup),
            readiness: probe(Kind::Readiness, &template.readiness),
            liveness: probe(Kind::Liveness, &template.liveness),
        }
    }

    /// Whether it counts as started: without a startup probe, at once; while it is stopped its
    /// startup probe is taken for good (`isContainerStarted`).
    pub fn started(&self) -> bool {
        match self.life {
            Life::Running => self.startup.as_ref().is_none_or(is_good),
            Life::Stopping => true,
            Life::Ended => false,
        }
    }

    /// Whether the program does its work: started, and good by its readiness probe if it has one
    /// (`UpdatePodStatus`).
    pub fn ready(&self) -> bool {
        self.started() && self.readiness.as_ref().is_none_or(is_good)
    }

    /// When the next question is due; `None`: not before something else happens.
    pub fn next_question(&self) -> Option<Mono> {
        KINDS.into_iter().filter_map(|kind| self.due(kind)).min()
    }

    /// The questions that are due. They are taken for asked; each is to be answered once.
    pub fn ask(&mut self, now: Mono) -> Vec<Question> {
        let generation = self.generation;
        let mut questions = Vec::new();
        for kind in KINDS {
            if self.due(kind).is_none_or(|due| due > now) {
                continue;
            }
            if let Some(probe) = self.probe_mut(kind) {
                probe.asked = true;
                probe.due = probe.tick(now.plus(Millis(1)));
                questions.push(Question { kind, generation });
            }
        }
        questions
    }

    /// Takes an answer. One about another start of the program, or to no question, is nothing.
    pub fn answer(&mut self, question: Question, answer: Answer, now: Mono) -> Option<Change> {
        if question.generation != self.generation || self.silent(question.kind) {
            return None;
        }
        let probe = self.probe_mut(question.kind)?;
        if !std::mem::take(&mut probe.asked) {
            return None;
        }
        self.count(question.kind, answer, now)
    }

    /// Takes what the program said by itself, for a probe that is not asked. It may come before
    /// the startup probe has succeeded and is kept: it is not said twice.
    pub fn told(
        &mut self,
        kind: Kind,
        generation: u64,
        answer: Answer,
        now: Mono,
    ) -> Option<Change> {
        if generation != self.generation || self.silent(kind) || !self.probe_mut(kind)?.pushed {
            return None;
        }
        self.count(kind, answer, now)
    }

    /// The process was asked to end: startup and liveness fall silent for good, readiness goes on.
    pub fn stop(&mut self) {
        if self.life == Life::Running {
            self.life = Life::Stopping;
        }
    }

    /// The process has ended: nothing is asked, and it is not ready.
    pub fn end(&mut self) {
        self.life = Life::Ended;
    }

    fn count(&mut self, kind: Kind, answer: Answer, now: Mono) -> Option<Change> {
        let was_ready = self.ready();
        let probe = self.probe_mut(kind)?;
        let before = probe.counter.verdict();
        let after = probe.counter.count(answer);
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
    }

    /// When this probe is to be asked, if it is to be at all.
    fn due(&self, kind: Kind) -> Option<Mono> {
        let gated = match kind {
            // After its success it is not asked again for this process.
            Kind::Startup => self.started(),
            Kind::Readiness | Kind::Liveness => !self.started(),
        };
        self.probe(kind)
            .filter(|p| !(gated || self.silent(kind) || p.pushed || p.asked || p.counter.held))
            .map(|probe| probe.due)
    }

    /// Neither asked nor listened to any more.
    fn silent(&self, kind: Kind) -> bool {
        match self.life {
            Life::Running => false,
            Life::Stopping => kind.kills(),
            Life::Ended => true,
        }
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
