//! Cron expressions and the clocks they are read by.
//!
//! Responsible for when a schedule runs: the five fields and descriptors of `robfig/cron` v3
//! (`parser.go`, `spec.go`, `constantdelay.go`), read in a time zone, with a rule for the days on
//! which clocks change. Must not know what runs then, and must not read the zone database: zones
//! are handed in as values.
//!
//! The calendar search is the `cron` crate's, used only on UTC values that stand for wall-clock
//! readings: it wants seconds, counts weekdays from 1, joins the two day fields by "and" and goes
//! back in time when clocks do, so all of that is decided here.

mod parse;
#[cfg(test)]
mod tests;
mod zone;

pub use parse::ScheduleError;

use super::spec::ClockChange;
use super::time::{Millis, Wall};
use chrono::{DateTime, Datelike, Utc};
use jiff::tz::TimeZone;
use parse::{Field, Parsed};
use std::fmt::Write;
use std::str::FromStr;

/// A search ends after so many following calendar years (`robfig/cron` `spec.go`, `yearLimit`).
pub const SEARCH_YEARS: i32 = 5;
/// The last year in which anything runs: the `cron` crate knows no later one.
pub const LAST_YEAR: i32 = 2100;
/// A search looks at most at so many clock changes or repeated hours. Zones have a few a year, and
/// a search spans six years; the bound only makes the end of the loop plain to see.
const CHANGES_MAX: usize = 1_000;
/// The longest a component of a zone's name may be (`pkg/apis/batch/validation/validation.go`
/// `validTimeZoneCharacters`).
const ZONE_COMPONENT_MAX: usize = 14;

/// Where zones come from: reading the zone database is I/O, so the core is handed the values.
pub trait Zones {
    /// The zone of this IANA name; `None` name: the machine's. `None`: unknown.
    fn zone(&self, name: Option<&str>) -> Option<TimeZone>;
}

/// When something runs.
#[derive(Clone, Debug)]
pub struct Schedule {
    source: String,
    plan: Plan,
    warnings: Vec<String>,
}

#[derive(Clone, Debug)]
enum Plan {
    /// Whenever so much time has passed.
    Every(Millis),
    /// Whenever the wall clock shows one of these.
    Calendar {
        /// Each reads seconds, minutes, hours, days, months, weekdays; any of them may match.
        any_of: Vec<cron::Schedule>,
        /// Minute and hour are named, so a day has a fixed set of runs.
        fixed: bool,
    },
}

impl Schedule {
    /// Reads an expression.
    ///
    /// # Errors
    /// The first thing in the text that breaks the grammar, with its place.
    pub fn parse(text: &str) -> Result<Schedule, ScheduleError> {
        let parsed = parse::parse(text)?;
        let warnings = warnings(&parsed);
        let plan = match parsed {
            Parsed::Every(period) => Plan::Every(period),
            Parsed::Fields { minute, hour, day, month, weekday } => {
                let fixed = !minute.wild && !hour.wild;
                let all = Field { bits: u64::MAX, ..day };
                // robfig `spec.go` `dayMatches`: with a star in either field both must match,
                // otherwise either may.
                let pairs = if day.star || weekday.star {
                    vec![(day, weekday)]
                } else {
                    vec![(day, all), (all, weekday)]
                };
                let any_of = pairs
                    .into_iter()
                    .map(|(day, weekday)| calendar(minute, hour, day, month, weekday))
                    .collect::<Result<_, _>>()
                    .map_err(|message| ScheduleError {
                        message,
                        help: None,
                        offset: 0,
                        len: text.len(),
                    })?;
                Plan::Calendar { any_of, fixed }
            }
        };
        Ok(Schedule { source: text.to_owned(), plan, warnings })
    }

    /// The text as it was given.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What a reader used to crontab may not expect of this schedule; empty for most.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The period of `@every`; `None` for any other schedule.
    pub fn period(&self) -> Option<Millis> {
        match self.plan {
            Plan::Every(period) => Some(period),
            Plan::Calendar { .. } => None,
        }
    }

    /// The first run strictly after an instant, on a whole second. `None`: there is none up to the
    /// end of the fifth following calendar year, or of [`LAST_YEAR`].
    ///
    /// `@every` counts whole periods from `anchor` (Kubernetes' own way of counting from the last
    /// look shifts the grid; see `pkg/controller/cronjob/utils_test.go`), or from `after` without
    /// one; other schedules ignore it.
    pub fn next(
        &self,
        after: Wall,
        zone: &TimeZone,
        rule: ClockChange,
        anchor: Option<Wall>,
    ) -> Option<Wall> {
        match &self.plan {
            Plan::Every(period) => next_every(*period, after, anchor.unwrap_or(after)),
            Plan::Calendar { any_of, fixed } => {
                let search = Search::new(any_of, zone, after.unix_secs())?;
                let secs = match rule {
                    ClockChange::Once if *fixed => search.once(),
                    ClockChange::Once | ClockChange::Kubernetes => search.elapsed(),
                }?;
                secs.checked_mul(1_000).map(Wall)
            }
        }
    }

    /// The last run after `after` and not after `until`.
    pub fn latest(
        &self,
        after: Wall,
        until: Wall,
        zone: &TimeZone,
        rule: ClockChange,
        anchor: Option<Wall>,
    ) -> Option<Wall> {
        let anchor = Some(anchor.unwrap_or(after));
        let next = |from: Wall| self.next(from, zone, rule, anchor).filter(|at| *at <= until);
        // Bisection: there always is a run after `early`, and never one after `late`.
        let mut best = next(after)?;
        let (mut early, mut late) = (Wall(best.0 - 1), until);
        while late.since(early) > Millis(1) {
            let middle = Wall(early.0 + (late.0 - early.0) / 2);
            match next(middle) {
                Some(at) => {
                    best = at;
                    early = Wall(at.0 - 1);
                }
                None => late = middle,
            }
        }
        Some(best)
    }
}

/// The first instant after `after` that is a whole number of periods from the anchor's second.
fn next_every(period: Millis, after: Wall, anchor: Wall) -> Option<Wall> {
    let period = i64::try_from(period.0).ok().filter(|p| *p > 0)?;
    let anchor = anchor.unix_secs().checked_mul(1_000)?;
    let periods = after.0.checked_sub(anchor)?.div_euclid(period).checked_add(1)?;
    anchor.checked_add(periods.checked_mul(period)?).map(Wall)
}

/// Prints the sets in the `cron` crate's own notation and has it read them.
fn calendar(
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
) -> Result<cron::Schedule, String> {
    let mut text = String::from("0");
    // The crate counts weekdays from 1 = Sunday.
    let fields = [(minute, 0, 59, 0), (hour, 0, 23, 0), (day, 1, 31, 0), (month, 1, 12, 0)];
    for (field, min, max, shift) in fields.into_iter().chain([(weekday, 0, 6, 1)]) {
        let numbers: Vec<u32> = (min..=max).filter(|n| field.bits & (1 << n) != 0).collect();
        if numbers.len() as u32 == max - min + 1 {
            text.push_str(" *");
            continue;
        }
        for (at, number) in numbers.into_iter().enumerate() {
            let separator = if at == 0 { ' ' } else { ',' };
            // Writing to a String cannot fail.
            let _ = write!(text, "{separator}{}", number + shift);
        }
    }
    cron::Schedule::from_str(&text).map_err(|error| error.to_string())
}

/// What is legal but not what a reader may expect.
fn warnings(parsed: &Parsed) -> Vec<String> {
    let Parsed::Fields { minute, hour, day, month, weekday } = parsed else {
        return Vec::new();
    };
    let mut warnings: Vec<String> = days_otherwise(day, weekday).into_iter().collect();
    if [minute, hour, day, month, weekday].iter().any(|field| field.bare_step) {
        warnings.push(
            "a step after a single number goes on to the end of the range, as in Kubernetes; \
             crontab has steps only after `*` or a range"
                .to_owned(),
        );
    }
    for (field, name) in
        [(minute, "minute"), (hour, "hour"), (day, "day of month"), (month, "month")]
    {
        if field.idle_step {
            warnings.push(format!("a step of the {name} is too great to have any effect"));
        }
    }
    if weekday.idle_step {
        warnings.push("a step of the day of week is too great to have any effect".to_owned());
    }
    if never(day, month, weekday) {
        warnings.push("never runs: none of its months has such a day".to_owned());
    }
    warnings
}

/// Whether crontab would run on other days. Both take two restricted day fields as "either", and
/// any with a star as "both"; they differ in what has a star.
fn days_otherwise(day: &Field, weekday: &Field) -> Option<String> {
    if (day.all && weekday.all) || day.question || weekday.question {
        return None;
    }
    match (day.star || weekday.star, day.star_first || weekday.star_first) {
        (false, true) => Some(
            "runs when either day field matches, as in Kubernetes; crontab takes `*/n` for a star \
             and runs only when both match"
                .to_owned(),
        ),
        (true, false) => Some(
            "runs only when both day fields match, as in Kubernetes; crontab sees a star only at \
             the beginning of a field and runs when either matches"
                .to_owned(),
        ),
        (true, true) | (false, false) => None,
    }
}

/// No day of the calendar can match: weekdays do not help, and every month is too short.
fn never(day: &Field, month: &Field, weekday: &Field) -> bool {
    const DAYS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let both_needed = day.star || weekday.star;
    let first = day.bits.trailing_zeros();
    let longest = (1_u32..)
        .zip(DAYS)
        .filter(|(n, _)| month.bits & (1 << n) != 0)
        .map(|(_, days)| days)
        .max()
        .unwrap_or(0);
    both_needed && first > longest
}

/// One search for the next run of a calendar schedule. All values are whole seconds: instants
/// since the epoch, and wall-clock readings as the instants at which UTC would show them.
struct Search<'a> {
    any_of: &'a [cron::Schedule],
    zone: &'a TimeZone,
    after: i64,
    last_year: i32,
}

impl<'a> Search<'a> {
    fn new(any_of: &'a [cron::Schedule], zone: &'a TimeZone, after: i64) -> Option<Self> {
        let reading = after.checked_add(zone::offset(zone, after)?)?;
        let year = DateTime::<Utc>::from_timestamp(reading, 0)?.year();
        Some(Search { any_of, zone, after, last_year: (year + SEARCH_YEARS).min(LAST_YEAR) })
    }

    /// The first wall-clock reading after this one that the schedule names.
    fn reading_after(&self, reading: i64) -> Option<i64> {
        let from = DateTime::<Utc>::from_timestamp(reading, 0)?;
        self.any_of
            .iter()
            .filter_map(|schedule| schedule.after(&from).next())
            .filter(|found| found.year() <= self.last_year)
            .map(|found| found.timestamp())
            .filter(|found| *found > reading)
            .min()
    }

    /// Every instant at which the clock shows a named reading: skipped readings never come,
    /// repeated ones come twice. Goes from one change of the clock to the next, so a reading that
    /// a zone left out (Apia, 30 December 2011) is passed over like any other.
    fn elapsed(&self) -> Option<i64> {
        let (mut from, mut offset) = (self.after, zone::offset(self.zone, self.after)?);
        let mut changes = zone::changes(self.zone, self.after)?;
        for _ in 0..CHANGES_MAX {
            let at = self.reading_after(from.checked_add(offset)?)? - offset;
            match changes.next() {
                Some((change, after)) if change <= at => (from, offset) = (change - 1, after),
                Some(_) | None => return Some(at),
            }
        }
        None
    }

    /// Each named reading once: a skipped one at the first instant after the gap, a repeated one
    /// the first time.
    fn once(&self) -> Option<i64> {
        let mut from = self.after.checked_add(zone::offset(self.zone, self.after)?)?;
        for _ in 0..CHANGES_MAX {
            let reading = self.reading_after(from)?;
            let first = zone::first_instant(self.zone, reading)?;
            if first.at > self.after {
                return Some(first.at);
            }
            // The clock shows a repeated hour; what it names ran the first time.
            from = reading.max(first.repeated_until - 1);
        }
        None
    }
}

/// Checks the form of an IANA zone name as Kubernetes does; whether the zone exists is a question
/// to the machine.
///
/// # Errors
/// The reason, for people.
pub fn check_zone_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("a time zone may not be empty".to_owned());
    }
    if name.eq_ignore_ascii_case("local") {
        return Err("`Local` is not a time zone; leave it out for the machine's own".to_owned());
    }
    for part in name.split('/') {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-');
        let plain = !part.is_empty() && part.chars().all(legal);
        if !plain || part.starts_with('-') || part == "." || part == ".." {
            return Err(format!("`{name}` is not a time zone's name, such as Europe/Berlin"));
        }
        if part.len() > ZONE_COMPONENT_MAX {
            return Err(format!("`{part}` is too long for a part of a time zone's name"));
        }
    }
    Ok(())
}
