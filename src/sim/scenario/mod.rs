//! What would happen: the user's units on a virtual clock, with made-up processes.
//!
//! Responsible for `wsup simulate` as far as it needs no file: the script's form, what a process
//! does, and the order in which things happen. Drives the very core of the daemon. Pure: units,
//! script, zones and seed go in, lines of a timeline come out. Must not print.

mod nodes;
mod play;
mod process;
pub mod script;

pub use play::{EVENTS_MAX, End, Entry, Play, Resolve, Setting, What};
pub use script::Script;
