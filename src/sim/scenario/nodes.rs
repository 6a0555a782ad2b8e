//! The made-up machine that daemonsets count on.
//!
//! Responsible for which nodes there are: always the same, so that a simulation is the same on
//! every machine. Must not look at the real one.

use crate::core::spec::Nodes;
use crate::unit::names::to_label;
use std::collections::BTreeMap;

/// The name of the machine's node.
pub(super) const MACHINE: &str = "node";
/// How many CPUs it has.
const CPUS: usize = 4;
/// How many NUMA nodes it has.
const NUMA: usize = 2;
/// How many paths match a pattern.
const PATHS: usize = 2;

/// All nodes of a kind, by name, with their paths.
pub(super) fn nodes(wish: &Nodes) -> BTreeMap<String, Option<String>> {
    let counted = |prefix: &str, count: usize| -> BTreeMap<String, Option<String>> {
        (0..count).map(|n| (format!("{prefix}{n}"), None)).collect()
    };
    match wish {
        Nodes::Machine => BTreeMap::from([(MACHINE.to_owned(), None)]),
        Nodes::Cpus => counted("cpu", CPUS),
        Nodes::Numa => counted("numa", NUMA),
        Nodes::Glob(pattern) => (0..PATHS)
            .map(|n| {
                let path = matching(pattern, n);
                (to_label(particular(pattern, &path)), Some(path))
            })
            .collect(),
    }
}

/// A path that matches a pattern: `*` and `?` become the number, `[...]` one of its characters.
fn matching(pattern: &str, n: usize) -> String {
    let mut path = String::new();
    let mut rest = pattern.chars();
    let mut wild = false;
    while let Some(c) = rest.next() {
        match c {
            // Behind another wildcard it matches nothing at all.
            '*' if wild => {}
            '*' | '?' => path.push_str(&n.to_string()),
            '[' => {
                let class: Vec<char> = rest.by_ref().take_while(|c| *c != ']').collect();
                path.push(member(&class, n));
            }
            plain => path.push(plain),
        }
        wild = matches!(c, '*' | '?' | '[');
    }
    path
}

/// The nth character of a class such as `0-9` or `abc`; of a negated one, a digit.
fn member(class: &[char], n: usize) -> char {
    let digit = char::from_digit(u32::try_from(n % 10).unwrap_or(0), 10).unwrap_or('0');
    match class {
        ['!' | '^', ..] | [] => digit,
        [low, '-', high, ..] => {
            (*low..=*high).nth(n).or_else(|| (*low..=*high).next()).unwrap_or(*low)
        }
        listed => listed.get(n).or(listed.first()).copied().unwrap_or(digit),
    }
}

/// The part of a path that tells it from others: its components from the first wildcard on.
fn particular<'p>(pattern: &str, path: &'p str) -> &'p str {
    let wild = pattern.find(['*', '?', '[']).unwrap_or(pattern.len());
    let start = pattern.get(..wild).and_then(|fixed| fixed.rfind('/')).map_or(0, |at| at + 1);
    path.get(start..).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_two_paths_named_as_the_daemon_names_them() {
        for (pattern, expected) in [
            ("/dev/nvidia[0-9]*", [("nvidia0", "/dev/nvidia0"), ("nvidia1", "/dev/nvidia1")]),
            ("/dev/sd[ab]", [("sda", "/dev/sda"), ("sdb", "/dev/sdb")]),
            ("slots/*/dev", [("0-dev", "slots/0/dev"), ("1-dev", "slots/1/dev")]),
        ] {
            let found = nodes(&Nodes::Glob(pattern.to_owned()));
            let expected: BTreeMap<_, _> =
                expected.into_iter().map(|(n, p)| (n.to_owned(), Some(p.to_owned()))).collect();
            assert_eq!(found, expected, "{pattern}");
        }
        assert_eq!(nodes(&Nodes::Cpus).len(), CPUS);
    }
}
