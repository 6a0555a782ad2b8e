//! What plain values say: exits, signals, spans and instants.

use super::*;
use crate::core::time::Wall;

#[test]
fn ends_are_said_in_words() {
    let rows: &[(Exit, &str, Option<i32>, bool)] = &[
        (Exit::Code(0), "exit code 0", Some(0), true),
        (Exit::Code(3), "exit code 3", Some(3), false),
        (Exit::Signal(9), "SIGKILL", Some(137), false),
        (Exit::Signal(15), "SIGTERM", Some(143), false),
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
