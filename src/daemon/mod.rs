//! The shell around the core: everything that `wsup daemon` and `wsup dev` do to the world.
//!
//! Responsible for turning what happens into events, and actions into deeds. Must not decide
//! anything about workloads: that is the core's business.
//!
//! In reading order: [`settings`] and [`boot`] come before the loop; [`run`] is the loop, with
//! [`input`] in front of it and [`execute`] behind it; the rest is what these two reach into the
//! world with.

mod apply;
pub mod aside;
pub mod async_fd;
mod beside;
pub mod boot;
pub mod data;
pub mod env_file;
pub mod environment;
mod execute;
pub mod expand;
pub mod init;
pub mod input;
pub mod link;
pub mod lock;
pub mod logging;
pub mod logs;
pub mod nodes;
mod notify;
pub mod plan;
mod port;
pub mod probe;
pub mod report;
pub mod run;
mod runner;
pub mod serve;
pub mod settings;
pub mod store;
pub mod systemd;
pub mod timer;
mod tls;
pub mod turn;
pub mod units;
pub mod users;
pub mod watch;
pub mod zones;
