//! `wsup ctl logs`.

use super::Outcome;
use super::screen::Screen;
use crate::api::client::Client;
use crate::cli::exit;
use crate::cli::output::time::{now, parse_span};
use std::time::Duration;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// An instance; or a unit: all its instances in the order of time, each line after its
    /// instance's name
    #[arg(required_unless_present_any = ["all", "selector"], conflicts_with_all = ["all", "selector"])]
    target: Option<String>,
    /// All instances of all units
    #[arg(long)]
    all: bool,
    /// All instances of units with these labels: k=v, k!=v, k, !k, joined by commas
    #[arg(short = 'l', long, value_name = "K=V")]
    selector: Option<String>,
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
    /// Only lines in which this regular expression is found
    #[arg(long, value_name = "REGEX")]
    grep: Option<String>,
    /// Only what was written to this output
    #[arg(long, value_enum)]
    stream: Option<Stream>,
}

/// One of a program's outputs.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Stream {
    Stdout,
    Stderr,
}

/// Runs it.
pub(super) async fn run(args: Args, client: &Client, screen: &mut Screen) -> Outcome {
    let mut query = Vec::new();
    query.extend(args.target.map(|target| ("target", target)));
    query.extend(args.selector.map(|selector| ("selector", selector)));
    query.extend(args.grep.map(|grep| ("grep", grep)));
    query.extend(args.stream.map(|stream| match stream {
        Stream::Stdout => ("stream", "stdout".to_owned()),
        Stream::Stderr => ("stream", "stderr".to_owned()),
    }));
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
