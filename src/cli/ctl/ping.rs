//! `wsup ctl ping`.

use super::Outcome;
use super::screen::Screen;
use crate::api::client::Client;
use crate::cli::exit;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// Runs it.
pub(super) async fn run(_args: Args, client: &Client, screen: &mut Screen) -> Outcome {
    let _: serde_json::Value = client.get("/v1/ping", &[]).await?;
    screen.line(&format!("the daemon at {} answers", client.socket().display()))?;
    Ok(exit::OK)
}
