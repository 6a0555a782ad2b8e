//! The control socket: HTTP/1.1 with JSON over a unix socket.
//!
//! Responsible for the way from a client to the daemon's loop and back. Must not decide anything
//! about workloads, and must never let one of the core's own types reach a client: what goes over
//! the wire is in [`types`], and is stable.
//!
//! - [`door`]: the only way from here to the core, and what the daemon's loop takes from it;
//! - [`events`]: the last events, for `ctl events`;
//! - [`types`]: what is said over the wire, documented in `docs/json.md`;
//! - [`server`]: routes; [`client`]: the other end.

pub mod client;
pub mod door;
pub mod events;
pub mod server;
pub mod top;
pub mod types;
