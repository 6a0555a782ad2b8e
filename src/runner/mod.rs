//! The hands: parent of every instance. No policy, no store, no API.

pub mod client;
pub mod launch;
pub mod protocol;
