//! Tables of the rules of stored templates; each row names the Kubernetes source of its rule.

use super::super::replicaset::fake::{START, template};
use super::*;
use crate::core::table::{Rule, by};

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
    let rows: &[(Rule, &[&str], &[Revision])] = &[
        (by("stateful_set_control.go getStatefulSetRevisions", "the first"), &["a"], &[1]),
        (by("stateful_set_control.go getStatefulSetRevisions", "the newest again makes none"), &["a", "a"], &[1]),
        (by("stateful_set_control.go getStatefulSetRevisions", "a new one"), &["a", "b"], &[1, 2]),
        (by("stateful_set_control.go getStatefulSetRevisions", "an older one is renumbered"), &["a", "b", "a"], &[3, 2]),
        (by("daemon/update.go constructHistory", "and again"), &["a", "b", "a", "b"], &[3, 4]),
        (by("controller_history.go FindEqualRevisions", "any older one"), &["a", "b", "c", "b"], &[1, 4, 3]),
        (by("controller_history.go nextRevision", "beyond the greatest"), &["a", "b", "a", "c"], &[3, 2, 4]),
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
    type Row<'a> = (Rule, u32, &'a [SetId], bool, &'a [Revision]);
    #[rustfmt::skip]
    let rows: &[Row<'_>] = &[
        (by("stateful_set_control.go truncateHistory", "below the limit"), 10, &[5], false, &[1, 2, 3, 4, 5]),
        (by("stateful_set_control.go truncateHistory", "the oldest go"), 2, &[5], false, &[3, 4, 5]),
        (by("stateful_set_control.go truncateHistory", "none is kept"), 0, &[5], false, &[5]),
        (by("stateful_set_control.go truncateHistory", "ones in use do not count"), 2, &[1, 5], false, &[1, 3, 4, 5]),
        (by("stateful_set_control.go truncateHistory", "current and update stay"), 0, &[2, 5], false, &[2, 5]),
        (by("stateful_set_control.go truncateHistory", "all"), u32::MAX, &[5], false, &[1, 2, 3, 4, 5]),
        (by("daemon/update.go cleanupHistory", "below the limit"), 10, &[5], true, &[1, 2, 3, 4, 5]),
        (by("daemon/update.go cleanupHistory", "the oldest go"), 2, &[5], true, &[3, 4, 5]),
        (by("daemon/update.go cleanupHistory", "ones in use count"), 2, &[1, 5], true, &[1, 4, 5]),
        (by("daemon/update.go cleanupHistory", "but stay"), 0, &[2, 5], true, &[2, 5]),
        (by("daemon/update.go cleanupHistory", "the newest stays"), 0, &[], true, &[5]),
        (by("daemon/update.go cleanupHistory", "all"), u32::MAX, &[5], true, &[1, 2, 3, 4, 5]),
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
    // (rule, templates in the order of their use, to which revision, the template found)
    type Row<'a> = (Rule, &'a [&'a str], Option<Revision>, Result<&'a str, &'a str>);
    #[rustfmt::skip]
    let rows: &[Row<'_>] = &[
        (by("kubectl/rollback.go deploymentRevision", "without a number to the one before the latest"), &["a", "b"], None, Ok("a")),
        (by("kubectl/rollback.go deploymentRevision", "not to the first of several"), &["a", "b", "c"], None, Ok("b")),
        (by("kubectl/rollback.go deploymentRevision", "by number, not by age: a renumbered one is the latest"), &["a", "b", "a"], None, Ok("b")),
        (by("kubectl/rollback.go deploymentRevision", "twice is back where it was"), &["a", "b", "a", "b"], None, Ok("a")),
        (by("kubectl/rollback.go deploymentRevision", "to a number"), &["a", "b", "c"], Some(1), Ok("a")),
        (by("kubectl/rollback.go deploymentRevision", "to the number a revision got when it was used again"), &["a", "b", "a", "c"], Some(3), Ok("a")),
        (by("kubectl/rollback.go deploymentRevision", "to the latest, which changes nothing"), &["a", "b", "c"], Some(3), Ok("c")),
        (by("kubectl/rollback.go revisionNotFoundErr", "there is only one"), &["a"], None, Err("there is no earlier revision to go back to; known revisions: 1")),
        (by("kubectl/rollback.go revisionNotFoundErr", "there is none"), &[], None, Err("there is no earlier revision to go back to; known revisions: none")),
        (by("kubectl/rollback.go revisionNotFoundErr", "a number that was given up for a later one"), &["a", "b", "a"], Some(1), Err("there is no revision 1; known revisions: 2, 3")),
        (by("kubectl/rollback.go revisionNotFoundErr", "a number that is yet to come"), &["a"], Some(2), Err("there is no revision 2; known revisions: 1")),
    ];
    for (rule, texts, to, expected) in rows {
        let found = undo_template(&adopt_all(texts).0.history(), *to);
        let expected = expected.map(template).map_err(str::to_owned);
        assert_eq!(found, expected, "{rule}");
    }
}

#[test]
fn earlier_numbers() {
    // (rule, number and text of earlier ones before, raised to, whether it is, both after)
    type Row<'a> = (Rule, (Revision, &'a str), Revision, bool, (Revision, &'a str));
    // Of 2000 characters, the most there may be.
    let full = format!("{}1234", "9,".repeat(998));
    let nines = |count: usize, end: &str| format!("{}{end}", "9,".repeat(count));
    let (shorter, much_shorter, exact) =
        (nines(996, "1234,12"), nines(995, "1234,1234"), nines(997, "1234,5"));
    let room = nines(997, "1234");
    let one_long = "7".repeat(EARLIER_MAX);
    #[rustfmt::skip]
    let rows: &[Row<'_>] = &[
        (by("deployment/util.go SetNewReplicaSetAnnotations", "not to its own number"), (4, ""), 4, false, (4, "")),
        (by("deployment/util.go SetNewReplicaSetAnnotations", "not to a lower one: an old set was removed meanwhile"), (4, "1"), 3, false, (4, "1")),
        (by("deployment/util.go SetNewReplicaSetAnnotations", "the former number is kept as text"), (1, ""), 3, true, (3, "1")),
        (by("deployment/util.go SetNewReplicaSetAnnotations", "behind the ones before it"), (3, "1"), 7, true, (7, "1,3")),
        (by("deployment/util.go SetNewReplicaSetAnnotations", "2000 characters are allowed"), (5, &room), 6, true, (6, &exact)),
        (by("deployment/util.go SetNewReplicaSetAnnotations", "beyond them the oldest is dropped"), (12, &full), 20, true, (20, &shorter)),
        (by("deployment/util.go SetNewReplicaSetAnnotations", "as many of the oldest as it takes"), (1234, &full), 2000, true, (2000, &much_shorter)),
        (by("deployment/util.go SetNewReplicaSetAnnotations", "if need be all of them"), (8, &one_long), 9, true, (9, "8")),
    ];
    for (rule, (revision, earlier), to, raised, after) in rows {
        let mut stored = store(1, *revision, &template("a"), NOW, &mut 0, &[]);
        stored.earlier = (*earlier).to_owned();
        assert_eq!(stored.raise(*to), *raised, "{rule}");
        assert_eq!((stored.revision, stored.earlier.as_str()), *after, "{rule}");
        assert!(stored.earlier.len() <= EARLIER_MAX, "{rule}");
    }
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

/// FNV-1a of 32 bits over the template's text and the count of collisions, by long multiplication.
#[test]
fn names_of_templates_are_hashes() {
    for text in ["a", "b"] {
        for collision in [0, 1, 0x0102_0304] {
            let template = template(text);
            let mut bytes = format!("{:?}", *template).into_bytes();
            bytes.extend(u32::to_le_bytes(collision));
            let hash = bytes.iter().fold(2_166_136_261_u64, |hash, byte| {
                (hash & !0xff | (hash & 0xff) ^ u64::from(*byte)) * 16_777_619 % (1 << 32)
            });
            let name = crate::core::id::safe_encode(hash);
            assert_eq!(template_hash(&template, collision), name, "{text} {collision}");
        }
    }
}
