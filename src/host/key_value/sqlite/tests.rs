//! The store's behaviour, and what it says when its file is not as it should be.

use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use rusqlite::Connection;

use super::Sqlite;

fn key(name: &str) -> String {
    name.to_owned()
}

fn one(name: &str, value: &[u8]) -> Vec<(String, Vec<u8>)> {
    vec![(key(name), value.to_vec())]
}

async fn behaves(store: Sqlite) {
    assert_eq!(store.get("default", "a").await, Ok(None));
    store.set_many("default", one("a", b"1")).await.unwrap();
    store.set_many("default", one("a", b"2")).await.unwrap();
    assert_eq!(store.get("default", "a").await, Ok(Some(b"2".to_vec())));
    assert_eq!(store.get("other", "a").await, Ok(None), "stores are apart");
    assert_eq!(store.increment("default", key("n"), 2).await, Ok(2));
    assert_eq!(store.increment("default", key("n"), -3).await, Ok(-1));
    assert_eq!(store.get("default", "n").await, Ok(Some((-1i64).to_le_bytes().to_vec())), "as Spin has it");
    assert!(store.increment("default", key("a"), 1).await.is_err(), "a value is no counter");
    assert_eq!(store.get("default", "a").await, Ok(Some(b"2".to_vec())));
    store.set_many("default", one("m", &i64::MAX.to_le_bytes())).await.unwrap();
    assert!(store.increment("default", key("m"), 1).await.is_err(), "an overflow is an error");
    store.delete_many("default", vec![key("a")]).await.unwrap();
    store.delete_many("default", vec![key("a")]).await.unwrap();
    assert_eq!(store.keys("default").await.map(|keys| keys.len()), Ok(2));
    store.set_many("default", vec![(key("x"), b"1".to_vec()), (key("y"), b"2".to_vec())]).await.unwrap();
    assert_eq!(store.get("default", "y").await, Ok(Some(b"2".to_vec())));
    let found = store.get_many("default", vec![key("y"), key("never"), key("x"), key("y")]).await.unwrap();
    let value = |value: &[u8]| Some(value.to_vec());
    assert_eq!(
        found,
        [(key("y"), value(b"2")), (key("never"), None), (key("x"), value(b"1")), (key("y"), value(b"2"))]
    );
    store.delete_many("default", vec![key("x"), key("y"), key("never")]).await.unwrap();
    assert_eq!(store.keys("default").await.map(|keys| keys.len()), Ok(2));
}

#[tokio::test]
async fn a_store_in_memory_and_one_in_a_file_behave_alike() {
    let folder = tempfile::tempdir().unwrap();
    behaves(Sqlite::in_memory().unwrap()).await;
    behaves(Sqlite::open(&folder.path().join("new/.spin")).unwrap()).await;
    let (one, two) = (Sqlite::in_memory().unwrap(), Sqlite::in_memory().unwrap());
    one.increment("default", key("n"), 1).await.unwrap();
    assert_eq!(two.get("default", "n").await, Ok(None), "stores in memory are apart");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_concurrent_increments_on_two_connections_each_sum_comes_once() {
    let folder = tempfile::tempdir().unwrap();
    let handles = [Sqlite::open(folder.path()).unwrap(), Sqlite::open(folder.path()).unwrap()];
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..200 {
        let store = handles[index % 2].clone();
        tasks.spawn(async move {
            let sum = store.increment("default", key("n"), 1).await.unwrap();
            let read = store.get("default", "n").await.unwrap().unwrap();
            assert!(i64::from_le_bytes(read.try_into().unwrap()) >= sum, "who was answered reads what he wrote");
            sum
        });
    }
    let mut sums = tasks.join_all().await;
    sums.sort_unstable();
    assert_eq!(sums, (1..=200).collect::<Vec<i64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_come_together_share_a_transaction_and_one_that_is_wrong_harms_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(folder.path()).unwrap();
    store.set_many("default", one("word", b"no counter")).await.unwrap();
    let frames = || {
        let log = std::fs::metadata(folder.path().join("sqlite_key_value.db-wal")).unwrap().len();
        // 24 bytes of header and a page of 4096 for each frame.
        log / (4096 + 24)
    };
    let before = frames();
    let writes = (0..400).map(|index| {
        let store = store.clone();
        async move {
            match index % 4 {
                0 => assert!(store.increment("default", key("word"), 1).await.is_err()),
                1 => drop(store.increment("default", key("n"), 1).await.unwrap()),
                _ => store.set_many("default", one(&format!("k{index}"), b"v")).await.unwrap(),
            }
        }
    });
    // On one task: all are sent before the first is awaited.
    all_at_once(writes.collect()).await;
    assert_eq!(store.get("default", "n").await, Ok(Some(100i64.to_le_bytes().to_vec())));
    assert_eq!(store.keys("default").await.map(|keys| keys.len()), Ok(202));
    let written = frames() - before;
    assert!(written < 200, "{written} pages for 300 writes: each alone would have written at least one");
}

/// Polls all at once.
async fn all_at_once<F: Future<Output = ()>>(futures: Vec<F>) {
    let mut waiting: Vec<_> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(move |cx| {
        waiting.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if waiting.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_no_store_is_told_by_its_name_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sqlite_key_value.db");
    let refused = || Sqlite::open(folder.path()).err().map(|error| error.to_string()).unwrap_or_default();

    std::fs::write(
        &file,
        "this is no database, and long enough to be taken for a header of one hundred bytes".repeat(9),
    )
    .unwrap();
    let error = refused();
    assert!(error.contains("sqlite_key_value.db") && error.contains("no SQLite database"), "{error}");

    std::fs::remove_file(&file).unwrap();
    let newer = Connection::open(&file).unwrap();
    newer.execute("CREATE TABLE spin_key_value (store TEXT, key TEXT, value BLOB, expires INTEGER)", []).unwrap();
    drop(newer);
    assert!(refused().contains("expires"), "{}", refused());

    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert!(refused().contains("cannot be opened"), "{}", refused());
}

#[tokio::test]
async fn a_locked_file_is_an_error_within_seconds_and_works_again_after() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(folder.path()).unwrap();
    store.increment("default", key("n"), 1).await.unwrap();
    let other = Connection::open(folder.path().join("sqlite_key_value.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = Instant::now();
    let error = store.increment("default", key("n"), 1).await.unwrap_err().to_string();
    assert!(error.contains("locked"), "{error}");
    assert!(begun.elapsed().as_secs() < 10);
    assert!(store.get("default", "n").await.is_ok(), "reading goes on");
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(store.increment("default", key("n"), 1).await, Ok(2), "what failed was not written");
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_loses_nothing_that_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    let mut place = super::opening::Place::in_folder(folder.path()).unwrap();
    let connection = place.for_writing().unwrap();
    // As many pages as there are, and a few.
    connection.pragma_update(None, "max_page_count", 8).unwrap();
    let writer = super::writer::Writer::start(connection).unwrap();
    let set = |index: usize| super::Operation::Set(one(&format!("k{index}"), &[7; 1000]));
    let mut answered = 0;
    let error = loop {
        match writer.run("default", set(answered)).await {
            Ok(_) => answered += 1,
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("full"), "{error}");
    let reader = place.to_read().unwrap();
    let kept: usize = reader.query_row("SELECT count(*) FROM spin_key_value", [], |row| row.get(0)).unwrap();
    assert!(answered > 0);
    assert_eq!(kept, answered);
}

#[tokio::test]
async fn a_file_that_may_not_be_written_to_is_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sqlite_key_value.db");
    drop(Sqlite::open(folder.path()).unwrap());
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
    // Root may write to anything.
    if std::fs::OpenOptions::new().append(true).open(&file).is_ok() {
        println!("skipped: this user may write to a read-only file");
        return;
    }
    let error = Sqlite::open(folder.path()).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("may not be written"), "{error}");
}
