//! Lines of output that somebody waits for.
//!
//! Responsible for finding the first line of a program's output that matches each expression. Must not
//! know what follows from it.
//!
//! As long as one is awaited, output is read instead of moved unseen, and each line is looked at; then
//! that is over, and costs nothing any more.

use regex::bytes::{Regex, RegexBuilder};
use std::collections::BTreeMap;

/// How large an expression may become, in bytes: a few thousand states. Output is searched in linear
/// time whatever the expression is.
const COMPILED_MAX: usize = 1 << 20;

/// How much of the line that matches is told, in characters.
const SHOWN_MAX: usize = 256;

/// What is awaited, by name.
#[derive(Debug, Default)]
pub(in crate::runner) struct Watch {
    awaited: Vec<(String, Regex)>,
    found: Vec<(String, String)>,
}

impl Watch {
    /// Awaits a line for each of these expressions.
    ///
    /// # Errors
    /// The first that is none, or is too large, for people.
    pub(in crate::runner) fn new(wanted: &BTreeMap<String, String>) -> Result<Watch, String> {
        let compile = |(name, text): (&String, &String)| {
            let regex = RegexBuilder::new(text).size_limit(COMPILED_MAX).build();
            let regex = regex.map_err(|error| format!("`{text}` cannot be searched for: {error}"));
            Ok((name.clone(), regex?))
        };
        let awaited = wanted.iter().map(compile).collect::<Result<_, String>>()?;
        Ok(Watch { awaited, found: Vec::new() })
    }

    /// Whether anything is still awaited.
    pub(super) fn is_over(&self) -> bool {
        self.awaited.is_empty()
    }

    /// Looks at output: whole lines, or a piece of one that is too long.
    pub(super) fn look(&mut self, output: &[u8]) {
        if self.is_over() {
            return;
        }
        let Watch { awaited, found } = self;
        for line in output.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            awaited.retain(|(name, regex)| {
                let matches = regex.is_match(line);
                if matches {
                    found.push((name.clone(), shown(line)));
                }
                !matches
            });
            if awaited.is_empty() {
                return;
            }
        }
    }

    /// What was found since the last call: the name, and the line.
    pub(in crate::runner) fn take_found(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.found)
    }
}

/// A line for terminals.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.chars().filter(|c| !c.is_control()).take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(wanted: &[(&str, &str)]) -> Result<Watch, String> {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        Watch::new(&wanted.iter().map(owned).collect())
    }

    #[test]
    fn the_first_line_that_matches_is_found_for_each_and_then_it_is_over() {
        let mut watch = watch(&[("a", "^ready$"), ("b", r"port (\d+)")]).unwrap();
        watch.look(b"not ready\nalready\n");
        assert_eq!(watch.take_found(), []);
        watch.look(b"on port 80\r\non port 81\n\xff\n");
        assert_eq!(watch.take_found(), [("b".to_owned(), "on port 80".to_owned())]);
        assert!(!watch.is_over());
        watch.look(b"ready\nready\n");
        assert_eq!(watch.take_found(), [("a".to_owned(), "ready".to_owned())]);
        assert!(watch.is_over());
        watch.look(b"ready\n");
        assert_eq!(watch.take_found(), []);
    }

    #[test]
    fn what_is_told_is_fit_for_a_terminal_and_bounded() {
        let mut watch = watch(&[("a", "ready")]).unwrap();
        let long = format!("\u{1b}[1mready {}\n", "x".repeat(1_000));
        watch.look(long.as_bytes());
        let found = watch.take_found();
        assert!(found[0].1.starts_with("[1mready xx") && found[0].1.chars().count() == SHOWN_MAX);
    }

    #[test]
    fn an_expression_that_is_none_or_too_large_is_refused() {
        for text in ["(", r"(\w{1000}){1000}"] {
            let said = watch(&[("a", text)]).unwrap_err();
            assert!(said.contains("cannot be searched for"), "{said}");
        }
        assert!(watch(&[]).unwrap().is_over());
    }
}
