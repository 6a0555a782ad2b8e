//! wsup runs programs on one machine the way Kubernetes runs them on many.
//!
//! Reading order, which is also the direction of dependency (each may use those above it that
//! ARCHITECTURE.md names, and nothing else):
//!
//! - [`core`]: decides everything, does nothing. Pure.
//! - [`unit`]: from TOML text to the core's specs, with places for every complaint. Pure.
//! - [`sim`]: a made-up machine that drives the core. Pure.
//! - [`os`]: clocks, files, users: small things that both processes use.
//! - [`runner`]: the hands: parent of every instance. No policy.
//! - [`api`]: the control socket: wire types, server, client.
//! - [`daemon`]: the shell around the core: store, unit files, nodes, runner.
//! - [`cli`]: the command line.

pub mod api;
pub mod cli;
pub mod core;
pub mod daemon;
pub mod os;
pub mod runner;
pub mod sim;
pub mod unit;
