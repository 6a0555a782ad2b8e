//! The grammar against robfig's own tables, and the search against an oracle that walks minute by
//! minute through the clock changes of several zones.

use super::*;
use crate::core::table::{Rule, by};
use jiff::Timestamp;
use std::collections::BTreeSet;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn wall(text: &str) -> Wall {
    Wall(text.parse::<Timestamp>().unwrap().as_millisecond())
}

fn show(at: Wall, zone: &TimeZone) -> String {
    let at = Timestamp::from_millisecond(at.0).unwrap().to_zoned(zone.clone());
    at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// The first `n` runs after an instant, with the zone's offset.
fn runs(text: &str, zone: &TimeZone, from: &str, rule: ClockChange, n: usize) -> Vec<String> {
    let schedule = Schedule::parse(text).unwrap();
    let mut at = wall(from);
    let anchor = Some(at);
    let mut found = Vec::new();
    while found.len() < n {
        let Some(next) = schedule.next(at, zone, rule, anchor) else { break };
        found.push(show(next, zone));
        at = next;
    }
    found
}

/// (source of the rule, text, numbers of minute, hour, day, month, weekday)
#[test]
fn fields_are_read_as_kubernetes_reads_them() {
    type Row = (Rule, &'static str, [&'static str; 5]);
    const ALL: &str = "*";
    let rows: &[Row] = &[
        (by("cron/parser_test.go TestRange", "single"), "5 * * * *", ["5", ALL, ALL, ALL, ALL]),
        (
            by("cron/parser_test.go TestRange", "leading zero"),
            "05 * * * *",
            ["5", ALL, ALL, ALL, ALL],
        ),
        (by("cron/parser_test.go TestRange", "a-b"), "5-6 * * * *", ["5 6", ALL, ALL, ALL, ALL]),
        (by("cron/parser_test.go TestRange", "a-a"), "5-5 * * * *", ["5", ALL, ALL, ALL, ALL]),
        (
            by("cron/parser_test.go TestRange", "a-b/1"),
            "5-6/1 * * * *",
            ["5 6", ALL, ALL, ALL, ALL],
        ),
        (by("cron/parser_test.go TestRange", "a-b/2"), "5-6/2 * * * *", ["5", ALL, ALL, ALL, ALL]),
        (by("cron/parser.go", "a/n is a-max/n"), "50/4 * * * *", ["50 54 58", ALL, ALL, ALL, ALL]),
        (by("cron/parser.go", "a/n of hours"), "0 20/2 * * *", ["0", "20 22", ALL, ALL, ALL]),
        (by("cron/parser.go", "*/n"), "*/15 * * * *", ["0 15 30 45", ALL, ALL, ALL, ALL]),
        (by("cron/parser.go", "?/n"), "?/20 * * * *", ["0 20 40", ALL, ALL, ALL, ALL]),
        (by("cron/parser.go", "? is *"), "? ? ? ? ?", [ALL, ALL, ALL, ALL, ALL]),
        (by("cron/parser_test.go TestField", "list"), "5,6 * * * *", ["5 6", ALL, ALL, ALL, ALL]),
        (
            by("cron/parser_test.go TestField", "list of steps"),
            "1-3,9 * * * *",
            ["1 2 3 9", ALL, ALL, ALL, ALL],
        ),
        (
            by("cron/parser.go", "overlap in a list"),
            "1-3,2-4 * * * *",
            ["1 2 3 4", ALL, ALL, ALL, ALL],
        ),
        (by("cron/parser.go", "star in a list"), "0 0 1,* * *", ["0", "0", ALL, ALL, ALL]),
        (by("cron/parser.go", "step above the range"), "*/90 * * * *", ["0", ALL, ALL, ALL, ALL]),
        (
            by("cron/parser.go", "month names"),
            "0 0 1 jan,Mar-MAY *",
            ["0", "0", "1", "1 3 4 5", ALL],
        ),
        (
            by("cron/parser.go", "month name with step"),
            "0 0 1 feb/5 *",
            ["0", "0", "1", "2 7 12", ALL],
        ),
        (
            by("cron/parser.go", "weekday names"),
            "0 0 * * mon-fri",
            ["0", "0", ALL, ALL, "1 2 3 4 5"],
        ),
        (by("cron/parser.go", "weekday 0 is Sunday"), "0 0 * * 0", ["0", "0", ALL, ALL, "0"]),
        (by("k8s-semantics 14", "weekday 7 is Sunday"), "0 0 * * 7", ["0", "0", ALL, ALL, "0"]),
        (by("k8s-semantics 14", "5-7"), "0 0 * * 5-7", ["0", "0", ALL, ALL, "0 5 6"]),
        (by("k8s-semantics 14", "fri-7"), "0 0 * * fri-7", ["0", "0", ALL, ALL, "0 5 6"]),
        (by("k8s-semantics 14", "0-7"), "0 0 * * 0-7", ["0", "0", ALL, ALL, ALL]),
        (by("k8s-semantics 14", "1-7/2"), "0 0 * * 1-7/2", ["0", "0", ALL, ALL, "0 1 3 5"]),
        (by("k8s-semantics 14", "7/2"), "0 0 * * 7/2", ["0", "0", ALL, ALL, "0"]),
        (by("k8s-semantics 14", "0,7"), "0 0 * * 0,7", ["0", "0", ALL, ALL, "0"]),
        (by("cron/parser.go", "5/2 ends at 6"), "0 0 * * 5/2", ["0", "0", ALL, ALL, "5"]),
        (by("cron/parser.go", "1-31/10"), "0 0 1-31/10 * *", ["0", "0", "1 11 21 31", ALL, ALL]),
        (
            by("cron/parser.go", "a list of ranges with steps"),
            "0-10/5,50-59/3 * * * *",
            ["0 5 10 50 53 56 59", ALL, ALL, ALL, ALL],
        ),
        (
            by("cron/parser.go", "the ends of every field"),
            "59 23 31 12 6",
            ["59", "23", "31", "12", "6"],
        ),
        (by("cron/parser.go", "the other ends"), "0 0 1 1 0", ["0", "0", "1", "1", "0"]),
        (
            by("cron/parser.go", "names in a list, any case"),
            "0 0 * * SUN,Wed,sat",
            ["0", "0", ALL, ALL, "0 3 6"],
        ),
        (
            by("cron/parser.go", "a name and a number in a range"),
            "0 0 1 2-apr *",
            ["0", "0", "1", "2 3 4", ALL],
        ),
        (by("cron/parser.go", "*/1 is all"), "*/1 * * * *", [ALL, ALL, ALL, ALL, ALL]),
        (
            by("cron/parser.go", "the greatest step that has an effect"),
            "*/59 * * * *",
            ["0 59", ALL, ALL, ALL, ALL],
        ),
        (by("cron/parser.go", "blanks"), "  1\t2   3 4  5 ", ["1", "2", "3", "4", "5"]),
        (
            by("cron/parser_test.go TestParseSchedule", "@yearly"),
            "@yearly",
            ["0", "0", "1", "1", ALL],
        ),
        (by("cron/parser.go", "@annually"), "@annually", ["0", "0", "1", "1", ALL]),
        (by("cron/parser.go", "@monthly"), "@monthly", ["0", "0", "1", ALL, ALL]),
        (by("cron/parser.go", "@weekly"), "@weekly", ["0", "0", ALL, ALL, "0"]),
        (by("cron/parser.go", "@daily"), "@daily", ["0", "0", ALL, ALL, ALL]),
        (by("cron/parser.go", "@midnight"), "@midnight", ["0", "0", ALL, ALL, ALL]),
        (by("cron/parser.go", "@hourly"), "@hourly", ["0", ALL, ALL, ALL, ALL]),
    ];
    for (rule, text, want) in rows {
        let Parsed::Fields { minute, hour, day, month, weekday } = parse::parse(text).unwrap()
        else {
            panic!("{rule}: {text}")
        };
        let fields =
            [(minute, 0, 59), (hour, 0, 23), (day, 1, 31), (month, 1, 12), (weekday, 0, 6)];
        for ((field, min, max), want) in fields.into_iter().zip(want) {
            let all: Vec<u32> = (min..=max).collect();
            let want: Vec<u32> = match *want {
                ALL => all.clone(),
                list => list.split(' ').map(|n| n.parse().unwrap()).collect(),
            };
            let got: Vec<u32> = all.into_iter().filter(|n| field.bits & (1 << n) != 0).collect();
            assert_eq!(got, want, "{rule}: {text}");
        }
    }
}

/// (source of the rule, text, what the message says, the offending part)
#[test]
fn mistakes_are_named_with_their_place() {
    let rows: &[(Rule, &str, &str, &str)] = &[
        (by("cron/parser.go", "empty spec string"), "", "empty", ""),
        (by("cron/parser.go", "only blanks"), "   ", "empty", ""),
        (
            by("cron/parser.go", "too few fields"),
            "* * * *",
            "expected 5 fields, found 4",
            "* * * *",
        ),
        (
            by("cron/parser.go", "seconds"),
            "0 * * * * *",
            "expected 5 fields, found 6",
            "0 * * * * *",
        ),
        (by("cron/parser.go", "one word"), "daily", "expected 5 fields, found 1", "daily"),
        (by("cron/parser.go", "minute above"), "60 * * * *", "0 to 59", "60"),
        (by("cron/parser.go", "hour above"), "0 24 * * *", "0 to 23", "24"),
        (by("cron/parser.go", "day below"), "0 0 0 * *", "1 to 31", "0"),
        (by("cron/parser.go", "day above"), "0 0 32 * *", "1 to 31", "32"),
        (by("cron/parser.go", "month below"), "0 0 1 0 *", "1 to 12", "0"),
        (by("cron/parser.go", "month above"), "0 0 1 13 *", "1 to 12", "13"),
        (by("cron/parser.go", "weekday above"), "0 0 * * 8", "0 to 6", "8"),
        (by("cron/parser.go", "end of range"), "0-60 * * * *", "0 to 59", "60"),
        (by("cron/parser.go", "reversed range"), "0 22-4 * * *", "ends before it begins", "22-4"),
        (
            by("cron/parser.go", "reversed weekdays"),
            "0 0 * * fri-mon",
            "ends before it begins",
            "fri-mon",
        ),
        (by("cron/parser.go", "step 0"), "*/0 * * * *", "step may not be 0", "0"),
        (by("cron/parser.go", "step no number"), "*/x * * * *", "not a number", "x"),
        (by("cron/parser.go", "step negative"), "*/-5 * * * *", "not a number", "-5"),
        (by("cron/parser.go", "negative"), "-5 * * * *", "negative", "-5"),
        (by("cron/parser.go", "negative end"), "1--5 * * * *", "too many `-`", "1--5"),
        (by("cron/parser.go", "too many hyphens"), "1-2-3 * * * *", "too many `-`", "1-2-3"),
        (by("cron/parser.go", "too many slashes"), "1/2/3 * * * *", "too many `/`", "1/2/3"),
        (by("cron/parser.go", "open range"), "5- * * * *", "missing", ""),
        (by("cron/parser.go", "open step"), "5/ * * * *", "missing", ""),
        (
            by("wsup", "stricter, empty list item"),
            "1,,2 * * * *",
            "list of the minute is empty",
            "1,,2",
        ),
        (by("wsup", "stricter, lone comma"), ", * * * *", "list of the minute is empty", ","),
        (by("wsup", "stricter, +5"), "+5 * * * *", "not a number", "+5"),
        (by("wsup", "stricter, *-5"), "*-5 * * * *", "may not begin a range", "*-5"),
        (by("cron/parser.go", "H"), "H * * * *", "not a number", "H"),
        (
            by("cron/parser.go", "a month's long name"),
            "0 0 1 june *",
            "nor a name, jan to dec",
            "june",
        ),
        (
            by("cron/parser.go", "a weekday's name among months"),
            "0 0 1 mon *",
            "nor a name, jan to dec",
            "mon",
        ),
        (by("cron/parser.go", "a range that begins with nothing"), "0 -4 * * *", "negative", "-4"),
        (by("cron/parser.go", "a star in a range"), "1-* * * * *", "not a number", "*"),
        (by("cron/parser.go", "a decimal"), "1.5 * * * *", "not a number", "1.5"),
        (by("cron/parser.go", "a step of a word"), "0 0 * * mon/tue", "not a number", "tue"),
        (by("wsup", "no ASCII digits"), "٥ * * * *", "not a number", "٥"),
        (
            by("cron/parser.go", "years"),
            "0 0 1 1 * 2027",
            "expected 5 fields, found 6",
            "0 0 1 1 * 2027",
        ),
        (by("cron/parser.go", "L"), "0 0 L * *", "L, W and # are not supported", "L"),
        (by("cron/parser.go", "15W"), "0 0 15W * *", "L, W and # are not supported", "15W"),
        (by("cron/parser.go", "5#2"), "0 0 * * 5#2", "L, W and # are not supported", "5#2"),
        (by("cron/parser.go", "5L"), "0 0 * * 5L", "L, W and # are not supported", "5L"),
        (by("cron/parser.go", "long name"), "0 0 * * monday", "nor a name, sun to sat", "monday"),
        (
            by("cron/parser.go", "name in the wrong field"),
            "0 0 mon * *",
            "not a number (day of month)",
            "mon",
        ),
        (by("cron/parser.go", "huge number"), "99999999999 * * * *", "too great", "99999999999"),
        (
            by("batch/validation.go validateScheduleFormat", "TZ="),
            "TZ=UTC 0 0 * * *",
            "time zone",
            "TZ=UTC 0 0 * * *",
        ),
        (
            by("batch/validation.go validateScheduleFormat", "CRON_TZ="),
            "CRON_TZ=UTC 0 0 * * *",
            "time zone",
            "CRON_TZ=UTC 0 0 * * *",
        ),
        (by("cron/parser.go", "descriptor's case"), "@Daily", "not a known descriptor", "@Daily"),
        (
            by("cron/parser.go", "unknown descriptor"),
            "@unrecognized",
            "not a known descriptor",
            "@unrecognized",
        ),
        (by("k8s-semantics 7", "@reboot"), "@reboot", "`@reboot` is not supported", "@reboot"),
        (by("cron/parser.go", "@every alone"), "@every", "needs a duration", "@every"),
        (by("cron/parser.go", "@every nonsense"), "@every abc", "not a duration", "abc"),
        (by("go/time.ParseDuration", "no unit"), "@every 90", "unit is missing after `90`", "90"),
        (by("go/time.ParseDuration", "days"), "@every 1d", "not a unit here", "1d"),
        (by("go/time.ParseDuration", "sign only"), "@every -", "not a duration", "-"),
        (by("go/time.ParseDuration", "two points"), "@every 1.2.3h", "not a duration", "1.2.3h"),
        (by("go/time.ParseDuration", "overflow"), "@every 9999999h", "292 years", "9999999h"),
        (
            by("go/time.ParseDuration", "a second more than the longest"),
            "@every 9223372037s",
            "292 years",
            "9223372037s",
        ),
    ];
    for (rule, text, message, part) in rows {
        let error = Schedule::parse(text).expect_err(text);
        assert!(error.message.contains(message), "{rule}: {text}: {}", error.message);
        let got = text.get(error.offset..error.offset + error.len);
        assert_eq!(got, Some(*part), "{rule}: {text}");
    }
}

/// What is proposed instead, where that is clear.
#[test]
fn mistakes_have_their_remedies() {
    let rows: &[(&str, Option<&str>)] = &[
        ("0 0 * * 5-2", Some("split it: `5-6,0-2`")),
        ("0 0 * * fri-sun", Some("write Sunday as 7: `fri-7`")),
        ("0 0 * * 5-0", Some("write Sunday as 7: `5-7`")),
        ("30-0 * * * *", Some("split it: `30-59,0-0`")),
        ("0 22-6 * * *", Some("split it: `22-23,0-6`")),
        ("0 0 * * * *", Some("no seconds and no years")),
        ("0 0 * *", Some("such as `0 3 * * *`")),
        ("", Some("five fields, such as `0 3 * * *`")),
        ("TZ=UTC 0 0 * * *", Some("give it as `time_zone`")),
        ("@every", Some("such as `@every 1h30m`")),
        ("@every 5", Some("h, m, s or ms")),
        ("@every 5d", Some("write days as hours: 24h")),
        ("@every five", Some("such as `1h30m`")),
        ("@reboot", Some("a unit of kind job runs once")),
        ("@often", Some("in lower case")),
        ("60 * * * *", None),
        ("*/0 * * * *", None),
    ];
    for (text, want) in rows {
        let help = Schedule::parse(text).unwrap_err().help;
        assert_eq!(help.is_some(), want.is_some(), "{text}: {help:?}");
        let help = help.unwrap_or_default();
        assert!(help.contains(want.unwrap_or_default()), "{text}: {help}");
    }
}

#[test]
fn every_takes_go_durations() {
    let rows: &[(Rule, &str, u64)] = &[
        (by("cron/parser_test.go TestParseSchedule", "minutes"), "@every 5m", 300),
        (by("cron/parser.go", "@every, below a minute"), "@every 90s", 90),
        (by("go/time.ParseDuration", "combined"), "@every 1h30m10s", 5_410),
        (by("go/time.ParseDuration", "fraction"), "@every 1.5h", 5_400),
        (by("go/time.ParseDuration", "no whole part"), "@every .5m", 30),
        (by("cron/constantdelay.go", "below a second"), "@every 10ms", 1),
        (by("cron/constantdelay.go", "fraction dropped"), "@every 1999ms", 1),
        (by("cron/constantdelay.go", "only the sum is rounded"), "@every 500ms500ms1s", 2),
        (by("cron/constantdelay.go", "zero"), "@every 0", 1),
        (by("cron/constantdelay.go", "negative"), "@every -5m", 1),
        (by("go/time.ParseDuration", "plus"), "@every +5m", 300),
        (by("go/time.ParseDuration", "micro"), "@every 3000000us", 3),
        (by("go/time.ParseDuration", "nano"), "@every 4000000000ns", 4),
        (by("go/time.ParseDuration", "the longest"), "@every 9223372036s", 9_223_372_036),
        (by("wsup", "blanks around the duration"), "  @every   2s ", 2),
    ];
    for (rule, text, secs) in rows {
        let schedule = Schedule::parse(text).unwrap();
        assert_eq!(schedule.period(), Some(Millis::from_secs(*secs)), "{rule}: {text}");
    }
}

/// (rule, text, from, expected) in UTC: mostly robfig's `spec_test.go` `TestNext`.
#[test]
fn next_in_utc() {
    let rows: &[(Rule, &str, &str, &str)] = &[
        (
            by("cron/spec_test.go TestNext", "simple"),
            "*/15 * * * *",
            "2012-07-09T14:45:00Z",
            "2012-07-09T15:00:00",
        ),
        (
            by("cron/spec_test.go TestNext", "simple, just before"),
            "*/15 * * * *",
            "2012-07-09T14:59:59Z",
            "2012-07-09T15:00:00",
        ),
        (
            by("cron/spec_test.go TestNext", "wrap hour"),
            "20-35/15 * * * *",
            "2012-07-09T15:45:00Z",
            "2012-07-09T16:20:00",
        ),
        (
            by("cron/spec_test.go TestNext", "wrap day"),
            "*/15 * * * *",
            "2012-07-09T23:46:00Z",
            "2012-07-10T00:00:00",
        ),
        (
            by("cron/spec_test.go TestNext", "wrap day, a range with a step"),
            "20-35/15 * * * *",
            "2012-07-09T23:45:00Z",
            "2012-07-10T00:20:00",
        ),
        (
            by("cron/spec_test.go TestNext", "hours"),
            "20-35/15 1/2 * * *",
            "2012-07-09T23:35:51Z",
            "2012-07-10T01:20:00",
        ),
        (
            by("cron/spec_test.go TestNext", "hours of a range"),
            "20-35/15 10-12 * * *",
            "2012-07-09T23:35:51Z",
            "2012-07-10T10:20:00",
        ),
        (
            by("cron/spec_test.go TestNext", "days"),
            "20-35/15 1/2 */2 * *",
            "2012-07-09T23:35:51Z",
            "2012-07-11T01:20:00",
        ),
        (
            by("cron/spec_test.go TestNext", "days of a range"),
            "20-35/15 * 9-20 * *",
            "2012-07-09T23:35:51Z",
            "2012-07-10T00:20:00",
        ),
        (
            by("cron/spec_test.go TestNext", "months"),
            "20-35/15 * 9-20 jul *",
            "2012-07-09T23:35:51Z",
            "2012-07-10T00:20:00",
        ),
        (
            by("cron/spec_test.go TestNext", "wrap month"),
            "0 0 9 apr-oct ?",
            "2012-07-09T23:35:00Z",
            "2012-08-09T00:00:00",
        ),
        (
            by("cron/spec_test.go TestNext", "month and days"),
            "0 0 */5 apr,aug,oct mon",
            "2012-07-09T23:35:00Z",
            "2012-08-01T00:00:00",
        ),
        (
            by("cron/spec_test.go TestNext", "one month"),
            "0 0 */5 oct mon",
            "2012-07-09T23:35:00Z",
            "2012-10-01T00:00:00",
        ),
        (
            by("cron/spec_test.go TestNext", "wrap years"),
            "0 0 * feb mon",
            "2012-07-09T23:35:00Z",
            "2013-02-04T00:00:00",
        ),
        (
            by("cron/spec_test.go TestNext", "wrap years, either day"),
            "0 0 * feb mon/2",
            "2012-07-09T23:35:00Z",
            "2013-02-01T00:00:00",
        ),
        (
            by("cron/spec_test.go TestNext", "wrap minute"),
            "15/45 * * * *",
            "2012-07-09T23:59:40Z",
            "2012-07-10T00:15:00",
        ),
        (
            by("cron/spec_test.go TestNext", "leap year"),
            "0 0 29 feb ?",
            "2012-07-09T23:35:00Z",
            "2016-02-29T00:00:00",
        ),
        (by("cron/spec_test.go TestNext", "never"), "0 0 30 feb ?", "2012-07-09T23:35:00Z", ""),
        (
            by("cron/spec_test.go TestNext", "never in April"),
            "0 0 31 apr ?",
            "2012-07-09T23:35:00Z",
            "",
        ),
        (by("cron/spec.go", "five years"), "0 0 29 feb ?", "2096-03-01T00:00:00Z", ""),
        (
            by("cron/spec.go", "strictly after"),
            "0 0 * * *",
            "2026-01-01T00:00:00Z",
            "2026-01-02T00:00:00",
        ),
        (
            by("cron/spec.go", "fractions"),
            "0 0 * * *",
            "2025-12-31T23:59:59.999Z",
            "2026-01-01T00:00:00",
        ),
        (
            by("cron/spec.go", "fractions are cut"),
            "0 0 * * *",
            "2026-01-01T00:00:00.001Z",
            "2026-01-02T00:00:00",
        ),
        (
            by("cron/spec.go dayMatches", "either"),
            "0 0 13 * fri",
            "2026-01-01T00:00:00Z",
            "2026-01-02T00:00:00",
        ),
        (
            by("cron/spec.go dayMatches", "either, the day of the month"),
            "0 0 13 * fri",
            "2026-01-09T00:00:00Z",
            "2026-01-13T00:00:00",
        ),
        (
            by("cron/spec.go dayMatches", "star"),
            "0 0 * * fri",
            "2026-01-02T00:00:00Z",
            "2026-01-09T00:00:00",
        ),
        (
            by("cron/spec.go dayMatches", "star among weekdays"),
            "0 0 13 * *",
            "2026-01-01T00:00:00Z",
            "2026-01-13T00:00:00",
        ),
        (
            by("cron/spec.go dayMatches", "?"),
            "0 0 13 * ?",
            "2026-01-01T00:00:00Z",
            "2026-01-13T00:00:00",
        ),
        (
            by("cron/parser.go", "*/1 is a star"),
            "0 0 */1 * fri",
            "2026-01-02T00:00:00Z",
            "2026-01-09T00:00:00",
        ),
        (
            by("cron/parser.go", "*/2 is none"),
            "0 0 */2 * fri",
            "2026-01-02T00:00:00Z",
            "2026-01-03T00:00:00",
        ),
        (
            by("cron/parser.go", "1-31 is none"),
            "0 0 1-31 * fri",
            "2026-01-02T00:00:00Z",
            "2026-01-03T00:00:00",
        ),
        (
            by("cron/parser.go", "list with *"),
            "0 0 *,5 * fri",
            "2026-01-02T00:00:00Z",
            "2026-01-09T00:00:00",
        ),
        (
            by("cron/parser.go", "0-6 is none"),
            "0 0 13 * 0-6",
            "2026-01-02T00:00:00Z",
            "2026-01-03T00:00:00",
        ),
        (
            by("cron/spec.go Next", "the fifth year"),
            "0 0 29 feb ?",
            "2023-03-01T00:00:00Z",
            "2024-02-29T00:00:00",
        ),
        (
            by("cron/spec.go Next", "over a year's end"),
            "59 23 31 12 *",
            "2026-12-31T23:59:00Z",
            "2027-12-31T23:59:00",
        ),
        (
            by("cron/spec.go dayMatches", "a weekday within a month"),
            "0 0 * 6 mon",
            "2026-01-01T00:00:00Z",
            "2026-06-01T00:00:00",
        ),
        (
            by("cron/spec.go dayMatches", "weekday 7"),
            "0 0 * * 7",
            "2026-01-01T00:00:00Z",
            "2026-01-04T00:00:00",
        ),
        (
            by("cron/spec.go dayMatches", "either, in a month"),
            "0 0 31 2 mon",
            "2026-01-01T00:00:00Z",
            "2026-02-02T00:00:00",
        ),
        (
            by("cron/spec.go dayMatches", "? and a weekday"),
            "0 0 ? * sun",
            "2026-01-01T00:00:00Z",
            "2026-01-04T00:00:00",
        ),
        (
            by("cron/constantdelay.go Next", "a leap second's day"),
            "@every 24h",
            "2016-12-31T12:00:00Z",
            "2017-01-01T12:00:00",
        ),
        (
            by("cron/constantdelay_test.go TestConstantDelayNext", "a quarter"),
            "@every 15m",
            "2012-07-09T14:45:00Z",
            "2012-07-09T15:00:00",
        ),
        (
            by("cron/constantdelay_test.go TestConstantDelayNext", "a quarter, over the hour"),
            "@every 15m",
            "2012-07-09T14:59:00Z",
            "2012-07-09T15:14:00",
        ),
        (
            by("cron/constantdelay_test.go", "wrap hour"),
            "@every 35m",
            "2012-07-09T15:45:00Z",
            "2012-07-09T16:20:00",
        ),
        (
            by("cron/constantdelay_test.go", "fraction of the anchor"),
            "@every 15m",
            "2012-07-09T14:45:00.005Z",
            "2012-07-09T15:00:00",
        ),
        (by("wsup", "the last year of the calendar"), "0 0 1 1 *", "2100-01-01T00:00:00Z", ""),
    ];
    for (rule, text, from, want) in rows {
        for change in [ClockChange::Once, ClockChange::Kubernetes] {
            let got = runs(text, &TimeZone::UTC, from, change, 1);
            let want: Vec<String> =
                if want.is_empty() { vec![] } else { vec![format!("{want}+00:00")] };
            assert_eq!(got, want, "{rule}: {text} after {from}");
        }
    }
}

#[test]
fn every_counts_from_its_anchor() {
    let schedule = Schedule::parse("@every 5m").unwrap();
    let anchor = Some(wall("2026-01-01T00:02:17Z"));
    let rows = [
        (by("k8s-semantics 14", "the first"), "2026-01-01T00:02:17Z", "2026-01-01T00:07:17Z"),
        (by("k8s-semantics 14", "strictly after"), "2026-01-01T00:07:17Z", "2026-01-01T00:12:17Z"),
        (by("k8s-semantics 14", "long after"), "2026-03-01T12:00:00Z", "2026-03-01T12:02:17Z"),
        (by("k8s-semantics 14", "just before"), "2026-01-01T00:12:16.999Z", "2026-01-01T00:12:17Z"),
        (
            by("k8s-semantics 14", "before the anchor"),
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:02:17Z",
        ),
    ];
    for (rule, from, want) in rows {
        let got = schedule.next(wall(from), &TimeZone::UTC, ClockChange::Once, anchor);
        assert_eq!(got, Some(wall(want)), "{rule}");
    }
}

/// (rule, zone, text, from, runs under "once", runs under "kubernetes")
#[test]
fn clock_changes() {
    type Row = (
        Rule,
        &'static str,
        &'static str,
        &'static str,
        &'static [&'static str],
        &'static [&'static str],
    );
    let rows: &[Row] = &[
        (
            by("k8s-semantics 14", "gap, fixed time"),
            "Europe/Berlin",
            "30 2 * * *",
            "2026-03-28T00:00:00Z",
            &[
                "2026-03-28T02:30:00+01:00",
                "2026-03-29T03:00:00+02:00",
                "2026-03-30T02:30:00+02:00",
            ],
            &[
                "2026-03-28T02:30:00+01:00",
                "2026-03-30T02:30:00+02:00",
                "2026-03-31T02:30:00+02:00",
            ],
        ),
        (
            by("k8s-semantics 14", "fold, fixed time"),
            "Europe/Berlin",
            "30 2 * * *",
            "2026-10-24T12:00:00Z",
            &["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"],
            &[
                "2026-10-25T02:30:00+02:00",
                "2026-10-25T02:30:00+01:00",
                "2026-10-26T02:30:00+01:00",
            ],
        ),
        (
            by("k8s-semantics 14", "a step follows elapsed time over a fold"),
            "Europe/Berlin",
            "*/30 2 * * *",
            "2026-10-25T00:00:00Z",
            &[
                "2026-10-25T02:30:00+02:00",
                "2026-10-25T02:00:00+01:00",
                "2026-10-25T02:30:00+01:00",
            ],
            &[
                "2026-10-25T02:30:00+02:00",
                "2026-10-25T02:00:00+01:00",
                "2026-10-25T02:30:00+01:00",
            ],
        ),
        (
            by("k8s-semantics 14", "a star follows elapsed time over a gap"),
            "Europe/Berlin",
            "30 * * * *",
            "2026-03-29T00:00:00Z",
            &["2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"],
            &["2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"],
        ),
        (
            by("k8s-semantics 14", "two skipped times are one run"),
            "Europe/Berlin",
            "10,50 2 * * *",
            "2026-03-28T12:00:00Z",
            &["2026-03-29T03:00:00+02:00", "2026-03-30T02:10:00+02:00"],
            &["2026-03-30T02:10:00+02:00", "2026-03-30T02:50:00+02:00"],
        ),
        (
            by("k8s-semantics 14", "a skipped time beside one right after the gap"),
            "Europe/Berlin",
            "0 2,3 * * *",
            "2026-03-28T12:00:00Z",
            &["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"],
            &["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"],
        ),
        (
            by("cron/spec_test.go TestNext", "spring forward, New York"),
            "America/New_York",
            "30 2 11 mar ?",
            "2012-03-11T05:00:00Z",
            &["2012-03-11T03:00:00-04:00", "2013-03-11T02:30:00-04:00"],
            &["2013-03-11T02:30:00-04:00"],
        ),
        (
            by("cron/spec_test.go TestNext", "fall back, New York"),
            "America/New_York",
            "0 1 4 nov ?",
            "2012-11-04T04:30:00Z",
            &["2012-11-04T01:00:00-04:00", "2013-11-04T01:00:00-05:00"],
            &[
                "2012-11-04T01:00:00-04:00",
                "2012-11-04T01:00:00-05:00",
                "2013-11-04T01:00:00-05:00",
            ],
        ),
        (
            by("cron/spec_test.go", "midnight that does not exist"),
            "America/Sao_Paulo",
            "0 0 * * *",
            "2018-11-03T12:00:00Z",
            &["2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"],
            &["2018-11-05T00:00:00-02:00"],
        ),
        (
            by("k8s-semantics 14", "half an hour"),
            "Australia/Lord_Howe",
            "15 2 * * *",
            "2026-10-03T00:00:00Z",
            &["2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"],
            &["2026-10-05T02:15:00+11:00", "2026-10-06T02:15:00+11:00"],
        ),
        (
            by("k8s-semantics 7", "a whole day left out: Apia, 30 December 2011"),
            "Pacific/Apia",
            "0 12 * * *",
            "2011-12-30T00:00:00Z",
            &["2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"],
            &["2011-12-31T12:00:00+14:00", "2012-01-01T12:00:00+14:00"],
        ),
        (
            by("k8s-semantics 7", "robfig loops for ever here, the only day was left out"),
            "Pacific/Apia",
            "0 12 30 12 *",
            "2011-12-25T00:00:00Z",
            &["2011-12-31T00:00:00+14:00", "2012-12-30T12:00:00+14:00"],
            &["2012-12-30T12:00:00+14:00", "2013-12-30T12:00:00+14:00"],
        ),
        (
            by("k8s-semantics 7", "@every counts elapsed time"),
            "Europe/Berlin",
            "@every 2h",
            "2026-03-29T00:00:00Z",
            &["2026-03-29T04:00:00+02:00", "2026-03-29T06:00:00+02:00"],
            &["2026-03-29T04:00:00+02:00", "2026-03-29T06:00:00+02:00"],
        ),
        (
            by("k8s-semantics 14", "started within the second pass"),
            "Europe/Berlin",
            "30 2 * * *",
            "2026-10-25T01:10:00Z",
            &["2026-10-26T02:30:00+01:00"],
            &["2026-10-25T02:30:00+01:00"],
        ),
        (
            by(
                "k8s-semantics 14",
                "the same west of Greenwich: what comes after it that day comes",
            ),
            "America/New_York",
            "30 1,4 * * *",
            "2026-11-01T06:10:00Z",
            &["2026-11-01T04:30:00-05:00", "2026-11-02T01:30:00-05:00"],
            &["2026-11-01T01:30:00-05:00", "2026-11-01T04:30:00-05:00"],
        ),
        (
            by("k8s-semantics 14", "the same from within the first pass"),
            "America/New_York",
            "30 1,4 * * *",
            "2026-11-01T05:10:00Z",
            &["2026-11-01T01:30:00-04:00", "2026-11-01T04:30:00-05:00"],
            &["2026-11-01T01:30:00-04:00", "2026-11-01T01:30:00-05:00"],
        ),
        (
            by("k8s-semantics 14", "gap west of Greenwich"),
            "America/New_York",
            "30 2 * * *",
            "2026-03-08T05:00:00Z",
            &["2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"],
            &["2026-03-09T02:30:00-04:00", "2026-03-10T02:30:00-04:00"],
        ),
    ];
    for (rule, name, text, from, once, kubernetes) in rows {
        let zone = zone(name);
        let got = runs(text, &zone, from, ClockChange::Once, once.len());
        assert_eq!(got, *once, "{rule}: once");
        let got = runs(text, &zone, from, ClockChange::Kubernetes, kubernetes.len());
        assert_eq!(got, *kubernetes, "{rule}: kubernetes");
    }
}

#[test]
fn warnings_name_what_crontab_reads_otherwise() {
    let rows: &[(Rule, &str, &[&str])] = &[
        (by("k8s-semantics 14", "a starred step among days"), "0 0 */2 * mon", &["crontab"]),
        (by("k8s-semantics 14", "a starred step among weekdays"), "0 0 1 * */2", &["crontab"]),
        (by("k8s-semantics 14", "no other day field"), "0 0 */2 * *", &[]),
        (by("k8s-semantics 14", "no starred step"), "0 0 1 * mon", &[]),
        (by("k8s-semantics 14", "*/1 is a star for both"), "0 0 */1 * mon", &[]),
        (by("vixie-cron/entry.c", "a star later in the list is none"), "0 0 5,*/2 * mon", &[]),
        (
            by("vixie-cron/entry.c", "a starred step first in a list"),
            "0 0 */2,5 * mon",
            &["either day field"],
        ),
        (by("vixie-cron/entry.c", "`1,*` is no star"), "0 0 1,* * mon", &["both day fields"]),
        (by("vixie-cron/entry.c", "`*,1` is a star"), "0 0 *,1 * mon", &[]),
        (by("vixie-cron/entry.c", "the same of weekdays"), "0 0 1 * 1,*/1", &["both day fields"]),
        (by("wsup", "no day is left out"), "0 0 1,* * 0-6", &[]),
        (by("wsup", "`?` is no crontab"), "0 0 ? * mon", &[]),
        (by("crontab(5)", "steps"), "5/15 * * * *", &["after a single number"]),
        (by("crontab(5)", "a step after a name"), "0 0 * jan/2 *", &["after a single number"]),
        (by("crontab(5)", "a step after a range"), "5-59/15 * * * *", &[]),
        (
            by("wsup", "two warnings"),
            "5/15 0 */2 * mon",
            &["either day field", "after a single number"],
        ),
        (by("wsup", "a step of minutes without effect"), "*/90 * * * *", &["too great"]),
        (by("wsup", "a step of hours without effect"), "0 */24 * * *", &["too great"]),
        (by("wsup", "no such day"), "0 0 30 2 *", &["never"]),
        (by("wsup", "no such day in four months"), "0 0 31 4,6,9,11 ?", &["never"]),
        (by("wsup", "the leap day is one"), "0 0 29 2 *", &[]),
        (by("wsup", "either day field, so it runs"), "0 0 31 2 mon", &[]),
        (by("wsup", "plain"), "*/5 * * * *", &[]),
        (by("wsup", "plain, @every"), "@every 1s", &[]),
    ];
    for (rule, text, want) in rows {
        let schedule = Schedule::parse(text).unwrap();
        let got = schedule.warnings();
        assert_eq!(got.len(), want.len(), "{rule}: {text}: {got:?}");
        for (got, want) in got.iter().zip(*want) {
            assert!(got.contains(want), "{rule}: {text}: {got}");
        }
    }
}

#[test]
fn latest_is_the_last_run_of_a_span() {
    let rows = [
        (
            by("cronjob/utils.go mostRecentScheduleTime", "none"),
            "0 3 * * *",
            "2026-01-01T04:00:00Z",
            "2026-01-02T02:59:59.999Z",
            "",
        ),
        (
            by("cronjob/utils.go mostRecentScheduleTime", "at the end"),
            "0 3 * * *",
            "2026-01-01T04:00:00Z",
            "2026-01-02T03:00:00Z",
            "2026-01-02T03:00:00Z",
        ),
        (
            by("cronjob/utils.go mostRecentScheduleTime", "exclusive start"),
            "0 3 * * *",
            "2026-01-02T03:00:00Z",
            "2026-01-02T05:00:00Z",
            "",
        ),
        (
            by("cronjob/utils.go mostRecentScheduleTime", "many"),
            "* * * * *",
            "2020-01-01T00:00:00Z",
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:00Z",
        ),
        (
            by("cronjob/utils.go mostRecentScheduleTime", "uneven"),
            "30 6-16/4 * * 1-5",
            "2026-01-02T14:30:00Z",
            "2026-01-05T10:29:00Z",
            "2026-01-05T06:30:00Z",
        ),
        (
            by("k8s-semantics 14", "@every"),
            "@every 90s",
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:05:00Z",
            "2026-01-01T00:04:30Z",
        ),
        (by("wsup", "backwards"), "* * * * *", "2026-01-01T00:00:00Z", "2025-01-01T00:00:00Z", ""),
    ];
    for (rule, text, after, until, want) in rows {
        let schedule = Schedule::parse(text).unwrap();
        let got =
            schedule.latest(wall(after), wall(until), &TimeZone::UTC, ClockChange::Once, None);
        let want = if want.is_empty() { None } else { Some(wall(want)) };
        assert_eq!(got, want, "{rule}");
    }
}

/// (source, name, whether it has the form of a zone's name)
#[test]
fn zone_names_are_checked_as_kubernetes_does() {
    let rows = [
        (by("batch/validation.go validateTimeZone", "one component"), "UTC", true),
        (by("batch/validation.go validateTimeZone", "two"), "Europe/Berlin", true),
        (by("batch/validation.go validateTimeZone", "a plus"), "Etc/GMT+5", true),
        (by("batch/validation.go validateTimeZone", "a hyphen inside"), "Etc/GMT-14", true),
        (
            by("batch/validation.go validateTimeZone", "three, underscores"),
            "America/North_Dakota/New_Salem",
            true,
        ),
        (by("batch/validation.go validateTimeZone", "digits"), "EST5EDT", true),
        (
            by("batch/validation.go validateTimeZone", "14 characters"),
            "Europe/Abcdefghijklmn",
            true,
        ),
        (
            by("batch/validation.go validateTimeZone", "15 characters"),
            "Europe/Abcdefghijklmno",
            false,
        ),
        (by("batch/validation.go validateTimeZone", "empty"), "", false),
        (by("batch/validation.go validateTimeZone", "Local"), "Local", false),
        (by("batch/validation.go validateTimeZone", "local"), "local", false),
        (by("batch/validation.go validateTimeZone", "LOCAL"), "LOCAL", false),
        (by("batch/validation.go validateTimeZone", "two points"), "../etc/passwd", false),
        (by("batch/validation.go validateTimeZone", "two points later"), "Europe/../Berlin", false),
        (by("batch/validation.go validateTimeZone", "one point"), "Europe/.", false),
        (by("batch/validation.go validateTimeZone", "an empty component"), "Europe//Berlin", false),
        (by("batch/validation.go validateTimeZone", "an absolute path"), "/Europe", false),
        (by("batch/validation.go validateTimeZone", "a slash at the end"), "Europe/", false),
        (by("batch/validation.go validateTimeZone", "a leading hyphen"), "Europe/-x", false),
        (by("batch/validation.go validateTimeZone", "a blank"), "Europe/Ber lin", false),
        (by("batch/validation.go validateTimeZone", "a colon"), "UTC+1:00", false),
        (by("batch/validation.go validateTimeZone", "no ASCII"), "Europe/Bérlin", false),
    ];
    for (source, name, good) in rows {
        assert_eq!(check_zone_name(name).is_ok(), good, "{source}: {name}");
    }
}

/// SplitMix64, so that a failing case can be repeated.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// What the oracle knows of one field, kept apart from the parser.
struct Drawn {
    text: String,
    numbers: BTreeSet<i64>,
    star: bool,
    wild: bool,
}

fn draw(rng: &mut Rng, min: i64, max: i64, near: i64) -> Drawn {
    let pick = |rng: &mut Rng| match rng.below(2) {
        0 => min + rng.below((max - min + 1) as u64) as i64,
        _ => (near + rng.below(3) as i64 - 1).clamp(min, max),
    };
    let span = |low, high, step: i64| (low..=high).step_by(step as usize).collect();
    match rng.below(6) {
        0 | 1 => Drawn { text: "*".into(), numbers: span(min, max, 1), star: true, wild: true },
        2 => {
            let step = 2 + rng.below(5) as i64;
            let numbers = span(min, max, step);
            Drawn { text: format!("*/{step}"), numbers, star: false, wild: true }
        }
        3 => {
            let (a, b) = (pick(rng), pick(rng));
            let (low, high) = (a.min(b), a.max(b));
            let wild = low == min && high == max;
            let numbers = span(low, high, 1);
            Drawn { text: format!("{low}-{high}"), numbers, star: false, wild }
        }
        4 => {
            let (a, b, c) = (pick(rng), pick(rng), pick(rng));
            let numbers = [a, b, c].into();
            Drawn { text: format!("{a},{b},{c}"), numbers, star: false, wild: false }
        }
        _ => {
            let a = pick(rng);
            Drawn { text: a.to_string(), numbers: [a].into(), star: false, wild: false }
        }
    }
}

struct Oracle {
    minute: Drawn,
    hour: Drawn,
    day: Drawn,
    month: Drawn,
    weekday: Drawn,
}

impl Oracle {
    fn matches(&self, reading: jiff::civil::DateTime) -> bool {
        let day = self.day.numbers.contains(&i64::from(reading.day()));
        let weekday = i64::from(reading.weekday().to_sunday_zero_offset());
        let weekday = self.weekday.numbers.contains(&weekday);
        let both = self.day.star || self.weekday.star;
        self.minute.numbers.contains(&i64::from(reading.minute()))
            && self.hour.numbers.contains(&i64::from(reading.hour()))
            && self.month.numbers.contains(&i64::from(reading.month()))
            && if both { day && weekday } else { day || weekday }
    }

    /// Every run in (from, to], found by looking at each minute.
    fn runs(&self, zone: &TimeZone, from: i64, to: i64, rule: ClockChange) -> Vec<i64> {
        let once = rule == ClockChange::Once && !self.minute.wild && !self.hour.wild;
        let minute = jiff::Span::new().minutes(1);
        let read = |at: i64| zone.to_datetime(Timestamp::from_second(at).unwrap());
        // Begins early enough to know which readings are being repeated.
        let mut at = from - 30 * 3600;
        let mut furthest = read(at);
        let mut found = Vec::new();
        while at < to {
            at += 60;
            let reading = read(at);
            let mut due = self.matches(reading);
            if once && reading <= furthest {
                due = false;
            }
            if once {
                let mut skipped = furthest.checked_add(minute).unwrap();
                while skipped < reading {
                    due |= self.matches(skipped);
                    skipped = skipped.checked_add(minute).unwrap();
                }
            }
            furthest = furthest.max(reading);
            if due && at > from {
                found.push(at);
            }
        }
        found
    }
}

/// Every answer of `next` in a window is the oracle's, from its beginning to its end.
#[test]
fn agrees_with_a_walk_through_every_minute() {
    let names = [
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "America/Sao_Paulo",
        "Asia/Kolkata",
        "Africa/Casablanca",
        "Pacific/Apia",
        "UTC",
        "America/St_Johns",
        "Africa/Cairo",
        "Asia/Gaza",
        "Antarctica/Troll",
    ];
    let mut rng = Rng(2026);
    let mut compared = 0;
    for round in 0..300 {
        let zone = zone(names[round % names.len()]);
        let year = 2009 + rng.below(24) as i16;
        let start = jiff::civil::date(year, 1, 1).at(0, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap();
        let start = start.timestamp().as_second();
        // Three of four windows lie around a change of the clock.
        let changes: Vec<i64> = zone::changes(&zone, start)
            .unwrap()
            .take_while(|(at, _)| *at < start + 366 * 86_400)
            .map(|(at, _)| at)
            .collect();
        let center = if changes.is_empty() || rng.below(4) == 0 {
            start + rng.below(365 * 1440) as i64 * 60
        } else {
            changes[rng.below(changes.len() as u64) as usize]
        };
        let from = center - 60 * rng.below(30 * 60) as i64;
        let to = center + 60 * rng.below(40 * 60) as i64;
        let near = zone.to_datetime(Timestamp::from_second(center - 1).unwrap());
        let oracle = Oracle {
            minute: draw(&mut rng, 0, 59, 30),
            hour: draw(&mut rng, 0, 23, i64::from(near.hour())),
            day: draw(&mut rng, 1, 31, i64::from(near.day())),
            month: draw(&mut rng, 1, 12, i64::from(near.month())),
            weekday: draw(&mut rng, 0, 6, i64::from(near.weekday().to_sunday_zero_offset())),
        };
        let parts = [&oracle.minute, &oracle.hour, &oracle.day, &oracle.month, &oracle.weekday];
        let text = parts.map(|part| part.text.as_str()).join(" ");
        let schedule = Schedule::parse(&text).unwrap();
        for rule in [ClockChange::Once, ClockChange::Kubernetes] {
            let want = oracle.runs(&zone, from, to, rule);
            let mut got = Vec::new();
            let mut at = Wall(from * 1_000);
            while let Some(next) = schedule.next(at, &zone, rule, None) {
                assert!(next > at);
                if next.unix_secs() > to {
                    break;
                }
                got.push(next.unix_secs());
                at = next;
            }
            let name = zone.iana_name();
            assert_eq!(got, want, "{text} in {name:?} from {from} to {to}, {rule:?}, {round}");
            let last = schedule.latest(Wall(from * 1_000), Wall(to * 1_000), &zone, rule, None);
            assert_eq!(last.map(Wall::unix_secs), want.last().copied(), "{text}, latest");
            compared += got.len();
        }
    }
    assert!(compared > 7_000, "only {compared} runs compared");
}
