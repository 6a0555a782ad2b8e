//! Collects the complaints about one unit and finds their places in its files.

use super::complaint::Complaint;
use super::diagnose::{Diagnostic, Severity, position};
use super::tree::Place;
use std::ops::Range;
use std::path::PathBuf;

/// A file as the report needs it.
#[derive(Clone, Debug)]
pub(super) struct FileText {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// The files of a unit and what is wrong with them.
#[derive(Debug)]
pub(super) struct Report {
    /// The unit's own file, then its drop-ins.
    pub(super) files: Vec<FileText>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// A report without complaints.
    pub(super) fn new(files: Vec<FileText>) -> Self {
        Report { files, diagnostics: Vec::new() }
    }

    /// Whether there is an error, not only warnings.
    pub(super) fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }

    /// Adds an error about a place.
    pub(super) fn error(&mut self, at: &Place, key: &str, complaint: Complaint) {
        self.add(Severity::Error, at, key, complaint);
    }

    /// Adds a warning about a place.
    pub(super) fn warning(&mut self, at: &Place, key: &str, complaint: Complaint) {
        self.add(Severity::Warning, at, key, complaint);
    }

    fn add(&mut self, severity: Severity, at: &Place, key: &str, complaint: Complaint) {
        let Some(file) = self.files.get(at.file) else { return };
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
    pub(super) fn finish(mut self) -> (Vec<FileText>, Vec<Diagnostic>) {
        let rank = |path: &PathBuf| self.files.iter().position(|file| file.path == *path);
        self.diagnostics.sort_by_key(|d| (rank(&d.path), d.span.start, d.severity));
        (self.files, self.diagnostics)
    }
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
