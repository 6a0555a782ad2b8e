//! Instants and wall-clock readings of a zone, as whole seconds.
//!
//! Responsible for the arithmetic around changes of the clock. A "reading" is what the wall clock
//! shows, written as the instant at which UTC would show the same. Must not know schedules.

use jiff::Timestamp;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

/// Seconds that the zone is ahead of UTC at an instant; `None` outside the years 1 to 9999.
pub(super) fn offset(zone: &TimeZone, at: i64) -> Option<i64> {
    Some(i64::from(zone.to_offset(Timestamp::from_second(at).ok()?).seconds()))
}

/// The changes of the zone's offset after an instant: when, and to what.
pub(super) fn changes(zone: &TimeZone, after: i64) -> Option<impl Iterator<Item = (i64, i64)>> {
    let after = Timestamp::from_second(after).ok()?;
    Some(
        zone.following(after)
            .map(|change| (change.timestamp().as_second(), i64::from(change.offset().seconds()))),
    )
}

/// When a reading is first reached or passed.
pub(super) struct First {
    /// The instant.
    pub(super) at: i64,
    /// The clock is put back after it: the first reading that is not shown twice. Otherwise the
    /// reading itself.
    pub(super) repeated_until: i64,
}

/// The first instant at which the clock shows this reading or, if it skips it, a later one.
pub(super) fn first_instant(zone: &TimeZone, reading: i64) -> Option<First> {
    let civil = Offset::UTC.to_datetime(Timestamp::from_second(reading).ok()?);
    let seconds = |offset: Offset| i64::from(offset.seconds());
    match zone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } => {
            Some(First { at: reading - seconds(offset), repeated_until: reading })
        }
        AmbiguousOffset::Gap { before, after } => {
            let (before, after) = (seconds(before), seconds(after));
            let at = change_to(zone, reading - after, after).unwrap_or(reading - before);
            Some(First { at, repeated_until: reading })
        }
        AmbiguousOffset::Fold { before, after } => {
            let (before, after) = (seconds(before), seconds(after));
            let change = change_to(zone, reading - before, after)?;
            Some(First { at: reading - before, repeated_until: change + before })
        }
    }
}

/// The first change to this offset after an instant.
fn change_to(zone: &TimeZone, from: i64, offset: i64) -> Option<i64> {
    // Changes of a zone's abbreviation alone are changes too; a handful of them at most stands
    // between a reading and the change that made it ambiguous.
    changes(zone, from)?.take(8).find(|(_, to)| *to == offset).map(|(at, _)| at)
}
