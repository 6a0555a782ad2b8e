//! `wsup ctl logs`.

use super::screen::Screen;
use super::{Failure, Outcome};
use crate::api::client::Client;
use crate::cli::exit;
use crate::cli::output::time::{now, parse_span};
use std::time::Duration;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// An instance; or a unit: all its instances, each line after its instance's name
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    target: Option<String>,
    /// All instances of all units
    #[arg(long)]
    all: bool,
    /// Go on with what is written
    #[arg(short, long)]
    follow: bool,
    /// Only the last N lines of each instance
    #[arg(long, short = 'n', value_name = "N")]
    tail: Option<usize>,
    /// Only what the process before the last one wrote; without it all runs are shown
    #[arg(short, long)]
    previous: bool,
    /// Only what was written in the last DURATION, such as 5m
    #[arg(long, value_name = "DURATION", value_parser = parse_span)]
    since: Option<Duration>,
    /// Each line after the time at which it was written
    #[arg(long)]
    timestamps: bool,
    /// Not supported yet
    #[arg(long, value_name = "REGEX", hide = true)]
    grep: Option<String>,
}

/// Runs it.
pub(super) async fn run(args: Args, client: &Client, screen: &mut Screen) -> Outcome {
    if args.grep.is_some() {
        return Err(Failure::not_yet("`wsup ctl logs --grep`"));
    }
    let mut query = Vec::new();
    query.extend(args.target.map(|target| ("target", target)));
    for (given, name) in
        [(args.follow, "follow"), (args.previous, "previous"), (args.timestamps, "timestamps")]
    {
        if given {
            query.push((name, "true".to_owned()));
        }
    }
    query.extend(args.tail.map(|lines| ("tail", lines.to_string())));
    if let Some(span) = args.since {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let since = now().as_millisecond().saturating_sub(millis);
        query.push(("since_ms", since.to_string()));
    }
    let mut stream = client.stream("/v1/logs", &query).await?;
    while let Some(bytes) = stream.bytes().await? {
        screen.bytes(&bytes)?;
        screen.flush()?;
    }
    Ok(exit::OK)
}
