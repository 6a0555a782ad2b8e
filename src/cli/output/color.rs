//! Colours for states.
//!
//! Responsible for which state has which colour. Whether colours reach the terminal is decided by
//! the stream that is written to: it takes them out again when it is no terminal or NO_COLOR is set.

use tabled::settings::Color;

/// How a cell is to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tint {
    /// As the terminal has it.
    #[default]
    Plain,
    /// A heading.
    Bold,
    /// All is well.
    Good,
    /// On its way.
    Busy,
    /// Not well.
    Bad,
    /// Of little interest.
    Dim,
}

impl Tint {
    /// The tint of an instance's or a unit's state.
    pub fn of_state(state: &str) -> Tint {
        match state {
            "Ready" | "Available" | "Complete" | "Scheduled" => Tint::Good,
            "Pending" | "Init" | "Starting" | "Running" | "Stopping" | "Progressing"
            | "Suspended" | "Paused" | "Waiting" | "Deleting" => Tint::Busy,
            "Backoff" | "Failed" | "Stalled" | "Invalid" | "Degraded" => Tint::Bad,
            "Succeeded" | "Stopped" | "NotSelected" => Tint::Dim,
            _ => Tint::Plain,
        }
    }

    /// The same for `tabled`.
    pub(super) fn color(self) -> Option<Color> {
        match self {
            Tint::Plain => None,
            Tint::Bold => Some(Color::BOLD),
            Tint::Good => Some(Color::FG_GREEN),
            Tint::Busy => Some(Color::FG_YELLOW),
            Tint::Bad => Some(Color::FG_RED),
            Tint::Dim => Some(Color::FG_BRIGHT_BLACK),
        }
    }
}
