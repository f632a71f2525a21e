//! A store that many jobs went through: facts as the application writes them, in its keys (docs/store.md).

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, params};
use serde_json::json;

use crate::payload::REPOSITORY;

/// Far from those that are sent.
const FIRST: u64 = 50_000_000_000;

/// Writes `jobs` jobs that were launched within the last three days.
pub(crate) fn fill(folder: &Path, jobs: u64) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut connection = Connection::open(folder.join("sqlite_key_value.db"))?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA cache_size = -500000;
         CREATE TABLE IF NOT EXISTS spin_key_value (
             store TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (store, key))",
    )?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let transaction = connection.transaction()?;
    let mut put = transaction.prepare("INSERT OR REPLACE INTO spin_key_value VALUES ('default', ?1, ?2)")?;
    let mut set = |key: String, value: &[u8]| put.execute(params![format!("gha-slurm/1/{key}"), value]);
    let one = 1i64.to_le_bytes();
    for number in 0..jobs {
        let job = FIRST + number;
        let at = now - 72 * 3600 * (jobs - number) / jobs;
        let requested = json!({
            "repository_id": 1, "repository": REPOSITORY, "html_url": format!("https://github.com/{REPOSITORY}"),
            "installation": 7_654_321, "labels": ["self-hosted", "slurm"], "run_attempt": 1, "profile": "default",
            "max_running": null, "resources": {}, "created_at": at, "at": at,
        });
        set(format!("job/{job}/requested"), requested.to_string().as_bytes())?;
        set(format!("job/{job}/finished"), json!({"conclusion": "success", "at": at}).to_string().as_bytes())?;
        set(format!("launch/{job}-1/submit/1"), &one)?;
        set(format!("launch/{job}-1/launched"), json!({"slurm_job": "1", "at": at}).to_string().as_bytes())?;
        set(format!("launch/{job}-1/redeemed"), at.to_string().as_bytes())?;
        set(format!("journal/{}/{number}", at / 3600), json!({ "job": job }).to_string().as_bytes())?;
    }
    drop(put);
    transaction.commit()?;
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    println!("{jobs} jobs are in the store");
    Ok(())
}
