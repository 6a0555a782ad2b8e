//! The machine's time zone database, for the core's schedules.

use crate::core::schedule::Zones;
use jiff::tz::TimeZone;

/// Zones from the system's files. jiff keeps what it has read and looks again after five minutes,
/// so an update of the database is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemZones;

impl Zones for SystemZones {
    fn zone(&self, name: Option<&str>) -> Option<TimeZone> {
        match name {
            Some(name) => TimeZone::get(name).ok(),
            None => TimeZone::try_system().ok().or(Some(TimeZone::UTC)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_come_by_name_and_the_machine_has_one() {
        assert!(SystemZones.zone(None).is_some());
        assert!(SystemZones.zone(Some("Europe/Berlin")).is_some());
        assert!(SystemZones.zone(Some("Atlantis/Capital")).is_none());
    }
}
