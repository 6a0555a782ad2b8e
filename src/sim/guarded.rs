//! The storm guard of a made-up world, and which of its units are vital.
//!
//! Responsible for drawing both, from a generator of its own, so that a world without a guard is the
//! same world whatever is drawn here. Must not judge.

use super::random::Random;
use crate::core::guard::{Hold, StormGuard};
use crate::core::spec::UnitSpec;
use std::sync::Arc;

/// The guard, and how many units are vital.
#[derive(Debug)]
pub(super) struct Guarded {
    random: Random,
    pub(super) guard: StormGuard,
    /// So many of a thousand units are vital.
    vital: u64,
}

impl Guarded {
    pub(super) fn new(seed: u64) -> Guarded {
        let mut random = Random::new(seed ^ 0x0073_746f_726d);
        let usual = StormGuard::default().restarts_per_second;
        let restarts_per_second = random.pick(&[0, usual, 1, 2, 5]);
        let hold = if random.coin() { Hold::All } else { Hold::Waiting };
        let guard = StormGuard { restarts_per_second, hold };
        let vital = if guard.holds().is_some() { random.pick(&[200, 0, 500]) } else { 0 };
        Guarded { random, guard, vital }
    }

    /// Makes a unit vital, or not.
    pub(super) fn give(&mut self, spec: &mut UnitSpec) {
        if self.vital > 0 {
            Arc::make_mut(&mut spec.template).restart.vital = self.random.permille(self.vital);
        }
    }

    /// After an edit: most stay as they are.
    pub(super) fn edit(&mut self, spec: &mut UnitSpec) {
        if self.vital > 0 && self.random.permille(50) {
            self.give(spec);
        }
    }
}
