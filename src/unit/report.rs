//! Collects the complaints about one unit and finds their places in its files.

use super::complaint::Complaint;
use super::diagnose::{Diagnostic, Severity, position};
use super::tree::Place;
use std::ops::Range;
use std::path::PathBuf;

/// How many errors of one unit are shown. Whoever gives a log or a table for a unit file learns nothing
/// from the hundredth, and the daemon must not spend minutes on it.
const COMPLAINTS_MAX: usize = 100;

/// A file as the report needs it.
#[derive(Clone, Debug)]
pub(crate) struct FileText {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// The files of a unit and what is wrong with them.
#[derive(Debug)]
pub(crate) struct Report {
    /// The unit's own file, then its drop-ins.
    pub(crate) files: Vec<FileText>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Places in the shadow of a syntax error: what stands there was misread, and complaints about
    /// it would only repeat the first one.
    shadows: Vec<Place>,
}

impl Report {
    /// A report without complaints.
    pub(crate) fn new(files: Vec<FileText>) -> Self {
        Report { files, diagnostics: Vec::new(), shadows: Vec::new() }
    }

    /// What stands at a place.
    pub(crate) fn written(&self, at: &Place) -> &str {
        let file = self.files.get(at.file);
        file.and_then(|file| file.text.get(at.span.clone())).unwrap_or_default()
    }

    /// Whether there is an error, not only warnings.
    pub(crate) fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }

    /// Whether nothing that is said from now on would be shown.
    pub(super) fn is_full(&self) -> bool {
        self.errors() > COMPLAINTS_MAX
    }

    fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|d| d.severity == Severity::Error).count()
    }

    /// Adds an error about a place.
    pub(crate) fn error(&mut self, at: &Place, key: &str, complaint: Complaint) {
        self.add(Severity::Error, at, key, complaint);
    }

    /// Adds a warning about a place.
    pub(crate) fn warning(&mut self, at: &Place, key: &str, complaint: Complaint) {
        self.add(Severity::Warning, at, key, complaint);
    }

    /// Adds complaints about a file's syntax, which silence later ones about the same lines, and
    /// about all lines below a broken `[header]`.
    pub(crate) fn syntax_errors(&mut self, errors: Vec<(Place, Complaint)>) {
        let mut shadows = Vec::new();
        for (at, complaint) in errors {
            if let Some(file) = self.files.get(at.file) {
                let span = shadow(&file.text, at.span.start);
                shadows.push(Place { file: at.file, span });
            }
            self.error(&at, "", complaint);
        }
        self.shadows.extend(shadows);
    }

    fn add(&mut self, severity: Severity, at: &Place, key: &str, complaint: Complaint) {
        // Warnings do not count: none may take an error's place.
        let complaint = match (severity, self.errors()) {
            (Severity::Warning, _) | (Severity::Error, 0..COMPLAINTS_MAX) => complaint,
            (Severity::Error, COMPLAINTS_MAX) => {
                Complaint::new("there are more mistakes than are shown")
                    .help("correct the others first; is this a unit file at all?")
            }
            (Severity::Error, _) => return,
        };
        let Some(file) = self.files.get(at.file) else { return };
        let shadowed =
            |shadow: &Place| shadow.file == at.file && shadow.span.contains(&at.span.start);
        if self.shadows.iter().any(shadowed) {
            return;
        }
        let span = narrowed(&file.text, &at.span, complaint.within);
        let (line, column) = position(&file.text, span.start);
        let diagnostic = Diagnostic {
            severity,
            path: file.path.clone(),
            span,
            line,
            column,
            key: key.to_owned(),
            message: complaint.message,
            suggestion: complaint.help,
        };
        if !self.diagnostics.contains(&diagnostic) {
            self.diagnostics.push(diagnostic);
        }
    }

    /// The complaints in the order of their places.
    pub(crate) fn finish(mut self) -> (Vec<FileText>, Vec<Diagnostic>) {
        let rank = |path: &PathBuf| self.files.iter().position(|file| file.path == *path);
        self.diagnostics.sort_by_key(|d| (rank(&d.path), d.span.start, d.severity));
        (self.files, self.diagnostics)
    }
}

/// The lines that a syntax error spoils: its own, and after a `[header]` all up to the next one.
fn shadow(text: &str, at: usize) -> Range<usize> {
    let start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
    let mut end = start;
    for (number, line) in text.get(start..).unwrap_or_default().split_inclusive('\n').enumerate() {
        let header = line.trim_start().starts_with('[');
        if number > 0
            && (header || !text.get(start..).is_some_and(|t| t.trim_start().starts_with('[')))
        {
            break;
        }
        end += line.len();
    }
    start..end.max(start + 1)
}

/// The part of a string value that is meant, if the value stands in the file as it is read: between
/// one-character quotes and without escapes.
fn narrowed(text: &str, span: &Range<usize>, within: Option<Range<usize>>) -> Range<usize> {
    let (Some(within), Some(raw)) = (within, text.get(span.clone())) else { return span.clone() };
    let plain = raw.len() >= 2
        && raw.starts_with(['"', '\''])
        && !raw.starts_with("\"\"\"")
        && !raw.starts_with("'''")
        && (raw.starts_with('\'') || !raw.contains('\\'));
    let inner = span.start + 1..span.start + raw.len().saturating_sub(1);
    let part = inner.start + within.start..inner.start + within.end;
    if plain && part.end <= inner.end && part.start < part.end { part } else { span.clone() }
}
