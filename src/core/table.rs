//! What every row of a table test begins with: where its rule is from, and what it says.
//!
//! Responsible for that first field only; what else a row has is its table's. `tests/tidy.rs`
//! counts the rows by it, and refuses a source that it does not know. Must not be used outside
//! tests.

use std::fmt;

/// A rule with its source. Shown when the row fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The Kubernetes file (short names as in `tests/tidy/rows.rs`) and the function in it, or
    /// whose decision it is.
    source: &'static str,
    /// The rule.
    says: &'static str,
}

/// The first field of a row. Both texts are literals, and no two rows of a file have both alike.
pub(crate) const fn by(source: &'static str, says: &'static str) -> Rule {
    Rule { source, says }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.says)
    }
}
