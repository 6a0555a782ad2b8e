//! From TOML text to specs, with a place for every complaint. Pure.
//!
//! The passes over a file, in order, and who makes them:
//!
//! 1. `tree`: TOML to a tree in which everything knows its place; drop-ins are merged over it.
//! 2. `identity`: kind and name first, because the kind decides which keys exist.
//! 3. `walk`: every key and value against the one table in `keys`.
//! 4. `lower`: to [`crate::core::spec`], with the rules between values.
//! 5. `check`: the rules between units.
//!
//! Every pass adds to the same report and none stops at an error, so that all mistakes of all files
//! are shown at once. Nothing here reads a file, a clock or the environment: a list of texts goes
//! in, specs and diagnostics come out.

mod amount;
mod check;
mod complaint;
mod diagnose;
pub mod duration;
mod identity;
mod keys;
mod load;
mod lower;
pub mod names;
pub mod procfile;
pub(crate) mod report;
pub mod schema;
pub mod size;
pub mod suggest;
pub(crate) mod syntax;
pub(crate) mod tree;
mod unknown;
mod walk;
pub mod words;

pub use complaint::Complaint;
pub use diagnose::{Diagnostic, Severity, render};
pub use load::{Content, DropIn, FileReport, InvalidUnit, Loaded, Source, load};
