//! Which revision each instance of a statefulset is to have, and when it is replaced for it.
//!
//! Responsible for the update step (Kubernetes `stateful_set_control.go
//! updateStatefulSetAfterInvariantEstablished` in the form of kubernetes/kubernetes #137666) and
//! for the way out of a stuck roll-out, which Kubernetes does not have. Must not create.

use super::super::{Intent, Observed, Phase, SetId};
use super::Sync;
use crate::core::spec::{Amount, StatefulStrategy};
use crate::core::time::Millis;

/// An end within this time counts as part of a crash loop: the time after which Kubernetes takes
/// a restarted program for healthy (twice the longest back-off).
const CRASH_WINDOW: Millis = Millis::from_secs(600);
/// So many restarts make a crash loop: the first may be an accident, and is tried at once.
const CRASH_LOOP: u32 = 2;

impl Sync<'_> {
    /// Indexes below it keep the current revision; it is an index, not an ordinal.
    pub(super) fn partition(&self) -> u32 {
        match self.spec.strategy {
            StatefulStrategy::RollingUpdate { partition, .. } => partition,
            StatefulStrategy::OnDelete => 0,
        }
    }

    /// How many may be unavailable: percentages down, at least 1 (Kubernetes
    /// `stateful_set_utils.go getStatefulSetMaxUnavailable`).
    fn max_unavailable(&self) -> u32 {
        match self.spec.strategy {
            StatefulStrategy::RollingUpdate { max_unavailable, .. } => {
                limit(max_unavailable, self.spec.replicas)
            }
            StatefulStrategy::OnDelete => 1,
        }
    }

    /// The revision with which the instance of this index is made (Kubernetes
    /// `stateful_set_utils.go newVersionedStatefulSetPod`, `isCurrentRevisionNeeded`).
    pub(super) fn target(&self, index: u32) -> SetId {
        match self.state.current {
            Some(current) if index < self.partition() => current,
            Some(_) | None => self.update,
        }
    }

    /// How many in range are not available, holes included.
    fn unavailable(&self) -> u32 {
        let available = self.wanted().filter(|(_, one)| self.is_available(one)).count();
        self.spec.replicas.saturating_sub(u32::try_from(available).unwrap_or(u32::MAX))
    }

    /// Step 5: old ones that are unavailable anyway go, outside the budget; of the available ones
    /// as many as the budget still allows, highest first, down to the partition.
    pub(super) fn update_step(&mut self) {
        if !self.rolls() || self.spec.paused {
            return;
        }
        let partition = self.partition();
        let mut budget = self.max_unavailable().saturating_sub(self.unavailable());
        let mut going = Vec::new();
        for (_, one) in self.wanted().rev().take_while(|(index, _)| *index >= partition) {
            if one.set == self.update || !one.active() {
                continue;
            }
            if !self.is_available(one) {
                if !self.state.seen.late(one) {
                    going.push(one.slot);
                }
            } else if budget > 0 {
                budget -= 1;
                going.push(one.slot);
            }
        }
        for slot in going {
            self.outcome.push(Intent::Delete { slot });
        }
    }

    /// The way out of a stuck roll-out (k8s-semantics section 14): ordered management waits for
    /// this instance, which is not available. If it is of another revision than it is to have, and
    /// broken rather than late, it is replaced at once instead of waited for for ever.
    pub(super) fn replace_stuck(&mut self, index: u32, one: &Observed) {
        if !self.rolls() || self.spec.paused || one.terminating || one.set == self.target(index) {
            return;
        }
        let unproven = self.state.proven != Some(one.set);
        let never_ready = self.state.seen.failed_before_update(one);
        let gave_up = one.phase == Phase::GaveUp;
        if gave_up || unproven || never_ready || self.crash_loops(one) {
            self.outcome.push(Intent::Delete { slot: one.slot });
        }
    }

    /// One of a revision that has shown that it works: a bad moment must not spread the new
    /// revision out of order, so it must keep crashing, and the budget must allow it.
    fn crash_loops(&self, one: &Observed) -> bool {
        let now = self.context.now.mono;
        !one.ready()
            && one.restarts >= CRASH_LOOP
            && one.ended.is_some_and(|at| now.since(at) < CRASH_WINDOW)
            && self.unavailable() <= self.max_unavailable()
    }
}

/// `amount` of `replicas`, rounded down, at least 1.
pub(super) fn limit(amount: Amount, replicas: u32) -> u32 {
    amount.floor_of(replicas).max(1)
}
