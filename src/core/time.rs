//! Integer time for the core: clock readings are inputs, never taken here.
//!
//! Responsible for the three time types and their saturating arithmetic. Must not read a clock.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A span of time in whole milliseconds. Arithmetic saturates, so no sum of user input can wrap.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// No time at all.
    pub const ZERO: Millis = Millis(0);
    /// The longest span; stands for "never" where a limit is optional in Kubernetes' own encoding.
    pub const MAX: Millis = Millis(u64::MAX);

    /// A span of whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Millis(secs.saturating_mul(1_000))
    }

    /// Whole seconds, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000
    }

    /// Whether the span is empty.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// `self * factor`, where `factor_milli` is a factor in thousandths (2000 = twice).
    pub const fn scaled(self, factor_milli: u32) -> Self {
        let product = (self.0 as u128).saturating_mul(factor_milli as u128) / 1_000;
        if product > u64::MAX as u128 { Millis::MAX } else { Millis(product as u64) }
    }

    /// The sum, at most [`Millis::MAX`].
    pub const fn saturating_add(self, other: Millis) -> Self {
        Millis(self.0.saturating_add(other.0))
    }

    /// The difference, at least zero.
    pub const fn saturating_sub(self, other: Millis) -> Self {
        Millis(self.0.saturating_sub(other.0))
    }
}

/// Prints the span as a person writes it in a unit file: `1h30m`, `250ms`, `0s`.
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, size) in
            [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)]
        {
            if rest >= size {
                write!(f, "{}{unit}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

/// A reading of a clock that never goes back and counts while the machine sleeps
/// (`CLOCK_BOOTTIME`), in milliseconds since boot.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Mono(pub u64);

impl Mono {
    /// The instant `span` later.
    pub const fn plus(self, span: Millis) -> Mono {
        Mono(self.0.saturating_add(span.0))
    }

    /// The instant `span` earlier, at least the origin.
    pub const fn minus(self, span: Millis) -> Mono {
        Mono(self.0.saturating_sub(span.0))
    }

    /// How long ago `earlier` was; zero if it is still to come.
    pub const fn since(self, earlier: Mono) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

/// A reading of the wall clock (`CLOCK_REALTIME`), in milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Wall(pub i64);

impl Wall {
    /// The instant `span` later.
    pub const fn plus(self, span: Millis) -> Wall {
        let span = if span.0 > i64::MAX as u64 { i64::MAX } else { span.0 as i64 };
        Wall(self.0.saturating_add(span))
    }

    /// The instant `span` earlier.
    pub const fn minus(self, span: Millis) -> Wall {
        let span = if span.0 > i64::MAX as u64 { i64::MAX } else { span.0 as i64 };
        Wall(self.0.saturating_sub(span))
    }

    /// How long ago `earlier` was; zero if it is still to come.
    pub const fn since(self, earlier: Wall) -> Millis {
        let span = self.0.saturating_sub(earlier.0);
        Millis(if span < 0 { 0 } else { span as u64 })
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn unix_secs(self) -> i64 {
        self.0.div_euclid(1_000)
    }
}

/// Both clocks, read together by whoever drives the core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// The clock that durations are measured by.
    pub mono: Mono,
    /// The clock that people and schedules read.
    pub wall: Wall,
}

impl Now {
    /// Both clocks `span` later.
    pub const fn plus(self, span: Millis) -> Now {
        Now { mono: self.mono.plus(span), wall: self.wall.plus(span) }
    }

    /// The monotonic instant at which the wall clock will show `wall`, if it is not stepped
    /// before: the shell reports steps as [`crate::core::event::Event::ClockStepped`].
    pub const fn mono_at(self, wall: Wall) -> Mono {
        self.mono.plus(wall.since(self.wall))
    }
}
