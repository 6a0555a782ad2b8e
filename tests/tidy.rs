//! Rules about the source text itself, so that the architecture stays what ARCHITECTURE.md says.
//!
//! Responsible for the direction of dependency between the top-level modules, the purity of the
//! core, the size of files and functions, and for what may not be in the project at all. It reads
//! the text, not the program: paths as they are written, nothing that a macro makes of them.

// All of this is a test, the helpers too; clippy takes only what stands under #[test] for one.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::print_stdout)]

#[path = "tidy/rows.rs"]
mod rows;
#[path = "tidy/source.rs"]
mod source;

use source::{Source, project, sources};

/// What a top-level module may use of the others: all of a module, or (`core::id`) a part of it.
/// A module may use itself always.
const MAY_USE: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("unit", &["core"]),
    ("sim", &["core", "unit"]),
    // Reads zones and unit files for others: it knows the types that they are handed over in.
    ("os", &["core::time", "core::id", "core::schedule", "unit"]),
    (
        "runner",
        &[
            "os",
            "core::action",
            "core::event",
            "core::id",
            "core::time",
            "core::signal",
            "core::spec",
        ],
    ),
    ("api", &["core", "unit", "os", "runner::logs"]),
    ("daemon", &["core", "unit", "os", "runner", "api"]),
    ("cli", &["core", "unit", "sim", "os", "runner", "api", "daemon"]),
    ("main", &["cli"]),
    ("lib", &["core", "unit", "sim", "os", "runner", "api", "daemon", "cli"]),
];

/// The crates that the pure modules may use. None of them touches the machine unless asked to
/// (jiff's and chrono's ways of asking are in [`IMPURE`]).
const PURE_CRATES: &[(&str, &[&str])] = &[
    ("core", &["serde", "serde_json", "cron", "chrono", "jiff", "smallvec", "smol_str"]),
    (
        "unit",
        &[
            "annotate_snippets",
            "anstyle",
            "globset",
            "jiff",
            "regex",
            "schemars",
            "serde",
            "serde_ignored",
            "serde_json",
            "shlex",
            "strsim",
            "toml",
        ],
    ),
    ("sim", &["jiff", "serde", "serde_json", "toml"]),
];

/// Paths that read or change the world, or whose order differs from run to run. `*` is any start.
const IMPURE: &[&str] = &[
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::collections::hash_map",
    "std::collections::hash_set",
    "std::env",
    "std::fs",
    "std::hash::RandomState",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "*::Instant::now",
    "*::SystemTime::now",
    "*::Timestamp::now",
    "*::Zoned::now",
    "*::Local::now",
    "*::Utc::now",
    "*::TimeZone::system",
    "*::TimeZone::try_system",
    "*::TimeZone::get",
    "*::tz::db",
];

/// Macros that write to the outside.
const TALKING: &[&str] = &["print", "println", "eprint", "eprintln", "dbg"];

/// Lines of a file, without its tests.
const FILE_LINES: usize = 600;

/// Files that are longer, and how long they may be. They are read from top to bottom: a list
/// of definitions, or one thing that is judged as a whole. A number may go down only.
const LONG_FILES: &[(&str, usize, &str)] = &[
    ("src/core/spec.rs", 700, "what a unit means, field by field"),
    ("src/api/types.rs", 680, "the wire types, field by field"),
    ("src/core/instance/mod.rs", 650, "the states of an instance and all their transitions"),
];

/// Lines of a function, from `fn` to its closing brace: what fits a screen.
const FUNCTION_LINES: usize = 70;

/// The only files with `unsafe` in them (or in the modules below them).
const UNSAFE: &[&str] = &["src/runner/sys", "src/runner/spawn"];

/// How many rows the tables of these files have at least, by what their path begins with. A
/// number may go up only: whoever adds rows raises it.
const ROWS: &[(&str, usize)] = &[
    ("src/api/server/rollout_tests.rs", 15),
    ("src/core/instance/", 160),
    ("src/core/schedule/", 236),
    ("src/core/guard/", 5),
    ("src/core/tests/", 241),
    ("src/core/workload/cronjob/", 122),
    ("src/core/workload/conditions_tests.rs", 11),
    ("src/core/workload/daemonset/", 88),
    ("src/core/workload/deployment/", 207),
    ("src/core/workload/history_tests.rs", 38),
    ("src/core/workload/job/", 231),
    ("src/core/workload/replicaset/", 37),
    ("src/core/workload/statefulset/", 134),
    ("src/unit/lower/", 152),
];

/// Fails with all breaches of a rule, one a line.
#[track_caller]
fn none(breaches: Vec<String>, advice: &str) {
    assert!(breaches.is_empty(), "\n{}\n{advice}\n", breaches.join("\n"));
}

/// Whether a path, or a part that it stands below, is in a list of `a::b` patterns.
fn listed(path: &[String], patterns: &[&str]) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_prefix("*::") {
        Some(end) => path.join("::").ends_with(&format!("::{end}")) || path.join("::") == end,
        None => {
            let pattern: Vec<&str> = pattern.split("::").collect();
            path.len() >= pattern.len() && path.iter().zip(&pattern).all(|(a, b)| a == b)
        }
    })
}

fn row<'a>(table: &'a [(&str, &'a [&'a str])], name: &str) -> Option<&'a [&'a str]> {
    table.iter().find(|(module, _)| *module == name).map(|(_, allowed)| *allowed)
}

#[test]
fn modules_use_only_what_stands_below_them() {
    let mut breaches = Vec::new();
    for file in sources() {
        let Some(allowed) = row(MAY_USE, file.top()) else {
            breaches.push(format!("{}:1: `{}` has no row in MAY_USE", file.path, file.top()));
            continue;
        };
        for (line, path) in file.paths() {
            let [root, module, ..] = path.as_slice() else { continue };
            if !(root == "crate" || root == "wsup") || module == file.top() || file.test {
                continue;
            }
            let inner = &path[1..];
            if row(MAY_USE, module).is_some() && !listed(inner, allowed) {
                let path = inner.join("::");
                breaches.push(format!("{}:{line}: `{}` uses `{path}`", file.path, file.top()));
            }
        }
    }
    none(
        breaches,
        "Move what is needed down to a module that may be used, or hand it in as a value: MAY_USE \
         in tests/tidy.rs is the direction of dependency.",
    );
}

#[test]
fn the_pure_modules_touch_nothing() {
    let crates = dependencies();
    let mut breaches = Vec::new();
    for file in sources().iter().filter(|file| !file.test) {
        let Some(allowed) = row(PURE_CRATES, file.top()) else { continue };
        for (line, path) in file.paths() {
            let foreign = path.len() > 1
                && crates.contains(&path[0])
                && !file.modules_here().contains(&path[0]);
            if foreign && !allowed.contains(&path[0].as_str()) {
                breaches.push(format!("{}:{line}: uses the crate `{}`", file.path, path[0]));
            }
            if listed(&path, IMPURE) {
                breaches.push(format!("{}:{line}: uses `{}`", file.path, path.join("::")));
            }
        }
        for (line, name) in file.macros() {
            if TALKING.contains(&name.as_str()) {
                breaches.push(format!("{}:{line}: uses `{name}!`", file.path));
            }
        }
    }
    none(
        breaches,
        "core, unit and sim decide and do nothing: take time, randomness and file contents as \
         arguments, use BTreeMap for HashMap, and return what others are to say or do.",
    );
}

/// The names under which Rust code knows the crates of Cargo.toml.
fn dependencies() -> Vec<String> {
    let manifest = project("Cargo.toml");
    let mut section = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line.ends_with("dependencies]");
        } else if let (true, Some((name, _))) = (section, line.split_once('=')) {
            names.push(name.trim().replace('-', "_"));
        }
    }
    assert!(names.contains(&"tokio".to_owned()), "cannot read the dependencies in Cargo.toml");
    names
}

#[test]
fn files_are_a_sitting_and_functions_a_screen() {
    let mut breaches = Vec::new();
    for file in sources().iter().filter(|file| !file.test) {
        let longer = LONG_FILES.iter().find(|(path, _, _)| *path == file.path);
        let most = longer.map_or(FILE_LINES, |(_, lines, _)| *lines);
        let lines = file.lines_without_tests();
        if lines > most {
            breaches.push(format!("{}:1: {lines} lines without tests, of {most}", file.path));
        }
        for (line, name, length) in file.functions() {
            if length > FUNCTION_LINES {
                let path = &file.path;
                breaches.push(format!("{path}:{line}: fn {name}: {length} of {FUNCTION_LINES}"));
            }
        }
    }
    none(
        breaches,
        "Split by subject: a function of its own for each step, a file for each matter.",
    );
}

#[test]
fn unsafe_code_is_in_two_places() {
    let mut breaches = Vec::new();
    for file in sources() {
        if UNSAFE.iter().any(|place| file.path.starts_with(place)) {
            continue;
        }
        for word in ["unsafe", "unsafe_code"] {
            breaches.extend(file.word(word).map(|l| format!("{}:{l}: `{word}`", file.path)));
        }
    }
    none(breaches, "Use nix, or put a safe function into src/runner/sys.rs.");
}

#[test]
fn nothing_is_left_for_later() {
    let mut breaches = Vec::new();
    for file in sources() {
        for (line, name) in file.macros() {
            if ["todo", "unimplemented", "dbg"].contains(&name.as_str()) {
                breaches.push(format!("{}:{line}: `{name}!`", file.path));
            }
        }
    }
    for (path, text) in source::all_text().into_iter().filter(|(path, _)| path.ends_with(".rs")) {
        let lines = text.lines().enumerate();
        let ignored = lines.filter(|(_, line)| line.trim_start().starts_with("#[ignore"));
        breaches.extend(ignored.map(|(number, _)| format!("{path}:{}: #[ignore]", number + 1)));
    }
    none(
        breaches,
        "Build it, or refuse it by name with an error that says \"not supported yet\"; a test that \
         cannot run everywhere asks for what it needs and says what is missing.",
    );
}

/// `cargo test --test tidy rows -- --nocapture` prints the numbers.
#[test]
fn rows_of_tables_name_their_sources() {
    let mut breaches = Vec::new();
    let mut counted: Vec<(String, usize)> = Vec::new();
    for file in sources() {
        let found = rows::rows(&file);
        breaches.extend(found.wrong);
        if found.count > 0 {
            counted.push((file.path.clone(), found.count));
        }
    }
    for (path, count) in &counted {
        println!("{count:5} rows in {path}");
    }
    println!("{:5} rows in all", counted.iter().map(|(_, count)| count).sum::<usize>());
    for (path, least) in ROWS {
        let there = counted.iter().filter(|(file, _)| file.starts_with(path));
        let there: usize = there.map(|(_, count)| count).sum();
        if there < *least {
            breaches.push(format!("{path}: {there} rows, fewer than the {least} there were"));
        }
    }
    none(
        breaches,
        "A row begins with by(\"source\", \"rule\"): the Kubernetes file by its name in \
         tests/tidy/rows.rs, or `k8s-semantics 14` or `wsup`; no row says what another one says.",
    );
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = sources();
    let silent = silent.iter().filter(|file| !file.test && !file.raw.starts_with("//!"));
    let silent = silent.map(|file| format!("{}:1: does not start with `//!`", file.path));
    none(silent.collect(), "Say what the file is responsible for, and what it must not do.");
}

#[test]
fn every_file_is_a_module() {
    let dead = source::files_no_module_names();
    let dead = dead.into_iter().map(|path| format!("{path}:1: no `mod` leads here")).collect();
    none(dead, "Declare the module in its parent, or remove the file.");
}

#[test]
fn nothing_names_a_place_of_one_machine() {
    // In two parts, so that this file does not find itself.
    let places = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/home/", "runner")];
    let mut breaches = Vec::new();
    for (path, text) in source::all_text() {
        for (number, line) in text.lines().enumerate() {
            for place in places.iter().filter(|place| names_root(line, place)) {
                breaches.push(format!("{path}:{}: `{place}`", number + 1));
            }
        }
    }
    none(
        breaches,
        "Use a path that the user gives, or one below the project or a temporary folder.",
    );
}

#[test]
fn the_examples_are_valid_and_one_of_each_kind() {
    let folder = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("units");
    let read = wsup::os::unit_files::read(&[folder]).unwrap_or_else(|e| panic!("{e}"));
    let loaded = wsup::unit::load(read);
    let complaints = loaded.files.iter().flat_map(|file| &file.diagnostics);
    none(complaints.map(|d| loaded.render(d, false)).collect(), "Mend the examples in units/.");
    let kinds: Vec<String> = loaded.origins.keys().map(|key| key.kind.to_string()).collect();
    let all: Vec<&str> = wsup::core::id::Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(kinds, all, "one example for each kind");
}

/// Keys of the schema that are no table's: names that the user chooses stand there.
fn keys_of(schema: &serde_json::Value, keys: &mut std::collections::BTreeSet<String>) {
    if let Some(properties) = schema.get("properties").and_then(|p| p.as_object()) {
        keys.extend(properties.keys().cloned());
    }
    let below = schema.as_object().into_iter().flat_map(|object| object.values());
    let listed = schema.as_array().into_iter().flatten();
    below.chain(listed).for_each(|inner| keys_of(inner, keys));
}

#[test]
fn the_reference_of_unit_files_names_every_key() {
    let schema = serde_json::from_str(&wsup::unit::schema::json_schema())
        .unwrap_or_else(|e| panic!("the schema is no JSON: {e}"));
    let mut keys = std::collections::BTreeSet::new();
    keys_of(&schema, &mut keys);
    let text = project("docs/units.md");
    let written = |key: &str| {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        words.into_iter().any(|word| word == key)
    };
    let missing = keys.iter().filter(|key| !written(key));
    let missing = missing.map(|key| format!("docs/units.md: nothing about `{key}`")).collect();
    none(missing, "Document the key: type, default, kinds, and whether it is supported.");
}

/// Files of the project that its pages link to, or name with their folder.
#[test]
fn pages_name_files_that_are_there() {
    let folders = ["src/", "tests/", "units/", "docs/", "packaging/", "LICENSE"];
    let mut dead = Vec::new();
    for (path, text) in source::all_text().into_iter().filter(|(path, _)| path.ends_with(".md")) {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (number, line) in text.lines().enumerate() {
            let prose: String = line.split('`').step_by(2).collect();
            let links = prose.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
            let links = links.filter(|to| !to.is_empty() && !to.contains("://"));
            let named = line.split('`').skip(1).step_by(2);
            let named = named.filter(|name| folders.iter().any(|folder| name.starts_with(folder)));
            let named = named.filter(|name| !name.contains([' ', '*']));
            let there = |base: &str, name: &str| source::exists(base, name);
            dead.extend(
                links
                    .filter(|to| !there(folder, to))
                    .map(|to| format!("{path}:{}: {to}", number + 1)),
            );
            dead.extend(
                named.filter(|to| !there("", to)).map(|to| format!("{path}:{}: {to}", number + 1)),
            );
        }
    }
    none(dead, "Name what is there, or remove the mention.");
}

/// Whether the place stands in the line as an absolute path, not below another (`{folder}/work/`).
fn names_root(line: &str, place: &str) -> bool {
    let mut before = line.match_indices(place).map(|(at, _)| line[..at].chars().next_back());
    before.any(|c| c.is_none_or(|c| " \t\"'`(=:<>,".contains(c)))
}

/// The rules above are only as good as the reading of the text: a few lines that must be seen
/// through, and a few that must not be mistaken.
#[test]
fn the_reader_sees_what_is_written() {
    let file = Source::new(
        "src/core/instance/mod.rs",
        r##"//! Words. use std::fs;
use super::{time::Mono, id as name};
use std::{collections::{BTreeMap, HashMap}, fmt};
/* use std::net; /* nested */ */
const TEXT: &str = "std::env::var(\"A\") { println!()";
const RAW: &str = r#"unsafe " todo!() {"#;
fn life<'a>(x: &'a str, c: char) -> [u8; 2] {
    if c == '{' || c == '\'' { std::process::exit(1) }
    println!("{x}");
    [0; 2]
}
#[cfg(test)]
mod tests {
    use std::fs;
    fn long() {}
}
"##,
    );
    let paths: Vec<String> =
        file.paths().into_iter().map(|(l, p)| format!("{l} {}", p.join("::"))).collect();
    for expected in [
        "2 crate::core::time::Mono",
        "2 crate::core::id",
        "3 std::collections::HashMap",
        "3 std::collections::BTreeMap",
        "3 std::fmt",
        "8 std::process::exit",
    ] {
        assert!(paths.contains(&expected.to_owned()), "{expected} not in {paths:?}");
    }
    assert!(!paths.iter().any(|p| p.contains("fs") || p.contains("net") || p.contains("env")));
    assert_eq!(file.macros(), [(9, "println".to_owned())]);
    assert_eq!(file.calls("exit").len(), 1);
    assert_eq!(file.calls("life").len(), 0, "where it is made is no call");
    assert_eq!(file.functions(), [(7, "life".to_owned(), 5)]);
    assert_eq!(file.word("unsafe").count(), 0);
    assert_eq!(file.lines_without_tests(), 11);
    assert_eq!(file.top(), "core");
}
