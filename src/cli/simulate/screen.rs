//! How a timeline looks.
//!
//! Responsible for the form of lines and of the summary, and for leaving colours out where they do
//! not belong. Must not decide anything.

use crate::api::types::{Event, Unit, time};
use crate::cli::ctl::words::{unit_ready, unit_remark, unit_state};
use crate::cli::output::table::{Cell, Table};
use crate::core::id::UnitKey;
use crate::core::report::{Reason, Report, Severity};
use crate::core::schedule::Zones;
use crate::core::time::Wall;
use crate::daemon::zones::SystemZones;
use crate::sim::scenario::{End, Entry, What};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufWriter, Write};

/// The zones of a machine whose own is UTC: what a simulation shows must not depend on where it
/// runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Utc(pub(super) SystemZones);

impl Zones for Utc {
    fn zone(&self, name: Option<&str>) -> Option<TimeZone> {
        self.0.zone(Some(name.unwrap_or("UTC")))
    }
}

/// What is counted for the summary, with its word.
const COUNTED: [(Reason, &str); 5] = [
    (Reason::CronTriggered, "triggered"),
    (Reason::CronMissed, "missed"),
    (Reason::CronSkipped, "skipped"),
    (Reason::CronReplaced, "replaced"),
    (Reason::InstanceExited, "exits"),
];

/// Standard output.
pub(super) struct Screen {
    out: BufWriter<io::StdoutLock<'static>>,
    /// Nobody wants colours.
    plain: bool,
    from: Wall,
    /// The day of the last line.
    day: Option<Date>,
    counts: BTreeMap<(UnitKey, Reason), u64>,
}

impl Screen {
    pub(super) fn new(from: Wall) -> Screen {
        let stdout = io::stdout();
        let plain = anstream::AutoStream::choice(&stdout) == anstream::ColorChoice::Never;
        let out = BufWriter::new(stdout.lock());
        Screen { out, plain, from, day: None, counts: BTreeMap::new() }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Prints a text, without colours if nobody wants them. Few texts have any, and to look for
    /// that is quick.
    fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> io::Result<()> {
        if !self.plain {
            return self.out.write_fmt(text);
        }
        let text = text.to_string();
        if text.contains('\u{1b}') {
            write!(self.out, "{}", anstream::adapter::strip_str(&text))
        } else {
            self.out.write_all(text.as_bytes())
        }
    }

    /// One event a line; what is no event of the daemon is left out, but a refusal is told aside.
    pub(super) fn json(&mut self, entry: &Entry) -> io::Result<()> {
        match &entry.what {
            What::Event(report) => {
                serde_json::to_writer(&mut self.out, &Event::from(&**report))?;
                self.out.write_all(b"\n")
            }
            What::Refusal(why) => {
                anstream::eprintln!("warning: {}: refused: {why}", time(entry.at));
                Ok(())
            }
            What::Command(_)
            | What::Answer(_)
            | What::Units(_)
            | What::Killed(_)
            | What::Stopping
            | What::Stopped(_) => Ok(()),
        }
    }

    /// A line for people.
    pub(super) fn text(&mut self, entry: &Entry) -> io::Result<()> {
        let clock = self.clock(entry.at)?;
        let bold = anstyle::Style::new().bold();
        let red = anstyle::AnsiColor::Red.on_default();
        match &entry.what {
            What::Event(report) => self.event(&clock, report),
            What::Command(words) => {
                let typed = shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default();
                writeln!(self, "{clock}  {bold}$ wsup ctl {typed}{bold:#}")
            }
            What::Answer(text) => writeln!(self, "{clock}    {text}"),
            What::Refusal(why) => writeln!(self, "{clock}    {red}refused:{red:#} {why}"),
            What::Units(dir) => {
                writeln!(self, "{clock}  {bold}# the unit files are those of {dir}{bold:#}")
            }
            What::Killed(away) => writeln!(
                self,
                "{clock}  {bold}# the daemon is killed; it is back in {away}{bold:#}"
            ),
            What::Stopping => writeln!(self, "{clock}  {bold}# the daemon is stopped{bold:#}"),
            What::Stopped(away) => writeln!(
                self,
                "{clock}  {bold}# the daemon has ended; it is back in {away}{bold:#}"
            ),
        }
    }

    fn event(&mut self, clock: &str, report: &Report) -> io::Result<()> {
        if let Some(unit) = &report.unit {
            *self.counts.entry((unit.clone(), report.reason)).or_default() += 1;
        }
        let object = match (&report.instance, &report.unit) {
            (Some(instance), _) => instance.clone(),
            (None, Some(unit)) => unit.to_string(),
            (None, None) => "daemon".to_owned(),
        };
        let style = match report.severity {
            Severity::Normal => anstyle::Style::new(),
            Severity::Warning => anstyle::AnsiColor::Red.on_default(),
        };
        let reason = report.reason.as_str();
        let message = report.message.replace(['\n', '\r', '\t'], " ");
        let line = format!("{clock}  {style}{reason:<19}{style:#}  {object:<27}  {message}");
        writeln!(self, "{}", line.trim_end())
    }

    /// The time of day, and a heading where a day begins.
    fn clock(&mut self, at: Wall) -> io::Result<String> {
        let shown = time(at).to_zoned(TimeZone::UTC);
        if self.day != Some(shown.date()) {
            if self.day.is_some() {
                writeln!(self)?;
            }
            self.day = Some(shown.date());
            writeln!(self, "{} UTC", shown.strftime("%A, %Y-%m-%d"))?;
        }
        let millis = shown.subsec_nanosecond() / 1_000_000;
        let millis = if millis == 0 { "    ".to_owned() } else { format!(".{millis:03}") };
        Ok(format!("{}{millis}", shown.strftime("%H:%M:%S")))
    }

    /// How things stand at the end.
    pub(super) fn summary(&mut self, end: &End) -> io::Result<()> {
        let at = time(end.at);
        let shown = at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S").to_string();
        if self.day.is_some() {
            writeln!(self)?;
        }
        writeln!(self, "At {shown} UTC, after {}:", end.at.since(self.from))?;
        if !end.daemon {
            return writeln!(self, "no daemon runs");
        }
        let mut table = Table::new(&["NAME", "STATE", "READY", "REV", "INFO"]);
        for view in end.units.iter().filter(|view| view.owner.is_none()) {
            let unit = Unit::from(view);
            let mut remarks = vec![unit_remark(&unit, at)];
            for (reason, word) in COUNTED {
                if let Some(count) = self.counts.get(&(view.key.clone(), reason)) {
                    remarks.push(format!("{count} {word}"));
                }
            }
            remarks.retain(|remark| !remark.is_empty());
            table.row(vec![
                view.key.to_string().into(),
                Cell::state(unit_state(&unit)),
                unit_ready(&unit).into(),
                view.revision.to_string().into(),
                remarks.join("; ").into(),
            ]);
        }
        if end.units.is_empty() {
            return writeln!(self, "no units");
        }
        write!(self, "{}", table.render())
    }
}
