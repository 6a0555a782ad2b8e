//! The terminal of `wsup dev`: output and events of all instances, interleaved.
//!
//! Responsible for what is shown and how. Runs in a thread of its own, so that a terminal that is
//! held (Ctrl-S) holds nothing else. Whether colours reach the terminal is anstream's decision.

use super::tail::{Past, Tails};
use crate::api::door::Door;
use crate::api::events::Follower;
use crate::core::id::UnitKey;
use crate::core::report::{Reason, Report, Severity};
use crate::core::time::{Millis, Wall};
use crate::core::view::KindView;
use anstyle::{AnsiColor, Style};
use std::collections::BTreeMap;
use std::io::{self, Write};
use tokio::sync::{oneshot, watch};

/// Colours of names, in the order of their units' appearance. Red is for what goes wrong.
const COLOURS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Green,
    AnsiColor::Yellow,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightCyan,
];

/// Longer names are not aligned to: they would push everything else to the right.
const WIDTH_MAX: usize = 30;

/// Readiness this soon after the start is no news.
const AT_ONCE: Millis = Millis(500);

/// What is known before anything has started.
pub(super) struct Greeting {
    /// The first lines.
    pub(super) text: String,
    /// How long names will be.
    pub(super) width: usize,
}

/// Shows everything until the flag is set and nothing is left to be shown.
pub(super) async fn show(door: Door, ended: watch::Receiver<bool>, past: Past, greeting: Greeting) {
    let (done, finished) = oneshot::channel();
    let thread = std::thread::Builder::new().name("screen".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let result = runtime.and_then(|runtime| {
            runtime.block_on(async {
                Screen::new(door, past, &greeting)?.run(ended, &greeting.text).await
            })
        });
        if let Err(error) = result {
            leave(&error);
        }
        let _ = done.send(());
    });
    match thread {
        Ok(_) => drop(finished.await),
        Err(error) => tracing::error!("there is no output here: {error}"),
    }
}

/// Nobody reads any more (`wsup dev | head`): that is as good as Ctrl-C.
fn leave(error: &io::Error) {
    if error.kind() != io::ErrorKind::BrokenPipe {
        tracing::error!("the terminal cannot be written to: {error}");
    }
    if let Err(errno) = nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM) {
        tracing::error!("cannot stop: {}", errno.desc());
    }
}

struct Screen {
    door: Door,
    tails: Tails,
    events: Follower,
    /// A column for the longest name so far.
    width: usize,
    /// Colours by unit.
    units: BTreeMap<String, AnsiColor>,
    /// Instances' units and when they were last started.
    instances: BTreeMap<String, (String, Wall)>,
    /// Lines of instances whose start has not been told yet.
    waiting: Vec<(String, Vec<u8>)>,
    page: Vec<u8>,
}

impl Screen {
    fn new(door: Door, past: Past, greeting: &Greeting) -> io::Result<Screen> {
        Ok(Screen {
            events: door.events().follow(),
            door,
            tails: Tails::new(past)?,
            width: greeting.width.min(WIDTH_MAX),
            units: BTreeMap::new(),
            instances: BTreeMap::new(),
            waiting: Vec::new(),
            page: Vec::new(),
        })
    }

    async fn run(mut self, mut ended: watch::Receiver<bool>, greeting: &str) -> io::Result<()> {
        let dim = Style::new().dimmed();
        for line in greeting.lines() {
            writeln!(self.page, "{dim}{line}{dim:#}")?;
        }
        let mut last = false;
        while !last {
            last = *ended.borrow_and_update();
            self.look().await?;
            self.print()?;
            if !last {
                tokio::select! {
                    changed = self.tails.changed() => changed?,
                    () = self.events.changed() => {}
                    // The sender is gone only after it has been set.
                    _ = ended.changed() => {}
                }
            }
        }
        self.rest()?;
        self.print()
    }

    /// Takes up everything that is new. When an end is told, all output before it is in the files,
    /// and is shown first; output after a start is shown after it.
    async fn look(&mut self) -> io::Result<()> {
        for report in self.events.take().reports {
            if matches!(report.reason, Reason::InstanceExited | Reason::InstanceUnready) {
                self.output()?;
            }
            self.learn(&report);
            self.event(&report).await?;
        }
        self.output()
    }

    /// Notes what is needed to show output of an instance.
    fn learn(&mut self, report: &Report) {
        let (Some(unit), Some(instance)) = (&report.unit, &report.instance) else { return };
        let unit = unit.to_string();
        let next = COLOURS.get(self.units.len() % COLOURS.len()).copied();
        self.units.entry(unit.clone()).or_insert(next.unwrap_or(AnsiColor::Cyan));
        if report.reason == Reason::InstanceStarted {
            self.instances.insert(instance.clone(), (unit, report.time));
        }
        self.width = self.width.max(instance.len().min(WIDTH_MAX));
    }

    /// Shows what has been written. What an instance writes before its start is told waits for
    /// that: it comes within the same turn of the loop.
    fn output(&mut self) -> io::Result<()> {
        let waiting = &mut self.waiting;
        self.tails.drain(|instance, line| waiting.push((instance.to_owned(), line.to_vec())));
        let (known, unknown) = std::mem::take(waiting)
            .into_iter()
            .partition(|(instance, _)| self.instances.contains_key(instance));
        self.waiting = unknown;
        self.lines(known)
    }

    /// Shows what is left at the end.
    fn rest(&mut self) -> io::Result<()> {
        let mut lines = std::mem::take(&mut self.waiting);
        self.tails.rest(|instance, line| lines.push((instance.to_owned(), line.to_vec())));
        self.lines(lines)
    }

    fn lines(&mut self, lines: Vec<(String, Vec<u8>)>) -> io::Result<()> {
        lines.iter().try_for_each(|(instance, line)| self.line(instance, line))
    }

    fn line(&mut self, instance: &str, line: &[u8]) -> io::Result<()> {
        self.name(instance)?;
        // A progress bar returns to the start of its line, over our name.
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let shown = line.rsplit(|byte| *byte == b'\r').find(|part| !part.is_empty());
        self.page.extend_from_slice(shown.unwrap_or_default());
        // A colour that a program leaves switched on must not go on into others' lines.
        if line.contains(&0x1b) {
            self.page.extend_from_slice(b"\x1b[0m");
        }
        self.page.push(b'\n');
        Ok(())
    }

    fn name(&mut self, name: &str) -> io::Result<()> {
        let unit = self.instances.get(name).map_or(name, |(unit, _)| unit.as_str());
        let colour = self.units.get(unit).map_or(Style::new(), |c| c.on_default());
        let width = self.width;
        write!(self.page, "{colour}{name:width$} |{colour:#} ")
    }

    async fn event(&mut self, report: &Report) -> io::Result<()> {
        if !self.is_news(report) {
            return Ok(());
        }
        let mut text = words(report);
        if report.reason == Reason::CronTriggered
            && let Some(unit) = &report.unit
            && let Some(next) = self.next_run(unit).await
        {
            text.push_str(&format!("; next run {next}"));
        }
        let style = match report.severity {
            Severity::Normal => Style::new().dimmed(),
            Severity::Warning => AnsiColor::Yellow.on_default(),
        };
        let name = match (&report.instance, &report.unit) {
            (Some(instance), _) => instance.clone(),
            (None, Some(unit)) => unit.name.to_string(),
            (None, None) => "wsup".to_owned(),
        };
        self.name(&name)?;
        writeln!(self.page, "{style}* {text}{style:#}")
    }

    fn is_news(&self, report: &Report) -> bool {
        match report.reason {
            Reason::InstanceReady => {
                let started = report.instance.as_ref().and_then(|name| self.instances.get(name));
                started.is_some_and(|(_, at)| report.time.since(*at) > AT_ONCE)
            }
            // What follows from another line, or from what the person just typed.
            Reason::InstanceCreated
            | Reason::InstanceDeleted
            | Reason::InstanceStopping
            | Reason::ScaledUp
            | Reason::ScaledDown
            | Reason::RolloutStarted
            | Reason::JobCreated
            | Reason::JobStarted
            | Reason::JobDeleted
            | Reason::DaemonStarted => false,
            Reason::UnitApplied => report.message != "created",
            _ => true,
        }
    }

    async fn next_run(&self, cronjob: &UnitKey) -> Option<String> {
        let key = cronjob.clone();
        let view = self.door.read(move |core| core.unit(&key)).await.ok()??;
        match view.kind {
            KindView::CronJob(cron) => cron.next_schedule.map(clock),
            KindView::Service | KindView::Job(_) => None,
        }
    }

    fn print(&mut self) -> io::Result<()> {
        if self.page.is_empty() {
            return Ok(());
        }
        let page = std::mem::take(&mut self.page);
        let mut out = anstream::stdout().lock();
        out.write_all(&page)?;
        out.flush()
    }
}

fn words(report: &Report) -> String {
    match report.reason {
        Reason::DaemonStopping => "stopping everything; Ctrl-C again kills at once".to_owned(),
        _ if report.message.is_empty() => report.reason.as_str().to_owned(),
        _ => report.message.clone(),
    }
}

/// An instant as people read it: the time of day, with the day if it is not the next 24 hours.
fn clock(at: Wall) -> String {
    let now = jiff::Zoned::now();
    let Ok(instant) = jiff::Timestamp::from_millisecond(at.0) else { return "never".to_owned() };
    let time = instant.to_zoned(now.time_zone().clone());
    let near = at.since(Wall(now.timestamp().as_millisecond())) < Millis::from_secs(24 * 60 * 60);
    time.strftime(if near { "at %H:%M:%S" } else { "on %Y-%m-%d at %H:%M:%S" }).to_string()
}
