//! The words of a verb without a daemon: what they would ask of one.
//!
//! Responsible for reading verbs of `wsup ctl` from a simulation's script with the command line's
//! own grammar. Must not ask anybody.

use super::{Args, Verb, delete, rollout, scale, signal, targets, trigger};
use crate::api::types::{Ask, Verb as Does};
use crate::unit::Complaint;
use clap::Parser;

/// What changes something, for people.
const CHANGING: &str = "what changes something: scale, start, stop, restart, suspend, resume, \
                        delete, signal, trigger, rollout undo|pause|resume|restart";

#[derive(Debug, Parser)]
#[command(name = "ctl", no_binary_name = true, disable_help_subcommand = true)]
struct Typed {
    #[command(flatten)]
    args: Args,
}

/// What these words ask of the daemon.
///
/// # Errors
/// They are no verb, or one that changes nothing.
pub(in crate::cli) fn ask(words: &[String]) -> Result<Ask, Complaint> {
    let typed = Typed::try_parse_from(words).map_err(|error| slip(&error))?;
    let name = words.first().map(String::as_str).unwrap_or_default();
    let nothing = || Complaint::new(format!("`{name}` changes nothing")).help(CHANGING);
    match typed.args.verb {
        Verb::Start(args) => Ok(targets::ask(Does::Start, args)),
        Verb::Stop(args) => Ok(targets::ask(Does::Stop, args)),
        Verb::Restart(args) => Ok(targets::ask(Does::Restart, args)),
        Verb::Reload(args) => Ok(targets::ask(Does::Reload, args)),
        Verb::Suspend(args) => Ok(targets::ask(Does::Suspend, args)),
        Verb::Resume(args) => Ok(targets::ask(Does::Resume, args)),
        Verb::Signal(args) => Ok(signal::ask(args)),
        Verb::Delete(args) if delete::is_refused(&args) => {
            Err(Complaint::new("`--cascade=orphan` is not supported yet"))
        }
        Verb::Delete(args) => Ok(delete::ask(&args)),
        Verb::Scale(args) => Ok(scale::ask(args)),
        Verb::Trigger(args) => Ok(trigger::ask(args)),
        Verb::Rollout(args) => rollout::ask(args).ok_or_else(nothing),
        Verb::Apply(_) => Err(Complaint::new("`apply` is not supported in a script")
            .help("write units = \"DIR\" instead of command: the files from then on")),
        Verb::Ps(_)
        | Verb::Get(_)
        | Verb::Describe(_)
        | Verb::Events(_)
        | Verb::Logs(_)
        | Verb::Diff(_)
        | Verb::Wait(_)
        | Verb::Ping(_)
        | Verb::Version(_) => Err(nothing()),
        Verb::Top(_) | Verb::Exec(_) | Verb::Attach(_) | Verb::Reexec(_) | Verb::Shutdown(_) => {
            Err(Complaint::new(format!("`{name}` is not supported in a script yet")).help(CHANGING))
        }
    }
}

/// What the command line says, on one line.
fn slip(error: &clap::Error) -> Complaint {
    let text = error.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let complaint = Complaint::new(first.trim_start_matches("error: "));
    let rest: Vec<&str> = lines.collect();
    let tip = rest.iter().find_map(|line| line.strip_prefix("tip: "));
    let usage = rest.iter().find(|line| line.starts_with("Usage: "));
    let given = rest.first().filter(|line| !line.starts_with("Usage: "));
    match tip.or(given.copied()).or(usage.copied()) {
        Some(help) => complaint.help(help),
        None => complaint,
    }
}
