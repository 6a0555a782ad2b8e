//! What plain values say: exits, signals, spans and instants, kinds and names.

use super::*;
use crate::core::action::Hook;
use crate::core::id::{NAME_MAX, NameError};
use crate::core::instance::probe;
use crate::core::spec::{Lifecycle, Reload};
use crate::core::table::{Rule, by};
use crate::core::time::Wall;

#[test]
fn ends_are_said_in_words() {
    let rows: &[(Exit, &str, Option<i32>, bool)] = &[
        (Exit::Code(0), "exit code 0", Some(0), true),
        (Exit::Code(3), "exit code 3", Some(3), false),
        (Exit::Signal(9), "SIGKILL", Some(137), false),
        (Exit::Signal(15), "SIGTERM", Some(143), false),
        (Exit::Signal(40), "signal 40", Some(168), false),
        (Exit::OomKilled, "SIGKILL, out of memory (OOMKilled)", Some(137), false),
        (Exit::Unknown, "an unknown exit status", None, false),
    ];
    for (exit, words, code, success) in rows {
        assert_eq!(exit.to_string(), *words);
        assert_eq!(exit.shell_code(), *code, "{words}");
        assert_eq!(exit.is_success(), *success, "{words}");
    }
}

#[test]
fn signals_have_their_names() {
    let rows: &[(i32, Option<&str>)] =
        &[(1, Some("SIGHUP")), (9, Some("SIGKILL")), (15, Some("SIGTERM")), (0, None), (99, None)];
    for (number, name) in rows {
        assert_eq!(signal::name(*number), *name, "{number}");
    }
}

/// (rule, what is written, the number)
#[test]
fn signals_are_read() {
    #[rustfmt::skip]
    let rows: &[(Rule, &str, Option<i32>)] = &[
        (by("wsup", "by name"), "SIGTERM", Some(15)),
        (by("wsup", "without the prefix, in any case"), "usr1", Some(10)),
        (by("wsup", "by number"), " 15 ", Some(15)),
        (by("wsup", "the lowest number"), "1", Some(1)),
        (by("wsup", "the highest number"), "64", Some(64)),
        (by("wsup", "0 is none"), "0", None),
        (by("wsup", "nor is what follows the highest"), "65", None),
        (by("wsup", "glibc's first real-time signal"), "SIGRTMIN", Some(34)),
        (by("wsup", "those behind it"), "RTMIN+3", Some(37)),
        (by("wsup", "the last of them"), "SIGRTMIN+30", Some(64)),
        (by("wsup", "no further"), "SIGRTMIN+31", None),
        (by("wsup", "nor before"), "SIGRTMIN+-1", None),
        (by("wsup", "the plus is needed"), "SIGRTMIN3", None),
        (by("wsup", "no such name"), "SIGNOPE", None),
        (by("wsup", "the prefix is no name"), "SIG", None),
    ];
    for (rule, text, number) in rows {
        assert_eq!(signal::parse(text), *number, "{rule}");
    }
    for name in signal::names() {
        assert_eq!(signal::parse(name).and_then(signal::name), Some(name));
    }
    assert_eq!(signal::names().count(), 31);
}

#[test]
fn signals_are_shown_by_a_name_each() {
    let rows: &[(i32, &str)] = &[
        (9, "SIGKILL"),
        (31, "SIGSYS"),
        (33, "SIG33"),
        (34, "SIGRTMIN"),
        (36, "SIGRTMIN+2"),
        (64, "SIGRTMIN+30"),
        (65, "SIG65"),
        (0, "SIG0"),
    ];
    for (number, name) in rows {
        assert_eq!(signal::shown(*number), *name);
    }
}

#[test]
fn spans_are_shown_as_they_are_written() {
    let rows: &[(u64, &str)] = &[
        (0, "0s"),
        (1, "1ms"),
        (999, "999ms"),
        (1_000, "1s"),
        (1_500, "1s500ms"),
        (60_000, "1m"),
        (3_599_000, "59m59s"),
        (5_400_000, "1h30m"),
        (86_400_000, "1d"),
        (180_122_003, "2d2h2m2s3ms"),
    ];
    for (millis, text) in rows {
        assert_eq!(Millis(*millis).to_string(), *text);
    }
}

/// Sums of what users write never wrap.
#[test]
fn time_is_added_as_far_as_there_is_any() {
    assert_eq!(Millis(3).saturating_add(Millis(4)), Millis(7));
    assert_eq!(Millis(3).saturating_add(Millis::MAX), Millis::MAX);
    assert_eq!(Millis(7).saturating_sub(Millis(4)), Millis(3));
    assert_eq!(Millis(3).saturating_sub(Millis(4)), Millis::ZERO);
    assert_eq!(Mono(3).plus(Millis(4)), Mono(7));
    assert_eq!(Mono(7).minus(Millis(4)), Mono(3));
    assert_eq!(Mono(3).minus(Millis(4)), Mono(0));
    assert_eq!((Mono(7).since(Mono(3)), Mono(3).since(Mono(7))), (Millis(4), Millis::ZERO));
    assert_eq!((Wall(3).plus(Millis(4)), Wall(3).minus(Millis(4))), (Wall(7), Wall(-1)));
    assert_eq!(Wall(3).plus(Millis::MAX), Wall(i64::MAX));
    assert_eq!(Wall(0).minus(Millis::MAX), Wall(-i64::MAX));
    let now = Now { mono: Mono(10), wall: Wall(1_000) };
    assert_eq!(now.plus(Millis(5)), Now { mono: Mono(15), wall: Wall(1_005) });
    assert_eq!(now.mono_at(Wall(1_030)), Mono(40));
    assert_eq!(now.mono_at(Wall(900)), Mono(10), "it was before");
}

#[test]
fn kinds_are_read_as_kubectl_reads_them() {
    let rows: &[(&str, Option<Kind>)] = &[
        ("deployment", Some(Kind::Deployment)),
        ("Deployments", Some(Kind::Deployment)),
        ("deploy", Some(Kind::Deployment)),
        ("statefulset", Some(Kind::StatefulSet)),
        ("statefulsets", Some(Kind::StatefulSet)),
        ("sts", Some(Kind::StatefulSet)),
        ("daemonset", Some(Kind::DaemonSet)),
        ("daemonsets", Some(Kind::DaemonSet)),
        ("ds", Some(Kind::DaemonSet)),
        ("job", Some(Kind::Job)),
        ("jobs", Some(Kind::Job)),
        ("cronjob", Some(Kind::CronJob)),
        ("cronjobs", Some(Kind::CronJob)),
        ("CJ", Some(Kind::CronJob)),
        ("pod", None),
        ("", None),
    ];
    for (text, kind) in rows {
        assert_eq!(Kind::parse(text), *kind, "{text}");
    }
    for kind in Kind::ALL {
        assert_eq!(Kind::parse(kind.as_str()), Some(kind));
        assert_eq!(format!("{kind:>12}"), format!("{:>12}", kind.as_str()));
    }
}

#[test]
fn a_name_is_a_label() {
    let longest = "a".repeat(NAME_MAX);
    let longer = "a".repeat(NAME_MAX + 1);
    let rows: &[(&str, Option<NameError>, &str)] = &[
        ("api", None, ""),
        ("0-9", None, ""),
        (&longest, None, ""),
        (&longer, Some(NameError::TooLong), "a name may have at most 63 characters"),
        ("", Some(NameError::Empty), "a name may not be empty"),
        (
            "aPi",
            Some(NameError::Character('P', 1)),
            "a name may have only a-z, 0-9 and `-`, not 'P'",
        ),
        ("-a", Some(NameError::Dash), "a name may not begin or end with `-`"),
        ("a-", Some(NameError::Dash), "a name may not begin or end with `-`"),
    ];
    for (text, error, words) in rows {
        let got = UnitName::new(text).err();
        assert_eq!(got, *error, "{text}");
        assert_eq!(got.map(|error| error.to_string()).unwrap_or_default(), *words);
        let stored = serde_json::from_str::<UnitName>(&format!("\"{text}\""));
        assert_eq!(stored.is_err(), error.is_some(), "{text}: as it is read from a record");
    }
    let api = name("api");
    assert_eq!(format!("{api:>5} {api:?}"), "  api UnitName(\"api\")");
    assert_eq!(serde_json::to_string(&api).unwrap(), "\"api\"");
    assert_eq!(key(Kind::Job, "api").to_string(), "job/api");
    let id = InstanceId { slot: (3 << 32) | 5, generation: 2 };
    assert_eq!(id.to_string(), "3.5#2");
}

/// The numbers that the authors of splitmix64 publish for this seed.
#[test]
fn names_are_drawn_by_splitmix64() {
    let mut core = Core::new(Bench::config(1_234_567));
    let want = [
        6_457_827_717_110_365_317,
        3_203_168_211_198_807_973,
        9_817_491_932_198_370_423,
        4_593_380_528_125_082_431,
        16_408_922_859_458_223_821,
    ];
    assert_eq!(std::array::from_fn(|_| core.draw()), want);
}

/// Digits of base 27, the lowest first.
#[test]
fn generated_names_are_made_of_numbers() {
    let rows: &[(u64, &str, &str)] = &[
        (0, "bbbbb", "b"),
        (1, "cbbbb", "c"),
        (26, "9bbbb", "9"),
        (27, "bcbbb", "bc"),
        (27 * 27 + 2 * 27 + 3, "fdcbb", "fdc"),
        (27_u64.pow(5), "bbbbb", "bbbbbc"),
    ];
    for (number, suffix, text) in rows {
        assert_eq!(id::suffix(*number), *suffix, "{number}");
        assert_eq!(id::safe_encode(*number), *text, "{number}");
    }
}

/// (amount, of how many, rounded up, rounded down)
#[test]
fn amounts_are_rounded_both_ways() {
    let rows: &[(Amount, u32, u32, u32)] = &[
        (Amount::Count(3), 10, 3, 3),
        (Amount::Percent(25), 10, 3, 2),
        (Amount::Percent(25), 8, 2, 2),
        (Amount::Percent(1), 1, 1, 0),
        (Amount::Percent(0), 10, 0, 0),
        (Amount::Percent(100), u32::MAX, u32::MAX, u32::MAX),
        (Amount::Percent(200), u32::MAX, u32::MAX, u32::MAX),
    ];
    for (amount, total, up, down) in rows {
        assert_eq!((amount.ceil_of(*total), amount.floor_of(*total)), (*up, *down), "{amount:?}");
    }
    for (amount, zero) in [
        (Amount::Count(0), true),
        (Amount::Percent(0), true),
        (Amount::Count(1), false),
        (Amount::Percent(1), false),
    ] {
        assert_eq!(amount.is_zero(), zero, "{amount:?}");
    }
}

/// Which words are run for a hook or a probe: only those of one that is a command.
#[test]
fn hooks_and_probes_have_their_own_commands() {
    let words = |text: &str| vec![text.to_owned(), "now".to_owned()];
    let lifecycle = Lifecycle {
        post_start: Some(words("after")),
        pre_stop: Some(words("before")),
        reload: Some(Reload::Command(words("again"))),
    };
    for (hook, want) in
        [(Hook::PostStart, "after"), (Hook::PreStop, "before"), (Hook::Reload, "again")]
    {
        assert_eq!(hook.command(&lifecycle), words(want));
        assert!(hook.command(&Lifecycle::default()).is_empty());
    }
    let by_signal = Lifecycle { reload: Some(Reload::Signal(1)), ..Lifecycle::default() };
    assert!(Hook::Reload.command(&by_signal).is_empty());

    let handlers = [
        (ProbeHandler::Exec(words("ask")), words("ask"), false),
        (ProbeHandler::Http("http://127.0.0.1/".to_owned()), Vec::new(), false),
        (ProbeHandler::Tcp("127.0.0.1:1".to_owned()), Vec::new(), false),
        (ProbeHandler::Notify, Vec::new(), true),
    ];
    for kind in [probe::Kind::Startup, probe::Kind::Readiness, probe::Kind::Liveness] {
        for (handler, want, pushed) in &handlers {
            let mut template = template(RestartPolicy::Always);
            assert!(kind.command(&template).is_empty() && kind.spec(&template).is_none());
            let spec = ProbeSpec {
                handler: handler.clone(),
                initial_delay: Millis::ZERO,
                period: Millis::from_secs(10),
                timeout: Millis::from_secs(1),
                success_threshold: 1,
                failure_threshold: 3,
            };
            *match kind {
                probe::Kind::Startup => &mut template.startup,
                probe::Kind::Readiness => &mut template.readiness,
                probe::Kind::Liveness => &mut template.liveness,
            } = Some(Box::new(spec));
            assert_eq!(kind.command(&template), want, "{kind:?} {handler:?}");
            assert_eq!(handler.is_pushed(), *pushed, "{handler:?}");
        }
    }
    let names = [probe::Kind::Startup, probe::Kind::Readiness, probe::Kind::Liveness];
    assert_eq!(names.map(probe::Kind::as_str), ["startup", "readiness", "liveness"]);
}

/// Which of its probes a program answers by `READY=1`.
#[test]
fn ready_answers_the_probes_that_are_told_by_it() {
    let mut core = Core::new(Bench::config(7));
    let probe = |handler| {
        Some(Box::new(ProbeSpec {
            handler,
            initial_delay: Millis::ZERO,
            period: Millis::from_secs(10),
            timeout: Millis::from_secs(1),
            success_threshold: 1,
            failure_threshold: 3,
        }))
    };
    let tcp = || probe(ProbeHandler::Tcp("127.0.0.1:1".to_owned()));
    let rows = [
        (None, None, vec![]),
        (tcp(), tcp(), vec![]),
        (probe(ProbeHandler::Notify), tcp(), vec![probe::Kind::Startup]),
        (None, probe(ProbeHandler::Notify), vec![probe::Kind::Readiness]),
    ];
    for (at, (startup, readiness, want)) in rows.into_iter().enumerate() {
        let mut spec = deployment(&format!("x{at}"), 1);
        let template = Arc::make_mut(&mut spec.template);
        (template.startup, template.readiness) = (startup, readiness);
        core.handle(now(0), Event::Units(UnitsRead { valid: vec![spec], ..Default::default() }));
        core.settle(now(0));
        let id = core.instances.values().last().unwrap().id();
        assert_eq!(core.ready_probes(id), want, "{at}");
        let later = InstanceId { generation: id.generation + 1, ..id };
        assert!(core.ready_probes(later).is_empty(), "of another start");
    }
}

#[test]
fn targets_and_refusals_are_said_by_their_names() {
    assert_eq!(Target::Unit(key(Kind::Job, "a")).to_string(), "job/a");
    assert_eq!(Target::Instance("a-1".to_owned()).to_string(), "a-1");
    assert_eq!(Refusal::NotFound("x".to_owned()).to_string(), "x");
    assert_eq!(Refusal::Invalid("y".to_owned()).to_string(), "y");
    assert_eq!(Reason::JobCreated.as_str(), "JobCreated");
}

#[test]
fn spans_and_instants_are_counted() {
    assert!(Millis::ZERO.is_zero() && !Millis(1).is_zero());
    assert_eq!(Millis(1_999).as_secs(), 1);
    assert_eq!(Millis(1_000).scaled(2_500), Millis(2_500));
    assert_eq!(Millis::MAX.scaled(2_000), Millis::MAX);
    for (millis, secs) in [(0, 0), (999, 0), (1_000, 1), (-1, -1), (-1_000, -1), (-1_001, -2)] {
        assert_eq!(Wall(millis).unix_secs(), secs, "{millis}");
    }
    assert_eq!(Wall(5).since(Wall(9)), Millis::ZERO, "still to come");
    assert_eq!(Wall(9).since(Wall(5)), Millis(4));
}

#[test]
fn events_are_normal_or_warnings() {
    assert_eq!(Severity::Normal.as_str(), "Normal");
    assert_eq!(Severity::Warning.as_str(), "Warning");
}
