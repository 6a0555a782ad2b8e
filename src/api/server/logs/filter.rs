//! Which lines are wanted.
//!
//! Responsible for `grep` and `stream`. Pure.

use crate::api::types::{ApiError, ErrorCode};
use crate::runner::logs::read::{Line, Origin};
use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

/// The longest pattern, in bytes: whoever has more wants a program.
const PATTERN_MAX: usize = 1 << 10;
/// How large a compiled pattern may be, in bytes. The regex crate takes time in proportion to the
/// text only, whatever the pattern.
const COMPILED_MAX: usize = 1 << 20;

/// One of a program's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StreamWanted {
    Stdout,
    Stderr,
}

/// Which lines are wanted; by default all.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    grep: Option<Regex>,
    stream: Option<StreamWanted>,
}

impl Filter {
    /// Reads a pattern.
    ///
    /// # Errors
    /// It is none; with the column.
    pub(super) fn new(
        grep: Option<&str>,
        stream: Option<StreamWanted>,
    ) -> Result<Filter, ApiError> {
        Ok(Filter { grep: grep.map(compile).transpose()?, stream })
    }

    /// Whether it takes everything.
    pub(super) const fn is_open(&self) -> bool {
        self.grep.is_none() && self.stream.is_none()
    }

    /// Whether this line is wanted. What wsup says itself belongs to both outputs, but is no match
    /// for a pattern.
    pub(super) fn takes(&self, line: &Line) -> bool {
        let stream = match (self.stream, line.origin) {
            (None, _) | (Some(_), Origin::Wsup) => true,
            (Some(StreamWanted::Stdout), origin) => origin == Origin::Stdout,
            (Some(StreamWanted::Stderr), origin) => origin == Origin::Stderr,
        };
        stream && self.grep.as_ref().is_none_or(|grep| grep.is_match(&line.text))
    }
}

fn compile(pattern: &str) -> Result<Regex, ApiError> {
    let wrong = |why: String| {
        ApiError::new(ErrorCode::Usage, format!("`{pattern}` is not a regular expression: {why}"))
    };
    if pattern.len() > PATTERN_MAX {
        let message = format!("a regular expression has at most {PATTERN_MAX} bytes");
        return Err(ApiError::new(ErrorCode::Usage, message));
    }
    // Asked first, since it alone tells the place.
    let place = |column: usize| format!("column {column}");
    let help = "put `\\` before a character that stands for itself";
    match regex_syntax::Parser::new().parse(pattern) {
        Err(regex_syntax::Error::Parse(e)) => {
            let why = format!("{}: {}", place(e.span().start.column), e.kind());
            return Err(wrong(why).help(help));
        }
        Err(regex_syntax::Error::Translate(e)) => {
            let why = format!("{}: {}", place(e.span().start.column), e.kind());
            return Err(wrong(why).help(help));
        }
        Ok(_) | Err(_) => {}
    }
    RegexBuilder::new(pattern).size_limit(COMPILED_MAX).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => wrong("it is too large".to_owned())
            .help("repeat less: `{1000}` makes a thousand copies of what it repeats"),
        other => wrong(other.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, origin: Origin) -> Line {
        Line { at: None, origin, text: text.as_bytes().to_vec(), whole: true }
    }

    #[test]
    fn what_is_no_pattern_is_told_with_its_column() {
        let told = |pattern: &str| compile(pattern).map(drop).unwrap_err().message;
        assert_eq!(
            told("time(out"),
            "`time(out` is not a regular expression: column 5: unclosed group"
        );
        assert!(told("a{3,1}").contains("column 2: "), "{}", told("a{3,1}"));
        assert!(told("(a{1000}){1000}").ends_with("it is too large"));
        assert!(told(&"x".repeat(2000)).contains("at most 1024 bytes"));
    }

    #[test]
    fn lines_are_taken_by_stream_and_pattern() {
        let rows = [
            (None, None, [true, true, true]),
            (Some("^GET"), None, [true, false, false]),
            (None, Some(StreamWanted::Stderr), [false, true, true]),
            (Some("o"), Some(StreamWanted::Stdout), [true, false, true]),
        ];
        let lines = [
            line("GET /o", Origin::Stdout),
            line("oops \u{fffd}", Origin::Stderr),
            line("[wsup: 5 bytes of output are missing here]", Origin::Wsup),
        ];
        for (grep, stream, expected) in rows {
            let filter = Filter::new(grep, stream).unwrap();
            let taken: Vec<bool> = lines.iter().map(|line| filter.takes(line)).collect();
            assert_eq!(taken, expected, "{grep:?} {stream:?}");
        }
    }
}
