//! Cron expressions and the clocks they are read by.

use jiff::tz::TimeZone;

/// Where zones come from: reading the zone database is I/O, so the core is handed the values.
pub trait Zones {
    /// The zone of this IANA name; `None` name: the machine's. `None`: unknown.
    fn zone(&self, name: Option<&str>) -> Option<TimeZone>;
}
