//! `wsup ctl logs`.

use super::screen::Screen;
use super::{Failure, Outcome};
use crate::api::client::Client;
use crate::cli::exit;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// An instance; or a unit: all its instances, each line after its instance's name
    target: String,
    /// Go on with what is written
    #[arg(short, long)]
    follow: bool,
    /// Only the last N lines of each instance
    #[arg(long, short = 'n', value_name = "N")]
    tail: Option<usize>,
    /// What the process before the present one wrote
    #[arg(short, long)]
    previous: bool,
    /// Not supported yet
    #[arg(long, value_name = "DURATION", hide = true)]
    since: Option<String>,
    /// Not supported yet
    #[arg(long, hide = true)]
    timestamps: bool,
    /// Not supported yet
    #[arg(long, value_name = "REGEX", hide = true)]
    grep: Option<String>,
}

/// Runs it.
pub(super) async fn run(args: Args, client: &Client, screen: &mut Screen) -> Outcome {
    for (given, name) in [
        (args.since.is_some(), "--since"),
        (args.timestamps, "--timestamps"),
        (args.grep.is_some(), "--grep"),
    ] {
        if given {
            return Err(Failure::not_yet(&format!("`wsup ctl logs {name}`")));
        }
    }
    let mut query = vec![("target", args.target)];
    for (given, name) in [(args.follow, "follow"), (args.previous, "previous")] {
        if given {
            query.push((name, "true".to_owned()));
        }
    }
    query.extend(args.tail.map(|lines| ("tail", lines.to_string())));
    let mut stream = client.stream("/v1/logs", &query).await?;
    while let Some(bytes) = stream.bytes().await? {
        screen.bytes(&bytes)?;
        screen.flush()?;
    }
    Ok(exit::OK)
}
