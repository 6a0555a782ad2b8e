//! `wsup ctl rollout`.

use super::screen::Screen;
use super::targets::act;
use super::wait::{timeout, until};
use super::{Failure, Format, Outcome};
use crate::api::client::Client;
use crate::api::types::{Ask, Revision, Verb};
use crate::cli::exit;
use crate::cli::output::table::{Cell, Table};
use crate::cli::output::time::{age, now, parse_span};
use clap::Subcommand;
use jiff::Timestamp;
use std::io;
use std::time::Duration;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Rollout,
}

#[derive(Debug, Subcommand)]
enum Rollout {
    /// Wait until the newest template runs everywhere; exits 1 if the roll-out is stalled
    Status(StatusArgs),
    /// Show past and present templates
    History(HistoryArgs),
    /// Go back to a former template
    Undo(UndoArgs),
    /// Take no roll-out step until resumed
    Pause(Target),
    /// Go on with the roll-out
    Resume(Target),
    /// Replace all instances, step by step
    Restart(Target),
}

#[derive(Debug, clap::Args)]
struct Target {
    /// A deployment, statefulset or daemonset
    target: String,
}

#[derive(Debug, clap::Args)]
struct StatusArgs {
    /// A deployment, statefulset or daemonset
    target: String,
    /// For how long at most; exit code 5 after that. The default is to wait on
    #[arg(long, value_name = "DURATION", value_parser = parse_span)]
    timeout: Option<Duration>,
    /// Wait for the end; `--watch=false` shows where it is and returns
    #[arg(short, long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    watch: bool,
}

#[derive(Debug, clap::Args)]
struct HistoryArgs {
    /// A deployment, statefulset or daemonset
    target: String,
    /// Show this revision's template, and what differs from the one before it
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, clap::Args)]
struct UndoArgs {
    /// A deployment, statefulset or daemonset
    target: String,
    /// To this revision; the default is the one before the newest
    #[arg(long, value_name = "N")]
    to_revision: Option<u64>,
}

/// What is asked of the daemon, of a verb that changes something.
pub(super) fn ask(args: Args) -> Option<Ask> {
    let (verb, target) = match args.verb {
        Rollout::Status(_) | Rollout::History(_) => return None,
        Rollout::Undo(args) => (Verb::RolloutUndo { to_revision: args.to_revision }, args.target),
        Rollout::Pause(args) => (Verb::RolloutPause, args.target),
        Rollout::Resume(args) => (Verb::RolloutResume, args.target),
        Rollout::Restart(args) => (Verb::RolloutRestart, args.target),
    };
    Some(Ask { verb, targets: vec![target], all: false })
}

/// Runs it.
pub(super) async fn run(args: Args, client: &Client, screen: &mut Screen) -> Outcome {
    match args.verb {
        Rollout::Status(args) => status(args, client, screen).await,
        Rollout::History(args) => history(args, client, screen).await,
        Rollout::Undo(_) | Rollout::Pause(_) | Rollout::Resume(_) | Rollout::Restart(_) => {
            match ask(args) {
                Some(ask) => act(ask, client, screen).await,
                None => Ok(exit::USAGE),
            }
        }
    }
}

async fn status(args: StatusArgs, client: &Client, screen: &mut Screen) -> Outcome {
    let mut query = vec![("target", args.target)];
    query.extend(timeout(args.timeout));
    if !args.watch {
        query.push(("once", "true".to_owned()));
    }
    let mut waiting = until(client, "/v1/rollout/status", query).await?;
    let message = if args.watch {
        waiting
            .finish(|message| {
                screen.line(message)?;
                screen.flush()
            })
            .await?
    } else {
        waiting.first().await?
    };
    screen.line(&message)?;
    Ok(exit::OK)
}

async fn history(args: HistoryArgs, client: &Client, screen: &mut Screen) -> Outcome {
    let query = [("target", args.target.clone())];
    let mut list: Vec<Revision> = client.get("/v1/rollout/history", &query).await?;
    let oldest = list.first().map(|revision| revision.revision);
    if let Some(wanted) = args.revision {
        list.retain(|revision| revision.revision == wanted);
        if list.is_empty() {
            return Err(Failure::new(
                exit::NOT_FOUND,
                format!("{} has no revision {wanted}", args.target),
            )
            .help(format!("`wsup ctl rollout history {}` lists them", args.target)));
        }
    }
    match (args.output, args.revision) {
        (Format::Json, _) => screen.json(&list)?,
        (Format::Text, Some(_)) => {
            for revision in &list {
                details(revision, oldest, screen)?;
            }
        }
        (Format::Text, None) => screen.text(&table(&list, now()).render())?,
    }
    Ok(exit::OK)
}

/// The most fields that a row of the history names.
const FIELDS_SHOWN: usize = 3;

fn table(list: &[Revision], now: Timestamp) -> Table {
    let mut table = Table::new(&["REVISION", "AGE", "INSTANCES", "CHANGE"]);
    for (n, revision) in list.iter().enumerate() {
        let earlier = if revision.earlier.is_empty() {
            String::new()
        } else {
            format!(" (was {})", revision.earlier)
        };
        let mark = if revision.current { " *" } else { "" };
        let mut paths: Vec<&str> =
            revision.changes.iter().take(FIELDS_SHOWN).map(|field| field.path.as_str()).collect();
        if revision.changes.len() > FIELDS_SHOWN {
            paths.push("...");
        }
        let change = if n == 0 { "first known".to_owned() } else { paths.join(", ") };
        table.row(vec![
            Cell::from(format!("{}{mark}{earlier}", revision.revision)),
            age(revision.created_at, now).into(),
            revision.instances.to_string().into(),
            change.into(),
        ]);
    }
    table
}

/// The template, then its difference to the one before. `oldest`: the number of the first that is
/// still known.
fn details(revision: &Revision, oldest: Option<u64>, screen: &mut Screen) -> io::Result<()> {
    screen.line(&format!("revision {}, {} instances", revision.revision, revision.instances))?;
    let mut template = Table::bare();
    for (name, value) in &revision.facts {
        template.row(vec![format!("  {name}:").into(), value.clone().into()]);
    }
    screen.text(&template.render())?;
    if Some(revision.revision) == oldest {
        return screen.line("no earlier revision is known");
    }
    screen.line("changes from the revision before:")?;
    for field in &revision.changes {
        let value = |side: &Option<String>| side.clone().unwrap_or_else(|| "(unset)".to_owned());
        screen.line(&format!(
            "  {}: {} -> {}",
            field.path,
            value(&field.old),
            value(&field.new)
        ))?;
    }
    Ok(())
}
