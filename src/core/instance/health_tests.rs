//! Tables of what hooks and probes do to an instance, from its start to its end. Each row names
//! where Kubernetes says so, below `pkg/kubelet`, or that it is wsup's own decision.

use super::probe::{Answer, Kind};
use super::stop::Then;
use super::tests::{GRACE, NOW, instance};
use super::{Effect, Input, Instance, Program, Rung, State};
use crate::core::action::Hook;
use crate::core::event::{Announcement, Exit};
use crate::core::report::Reason;
use crate::core::spec::{ProbeHandler, ProbeSpec, RestartPolicy};
use crate::core::table::{Rule, by};
use crate::core::time::{Millis, Now};
use std::sync::Arc;

/// A rule, what the template has (see [`Life::new`]), the policy, and what happens with what comes of it.
type Row = (Rule, &'static str, RestartPolicy, &'static [(&'static str, &'static str)]);

/// A life, told as words: what happens (with the second), and what the instance does and is.
struct Life {
    one: Instance,
    now: Now,
}

fn probe(failure_threshold: u32) -> ProbeSpec {
    ProbeSpec {
        handler: ProbeHandler::Tcp("127.0.0.1:1".to_owned()),
        initial_delay: Millis::ZERO,
        period: Millis::from_secs(10),
        timeout: Millis::from_secs(1),
        success_threshold: 1,
        failure_threshold,
    }
}

/// A probe that the program answers by itself.
fn spoken() -> Box<ProbeSpec> {
    Box::new(ProbeSpec { handler: ProbeHandler::Notify, ..probe(1) })
}

impl Life {
    /// `has`: letters for what the template has: `i` an init step, `p` a post_start hook, `s` a
    /// pre_stop hook, `u` a startup, `r` a readiness, `l` a liveness probe, `0` no grace, `1` a
    /// grace of one second, `n` a readiness and `N` a startup probe of the kind `notify`, `w` a watchdog
    /// of 30 seconds.
    fn new(has: &str, policy: RestartPolicy) -> Life {
        let steps = has.matches('i').count();
        let mut one = instance(policy, steps, State::Pending { why: super::Waiting::New });
        let template = Arc::make_mut(&mut one.template);
        for letter in has.chars() {
            match letter {
                'i' => {}
                'p' => template.lifecycle.post_start = Some(vec!["announce".to_owned()]),
                's' => template.lifecycle.pre_stop = Some(vec!["drain".to_owned()]),
                'u' => template.startup = Some(probe(2).into()),
                'r' => template.readiness = Some(probe(1).into()),
                'l' => template.liveness = Some(probe(2).into()),
                'n' => template.readiness = Some(spoken()),
                'N' => template.startup = Some(spoken()),
                'w' => template.watchdog = Some(Millis::from_secs(30)),
                '0' => template.process.termination_grace_period = Millis::ZERO,
                '1' => template.process.termination_grace_period = Millis::from_secs(1),
                other => panic!("nothing is called {other}"),
            }
        }
        Life { one, now: NOW }
    }

    /// Lets one thing happen and tells what comes of it.
    fn happen(&mut self, word: &str) -> String {
        let mut effects = Vec::new();
        let exited = |exit| Input::Exited { exit, at: self.now.mono };
        let probed = |kind, answer| Input::Probed { kind, asked: true, answer, message: "refused" };
        let said = |kind| {
            let answer = Answer::Success;
            Input::Probed { kind, asked: false, answer, message: "READY=1" }
        };
        let hook = |hook, failure| Input::HookDone { hook, failure };
        let input = match word {
            "begin" => Input::Begin,
            "spawned" => Input::Spawned { pid: 42 },
            "exit0" => exited(Exit::Code(0)),
            "exit1" => exited(Exit::Code(1)),
            "term" => exited(Exit::Signal(15)),
            "leave" => Input::Leave,
            "hold" => Input::Hold,
            "restart" => Input::Restart,
            "post+" => hook(Hook::PostStart, None),
            "post-" => hook(Hook::PostStart, Some("exit code 1")),
            "pre+" => hook(Hook::PreStop, None),
            "pre-" => hook(Hook::PreStop, Some("exit code 1")),
            "U+" => probed(Kind::Startup, Answer::Success),
            "U-" => probed(Kind::Startup, Answer::Failure),
            "R+" => probed(Kind::Readiness, Answer::Success),
            "R-" => probed(Kind::Readiness, Answer::Failure),
            "R?" => probed(Kind::Readiness, Answer::Error),
            "L+" => probed(Kind::Liveness, Answer::Success),
            "L-" => probed(Kind::Liveness, Answer::Failure),
            "READY" => said(Kind::Readiness),
            "STARTED" => said(Kind::Startup),
            "fed" => Input::Fed { trigger: false },
            "trigger" => Input::Fed { trigger: true },
            "STOPPING" => Input::Announced(Announcement::Stopping),
            "RELOADING" => Input::Announced(Announcement::Reloading(true)),
            "RELOADED" => Input::Announced(Announcement::Reloading(false)),
            "MAINPID=7" => Input::Announced(Announcement::MainPid(7)),
            extend if extend.starts_with('+') => {
                let span: u64 = extend[1..].strip_suffix("ms").unwrap().parse().unwrap();
                Input::Announced(Announcement::Extend(self.now.mono.plus(Millis(span))))
            }
            wait => {
                let span: u64 = wait.strip_suffix("ms").unwrap().parse().unwrap();
                self.now = self.now.plus(Millis(span));
                Input::Tick
            }
        };
        self.one.step(self.now, input, &mut effects);
        let mut told: Vec<String> = effects.iter().filter_map(show).collect();
        told.push(self.stands());
        told.join(" ")
    }

    fn stands(&self) -> String {
        let until = |at: crate::core::time::Mono| at.since(self.now.mono).0;
        match &self.one.state {
            State::Pending { .. } => "pending".to_owned(),
            State::Starting { .. } => "starting".to_owned(),
            State::Init { .. } => "init".to_owned(),
            State::PostStart { .. } => "post-start".to_owned(),
            State::Running { ready_since: Some(_), .. } => "ready".to_owned(),
            State::Running { ready_since: None, .. } => "running".to_owned(),
            State::Stopping { rung: Rung::Hook { until: at, .. }, .. } => {
                format!("hook({})", until(*at))
            }
            State::Stopping { rung: Rung::Asked { kill_at, .. }, then, .. } => {
                format!("asked({}){}", until(*kill_at), if *then == Then::Judge { "!" } else { "" })
            }
            State::Stopping { rung: Rung::Own { kill_at }, .. } => {
                format!("own({})", until(*kill_at))
            }
            State::Backoff { until: at, .. } => format!("backoff({})", until(*at)),
            State::Queued { .. } => "queued".to_owned(),
            State::Succeeded => "succeeded".to_owned(),
            State::Failed { .. } => "failed".to_owned(),
            State::GaveUp => "gave-up".to_owned(),
        }
    }
}

fn show(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::Spawn(Program::Init(step)) => format!("spawn-init{step}"),
        Effect::Spawn(Program::Main) => "spawn".to_owned(),
        Effect::Terminate(_) => "TERM".to_owned(),
        Effect::Kill => "KILL".to_owned(),
        Effect::Probe(Kind::Startup) => "U?".to_owned(),
        Effect::Probe(Kind::Readiness) => "R?".to_owned(),
        Effect::Probe(Kind::Liveness) => "L?".to_owned(),
        Effect::Hook(Hook::PostStart) => "post?".to_owned(),
        Effect::Hook(Hook::PreStop) => "pre?".to_owned(),
        Effect::Hook(Hook::Reload) => "reload?".to_owned(),
        Effect::Waits => "waits".to_owned(),
        Effect::Gone => "gone".to_owned(),
        Effect::Tell(note) => match note.reason {
            Reason::ProbeFailed => "probe-failed".to_owned(),
            Reason::HookFailed => "hook-failed".to_owned(),
            Reason::InstanceUnready => "unready".to_owned(),
            Reason::InstanceReloaded => "reloaded".to_owned(),
            Reason::InstanceMainPid => "main".to_owned(),
            _ => return None,
        },
    })
}

#[test]
fn lives() {
    use RestartPolicy::{Always, Never, OnFailure};
    let grace = GRACE.0;
    assert_eq!(grace, 30_000, "the rows below say so");
    // The rule, what the template has, the restart policy; then what happens, each with what
    // comes of it.
    type Row = (Rule, &'static str, RestartPolicy, &'static [(&'static str, &'static str)]);
    let rows: &[Row] = &[
        (
            by("prober_manager.go UpdatePodStatus", "no probe, ready once started"),
            "",
            Always,
            &[("begin", "spawn starting"), ("spawned", "ready")],
        ),
        (
            by("prober/worker.go", "not ready before the first success"),
            "r",
            Always,
            &[("begin", "spawn starting"), ("spawned", "R? running"), ("R+", "ready")],
        ),
        (
            by("prober/worker.go doProbe", "below the threshold it is not ready, and told why"),
            "r",
            Always,
            &[
                ("begin", "spawn starting"),
                ("spawned", "R? running"),
                ("R-", "probe-failed running"),
                ("10000ms", "R? running"),
                ("R-", "running"),
                ("10000ms", "R? running"),
                ("R+", "ready"),
                ("10000ms", "R? ready"),
                ("R-", "probe-failed unready running"),
            ],
        ),
        (
            by("prober/worker.go doProbe", "an error of the prober changes nothing"),
            "r",
            Always,
            &[
                ("begin", "spawn starting"),
                ("spawned", "R? running"),
                ("R+", "ready"),
                ("10000ms", "R? ready"),
                ("R?", "probe-failed ready"),
            ],
        ),
        (
            by("prober/worker.go doProbe", "the startup probe gates the others"),
            "url",
            Always,
            &[
                ("begin", "spawn starting"),
                ("spawned", "U? running"),
                ("U-", "probe-failed running"),
                ("10000ms", "U? running"),
                ("U+", "R? L? running"),
                ("R+", "ready"),
            ],
        ),
        (
            by("prober/worker.go doProbe", "without a readiness probe started is ready"),
            "u",
            Always,
            &[("begin", "spawn starting"), ("spawned", "U? running"), ("U+", "ready")],
        ),
        (
            by(
                "kuberuntime_manager.go computePodActions",
                "startup failed, killed and started again",
            ),
            "u",
            Always,
            &[
                ("begin", "spawn starting"),
                ("spawned", "U? running"),
                ("U-", "probe-failed running"),
                ("10000ms", "U? running"),
                ("U-", "probe-failed TERM asked(30000)!"),
                ("term", "spawn starting"),
                ("spawned", "U? running"),
            ],
        ),
        (
            by(
                "kuberuntime_manager.go computePodActions",
                "liveness failed, back-off like any other end",
            ),
            "l",
            Always,
            &[
                ("begin", "spawn starting"),
                ("spawned", "L? ready"),
                ("L-", "probe-failed ready"),
                ("10000ms", "L? ready"),
                ("L-", "probe-failed TERM asked(30000)!"),
                ("term", "spawn starting"),
                ("spawned", "L? ready"),
                ("L-", "probe-failed ready"),
                ("10000ms", "L? ready"),
                ("L-", "probe-failed TERM asked(30000)!"),
                ("term", "backoff(10000)"),
            ],
        ),
        (
            by("kuberuntime_container.go killContainer", "liveness failed, pre_stop runs as well"),
            "ls",
            Always,
            &[
                ("begin", "spawn starting"),
                ("spawned", "L? ready"),
                ("L-", "probe-failed ready"),
                ("10000ms", "L? ready"),
                ("L-", "probe-failed pre? hook(30000)"),
                ("pre+", "TERM asked(30000)!"),
                ("30000ms", "KILL asked(10000)!"),
            ],
        ),
        (
            by("kubelet/helpers.go ShouldContainerBeRestarted", "liveness failed, never restarted"),
            "l",
            Never,
            &[
                ("begin", "spawn starting"),
                ("spawned", "L? ready"),
                ("L-", "probe-failed ready"),
                ("10000ms", "L? ready"),
                ("L-", "probe-failed TERM asked(30000)!"),
                ("term", "failed"),
            ],
        ),
        (
            by(
                "kubelet/helpers.go ShouldContainerBeRestarted",
                "liveness failed, exit 0 on the signal",
            ),
            "l",
            OnFailure,
            &[
                ("begin", "spawn starting"),
                ("spawned", "L? ready"),
                ("L-", "probe-failed ready"),
                ("10000ms", "L? ready"),
                ("L-", "probe-failed TERM asked(30000)!"),
                ("exit0", "succeeded"),
            ],
        ),
        (
            by("wsup", "a wish that comes while it is killed for its liveness counts for more"),
            "l",
            Always,
            &[
                ("begin", "spawn starting"),
                ("spawned", "L? ready"),
                ("L-", "probe-failed ready"),
                ("10000ms", "L? ready"),
                ("L-", "probe-failed TERM asked(30000)!"),
                ("leave", "asked(30000)"),
                ("term", "gone asked(30000)"),
            ],
        ),
        (
            by("wsup", "while it stops nothing is asked and it is not ready"),
            "rl",
            Always,
            &[
                ("begin", "spawn starting"),
                ("spawned", "R? L? running"),
                ("R+", "ready"),
                ("leave", "TERM asked(30000)"),
                ("R+", "asked(30000)"),
                ("L-", "asked(30000)"),
                ("10000ms", "asked(20000)"),
            ],
        ),
        (
            by(
                "kuberuntime_container.go startContainer",
                "not running before post_start has returned",
            ),
            "pr",
            Always,
            &[
                ("begin", "spawn starting"),
                ("spawned", "post? post-start"),
                ("5000ms", "post-start"),
                ("post+", "R? running"),
                ("R+", "ready"),
            ],
        ),
        (
            by("lifecycle/handlers.go", "post_start without probes, ready when it has returned"),
            "p",
            Always,
            &[("begin", "spawn starting"), ("spawned", "post? post-start"), ("post+", "ready")],
        ),
        (
            by(
                "kuberuntime_container.go startContainer",
                "post_start fails, killed, policy applies",
            ),
            "p",
            Always,
            &[
                ("begin", "spawn starting"),
                ("spawned", "post? post-start"),
                ("post-", "hook-failed TERM asked(30000)!"),
                ("term", "spawn starting"),
            ],
        ),
        (
            by("kuberuntime_container.go startContainer", "post_start fails, never restarted"),
            "p",
            Never,
            &[
                ("begin", "spawn starting"),
                ("spawned", "post? post-start"),
                ("post-", "hook-failed TERM asked(30000)!"),
                ("term", "failed"),
            ],
        ),
        (
            by("kuberuntime_container.go killContainer", "after a failed post_start pre_stop runs"),
            "ps",
            Always,
            &[
                ("begin", "spawn starting"),
                ("spawned", "post? post-start"),
                ("post-", "hook-failed pre? hook(30000)"),
                ("pre+", "TERM asked(30000)!"),
            ],
        ),
        (
            by("wsup", "a post_start that hangs fails after ten minutes"),
            "p",
            Always,
            &[
                ("begin", "spawn starting"),
                ("spawned", "post? post-start"),
                ("599999ms", "post-start"),
                ("1ms", "hook-failed TERM asked(30000)!"),
            ],
        ),
        (
            by("kuberuntime_container.go startContainer", "it ends while post_start runs"),
            "p",
            Always,
            &[
                ("begin", "spawn starting"),
                ("spawned", "post? post-start"),
                ("exit1", "spawn starting"),
                ("post+", "starting"),
            ],
        ),
        (
            by("kuberuntime_container.go killContainer", "pre_stop, then the signal"),
            "s",
            Always,
            &[
                ("begin", "spawn starting"),
                ("spawned", "ready"),
                ("leave", "pre? hook(30000)"),
                ("pre+", "TERM asked(30000)"),
                ("term", "gone asked(30000)"),
            ],
        ),
        (
            by(
                "kuberuntime_container.go killContainer",
                "whole seconds of pre_stop are subtracted",
            ),
            "s",
            Always,
            &[
                ("begin", "spawn starting"),
                ("spawned", "ready"),
                ("leave", "pre? hook(30000)"),
                ("4999ms", "hook(25001)"),
                ("pre+", "TERM asked(26000)"),
            ],
        ),
        (
            by(
                "kuberuntime_container.go minimumGracePeriodInSeconds",
                "at least two seconds are left",
            ),
            "s",
            Always,
            &[
                ("begin", "spawn starting"),
                ("spawned", "ready"),
                ("leave", "pre? hook(30000)"),
                ("29500ms", "hook(500)"),
                ("pre+", "TERM asked(2000)"),
            ],
        ),
        (
            by(
                "kuberuntime_container.go minimumGracePeriodInSeconds",
                "also of a grace of one second",
            ),
            "s1",
            Always,
            &[
                ("begin", "spawn starting"),
                ("spawned", "ready"),
                ("leave", "pre? hook(1000)"),
                ("pre+", "TERM asked(2000)"),
            ],
        ),
        (
            by(
                "kuberuntime_container.go executePreStopHook",
                "given up at the end of the grace period",
            ),
            "s",
            Always,
            &[
                ("begin", "spawn starting"),
                ("spawned", "ready"),
                ("leave", "pre? hook(30000)"),
                ("30000ms", "hook-failed TERM asked(2000)"),
                ("pre+", "asked(2000)"),
                ("2000ms", "KILL asked(10000)"),
            ],
        ),
        (
            by("kuberuntime_container.go executePreStopHook", "a failure is only reported"),
            "s",
            Always,
            &[
                ("begin", "spawn starting"),
                ("spawned", "ready"),
                ("leave", "pre? hook(30000)"),
                ("pre-", "hook-failed TERM asked(30000)"),
            ],
        ),
        (
            by("kuberuntime_container.go killContainer", "no pre_stop without a grace period"),
            "s0",
            Always,
            &[
                ("begin", "spawn starting"),
                ("spawned", "ready"),
                ("leave", "TERM asked(0)"),
                ("0ms", "KILL asked(10000)"),
            ],
        ),
        (
            by("kuberuntime_container.go killContainer", "it ends by itself while pre_stop runs"),
            "s",
            Always,
            &[
                ("begin", "spawn starting"),
                ("spawned", "ready"),
                ("leave", "pre? hook(30000)"),
                ("exit0", "gone hook(30000)"),
            ],
        ),
        (
            by("docs/lifecycle-hooks", "no pre_stop when it ended by itself"),
            "s",
            Always,
            &[("begin", "spawn starting"), ("spawned", "ready"), ("exit1", "spawn starting")],
        ),
        (
            by("kuberuntime_container.go killContainer", "pre_stop on a restart by an operator"),
            "s",
            Always,
            &[
                ("begin", "spawn starting"),
                ("spawned", "ready"),
                ("restart", "pre? hook(30000)"),
                ("pre+", "TERM asked(30000)"),
                ("term", "spawn starting"),
            ],
        ),
        (
            by(
                "kuberuntime_container.go killContainer",
                "before a program that has not begun, no hook",
            ),
            "s",
            Always,
            &[
                ("begin", "spawn starting"),
                ("leave", "TERM asked(30000)"),
                ("spawned", "asked(30000)"),
            ],
        ),
        (
            by(
                "kuberuntime_container.go computeInitContainerActions",
                "in order, then the program",
            ),
            "ii",
            Always,
            &[
                ("begin", "spawn-init0 starting"),
                ("spawned", "init"),
                ("exit0", "spawn-init1 starting"),
                ("spawned", "init"),
                ("exit0", "spawn starting"),
                ("spawned", "ready"),
            ],
        ),
        (
            by(
                "kuberuntime_container.go computeInitContainerActions",
                "init steps have no probes or hooks",
            ),
            "ipsrl",
            Always,
            &[
                ("begin", "spawn-init0 starting"),
                ("spawned", "init"),
                ("leave", "TERM asked(30000)"),
            ],
        ),
        (
            by(
                "kuberuntime_container.go computeInitContainerActions",
                "Never, a failure fails the whole",
            ),
            "i",
            Never,
            &[("begin", "spawn-init0 starting"), ("spawned", "init"), ("exit1", "failed")],
        ),
        (
            by(
                "kuberuntime_container.go computeInitContainerActions",
                "OnFailure, tried with back-off",
            ),
            "i",
            OnFailure,
            &[
                ("begin", "spawn-init0 starting"),
                ("spawned", "init"),
                ("exit1", "spawn-init0 starting"),
                ("spawned", "init"),
                ("exit1", "backoff(10000)"),
                ("10000ms", "spawn-init0 starting"),
            ],
        ),
        (
            by("kuberuntime_container.go computeInitContainerActions", "Always acts as OnFailure"),
            "i",
            Always,
            &[
                ("begin", "spawn-init0 starting"),
                ("spawned", "init"),
                ("exit1", "spawn-init0 starting"),
                ("spawned", "init"),
                ("exit0", "spawn starting"),
            ],
        ),
        (
            by("docs/init-containers", "not run again when the program is started again in place"),
            "i",
            Always,
            &[
                ("begin", "spawn-init0 starting"),
                ("spawned", "init"),
                ("exit0", "spawn starting"),
                ("spawned", "ready"),
                ("exit1", "spawn starting"),
                ("spawned", "ready"),
                ("exit1", "backoff(10000)"),
                ("10000ms", "spawn starting"),
            ],
        ),
        (
            by("wsup", "an operator's restart begins anew, init steps included"),
            "i",
            Always,
            &[
                ("begin", "spawn-init0 starting"),
                ("spawned", "init"),
                ("exit0", "spawn starting"),
                ("spawned", "ready"),
                ("restart", "TERM asked(30000)"),
                ("term", "spawn-init0 starting"),
            ],
        ),
        (
            by("wsup", "stopped by an operator, it rests after its pre_stop"),
            "s",
            Always,
            &[
                ("begin", "spawn starting"),
                ("spawned", "ready"),
                ("hold", "pre? hook(30000)"),
                ("pre+", "TERM asked(30000)"),
                ("term", "pending"),
            ],
        ),
    ];
    for (rule, has, policy, steps) in rows {
        let mut life = Life::new(has, *policy);
        for (at, (word, want)) in steps.iter().enumerate() {
            assert_eq!(life.happen(word), *want, "{rule}: step {at}, {word}");
        }
    }
}

/// What the program says of itself (sd_notify(3)).
#[test]
fn programs_that_speak() {
    use RestartPolicy::Always;
    #[rustfmt::skip]
    let rows: &[Row] = &[
        (by("sd_notify(3)", "READY=1: the program does its work"), "n", Always,
            &[("begin", "spawn starting"), ("spawned", "running"), ("READY", "ready")]),
        (by("wsup", "what was said before the start was known is not lost"), "n", Always,
            &[("begin", "spawn starting"), ("READY", "starting"), ("spawned", "ready")]),
        (by("wsup", "what was said while post_start runs is not lost"), "pn", Always,
            &[("begin", "spawn starting"), ("spawned", "post? post-start"), ("READY", "post-start"), ("post+", "ready")]),
        (by("wsup", "it counts for that process alone"), "n", Always,
            &[("begin", "spawn starting"), ("spawned", "running"), ("READY", "ready"), ("exit1", "spawn starting"), ("spawned", "running")]),
        (by("wsup", "said early, it counts for that process alone"), "pn", Always,
            &[("begin", "spawn starting"), ("spawned", "post? post-start"), ("READY", "post-start"), ("exit1", "spawn starting"), ("spawned", "post? post-start"), ("post+", "running")]),
        (by("wsup", "said twice, it is said"), "n", Always,
            &[("begin", "spawn starting"), ("spawned", "running"), ("READY", "ready"), ("READY", "ready")]),
        (by("wsup", "a probe that asks is not answered by a word"), "r", Always,
            &[("begin", "spawn starting"), ("spawned", "R? running"), ("READY", "running"), ("R+", "ready")]),
        (by("prober/worker.go", "a startup probe holds readiness back"), "Nr", Always,
            &[("begin", "spawn starting"), ("spawned", "running"), ("STARTED", "R? running"), ("R+", "ready")]),
        (by("systemd.service(5)", "WatchdogSec: without a sign in time it is ended, and restarted"), "w", Always,
            &[("begin", "spawn starting"), ("spawned", "ready"), ("29999ms", "ready"), ("1ms", "probe-failed TERM asked(30000)!"), ("term", "spawn starting"), ("spawned", "ready")]),
        (by("systemd.service(5)", "WatchdogSec: each sign gives the whole time again"), "w", Always,
            &[("begin", "spawn starting"), ("spawned", "ready"), ("29999ms", "ready"), ("fed", "ready"), ("29999ms", "ready"), ("1ms", "probe-failed TERM asked(30000)!")]),
        (by("sd_notify(3)", "WATCHDOG=trigger: as if the time were over"), "w", Always,
            &[("begin", "spawn starting"), ("spawned", "ready"), ("trigger", "probe-failed TERM asked(30000)!"), ("fed", "asked(30000)!"), ("trigger", "asked(30000)!")]),
        (by("systemd.service(5)", "WatchdogSec: counted from when it has started"), "Nw", Always,
            &[("begin", "spawn starting"), ("spawned", "running"), ("9000ms", "running"), ("fed", "running"), ("STARTED", "ready"), ("29999ms", "ready"), ("1ms", "probe-failed TERM asked(30000)!")]),
        (by("wsup", "a start that is never told to be done has failed after failure_threshold periods"), "N", Always,
            &[("begin", "spawn starting"), ("spawned", "running"), ("9999ms", "running"), ("1ms", "probe-failed TERM asked(30000)!"), ("term", "spawn starting"), ("spawned", "running"), ("9999ms", "running"), ("STARTED", "ready"), ("60000ms", "ready")]),
        (by("systemd.service(5)", "TimeoutStartSec: EXTEND_TIMEOUT_USEC puts it off, the last one counts"), "N", Always,
            &[("begin", "spawn starting"), ("spawned", "running"), ("9000ms", "running"), ("+5000ms", "running"), ("4000ms", "running"), ("+3000ms", "running"), ("2999ms", "running"), ("1ms", "probe-failed TERM asked(30000)!")]),
        (by("sd_notify(3)", "EXTEND_TIMEOUT_USEC: never shorter than the limit itself"), "N", Always,
            &[("begin", "spawn starting"), ("spawned", "running"), ("+1000ms", "running"), ("9999ms", "running"), ("1ms", "probe-failed TERM asked(30000)!")]),
        (by("systemd.service(5)", "TimeoutStartSec: EXTEND_TIMEOUT_USEC puts a startup probe's verdict off"), "u", Always,
            &[("begin", "spawn starting"), ("spawned", "U? running"), ("U-", "probe-failed running"), ("+15000ms", "running"), ("10000ms", "U? running"), ("U-", "probe-failed running"), ("10000ms", "U? running"), ("U-", "TERM asked(30000)!")]),
        (by("wsup", "EXTEND_TIMEOUT_USEC is nothing to who has started"), "Nl", Always,
            &[("begin", "spawn starting"), ("spawned", "running"), ("STARTED", "L? ready"), ("+60000ms", "ready"), ("L-", "probe-failed ready"), ("10000ms", "L? ready"), ("L-", "probe-failed TERM asked(30000)!")]),
        (by("systemd.service(5)", "TimeoutStopSec: EXTEND_TIMEOUT_USEC puts SIGKILL off"), "", Always,
            &[("begin", "spawn starting"), ("spawned", "ready"), ("leave", "TERM asked(30000)"), ("20000ms", "asked(10000)"), ("+15000ms", "asked(10000)"), ("10000ms", "asked(0)"), ("+10000ms", "asked(0)"), ("9999ms", "asked(0)"), ("1ms", "KILL asked(10000)"), ("+60000ms", "asked(10000)"), ("10000ms", "KILL asked(20000)")]),
        (by("systemd.service(5)", "TimeoutStopSec: never shorter than the limit itself"), "", Always,
            &[("begin", "spawn starting"), ("spawned", "ready"), ("leave", "TERM asked(30000)"), ("+1ms", "asked(30000)"), ("29999ms", "asked(1)"), ("1ms", "KILL asked(10000)")]),
        (by("wsup", "EXTEND_TIMEOUT_USEC leaves a pre_stop hook its time too"), "s", Always,
            &[("begin", "spawn starting"), ("spawned", "ready"), ("leave", "pre? hook(30000)"), ("+40000ms", "hook(30000)"), ("39999ms", "hook(0)"), ("1ms", "hook-failed TERM asked(2000)")]),
        (by("sd_notify(3)", "STOPPING: it ends by itself, is not ready and not asked to end"), "s", Always,
            &[("begin", "spawn starting"), ("spawned", "ready"), ("STOPPING", "own(30000)"), ("STOPPING", "own(30000)"), ("1000ms", "own(29000)"), ("exit0", "spawn starting")]),
        (by("sd_notify(3)", "STOPPING: TimeoutStopSec holds, then it is killed"), "", Always,
            &[("begin", "spawn starting"), ("spawned", "ready"), ("STOPPING", "own(30000)"), ("29999ms", "own(1)"), ("1ms", "KILL asked(10000)!"), ("exit1", "spawn starting")]),
        (by("wsup", "STOPPING is judged as any end"), "", RestartPolicy::OnFailure,
            &[("begin", "spawn starting"), ("spawned", "ready"), ("STOPPING", "own(30000)"), ("exit0", "succeeded")]),
        (by("wsup", "an operator's stop asks what only says that it ends"), "s", Always,
            &[("begin", "spawn starting"), ("spawned", "ready"), ("STOPPING", "own(30000)"), ("1000ms", "own(29000)"), ("hold", "TERM asked(30000)"), ("term", "pending")]),
        (by("wsup", "STOPPING while it is being stopped says nothing new"), "", Always,
            &[("begin", "spawn starting"), ("spawned", "ready"), ("leave", "TERM asked(30000)"), ("1000ms", "asked(29000)"), ("STOPPING", "asked(29000)"), ("exit0", "gone asked(29000)")]),
        (by("sd_notify(3)", "RELOADING: it goes on, and says when it is done"), "n", Always,
            &[("begin", "spawn starting"), ("spawned", "running"), ("READY", "ready"), ("RELOADING", "ready"), ("RELOADING", "ready"), ("RELOADED", "reloaded ready"), ("RELOADED", "ready")]),
        (by("sd_notify(3)", "MAINPID: that process is followed, told once"), "", Always,
            &[("begin", "spawn starting"), ("spawned", "ready"), ("MAINPID=7", "main ready"), ("MAINPID=7", "ready"), ("leave", "TERM asked(30000)"), ("MAINPID=7", "asked(30000)"), ("exit0", "gone asked(30000)")]),
        (by("wsup", "signs of life without a watchdog are nothing"), "r", Always,
            &[("begin", "spawn starting"), ("spawned", "R? running"), ("fed", "running"), ("trigger", "running")]),
        (by("wsup", "an end by the watchdog is a failure: the policy applies"), "w", RestartPolicy::Never,
            &[("begin", "spawn starting"), ("spawned", "ready"), ("30000ms", "probe-failed TERM asked(30000)!"), ("term", "failed")]),
    ];
    for (rule, has, policy, steps) in rows {
        let mut life = Life::new(has, *policy);
        for (at, (word, want)) in steps.iter().enumerate() {
            assert_eq!(life.happen(word), *want, "{rule}: step {at}, {word}");
        }
    }
}

/// What was said while no daemon was there comes after its first look at the clock.
#[test]
fn a_new_daemon_hears_first_what_was_said_of_the_start() {
    let mut life = Life::new("N", RestartPolicy::Always);
    life.happen("begin");
    life.happen("spawned");
    life.now = life.now.plus(Millis::from_secs(60));
    life.one.adopted(life.now.mono);
    assert_eq!(life.happen("0ms"), "running");
    assert_eq!(life.happen("STARTED"), "ready");
}

/// A new daemon heard nothing of the program for as long as none was there.
#[test]
fn a_new_daemon_gives_the_program_its_whole_time() {
    let mut life = Life::new("w", RestartPolicy::Always);
    life.happen("begin");
    life.happen("spawned");
    assert_eq!(life.happen("29000ms"), "ready");
    life.one.adopted(life.now.mono);
    assert_eq!(life.happen("29000ms"), "ready");
    assert_eq!(life.one.deadline(), Some(life.now.mono.plus(Millis::from_secs(1))));
}

/// A probe that is due long after it was asked last is asked once, not once for each period.
#[test]
fn a_daemon_that_was_away_asks_once() {
    let mut life = Life::new("r", RestartPolicy::Always);
    life.happen("begin");
    life.happen("spawned");
    assert_eq!(life.happen("R+"), "ready");
    assert_eq!(life.happen("3600000ms"), "R? ready");
    assert_eq!(life.happen("R+"), "ready");
    assert_eq!(life.one.deadline(), Some(life.now.mono.plus(Millis::from_secs(10))));
}
