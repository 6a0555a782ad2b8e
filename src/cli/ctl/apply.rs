//! `wsup ctl apply` and `wsup ctl diff`.

use super::screen::Screen;
use super::{Format, Outcome};
use crate::api::client::Client;
use crate::api::types::{Applied, UnitChange};
use crate::cli::exit;
use std::io;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exits 1 if a unit file is invalid; the valid ones are applied all the same."
)]
pub(super) struct Args {
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Arguments of `diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exits 0 if nothing would change and 1 if something would or a unit file \
is invalid, as kubectl diff does.")]
pub(super) struct DiffArgs {
    /// How to print it
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Runs `apply`.
pub(super) async fn run(args: Args, client: &Client, screen: &mut Screen) -> Outcome {
    let applied = ask(client, args.dry_run).await?;
    match args.output {
        Format::Json => screen.json(&applied)?,
        Format::Text => {
            for change in &applied.changes {
                let suffix = if args.dry_run { " (dry run)" } else { "" };
                print_change(change, args.dry_run, suffix, screen)?;
            }
            print_rest(&applied, screen)?;
        }
    }
    Ok(if is_invalid(&applied) { exit::FAILED } else { exit::OK })
}

/// Runs `diff`.
pub(super) async fn diff(args: DiffArgs, client: &Client, screen: &mut Screen) -> Outcome {
    let applied = ask(client, true).await?;
    match args.output {
        Format::Json => screen.json(&applied)?,
        Format::Text => {
            for change in &applied.changes {
                print_change(change, true, "", screen)?;
            }
            diagnostics(&applied, screen)?;
        }
    }
    let same = applied.changes.is_empty() && !is_invalid(&applied);
    Ok(if same { exit::OK } else { exit::FAILED })
}

async fn ask(client: &Client, dry_run: bool) -> Result<Applied, super::Failure> {
    let query = [("dry_run", dry_run.to_string())];
    Ok(client.post("/v1/apply", &query, &serde_json::Value::Null).await?)
}

fn is_invalid(applied: &Applied) -> bool {
    !applied.diagnostics.is_empty()
        || applied.changes.iter().any(|change| change.change == "invalid")
}

/// kubectl's words for what happened.
fn verb(change: &str) -> &str {
    match change {
        "create" => "created",
        "update" => "configured",
        "remove" => "removed",
        other => other,
    }
}

fn print_change(
    change: &UnitChange,
    fields: bool,
    suffix: &str,
    screen: &mut Screen,
) -> io::Result<()> {
    let key = format!("{}/{}", change.kind, change.name);
    let rollout = if change.rollout { ", rolls out" } else { "" };
    let why = change.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    screen.line(&format!("{key} {}{rollout}{suffix}{why}", verb(&change.change)))?;
    if fields && change.change == "update" {
        for field in &change.fields {
            let value =
                |side: &Option<String>| side.clone().unwrap_or_else(|| "(unset)".to_owned());
            screen.line(&format!(
                "  {}: {} -> {}",
                field.path,
                value(&field.old),
                value(&field.new)
            ))?;
        }
    }
    Ok(())
}

fn print_rest(applied: &Applied, screen: &mut Screen) -> io::Result<()> {
    match applied.unchanged {
        0 if applied.changes.is_empty() => screen.line("no units found")?,
        0 => {}
        1 => screen.line("1 unit unchanged")?,
        n => screen.line(&format!("{n} units unchanged"))?,
    }
    for message in &applied.messages {
        screen.line(message)?;
    }
    diagnostics(applied, screen)
}

/// The mistakes go to standard error, where a script looks for them.
fn diagnostics(applied: &Applied, screen: &mut Screen) -> io::Result<()> {
    screen.flush()?;
    for text in &applied.diagnostics {
        anstream::eprintln!("{}", text.trim_end());
    }
    Ok(())
}
