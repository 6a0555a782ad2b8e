//! The script of a simulation: what processes do and what people do, read from TOML.
//!
//! Responsible for the script's form and for a place for every complaint, in the manner of unit
//! files. Must not know which units there are: [`Draft::finish`] is told.

use crate::core::event::Exit;
use crate::core::id::Kind;
use crate::core::time::{Millis, Wall};
use crate::core::{id::UnitKey, signal};
use crate::unit::report::{FileText, Report};
use crate::unit::tree::{self, Node, Place, Table};
use crate::unit::{Complaint, Diagnostic, duration, suggest, syntax};
use std::path::Path;

/// A script that makes sense.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// When the simulation begins, if it says so.
    pub start: Option<Wall>,
    /// What processes do.
    pub behaviours: Vec<Behaviour>,
    /// What people do and what goes wrong, in the order in which it stands.
    pub changes: Vec<Change>,
}

/// What the processes of a unit or an instance do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Behaviour {
    /// Whose.
    pub whose: Whose,
    /// What each start does; the last one repeats. Empty: as without a behaviour.
    pub attempts: Vec<Attempt>,
    /// When the program does its work.
    pub ready: Ready,
    /// What the stop signal does.
    pub stop: Stop,
}

/// Whose behaviour it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whose {
    /// The unit's kind, if it is written.
    pub kind: Option<Kind>,
    /// The unit's name; of a cronjob's jobs, also the cronjob's.
    pub unit: Option<String>,
    /// Only processes of this revision.
    pub revision: Option<u64>,
    /// The instance's name.
    pub instance: Option<String>,
}

/// What one start does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It runs until it is asked to end.
    RunsOn,
    /// It ends by itself.
    Ends(Millis, Exit),
}

/// When a program does its work, as its probes see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// So long after its start.
    After(Millis),
    /// Not at all.
    Never,
}

impl Default for Ready {
    fn default() -> Self {
        Ready::After(Millis::ZERO)
    }
}

/// What the stop signal does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The process ends so long after it.
    After(Millis),
    /// Nothing: only SIGKILL ends it.
    Never,
}

impl Default for Stop {
    fn default() -> Self {
        Stop::After(Millis::ZERO)
    }
}

/// Something that is done to the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When, from the beginning.
    pub at: Millis,
    /// What.
    pub what: Deed,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The words of a verb of `wsup ctl`.
    Command(Vec<String>),
    /// From now on the units are those of this directory.
    Units(String),
    /// The daemon goes, and is back after some time.
    Daemon {
        /// It is killed, and its processes run on; otherwise it stops everything first.
        kill: bool,
        /// How long it is away.
        down_for: Millis,
    },
}

/// Judges the words of a command: the reason if they are no verb that changes something.
pub type Judge<'a> = &'a dyn Fn(&[String]) -> Result<(), Complaint>;

/// A script that was read, and is not yet held against the units.
#[derive(Debug)]
pub struct Draft {
    script: Script,
    report: Report,
    names: Vec<(Place, Whose)>,
    places: Vec<(Place, String)>,
}

const TOP: &[&str] = &["start", "behaviour", "change"];
const BEHAVIOUR: &[&str] =
    &["unit", "instance", "revision", "ready_after", "never", "attempts", "stop_takes"];
const ATTEMPT: &[&str] = &["runs_for", "exit_code", "signal"];
const CHANGE: &[&str] = &["at", "command", "units", "daemon", "down_for"];

/// Reads a script. `judge` is asked about every command.
pub fn read(path: &Path, text: &str, judge: Judge<'_>) -> Draft {
    let (table, errors) = tree::parse(text, 0);
    let mut report = Report::new(vec![FileText { path: path.to_owned(), text: text.to_owned() }]);
    let complaints =
        errors.into_iter().map(|e| (e.at.clone(), syntax::explain(&e, text))).collect();
    report.syntax_errors(complaints);
    let mut reader = Reader { report, judge, names: Vec::new(), places: Vec::new() };
    let script = reader.script(&table);
    Draft { script, report: reader.report, names: reader.names, places: reader.places }
}

impl Draft {
    /// What was read so far, mistakes included: for finding the directories of units it names.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// Complains about a directory of units that cannot be used, wherever it is named.
    pub fn refuse_units(&mut self, dir: &str, why: &Complaint) {
        for (at, _) in self.places.iter().filter(|(_, named)| named == dir) {
            self.report.error(at, "change.units", why.clone());
        }
    }

    /// Holds the script against the units that there are at any time of it.
    ///
    /// # Errors
    /// All complaints, in the order of their places.
    pub fn finish(mut self, units: &[UnitKey]) -> Result<Script, Vec<Diagnostic>> {
        for (at, whose) in &self.names {
            let Some(name) = &whose.unit else { continue };
            let there = units.iter().any(|key| {
                key.name.as_str() == name && whose.kind.is_none_or(|kind| kind == key.kind)
            });
            // A single job of a cronjob may be named.
            let made = whose.kind.is_none_or(|kind| kind == Kind::Job)
                && units.iter().any(|key| {
                    key.kind == Kind::CronJob
                        && name.strip_prefix(key.name.as_str()).is_some_and(|r| r.starts_with('-'))
                });
            if !there && !made {
                let complaint = Complaint::new(format!("there is no unit `{name}`"));
                let near = suggest::near(name, units.iter().map(|key| key.name.as_str()));
                self.report.error(
                    at,
                    "behaviour.unit",
                    match near {
                        Some(near) => complaint.help(format!("did you mean `{near}`?")),
                        None => complaint,
                    },
                );
            }
        }
        let failed = self.report.has_errors();
        let (_, diagnostics) = self.report.finish();
        if failed { Err(diagnostics) } else { Ok(self.script) }
    }
}

struct Reader<'a> {
    report: Report,
    judge: Judge<'a>,
    /// Where units are named, to be held against those that there are.
    names: Vec<(Place, Whose)>,
    /// Where directories of units are named.
    places: Vec<(Place, String)>,
}

impl Reader<'_> {
    fn error(&mut self, at: &Place, key: &str, complaint: Complaint) {
        self.report.error(at, key, complaint);
    }

    fn script(&mut self, table: &Table) -> Script {
        self.known(table, TOP, "a script");
        let start = table.get("start").and_then(|node| self.instant(node));
        let behaviours: Vec<Behaviour> = self
            .tables(table, "behaviour")
            .into_iter()
            .map(|(at, table)| self.behaviour(&at, &table))
            .collect();
        let changes = self
            .tables(table, "change")
            .into_iter()
            .filter_map(|(at, table)| self.change(&at, &table))
            .collect();
        Script { start, behaviours, changes }
    }

    /// Complains about keys that do not exist.
    fn known(&mut self, table: &Table, keys: &[&str], what: &str) {
        for entry in &table.entries {
            if keys.contains(&entry.key.as_str()) {
                continue;
            }
            let ours = suggest::in_our_spelling(&entry.key);
            let help = match suggest::near(&ours, keys.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("{what} has: {}", keys.join(", ")),
            };
            let complaint = Complaint::new(format!("unknown key `{}`", entry.key)).help(help);
            self.error(&entry.key_at, &entry.key, complaint);
        }
    }

    fn wrong_type(&mut self, node: &Node, key: &str, wanted: &str) {
        let is = node.value.type_name();
        let complaint = Complaint::new(format!("`{key}` is {wanted}, not {is}"));
        self.error(&node.at, key, complaint);
    }

    fn tables(&mut self, table: &Table, key: &str) -> Vec<(Place, Table)> {
        let Some(node) = table.get(key) else { return Vec::new() };
        if node.as_table().is_some() {
            let complaint = Complaint::new(format!("`{key}` is one of several"))
                .help(format!("write [[{key}]]"));
            self.error(&node.at, key, complaint);
            return Vec::new();
        }
        if !matches!(node.value, tree::Value::List(_)) {
            self.wrong_type(node, key, "a list of tables");
        }
        let mut found = Vec::new();
        for item in node.items() {
            match item.as_table() {
                Some(table) => found.push((item.at.clone(), table.clone())),
                None => self.wrong_type(item, key, "a table"),
            }
        }
        found
    }

    fn text<'t>(&mut self, table: &'t Table, key: &str) -> Option<(&'t Node, &'t str)> {
        let node = table.get(key)?;
        match node.as_text() {
            Some(text) => Some((node, text)),
            None => {
                self.wrong_type(node, key, "a string");
                None
            }
        }
    }

    fn duration(&mut self, node: &Node, key: &str) -> Option<Millis> {
        let Some(text) = node.as_text() else {
            self.wrong_type(node, key, "a duration such as \"30s\"");
            return None;
        };
        match duration::parse(text) {
            Ok(span) => Some(span),
            Err(complaint) => {
                self.error(&node.at, key, complaint);
                None
            }
        }
    }

    fn instant(&mut self, node: &Node) -> Option<Wall> {
        // A date of TOML's own stands without quotes.
        let text = if matches!(node.value, tree::Value::Datetime) {
            self.report.written(&node.at).to_owned()
        } else {
            node.as_text().unwrap_or_default().to_owned()
        };
        let found = text.parse::<jiff::Timestamp>().ok().map(|at| Wall(at.as_millisecond()));
        if found.is_none() {
            let complaint = Complaint::new("`start` is not an RFC 3339 time")
                .help("write for example \"2026-03-29T00:00:00Z\"");
            self.error(&node.at, "start", complaint);
        }
        found
    }

    fn behaviour(&mut self, at: &Place, table: &Table) -> Behaviour {
        self.known(table, BEHAVIOUR, "[[behaviour]]");
        let ready = self.ready(table);
        let whose = self.whose(at, table);
        let stop = match table.get("stop_takes") {
            Some(node) if node.as_text() == Some("never") => Stop::Never,
            Some(node) => self.duration(node, "stop_takes").map_or_else(Stop::default, Stop::After),
            None => Stop::default(),
        };
        let mut attempts = Vec::new();
        if let Some(node) = table.get("attempts")
            && node.items().is_empty()
        {
            let complaint = Complaint::new("`attempts` is a list of one or more tables")
                .help("write for example attempts = [{ runs_for = \"3s\", exit_code = 1 }]");
            self.error(&node.at, "attempts", complaint);
        }
        for (at, table) in self.tables(table, "attempts") {
            attempts.extend(self.attempt(&at, &table));
        }
        Behaviour { whose, attempts, ready, stop }
    }

    fn ready(&mut self, table: &Table) -> Ready {
        let after = table.get("ready_after").and_then(|node| self.duration(node, "ready_after"));
        let never = table.get("never").is_some_and(|node| match node.as_bool() {
            Some(never) => never,
            None => {
                self.wrong_type(node, "never", "true or false");
                false
            }
        });
        if let (true, Some(entry)) = (never, table.entry("ready_after")) {
            let complaint = Complaint::new("a program that is never ready has no `ready_after`")
                .help("remove `ready_after` or `never`");
            self.error(&entry.key_at, "ready_after", complaint);
        }
        if never { Ready::Never } else { after.map_or_else(Ready::default, Ready::After) }
    }

    fn whose(&mut self, at: &Place, table: &Table) -> Whose {
        let instance = self.text(table, "instance").map(|(_, text)| text.to_owned());
        let mut whose = Whose { instance, ..Whose::default() };
        if let Some((node, text)) = self.text(table, "unit") {
            let (kind, name) = match text.split_once('/') {
                Some((kind, name)) => (Some(kind), name),
                None => (None, text),
            };
            whose.kind = kind.and_then(Kind::parse);
            whose.unit = Some(name.to_owned());
            if let (Some(word), None) = (kind, whose.kind) {
                let complaint = Complaint::new(format!("there is no kind `{word}`"))
                    .help("there are deployment, statefulset, daemonset, job and cronjob");
                self.error(&node.at, "unit", complaint);
            } else {
                self.names.push((node.at.clone(), whose.clone()));
            }
        }
        if let Some(node) = table.get("revision") {
            match node.as_int().and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0) {
                Some(n) => whose.revision = Some(n),
                None => {
                    let complaint = Complaint::new("`revision` is a whole number from 1");
                    self.error(&node.at, "revision", complaint);
                }
            }
            if !["unit", "instance"].iter().any(|key| table.get(key).is_some()) {
                let complaint =
                    Complaint::new("`revision` stands beside `unit`").help("add unit = \"NAME\"");
                self.error(&node.at, "revision", complaint);
            }
        } else if table.get("unit").is_some() == table.get("instance").is_some() {
            let complaint = Complaint::new("a behaviour is that of a unit or of an instance")
                .help("write either unit = \"NAME\" or instance = \"NAME\"");
            self.error(at, "behaviour", complaint);
        }
        whose
    }

    fn attempt(&mut self, at: &Place, table: &Table) -> Option<Attempt> {
        self.known(table, ATTEMPT, "an attempt");
        let runs_for = table.get("runs_for").and_then(|node| self.duration(node, "runs_for"));
        let code = table.get("exit_code").and_then(|node| {
            let code = node.as_int().and_then(|n| u8::try_from(n).ok());
            if code.is_none() {
                let complaint = Complaint::new("`exit_code` is a whole number from 0 to 255");
                self.error(&node.at, "exit_code", complaint);
            }
            code.map(|code| Exit::Code(i32::from(code)))
        });
        let by = self.text(table, "signal").and_then(|(node, text)| {
            let number = signal::parse(text);
            if number.is_none() {
                let complaint = Complaint::new(format!("`{text}` is not a signal"));
                let complaint = match suggest::near(text, signal::names()) {
                    Some(near) => complaint.help(format!("did you mean \"{near}\"?")),
                    None => complaint.help("write a name such as \"SIGKILL\""),
                };
                self.error(&node.at, "signal", complaint);
            }
            number.map(Exit::Signal)
        });
        if code.is_some() && by.is_some() {
            let complaint = Complaint::new("a process ends by an exit code or by a signal")
                .help("remove `exit_code` or `signal`");
            self.error(at, "attempts", complaint);
        }
        match (runs_for, by.or(code)) {
            (Some(span), exit) => Some(Attempt::Ends(span, exit.unwrap_or(Exit::Code(0)))),
            (None, None) => Some(Attempt::RunsOn),
            (None, Some(_)) if table.get("runs_for").is_some() => None,
            (None, Some(_)) => {
                let complaint = Complaint::new("nothing says when the process ends")
                    .help("add runs_for = \"1s\"");
                self.error(at, "attempts", complaint);
                None
            }
        }
    }

    fn change(&mut self, at: &Place, table: &Table) -> Option<Change> {
        self.known(table, CHANGE, "[[change]]");
        let when = match table.get("at") {
            Some(node) => self.duration(node, "at"),
            None => {
                let complaint = Complaint::new("nothing says when the change happens")
                    .help("add at = \"5m\": so long after the beginning");
                self.error(at, "change.at", complaint);
                None
            }
        };
        let deeds = ["command", "units", "daemon"];
        if deeds.iter().filter(|key| table.get(key).is_some()).count() != 1 {
            let complaint = Complaint::new("a change is exactly one of command, units and daemon")
                .help("write a [[change]] for each");
            self.error(at, "change", complaint);
            return None;
        }
        if let (Some(entry), None) = (table.entry("down_for"), table.get("daemon")) {
            let complaint = Complaint::new("`down_for` stands beside `daemon`");
            self.error(&entry.key_at, "down_for", complaint);
        }
        let what = match (table.get("command"), self.text(table, "units")) {
            (Some(node), _) => Deed::Command(self.command(node)?),
            (None, Some((node, dir))) => {
                self.places.push((node.at.clone(), dir.to_owned()));
                Deed::Units(dir.to_owned())
            }
            (None, None) => self.daemon(table)?,
        };
        Some(Change { at: when?, what })
    }

    fn daemon(&mut self, table: &Table) -> Option<Deed> {
        let (node, word) = self.text(table, "daemon")?;
        let kill = match word {
            "kill" => true,
            "stop" => false,
            other => {
                let complaint = Complaint::new(format!("`daemon` cannot be \"{other}\""))
                    .help("write \"kill\" or \"stop\"");
                self.error(&node.at, "daemon", complaint);
                return None;
            }
        };
        let down_for = match table.get("down_for") {
            Some(node) => self.duration(node, "down_for")?,
            None => Millis::ZERO,
        };
        Some(Deed::Daemon { kill, down_for })
    }

    fn command(&mut self, node: &Node) -> Option<Vec<String>> {
        let mut words = Vec::new();
        for item in node.items() {
            match item.as_text() {
                Some(text) => words.push(text.to_owned()),
                None => {
                    self.wrong_type(item, "command", "a list of strings");
                    return None;
                }
            }
        }
        if words.is_empty() {
            let complaint = Complaint::new("`command` is the words of a verb of `wsup ctl`")
                .help("write for example [\"scale\", \"deployment/api\", \"--replicas\", \"5\"]");
            self.error(&node.at, "command", complaint);
            return None;
        }
        if let Err(complaint) = (self.judge)(&words) {
            self.error(&node.at, "command", complaint);
            return None;
        }
        Some(words)
    }
}
