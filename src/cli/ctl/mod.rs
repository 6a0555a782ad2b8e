//! `wsup ctl`: one file per verb.
//!
//! Responsible for arguments, and for turning answers into lines and exit codes. Must not decide
//! anything: what a target means and what a verb does is the daemon's business.

mod apply;
mod delete;
mod describe;
mod events;
mod get;
mod logs;
mod ping;
mod ps;
mod rollout;
mod scale;
mod screen;
mod shutdown;
mod signal;
mod targets;
mod top;
mod trigger;
mod typed;
mod version;
mod wait;
pub(super) mod words;

use super::exit;
use crate::api::client::{Client, ClientError, Surroundings};
use crate::api::types::{ApiError, ErrorCode};
use clap::Subcommand;
use screen::Screen;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
pub(super) use typed::ask;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "TARGET is kind/name (also short and plural kinds), a unit's name or an \
instance's name.\nExit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 the daemon cannot be \
reached, 5 timed out.")]
pub struct Args {
    /// The daemon's control socket; found by itself if not given: dev, user, system
    #[arg(long, value_name = "PATH", env = "WSUP_CONTROL", global = true, hide_env_values = true)]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show what runs: units and their instances
    Ps(ps::Args),
    /// Show units, one row each
    Get(get::Args),
    /// Show everything about a unit or an instance
    Describe(describe::Args),
    /// Show what happened
    Events(events::Args),
    /// Show what instances wrote
    Logs(logs::Args),
    /// Read the unit files anew and make it so
    Apply(apply::Args),
    /// Show what `apply` would change
    Diff(apply::DiffArgs),
    /// Run what was stopped
    Start(targets::Args),
    /// Stop, and stay stopped
    Stop(targets::Args),
    /// Stop and start again in place; a finished job runs anew
    Restart(targets::Args),
    /// Have programs read their configuration anew, as `[lifecycle] reload` says
    Reload(targets::Args),
    /// Job, cronjob: run nothing (new) until resumed
    Suspend(targets::Args),
    /// Job, cronjob: go on
    Resume(targets::Args),
    /// Send a signal to main processes
    Signal(signal::Args),
    /// Remove a unit until it is applied again; an instance is replaced by its controller
    Delete(delete::Args),
    /// Change the number of instances
    Scale(scale::Args),
    /// Watch and steer roll-outs
    Rollout(rollout::Args),
    /// Make a job of a cronjob now
    Trigger(trigger::Args),
    /// Wait until something is so
    Wait(wait::Args),
    /// Ask whether the daemon answers
    Ping(ping::Args),
    /// Show the versions of client and daemon
    Version(version::Args),
    /// Show what units and instances use: CPU, memory, tasks, io
    Top(top::Args),
    #[command(hide = true)]
    Exec(Later),
    #[command(hide = true)]
    Attach(Later),
    #[command(hide = true)]
    Reexec(Later),
    /// End the daemon, after everything was stopped
    Shutdown(shutdown::Args),
}

/// Takes any words, for verbs that are named in the contract and not built yet.
#[derive(Debug, clap::Args)]
struct Later {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<String>,
}

/// Why a verb did not do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    code: u8,
    /// Empty: there is nothing to say (the reader of a pipe went away, or all was said already).
    message: String,
    help: Option<String>,
}

/// A verb's exit code, or why there is none.
type Outcome = Result<u8, Failure>;

impl Failure {
    fn new(code: u8, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Failure {
        self.help = Some(help.into());
        self
    }

    /// Named in the contract and not built yet.
    fn not_yet(what: &str) -> Failure {
        Failure::new(exit::USAGE, format!("{what} is not supported yet"))
    }

    /// An answer that goes on ended before its last line.
    fn cut_off() -> Failure {
        Failure::new(exit::UNREACHABLE, "the daemon has stopped")
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let code = match error.code {
            ErrorCode::Usage => exit::USAGE,
            ErrorCode::NotFound => exit::NOT_FOUND,
            ErrorCode::Failed => exit::FAILED,
            ErrorCode::TimedOut => exit::TIMED_OUT,
            ErrorCode::Stopping => exit::UNREACHABLE,
        };
        Failure { code, message: error.message, help: error.help }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Api(error) => error.into(),
            ClientError::Unreachable(_) => Failure::new(exit::UNREACHABLE, error.to_string()).help(
                "start one with `wsup dev` or `wsup daemon`, or name its socket with --socket",
            ),
            ClientError::Broken(_) => Failure::new(exit::UNREACHABLE, error.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            // Whoever read has read enough: `ctl events | head -1` is no failure.
            return Failure::new(exit::OK, "");
        }
        Failure::new(exit::FAILED, format!("cannot write: {error}"))
    }
}

/// Runs it.
pub fn run(args: Args) -> ExitCode {
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(exit::FAILED, format!("cannot start: {e}")))
        .and_then(|runtime| runtime.block_on(run_verb(args)));
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) if failure.message.is_empty() => ExitCode::from(failure.code),
        Err(failure) => exit::fail(failure.code, &failure.message, failure.help.as_deref()),
    }
}

async fn run_verb(args: Args) -> Outcome {
    if let Some(name) = not_built(&args.verb) {
        return Err(Failure::not_yet(&format!("`wsup ctl {name}`")));
    }
    let surroundings = Surroundings {
        given: args.socket.filter(|path| !path.as_os_str().is_empty()),
        cwd: std::env::current_dir().ok(),
        runtime_dir: std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from),
    };
    if let Verb::Version(version) = args.verb {
        return version::run(version, &surroundings, Screen::stdout()).await;
    }
    let client = Client::find(&surroundings).await?;
    let mut screen = Screen::stdout();
    let outcome = dispatch(args.verb, &client, &mut screen).await;
    screen.flush()?;
    outcome
}

/// The name of a verb that is refused.
fn not_built(verb: &Verb) -> Option<&'static str> {
    let (name, later) = match verb {
        Verb::Exec(later) => ("exec", later),
        Verb::Attach(later) => ("attach", later),
        Verb::Reexec(later) => ("reexec", later),
        _ => return None,
    };
    let _ = &later.words;
    Some(name)
}

async fn dispatch(verb: Verb, client: &Client, screen: &mut Screen) -> Outcome {
    use crate::api::types::Verb as Does;
    match verb {
        Verb::Ps(args) => ps::run(args, client, screen).await,
        Verb::Get(args) => get::run(args, client, screen).await,
        Verb::Describe(args) => describe::run(args, client, screen).await,
        Verb::Events(args) => events::run(args, client, screen).await,
        Verb::Logs(args) => logs::run(args, client, screen).await,
        Verb::Apply(args) => apply::run(args, client, screen).await,
        Verb::Diff(args) => apply::diff(args, client, screen).await,
        Verb::Start(args) => targets::run(Does::Start, args, client, screen).await,
        Verb::Stop(args) => targets::run(Does::Stop, args, client, screen).await,
        Verb::Restart(args) => targets::run(Does::Restart, args, client, screen).await,
        Verb::Reload(args) => targets::run(Does::Reload, args, client, screen).await,
        Verb::Suspend(args) => targets::run(Does::Suspend, args, client, screen).await,
        Verb::Resume(args) => targets::run(Does::Resume, args, client, screen).await,
        Verb::Signal(args) => signal::run(args, client, screen).await,
        Verb::Delete(args) => delete::run(args, client, screen).await,
        Verb::Scale(args) => scale::run(args, client, screen).await,
        Verb::Rollout(args) => rollout::run(args, client, screen).await,
        Verb::Trigger(args) => trigger::run(args, client, screen).await,
        Verb::Wait(args) => wait::run(args, client, screen).await,
        Verb::Ping(args) => ping::run(args, client, screen).await,
        Verb::Top(args) => top::run(args, client, screen).await,
        Verb::Shutdown(args) => shutdown::run(args, client, screen).await,
        Verb::Version(_) | Verb::Exec(_) | Verb::Attach(_) | Verb::Reexec(_) => Ok(exit::USAGE),
    }
}

/// How a list is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people
    #[default]
    Table,
    /// The same with more columns
    Wide,
    /// A JSON array, described in docs/json.md
    Json,
    /// Only names, one a line
    Name,
}

/// How one answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// JSON, described in docs/json.md
    Json,
}
