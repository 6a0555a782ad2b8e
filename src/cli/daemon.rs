//! `wsup daemon`: the daemon in the foreground.
//!
//! Responsible for its arguments and for its first and last words.

use super::exit;
use crate::daemon::boot::Obstacle;
use crate::daemon::settings::{self, GuardWish, Settings, Wishes};
use crate::daemon::{init, logging, serve};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Read unit files from here; may be repeated, a later directory wins
    #[arg(long, value_name = "DIR")]
    units: Vec<PathBuf>,
    /// Keep what survives a reboot here
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Keep sockets and the lock here
    #[arg(long, value_name = "DIR")]
    runtime_dir: Option<PathBuf>,
    /// Write logs below this directory, as UNIT/INSTANCE.log
    #[arg(long, value_name = "DIR")]
    log_dir: Option<PathBuf>,
    /// Read the same settings from a TOML file; the command line wins
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// This node's name [default: the host's]
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// A label of this node, for `node_selector`; may be repeated
    #[arg(long = "node-label", value_name = "KEY=VALUE", value_parser = label)]
    node_labels: Vec<(String, String)>,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// Runs it until it is told to stop.
pub fn run(args: Args) -> ExitCode {
    logging::start(logging::DAEMON);
    if init::is_first() {
        return match init::run() {
            Ok(code) => ExitCode::from(code),
            Err(error) => exit::fail(exit::FAILED, &format!("as process 1: {error}"), None),
        };
    }
    let settings = match settle(args) {
        Ok(settings) => settings,
        Err(message) => return exit::fail(exit::USAGE, &message, None),
    };
    tracing::info!(
        "wsup {} in {} mode: units in {}, state in {}, logs in {}, control socket {}",
        env!("CARGO_PKG_VERSION"),
        settings.mode.as_str(),
        settings.units.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", "),
        settings.state.display(),
        settings.logs.display(),
        settings.runtime.join(crate::daemon::boot::SOCKET_NAME).display(),
    );
    match serve::serve(settings, |_, _| std::future::ready(())) {
        Ok(_) => ExitCode::from(exit::OK),
        Err(obstacle @ Obstacle::Held(..)) => exit::fail(
            exit::FAILED,
            &obstacle.to_string(),
            Some("stop it, or give this one directories of its own"),
        ),
        Err(obstacle @ Obstacle::Other(_)) => exit::fail(exit::FAILED, &obstacle.to_string(), None),
    }
}

fn settle(args: Args) -> Result<Settings, String> {
    let line = Wishes {
        units: args.units,
        state_dir: args.state_dir,
        runtime_dir: args.runtime_dir,
        log_dir: args.log_dir,
        node_name: args.node_name,
        node_labels: args.node_labels.into_iter().collect::<BTreeMap<_, _>>(),
        // Only the file has it.
        storm_guard: GuardWish::default(),
    };
    let file = args.config.as_deref().map(Wishes::read).transpose()?.unwrap_or_default();
    settings::daemon(line.or(file))
}
