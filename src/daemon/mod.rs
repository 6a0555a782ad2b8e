//! The shell around the core: everything that `wsup daemon` and `wsup dev` do to the world.
//!
//! Responsible for turning what happens into events, and actions into deeds. Must not decide
//! anything about workloads: that is the core's business.

pub mod async_fd;
pub mod data;
pub mod env_file;
pub mod environment;
pub mod expand;
pub mod lock;
pub mod logs;
pub mod nodes;
pub mod plan;
pub mod store;
pub mod timer;
pub mod users;
pub mod watch;
pub mod zones;
