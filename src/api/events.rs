//! The last events, for `ctl events` and `describe`.
//!
//! Responsible for a bounded memory of reports and for waking those who follow it. Must not
//! format anything. Followers read from the ring by number, so a slow one loses nothing as long
//! as it stays within the ring, and is told how much it lost when it does not.

use crate::core::report::Report;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// How many events are remembered: some hours of an eventful machine, about 3 MiB at most.
pub const EVENTS_MAX: usize = 10_000;

/// A bounded memory of reports. Cheap to clone; all clones are one log.
#[derive(Clone, Debug)]
pub struct EventLog {
    ring: Arc<Mutex<Ring>>,
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Ring {
    /// The number of the first report in `reports`.
    first: u64,
    reports: VecDeque<Arc<Report>>,
    capacity: usize,
}

/// Where a follower has got to.
#[derive(Debug)]
pub struct Follower {
    log: EventLog,
    /// The number to read next; `None` before the first batch.
    next: Option<u64>,
    newest: watch::Receiver<u64>,
}

/// What a follower reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// How many events were overwritten before they could be read.
    pub lost: u64,
    /// The events, oldest first.
    pub reports: Vec<Arc<Report>>,
}

impl Default for EventLog {
    fn default() -> Self {
        EventLog::new(EVENTS_MAX)
    }
}

impl EventLog {
    /// An empty log that remembers this many events; at least one.
    pub fn new(capacity: usize) -> EventLog {
        let ring = Ring { first: 0, reports: VecDeque::new(), capacity: capacity.max(1) };
        EventLog { ring: Arc::new(Mutex::new(ring)), newest: watch::Sender::new(0) }
    }

    /// Remembers an event and wakes all followers.
    pub fn push(&self, report: Report) {
        let end = {
            let mut ring = self.lock();
            if ring.reports.len() >= ring.capacity {
                ring.reports.pop_front();
                ring.first += 1;
            }
            ring.reports.push_back(Arc::new(report));
            ring.first + ring.reports.len() as u64
        };
        self.newest.send_replace(end);
    }

    /// All remembered events, oldest first.
    pub fn all(&self) -> Vec<Arc<Report>> {
        self.lock().reports.iter().cloned().collect()
    }

    /// Follows the log: the first batch holds all that is remembered.
    pub fn follow(&self) -> Follower {
        Follower { log: self.clone(), next: None, newest: self.newest.subscribe() }
    }

    /// The lock is held only for a few copies, none of which can panic halfway.
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    /// What came since the last batch, without waiting.
    pub fn take(&mut self) -> Batch {
        self.newest.mark_unchanged();
        let ring = self.log.lock();
        let from = self.next.unwrap_or(ring.first);
        let lost = ring.first.saturating_sub(from);
        let skip = usize::try_from(from.saturating_sub(ring.first)).unwrap_or(usize::MAX);
        let reports: Vec<_> = ring.reports.iter().skip(skip).cloned().collect();
        self.next = Some(ring.first + ring.reports.len() as u64);
        Batch { lost, reports }
    }

    /// Waits until there is something new. Returns at once if there already is.
    pub async fn changed(&mut self) {
        // The sender lives in `self.log`, so the channel cannot be closed.
        let _ = self.newest.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::report::{Reason, Severity};
    use crate::core::time::Wall;
    use std::collections::BTreeMap;

    fn report(n: i64) -> Report {
        Report {
            time: Wall(n),
            severity: Severity::Normal,
            reason: Reason::UnitApplied,
            unit: None,
            instance: None,
            message: String::new(),
            fields: BTreeMap::new(),
        }
    }

    fn times(batch: &Batch) -> Vec<i64> {
        batch.reports.iter().map(|r| r.time.0).collect()
    }

    #[test]
    fn a_follower_reads_each_event_once() {
        let log = EventLog::new(10);
        log.push(report(1));
        let mut follower = log.follow();
        log.push(report(2));
        assert_eq!(times(&follower.take()), [1, 2]);
        assert_eq!(follower.take(), Batch::default());
        log.push(report(3));
        assert_eq!(times(&follower.take()), [3]);
    }

    #[test]
    fn a_follower_that_is_too_slow_is_told_what_it_lost() {
        let log = EventLog::new(2);
        log.push(report(0));
        let mut follower = log.follow();
        follower.take();
        for n in 1..=5 {
            log.push(report(n));
        }
        let batch = follower.take();
        assert_eq!((batch.lost, times(&batch)), (3, vec![4, 5]));
        assert_eq!(log.all().len(), 2);
    }

    #[tokio::test]
    async fn a_waiting_follower_is_woken() {
        let log = EventLog::new(2);
        let mut follower = log.follow();
        follower.take();
        let (_, ()) = tokio::join!(follower.changed(), async { log.push(report(7)) });
        assert_eq!(times(&follower.take()), [7]);
    }
}
