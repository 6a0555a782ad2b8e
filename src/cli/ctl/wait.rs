//! `wsup ctl wait`.

use super::screen::Screen;
use super::{Failure, Outcome};
use crate::api::client::{Client, Stream};
use crate::api::types::Progress;
use crate::cli::exit;
use crate::cli::output::time::parse_span;
use std::io;
use std::time::Duration;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Goal {
    /// Deployment: its condition Available is true (as kubectl has it; `rollout status` waits for
    /// the newest template). Statefulset, daemonset: as many available as wanted. Job: complete.
    /// Instance: ready
    Available,
    /// Job: complete. Instance: Succeeded. Fails at once if it has failed
    Complete,
    /// Job: failed. Others: the roll-out is stalled, or an instance is Failed
    Failed,
    /// No process runs and none will be started by itself
    Stopped,
    /// It is gone
    Deleted,
}

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// kind/name, a unit's name, or an instance's name
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    target: Option<String>,
    /// All units, as far as it can become true of their kind
    #[arg(long)]
    all: bool,
    /// What to wait for
    #[arg(long = "for", value_enum, value_name = "CONDITION")]
    goal: Goal,
    /// For how long at most; exit code 5 after that. The default is to wait on
    #[arg(long, value_name = "DURATION", value_parser = parse_span)]
    timeout: Option<Duration>,
}

/// Runs it.
pub(super) async fn run(args: Args, client: &Client, screen: &mut Screen) -> Outcome {
    let goal = match args.goal {
        Goal::Available => "available",
        Goal::Complete => "complete",
        Goal::Failed => "failed",
        Goal::Stopped => "stopped",
        Goal::Deleted => "deleted",
    };
    let mut query = vec![("for", goal.to_owned())];
    query.extend(args.target.map(|target| ("target", target)));
    query.extend(timeout(args.timeout));
    let message = until(client, "/v1/wait", query).await?.finish(|_| Ok(())).await?;
    if !message.is_empty() {
        screen.line(&message)?;
    }
    Ok(exit::OK)
}

/// A time limit for the query.
pub(super) fn timeout(limit: Option<Duration>) -> Option<(&'static str, String)> {
    limit.map(|limit| ("timeout_ms", limit.as_millis().to_string()))
}

/// Something that is being waited for.
pub(super) struct Waiting(Stream);

/// Begins to wait.
pub(super) async fn until(
    client: &Client,
    path: &str,
    query: Vec<(&str, String)>,
) -> Result<Waiting, Failure> {
    Ok(Waiting(client.stream(path, &query).await?))
}

impl Waiting {
    /// Waits to the end, hands each message on the way to `told`, and gives the last one.
    pub(super) async fn finish(
        &mut self,
        mut told: impl FnMut(&str) -> io::Result<()>,
    ) -> Result<String, Failure> {
        loop {
            let Some(progress) = self.0.line::<Progress>().await? else {
                return Err(Failure::cut_off());
            };
            if let Some(error) = progress.error {
                return Err(error.into());
            }
            if progress.done {
                return Ok(progress.message);
            }
            told(&progress.message)?;
        }
    }

    /// Gives the first message, and whether the end is reached with it.
    pub(super) async fn first(&mut self) -> Result<String, Failure> {
        match self.0.line::<Progress>().await? {
            Some(Progress { error: Some(error), .. }) => Err(error.into()),
            Some(progress) => Ok(progress.message),
            None => Err(Failure::cut_off()),
        }
    }
}
