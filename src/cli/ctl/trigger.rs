//! `wsup ctl trigger`.

use super::Outcome;
use super::screen::Screen;
use super::targets::act;
use crate::api::client::Client;
use crate::api::types::{Ask, Verb};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The cronjob: cronjob/NAME, or its name
    target: String,
    /// What to call the job; the default is a generated name
    #[arg(long, value_name = "JOB")]
    name: Option<String>,
}

/// What is asked of the daemon.
pub(super) fn ask(args: Args) -> Ask {
    let verb = Verb::Trigger { name: args.name };
    Ask { verb, targets: vec![args.target], all: false }
}

/// Runs it.
pub(super) async fn run(args: Args, client: &Client, screen: &mut Screen) -> Outcome {
    act(ask(args), client, screen).await
}
