//! `wsup ctl shutdown`.

use super::screen::Screen;
use super::{Failure, Outcome};
use crate::api::client::Client;
use crate::api::types::Acted;
use crate::cli::exit;
use serde_json::Value;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Returns when the daemon has ended. The next daemon with the same directories \
finds what runs on."
)]
pub(super) struct Args {
    /// End the daemon alone: everything that runs goes on running
    #[arg(long)]
    keep_running: bool,
}

/// Runs it.
pub(super) async fn run(args: Args, client: &Client, screen: &mut Screen) -> Outcome {
    // Opened before, so that its end is the daemon's.
    let mut life = client.stream("/v1/changes", &[]).await?;
    let query = [("keep_running", args.keep_running.to_string())];
    let acted: Acted = client.post("/v1/shutdown", &query, &Value::Null).await?;
    for message in &acted.messages {
        screen.line(message)?;
    }
    screen.flush()?;
    loop {
        match life.bytes().await.map_err(Failure::from) {
            Ok(Some(_)) => {}
            // However it goes: it is gone.
            Ok(None) | Err(_) => return Ok(exit::OK),
        }
    }
}
