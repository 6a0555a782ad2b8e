//! From the texts of all unit files to specs and complaints.
//!
//! Responsible for the order of the passes over one file, for files that replace others, and for
//! what is kept of a file that is wrong. Must not read files: `os::unit_files` does.

use super::check;
use super::diagnose::{self, Diagnostic, Severity};
use super::identity::{self, Identity};
use super::keys;
use super::lower;
use super::report::{FileText, Report};
use super::tree::{self, Place, Table};
use super::walk::Walk;
use crate::core::id::{Kind, UnitKey, UnitName};
use crate::core::spec::UnitSpec;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A unit file as it was found, with its drop-ins.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path, for people and for the default name.
    pub path: PathBuf,
    /// Which of the directories it is from: a unit from a higher one replaces one of the same
    /// identity from a lower one.
    pub layer: usize,
    /// What was read.
    pub content: Content,
    /// Drop-ins, in the order in which they are merged over it.
    pub drop_ins: Vec<DropIn>,
}

/// A drop-in as it was found.
#[derive(Clone, Debug)]
pub struct DropIn {
    /// Its path.
    pub path: PathBuf,
    /// What was read.
    pub content: Content,
}

/// What reading a file gave.
#[derive(Clone, Debug)]
pub enum Content {
    /// Its bytes, which should be UTF-8.
    Bytes(Vec<u8>),
    /// It could not be read; why.
    Unreadable(String),
    /// It is not there, but drop-ins for it are. Such a file names no unit.
    Absent,
}

/// What all files together say.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The valid units, by kind and name.
    pub units: Vec<UnitSpec>,
    /// The file of each valid unit.
    pub origins: BTreeMap<UnitKey, PathBuf>,
    /// The units that are in a file but not valid. Their last good version should run on.
    pub invalid: Vec<InvalidUnit>,
    /// Every file, in the order of reading.
    pub files: Vec<FileReport>,
    /// The texts of all files with diagnostics, for rendering.
    pub texts: BTreeMap<PathBuf, String>,
}

/// A unit whose file is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidUnit {
    /// Its kind, if that much could be read.
    pub kind: Option<Kind>,
    /// Its name, if that much could be read.
    pub name: Option<UnitName>,
    /// Its file.
    pub path: PathBuf,
    /// The first error, on one line.
    pub message: String,
}

impl InvalidUnit {
    /// Whether the file may be about this unit, whose last good version came from `origin` if that
    /// is known. In doubt it is, because a unit that is taken for removed is stopped.
    pub fn concerns(&self, key: &UnitKey, origin: Option<&Path>) -> bool {
        let named =
            self.name.as_ref() == Some(&key.name) && self.kind.is_none_or(|kind| kind == key.kind);
        named || origin == Some(self.path.as_path())
    }
}

/// What is to be said about one file.
#[derive(Clone, Debug)]
pub struct FileReport {
    /// Its path.
    pub path: PathBuf,
    /// The kind as it is written, whether there is such a kind or not.
    pub kind: Option<String>,
    /// The unit's name, written or from the file's stem.
    pub name: Option<UnitName>,
    /// Whether there is no error.
    pub valid: bool,
    /// Errors and warnings about it and its drop-ins, in the order of their places.
    pub diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// Whether any file has an error.
    pub fn has_errors(&self) -> bool {
        self.files.iter().any(|file| !file.valid)
    }

    /// Whether a file that may be about this unit is invalid.
    pub fn invalid_for(&self, key: &UnitKey, origin: Option<&Path>) -> Option<&InvalidUnit> {
        self.invalid.iter().find(|unit| unit.concerns(key, origin))
    }

    /// A diagnostic as a person should see it, with the offending text underlined.
    pub fn render(&self, diagnostic: &Diagnostic, colour: bool) -> String {
        let text = self.texts.get(&diagnostic.path).map(String::as_str).unwrap_or_default();
        diagnose::render(diagnostic, text, colour)
    }
}

/// A file on its way: read, and not yet held against the others.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) path: PathBuf,
    pub(super) layer: usize,
    pub(super) identity: Identity,
    pub(super) kind_text: Option<String>,
    pub(super) table: Table,
    pub(super) spec: Option<UnitSpec>,
    pub(super) report: Report,
    /// There is a unit behind it, not only drop-ins.
    pub(super) is_unit: bool,
}

/// Reads all files: syntax, keys, values, rules between values, rules between units. A wrong file
/// spoils no other.
pub fn load(sources: Vec<Source>) -> Loaded {
    let mut drafts: Vec<Draft> = sources.into_iter().map(draft).collect();
    check::replace(&mut drafts);
    check::across(&mut drafts);
    let mut loaded = Loaded::default();
    for draft in drafts {
        finish(draft, &mut loaded);
    }
    loaded.units.sort_by(|a, b| a.key.cmp(&b.key));
    loaded
}

fn finish(draft: Draft, loaded: &mut Loaded) {
    let valid = !draft.report.has_errors();
    let (files, diagnostics) = draft.report.finish();
    if !diagnostics.is_empty() {
        loaded.texts.extend(files.into_iter().map(|file| (file.path, file.text)));
    }
    match draft.spec {
        Some(spec) if valid => {
            loaded.origins.insert(spec.key.clone(), draft.path.clone());
            loaded.units.push(spec);
        }
        Some(_) | None if draft.is_unit && !valid => {
            let error = diagnostics.iter().find(|d| d.severity == Severity::Error);
            loaded.invalid.push(InvalidUnit {
                kind: draft.identity.kind,
                name: draft.identity.name.clone(),
                path: draft.path.clone(),
                message: error.map(ToString::to_string).unwrap_or_default(),
            });
        }
        Some(_) | None => {}
    }
    loaded.files.push(FileReport {
        path: draft.path,
        kind: draft.kind_text,
        name: draft.identity.name,
        valid,
        diagnostics,
    });
}

/// The text of a file, with a complaint where there is none or where it is not UTF-8.
fn text_of(content: Content) -> (String, Option<(usize, String)>) {
    match content {
        Content::Bytes(bytes) => match String::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                (text, Some((at, "the file is not UTF-8 from here on".to_owned())))
            }
        },
        Content::Unreadable(reason) => {
            (String::new(), Some((0, format!("the file cannot be read: {reason}"))))
        }
        Content::Absent => (
            String::new(),
            Some((0, "there are drop-ins for this unit file, but not the file itself".to_owned())),
        ),
    }
}

fn draft(source: Source) -> Draft {
    let is_unit = !matches!(source.content, Content::Absent);
    let parts: Vec<(PathBuf, Content)> = std::iter::once((source.path.clone(), source.content))
        .chain(source.drop_ins.into_iter().map(|drop_in| (drop_in.path, drop_in.content)))
        .collect();
    let mut files = Vec::new();
    let mut broken = Vec::new();
    for (at, (path, content)) in parts.into_iter().enumerate() {
        let (text, complaint) = text_of(content);
        broken.extend(complaint.map(|(offset, message)| (at, offset, message)));
        files.push(FileText { path, text });
    }
    let mut report = Report::new(files);
    let mut table = Table::default();
    let mut whole = true;
    for (file, offset, message) in &broken {
        whole = false;
        let help = if is_unit {
            "correct the file, or remove it"
        } else {
            "add the file, or remove the drop-ins"
        };
        let complaint = super::complaint::Complaint::new(message.clone()).help(help);
        report.error(&Place { file: *file, span: *offset..*offset }, "", complaint);
    }
    let mut syntax = Vec::new();
    for at in 0..report.files.len() {
        if broken.iter().any(|(file, _, _)| *file == at) {
            continue;
        }
        let text = report.files.get(at).map(|file| file.text.clone()).unwrap_or_default();
        let (part, errors) = tree::parse(&text, at);
        whole &= errors.is_empty();
        syntax.extend(errors.into_iter().map(|error| {
            let complaint = super::syntax::explain(&error, &text);
            (error.at, complaint)
        }));
        table.merge(part);
    }
    report.syntax_errors(syntax);
    let mut draft = Draft {
        kind_text: identity::kind_text(&table),
        path: source.path,
        layer: source.layer,
        identity: Identity::default(),
        table,
        spec: None,
        report,
        is_unit,
    };
    if is_unit {
        understand(&mut draft, whole);
    }
    draft
}

/// All passes over one file's tree. `whole`: no part of it was lost.
fn understand(draft: &mut Draft, whole: bool) {
    draft.identity = identity::read(&draft.table, &draft.path, whole, &mut draft.report);
    let start = Place { file: 0, span: 0..0 };
    let mut walk = Walk {
        report: &mut draft.report,
        kind: draft.identity.meant,
        kind_at: draft.table.get("kind").map(|node| node.at.clone()),
        report_missing: whole,
    };
    walk.table(&draft.table, keys::UNIT, &start, "");
    let Identity { kind, meant, name } = draft.identity.clone();
    // Without a good kind or name the rules between values are checked all the same.
    let any = name.clone().or_else(|| UnitName::new("unit").ok());
    let key = meant.zip(any).map(|(kind, name)| UnitKey::new(kind, name));
    let spec = key.map(|key| lower::lower(&draft.table, key, &mut draft.report));
    draft.spec = spec.filter(|_| kind.is_some() && name.is_some());
}
