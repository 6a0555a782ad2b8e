//! How a daemonset moves to a new template.
//!
//! Responsible for the update step (Kubernetes `pkg/controller/daemon/update.go rollingUpdate`).
//! Must not create on empty nodes: that is `manage`'s.

use super::super::{Intent, Observed, SetId};
use super::{DaemonStrategy, Sync};

/// What is on a node, not counting what goes (Kubernetes `update.go findUpdatedPodsOnNode`).
enum OnNode<'a> {
    /// Nothing.
    Empty,
    /// One of the newest revision.
    New(&'a Observed),
    /// One of another.
    Old(&'a Observed),
    /// One of each.
    Both { old: &'a Observed, new: &'a Observed },
    /// More: `manage` will clear up.
    Crowded,
}

fn on_node<'a>(there: &[&'a Observed], update: SetId) -> OnNode<'a> {
    let mut here = there.iter().copied().filter(|one| !one.terminating);
    match (here.next(), here.next(), here.next()) {
        (None, ..) => OnNode::Empty,
        (Some(one), None, _) if one.set == update => OnNode::New(one),
        (Some(one), None, _) => OnNode::Old(one),
        (Some(a), Some(b), None) => match (a.set == update, b.set == update) {
            (true, false) => OnNode::Both { old: b, new: a },
            (false, true) => OnNode::Both { old: a, new: b },
            (true, true) | (false, false) => OnNode::Crowded,
        },
        (Some(_), Some(_), Some(_)) => OnNode::Crowded,
    }
}

impl Sync<'_> {
    /// How many nodes may have a second instance, and on how many none need be available
    /// (Kubernetes `update.go updatedDesiredNodeCounts`). Both percentages round up.
    pub(super) fn limits(&self) -> (u32, u32) {
        let nodes = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        match self.spec.strategy {
            DaemonStrategy::OnDelete => (0, 0),
            DaemonStrategy::RollingUpdate { max_surge, max_unavailable } => {
                match (max_surge.ceil_of(nodes), max_unavailable.ceil_of(nodes)) {
                    (0, 0) if nodes > 0 => (0, 1),
                    resolved => resolved,
                }
            }
        }
    }

    /// Whether two may be on one node (Kubernetes `daemonset_util.go AllowsSurge`).
    pub(super) fn allows_surge(&self) -> bool {
        match self.spec.strategy {
            DaemonStrategy::OnDelete => false,
            DaemonStrategy::RollingUpdate { max_surge, .. } => !max_surge.is_zero(),
        }
    }

    pub(super) fn update_step(&mut self) {
        if self.spec.paused || self.spec.strategy == DaemonStrategy::OnDelete {
            return;
        }
        let (surge, unavailable) = self.limits();
        if surge == 0 { self.replace(unavailable) } else { self.surge(surge) }
    }

    /// Old ones that are not available go at once, outside the budget; of the others as many as
    /// the budget allows.
    fn replace(&mut self, max_unavailable: u32) {
        let mut unavailable: u32 = 0;
        let mut going = Vec::new();
        let mut candidates = Vec::new();
        for there in self.nodes.values() {
            match on_node(there, self.update) {
                OnNode::Empty | OnNode::Both { .. } | OnNode::Crowded => unavailable += 1,
                OnNode::New(new) => unavailable += u32::from(!self.is_available(new)),
                OnNode::Old(old) if self.is_available(old) => candidates.push(old.slot),
                OnNode::Old(old) if self.state.seen.late(old) => unavailable += 1,
                OnNode::Old(old) => going.push(old.slot),
            }
        }
        let left = max_unavailable.saturating_sub(unavailable) as usize;
        going.extend(candidates.into_iter().take(left));
        for slot in going {
            self.outcome.push(Intent::Delete { slot });
        }
    }

    /// A second one comes to a node whose old one is not available, outside the budget; to as
    /// many others as the budget allows. Where the new one is available the old one goes.
    fn surge(&mut self, max_surge: u32) {
        let mut waiting: u32 = 0;
        let mut going = Vec::new();
        let mut allowed = Vec::new();
        let mut candidates = Vec::new();
        for (node, there) in &self.nodes {
            match on_node(there, self.update) {
                OnNode::Crowded => waiting += 1,
                OnNode::Empty | OnNode::New(_) => {}
                OnNode::Old(old) if self.is_available(old) => candidates.push(*node),
                OnNode::Old(old) if self.state.seen.late(old) => waiting += 1,
                OnNode::Old(_) => allowed.push(*node),
                OnNode::Both { old, new } if self.is_available(new) => going.push(old.slot),
                OnNode::Both { .. } => waiting += 1,
            }
        }
        let left = max_surge.saturating_sub(waiting) as usize;
        allowed.extend(candidates.into_iter().take(left));
        for slot in going {
            self.outcome.push(Intent::Delete { slot });
        }
        for node in allowed {
            self.create(node, self.update);
        }
    }
}
