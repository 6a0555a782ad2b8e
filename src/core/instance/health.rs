//! From a program that runs to an instance that is ready: the `post_start` hook, then the probes.
//!
//! Responsible for what the answers of hooks and probes do to an instance
//! (`pkg/kubelet/kuberuntime/kuberuntime_container.go startContainer`,
//! `kuberuntime_manager.go computePodActions`). What probes' answers mean is in `probe`; what
//! stopping takes is in `stop`. Must not ask or run anything itself.

use super::probe::{self, Answer, Change, Probes};
use super::stop::Then;
use super::{Effect, Instance, State};
use crate::core::action::Hook;
use crate::core::report::{Field, Reason};
use crate::core::time::{Millis, Mono, Now, Wall};
use crate::core::workload::Note;

/// A `post_start` hook may take so long, after which it counts as failed: as long as a roll-out
/// may make no progress by default. Kubernetes has no limit, and a pod whose hook hangs is never
/// heard of again.
pub(super) const POST_START_MAX: Millis = Millis::from_secs(600);

/// A running program, as it comes out of its start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Born {
    pub(super) pid: u32,
    pub(super) since: Mono,
    pub(super) since_wall: Wall,
}

impl Instance {
    /// The main program was started.
    pub(super) fn started(&mut self, now: Now, pid: u32, effects: &mut Vec<Effect>) {
        let born = Born { pid, since: now.mono, since_wall: now.wall };
        effects.push(Effect::Tell(
            Note::normal(Reason::InstanceStarted, format!("started as process {pid}"))
                .with_int("pid", pid),
        ));
        if self.template.lifecycle.post_start.is_none() {
            return self.runs(now, born, effects);
        }
        let Born { pid, since, since_wall } = born;
        let until = since.plus(POST_START_MAX);
        self.state = State::PostStart { pid, since, since_wall, until };
        effects.push(Effect::Hook(Hook::PostStart));
    }

    /// It runs. Without probes it is ready (prober/results: no worker, no verdict,
    /// `ContainerStatus.Ready` = started).
    fn runs(&mut self, now: Now, born: Born, effects: &mut Vec<Effect>) {
        let Born { pid, since, since_wall } = born;
        let mut probes = Probes::new(&self.template, since).map(Box::new);
        for kind in std::mem::take(&mut self.early) {
            // What follows from it is told below, as if it were said now.
            let _change = probes.as_mut().and_then(|p| p.told(kind, Answer::Success, now.mono));
        }
        let ready_since = probes.is_none().then_some(now.mono);
        self.state = State::Running { pid, since, since_wall, ready_since, probes };
        if ready_since.is_some() {
            effects.push(Effect::Tell(Note::normal(Reason::InstanceReady, "ready")));
        }
        self.heed(now, effects);
    }

    /// The `post_start` hook has returned; `failure`: how it failed, for which the program is
    /// killed and the restart policy applies.
    pub(super) fn post_start_done(
        &mut self,
        now: Now,
        failure: Option<&str>,
        effects: &mut Vec<Effect>,
    ) {
        let State::PostStart { pid, since, since_wall, .. } = self.state else { return };
        match failure {
            None => self.runs(now, Born { pid, since, since_wall }, effects),
            Some(failure) => {
                let message = format!("post_start hook: {failure}");
                effects.push(Effect::Tell(Note::warning(Reason::HookFailed, message)));
                self.begin_to_stop(now, Then::Judge, "its post_start hook failed: ", effects);
            }
        }
    }

    /// The time of the `post_start` hook is over.
    pub(super) fn post_start_late(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if let State::PostStart { until, .. } = self.state
            && until <= now.mono
        {
            let failure = format!("did not end within {POST_START_MAX}");
            self.post_start_done(now, Some(&failure), effects);
        }
    }

    /// A probe was answered; `asked`: because it was asked, and not by the program itself.
    /// `message`: why, for people.
    pub(super) fn probed(
        &mut self,
        now: Now,
        asked: bool,
        (kind, answer): (probe::Kind, Answer),
        message: &str,
        effects: &mut Vec<Effect>,
    ) {
        if !asked
            && answer == Answer::Success
            && matches!(self.state, State::Starting { .. } | State::PostStart { .. })
        {
            // It is not said twice.
            self.early.push(kind);
            return;
        }
        let State::Running { probes: Some(probes), .. } = &mut self.state else { return };
        let change = if asked {
            probes.answer(kind, answer, now.mono)
        } else {
            probes.told(kind, answer, now.mono)
        };
        if probes.note(kind, (answer != Answer::Success).then_some(message)) {
            effects.push(probe_failed(kind, message));
        }
        match change {
            Some(Change::Kill(kind)) => {
                let why = format!("its {} probe failed: ", kind.as_str());
                self.begin_to_stop(now, Then::Judge, &why, effects);
            }
            Some(Change::Started | Change::Ready | Change::Unready) | None => {
                self.heed(now, effects);
            }
        }
    }

    /// Brings what is told of the instance up to what its probes say, and asks what is due.
    pub(super) fn heed(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.watch(now, effects) {
            return;
        }
        let State::Running { ready_since, probes: Some(probes), .. } = &mut self.state else {
            return;
        };
        if let Some(message) = probes.start_is_late(now.mono) {
            effects.push(probe_failed(probe::Kind::Startup, &message));
            return self.begin_to_stop(now, Then::Judge, "its startup probe failed: ", effects);
        }
        match (probes.ready(), *ready_since) {
            (true, None) => {
                *ready_since = Some(now.mono);
                effects.push(Effect::Tell(Note::normal(Reason::InstanceReady, "ready")));
            }
            (false, Some(_)) => {
                *ready_since = None;
                let note = Note::warning(Reason::InstanceUnready, "not ready any more");
                effects.push(Effect::Tell(note));
            }
            (true, Some(_)) | (false, None) => {}
        }
        effects.extend(probes.ask(now.mono).into_iter().map(Effect::Probe));
    }
}

/// What is told of a probe's bad answer.
pub(super) fn probe_failed(kind: probe::Kind, message: &str) -> Effect {
    let word = kind.as_str();
    Effect::Tell(
        Note::warning(Reason::ProbeFailed, format!("{word} probe: {message}"))
            .with("probe", Field::Text(word.to_owned())),
    )
}

/// The `reload` hook has returned. Whether it succeeded is only told: the program runs on.
pub(super) fn reloaded(failure: Option<&str>) -> Effect {
    Effect::Tell(match failure {
        None => Note::normal(Reason::InstanceReloaded, "reloaded"),
        Some(failure) => Note::warning(Reason::HookFailed, format!("reload hook: {failure}")),
    })
}
