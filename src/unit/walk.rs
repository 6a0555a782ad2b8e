//! Goes through a unit's tree with the table of keys in hand: unknown keys, keys of other kinds,
//! missing ones, and every value against its shape.
//!
//! Responsible for all complaints that concern one value alone. Rules between values are `lower`'s.

use super::amount;
use super::complaint::Complaint;
use super::keys::{self, Key, Shape};
use super::report::Report;
use super::suggest;
use super::tree::{Entry, Node, Place, Table, Value};
use super::unknown::unknown_key;
use super::{duration, names, size, words};
use crate::core::id::Kind;

/// What the walk carries along.
pub(super) struct Walk<'r> {
    pub(super) report: &'r mut Report,
    /// The unit's kind, if it could be read.
    pub(super) kind: Option<Kind>,
    /// Where the kind stands.
    pub(super) kind_at: Option<Place>,
    /// Missing keys are not reported where a syntax error may have swallowed them.
    pub(super) report_missing: bool,
}

type Check = fn(&str) -> Result<(), Complaint>;

impl Walk<'_> {
    /// Checks a table. `at` is where it begins, `path` its dotted name, empty for the file.
    pub(super) fn table(&mut self, table: &Table, keys: &'static [Key], at: &Place, path: &str) {
        let mut advised = Vec::new();
        for entry in &table.entries {
            match keys::find(keys, self.kind, &entry.key) {
                // Without a kind, a key that kinds have differently cannot be judged.
                Some(key) if self.kind.is_some() || keys::is_single(keys, key.name) => {
                    self.value(&entry.node, key, &join(path, &entry.key));
                }
                Some(_) => {}
                None if self.report.is_full() => {}
                None => advised.extend(self.unknown(entry, keys, path)),
            }
        }
        for key in keys.iter().filter(|key| key.required) {
            let applies = self.kind.map_or(key.kinds == keys::ALL, |kind| key.kinds.has(kind));
            let there = table.get(key.name).is_some();
            // It is there under a wrong name: one complaint is enough.
            let misspelt = advised.iter().any(|help| help.contains(&format!("`{}`", key.name)));
            // `kind` is missed by whoever looks for it first.
            if applies && self.report_missing && !there && !misspelt && key.name != "kind" {
                self.missing(key, at, path);
            }
        }
    }

    fn missing(&mut self, key: &Key, at: &Place, path: &str) {
        let full = join(path, key.name);
        let complaint = match (path, key.name) {
            ("", "process") => Complaint::new("the unit has no [process]: there is nothing to run")
                .help("add\n[process]\ncommand = [\"program\", \"argument\"]"),
            ("", "cron") => Complaint::new("a cronjob needs a [cron] table with its schedule")
                .help("add\n[cron]\nschedule = \"*/5 * * * *\""),
            _ => Complaint::new(format!("`{}` is missing in {}", key.name, in_brackets(path)))
                .help(format!("add `{} = {}`", key.name, example(key))),
        };
        // At the top there is no header to show; the kind is what asks for the key.
        let kind = self.kind_at.clone().filter(|_| path.is_empty());
        self.report.error(&kind.unwrap_or_else(|| at.clone()), &full, complaint);
    }

    /// Complains about a key, and gives the advice it gave.
    fn unknown(&mut self, entry: &Entry, keys: &'static [Key], path: &str) -> Option<String> {
        let complaint = unknown_key(&entry.key, keys, self.kind, path);
        let help = complaint.help.clone().filter(|help| help.starts_with("did you mean"));
        self.report.error(&entry.key_at, &join(path, &entry.key), complaint);
        help
    }

    fn value(&mut self, node: &Node, key: &Key, path: &str) {
        match key.shape {
            Shape::Text => self.text(node, path, "a string", |_| Ok(())),
            Shape::Word(check, what) => self.word(node, path, what, check),
            Shape::Owner => self.owner(node, path),
            Shape::Bool => self.boolean(node, path),
            Shape::Int(min, max) => self.int(node, path, min, max),
            Shape::Positive(max) => self.number(node, path, f64::MIN_POSITIVE, max, "above 0"),
            Shape::Factor => self.number(node, path, 1.0, 1_000.0, "1 or more"),
            Shape::Duration(min) => self.duration(node, path, min),
            Shape::DurationOrNever(min) => {
                if node.as_text() != Some("never") {
                    self.duration(node, path, min);
                }
            }
            Shape::Size(min) => self.size(node, path, min),
            Shape::Amount(max) => self.amount(node, path, max),
            Shape::OneOf(choices) => self.one_of(node, path, choices),
            Shape::Command => self.command(node, path),
            Shape::CommandOrSignal => match node.as_table() {
                Some(table) => self.table(table, keys::RELOAD, &node.at, path),
                None => self.command(node, path),
            },
            Shape::Texts(check, what) => self.texts(node, path, what, check),
            Shape::Owners => self.each(node, path, "an array of strings", Self::owner),
            Shape::Ints(min, max) => {
                self.each(node, path, "an array of whole numbers", |walk, item, path| {
                    walk.int(item, path, min, max);
                });
            }
            Shape::Map(name, text) => self.map(node, path, name, text),
            Shape::Limits => self.limits(node, path),
            Shape::Dependencies => self.each(node, path, "an array", Self::dependency),
            Shape::Nodes => match node.as_table() {
                Some(table) => self.table(table, keys::GLOB, &node.at, path),
                None => self.one_of(node, path, &["machine", "cpus", "numa"]),
            },
            Shape::Table(inner) => match node.as_table() {
                Some(table) => self.table(table, inner, &node.at, path),
                None => self.wrong_type(node, path, "a table", table_help(path, &node.value)),
            },
            Shape::Tables(inner) => self.tables(node, path, inner),
        }
    }

    fn wrong_type(&mut self, node: &Node, path: &str, wanted: &str, help: Option<String>) {
        let mut complaint = Complaint::new(format!(
            "`{}` must be {wanted}, not {}",
            last(path),
            node.value.type_name()
        ));
        complaint.help = Some(help.unwrap_or_else(|| format!("write {wanted}")));
        self.report.error(&node.at, path, complaint);
    }

    fn refuse(&mut self, node: &Node, path: &str, complaint: Complaint) {
        let name = last(path);
        let message = if complaint.message.contains(&format!("`{name}`")) {
            complaint.message
        } else {
            format!("`{name}`: {}", complaint.message)
        };
        self.report.error(&node.at, path, Complaint { message, ..complaint });
    }

    fn text(
        &mut self,
        node: &Node,
        path: &str,
        what: &str,
        check: impl Fn(&str) -> Result<(), Complaint>,
    ) {
        let Some(text) = node.as_text() else {
            let help = match &node.value {
                _ if path == "kind" => Some("write kind = \"deployment\", for example".to_owned()),
                Value::Int(number) => Some(format!("write it in quotes: \"{number}\"")),
                Value::Float(number) => Some(format!("write it in quotes: \"{number}\"")),
                Value::Bool(flag) => Some(format!("write it in quotes: \"{flag}\"")),
                Value::Text(_)
                | Value::List(_)
                | Value::Table(_)
                | Value::HugeInt
                | Value::Datetime => None,
            };
            let wanted =
                if what == "a string" { what.to_owned() } else { format!("a string, {what}") };
            return self.wrong_type(node, path, &wanted, help);
        };
        if let Some(at) = text.find('\0') {
            let complaint = Complaint::new("a NUL character cannot be passed to a program")
                .within(at..at + 1)
                .help("remove \\u0000");
            return self.refuse(node, path, complaint);
        }
        if let Err(complaint) = check(text) {
            self.refuse(node, path, complaint);
        }
    }

    fn word(&mut self, node: &Node, path: &str, what: &str, check: Check) {
        if node.as_text().is_some_and(|text| text.trim().is_empty()) {
            let complaint = Complaint::new(format!("`{}` is empty", last(path)))
                .help(format!("write {what}, or leave the key out"));
            return self.refuse(node, path, complaint);
        }
        if let (Value::Int(_), "umask" | "mode") = (&node.value, last(path)) {
            let written = self.report.written(&node.at);
            let digits = written.trim_start_matches("0o").trim_start_matches('0');
            let help = format!("write its octal digits in quotes: \"0{digits}\"");
            return self.wrong_type(node, path, "a string of octal digits", Some(help));
        }
        self.text(node, path, what, check);
    }

    fn owner(&mut self, node: &Node, path: &str) {
        match node.value {
            Value::Int(number) if (0..i64::from(u32::MAX)).contains(&number) => {}
            Value::Int(_) | Value::HugeInt => {
                let complaint = Complaint::new(format!("`{}` is out of range", last(path)))
                    .help("an id is between 0 and 4294967294");
                self.refuse(node, path, complaint);
            }
            Value::Text(_) => self.word(node, path, "a name or a number", |text| {
                if text.contains([':', '/', ' ']) {
                    return Err(Complaint::new(format!("`{text}` is not a name of an account"))
                        .help("write one name or number; user and group are keys of their own"));
                }
                Ok(())
            }),
            Value::Float(_)
            | Value::Bool(_)
            | Value::Datetime
            | Value::List(_)
            | Value::Table(_) => {
                self.wrong_type(node, path, "a name or a number", None);
            }
        }
    }

    fn boolean(&mut self, node: &Node, path: &str) {
        if node.as_bool().is_some() {
            return;
        }
        let help = match node.as_text().map(str::to_ascii_lowercase).as_deref() {
            Some("true" | "yes" | "on" | "1") => "write true, without quotes",
            Some("false" | "no" | "off" | "0") => "write false, without quotes",
            Some(_) | None => "write true or false",
        };
        self.wrong_type(node, path, "true or false", Some(help.to_owned()));
    }

    fn int(&mut self, node: &Node, path: &str, min: i64, max: i64) {
        let range = if min == 0 && max >= keys::INT32_MAX {
            "0 or more".to_owned()
        } else if max >= keys::INT32_MAX {
            format!("{min} or more")
        } else {
            format!("between {min} and {max}")
        };
        match &node.value {
            Value::Int(number) if (min..=max).contains(number) => {}
            Value::Int(number) => {
                let complaint =
                    Complaint::new(format!("`{}` is {number}, out of range", last(path)))
                        .help(format!("write a number {range}"));
                self.refuse(node, path, complaint);
            }
            Value::HugeInt => {
                let complaint = Complaint::new(format!("`{}` is out of range", last(path)))
                    .help(format!("write a number {range}"));
                self.refuse(node, path, complaint);
            }
            Value::Text(text) if text.trim().parse::<i64>().is_ok() => {
                let help = format!("write {} without quotes", text.trim());
                self.wrong_type(node, path, "a whole number", Some(help));
            }
            Value::Text(_)
            | Value::Float(_)
            | Value::Bool(_)
            | Value::Datetime
            | Value::List(_)
            | Value::Table(_) => {
                let help = format!("write a number {range}");
                self.wrong_type(node, path, "a whole number", Some(help));
            }
        }
    }

    fn number(&mut self, node: &Node, path: &str, min: f64, max: f64, range: &str) {
        match node.as_number() {
            Some(number) if number >= min && number <= max => {}
            Some(number) => {
                let complaint =
                    Complaint::new(format!("`{}` is {number}, out of range", last(path)))
                        .help(format!("write a number {range}, at most {max}"));
                self.refuse(node, path, complaint);
            }
            None => {
                let help = format!("write a number {range}, without quotes");
                self.wrong_type(node, path, "a number", Some(help));
            }
        }
    }

    fn duration(&mut self, node: &Node, path: &str, min: u64) {
        let Some(text) = node.as_text() else {
            let help = match node.value {
                Value::Int(number) => {
                    format!("a bare number has no unit; did you mean \"{number}s\"?")
                }
                Value::Text(_)
                | Value::HugeInt
                | Value::Float(_)
                | Value::Bool(_)
                | Value::Datetime
                | Value::List(_)
                | Value::Table(_) => "write for example \"30s\" or \"1h30m\"".to_owned(),
            };
            return self.wrong_type(node, path, "a duration such as \"30s\"", Some(help));
        };
        match duration::parse(text) {
            Ok(span) if span.0 >= min => {}
            Ok(_) => {
                let complaint = Complaint::new(format!("`{}` may not be zero", last(path)))
                    .help("write a longer duration, or leave the key out");
                self.refuse(node, path, complaint);
            }
            Err(complaint) => self.refuse(node, path, complaint),
        }
    }

    fn size(&mut self, node: &Node, path: &str, min: u64) {
        let size = match &node.value {
            Value::Int(number) => u64::try_from(*number).ok(),
            Value::Text(text) => match size::parse(text) {
                Ok(bytes) => Some(bytes),
                Err(complaint) => return self.refuse(node, path, complaint),
            },
            Value::HugeInt => None,
            Value::Float(_)
            | Value::Bool(_)
            | Value::Datetime
            | Value::List(_)
            | Value::Table(_) => {
                let help = Some("write for example \"512MiB\"".to_owned());
                return self.wrong_type(node, path, "a size", help);
            }
        };
        if size.is_none_or(|bytes| bytes < min) {
            let least = if min == 0 { "0".to_owned() } else { size::print(min) };
            let complaint = Complaint::new(format!("`{}` is out of range", last(path)))
                .help(format!("write a size of at least {least}"));
            self.refuse(node, path, complaint);
        }
    }

    fn amount(&mut self, node: &Node, path: &str, max_percent: u32) {
        if let Err(complaint) = amount::read(&node.value, max_percent) {
            self.refuse(node, path, complaint);
        }
    }

    fn one_of(&mut self, node: &Node, path: &str, choices: &[&str]) {
        let list = quoted_list(choices);
        let Some(text) = node.as_text() else {
            let help = Some(format!("write {list}"));
            return self.wrong_type(node, path, "one of its words", help);
        };
        if choices.contains(&text) {
            return;
        }
        let ours = suggest::in_our_spelling(text);
        let near = choices
            .iter()
            .copied()
            .find(|choice| *choice == ours)
            .or_else(|| suggest::near(text, choices.iter().copied()));
        let complaint = Complaint::new(format!("`{}` cannot be \"{text}\"", last(path)));
        let complaint = complaint.help(match (near, choices) {
            (Some(choice), _) if choices.len() > 1 => format!("did you mean \"{choice}\"?"),
            (_, ["always"]) => {
                let kind = self.kind.map_or("unit", Kind::as_str);
                format!("a {kind} is always restarted, as in Kubernetes; for a program that runs until it exits with 0 write a job")
            }
            (Some(_) | None, _) => format!("write {list}"),
        });
        self.refuse(node, path, complaint);
    }

    fn command(&mut self, node: &Node, path: &str) {
        match &node.value {
            Value::Text(text) => match words::split(text) {
                Err(complaint) => self.refuse(node, path, complaint),
                Ok(_) => {
                    self.text(node, path, "a command", |_| Ok(()));
                    if let Some((word, range)) = words::shell_word(text) {
                        let complaint = Complaint::new(format!(
                            "`{word}` is passed to the program as it stands: the command is run without a shell"
                        ))
                        .within(range)
                        .help("write [\"sh\", \"-c\", \"...\"] to have a shell run it");
                        self.report.warning(&node.at, path, complaint);
                    }
                }
            },
            Value::List(items) => {
                let empty = items.first().is_none_or(|word| word.as_text() == Some(""));
                if empty {
                    let complaint = Complaint::new(format!("`{}` names no program", last(path)))
                        .help("write the program and its arguments: [\"program\", \"argument\"]");
                    return self.refuse(node, path, complaint);
                }
                self.texts(node, path, "an argument", |_| Ok(()));
            }
            Value::Int(_)
            | Value::HugeInt
            | Value::Float(_)
            | Value::Bool(_)
            | Value::Datetime
            | Value::Table(_) => {
                let help = Some("write [\"program\", \"argument\"]".to_owned());
                self.wrong_type(node, path, "an array of strings, or a string", help);
            }
        }
    }

    fn each(
        &mut self,
        node: &Node,
        path: &str,
        wanted: &str,
        check: impl Fn(&mut Self, &Node, &str),
    ) {
        let Value::List(items) = &node.value else {
            let help = match &node.value {
                Value::Text(text) => Some(format!("write it in brackets: [{text:?}]")),
                Value::Int(number) => Some(format!("write it in brackets: [{number}]")),
                Value::HugeInt
                | Value::Float(_)
                | Value::Bool(_)
                | Value::Datetime
                | Value::List(_)
                | Value::Table(_) => None,
            };
            return self.wrong_type(node, path, wanted, help);
        };
        for (at, item) in items.iter().enumerate() {
            check(self, item, &format!("{path}[{at}]"));
        }
    }

    fn texts(&mut self, node: &Node, path: &str, what: &str, check: Check) {
        self.each(node, path, "an array of strings", |walk, item, path| {
            walk.text(item, path, what, check);
        });
    }

    fn map(&mut self, node: &Node, path: &str, name: Check, text: Check) {
        let Some(table) = node.as_table() else {
            let help = Some(format!("write {} = {{ NAME = \"value\" }}", last(path)));
            return self.wrong_type(node, path, "a table", help);
        };
        for entry in &table.entries {
            let full = join(path, &entry.key);
            if let Err(complaint) = name(&entry.key) {
                self.report.error(&entry.key_at, &full, complaint);
            }
            self.text(&entry.node, &full, "a string", text);
        }
    }

    fn limits(&mut self, node: &Node, path: &str) {
        let Some(table) = node.as_table() else {
            let help = Some("write limits = { nofile = 65536 }".to_owned());
            return self.wrong_type(node, path, "a table", help);
        };
        for entry in &table.entries {
            let full = join(path, &entry.key);
            if !names::RLIMITS.contains(&entry.key.as_str()) {
                let bare = suggest::in_our_spelling(&entry.key);
                let bare = bare.trim_start_matches("rlimit_").trim_start_matches("limit_");
                let near = suggest::near(bare, names::RLIMITS.into_iter());
                let help = near.map_or_else(
                    || format!("there are {}", names::RLIMITS.join(", ")),
                    |name| format!("did you mean `{name}`?"),
                );
                let message = format!("there is no resource limit `{}`", entry.key);
                self.report.error(&entry.key_at, &full, Complaint::new(message).help(help));
                continue;
            }
            match entry.node.as_table() {
                None => self.limit(&entry.node, &full),
                Some(pair) => self.limit_pair(pair, &entry.node.at, &full),
            }
        }
    }

    fn limit_pair(&mut self, pair: &Table, at: &Place, path: &str) {
        for entry in &pair.entries {
            let full = join(path, &entry.key);
            if keys::LIMIT.contains(&entry.key.as_str()) {
                self.limit(&entry.node, &full);
            } else {
                let message = format!("a limit has no `{}`", entry.key);
                let complaint = Complaint::new(message).help("it has `soft` and `hard`");
                self.report.error(&entry.key_at, &full, complaint);
            }
        }
        for name in keys::LIMIT {
            if pair.get(name).is_none() {
                let complaint = Complaint::new(format!("`{name}` is missing in `{}`", last(path)))
                    .help("write both { soft = , hard = }, or one value for both");
                self.report.error(at, &join(path, name), complaint);
            }
        }
    }

    fn limit(&mut self, node: &Node, path: &str) {
        if super::lower::read_limit(node).is_none() {
            let complaint = Complaint::new(format!("`{}` is not a limit", last(path)))
                .help("write a number, a size such as \"512MiB\", or \"unlimited\"");
            self.refuse(node, path, complaint);
        }
    }

    fn dependency(&mut self, node: &Node, path: &str) {
        match &node.value {
            Value::Table(table) => self.table(table, keys::DEPENDENCY, &node.at, path),
            Value::Text(_) => self.word(node, path, "the name of a unit", |_| Ok(())),
            Value::Int(_)
            | Value::HugeInt
            | Value::Float(_)
            | Value::Bool(_)
            | Value::Datetime
            | Value::List(_) => {
                let help =
                    Some("write \"db\", or { unit = \"db\", condition = \"started\" }".to_owned());
                self.wrong_type(node, path, "the name of a unit", help);
            }
        }
    }

    fn tables(&mut self, node: &Node, path: &str, keys: &'static [Key]) {
        let Value::List(items) = &node.value else {
            let help = Some(format!("write [[{path}]], once for each"));
            return self.wrong_type(node, path, "an array of tables", help);
        };
        for (at, item) in items.iter().enumerate() {
            let path = format!("{path}[{at}]");
            match item.as_table() {
                Some(table) => self.table(table, keys, &item.at, &path),
                None => self.wrong_type(item, &path, "a table", None),
            }
        }
    }
}

/// `path.key`, or the key alone at the top.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The key at the end of a path, without an index.
fn last(path: &str) -> &str {
    let end = path.rsplit('.').next().unwrap_or(path);
    end.split('[').next().unwrap_or(end)
}

/// A table as it is written in a file.
pub(super) fn in_brackets(path: &str) -> String {
    if path.is_empty() {
        return "the unit".to_owned();
    }
    match path.strip_suffix(']').and_then(|rest| rest.rsplit_once('[')) {
        Some((table, _)) => format!("[[{table}]]"),
        None => format!("[{path}]"),
    }
}

fn table_help(path: &str, value: &Value) -> Option<String> {
    match value {
        Value::List(_) => Some(format!("write [{path}], with single brackets")),
        Value::Text(_) if last(path) == "process" => {
            Some("write the command below a line [process]: command = \"...\"".to_owned())
        }
        Value::Text(_)
        | Value::Int(_)
        | Value::HugeInt
        | Value::Float(_)
        | Value::Bool(_)
        | Value::Datetime
        | Value::Table(_) => Some(format!("write a line [{path}], with its keys below it")),
    }
}

/// `"a", "b" or "c"`.
fn quoted_list(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => format!("\"{one}\""),
        [most @ .., end] => format!("\"{}\" or \"{end}\"", most.join("\", \"")),
    }
}

/// A value that a missing key could have.
fn example(key: &Key) -> &'static str {
    match (key.name, key.shape) {
        ("command", _) => "[\"program\", \"argument\"]",
        ("schedule", _) => "\"*/5 * * * *\"",
        ("name", _) => "\"http\"",
        ("listen", _) => "\"127.0.0.1:8000\"",
        ("range", _) => "\"9000-9099\"",
        ("glob", _) => "\"/dev/nvidia[0-9]*\"",
        ("signal", _) => "\"SIGHUP\"",
        ("exit_codes", _) => "{ in = [42] }",
        ("action", _) => "\"fail_job\"",
        ("unit", _) => "\"db\"",
        (_, Shape::Duration(_)) => "\"1m\"",
        (_, Shape::Int(..)) => "5",
        (_, _) => "...",
    }
}
