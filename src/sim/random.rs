//! A small generator of numbers, so that a seed repeats a run on every machine.
//!
//! Responsible for numbers that look random and are not. Must not ask the machine for any.

/// splitmix64 (S. Vigna, public domain): good enough to choose what happens in a made-up world.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Every seed gives another sequence.
    pub fn new(seed: u64) -> Random {
        Random(seed ^ 0x5157_5542_7375_7077)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if there is none.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.draw() % bound }
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// A small count from `low` to `high`, both included.
    pub fn count(&mut self, low: u32, high: u32) -> u32 {
        u32::try_from(self.between(u64::from(low), u64::from(high))).unwrap_or(high)
    }

    /// True in so many of a thousand cases.
    pub fn permille(&mut self, chance: u64) -> bool {
        self.below(1_000) < chance
    }

    /// True in every second case.
    pub fn coin(&mut self) -> bool {
        self.draw() & 1 == 1
    }

    /// One of these; the first if there is only one, the default if there is none.
    pub fn pick<T: Copy + Default>(&mut self, from: &[T]) -> T {
        let at = usize::try_from(self.below(from.len() as u64)).unwrap_or(0);
        from.get(at).copied().unwrap_or_default()
    }

    /// The index of one of `weights`, in proportion to them.
    pub fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (at, weight) in weights.iter().enumerate() {
            if left < *weight {
                return at;
            }
            left -= weight;
        }
        0
    }

    /// A span that is mostly short and sometimes long, at most `max`.
    pub fn span(&mut self, max: u64) -> u64 {
        let bound = max >> self.below(10);
        self.between(0, bound)
    }
}
