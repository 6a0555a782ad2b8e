//! One complaint about one place, and how it looks to a person.
//!
//! Responsible for the [`Diagnostic`] type, for lines and columns, and for rendering with the
//! offending text underlined. Must not know what is right or wrong in a unit.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The unit cannot be used.
    Error,
    /// The unit can be used, but probably not as it was meant.
    Warning,
}

/// A complaint: what, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file; for a value from a drop-in, the drop-in.
    pub path: PathBuf,
    /// The offending bytes of the file.
    pub span: Range<usize>,
    /// Line of the first offending character, from 1.
    pub line: usize,
    /// Column of the first offending character, in characters from 1.
    pub column: usize,
    /// The key as a dotted path, such as `rollout.max_surge` or `init[0].command`; empty where
    /// no key is concerned.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub suggestion: Option<String>,
}

/// `path:line:column: message`, on one line, for logs and events.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.path.display(), self.line, self.column, self.message)?;
        if let Some(suggestion) = &self.suggestion {
            write!(f, " ({suggestion})")?;
        }
        Ok(())
    }
}

/// Line and column, both from 1 and in characters, of a byte offset.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..floor_boundary(text, offset)).unwrap_or_default();
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// Renders a complaint about `text` as rustc does, with colours if wanted.
pub fn render(diagnostic: &Diagnostic, text: &str, colour: bool) -> String {
    let span = visible_span(text, &diagnostic.span);
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let path = diagnostic.path.display().to_string();
    let snippet =
        Snippet::source(text).path(path).fold(true).annotation(AnnotationKind::Primary.span(span));
    let mut group = level.primary_title(diagnostic.message.as_str()).element(snippet);
    if let Some(suggestion) = &diagnostic.suggestion {
        group = group.element(Level::HELP.message(suggestion.as_str()));
    }
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    renderer.decor_style(DecorStyle::Ascii).render(&[group])
}

/// A span of whole characters inside the text, and of one line: an underlined page helps nobody.
fn visible_span(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = floor_boundary(text, span.start);
    let end = floor_boundary(text, span.end).max(start);
    let inside = text.get(start..end).unwrap_or_default();
    let first_line = inside.lines().next().unwrap_or_default().trim_end();
    start..start + first_line.len()
}

fn floor_boundary(text: &str, offset: usize) -> usize {
    let mut at = offset.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
