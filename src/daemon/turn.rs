//! What one turn of the loop owes to others: answers and acknowledgements.

use super::runner::RunnerNumber;
use crate::api::door::Reader;
use crate::core::Core;
use std::collections::BTreeMap;
use std::fmt;

/// Collected while events are taken, paid when what they changed is stored.
#[derive(Default)]
pub struct Turn {
    /// The number of the last event of each runner that was taken.
    pub heard: BTreeMap<RunnerNumber, u64>,
    /// The core has said that everything has ended.
    pub complete: bool,
    answers: Vec<Box<dyn FnOnce()>>,
    readers: Vec<Reader>,
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn")
            .field("heard", &self.heard)
            .field("complete", &self.complete)
            .field("answers", &self.answers.len())
            .field("readers", &self.readers.len())
            .finish()
    }
}

impl Turn {
    /// Sends an answer once the turn is stored.
    pub fn later(&mut self, answer: impl FnOnce() + 'static) {
        self.answers.push(Box::new(answer));
    }

    /// Reads from the core once it has settled.
    pub fn read(&mut self, reader: Reader) {
        self.readers.push(reader);
    }

    /// Sends all answers and lets all readers read.
    pub fn answer(&mut self, core: &Core) {
        self.answers.drain(..).for_each(|answer| answer());
        self.readers.drain(..).for_each(|reader| reader(core));
    }
}
