//! Cron against an oracle that looks at every minute, in the zones of the system's database.
//!
//! The usual run samples: some zones, one year each. `WSUP_CRON_ZONES=all cargo test --release
//! --test cron_zones -- --nocapture` takes every zone for ten years, which is minutes of work.
//!
//! The oracle is written apart from the search: it has its own reading of the five fields, its own
//! calendar and its own idea of a change of the clock, and asks the zone only how far it is ahead
//! of UTC at each single minute.

// A test's own output is for people, and a difference ends it.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing)]

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;
use wsup::core::schedule::Schedule;
use wsup::core::spec::ClockChange;
use wsup::core::time::Wall;

/// Minutes since 1970 at the beginning of 2020 and 2030, UTC.
const BEGIN: i64 = 26_297_280;
const END: i64 = 31_558_560;
const YEAR: i64 = 365 * 1_440;
/// The usual run takes one zone of so many.
const SAMPLE: usize = 79;

/// (expression, minute, hour, day, month, weekday, joined by "and"): the fields' numbers as the
/// oracle reads them. The first six name their times, the others have a wildcard.
type Row = (&'static str, &'static [u32], &'static [u32], Days, bool);

/// The oracle's day fields: the day of the month, the month, the weekday from Sunday.
#[derive(Clone, Copy)]
struct Days {
    day: fn(u32) -> bool,
    month: fn(u32) -> bool,
    weekday: fn(u32) -> bool,
}

const EVERY_DAY: Days = Days { day: |_| true, month: |_| true, weekday: |_| true };

const ROWS: &[Row] = &[
    ("30 2 * * *", &[30], &[2], EVERY_DAY, true),
    ("0 0 * * *", &[0], &[0], EVERY_DAY, true),
    ("5,20,59 1,3,23 * * *", &[5, 20, 59], &[1, 3, 23], EVERY_DAY, true),
    ("15 1-3 * * sun", &[15], &[1, 2, 3], Days { weekday: |w| w == 0, ..EVERY_DAY }, true),
    (
        "0 0,1,2 1,31 * fri",
        &[0],
        &[0, 1, 2],
        Days { day: |d| d == 1 || d == 31, weekday: |w| w == 5, ..EVERY_DAY },
        false,
    ),
    ("45 23 29 2 *", &[45], &[23], Days { day: |d| d == 29, month: |m| m == 2, ..EVERY_DAY }, true),
    ("17 * * * sat,0", &[17], &[], Days { weekday: |w| w == 6 || w == 0, ..EVERY_DAY }, true),
    ("*/30 2 * * *", &[0, 30], &[2], EVERY_DAY, true),
    (
        "* 0-3 * 3,10 sun",
        &[],
        &[0, 1, 2, 3],
        Days { month: |m| m == 3 || m == 10, weekday: |w| w == 0, ..EVERY_DAY },
        true,
    ),
    ("0 */8 * * *", &[0], &[0, 8, 16], EVERY_DAY, true),
];
/// So many of the rows name their times.
const FIXED: usize = 6;

/// A row as the oracle uses it: for each minute of a day, and for each day.
struct Named {
    schedule: Schedule,
    minutes: Vec<bool>,
    days: Days,
    both: bool,
}

fn named(row: &Row) -> Named {
    let (text, minutes, hours, days, both) = *row;
    let on = |list: &[u32], n: u32| list.is_empty() || list.contains(&n);
    Named {
        schedule: Schedule::parse(text).unwrap(),
        minutes: (0..1_440).map(|m| on(minutes, m % 60) && on(hours, m / 60)).collect(),
        days,
        both,
    }
}

/// Year, month and day of a number of days since 1970, counted month by month.
fn date(days: i64) -> (i64, u32, u32) {
    let leap = |y: i64| y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    let (mut year, mut left) = (1970, days);
    while left >= 365 + i64::from(leap(year)) {
        left -= 365 + i64::from(leap(year));
        year += 1;
    }
    let mut month = 0;
    for length in [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        month += 1;
        if left < length {
            break;
        }
        left -= length;
    }
    (year, month, left as u32 + 1)
}

/// Which rows name a day, by the number of days since 1970: one bit for each row.
fn days_named(rows: &[Named]) -> impl Fn(i64) -> u32 {
    let first = BEGIN / 1_440 - 3;
    let table: Vec<u32> = (first..END / 1_440 + 3)
        .map(|number| {
            let (_, month, day) = date(number);
            // 1 January 1970 was a Thursday.
            let weekday = (number + 4).rem_euclid(7) as u32;
            let mut bits = 0;
            for (at, row) in rows.iter().enumerate() {
                let (day, weekday) = ((row.days.day)(day), (row.days.weekday)(weekday));
                let either = if row.both { day && weekday } else { day || weekday };
                bits |= u32::from((row.days.month)(month) && either) << at;
            }
            bits
        })
        .collect();
    move |number| table[usize::try_from(number - first).unwrap()]
}

/// One way of counting a row's runs, and how far the search has been followed.
struct Followed<'a> {
    row: &'a Named,
    at: usize,
    rule: ClockChange,
    next: Option<i64>,
    agreed: u64,
}

impl Followed<'_> {
    fn search(&self, zone: &TimeZone, after: i64) -> Option<i64> {
        let next = self.row.schedule.next(Wall(after * 60_000), zone, self.rule, None)?;
        assert_eq!(next.0 % 60_000, 0, "not on a minute");
        Some(next.0 / 60_000)
    }
}

/// Compares every run of every row in (from, until], minute by minute. Returns how many agreed.
fn compare(name: &str, zone: &TimeZone, rows: &[Named], from: i64, until: i64) -> u64 {
    let on_day = days_named(rows);
    // For each minute of a day, the rows that name it.
    let minutes: Vec<u32> = (0..1_440)
        .map(|m| rows.iter().enumerate().map(|(at, r)| u32::from(r.minutes[m]) << at).sum())
        .collect();
    let named = |reading: i64| {
        minutes[usize::try_from(reading.rem_euclid(1_440)).unwrap()]
            & on_day(reading.div_euclid(1_440))
    };
    let reading_of = |at: i64| {
        let offset = zone.to_offset(Timestamp::from_second(at * 60).unwrap()).seconds();
        assert_eq!(offset % 60, 0, "{name}: the oracle counts whole minutes");
        at + i64::from(offset / 60)
    };
    let fixed = (1_u32 << FIXED) - 1;
    let mut followed = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        for rule in [ClockChange::Once, ClockChange::Kubernetes] {
            let mut one = Followed { row, at, rule, next: None, agreed: 0 };
            one.next = one.search(zone, from);
            followed.push(one);
        }
    }
    // The latest reading so far: begins a day earlier, to know which are being repeated.
    let mut latest = (from - 1_500..=from).map(reading_of).max().unwrap();
    let mut soonest = followed.iter().filter_map(|one| one.next).min().unwrap_or(i64::MAX);
    for at in from + 1..=until {
        let reading = reading_of(at);
        let elapsed = named(reading);
        // Each reading once, when the clock first shows it or a later one.
        let mut once = 0;
        while latest < reading {
            latest += 1;
            once |= named(latest);
        }
        let once = (once & fixed) | (elapsed & !fixed);
        if once | elapsed == 0 && at < soonest {
            continue;
        }
        for one in &mut followed {
            let due = match one.rule {
                ClockChange::Once => once,
                ClockChange::Kubernetes => elapsed,
            } & (1 << one.at)
                != 0;
            let source = one.row.schedule.source();
            let found = one.next == Some(at);
            assert_eq!(found, due, "`{source}` in {name}, {:?}, minute {at}", one.rule);
            if due {
                one.agreed += 1;
                one.next = one.search(zone, at);
                assert!(one.next.is_none_or(|n| n > at), "`{source}` in {name} goes back");
            }
        }
        soonest = followed.iter().filter_map(|one| one.next).min().unwrap_or(i64::MAX);
    }
    followed.iter().map(|one| one.agreed).sum()
}

#[test]
fn every_run_in_every_zone_is_the_oracles() {
    let all = std::env::var("WSUP_CRON_ZONES").is_ok_and(|value| value == "all");
    let rows: Vec<Named> = ROWS.iter().map(named).collect();
    let mut names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    names.sort();
    assert!(names.len() > 300, "only {} zones in the database", names.len());
    let begin = Instant::now();
    let chosen: Vec<(usize, &String)> =
        names.iter().enumerate().filter(|(number, _)| all || number % SAMPLE == 0).collect();
    let (next, minutes, agreed) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let work = || {
            while let Some((number, name)) = chosen.get(next.fetch_add(1, Relaxed)) {
                let year = BEGIN + (number / SAMPLE % 10) as i64 * YEAR;
                let (from, until) = if all { (BEGIN, END) } else { (year, year + YEAR) };
                let zone = TimeZone::get(name).unwrap();
                agreed.fetch_add(compare(name, &zone, &rows, from, until), Relaxed);
                minutes.fetch_add((until - from) as u64, Relaxed);
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        // A thread that found a difference ends the test when the scope does.
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    let (zones, minutes, agreed) = (chosen.len(), minutes.into_inner(), agreed.into_inner());
    println!(
        "{zones} of {} zones, {} schedules, both rules, {minutes} minutes looked at, \
         {agreed} runs agree, none differs, {:.1?}{}",
        names.len(),
        rows.len(),
        begin.elapsed(),
        if all { "" } else { "; WSUP_CRON_ZONES=all takes all zones and ten years" },
    );
}
