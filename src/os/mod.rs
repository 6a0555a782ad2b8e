//! Small things that both processes use.
//!
//! Responsible for clocks, sockets by path, peers, users, the search for unit files, and for what
//! the kernel tells of processes. Must not know what is in a unit or any policy.

pub mod clock;
pub mod confinement;
pub mod holder;
pub mod socket;
pub mod unit_files;
pub mod usage;
pub mod user;
