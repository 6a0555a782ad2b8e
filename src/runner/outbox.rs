//! Events that no daemon has acknowledged yet.
//!
//! Responsible for numbering, keeping and repeating them. Pure. Must not touch the socket.

use super::protocol::{Notice, Outcome};
use std::collections::VecDeque;

/// Numbered events, oldest first. Their number is bounded by the number of starts (at most two
/// each), which the daemon bounds.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    kept: VecDeque<Outcome>,
    /// The number of the last event that was acknowledged.
    acked: u64,
    /// How many of the kept ones have been given to the present connection.
    given: usize,
}

impl Outbox {
    /// Adds an event.
    pub(super) fn push(&mut self, outcome: Outcome) {
        self.kept.push_back(outcome);
    }

    /// The next event for the present connection.
    pub(super) fn next(&mut self) -> Option<Notice> {
        let outcome = self.kept.get(self.given)?.clone();
        self.given += 1;
        Some(Notice::Event { seq: self.acked.saturating_add(self.given as u64), outcome })
    }

    /// A new connection: everything is to be given again. Tells how many that are.
    pub(super) fn rewind(&mut self) -> u64 {
        self.given = 0;
        self.kept.len() as u64
    }

    /// Lets go of everything up to this number, and hands it back. An acknowledgement of what was
    /// not given is cut short, an old one has no effect.
    pub(super) fn ack(&mut self, upto: u64) -> Vec<Outcome> {
        let count = upto.saturating_sub(self.acked);
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.given);
        self.given -= count;
        self.acked += count as u64;
        self.kept.drain(..count).collect()
    }

    /// Whether the present connection was given everything.
    pub(super) fn is_given(&self) -> bool {
        self.given == self.kept.len()
    }

    /// Whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::InstanceId;

    fn spawned(slot: u64) -> Outcome {
        Outcome::Spawned { id: InstanceId { slot, generation: 1 }, pid: 1 }
    }

    fn seqs(outbox: &mut Outbox) -> Vec<u64> {
        let mut all = Vec::new();
        while let Some(Notice::Event { seq, .. }) = outbox.next() {
            all.push(seq);
        }
        all
    }

    #[test]
    fn events_are_kept_until_acknowledged() {
        let mut outbox = Outbox::default();
        outbox.push(spawned(1));
        outbox.push(spawned(2));
        assert_eq!(outbox.ack(9), [], "nothing was given yet");
        assert_eq!(seqs(&mut outbox), [1, 2]);
        assert_eq!(outbox.ack(1), [spawned(1)]);
        assert_eq!(outbox.ack(1), [], "an old acknowledgement");
        outbox.push(spawned(3));
        assert_eq!(seqs(&mut outbox), [3]);
        assert_eq!(outbox.rewind(), 2);
        assert_eq!(seqs(&mut outbox), [2, 3], "a new connection gets all again");
        assert_eq!(outbox.ack(u64::MAX), [spawned(2), spawned(3)]);
        assert!(outbox.is_empty());
        outbox.push(spawned(4));
        assert_eq!(seqs(&mut outbox), [4]);
    }
}
