//! Tables of what a new daemon knows of the probes that the last one asked.

use super::*;
use crate::core::instance::probe::{Answer, Kind as Of};
use crate::core::table::{Rule, by};

fn probe(failure_threshold: u32) -> Box<ProbeSpec> {
    Box::new(ProbeSpec {
        handler: ProbeHandler::Tcp("127.0.0.1:1".to_owned()),
        initial_delay: Millis::ZERO,
        period: Millis::from_secs(10),
        timeout: Millis::from_secs(1),
        success_threshold: 1,
        failure_threshold,
    })
}

/// What the core asks and does now: `U?`, `R?`, `L?` for questions, `TERM` for the stop signal.
fn asked(bench: &mut Bench) -> String {
    let mut words = Vec::new();
    bench.core.settle(now(bench.at));
    while let Some(action) = bench.core.poll_action() {
        match &action {
            Action::Probe(spawn) => words.push(match spawn.step {
                super::super::action::Step::Probe(Of::Startup) => "U?",
                super::super::action::Step::Probe(Of::Readiness) => "R?",
                super::super::action::Step::Probe(Of::Liveness) => "L?",
                _ => panic!("no probe"),
            }),
            Action::Terminate { .. } => words.push("TERM"),
            _ => {}
        }
        if let Action::Put(_) | Action::Drop { .. } = action {
            bench.carry_out(action, &mut Vec::new());
        }
    }
    words.join(" ")
}

/// Lets one thing happen: an answer (`U+`, `L-`), ten seconds (`10s`), another daemon (`daemon`).
fn happen(bench: &mut Bench, word: &str) -> String {
    let id = *bench.living.keys().next().unwrap();
    let answer = |kind, answer| Event::ProbeDone { id, kind, answer, message: "no".to_owned() };
    let event = match word {
        "U+" => answer(Of::Startup, Answer::Success),
        "R+" => answer(Of::Readiness, Answer::Success),
        "R-" => answer(Of::Readiness, Answer::Failure),
        "L+" => answer(Of::Liveness, Answer::Success),
        "L-" => answer(Of::Liveness, Answer::Failure),
        "10s" => {
            bench.at += 10;
            Event::Tick
        }
        "daemon" => {
            let found = Found {
                records: bench.store.values().cloned().collect(),
                living: bench.living.iter().map(|(&id, &pid)| Living { id, pid }).collect(),
                refused: Vec::new(),
                wall: now(bench.at).wall,
            };
            bench.core = Core::new(Bench::config(8));
            bench.core.restore(now(bench.at), found);
            Event::Tick
        }
        other => panic!("nothing is called {other}"),
    };
    bench.core.handle(now(bench.at), event);
    asked(bench)
}

#[test]
fn what_a_new_daemon_knows_of_probes() {
    // The rule, which probes there are, and what happens with what is asked then.
    type Row = (Rule, &'static str, &'static [(&'static str, &'static str)]);
    #[rustfmt::skip]
    let rows: &[Row] = &[
        (by("prober/worker.go doProbe", "one that has started is not asked whether it has, whoever asks"), "ur",
            &[("U+", "R?"), ("R-", ""), ("daemon", ""), ("10s", "R?"), ("R+", "")]),
        (by("prober/worker.go doProbe", "the same before any other answer"), "url",
            &[("U+", "R? L?"), ("daemon", ""), ("10s", "R? L?")]),
        (by("prober/worker.go newWorker", "failures before are not in a row with those after"), "rl",
            &[("L-", ""), ("R+", ""), ("10s", "R? L?"), ("L+", ""), ("daemon", "R? L?"), ("L-", "")]),
        (by("prober/worker.go newWorker", "the new daemon counts as many as ever"), "rl",
            &[("L-", ""), ("R+", ""), ("daemon", ""), ("10s", "R? L?"), ("L-", ""), ("10s", "L?"), ("L-", "TERM")]),
        (by("wsup", "what was decided stays: it is still ready, until it fails"), "r",
            &[("R+", ""), ("daemon", ""), ("10s", "R?"), ("R-", "")]),
    ];
    for (source, has, steps) in rows {
        let mut bench = Bench::new();
        let mut spec = deployment("api", 1);
        let template = Arc::make_mut(&mut spec.template);
        template.startup = has.contains('u').then(|| probe(2));
        template.readiness = has.contains('r').then(|| probe(1));
        template.liveness = has.contains('l').then(|| probe(2));
        bench.apply(vec![spec]);
        for (at, (word, want)) in steps.iter().enumerate() {
            assert_eq!(happen(&mut bench, word), *want, "{source}: step {at}, {word}");
        }
    }
}
