use super::*;
use std::os::unix::fs::MetadataExt;

fn changes(wanted: &[(&str, Option<&str>)]) -> Changes {
    let owned = |value: &str| value.as_bytes().to_vec();
    wanted.iter().map(|(key, value)| ((*key).to_owned(), value.map(owned))).collect()
}

fn put(journal: &mut Journal, wanted: &[(&str, Option<&str>)]) {
    let mut changes = changes(wanted);
    journal.commit(&mut changes).unwrap();
    assert!(changes.is_empty());
}

fn open(path: &Path) -> Journal {
    Journal::open(path.to_path_buf()).unwrap_or_else(|_| panic!("it opens")).0
}

/// What a daemon that opens it finds.
fn found(path: &Path) -> Vec<(String, String)> {
    let (_, records) =
        Journal::open(path.to_path_buf()).unwrap_or_else(|_| panic!("it opens again"));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert!(records.iter().all(|record| !record.durable));
    records.into_iter().map(|record| (record.key, text(record.value))).collect()
}

fn pairs(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
    wanted.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn why(path: &Path) -> String {
    match Journal::open(path.to_path_buf()) {
        Err(Failure::Damaged(cause)) => cause,
        Err(Failure::Newer(format)) => format!("newer: {format}"),
        Err(Failure::Io(cause)) => format!("io: {cause}"),
        Ok(_) => "it opens".to_owned(),
    }
}

#[test]
fn a_turn_that_is_cut_off_anywhere_is_gone_in_whole_and_those_before_it_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.journal");
    let mut journal = open(&path);
    let mut ends = vec![(journal.end, Vec::new())];
    put(&mut journal, &[("instance/1", Some("one")), ("instance/2", Some(""))]);
    ends.push((journal.end, pairs(&[("instance/1", "one"), ("instance/2", "")])));
    put(&mut journal, &[("instance/1", Some("one again")), ("status/x", Some("y"))]);
    let second = [("instance/1", "one again"), ("instance/2", ""), ("status/x", "y")];
    ends.push((journal.end, pairs(&second)));
    put(&mut journal, &[("instance/2", None), ("never", None)]);
    ends.push((journal.end, pairs(&[("instance/1", "one again"), ("status/x", "y")])));
    let whole = std::fs::read(&path).unwrap();
    assert_eq!(whole.len() as u64, journal.end);
    for len in 0..=whole.len() {
        std::fs::write(&path, &whole[..len]).unwrap();
        let before = ends.iter().rev().find(|(end, _)| *end <= len as u64);
        let expected = before.map(|(_, records)| records.clone()).unwrap_or_default();
        assert_eq!(found(&path), expected, "cut after {len} bytes");
        // What comes next is found as well: nothing of the rest is in its way.
        let mut journal = open(&path);
        put(&mut journal, &[("z", Some("last"))]);
        let with_last: Vec<_> = expected.into_iter().chain(pairs(&[("z", "last")])).collect();
        assert_eq!(found(&path), with_last, "cut after {len} bytes, then written");
    }
}

#[test]
fn a_byte_that_is_not_what_was_written_is_damage_wherever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.journal");
    let mut journal = open(&path);
    put(&mut journal, &[("instance/1", Some("one"))]);
    put(&mut journal, &[("instance/1", None), ("instance/2", Some("two"))]);
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        std::fs::write(&path, &bytes).unwrap();
        let said = why(&path);
        match at {
            // Four bytes of the header mean nothing yet.
            12..16 => assert_eq!(said, "it opens"),
            8..12 => assert!(said.starts_with("newer: "), "byte {at}: {said}"),
            _ => assert!(!said.starts_with("it opens"), "byte {at}: {said}"),
        }
    }
}

#[test]
fn it_stays_small_and_loses_nothing_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.journal");
    let mut journal = open(&path);
    let long = "x".repeat(1_000);
    let mut largest = 0;
    for round in 0..200 {
        let mut turn = Changes::new();
        for n in 0..50 {
            turn.insert(format!("instance/{n}"), Some(format!("{round} {long}").into_bytes()));
        }
        turn.insert(format!("instance/{}", round % 50), None);
        journal.commit(&mut turn).unwrap();
        largest = largest.max(std::fs::metadata(&path).unwrap().size());
    }
    assert!(largest < COMPACT_MIN + 200_000, "{largest}");
    let records = found(&path);
    assert_eq!(records.len(), 49, "the last turn took one out");
    assert!(records.iter().all(|(_, value)| value.starts_with("199 ")), "the last of each");
    // It counts what is live just as one that reads the file does.
    assert_eq!(journal.live_len, open(&path).live_len);
    assert_eq!(journal.end, std::fs::metadata(&path).unwrap().size());
}

#[test]
fn one_that_cannot_be_made_smaller_goes_on_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.journal");
    std::fs::create_dir(dir.path().join("a.journal.new")).unwrap();
    let mut journal = open(&path);
    let long = "x".repeat(100_000);
    for round in 0..30 {
        put(&mut journal, &[("k", Some(&format!("{round} {long}")))]);
    }
    assert!(journal.end > 2 * COMPACT_MIN);
    assert!(found(&path)[0].1.starts_with("29 "));
    std::fs::remove_dir(dir.path().join("a.journal.new")).unwrap();
    for round in 30..45 {
        put(&mut journal, &[("k", Some(&format!("{round} {long}")))]);
    }
    assert!(journal.end < COMPACT_MIN + 200_000, "it is made smaller once that is possible");
    assert!(found(&path)[0].1.starts_with("44 "));
}

#[test]
fn a_failed_write_changes_nothing_and_can_be_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.journal");
    let mut journal = open(&path);
    put(&mut journal, &[("k", Some("before"))]);
    let writable = std::mem::replace(&mut journal.file, File::open(&path).unwrap());
    let mut turn = changes(&[("k", Some("after")), ("l", Some("new"))]);
    assert!(journal.commit(&mut turn).is_err());
    assert_eq!(turn.len(), 2, "nothing of it is forgotten");
    assert_eq!(found(&path), pairs(&[("k", "before")]));
    journal.file = writable;
    journal.commit(&mut turn).unwrap();
    assert_eq!(found(&path), pairs(&[("k", "after"), ("l", "new")]));
}
