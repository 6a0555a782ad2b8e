//! Every state with every input, by enumeration, and tables for the back-off and the stop ladder.

use super::restart::{Streak, Verdict};
use super::*;
use crate::core::id::{Kind, UnitName};
use crate::core::signal;
use crate::core::spec::{Backoff, InitStep, ProbeHandler, ProbeSpec, RestartLimit, RestartSpec};
use crate::core::table::{Rule, by};
use crate::core::time::Millis;

pub(super) const NOW: Now = Now { mono: Mono(1_000_000), wall: Wall(1_790_000_000_000) };
pub(super) const GRACE: Millis = Millis::from_secs(30);

fn restart_spec(policy: RestartPolicy) -> RestartSpec {
    RestartSpec {
        policy,
        backoff: Backoff {
            initial: Millis::from_secs(10),
            factor_milli: 2_000,
            max: Millis::from_secs(300),
            reset_after: Millis::from_secs(600),
        },
        limit: None,
        vital: false,
    }
}

pub(super) fn instance(policy: RestartPolicy, steps: usize, state: State) -> Instance {
    let mut template = InstanceTemplate::bare(vec!["true".to_owned()], restart_spec(policy));
    template.process.termination_grace_period = GRACE;
    template.init = (0..steps).map(|n| InitStep { command: vec![n.to_string()] }).collect();
    Instance {
        slot: 7,
        name: "api-x".into(),
        ports: Vec::new(),
        gated: false,
        guard: None,
        early: Vec::new(),
        says: None,
        reloading: false,
        unit: UnitKey::new(Kind::Deployment, UnitName::new("api").unwrap()),
        set: 1,
        template: Arc::new(template),
        identity: Identity::Anonymous,
        created: NOW,
        generation: 3,
        restarts: 0,
        streak: Streak::default(),
        last_end: None,
        last_failure: None,
        initialised: false,
        leaving: false,
        held: false,
        state,
    }
}

fn states() -> Vec<State> {
    let (past, future) = (Mono(NOW.mono.0 - 1), Mono(NOW.mono.0 + 5_000));
    let mut all = vec![State::Succeeded, State::Failed { message: "no".to_owned() }, State::GaveUp];
    all.extend(
        [Waiting::New, Waiting::Held, Waiting::Dependencies].map(|why| State::Pending { why }),
    );
    for program in [Program::Init(0), Program::Init(1), Program::Main] {
        all.push(State::Starting { program });
        all.push(State::Queued { since: past, program });
        all.extend([past, NOW.mono, future].map(|until| State::Backoff { until, program }));
    }
    all.extend([0, 1].map(|step| State::Init { step, pid: 42 }));
    let (since, since_wall) = (past, NOW.wall);
    for ready_since in [None, Some(past)] {
        let probes = None;
        all.push(State::Running { pid: 42, since, since_wall, ready_since, probes });
    }
    let probed = probed(RestartPolicy::Always);
    let mut probes = probe::Probes::new(&probed.template, past).map(Box::new);
    for _ in 0..2 {
        let ready_since = None;
        all.push(State::Running {
            pid: 42,
            since,
            since_wall,
            ready_since,
            probes: probes.clone(),
        });
        // The same with all its questions under way.
        let _ = probes.as_mut().map(|probes| probes.ask(NOW.mono));
    }
    for at in [past, NOW.mono, future] {
        all.push(State::PostStart { pid: 42, since, since_wall, until: at });
        let mut rungs = vec![Rung::Hook { since: past, until: at }];
        rungs.push(Rung::Own { kill_at: at });
        rungs.extend([0, 1, 40].map(|kills| Rung::Asked { kill_at: at, kills }));
        for rung in rungs {
            for then in [Then::Wish, Then::Judge] {
                for (pid, extended) in [(None, None), (Some(42), None), (Some(42), Some(future))] {
                    all.push(State::Stopping { pid, rung, then, extended });
                }
            }
        }
    }
    all
}

/// An instance with all hooks, and with a liveness probe that one failure is enough for.
fn probed(policy: RestartPolicy) -> Instance {
    let mut one = instance(policy, 2, State::Succeeded);
    let template = Arc::make_mut(&mut one.template);
    template.lifecycle.post_start = Some(vec!["announce".to_owned()]);
    template.lifecycle.pre_stop = Some(vec!["drain".to_owned()]);
    let probe = ProbeSpec {
        handler: ProbeHandler::Tcp("127.0.0.1:1".to_owned()),
        initial_delay: Millis::ZERO,
        period: Millis::from_secs(10),
        timeout: Millis::from_secs(1),
        success_threshold: 1,
        failure_threshold: 1,
    };
    template.readiness = Some(Box::new(probe.clone()));
    template.liveness = Some(Box::new(probe));
    one
}

fn inputs() -> Vec<Input<'static>> {
    let mut all = vec![
        Input::Begin,
        Input::Spawned { pid: 43 },
        Input::SpawnFailed { message: "no such file" },
        Input::Tick,
        Input::Admitted,
        Input::Leave,
        Input::Hold,
        Input::Release,
        Input::Restart,
        Input::Announced(Announcement::Extend(NOW.mono)),
        Input::Announced(Announcement::Extend(NOW.mono.plus(Millis(1_000_000)))),
        Input::Announced(Announcement::MainPid(44)),
        Input::Announced(Announcement::Stopping),
        Input::Announced(Announcement::Reloading(true)),
    ];
    for hook in [Hook::PostStart, Hook::PreStop] {
        all.extend([None, Some("exit code 1")].map(|failure| Input::HookDone { hook, failure }));
    }
    for kind in [probe::Kind::Startup, probe::Kind::Readiness, probe::Kind::Liveness] {
        for answer in [Answer::Success, Answer::Failure, Answer::Error] {
            for asked in [true, false] {
                all.push(Input::Probed { kind, asked, answer, message: "refused" });
            }
        }
    }
    for exit in [Exit::Code(0), Exit::Code(1), Exit::Signal(9), Exit::OomKilled, Exit::Unknown] {
        all.push(Input::Exited { exit, at: NOW.mono });
        all.push(Input::Exited { exit, at: Mono(0) });
    }
    all
}

/// It waits for what its unit depends on.
const WAITING: State = State::Pending { why: Waiting::Dependencies };

/// What must hold whatever happens to whatever instance.
fn judge(before: &Instance, input: Input<'_>, after: &Instance, effects: &[Effect]) {
    let case = format!("{:?} + {input:?} -> {:?}, {effects:?}", before.state, after.state);
    let gone = effects.contains(&Effect::Gone);
    let spawns = effects.iter().filter(|e| matches!(e, Effect::Spawn(_))).count();
    let ended = matches!(input, Input::Exited { .. } | Input::SpawnFailed { .. });
    // Only the end of a process ends having one.
    if before.has_process() && !ended {
        assert!(after.has_process() && !gone, "a process is forgotten: {case}");
        assert_eq!(before.generation, after.generation, "a second process beside: {case}");
    }
    assert!(!gone || before.leaving || after.leaving, "gone without a wish: {case}");
    assert!(!gone || spawns == 0, "gone and started: {case}");
    assert!(!(gone && before.has_process() && !ended), "gone with a process: {case}");
    assert!(spawns <= 1, "two starts: {case}");
    // A run that has begun goes on: only the step after an init step that succeeded is started.
    let goes_on =
        matches!(before.state, State::Init { .. } | State::Starting { program: Program::Init(_) });
    assert!(spawns == 0 || !before.gated || goes_on, "started though it waits: {case}");
    assert_eq!(
        after.generation,
        before.generation + u32::try_from(spawns).unwrap(),
        "each start has a generation of its own: {case}"
    );
    if matches!(after.state, State::Queued { .. }) {
        assert!(spawns == 0, "held back and started: {case}");
        let still = before.state == after.state;
        assert!(still || (before.guard.is_some() && !before.gated), "held back by nobody: {case}");
        let wished = matches!(input, Input::Release | Input::Restart | Input::Admitted);
        assert!(!wished, "held back against a wish: {case}");
    }
    if spawns == 1 {
        assert!(matches!(after.state, State::Starting { .. }), "started elsewhere: {case}");
    }
    match after.state {
        State::Stopping { .. } | State::PostStart { .. } | State::Backoff { .. } => {
            assert!(after.deadline().is_some(), "waits without a deadline: {case}");
        }
        State::Running { probes: Some(_), .. } => {}
        State::Pending { .. }
        | State::Starting { .. }
        | State::Init { .. }
        | State::Running { probes: None, .. }
        | State::Queued { .. }
        | State::Succeeded
        | State::Failed { .. }
        | State::GaveUp => assert!(after.deadline().is_none(), "{case}"),
    }
    for effect in effects {
        match effect {
            Effect::Terminate(_) | Effect::Kill => {
                assert!(before.has_process(), "signals nobody: {case}");
            }
            Effect::Probe(_) | Effect::Hook(_) => {
                assert!(after.pid().is_some(), "asks nobody: {case}");
            }
            Effect::Waits => {
                assert!(after.gated && after.state == WAITING, "waits for nothing: {case}");
            }
            Effect::Spawn(_) | Effect::Tell(_) | Effect::Gone => {}
        }
    }
}

#[test]
fn every_state_takes_every_input() {
    let mut cases = 0;
    for policy in [RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never] {
        for state in states() {
            for input in inputs() {
                for bits in 0..128 {
                    let mut before = if bits & 8 == 0 {
                        instance(policy, 2, State::Succeeded)
                    } else {
                        probed(policy)
                    };
                    before.state = state.clone();
                    before.leaving = bits & 1 != 0;
                    before.held = bits & 2 != 0;
                    before.initialised = bits & 4 != 0;
                    before.gated = bits & 16 != 0;
                    before.guard = [None, Some(Hold::Waiting), Some(Hold::All), None][bits >> 5];
                    if bits >> 5 == 3 {
                        let (exit, at, wall) = (Exit::Code(1), Mono(0), NOW.wall);
                        before.last_end = Some(End { exit, at, wall });
                        before.guard = Some(Hold::Waiting);
                    }
                    let mut after = before.clone();
                    let mut effects = Vec::new();
                    after.step(NOW, input, &mut effects);
                    judge(&before, input, &after, &effects);
                    cases += 1;
                }
            }
        }
    }
    assert!(cases > 10_000, "only {cases} cases");
}

/// Section 8: `kuberuntime_manager.go doBackOff`, `client-go util/flowcontrol/backoff.go`. The
/// first restart is at once, then the delay doubles up to the longest.
#[test]
fn delays_double_up_to_the_longest() {
    let spec = restart_spec(RestartPolicy::Always);
    let mut streak = Streak::default();
    let mut at = NOW.mono;
    for (n, secs) in [0, 10, 20, 40, 80, 160, 300, 300].into_iter().enumerate() {
        let verdict = streak.judge(&spec, Exit::Code(1), at, at);
        let until = at.plus(Millis::from_secs(secs));
        assert_eq!(verdict, Verdict::Again(until), "restart {n}");
        streak.restarted(&spec, until);
        at = until.plus(Millis::from_secs(1));
    }
    // One that ran for longer than `reset_after` begins anew.
    let at = at.plus(Millis::from_secs(601));
    assert_eq!(streak.judge(&spec, Exit::Code(1), at, at), Verdict::Again(at));
}

/// Which ends are followed by a restart: (source, policy, how it ended, what follows).
#[test]
fn the_policy_decides_which_ends_are_followed_by_a_start() {
    use RestartPolicy::{Always, Never, OnFailure};
    let again = Verdict::Again(NOW.mono);
    for (source, policy, exit, want) in [
        (
            by("kubelet/helpers.go ShouldContainerBeRestarted", "Always, 0"),
            Always,
            Exit::Code(0),
            again,
        ),
        (
            by("kubelet/helpers.go ShouldContainerBeRestarted", "Always, 1"),
            Always,
            Exit::Code(1),
            again,
        ),
        (
            by("kubelet/helpers.go ShouldContainerBeRestarted", "Always, unknown"),
            Always,
            Exit::Unknown,
            again,
        ),
        (
            by("kubelet/helpers.go ShouldContainerBeRestarted", "OnFailure, 0"),
            OnFailure,
            Exit::Code(0),
            Verdict::Succeeded,
        ),
        (
            by("kubelet/helpers.go ShouldContainerBeRestarted", "OnFailure, 1"),
            OnFailure,
            Exit::Code(1),
            again,
        ),
        (
            by("kubelet/helpers.go ShouldContainerBeRestarted", "OnFailure, a signal"),
            OnFailure,
            Exit::Signal(9),
            again,
        ),
        (
            by("kubelet/helpers.go ShouldContainerBeRestarted", "OnFailure, unknown"),
            OnFailure,
            Exit::Unknown,
            again,
        ),
        (
            by("kubelet/helpers.go ShouldContainerBeRestarted", "Never, 0"),
            Never,
            Exit::Code(0),
            Verdict::Succeeded,
        ),
        (
            by("kubelet/helpers.go ShouldContainerBeRestarted", "Never, 1"),
            Never,
            Exit::Code(1),
            Verdict::Failed,
        ),
        (
            by("kubelet/helpers.go ShouldContainerBeRestarted", "Never, a signal"),
            Never,
            Exit::Signal(15),
            Verdict::Failed,
        ),
        (
            by("kubelet/helpers.go ShouldContainerBeRestarted", "Never, unknown"),
            Never,
            Exit::Unknown,
            Verdict::Failed,
        ),
    ] {
        let spec = restart_spec(policy);
        let verdict = Streak::default().judge(&spec, exit, NOW.mono, NOW.mono);
        assert_eq!(verdict, want, "{source}");
    }
}

/// (source, how long each run lasted in milliseconds, how it ended, the delay after the last end
/// in milliseconds). The delays are 10 s, doubling, at most 300 s; a run of more than 600 s begins
/// anew.
#[test]
fn how_long_a_restart_waits() {
    const MS: u64 = 1_000;
    let rows: &[(Rule, &[u64], Exit, u64)] = &[
        (
            by("kuberuntime_manager.go doBackOff", "the first restart is at once"),
            &[0],
            Exit::Code(1),
            0,
        ),
        (
            by("flowcontrol/backoff.go Next", "then the first delay"),
            &[0, 0],
            Exit::Code(1),
            10 * MS,
        ),
        (by("flowcontrol/backoff.go Next", "it doubles"), &[0, 0, 0], Exit::Code(1), 20 * MS),
        (by("flowcontrol/backoff.go Next", "and doubles"), &[0, 0, 0, 0], Exit::Code(1), 40 * MS),
        (
            by("flowcontrol/backoff.go Next", "at most the longest"),
            &[0; 8],
            Exit::Code(1),
            300 * MS,
        ),
        (
            by("kuberuntime_manager.go doBackOff", "exit 0 waits too"),
            &[0, 0],
            Exit::Code(0),
            10 * MS,
        ),
        (by("kuberuntime_manager.go doBackOff", "a signal too"), &[0, 0], Exit::Signal(9), 10 * MS),
        (
            by("kuberuntime_manager.go doBackOff", "from the end of the run, however long"),
            &[0, 599 * MS],
            Exit::Code(1),
            10 * MS,
        ),
        (
            by("flowcontrol/backoff.go hasExpired", "exactly twice the longest is not more"),
            &[0, 0, 600 * MS],
            Exit::Code(1),
            20 * MS,
        ),
        (
            by("flowcontrol/backoff.go hasExpired", "strictly more"),
            &[0, 0, 600 * MS + 1],
            Exit::Code(1),
            0,
        ),
        (
            by("flowcontrol/backoff.go Next", "after a fresh begin the first delay again"),
            &[0, 0, 0, 600 * MS + 1, 0],
            Exit::Code(1),
            10 * MS,
        ),
        (
            by("flowcontrol/backoff.go hasExpired", "a first run of any length"),
            &[9_999 * MS],
            Exit::Code(1),
            0,
        ),
        (
            by(
                "flowcontrol/backoff.go hasExpired",
                "counted from the restart, not from the end before it",
            ),
            &[0, 0, 0, 0, 590 * MS],
            Exit::Code(1),
            80 * MS,
        ),
    ];
    let spec = restart_spec(RestartPolicy::Always);
    for (source, runs, exit, want) in rows {
        let mut streak = Streak::default();
        let (mut at, mut delay) = (NOW.mono, Millis::ZERO);
        for (n, run) in runs.iter().enumerate() {
            if n > 0 {
                at = at.plus(delay);
                streak.restarted(&spec, at);
            }
            at = at.plus(Millis(*run));
            let Verdict::Again(until) = streak.judge(&spec, *exit, at, at) else { panic!() };
            delay = until.since(at);
        }
        assert_eq!(delay, Millis(*want), "{source}");
    }
}

/// (source, initial, factor in thousandths, longest, restarts so far, the delay), in milliseconds.
#[test]
fn the_delays_of_a_unit_are_its_own() {
    let rows: &[(Rule, u64, u32, u64, usize, u64)] = &[
        (by("k8s-semantics 14", "a service waits 1 s first"), 1_000, 2_000, 300_000, 1, 1_000),
        (by("k8s-semantics 14", "and at most 5 min"), 1_000, 2_000, 300_000, 20, 300_000),
        (by("wsup", "another factor"), 1_000, 1_500, 300_000, 3, 2_250),
        (by("wsup", "factor 1 stays"), 1_000, 1_000, 300_000, 5, 1_000),
        (by("wsup", "never longer than the longest"), 5_000, 2_000, 2_000, 1, 2_000),
    ];
    for (source, initial, factor_milli, max, restarts, want) in rows {
        let mut spec = restart_spec(RestartPolicy::Always);
        spec.backoff.initial = Millis(*initial);
        (spec.backoff.factor_milli, spec.backoff.max) = (*factor_milli, Millis(*max));
        let mut streak = Streak::default();
        for _ in 0..*restarts {
            streak.judge(&spec, Exit::Code(1), NOW.mono, NOW.mono);
            streak.restarted(&spec, NOW.mono);
        }
        let verdict = streak.judge(&spec, Exit::Code(1), NOW.mono, NOW.mono);
        assert_eq!(verdict, Verdict::Again(NOW.mono.plus(Millis(*want))), "{source}");
    }
    // An end that was heard of late is not waited for again.
    let spec = restart_spec(RestartPolicy::Always);
    let mut streak = Streak::default();
    streak.judge(&spec, Exit::Code(1), NOW.mono, NOW.mono);
    streak.restarted(&spec, NOW.mono);
    let late = NOW.mono.plus(Millis::from_secs(60));
    assert_eq!(streak.judge(&spec, Exit::Code(1), NOW.mono, late), Verdict::Again(late));
}

#[test]
fn past_its_limit_of_restarts_it_gives_up() {
    let limit = Some(RestartLimit { count: 2, within: Millis::from_secs(60) });
    let spec = RestartSpec { limit, ..restart_spec(RestartPolicy::Always) };
    let mut streak = Streak::default();
    for _ in 0..2 {
        assert!(matches!(
            streak.judge(&spec, Exit::Code(1), NOW.mono, NOW.mono),
            Verdict::Again(_)
        ));
        streak.restarted(&spec, NOW.mono);
    }
    assert_eq!(streak.judge(&spec, Exit::Code(1), NOW.mono, NOW.mono), Verdict::GaveUp);
    let later = NOW.mono.plus(Millis::from_secs(61));
    assert!(matches!(streak.judge(&spec, Exit::Code(1), later, later), Verdict::Again(_)));
}

/// A restart counts until the whole span is over, and more than are remembered are never allowed.
#[test]
fn restarts_are_counted_for_a_span() {
    let within = Millis::from_secs(60);
    let limited = |count| {
        let limit = Some(RestartLimit { count, within });
        RestartSpec { limit, ..restart_spec(RestartPolicy::Always) }
    };
    let gives_up = |spec: &RestartSpec, streak: &Streak, at: Mono| {
        streak.clone().judge(spec, Exit::Code(1), at, at) == Verdict::GaveUp
    };
    let mut streak = Streak::default();
    let spec = limited(2);
    for after in [0, 10] {
        streak.restarted(&spec, NOW.mono.plus(Millis::from_secs(after)));
    }
    for (after, up) in [(59_999, true), (60_000, false), (69_999, false)] {
        assert_eq!(gives_up(&spec, &streak, NOW.mono.plus(Millis(after))), up, "{after}");
    }
    // (the limit, restarts so far, whether that is too often)
    for (count, restarts, up) in
        [(999, 998, false), (999, 999, true), (u32::MAX, 999, false), (u32::MAX, 1_000, true)]
    {
        let (spec, mut streak) = (limited(count), Streak::default());
        (0..restarts).for_each(|_| streak.restarted(&spec, NOW.mono));
        assert_eq!(gives_up(&spec, &streak, NOW.mono), up, "{restarts} of {count}");
    }
    // The oldest is forgotten, not the youngest.
    let (spec, mut streak) = (limited(1_000), Streak::default());
    (0..=1_000).for_each(|n| streak.restarted(&spec, NOW.mono.plus(Millis(n))));
    assert!(gives_up(&spec, &streak, NOW.mono.plus(within)), "all thousand of the last are left");
    assert!(!gives_up(&spec, &streak, NOW.mono.plus(within).plus(Millis(1))));
    // Without a limit nothing is remembered.
    let (spec, mut free) = (restart_spec(RestartPolicy::Always), Streak::default());
    free.restarted(&spec, NOW.mono);
    assert!(!gives_up(&limited(1), &free, NOW.mono));
}

/// Section 10: the stop signal, the grace period, SIGKILL, and SIGKILL again ever more rarely.
#[test]
fn the_ladder_asks_waits_kills_and_keeps_killing() {
    let running = State::Running {
        pid: 42,
        since: NOW.mono,
        since_wall: NOW.wall,
        ready_since: Some(NOW.mono),
        probes: None,
    };
    let mut one = instance(RestartPolicy::Always, 0, running);
    let mut effects = Vec::new();
    one.step(NOW, Input::Leave, &mut effects);
    assert!(effects.contains(&Effect::Terminate(signal::TERM)));
    assert_eq!(one.deadline(), Some(NOW.mono.plus(GRACE)));
    let mut at = NOW.plus(GRACE);
    for pause in [10, 20, 40, 80, 160, 320, 600, 600] {
        effects.clear();
        one.step(Now { mono: Mono(at.mono.0 - 1), ..at }, Input::Tick, &mut effects);
        assert_eq!(effects, [], "too early");
        one.step(at, Input::Tick, &mut effects);
        assert!(effects.contains(&Effect::Kill));
        let next = at.plus(Millis::from_secs(pause));
        assert_eq!(one.deadline(), Some(next.mono));
        at = next;
    }
    effects.clear();
    one.step(at, Input::Exited { exit: Exit::Signal(9), at: at.mono }, &mut effects);
    assert_eq!(effects.last(), Some(&Effect::Gone));
}

/// Whatever changes that a controller sees, it is told that something did, and sees it.
#[test]
fn a_controller_is_told_of_what_it_sees_and_of_nothing_else() {
    let running = |ready_since| State::Running {
        pid: 42,
        since: NOW.mono,
        since_wall: NOW.wall,
        ready_since,
        probes: None,
    };
    let new = || instance(RestartPolicy::Always, 0, running(None));
    let end = |exit, at| Some(End { exit, at, wall: NOW.wall });
    let (early, late) = (NOW.mono, NOW.plus(Millis(1)).mono);
    let mut lives = vec![
        Instance { state: State::Succeeded, ..new() },
        Instance { state: running(Some(early)), ..new() },
        Instance { state: running(Some(late)), ..new() },
        Instance { leaving: true, ..new() },
        Instance { restarts: 1, ..new() },
        Instance { last_end: end(Exit::Code(0), early), ..new() },
        Instance { last_end: end(Exit::Code(1), early), ..new() },
        Instance { last_end: end(Exit::Code(1), late), ..new() },
        Instance { last_failure: Some("no".to_owned()), ..new() },
        Instance { last_failure: Some("none".to_owned()), ..new() },
    ];
    lives.push(new());
    for (at, before) in lives.iter().enumerate() {
        for (to, after) in lives.iter().enumerate() {
            let mut seen = before.observed();
            assert_eq!(after.show(&mut seen), at != to, "{at} {to}");
            assert_eq!(seen, after.observed(), "{at} {to}");
        }
    }
    // What is its own business only.
    let others = [
        Instance { generation: 9, ..new() },
        Instance { held: true, ..new() },
        Instance { says: Some("busy".to_owned()), ..new() },
        Instance { gated: true, ..new() },
    ];
    for other in others {
        assert!(!other.show(&mut new().observed()));
    }
}
