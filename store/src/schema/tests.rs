use super::*;
use crate::exposure::tests::line;

/// A store of the third version had the digest of an exposure as its key.
#[test]
fn an_older_store_keeps_its_identities() {
    let folder = tempfile::tempdir().unwrap();
    let exposure = line(r#""request_id": "r", "status": 200, "duration": 7"#).unwrap();
    let mut old = [0xee; 16];
    old[..10].copy_from_slice(&exposure.key[6..]);
    {
        let folder = Folder::open(folder.path()).unwrap();
        let database = Connection::open(folder.database()).unwrap();
        database.execute_batch(&VERSIONS[..3].concat()).unwrap();
        database.pragma_update(None, "user_version", 3).unwrap();
        let time = crate::writer::time(exposure.time);
        let row = rusqlite::params![old, time, exposure.line()];
        let insert = "INSERT INTO exposure (key, time, experiment, trial, line)
            VALUES (?1, ?2, 'e', '', ?3)";
        database.execute(insert, row).unwrap();
        database.execute("INSERT INTO rolled VALUES (?1, 1)", [old]).unwrap();
    }
    let folder = Folder::open(folder.path()).unwrap();
    let database = writer(&folder, None).unwrap();
    let key: [u8; 16] =
        database.query_row("SELECT key FROM exposure", [], |row| row.get(0)).unwrap();
    assert_eq!(key, exposure.key);
    assert_eq!(key[..6], exposure.time.to_be_bytes()[2..], "it begins with the time");
    drop(database);
    assert!(writer(&folder, None).is_ok(), "once is enough");
}
