//! Files of variables: `KEY=VALUE` lines as people write them for shells, systemd and compose.
//!
//! Responsible for the format, with a line number for every complaint. Nothing in them is
//! expanded: a `$` in a password is a `$`.

/// Reads the lines of a file.
///
/// An `export ` before the name is allowed, as are empty lines and lines that begin with `#`.
/// A bare value ends at the end of the line or at ` #`, without the blanks around it. Between
/// single quotes everything is itself; between double quotes `\n`, `\t`, `\"`, `\\` and `\$` are
/// the usual ones. A quoted value may go over several lines.
///
/// # Errors
/// The number of the offending line, from 1, and what is wrong with it.
pub fn parse(text: &str) -> Result<Vec<(String, String)>, (usize, String)> {
    let mut variables = Vec::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    while !rest.is_empty() {
        let (here, after) = split_line(rest);
        let trimmed = here.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            rest = after;
            line += 1;
            continue;
        }
        let body = trimmed.strip_prefix("export ").unwrap_or(trimmed).trim_start();
        let (name, _) = body
            .split_once('=')
            .ok_or_else(|| (line, format!("expected NAME=VALUE, found {:?}", body.trim_end())))?;
        let name = name.trim_end();
        check_name(name).map_err(|message| (line, message))?;
        // The value may go on after this line, so it is cut from the whole rest.
        let value_at = offset(rest, body) + body.find('=').unwrap_or(0) + 1;
        let value_text = rest.get(value_at..).unwrap_or_default();
        let (value, used) = value(value_text).map_err(|message| (line, message))?;
        variables.push((name.to_owned(), value));
        let taken = rest.get(..value_at + used).unwrap_or(rest);
        line += taken.matches('\n').count();
        rest = rest.get(value_at + used..).unwrap_or_default();
    }
    Ok(variables)
}

/// Where `part`, a slice of `whole`, begins in it.
fn offset(whole: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

fn split_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

fn check_name(name: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.is_empty() {
        return Err("the name before `=` is missing".to_owned());
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(good) {
        return Err(format!("{name:?} is no name of a variable"));
    }
    Ok(())
}

/// The value at the start of `text` and how many bytes it takes, the end of its line included.
fn value(text: &str) -> Result<(String, usize), String> {
    let start = text.len() - text.trim_start_matches([' ', '\t']).len();
    let body = text.get(start..).unwrap_or_default();
    match body.chars().next() {
        Some(quote @ ('\'' | '"')) => {
            let (value, used) = quoted(body, quote)?;
            let (tail, _) = split_line(body.get(used..).unwrap_or_default());
            let left = tail.trim();
            if !left.is_empty() && !left.starts_with('#') {
                return Err(format!("unexpected {left:?} after the closing quote"));
            }
            Ok((value, end_of_line(text, start + used + tail.len())))
        }
        _ => {
            let (line, _) = split_line(text);
            Ok((bare(line), end_of_line(text, line.len())))
        }
    }
}

fn end_of_line(text: &str, at: usize) -> usize {
    if text.as_bytes().get(at) == Some(&b'\n') { at + 1 } else { at }
}

fn bare(line: &str) -> String {
    let cut = line
        .char_indices()
        .find(|(at, c)| *c == '#' && line.get(..*at).is_some_and(|b| b.ends_with([' ', '\t'])))
        .map_or(line.len(), |(at, _)| at);
    line.get(..cut).unwrap_or(line).trim().to_owned()
}

fn quoted(text: &str, quote: char) -> Result<(String, usize), String> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Ok((value, at + 1));
        }
        if c != '\\' || quote == '\'' {
            value.push(c);
            continue;
        }
        match chars.next() {
            Some((_, 'n')) => value.push('\n'),
            Some((_, 't')) => value.push('\t'),
            Some((_, 'r')) => value.push('\r'),
            Some((_, c @ ('"' | '\\' | '$' | '`'))) => value.push(c),
            // A line that is continued, as in a shell.
            Some((_, '\n')) => {}
            Some((_, other)) => value.extend(['\\', other]),
            None => {}
        }
    }
    Err(format!("the closing {quote} is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_a_person_means_them() {
        let table = [
            ("A=1", "1"),
            ("A=", ""),
            ("  export A=1  ", "1"),
            ("A = spaced out ", "spaced out"),
            ("A=1 # a comment", "1"),
            ("A=x#y", "x#y"),
            ("A=# all comment", "# all comment"),
            ("A= # all comment", ""),
            ("A='single # \\n $(B)' # c", "single # \\n $(B)"),
            (r#"A="a\n\t\"\\\$ \q""#, "a\n\t\"\\$ \\q"),
            ("A=\"two\nlines\"", "two\nlines"),
            ("A=a=b=c", "a=b=c"),
            ("A=\"\"", ""),
            ("\u{feff}A=bom", "bom"),
            ("# c\r\n\r\nA=crlf\r\n", "crlf"),
            ("A=$(B)$C", "$(B)$C"),
            ("A=it's", "it's"),
        ];
        for (text, expected) in table {
            let got = parse(text).unwrap_or_else(|e| panic!("{text:?}: {e:?}"));
            assert_eq!(got, [("A".to_owned(), expected.to_owned())], "{text:?}");
        }
    }

    #[test]
    fn complaints_name_the_line() {
        let table = [
            ("A=1\nB\n", 2, "expected NAME=VALUE"),
            ("A=1\n=x", 2, "name before `=` is missing"),
            ("1A=x", 1, "is no name"),
            ("A B=x", 1, "is no name"),
            ("A='x\n\ny'\nB=\"x", 4, "closing \" is missing"),
            ("A=\"x\" y", 1, "after the closing quote"),
        ];
        for (text, line, message) in table {
            let (at, said) = parse(text).unwrap_err();
            assert_eq!(at, line, "{text:?}");
            assert!(said.contains(message), "{said}");
        }
    }

    #[test]
    fn several_lines_keep_their_order() {
        let got = parse("B='1\n2'\nA=3\n\nB=4").unwrap();
        let names: Vec<_> = got.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(names, ["B=1\n2", "A=3", "B=4"]);
    }
}
