//! Who begins next and when: the order of the queue, and the limit in any one second.

use super::*;
use crate::core::table::{Rule, by};

fn guard(rate: u32) -> Guard {
    Guard::new(StormGuard { restarts_per_second: rate, hold: Hold::All })
}

fn place(ordinary: bool, since: u64, slot: u64) -> Place {
    Place { ordinary, since: Mono(since), slot }
}

/// Those who wait, as (vital or not, since when); the slots in the order in which they begin.
type Row = (Rule, &'static [(char, u64)], &'static [u64]);

#[test]
fn who_begins_next() {
    #[rustfmt::skip]
    let rows: &[Row] = &[
        (by("wsup", "who waits longest"), &[('o', 3), ('o', 1), ('o', 2)], &[1, 2, 0]),
        (by("wsup", "of those that wait alike the oldest instance"), &[('o', 1), ('o', 1), ('o', 1)], &[0, 1, 2]),
        (by("wsup", "vital ones before all others"), &[('o', 1), ('v', 9), ('o', 2), ('v', 8)], &[3, 1, 0, 2]),
        (by("wsup", "of ten one that is not vital, however many vital ones wait"), &[
            ('o', 5), ('v', 1), ('v', 1), ('v', 1), ('v', 1), ('v', 1), ('v', 1), ('v', 1), ('v', 1), ('v', 1), ('v', 1), ('v', 1), ('o', 6),
        ], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 10, 11, 12]),
        (by("wsup", "vital ones alone wait for nobody"), &[
            ('v', 1), ('v', 1), ('v', 1), ('v', 1), ('v', 1), ('v', 1), ('v', 1), ('v', 1), ('v', 1), ('v', 1), ('v', 1),
        ], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
    ];
    for (rule, waiting, order) in rows {
        let mut guard = guard(10);
        for (slot, (kind, since)) in (0..).zip(*waiting) {
            guard.shift(slot, None, Some(place(*kind == 'o', *since, slot)));
        }
        let mut now = Mono(1_000_000);
        let mut began = Vec::new();
        while guard.waiting() > 0 {
            while !guard.is_open(now) {
                now = guard.due().unwrap();
            }
            began.extend(guard.admit(now, 7));
        }
        assert_eq!(began, *order, "{rule}");
    }
}

/// Whoever's clock it is looked at by: at the very deadline, late, or by turns of whatever length.
#[test]
fn never_more_than_the_limit_in_any_second() {
    for rate in [1, 2, 3, 7, 9, 10, 50, 333, 1_000, RATE_MAX] {
        for (late, pause) in [(0, 0), (5, 0), (99, 0), (250, 0), (1, 700), (3_000, 0)] {
            let mut guard = guard(rate);
            let count = u64::from(rate) * 4 + 20;
            for slot in 0..count {
                guard.shift(slot, None, Some(place(true, slot, slot)));
            }
            let (mut now, mut random, mut began) = (Mono(5_000_000), 1_u64, Vec::new());
            while guard.waiting() > 0 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let noise = random >> 33;
                now = guard.due().unwrap().max(now).plus(Millis(noise % (late + 1)));
                if noise % 97 == 0 {
                    now = now.plus(Millis(pause));
                }
                while guard.is_open(now) {
                    guard.admit(now, random >> 16).unwrap();
                    began.push(now.0);
                }
            }
            assert_eq!(began.len() as u64, count, "all begin");
            for pair in began.windows(rate as usize + 1) {
                let span = pair[rate as usize] - pair[0];
                assert!(span >= 1_000, "more than {rate} within {span} ms, late by {late}");
            }
            let span = began.last().unwrap() - began[0];
            if late == 0 && pause == 0 && rate <= 333 {
                // 11/8 of a share between two, and a millisecond as no deadline is nearer.
                let most = count * (1_375 / u64::from(rate) + 2);
                assert!(span <= most, "{count} took {span} ms at {rate} a second");
            }
        }
    }
}

#[test]
fn after_a_pause_a_tenth_of_a_second_is_made_up_for() {
    let mut guard = guard(50);
    let now = Mono(1_000_000);
    for slot in 0..20 {
        guard.shift(slot, None, Some(place(true, 1, slot)));
    }
    let mut at_once = 0;
    while guard.is_open(now) {
        guard.admit(now, 0).unwrap();
        at_once += 1;
    }
    // A tenth of a second has room for five; 9/8 of a share each.
    assert_eq!(at_once, 5);
    assert!(guard.due().unwrap() > now);
}

#[test]
fn a_new_daemon_goes_on_where_the_one_before_was() {
    let mut guard = guard(50);
    let now = Mono(1_000_000);
    guard.resume(1_000_900_001);
    guard.shift(1, None, Some(place(false, 1, 1)));
    assert!(!guard.is_open(now.plus(Millis(900))));
    assert_eq!(guard.due(), Some(now.plus(Millis(901))));
    assert!(guard.is_open(now.plus(Millis(901))));
}

/// When somebody has just been held back (h), waits on (w) or nobody does (-), at which second, and
/// what is told.
#[test]
fn a_storm_is_told_of_at_its_beginning_and_its_end() {
    let story = [
        ('-', 0, None),
        ('h', 1, Some(Reason::RestartsHeld)),
        ('h', 2, None),
        ('w', 4, None),
        ('-', 4, None),
        ('-', 13, None),
        ('h', 13, None),
        ('-', 22, None),
        ('-', 23, Some(Reason::RestartsReleased)),
        ('-', 24, None),
        ('h', 30, Some(Reason::RestartsHeld)),
    ];
    let mut guard = guard(50);
    let mut waited = None;
    for (what, second, told) in story {
        let waits = (what != '-').then_some(place(true, 1, 1));
        guard.shift(1, std::mem::replace(&mut waited, waits), waits);
        let held = u64::from(what == 'h');
        let note = guard.weather(Mono(second * 1_000), held);
        assert_eq!(note.as_ref().map(|note| note.reason), told, "{second}");
        if told == Some(Reason::RestartsReleased) {
            let note = note.unwrap();
            assert_eq!(note.message, "the storm guard held back 3 restarts in 12s");
        }
    }
}
