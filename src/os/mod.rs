//! Small things that both processes use.
//!
//! Responsible for clocks, sockets by path, peers, users and the search for unit files. Must not
//! know what is in a unit, instances or any policy.

pub mod clock;
pub mod socket;
pub mod unit_files;
pub mod user;
