//! How things look in a terminal: tables, colours, times.
//!
//! Responsible for form only. Must not talk to a daemon.

pub mod color;
pub mod table;
pub mod time;

/// What is shown where there is nothing to show.
pub const NOTHING: &str = "-";
