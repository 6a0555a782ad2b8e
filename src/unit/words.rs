//! Commands written as one string, split into words as a shell would.
//!
//! Responsible for the splitting and for saying what a string cannot do: it is run without a
//! shell, so pipes, redirections and `$VAR` would reach the program as they stand.

use super::complaint::Complaint;
use std::ops::Range;

/// Words that only a shell understands.
const SHELL_ONLY: [&str; 12] =
    ["|", "||", "&&", "&", ";", ">", ">>", "<", "<<", "2>", "2>&1", "&>"];

/// Splits a command into words.
///
/// # Errors
/// A quote without its end, or no word at all.
pub fn split(text: &str) -> Result<Vec<String>, Complaint> {
    let Some(words) = shlex::split(text) else {
        return Err(Complaint::new(
            "the command has a quote or a backslash without its counterpart",
        )
        .help("close the quote, or write the words as an array: [\"program\", \"argument\"]"));
    };
    if words.first().is_none_or(String::is_empty) {
        return Err(Complaint::new("the command has no word")
            .help("write the program and its arguments: [\"program\", \"argument\"]"));
    }
    Ok(words)
}

/// The first word of a string command that needs a shell, if there is one, and its bytes. Quoted
/// words do not count: who quotes an operator means it literally.
pub fn shell_word(text: &str) -> Option<(&str, Range<usize>)> {
    let mut from = 0;
    for word in text.split_whitespace() {
        let at = from + text.get(from..)?.find(word)?;
        from = at + word.len();
        if SHELL_ONLY.contains(&word) {
            return Some((word, at..from));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_as_a_shell() {
        assert_eq!(split("a 'b c' \"d\"e").unwrap(), ["a", "b c", "de"]);
        assert_eq!(split("a '' b").unwrap(), ["a", "", "b"]);
        assert!(split("a 'b").is_err());
        assert!(split("   ").is_err());
        assert!(split("''").is_err());
    }

    #[test]
    fn finds_what_needs_a_shell() {
        assert_eq!(shell_word("a | b"), Some(("|", 2..3)));
        assert_eq!(shell_word("a '|' b"), None);
    }
}
