//! Advice on mistakes in TOML itself, beside the parser's own words.

use super::complaint::Complaint;
use super::tree::SyntaxError;

/// The parser's complaint, with what usually helps.
pub(crate) fn explain(error: &SyntaxError, text: &str) -> Complaint {
    let line_start =
        text.get(..error.at.span.start).and_then(|t| t.rfind('\n')).map_or(0, |n| n + 1);
    let line = text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let word = text.get(error.at.span.clone()).unwrap_or_default();
    let message = match error.message.as_str() {
        "duplicate key" => format!("`{word}` is there already"),
        other => format!("not TOML: {}", other.trim_end_matches(", expected literal string")),
    };
    let complaint = Complaint::new(message);
    complaint.help(advice(&error.message, line.trim()).unwrap_or_else(|| {
        "a line is `key = value`, `[table]`, `[[table]]` or `# comment`".to_owned()
    }))
}

fn advice(message: &str, line: &str) -> Option<String> {
    if message.contains("duplicate key") {
        return Some("each key and each [table] stands once in a file".to_owned());
    }
    if message.contains("leading zero") {
        return Some("a number has no leading zero; octal digits stand in quotes".to_owned());
    }
    if message.contains("string, expected") && !message.contains("must be quoted") {
        return Some("close the string with the quote that began it".to_owned());
    }
    if message.contains("unclosed array") {
        return Some("close the array with `]`".to_owned());
    }
    if message.contains("unclosed inline table") {
        return Some("close the table with `}`".to_owned());
    }
    if line.starts_with('[') && !line.ends_with(']') && !line.contains('=') {
        return Some("close the header: [table], or [[table]] for one of several".to_owned());
    }
    if let Some((key, _)) = line.split_once(':')
        && !line.contains('=')
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    {
        return Some(format!("TOML is written {key} = value"));
    }
    if let Some((key, value)) = line.split_once('=') {
        let (key, value) = (key.trim(), value.trim());
        if value.is_empty() {
            return Some(format!("write a value after `{key} =`"));
        }
        let bare = value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '.');
        if bare && !matches!(value, "true" | "false") {
            return Some(format!("text stands in quotes: {key} = \"{value}\""));
        }
        if value.starts_with(|c: char| c.is_ascii_digit())
            && value.ends_with(|c: char| c.is_ascii_alphabetic() || c == '%')
        {
            return Some(format!("a value with a unit stands in quotes: {key} = \"{value}\""));
        }
    }
    None
}
