//! Procfiles: `name: command`, one process a line.
//!
//! Responsible for turning each line into a deployment of one instance whose command a shell runs,
//! as foreman and its kin do, so that variables, pipes and `&&` work. Like them it gives every
//! process a PORT of its own and reads `.env` beside the Procfile.

use super::complaint::Complaint;
use super::keys;
use super::load::{FileReport, InvalidUnit, Loaded};
use super::lower;
use super::names;
use super::report::{FileText, Report};
use super::tree::{Entry, Node, Place, Table, Value};
use super::walk::Walk;
use crate::core::id::{Kind, UnitKey, UnitName};
use crate::core::spec::UnitSpec;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// The PORT of the first process; each next one has [`PORT_STEP`] more (foreman's figures).
const PORT_BASE: i64 = 5_000;
/// See [`PORT_BASE`].
const PORT_STEP: i64 = 100;

/// Words with which a line is left to the shell whole: built into it, so that nothing could be
/// executed in its place.
const SHELL_WORDS: [&str; 24] = [
    "!", ".", ":", "[", "alias", "break", "case", "cd", "eval", "exec", "exit", "export", "for",
    "if", "read", "set", "source", "time", "trap", "ulimit", "umask", "unset", "until", "while",
];

/// Whether a file of this name is taken for a Procfile: `Procfile`, `Procfile.dev` and so on.
pub fn is_procfile(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    name == "Procfile" || name.starts_with("Procfile.")
}

/// Reads a Procfile. Each process is a deployment; a bad line spoils no other.
pub fn parse(path: &Path, text: &str) -> Loaded {
    let files = vec![FileText { path: path.to_owned(), text: text.to_owned() }];
    let mut report = Report::new(files);
    let mut seen: BTreeMap<UnitName, usize> = BTreeMap::new();
    let mut units = Vec::new();
    let mut start = 0;
    for (number, raw) in text.split_inclusive('\n').enumerate() {
        let at = start;
        start += raw.len();
        let line = raw.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let begin = at + (raw.len() - raw.trim_start().len());
        match process(line, begin) {
            Err((span, complaint)) => report.error(&Place { file: 0, span }, "", complaint),
            Ok(process) => {
                if let Some(first) = seen.insert(process.name.clone(), number + 1) {
                    let complaint = Complaint::new(format!(
                        "a process named `{}` is on line {first} already",
                        process.name
                    ))
                    .help("give each process a name of its own");
                    report.error(&Place { file: 0, span: process.name_span }, "", complaint);
                    continue;
                }
                let port = PORT_BASE + PORT_STEP * i64::try_from(units.len()).unwrap_or_default();
                units.extend(unit(process, port, path, &mut report));
            }
        }
    }
    if units.is_empty() && !report.has_errors() {
        let complaint = Complaint::new("the Procfile has no process")
            .help("write one a line: web: ./server --port $PORT");
        report.error(&Place { file: 0, span: 0..0 }, "", complaint);
    }
    loaded(path, units, report)
}

/// The unit of a line, if its values pass the checks that a unit file's would.
fn unit(process: Process<'_>, port: i64, path: &Path, report: &mut Report) -> Option<UnitSpec> {
    let before = report.diagnostics.len();
    let tree = tree(&process, port, path);
    let key = UnitKey::new(Kind::Deployment, process.name);
    let mut walk =
        Walk { report, kind: Some(Kind::Deployment), kind_at: None, report_missing: true };
    walk.table(&tree, keys::UNIT, &Place { file: 0, span: 0..0 }, "");
    let spec = lower::lower(&tree, key, report);
    (report.diagnostics.len() == before).then_some(spec)
}

fn loaded(path: &Path, mut units: Vec<UnitSpec>, report: Report) -> Loaded {
    let valid = !report.has_errors();
    let (files, diagnostics) = report.finish();
    units.sort_by(|a, b| a.key.cmp(&b.key));
    // Which of its units a bad line was about is unknown: it may be any that came from this file.
    let error = diagnostics.first().map(ToString::to_string);
    let invalid = error
        .filter(|_| !valid)
        .map(|message| InvalidUnit { kind: None, name: None, path: path.to_owned(), message })
        .into_iter()
        .collect();
    let origins = units.iter().map(|unit| (unit.key.clone(), path.to_owned())).collect();
    let file = FileReport {
        path: path.to_owned(),
        kind: Some("procfile".to_owned()),
        name: None,
        valid,
        diagnostics,
    };
    Loaded {
        units,
        origins,
        invalid,
        files: vec![file],
        texts: files.into_iter().map(|file| (file.path, file.text)).collect(),
    }
}

/// One line.
struct Process<'t> {
    name: UnitName,
    name_span: Range<usize>,
    command: &'t str,
    command_span: Range<usize>,
}

fn process(line: &str, begin: usize) -> Result<Process<'_>, (Range<usize>, Complaint)> {
    let whole = begin..begin + line.len();
    let Some((written, rest)) = line.split_once(':') else {
        let complaint = Complaint::new("the line has no `name:` before its command")
            .help("write for example web: ./server --port $PORT");
        return Err((whole, complaint));
    };
    let name_span = begin..begin + written.trim_end().len();
    let written = written.trim_end();
    // Foreman's own rule, /^([A-Za-z0-9_-]+):/; underscores and capitals become a DNS label.
    let good = written.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let name = UnitName::new(&names::to_label(written)).ok().filter(|_| good);
    let Some(name) = name else {
        let complaint = Complaint::new(format!("`{written}` is not the name of a process"))
            .help("a name has letters, digits, `-` and `_`");
        return Err((if name_span.is_empty() { whole } else { name_span }, complaint));
    };
    let command = rest.trim();
    if command.is_empty() {
        let complaint = Complaint::new(format!("the process `{written}` has no command"))
            .help(format!("write it behind the colon: {written}: ./server"));
        return Err((whole, complaint));
    }
    let offset = begin + line.len() - rest.len() + (rest.len() - rest.trim_start().len());
    Ok(Process { name, name_span, command, command_span: offset..offset + command.len() })
}

/// What the shell is told: a simple command replaces the shell, so that signals reach it.
fn shell_line(command: &str) -> String {
    let first = command.split_whitespace().next().unwrap_or_default();
    let simple = !command.contains([';', '|', '&', '<', '>', '(', ')', '`', '{', '}', '#'])
        && !first.contains('=')
        && !SHELL_WORDS.contains(&first);
    // `$(...)` is the shell's here, not a reference of ours.
    let literal = command.replace("$(", "$$(");
    if simple { format!("exec {literal}") } else { literal }
}

/// The tree that a unit file with the same meaning would have, so that defaults and checks are
/// the same.
fn tree(process: &Process<'_>, port: i64, path: &Path) -> Table {
    let at = || Place { file: 0, span: process.command_span.clone() };
    let node = |value: Value| Node { value, at: at() };
    let text = |text: &str| node(Value::Text(text.to_owned()));
    let table = |entries: Vec<(&str, Node)>| Table {
        entries: entries
            .into_iter()
            .map(|(key, node)| Entry { key: key.to_owned(), key_at: at(), node })
            .collect(),
    };
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let env_file = format!("-{}", folder.join(".env").display());
    let command = vec![text("sh"), text("-c"), text(&shell_line(process.command))];
    let env = table(vec![("PORT", text(&port.to_string()))]);
    let inner = table(vec![
        ("command", node(Value::List(command))),
        ("env", node(Value::Table(env))),
        ("env_file", node(Value::List(vec![text(&env_file)]))),
    ]);
    table(vec![("kind", text("deployment")), ("process", node(Value::Table(inner)))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Loaded {
        parse(Path::new("app/Procfile"), text)
    }

    #[test]
    fn each_line_is_a_deployment_run_by_a_shell() {
        let loaded = read("# comment\nweb: ./server -p $PORT\n\nWorker_1: cd x && ./run $(date)\n");
        assert!(!loaded.has_errors(), "{:?}", loaded.files);
        let names: Vec<_> = loaded.units.iter().map(|u| u.key.to_string()).collect();
        assert_eq!(names, ["deployment/web", "deployment/worker-1"]);
        let web = &loaded.units[0].template.process;
        assert_eq!(web.command, ["sh", "-c", "exec ./server -p $PORT"]);
        assert_eq!(web.env["PORT"], "5000");
        assert_eq!((web.env_file[0].path.as_str(), web.env_file[0].optional), ("app/.env", true));
        let worker = &loaded.units[1].template.process;
        assert_eq!(worker.command, ["sh", "-c", "cd x && ./run $$(date)"]);
        assert_eq!(worker.env["PORT"], "5100");
    }

    #[test]
    fn every_bad_line_is_named_and_the_good_ones_stay() {
        let loaded = read("web: ./a\njust words\nempty:\nweb: ./b\nö: x\n:x\nok: ./c");
        let places: Vec<_> =
            loaded.files[0].diagnostics.iter().map(|d| (d.line, d.column)).collect();
        assert_eq!(places, [(2, 1), (3, 1), (4, 1), (5, 1), (6, 1)]);
        assert_eq!(loaded.units.len(), 2);
        // A unit of a former version of the file may be what a bad line is about.
        let gone = UnitKey::new(Kind::Deployment, UnitName::new("gone").unwrap());
        assert!(loaded.invalid_for(&gone, Some(Path::new("app/Procfile"))).is_some());
        assert!(loaded.invalid_for(&gone, None).is_none());
    }

    #[test]
    fn an_empty_procfile_is_an_error() {
        assert!(read("# nothing\n").has_errors());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(?s).*") {
            let loaded = read(&text);
            for d in &loaded.files[0].diagnostics {
                loaded.render(d, false);
            }
        }
    }
}
