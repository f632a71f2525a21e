//! The launches that came by fetching, and what the app is still to be told of them.
//!
//! A report is written down together with what it is about, and dropped only when an exchange that carried it was
//! answered. So a crash loses no report, and what is told twice is told by the protocol's leave. Of each launch there is
//! at most one report of a kind: an app that is away for long finds the newest state, not all of them.

use gha_slurm_protocol::exchange::{News, QueueLength, Report};
use gha_slurm_protocol::slurm_job::SlurmJob;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Index, now};
use crate::backend::SlurmJobId;

/// `told` is the Slurm job as the app knows it, `over` that it has ended and only its report is left. Numbers of reports
/// never come again, so that what was delivered is never another's.
pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS fetched (
        key TEXT PRIMARY KEY, told TEXT, told_at INTEGER, over INTEGER NOT NULL, created INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS reports (
        number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, kind TEXT NOT NULL, report TEXT NOT NULL,
        created INTEGER NOT NULL, good_until INTEGER, UNIQUE (key, kind)) STRICT;";

/// A launch that came by fetching and is not known to be over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Living {
    pub(crate) key: String,
    /// Empty while it was never about to be submitted.
    pub(crate) user: String,
    /// Absent while it is not known to be submitted.
    pub(crate) job: Option<SlurmJobId>,
    pub(crate) told: Option<Told>,
    /// When it was about to be submitted last, in seconds of Unix time.
    pub(crate) begun: u64,
}

/// What the app was told last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) job: SlurmJob,
    /// When, in seconds of Unix time.
    pub(crate) at: i64,
}

/// A report that was not delivered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outstanding {
    pub(crate) number: i64,
    pub(crate) report: Report,
}

fn kind(news: &News) -> &'static str {
    match news {
        News::Submitted { .. } => "submitted",
        News::Refused { .. } => "refused",
        News::Unavailable { .. } => "unavailable",
        News::State(_) => "state",
        News::Cancelled => "cancelled",
    }
}

fn living(row: &Row<'_>) -> rusqlite::Result<Living> {
    let told = row.get::<_, Option<String>>(3)?.and_then(|text| serde_json::from_str(&text).ok());
    let at = row.get::<_, Option<i64>>(4)?.unwrap_or_default();
    Ok(Living {
        key: row.get(0)?,
        user: row.get::<_, Option<String>>(1)?.unwrap_or_default(),
        job: row.get::<_, Option<i64>>(2)?.and_then(|id| SlurmJobId::try_from(id).ok()),
        told: told.map(|job| Told { job, at }),
        begun: row.get::<_, Option<i64>>(5)?.and_then(|time| time.try_into().ok()).unwrap_or(0),
    })
}

/// The newest report of a kind stands for those before it.
fn put(db: &Connection, report: &Report, good_for: Option<u64>) -> rusqlite::Result<()> {
    let text = serde_json::to_string(report).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let query = "INSERT OR REPLACE INTO reports (key, kind, report, created, good_until) VALUES (?1, ?2, ?3, ?4, ?5)";
    let good_until = good_for.map(|seconds| now().saturating_add_unsigned(seconds));
    db.execute(query, params![report.launch.to_string(), kind(&report.news), text, now(), good_until]).map(drop)
}

impl Index {
    /// Writes down that a launch came by fetching. One that was over lives again: the app asks for it anew.
    pub(crate) async fn fetched(&self, key: &str) -> rusqlite::Result<()> {
        let key = key.to_owned();
        let query = "INSERT INTO fetched VALUES (?1, NULL, NULL, 0, ?2)
             ON CONFLICT (key) DO UPDATE SET over = 0, told = NULL, told_at = NULL";
        self.with(move |db| db.execute(query, params![key, now()])).await.map(drop)
    }

    /// What became of a launch. Without a Slurm job there is nothing to watch. After `good_for` seconds the report is
    /// dropped, delivered or not.
    pub(crate) async fn report(&self, report: Report, good_for: Option<u64>) -> rusqlite::Result<()> {
        self.at_once(move |db| {
            put(db, &report, good_for)?;
            let query = "DELETE FROM fetched WHERE key = ?1 AND NOT EXISTS (
                 SELECT 1 FROM launches WHERE launches.key = ?1 AND launches.job IS NOT NULL)";
            db.execute(query, [report.launch.to_string()]).map(drop)
        })
        .await
    }

    /// A launch is no longer this gateway's, and there is nothing to tell of it.
    pub(crate) async fn give_up(&self, key: &str) -> rusqlite::Result<()> {
        let key = key.to_owned();
        self.with(move |db| db.execute("DELETE FROM fetched WHERE key = ?1", [key])).await.map(drop)
    }

    /// A new state of a launch's Slurm job, which is its last one when it is an end.
    pub(crate) async fn tell(&self, report: Report) -> rusqlite::Result<()> {
        let News::State(job) = &report.news else { return self.report(report, None).await };
        let over = job.is_over();
        let told = serde_json::to_string(job).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        self.at_once(move |db| {
            let query = "UPDATE fetched SET told = ?2, told_at = ?3, over = ?4 WHERE key = ?1 AND over = 0";
            // Told of an end once.
            if db.execute(query, params![report.launch.to_string(), told, now(), over])? > 0 {
                put(db, &report, None)?;
            }
            Ok(())
        })
        .await
    }

    /// All that came by fetching and is not over, the oldest first.
    pub(crate) async fn living(&self) -> rusqlite::Result<Vec<Living>> {
        let query = "SELECT fetched.key, launches.user, launches.job, fetched.told, fetched.told_at, launches.created
             FROM fetched LEFT JOIN launches ON launches.key = fetched.key WHERE over = 0 ORDER BY fetched.created";
        self.with(move |db| db.prepare(query)?.query_map([], living)?.collect()).await
    }

    /// How many those are.
    pub(crate) async fn count_living(&self) -> rusqlite::Result<u32> {
        self.with(|db| db.query_row("SELECT count(*) FROM fetched WHERE over = 0", [], |row| row.get(0))).await
    }

    /// The Slurm jobs among them by what the app was told of them; one of which nothing was told waits.
    pub(crate) async fn queue_length(&self) -> rusqlite::Result<QueueLength> {
        let count = |jobs: &[Living]| u32::try_from(jobs.len()).unwrap_or(u32::MAX);
        let jobs = self.living().await?.into_iter().filter(|living| living.job.is_some());
        let waits =
            |living: &Living| living.told.as_ref().is_none_or(|told| told.job.state.eq_ignore_ascii_case("PENDING"));
        let (pending, running): (Vec<_>, Vec<_>) = jobs.partition(waits);
        Ok(QueueLength { pending: count(&pending), running: count(&running) })
    }

    /// The first reports that were not delivered, in the order in which it happened.
    pub(crate) async fn outstanding(&self, most: usize) -> rusqlite::Result<Vec<Outstanding>> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.with(move |db| {
            db.execute("DELETE FROM reports WHERE good_until <= ?1", [now()])?;
            let mut query = db.prepare("SELECT number, report FROM reports ORDER BY number LIMIT ?1")?;
            let rows = query.query_map([most], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
            let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            // Only another release's: its kind may not be known here.
            let (read, strange): (Vec<_>, Vec<_>) = rows
                .into_iter()
                .map(|(number, text)| (number, serde_json::from_str(&text).ok()))
                .partition(|(_, report): &(i64, Option<Report>)| report.is_some());
            for (number, _) in strange {
                db.execute("DELETE FROM reports WHERE number = ?1", [number])?;
            }
            Ok(read.into_iter().filter_map(|(number, report)| Some(Outstanding { number, report: report? })).collect())
        })
        .await
    }

    /// They were not taken, and are told again after all others: however many of them never are, they keep none from its turn.
    pub(crate) async fn put_off(&self, reports: Vec<Outstanding>) -> rusqlite::Result<()> {
        if reports.is_empty() {
            return Ok(());
        }
        self.at_once(move |db| {
            for Outstanding { number, .. } in reports {
                // One that was replaced in the meantime has another number.
                let query = "INSERT OR REPLACE INTO reports (key, kind, report, created, good_until)
                     SELECT key, kind, report, created, good_until FROM reports WHERE number = ?1";
                db.execute(query, [number])?;
            }
            Ok(())
        })
        .await
    }

    /// They were delivered, or never can be. A launch whose end was told is forgotten.
    pub(crate) async fn delivered(&self, reports: Vec<Outstanding>) -> rusqlite::Result<()> {
        self.at_once(move |db| {
            for Outstanding { number, report } in reports {
                db.execute("DELETE FROM reports WHERE number = ?1", [number])?;
                let query = "DELETE FROM fetched WHERE key = ?1 AND over = 1 AND NOT EXISTS (
                     SELECT 1 FROM reports WHERE reports.key = ?1)";
                db.execute(query, [report.launch.to_string()])?;
            }
            Ok(())
        })
        .await
    }

    /// Whether a launch that came by fetching is neither known to be submitted nor settled otherwise.
    pub(crate) async fn is_open(&self, key: &str) -> rusqlite::Result<bool> {
        let key = key.to_owned();
        let query = "SELECT 1 FROM fetched LEFT JOIN launches ON launches.key = fetched.key
             WHERE fetched.key = ?1 AND over = 0 AND job IS NULL";
        self.with(move |db| db.query_row(query, [key], |_| Ok(())).optional()).await.map(|found| found.is_some())
    }

    /// Whether it is for Slurm to say if a launch was submitted.
    pub(crate) async fn is_unsettled(&self, key: &str) -> rusqlite::Result<bool> {
        let key = key.to_owned();
        let query = "SELECT 1 FROM launches WHERE key = ?1 AND job IS NULL AND cancelled = 0";
        self.with(move |db| db.query_row(query, [key], |_| Ok(())).optional()).await.map(|found| found.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(launch: &str, news: News) -> Report {
        Report { launch: launch.parse().unwrap(), news }
    }

    fn state(launch: &str, state: &str) -> Report {
        let job =
            SlurmJob { job_id: Some("7".into()), state: state.into(), reason: None, starts_in: None, position: None };
        report(launch, News::State(job))
    }

    async fn told(index: &Index) -> Vec<Report> {
        index.outstanding(256).await.unwrap().into_iter().map(|one| one.report).collect()
    }

    async fn submitted(index: &Index, key: &str) -> Report {
        index.fetched(key).await.unwrap();
        index.begin(key, "ada").await.unwrap();
        index.submitted(key, 7).await.unwrap();
        let report = report(key, News::Submitted { job_id: "7".into() });
        index.report(report.clone(), None).await.unwrap();
        report
    }

    #[tokio::test]
    async fn what_was_not_delivered_is_told_again_and_what_was_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let index = Index::open(folder.path()).unwrap();
        let first = submitted(&index, "1-1").await;
        for each in ["PENDING", "RUNNING", "COMPLETED", "COMPLETED"] {
            index.tell(state("1-1", each)).await.unwrap();
        }
        let carried = index.outstanding(1).await.unwrap();
        assert_eq!(index.count_living().await.unwrap(), 0, "it is over");
        drop(index);
        let index = Index::open(folder.path()).unwrap();
        assert_eq!(told(&index).await, [first, state("1-1", "COMPLETED")], "a restart, and the newest state only");
        index.delivered(carried.clone()).await.unwrap();
        assert_eq!(told(&index).await, [state("1-1", "COMPLETED")]);
        index.delivered(carried).await.unwrap();
        index.delivered(index.outstanding(256).await.unwrap()).await.unwrap();
        index.tell(state("1-1", "COMPLETED")).await.unwrap();
        assert!(told(&index).await.is_empty(), "an end is told once");
        assert_eq!(index.get("1-1").await.unwrap().unwrap().job, Some(7), "the launch itself stays known");
    }

    #[tokio::test]
    async fn a_launch_that_is_submitted_again_was_begun_then() {
        let folder = tempfile::tempdir().unwrap();
        let index = Index::open(folder.path()).unwrap();
        submitted(&index, "1-1").await;
        index.with(|db| db.execute("UPDATE launches SET created = created - 90000", [])).await.unwrap();
        let began = async || (index.get("1-1").await.unwrap().unwrap().begun, index.living().await.unwrap()[0].begun);
        let (early, same) = began().await;
        index.begin("1-1", "ada").await.unwrap();
        let (later, _) = began().await;
        assert!(early == same && later >= early + 90_000, "{early} {later}");
    }

    #[tokio::test]
    async fn what_comes_while_an_exchange_is_under_way_is_not_taken_for_delivered() {
        let folder = tempfile::tempdir().unwrap();
        let index = Index::open(folder.path()).unwrap();
        submitted(&index, "1-1").await;
        index.delivered(index.outstanding(256).await.unwrap()).await.unwrap();
        index.tell(state("1-1", "PENDING")).await.unwrap();
        let carried = index.outstanding(256).await.unwrap();
        index.tell(state("1-1", "RUNNING")).await.unwrap();
        index.delivered(carried).await.unwrap();
        assert_eq!(told(&index).await, [state("1-1", "RUNNING")]);
    }

    #[tokio::test]
    async fn what_was_not_taken_is_told_again_after_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let index = Index::open(folder.path()).unwrap();
        let first = submitted(&index, "1-1").await;
        index.tell(state("1-1", "RUNNING")).await.unwrap();
        let second = submitted(&index, "2-1").await;
        let carried = index.outstanding(2).await.unwrap();
        index.tell(state("1-1", "COMPLETED")).await.unwrap();
        index.put_off(carried.clone()).await.unwrap();
        let all = [second.clone(), state("1-1", "COMPLETED"), first.clone()];
        assert_eq!(told(&index).await, all, "the newest state only");
        index.delivered(carried).await.unwrap();
        assert_eq!(told(&index).await, all, "those have other numbers now");
        index.put_off(index.outstanding(1).await.unwrap()).await.unwrap();
        index.tell(state("2-1", "RUNNING")).await.unwrap();
        assert_eq!(told(&index).await, [state("1-1", "COMPLETED"), first, second, state("2-1", "RUNNING")]);
    }

    #[tokio::test]
    async fn what_is_good_for_a_time_is_not_told_later() {
        let folder = tempfile::tempdir().unwrap();
        let index = Index::open(folder.path()).unwrap();
        for (key, seconds) in [("1-1", Some(0)), ("2-1", Some(60)), ("3-1", None), ("4-1", Some(u64::MAX))] {
            index.report(report(key, News::Unavailable { message: "later".into() }), seconds).await.unwrap();
        }
        let told: Vec<_> = told(&index).await.into_iter().map(|one| one.launch.to_string()).collect();
        assert_eq!(told, ["2-1", "3-1", "4-1"]);
    }

    #[tokio::test]
    async fn only_what_has_a_slurm_job_is_watched() {
        let folder = tempfile::tempdir().unwrap();
        let index = Index::open(folder.path()).unwrap();
        submitted(&index, "1-1").await;
        for (key, news) in [("2-1", News::Refused { message: "no".into() }), ("3-1", News::Cancelled)] {
            index.fetched(key).await.unwrap();
            index.report(report(key, news), None).await.unwrap();
        }
        index.fetched("4-1").await.unwrap();
        index.begin("4-1", "ada").await.unwrap();
        let living = index.living().await.unwrap();
        let jobs: Vec<_> = living.iter().map(|living| (living.key.as_str(), living.job)).collect();
        assert_eq!(jobs, [("1-1", Some(7)), ("4-1", None)]);
        assert!(index.is_unsettled("4-1").await.unwrap() && !index.is_unsettled("1-1").await.unwrap());
        assert!(index.is_open("4-1").await.unwrap() && !index.is_open("1-1").await.unwrap());
        assert_eq!(index.queue_length().await.unwrap(), QueueLength { pending: 1, running: 0 });
        index.tell(state("1-1", "RUNNING")).await.unwrap();
        assert_eq!(index.queue_length().await.unwrap(), QueueLength { pending: 0, running: 1 });
        index.report(report("1-1", News::Cancelled), None).await.unwrap();
        index.give_up("4-1").await.unwrap();
        assert_eq!(index.count_living().await.unwrap(), 1, "until its end is seen");
    }

    #[tokio::test]
    async fn an_index_of_an_earlier_release_is_taken_over_and_a_later_ones_report_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let old = Connection::open(folder.path().join("launches.sqlite")).unwrap();
        let table = "CREATE TABLE launches (
                 key TEXT PRIMARY KEY, user TEXT NOT NULL, job INTEGER, cancelled INTEGER NOT NULL,
                 created INTEGER NOT NULL) STRICT";
        old.execute(table, []).unwrap();
        old.execute("INSERT INTO launches VALUES ('1-1', 'ada', 7, 0, ?1)", [now()]).unwrap();
        drop(old);
        let index = Index::open(folder.path()).unwrap();
        assert_eq!(index.get("1-1").await.unwrap().unwrap().job, Some(7));
        assert!(index.living().await.unwrap().is_empty(), "it was sent, not fetched");
        let later = "INSERT INTO reports (key, kind, report, created) VALUES ('2-1', 'x', '{\"news\": \"x\"}', ?1)";
        index.with(|db| db.execute(later, [now()])).await.unwrap();
        index.report(report("3-1", News::Cancelled), None).await.unwrap();
        assert_eq!(told(&index).await, [report("3-1", News::Cancelled)]);
        let old = "UPDATE reports SET created = 0";
        index.with(|db| db.execute(old, [])).await.unwrap();
        index.forget_old().await.unwrap();
        assert!(told(&index).await.is_empty());
    }
}
