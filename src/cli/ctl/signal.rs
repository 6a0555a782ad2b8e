//! `wsup ctl signal`.

use super::Outcome;
use super::screen::Screen;
use super::targets::act;
use crate::api::client::Client;
use crate::api::types::{Ask, Verb};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// kind/name, a unit's name, or an instance's name
    target: String,
    /// A name such as SIGHUP or HUP, or a number
    signal: String,
}

/// What is asked of the daemon.
pub(super) fn ask(args: Args) -> Ask {
    let verb = Verb::Signal { signal: args.signal };
    Ask { verb, targets: vec![args.target], all: false }
}

/// Runs it.
pub(super) async fn run(args: Args, client: &Client, screen: &mut Screen) -> Outcome {
    act(ask(args), client, screen).await
}
