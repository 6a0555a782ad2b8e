//! `wsup ctl scale`.

use super::Outcome;
use super::screen::Screen;
use super::targets::act;
use crate::api::client::Client;
use crate::api::types::{Ask, Verb};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A deployment or statefulset
    target: String,
    /// How many instances to run; holds until the unit file's own number changes
    #[arg(long, value_name = "N")]
    replicas: u32,
}

/// What is asked of the daemon.
pub(super) fn ask(args: Args) -> Ask {
    let verb = Verb::Scale { replicas: args.replicas };
    Ask { verb, targets: vec![args.target], all: false }
}

/// Runs it.
pub(super) async fn run(args: Args, client: &Client, screen: &mut Screen) -> Outcome {
    act(ask(args), client, screen).await
}
