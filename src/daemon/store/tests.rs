use super::*;

fn record(key: &str, value: &str, durable: bool) -> Record {
    Record { key: key.to_owned(), value: value.as_bytes().to_vec(), durable }
}

fn open(dir: &Path, boot: &str) -> Opened {
    Store::open(dir, dir, boot).unwrap()
}

#[test]
fn records_come_back_and_the_last_wish_counts() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path(), "a");
    assert!(opened.records.is_empty());
    let mut batch = Batch::default();
    batch.put(record("unit/job/m", "1", true));
    batch.put(record("unit/job/m", "2", true));
    batch.put(record("unit/job/gone", "1", true));
    batch.remove("unit/job/gone".to_owned(), true);
    batch.put(record("instance/1", "x", false));
    opened.store.commit(&mut batch).unwrap();
    assert!(batch.is_empty());
    drop(opened);
    let records = open(dir.path(), "a").records;
    assert_eq!(records, [record("unit/job/m", "2", true), record("instance/1", "x", false)]);
}

#[test]
fn another_boot_forgets_only_the_volatile_half() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path(), "a");
    let mut batch = Batch::default();
    batch.put(record("unit/job/m", "1", true));
    batch.put(record("instance/1", "x", false));
    opened.store.commit(&mut batch).unwrap();
    drop(opened);
    assert_eq!(open(dir.path(), "b").records, [record("unit/job/m", "1", true)]);
    assert!(!dir.path().join("instances-a.journal").exists());
}

#[test]
fn a_copy_taken_in_mid_life_opens_as_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path(), "a");
    for n in 0..50 {
        let mut batch = Batch::default();
        batch.put(record("unit/job/m", &n.to_string(), true));
        batch.put(record("instance/1", &n.to_string(), false));
        opened.store.commit(&mut batch).unwrap();
    }
    for name in ["state.redb", "instances-a.journal"] {
        std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let found = open(copy.path(), "a");
    assert_eq!(
        found.records,
        [record("unit/job/m", "49", true), record("instance/1", "49", false)]
    );
    assert!(found.warnings.is_empty());
}

#[test]
fn damage_is_set_aside_and_told() {
    for damage in ["noise", "cut", "flipped"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.redb");
        let mut opened = open(dir.path(), "a");
        let mut batch = Batch::default();
        for n in 0..2_000 {
            batch.put(record(&format!("unit/job/m{n}"), &"value ".repeat(20), true));
        }
        opened.store.commit(&mut batch).unwrap();
        drop(opened);
        let mut bytes = std::fs::read(&path).unwrap();
        match damage {
            "noise" => bytes = b"this is no database at all".repeat(1_000),
            "cut" => bytes.truncate(bytes.len() / 3),
            _ => bytes.iter_mut().skip(4_096).step_by(97).for_each(|b| *b ^= 0x55),
        }
        std::fs::write(&path, bytes).unwrap();
        let found = open(dir.path(), "a");
        assert!(found.records.is_empty(), "{damage}");
        assert_eq!(found.warnings.len(), 1, "{damage}");
        assert!(dir.path().join("state.damaged-1.redb").exists(), "{damage}");
    }
}

#[test]
fn a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert("format", FORMAT + 1).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let refused = Store::open(dir.path(), dir.path(), "a").unwrap_err().to_string();
    assert!(refused.contains("newer wsup"), "{refused}");
    assert!(path.exists());
}

#[test]
fn what_cannot_be_written_is_kept_and_written_later() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path(), "a");
    let path = dir.path().join("state.redb");
    // As after a failed write: the database is closed, and cannot be opened.
    opened.store.durable.database = None;
    std::fs::rename(&path, dir.path().join("elsewhere")).unwrap();
    std::fs::create_dir(&path).unwrap();
    let mut batch = Batch::default();
    batch.put(record("unit/job/m", "1", true));
    batch.put(record("instance/1", "x", false));
    assert!(opened.store.commit(&mut batch).is_err());
    assert!(!batch.is_empty(), "the durable half is still to be written");
    assert!(batch.volatile.is_empty(), "the volatile half is written");
    std::fs::remove_dir(&path).unwrap();
    std::fs::rename(dir.path().join("elsewhere"), &path).unwrap();
    batch.put(record("unit/job/n", "2", true));
    opened.store.commit(&mut batch).unwrap();
    assert!(batch.is_empty());
    drop(opened);
    assert_eq!(open(dir.path(), "a").records.len(), 3);
}
