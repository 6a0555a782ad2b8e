//! Tables of the rules of stored templates; each row names the Kubernetes source of its rule.

use super::super::replicaset::fake::{START, template};
use super::*;

const NOW: Wall = START.wall;

/// Adopts templates by their texts; returns the revisions' numbers in the order of first use.
fn adopt_all(texts: &[&str]) -> (Revisions, Vec<Revision>) {
    let mut revisions = Revisions::default();
    for text in texts {
        revisions.adopt(&template(text), NOW);
    }
    let numbers = revisions.list.iter().map(|s| s.revision).collect();
    (revisions, numbers)
}

#[test]
fn numbering() {
    // (rule, templates in the order of their use, numbers in the order of first use)
    #[rustfmt::skip]
    let rows: &[(&str, &[&str], &[Revision])] = &[
        ("control.go getStatefulSetRevisions: the first", &["a"], &[1]),
        ("control.go getStatefulSetRevisions: the newest again makes none", &["a", "a"], &[1]),
        ("control.go getStatefulSetRevisions: a new one", &["a", "b"], &[1, 2]),
        ("control.go getStatefulSetRevisions: an older one is renumbered", &["a", "b", "a"], &[3, 2]),
        ("update.go constructHistory: and again", &["a", "b", "a", "b"], &[3, 4]),
        ("controller_history.go FindEqualRevisions: any older one", &["a", "b", "c", "b"], &[1, 4, 3]),
        ("controller_history.go nextRevision: beyond the greatest", &["a", "b", "a", "c"], &[3, 2, 4]),
    ];
    for (rule, texts, expected) in rows {
        assert_eq!(adopt_all(texts).1, *expected, "{rule}");
    }
    let mut revisions = adopt_all(&["a", "b"]).0;
    assert_eq!(revisions.adopt(&template("b"), NOW), Adopted { id: 2, changed: false });
    assert_eq!(revisions.adopt(&template("a"), NOW), Adopted { id: 1, changed: true });
    assert_eq!((revisions.newest(), revisions.newest_id(), revisions.len()), (3, Some(1), 2));
    assert!(Revisions::default().is_empty());
}

#[test]
fn truncation() {
    // Of five, with the numbers 1 to 5: (rule, limit, in use, daemonset's rule, numbers kept)
    type Row<'a> = (&'a str, u32, &'a [SetId], bool, &'a [Revision]);
    #[rustfmt::skip]
    let rows: &[Row<'_>] = &[
        ("control.go truncateHistory: below the limit", 10, &[5], false, &[1, 2, 3, 4, 5]),
        ("control.go truncateHistory: the oldest go", 2, &[5], false, &[3, 4, 5]),
        ("control.go truncateHistory: none is kept", 0, &[5], false, &[5]),
        ("control.go truncateHistory: ones in use do not count", 2, &[1, 5], false, &[1, 3, 4, 5]),
        ("control.go truncateHistory: current and update stay", 0, &[2, 5], false, &[2, 5]),
        ("control.go truncateHistory: all", u32::MAX, &[5], false, &[1, 2, 3, 4, 5]),
        ("update.go cleanupHistory: below the limit", 10, &[5], true, &[1, 2, 3, 4, 5]),
        ("update.go cleanupHistory: the oldest go", 2, &[5], true, &[3, 4, 5]),
        ("update.go cleanupHistory: ones in use count", 2, &[1, 5], true, &[1, 4, 5]),
        ("update.go cleanupHistory: but stay", 0, &[2, 5], true, &[2, 5]),
        ("update.go cleanupHistory: the newest stays", 0, &[], true, &[5]),
        ("update.go cleanupHistory: all", u32::MAX, &[5], true, &[1, 2, 3, 4, 5]),
    ];
    for (rule, limit, live, daemonset, expected) in rows {
        let mut revisions = adopt_all(&["a", "b", "c", "d", "e"]).0;
        if *daemonset {
            revisions.truncate_old(*limit, live);
        } else {
            revisions.truncate_unused(*limit, live);
        }
        let kept: Vec<Revision> = revisions.history().iter().map(|e| e.revision).collect();
        assert_eq!(kept, *expected, "{rule}");
    }
}

#[test]
fn undo() {
    // kubectl polymorphichelpers/rollback.go: (templates, to, the text of the template found)
    type Row<'a> = (&'a [&'a str], Option<Revision>, Result<&'a str, &'a str>);
    #[rustfmt::skip]
    let rows: &[Row<'_>] = &[
        (&["a", "b"], None, Ok("a")),
        (&["a", "b", "c"], None, Ok("b")),
        (&["a", "b", "a"], None, Ok("b")),
        (&["a", "b", "c"], Some(1), Ok("a")),
        (&["a", "b", "c"], Some(3), Ok("c")),
        (&["a"], None, Err("there is no earlier revision to go back to; known revisions: 1")),
        (&[], None, Err("there is no earlier revision to go back to; known revisions: none")),
        (&["a", "b", "a"], Some(1), Err("there is no revision 1; known revisions: 2, 3")),
        (&["a"], Some(0), Err("there is no revision 0; known revisions: 1")),
    ];
    for (texts, to, expected) in rows {
        let found = undo_template(&adopt_all(texts).0.history(), *to);
        let expected = expected.map(template).map_err(str::to_owned);
        assert_eq!(found, expected, "{texts:?} to {to:?}");
    }
}

#[test]
fn earlier_numbers() {
    // deployment_util.go SetNewReplicaSetAnnotations
    let mut stored = store(1, 1, &template("a"), NOW, &mut 0, &[]);
    assert!(!stored.raise(1), "only raised if lower");
    assert!(stored.raise(3) && stored.raise(7) && !stored.raise(5));
    assert_eq!((stored.revision, stored.earlier.as_str()), (7, "1,3"));
    for number in 8..3000 {
        stored.raise(number);
        assert!(stored.earlier.len() <= EARLIER_MAX);
    }
    assert!(stored.earlier.ends_with(",2997,2998"), "the oldest are dropped");
    assert!(stored.earlier.len() > EARLIER_MAX - 5);
}

#[test]
fn a_taken_hash_is_avoided() {
    // sync.go getNewReplicaSet: the collision count is mixed in and raised on a clash.
    let first = store(1, 1, &template("a"), NOW, &mut 0, &[]);
    let mut collisions = 0;
    let second = store(2, 2, &template("a"), NOW, &mut collisions, &[&first.hash]);
    assert_ne!(first.hash, second.hash);
    assert_eq!(collisions, 1);
    let again = store(3, 3, &template("a"), NOW, &mut 0, &[]);
    assert_eq!(first.hash, again.hash, "stable");
}
