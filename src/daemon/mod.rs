//! The shell around the core: everything that `wsup daemon` and `wsup dev` do to the world.
//!
//! Responsible for turning what happens into events, and actions into deeds. Must not decide
//! anything about workloads: that is the core's business.

pub mod store;
pub mod env_file;
pub mod expand;
pub mod users;
pub mod zones;
pub mod data;
pub mod environment;
pub mod plan;
pub mod logs;
