//! A whole daemon: the loop and the control socket in one runtime, from start to end.
//!
//! Responsible for the life of both and for what `daemon` and `dev` have in common.

use super::boot::{self, Obstacle, SOCKET_NAME};
use super::run::{Daemon, Ended};
use super::settings::Settings;
use super::systemd;
use crate::api::door::{DaemonFacts, Door, door};
use crate::api::events::EventLog;
use crate::api::server;
use crate::os::clock;
use std::future::Future;
use tokio::sync::watch;

/// Runs a daemon until it has stopped everything. `beside` is given the door and runs along; it
/// is dropped at the end, after it was told so by the flag and has finished.
///
/// # Errors
/// What stands in the way of a start, for people.
pub fn serve<F: Future<Output = ()>>(
    settings: Settings,
    beside: impl FnOnce(Door, watch::Receiver<bool>) -> F,
) -> Result<Ended, Obstacle> {
    let booted = boot::boot(&settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Obstacle::Other(format!("starting the reactor: {error}")))?;
    runtime.block_on(async {
        let events = EventLog::default();
        let (door, inbox) = door(facts(&settings), events.clone());
        let socket = settings.runtime.join(SOCKET_NAME);
        let (ending, ended) = watch::channel(false);
        let daemon = Daemon::new(settings, booted, inbox, events)?;
        let listener = server::bind(&socket).map_err(|error| Obstacle::Other(error.to_string()))?;
        let server = tokio::spawn(server::serve(listener, door.clone(), ended.clone()));
        systemd::ready("started");
        let work = async {
            let result = daemon.run().await;
            // Whoever follows something is told that this was all.
            ending.send_replace(true);
            result
        };
        let (result, ()) = tokio::join!(work, beside(door, ended));
        if let Ok(Err(error)) = server.await {
            tracing::error!("the control socket failed: {error}");
        }
        if let Err(error) = std::fs::remove_file(&socket) {
            tracing::warn!("removing {}: {error}", socket.display());
        }
        Ok(result)
    })
}

fn facts(settings: &Settings) -> DaemonFacts {
    DaemonFacts {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: clock::wall(),
        node: settings.node.to_string(),
        mode: settings.mode.as_str().to_owned(),
        state_dir: settings.state.clone(),
        runtime_dir: settings.runtime.clone(),
        log_dir: settings.logs.clone(),
        units_dirs: settings.units.clone(),
    }
}
