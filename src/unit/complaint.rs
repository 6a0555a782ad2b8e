//! What a parser of a single value says when it refuses.

use std::ops::Range;

/// What is wrong with a value and how to write it instead. It has no place yet: the caller knows
/// where the value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The offending bytes within the value's text, where they are known more closely.
    pub within: Option<Range<usize>>,
}

impl Complaint {
    /// A complaint without advice.
    pub fn new(message: impl Into<String>) -> Self {
        Complaint { message: message.into(), help: None, within: None }
    }

    /// Adds advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says which bytes of the text are meant.
    #[must_use]
    pub fn within(mut self, range: Range<usize>) -> Self {
        self.within = Some(range);
        self
    }
}
