//! `wsup ctl events`.

use super::screen::Screen;
use super::{Failure, Outcome};
use crate::api::client::Client;
use crate::api::types::Event;
use crate::cli::exit;
use crate::cli::output::NOTHING;
use crate::cli::output::color::Tint;
use crate::cli::output::table::{Cell, Table};
use crate::cli::output::time::{age, now};
use jiff::Timestamp;

/// How events are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people
    #[default]
    Table,
    /// One JSON object a line, described in docs/json.md
    Json,
}

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// kind/name, a unit's name, or an instance's name, also of what is gone; all if not given
    target: Option<String>,
    /// All, which is also the default
    #[arg(long, conflicts_with = "target")]
    all: bool,
    /// Go on with what happens
    #[arg(short, long)]
    watch: bool,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Runs it.
pub(super) async fn run(args: Args, client: &Client, screen: &mut Screen) -> Outcome {
    let mut query = Vec::new();
    query.extend(args.target.map(|target| ("target", target)));
    if args.watch {
        query.push(("watch", "true".to_owned()));
    }
    let mut stream = client.stream("/v1/events", &query).await?;
    let mut events = Vec::new();
    while let Some(event) = stream.line::<Event>().await? {
        match (args.output, args.watch) {
            (Output::Json, watch) => {
                screen.json_line(&event)?;
                if watch {
                    screen.flush()?;
                }
            }
            (Output::Table, false) => events.push(event),
            (Output::Table, true) => {
                screen.line(&line(&event))?;
                screen.flush()?;
            }
        }
    }
    if args.watch {
        return Err(Failure::cut_off());
    }
    if args.output == Output::Table {
        let text = if events.is_empty() {
            "No events found.\n".to_owned()
        } else {
            table(&events, now()).render()
        };
        screen.text(&text)?;
    }
    Ok(exit::OK)
}

/// What an event is about.
fn object(event: &Event) -> String {
    match (&event.instance, &event.kind, &event.name) {
        (Some(instance), ..) => instance.clone(),
        (None, Some(kind), Some(name)) => format!("{kind}/{name}"),
        (None, ..) => "daemon".to_owned(),
    }
}

fn tint(event: &Event) -> Tint {
    if event.severity == "Warning" { Tint::Bad } else { Tint::Plain }
}

/// The events as a table, oldest first.
pub(super) fn table(events: &[Event], now: Timestamp) -> Table {
    let mut table = Table::new(&["AGE", "TYPE", "REASON", "OBJECT", "MESSAGE"]);
    for event in events {
        table.row(vec![
            age(event.time, now).into(),
            Cell::tinted(event.severity.clone(), tint(event)),
            Cell::tinted(event.reason.clone(), tint(event)),
            object(event).into(),
            if event.message.is_empty() { NOTHING } else { &event.message }.into(),
        ]);
    }
    table
}

/// One event as it happens: with its time, for an age would always be nothing.
fn line(event: &Event) -> String {
    let time = event.time.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string();
    let (on, off) = if event.severity == "Warning" {
        let red = anstyle::AnsiColor::Red.on_default();
        (red.render().to_string(), red.render_reset().to_string())
    } else {
        (String::new(), String::new())
    };
    format!("{time}  {on}{:<18}{off}  {}  {}", event.reason, object(event), event.message)
}
