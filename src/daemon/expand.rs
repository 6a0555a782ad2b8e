//! `$(NAME)` in commands and values, by Kubernetes' rules.
//!
//! Responsible for the text only. Must not know where values come from. The rules are those of
//! `k8s.io/kubernetes/third_party/forked/golang/expansion/expand.go`; the table test names them.

use std::collections::BTreeMap;

/// Replaces each `$(NAME)` by the value of NAME. A name without a value is left as it stands,
/// `$$` is one `$`, and any other `$` is itself.
pub fn expand(text: &str, mut value: impl FnMut(&str) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.extend_from_slice(before.as_bytes());
        if let Some(after) = after.strip_prefix('$') {
            out.push(b'$');
            rest = after;
        } else if let Some((name, after)) =
            after.strip_prefix('(').and_then(|inner| inner.split_once(')'))
        {
            match value(name) {
                Some(value) => out.extend_from_slice(&value),
                None => out.extend_from_slice(format!("$({name})").as_bytes()),
            }
            rest = after;
        } else {
            // Kubernetes takes the character after a lone `$` with it, an opening `(` included.
            let next = after.chars().next().map_or(0, char::len_utf8);
            let (taken, after) = after.split_at(next);
            out.push(b'$');
            out.extend_from_slice(taken.as_bytes());
            rest = after;
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// Lays a unit's `env` over the variables below it. Values may refer to each other in any order,
/// since a TOML table has none; a reference to a variable of the same name, or back to one that is
/// being worked out, means the one below (`PATH = "/opt/bin:$(PATH)"`).
pub fn overlay(below: &mut BTreeMap<String, Vec<u8>>, env: &BTreeMap<String, String>) {
    let done: Vec<_> = env
        .keys()
        .filter_map(|name| Some((name.clone(), resolve(name, env, below, &mut Vec::new())?)))
        .collect();
    below.extend(done);
}

fn resolve(
    name: &str,
    env: &BTreeMap<String, String>,
    below: &BTreeMap<String, Vec<u8>>,
    under_way: &mut Vec<String>,
) -> Option<Vec<u8>> {
    let text = match env.get(name) {
        // A chain longer than this is no honest one; it must not use up the stack.
        Some(text) if under_way.len() < DEPTH_MAX && !under_way.iter().any(|n| n == name) => text,
        _ => return below.get(name).cloned(),
    };
    under_way.push(name.to_owned());
    let value = expand(text, |other| resolve(other, env, below, under_way));
    under_way.pop();
    Some(value)
}

/// How many variables may refer to each other in a row.
const DEPTH_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of `expand_test.go`, by its own case names where it has one.
    #[test]
    fn text_expands_as_kubernetes_expands_it() {
        let table = [
            ("whole string", "$(VAR_A)", "A"),
            ("repeat", "$(VAR_A)-$(VAR_A)", "A-A"),
            ("beginning", "$(VAR_A)-1", "A-1"),
            ("middle", "___$(VAR_B)___", "___B___"),
            ("end", "___$(VAR_C)", "___C"),
            ("empty value", "foo_$(VAR_EMPTY)", "foo_"),
            ("compound", "$(VAR_A)_$(VAR_B)_$(VAR_C)", "A_B_C"),
            ("escape & expand", "$$(VAR_B)_$(VAR_A)", "$(VAR_B)_A"),
            ("escaped", "f000-$$VAR_A", "f000-$VAR_A"),
            ("backslash escape ignored", r"foo\$(VAR_C)bar", r"foo\Cbar"),
            ("backslash escape ignored", r"foo\\$(VAR_C)bar", r"foo\\Cbar"),
            ("escaped twice", "foo$$$$(VAR_C)", "foo$$(VAR_C)"),
            ("odd run of operators", "$$$(VAR_A)", "$A"),
            ("value containing an operator", "$(VAR_REF)", "$(VAR_A)"),
            ("not a name of a variable", "$(VAR_DNE)", "$(VAR_DNE)"),
            ("mixed in with text", "$(VAR_A)$(VAR_DNE)", "A$(VAR_DNE)"),
            ("incomplete", "$(VAR_A", "$(VAR_A"),
            ("incomplete and more", "foo-$(VAR_A$(VAR_B)", "foo-$(VAR_A$(VAR_B)"),
            ("empty name", "$()", "$()"),
            ("operator at the end", "foo$", "foo$"),
            ("two at the end", "foo$$", "foo$"),
            ("operator and text", "$VAR_A $x", "$VAR_A $x"),
            ("many bytes a character", "ä$ä$(VAR_A)ä", "ä$äAä"),
        ];
        for (case, input, expected) in table {
            let got = expand(input, |name| match name {
                "VAR_A" => Some(b"A".to_vec()),
                "VAR_B" => Some(b"B".to_vec()),
                "VAR_C" => Some(b"C".to_vec()),
                "VAR_REF" => Some(b"$(VAR_A)".to_vec()),
                "VAR_EMPTY" => Some(Vec::new()),
                _ => None,
            });
            assert_eq!(String::from_utf8(got).unwrap(), expected, "{case}: {input}");
        }
    }

    #[test]
    fn values_refer_to_each_other_and_to_what_is_below() {
        type Row = (&'static [(&'static str, &'static str)], &'static str, &'static str);
        let table: &[Row] = &[
            (&[("A", "1"), ("B", "$(A)2")], "B", "12"),
            (&[("A", "$(B)2"), ("B", "1")], "A", "12"),
            (&[("PATH", "/x:$(PATH)")], "PATH", "/x:/bin"),
            (&[("A", "$(A)")], "A", "$(A)"),
            (&[("A", "a$(B)"), ("B", "b$(A)")], "A", "ab$(A)"),
            (&[("A", "a$(B)"), ("B", "b$(A)")], "B", "ba$(B)"),
            (&[("A", "$$(PATH)")], "A", "$(PATH)"),
        ];
        for (env, name, expected) in table {
            let env = env.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            let mut vars = BTreeMap::from([("PATH".to_owned(), b"/bin".to_vec())]);
            overlay(&mut vars, &env);
            assert_eq!(String::from_utf8_lossy(&vars[*name]), *expected, "{env:?}");
        }
    }
}
