//! `wsup ctl delete`.

use super::screen::Screen;
use super::targets::act;
use super::wait::until;
use super::{Failure, Outcome};
use crate::api::client::Client;
use crate::api::types::{Ask, Verb};
use crate::cli::exit;

/// When the command returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Cascade {
    /// At once; instances end in the background
    Background,
    /// When everything has ended
    Foreground,
    /// Not supported yet
    Orphan,
}

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// kind/name, a unit's name, or an instance's name
    #[arg(value_name = "TARGET", required_unless_present = "all", conflicts_with = "all")]
    targets: Vec<String>,
    /// All units
    #[arg(long)]
    all: bool,
    /// When to return
    #[arg(long, value_enum, default_value_t = Cascade::Background)]
    cascade: Cascade,
}

/// What is asked of the daemon.
pub(super) fn ask(args: &Args) -> Ask {
    Ask { verb: Verb::Delete, targets: args.targets.clone(), all: args.all }
}

/// Whether something is wished for that is refused.
pub(super) fn is_refused(args: &Args) -> bool {
    args.cascade == Cascade::Orphan
}

/// Runs it.
pub(super) async fn run(args: Args, client: &Client, screen: &mut Screen) -> Outcome {
    if is_refused(&args) {
        return Err(Failure::not_yet("`--cascade=orphan`"));
    }
    // The names are looked up before the deletion: a name may mean the replacement after it.
    let ask = ask(&args);
    if args.cascade == Cascade::Background {
        return act(ask, client, screen).await;
    }
    let mut waits = Vec::new();
    if args.all {
        waits.push(until(client, "/v1/wait", vec![("for", "deleted".to_owned())]).await?);
    }
    for target in args.targets {
        let query = vec![("for", "deleted".to_owned()), ("target", target)];
        waits.push(until(client, "/v1/wait", query).await?);
    }
    let code = act(ask, client, screen).await?;
    if code != exit::OK {
        return Ok(code);
    }
    for mut wait in waits {
        wait.finish(|_| Ok(())).await?;
    }
    Ok(exit::OK)
}
