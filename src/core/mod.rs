//! The pure core: decides everything, does nothing.
//!
//! No I/O, no clock, no randomness, no threads, no logging. Time and entropy are inputs.

pub mod action;
pub mod event;
pub mod id;
pub mod record;
pub mod report;
pub mod request;
pub mod schedule;
pub mod signal;
pub mod spec;
pub mod time;
pub mod workload;
