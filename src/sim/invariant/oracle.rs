//! When a cronjob of a made-up world is due: a walk from minute to minute, with calendar and clock
//! rules of its own.
//!
//! Responsible for being nobody's copy: written apart from `core::schedule`, from Kubernetes
//! semantics, section 7 (grammar, DST) and section 14 (clock changes), for the expressions and
//! zones that made-up units use. An expression that it cannot read is nobody's fault and makes no
//! oracle. All instants are milliseconds since 1970.

use crate::core::spec::{ClockChange, CronJobSpec};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// A walk ends after so many minutes: every expression here comes at least once in two days.
const WALK_MAX: i64 = 3 * 24 * 60;

#[derive(Clone, Debug)]
enum Plan {
    /// Whenever so much time has passed since the anchor's second.
    Every(i64),
    /// Whenever the clock shows one of these.
    Fields {
        minutes: Vec<bool>,
        hours: Vec<bool>,
        /// Hour and minute are named, so each day has a fixed set of runs.
        named: bool,
    },
}

/// The slots of one schedule.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    plan: Plan,
    berlin: bool,
    once: bool,
}

impl Slots {
    /// Reads what a made-up cronjob says.
    pub(super) fn read(spec: &CronJobSpec) -> Option<Slots> {
        let berlin = match spec.time_zone.as_deref() {
            None | Some("UTC") => false,
            Some("Europe/Berlin") => true,
            Some(_) => return None,
        };
        let once = spec.clock_change == ClockChange::Once;
        let text = if spec.schedule == "@hourly" { "0 * * * *" } else { spec.schedule.as_str() };
        let plan = match text.strip_prefix("@every ") {
            Some(period) => {
                let seconds: i64 = period.strip_suffix('s')?.parse().ok()?;
                Plan::Every(seconds.checked_mul(1_000).filter(|period| *period > 0)?)
            }
            None => {
                let mut words = text.split(' ');
                let (minutes, minute_named) = field(words.next()?, 60)?;
                let (hours, hour_named) = field(words.next()?, 24)?;
                if !words.all(|word| word == "*") {
                    return None;
                }
                Plan::Fields { minutes, hours, named: minute_named && hour_named }
            }
        };
        Some(Slots { plan, berlin, once })
    }

    /// It counts from where the last slot was, so it needs to know that.
    pub(super) fn is_anchored(&self) -> bool {
        matches!(self.plan, Plan::Every(_))
    }

    /// The first slot after an instant.
    pub(super) fn first_after(&self, after: i64, anchor: i64) -> Option<i64> {
        match &self.plan {
            Plan::Every(period) => {
                let anchor = anchor.div_euclid(1_000) * 1_000;
                let periods = (after - anchor).div_euclid(*period) + 1;
                Some(anchor + periods * period)
            }
            Plan::Fields { .. } => {
                let first = after.div_euclid(MINUTE) + 1;
                (first..first + WALK_MAX).map(|m| m * MINUTE).find(|at| self.is_slot(*at, anchor))
            }
        }
    }

    /// The last slot after `after` and not after `until`.
    pub(super) fn latest(&self, after: i64, until: i64, anchor: i64) -> Option<i64> {
        match &self.plan {
            Plan::Every(period) => {
                let anchor = anchor.div_euclid(1_000) * 1_000;
                let at = anchor + (until - anchor).div_euclid(*period) * period;
                (at > after).then_some(at)
            }
            Plan::Fields { .. } => {
                let last = until.div_euclid(MINUTE);
                (last - WALK_MAX..=last)
                    .rev()
                    .map(|minute| minute * MINUTE)
                    .take_while(|at| *at > after)
                    .find(|at| self.is_slot(*at, anchor))
            }
        }
    }

    /// Whether it runs at this instant.
    pub(super) fn is_slot(&self, at: i64, anchor: i64) -> bool {
        let (minutes, hours, named) = match &self.plan {
            Plan::Every(period) => {
                return (at - anchor.div_euclid(1_000) * 1_000).rem_euclid(*period) == 0;
            }
            Plan::Fields { minutes, hours, named } => (minutes, hours, *named),
        };
        if at.rem_euclid(MINUTE) != 0 {
            return false;
        }
        let shows = |reading: i64| {
            let minute = usize::try_from(reading.rem_euclid(HOUR) / MINUTE).unwrap_or(0);
            let hour = usize::try_from(reading.rem_euclid(DAY) / HOUR).unwrap_or(0);
            minutes.get(minute).is_some_and(|named| *named)
                && hours.get(hour).is_some_and(|named| *named)
        };
        let reading = self.reading(at);
        if !(self.once && named) {
            // Skipped readings never come, repeated ones come twice.
            return shows(reading);
        }
        // A repeated reading counts the first time, a skipped one when the gap is over.
        let repeated = self.reading(at - HOUR) == reading;
        let before = self.reading(at - MINUTE);
        let mut skipped = (1..(reading - before) / MINUTE).map(|n| before + n * MINUTE);
        (shows(reading) && !repeated) || skipped.any(shows)
    }

    /// What the clock on the wall shows, as the instant at which UTC would show it.
    fn reading(&self, at: i64) -> i64 {
        at + match (self.berlin, self.berlin && is_summer(at)) {
            (false, _) => 0,
            (true, false) => HOUR,
            (true, true) => 2 * HOUR,
        }
    }
}

/// The numbers that a field names, and whether it names them without a wildcard.
fn field(word: &str, size: usize) -> Option<(Vec<bool>, bool)> {
    if word == "*" {
        return Some((vec![true; size], false));
    }
    if let Some(step) = word.strip_prefix("*/") {
        let step: usize = step.parse().ok().filter(|step| *step > 0)?;
        return Some(((0..size).map(|n| n % step == 0).collect(), false));
    }
    let number: usize = word.parse().ok().filter(|number| *number < size)?;
    Some(((0..size).map(|n| n == number).collect(), true))
}

/// Whether Berlin has summer time: from the last Sunday of March to that of October, both at one
/// o'clock UTC.
fn is_summer(at: i64) -> bool {
    let year = year_of(at.div_euclid(DAY));
    let change = |month: i64| last_sunday(year, month) * DAY + HOUR;
    (change(3)..change(10)).contains(&at)
}

/// The day of the last Sunday of a month of 31 days.
fn last_sunday(year: i64, month: i64) -> i64 {
    let last = day_number(year, month, 31);
    // Day 0 was a Thursday.
    last - (last + 4).rem_euclid(7)
}

/// Days since 1970-01-01, by the lengths of the months.
fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let leap = |y: i64| (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    let before = year - 1;
    let leaps = before / 4 - before / 100 + before / 400;
    // Up to 1970 there were 477 leap days.
    let days = (year - 1970) * 365 + leaps - 477;
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let months: i64 = lengths.iter().zip(1..month).map(|(length, _)| *length).sum();
    days + months + day - 1
}

fn year_of(day: i64) -> i64 {
    let guess = 1970 + day / 366;
    (guess..).find(|year| day_number(year + 1, 1, 1) > day).unwrap_or(guess)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known days and known changes of the clock, so that the oracle is not trusted blindly.
    #[test]
    fn calendar_and_clock() {
        let rows = [
            ((1970, 1, 1), 0),
            ((1999, 12, 31), 10_956),
            ((2000, 3, 1), 11_017),
            ((2026, 3, 29), 20_541),
            ((2100, 3, 1), 47_541),
        ];
        for ((year, month, day), number) in rows {
            assert_eq!(day_number(year, month, day), number, "{year}-{month}-{day}");
            assert_eq!(year_of(number), year, "{number}");
        }
        assert_eq!(last_sunday(2026, 3), day_number(2026, 3, 29));
        assert_eq!(last_sunday(2026, 10), day_number(2026, 10, 25));
        let change = day_number(2026, 3, 29) * DAY + HOUR;
        assert!(!is_summer(change - 1) && is_summer(change));
        let change = day_number(2026, 10, 25) * DAY + HOUR;
        assert!(is_summer(change - 1) && !is_summer(change));
    }

    #[test]
    fn a_gap_and_a_fold() {
        let slots = |once| Slots {
            plan: Plan::Fields {
                minutes: field("30", 60).map(|f| f.0).unwrap_or_default(),
                hours: field("2", 24).map(|f| f.0).unwrap_or_default(),
                named: true,
            },
            berlin: true,
            once,
        };
        let (gap, fold) = (day_number(2026, 3, 29) * DAY, day_number(2026, 10, 25) * DAY);
        // In the gap: at its end, or not that day.
        assert_eq!(slots(true).first_after(gap, 0), Some(gap + HOUR));
        assert_eq!(slots(false).first_after(gap, 0), Some(gap + DAY + 30 * MINUTE));
        // In the fold: the first time, or both times.
        let first = fold + 30 * MINUTE;
        assert_eq!(slots(true).first_after(fold, 0), Some(first));
        assert_eq!(slots(true).first_after(first, 0), Some(first + DAY + HOUR));
        assert_eq!(slots(false).first_after(first, 0), Some(first + HOUR));
    }
}
