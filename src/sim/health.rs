//! Probes and hooks of made-up units, and how made-up programs and hooks answer.
//!
//! Responsible for random probes and hooks in templates, for what each start is like as far as
//! they go, and for the answers: in time, late, too late for the start that they are about, or
//! never. Draws from a generator of its own, so that a world without probes is the same world
//! whatever is drawn here. What the real daemon forgets with its end is forgotten here too; what a
//! program has said of itself the runner tells each new daemon again. Must not judge.

use super::machine::Process;
use super::random::Random;
use super::world::{Happening, World};
use crate::core::action::{Hook, Spawn, Step};
use crate::core::event::Event;
use crate::core::id::InstanceId;
use crate::core::instance::probe::{Answer, Kind};
use crate::core::spec::{InstanceTemplate, ProbeHandler, ProbeSpec, UnitSpec};
use crate::core::time::Millis;
use std::collections::BTreeMap;
use std::sync::Arc;

/// In a calm each probe of a start is answered so often, and then hangs until the calm is over:
/// more often than the greatest success threshold, so that all can be well, and not for ever, so
/// that the world comes to rest.
const CALM_ANSWERS: u32 = 5;

/// How a program stands to one of its probes. Ages in milliseconds since its start.
#[derive(Clone, Copy, Debug)]
struct Mood {
    /// It answers well from this age on; `None`: never.
    well_from: Option<u64>,
    /// It answers badly in this span of its age.
    sick: (u64, u64),
    /// It answers badly in so many of a thousand cases besides.
    flaky: u64,
}

/// What a start is like.
#[derive(Clone, Copy, Debug)]
struct Manner {
    startup: Mood,
    readiness: Mood,
    liveness: Mood,
    /// It has said that it is ready.
    said: bool,
}

/// All that is known of probes and hooks in a world.
#[derive(Debug)]
pub(super) struct Health {
    random: Random,
    /// So many of a thousand units have some.
    share: u64,
    /// So many of a thousand moods are not simply good.
    sickness: u64,
    manners: BTreeMap<InstanceId, Manner>,
    /// How often each probe was answered in this calm.
    answered: BTreeMap<(InstanceId, Kind), u32>,
    /// Questions that a calm left open.
    open: Vec<(u32, InstanceId, Kind)>,
}

impl Health {
    pub(super) fn new(seed: u64) -> Health {
        let mut random = Random::new(seed ^ 0x6865_616c_7468);
        let share = random.pick(&[0, 0, 300, 500, 800]);
        let sickness = random.pick(&[50, 0, 150, 400]);
        Health {
            random,
            share,
            sickness,
            manners: BTreeMap::new(),
            answered: BTreeMap::new(),
            open: Vec::new(),
        }
    }

    /// Gives a unit probes and hooks, or none.
    pub(super) fn give(&mut self, spec: &mut UnitSpec) {
        let random = &mut self.random;
        if self.share == 0 {
            return;
        }
        let has = random.permille(self.share);
        let template = Arc::make_mut(&mut spec.template);
        let startup = (has && random.permille(300)).then(|| probe(random, Kind::Startup));
        let readiness = (has && random.permille(550)).then(|| probe(random, Kind::Readiness));
        let liveness = (has && random.permille(450)).then(|| probe(random, Kind::Liveness));
        template.startup = startup.map(Box::new);
        template.readiness = readiness.map(Box::new);
        template.liveness = liveness.map(Box::new);
        let words = |word: &str| vec![word.to_owned()];
        template.lifecycle.post_start = (has && random.permille(250)).then(|| words("announce"));
        template.lifecycle.pre_stop = (has && random.permille(350)).then(|| words("drain"));
    }

    /// After an edit: most stay as they are.
    pub(super) fn edit(&mut self, spec: &mut UnitSpec) {
        if self.share > 0 && self.random.permille(120) {
            self.give(spec);
        }
    }

    fn mood(&mut self, calm: bool) -> Mood {
        let random = &mut self.random;
        let good = Mood { well_from: Some(0), sick: (0, 0), flaky: 0 };
        if calm || !random.permille(self.sickness) {
            return good;
        }
        match random.weighted(&[4, 3, 2, 2]) {
            0 => Mood { well_from: Some(random.span(120_000)), ..good },
            1 => {
                let from = random.span(200_000);
                Mood { sick: (from, from + random.span(200_000)), ..good }
            }
            2 => Mood { well_from: None, ..good },
            _ => Mood { flaky: random.pick(&[100, 300, 600]), ..good },
        }
    }

    fn answer(&mut self, id: InstanceId, kind: Kind, age: u64) -> Answer {
        let Some(manner) = self.manners.get(&id) else { return Answer::Failure };
        let mood = match kind {
            Kind::Startup => manner.startup,
            Kind::Readiness => manner.readiness,
            Kind::Liveness => manner.liveness,
        };
        let (from, to) = mood.sick;
        let sick = (from..to).contains(&age) || self.random.permille(mood.flaky);
        if self.random.permille(15) {
            Answer::Error
        } else if !sick && mood.well_from.is_some_and(|from| age >= from) {
            Answer::Success
        } else {
            Answer::Failure
        }
    }

    /// When and how a hook returns; `None`: never.
    fn hook(&mut self, calm: bool) -> Option<(u64, Option<String>)> {
        let random = &mut self.random;
        if calm {
            return Some((random.span(1_000), None));
        }
        let failure = || Some("exit code 1".to_owned());
        match random.weighted(&[70, 8, 10, 4, 4]) {
            0 => Some((random.span(3_000), None)),
            1 => Some((random.span(3_000), failure())),
            2 => Some((random.span(60_000), None)),
            3 => Some((random.span(900_000), failure())),
            _ => None,
        }
    }
}

fn probe(random: &mut Random, kind: Kind) -> ProbeSpec {
    let seconds = |random: &mut Random, from: &[u64]| Millis::from_secs(random.pick(from));
    // A program says that it is ready, never that it lives.
    let pushed = kind != Kind::Liveness && random.permille(300);
    let handler = match random.below(2) {
        _ if pushed => ProbeHandler::Notify,
        0 => ProbeHandler::Exec(vec!["ask".to_owned()]),
        _ => ProbeHandler::Tcp("127.0.0.1:1".to_owned()),
    };
    let several = kind == Kind::Readiness && !pushed;
    ProbeSpec {
        handler,
        initial_delay: seconds(random, &[0, 0, 0, 5, 30]),
        period: seconds(random, &[10, 10, 30, 60, 5, 2]),
        timeout: seconds(random, &[1, 1, 5, 10]),
        success_threshold: if several { random.pick(&[1, 1, 2, 3]) } else { 1 },
        failure_threshold: random.pick(&[3, 3, 1, 2, 5]),
    }
}

/// The probes that a program answers by saying that it is ready.
fn spoken(template: &InstanceTemplate) -> impl Iterator<Item = Kind> {
    [Kind::Startup, Kind::Readiness]
        .into_iter()
        .filter(|kind| kind.spec(template).is_some_and(|spec| spec.handler.is_pushed()))
}

impl World {
    /// A program was started; what it is like is drawn now.
    pub(super) fn draw_manner(&mut self, id: InstanceId) {
        let Some(process) = self.machine.processes.get(&id).filter(|p| p.main) else { return };
        let template = Arc::clone(&process.template);
        let has = [Kind::Startup, Kind::Readiness, Kind::Liveness]
            .into_iter()
            .any(|kind| kind.spec(&template).is_some());
        if !has {
            return;
        }
        let calm = self.calm;
        let manner = Manner {
            startup: self.health.mood(calm),
            readiness: self.health.mood(calm),
            liveness: self.health.mood(calm),
            said: false,
        };
        let processes = &self.machine.processes;
        self.health.manners.retain(|id, _| processes.contains_key(id));
        self.health.manners.insert(id, manner);
        if spoken(&template).next().is_some()
            && let Some(from) = manner.readiness.well_from
        {
            let delay = from + self.health.random.span(2_000);
            self.later(delay, Happening::Speaks(id));
        }
    }

    /// A program says that it is ready, once.
    pub(super) fn speak(&mut self, id: InstanceId) {
        let lives = self.machine.processes.get(&id).is_some_and(|p| p.ended.is_none());
        let Some(manner) = self.health.manners.get_mut(&id).filter(|m| lives && !m.said) else {
            return;
        };
        manner.said = true;
        self.note(format_args!("  {id} says that it is ready"));
        self.pass_on(id);
        if self.health.random.permille(100) {
            self.pass_on(id);
        }
    }

    /// The runner passes on what a program has said.
    fn pass_on(&mut self, id: InstanceId) {
        let Some(process) = self.machine.processes.get(&id) else { return };
        let template = Arc::clone(&process.template);
        for kind in spoken(&template) {
            let delay = self.health.random.span(self.profile.message);
            let (answer, message) = (Answer::Success, "READY=1".to_owned());
            let event = Event::ProbeTold { id, kind, answer, message };
            self.later(delay, Happening::Event(self.life, event));
        }
    }

    /// A new daemon is told what programs that live have said.
    pub(super) fn pass_all_on(&mut self) {
        self.health.answered.clear();
        let said: Vec<InstanceId> = self
            .machine
            .processes
            .values()
            .filter(|p| p.ended.is_none())
            .filter(|p| self.health.manners.get(&p.id).is_some_and(|manner| manner.said))
            .map(|p| p.id)
            .collect();
        for id in said {
            self.pass_on(id);
        }
    }

    /// Programs that would never say that they are ready do so in a calm.
    pub(super) fn let_all_be_well(&mut self) {
        self.health.answered.clear();
        let silent: Vec<InstanceId> = self
            .health
            .manners
            .iter()
            .filter(|(_, manner)| !manner.said)
            .map(|(id, _)| *id)
            .collect();
        for id in silent {
            let delay = self.health.random.span(10_000);
            self.later(delay, Happening::Speaks(id));
        }
    }

    /// What the calm left unanswered is answered.
    pub(super) fn answer_what_is_open(&mut self) {
        for (life, id, kind) in std::mem::take(&mut self.health.open) {
            if life == self.life {
                self.answer_probe(id, kind, Millis::from_secs(1));
            }
        }
    }

    /// A hook or a probe beside a program.
    pub(super) fn beside(&mut self, spawn: &Spawn) {
        let id = spawn.id;
        match spawn.step {
            Step::Hook(hook) => self.run_hook(id, hook),
            Step::Probe(kind) => {
                let timeout = kind.spec(&spawn.template).map(|spec| spec.timeout);
                self.ask_probe(id, kind, timeout.unwrap_or_default());
            }
            Step::Init(_) | Step::Main => {}
        }
    }

    fn run_hook(&mut self, id: InstanceId, hook: Hook) {
        if let Some((delay, failure)) = self.health.hook(self.calm) {
            let event = Event::HookDone { id, hook, failure };
            self.later(delay, Happening::Event(self.life, event));
        }
    }

    fn ask_probe(&mut self, id: InstanceId, kind: Kind, timeout: Millis) {
        if self.calm {
            let answered = self.health.answered.entry((id, kind)).or_default();
            *answered += 1;
            if *answered > CALM_ANSWERS {
                self.health.open.push((self.life, id, kind));
                return;
            }
        }
        self.answer_probe(id, kind, timeout);
    }

    fn answer_probe(&mut self, id: InstanceId, kind: Kind, timeout: Millis) {
        let at = self.clock.at;
        let lives = |p: &&Process| p.ended.is_none();
        let age = self.machine.processes.get(&id).filter(lives).map(|p| at.saturating_sub(p.born));
        let (calm, health) = (self.calm, &mut self.health);
        let mut answer = match age {
            // Nothing is there to answer.
            None => Answer::Failure,
            Some(_) if calm => Answer::Success,
            Some(age) => health.answer(id, kind, age),
        };
        let delay = match health.random.weighted(&[88, 5, 4, 3]) {
            _ if calm => health.random.span(500),
            0 => health.random.span(timeout.0.min(300)),
            1 => health.random.span(timeout.0),
            2 => {
                // It hangs, until its time is over.
                answer = Answer::Failure;
                timeout.0
            }
            // Its time is over, and whoever asked is slow to tell: the start may be gone by then.
            _ => health.random.span(200_000),
        };
        let event = Event::ProbeDone { id, kind, answer, message: said(answer).to_owned() };
        self.later(delay, Happening::Event(self.life, event));
    }
}

fn said(answer: Answer) -> &'static str {
    match answer {
        Answer::Success => "",
        Answer::Failure => "refused",
        Answer::Error => "cannot be asked",
    }
}
