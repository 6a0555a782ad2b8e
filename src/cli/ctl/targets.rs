//! Verbs that take targets and nothing else: start, stop, restart, suspend, resume.

use super::screen::Screen;
use super::{Failure, Outcome};
use crate::api::client::Client;
use crate::api::types::{Acted, Ask, Verb};
use crate::cli::exit;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// kind/name, a unit's name, or an instance's name
    #[arg(value_name = "TARGET", required_unless_present = "all", conflicts_with = "all")]
    targets: Vec<String>,
    /// All units
    #[arg(long)]
    all: bool,
}

/// What is asked of the daemon.
pub(super) fn ask(verb: Verb, args: Args) -> Ask {
    Ask { verb, targets: args.targets, all: args.all }
}

/// Runs it.
pub(super) async fn run(verb: Verb, args: Args, client: &Client, screen: &mut Screen) -> Outcome {
    act(ask(verb, args), client, screen).await
}

/// Asks, and prints what was done and what was refused.
pub(super) async fn act(ask: Ask, client: &Client, screen: &mut Screen) -> Outcome {
    let acted = ask_for(&ask, client).await?;
    for line in &acted.messages {
        screen.line(line)?;
    }
    screen.flush()?;
    let mut code = exit::OK;
    for error in acted.errors {
        let failure = Failure::from(error);
        // Each is told; the first decides about the exit code.
        let _ = exit::fail(failure.code, &failure.message, failure.help.as_deref());
        code = if code == exit::OK { failure.code } else { code };
    }
    Ok(code)
}

/// Asks.
pub(super) async fn ask_for(ask: &Ask, client: &Client) -> Result<Acted, Failure> {
    Ok(client.post("/v1/actions", &[], ask).await?)
}
