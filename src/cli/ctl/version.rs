//! `wsup ctl version`.

use super::screen::Screen;
use super::{Failure, Format, Outcome};
use crate::api::client::{Client, Surroundings};
use crate::api::types::Daemon;
use crate::cli::exit;
use crate::cli::output::time::{age, local, now};
use serde::Serialize;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to print it
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// Do not ask the daemon
    #[arg(long)]
    client: bool,
}

#[derive(Serialize)]
struct Versions {
    client: ClientVersion,
    #[serde(skip_serializing_if = "Option::is_none")]
    daemon: Option<Daemon>,
}

#[derive(Serialize)]
struct ClientVersion {
    version: &'static str,
}

/// Runs it: the client's version is printed even if no daemon can be asked for its own.
pub(super) async fn run(args: Args, around: &Surroundings, mut screen: Screen) -> Outcome {
    let daemon = if args.client { None } else { Some(ask(around).await) };
    let mut versions =
        Versions { client: ClientVersion { version: env!("CARGO_PKG_VERSION") }, daemon: None };
    let failure = match daemon {
        Some(Ok(daemon)) => {
            versions.daemon = Some(daemon);
            None
        }
        Some(Err(failure)) => Some(failure),
        None => None,
    };
    match args.output {
        Format::Json => screen.json(&versions)?,
        Format::Text => print(&versions, &mut screen)?,
    }
    screen.flush()?;
    failure.map_or(Ok(exit::OK), Err)
}

async fn ask(around: &Surroundings) -> Result<Daemon, Failure> {
    let client = Client::find(around).await?;
    Ok(client.get("/v1/version", &[]).await?)
}

fn print(versions: &Versions, screen: &mut Screen) -> std::io::Result<()> {
    screen.line(&format!("Client: wsup {}", versions.client.version))?;
    let Some(daemon) = &versions.daemon else { return Ok(()) };
    screen.line(&format!("Daemon: wsup {}", daemon.version))?;
    let runner = match daemon.runner_pid {
        Some(pid) if daemon.runner_mode.is_empty() => pid.to_string(),
        Some(pid) if daemon.runners > 1 => {
            format!("{pid} ({}) and {} more", daemon.runner_mode, daemon.runners - 1)
        }
        Some(pid) => format!("{pid} ({})", daemon.runner_mode),
        None => "not running".to_owned(),
    };
    let units: Vec<_> = daemon.units_dirs.iter().map(|dir| dir.display().to_string()).collect();
    for (name, value) in [
        ("pid", daemon.pid.to_string()),
        ("runner", runner),
        ("mode", daemon.mode.clone()),
        ("node", daemon.node.clone()),
        (
            "started",
            format!("{} ({} ago)", local(daemon.started_at), age(daemon.started_at, now())),
        ),
        ("units", units.join(", ")),
        ("state", daemon.state_dir.display().to_string()),
        ("runtime", daemon.runtime_dir.display().to_string()),
        ("logs", daemon.log_dir.display().to_string()),
    ] {
        screen.line(&format!("  {:<9}{value}", format!("{name}:")))?;
    }
    Ok(())
}
