//! The whole program from the outside: real daemon, real runner, real processes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod crash;
mod cron;
mod daemonset;
mod depends;
mod deployment;
mod dev;
mod files;
mod hooks;
mod init;
mod job;
mod logs;
mod notify;
mod odd;
mod probes;
mod resources;
mod rollout;
mod scale;
mod sockets;
mod spawn;
mod statefulset;
mod storm;
mod support;
mod tree;
mod user;
