//! Small things that both processes use.
//!
//! Responsible for clocks, sockets by path, peers and users. Must not know units, instances or
//! any policy.

pub mod clock;
pub mod socket;
pub mod user;
