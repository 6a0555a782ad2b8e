//! The only reader of clocks.
//!
//! Responsible for turning the kernel's clocks into the core's integers. Must not decide anything
//! by them.

use crate::core::time::{Mono, Now, Wall};
use nix::time::{ClockId, clock_gettime};

/// Reads one clock in milliseconds. These clocks exist on every Linux that wsup runs on
/// (clock_gettime(2): CLOCK_BOOTTIME since 2.6.39), so a failure cannot happen; it reads as 0.
fn millis(clock: ClockId) -> i64 {
    clock_gettime(clock).map_or(0, |t| t.tv_sec().saturating_mul(1_000) + t.tv_nsec() / 1_000_000)
}

/// Milliseconds since boot, the time asleep included.
pub fn mono() -> Mono {
    Mono(u64::try_from(millis(ClockId::CLOCK_BOOTTIME)).unwrap_or(0))
}

/// Milliseconds since the Unix epoch.
pub fn wall() -> Wall {
    Wall(millis(ClockId::CLOCK_REALTIME))
}

/// Both clocks.
pub fn now() -> Now {
    Now { mono: mono(), wall: wall() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_move_forward() {
        let first = now();
        assert!(first.mono > Mono(0) && first.wall > Wall(1_700_000_000_000));
        assert!(now().mono >= first.mono);
    }
}
