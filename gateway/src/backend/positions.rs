//! A Slurm job's place in the line of its partition.
//!
//! The whole line is listed for it, once for all who ask within some seconds. Where a user sees only Slurm jobs of its
//! own (PrivateData of slurm.conf), there is no place to tell: it would always be one near the front.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, OnceCell};

use super::SlurmJobId;
use super::controller::SlurmConf;

/// How long a listing is good for.
const KEPT: Duration = Duration::from_secs(15);

pub(super) struct Positions {
    scontrol: Vec<String>,
    /// Whether the line shows everybody's Slurm jobs. Asked for until it is known, then never again.
    all_shown: OnceCell<bool>,
    lines: Mutex<HashMap<String, Line>>,
}

/// Those that wait for a partition, each with its place.
struct Line {
    listed: Instant,
    places: HashMap<SlurmJobId, u32>,
}

impl Positions {
    pub(super) fn new(scontrol: Vec<String>) -> Self {
        Self { scontrol, all_shown: OnceCell::new(), lines: Mutex::default() }
    }

    /// The place of a Slurm job, from 1. `listing` tells who waits, the first one first; `None` when it cannot.
    pub(super) async fn of(
        &self,
        partition: &str,
        job: SlurmJobId,
        listing: impl Future<Output = Option<Vec<SlurmJobId>>>,
    ) -> Option<u32> {
        // Held while listing, so that many who ask list once.
        let mut lines = self.lines.lock().await;
        if let Some(line) = lines.get(partition).filter(|line| line.listed.elapsed() < KEPT) {
            return line.places.get(&job).copied();
        }
        let jobs = match self.all_shown().await {
            true => listing.await.unwrap_or_default(),
            false => Vec::new(),
        };
        let places: HashMap<_, _> = jobs.into_iter().zip(1..).collect();
        let place = places.get(&job).copied();
        lines.insert(partition.to_owned(), Line { listed: Instant::now(), places });
        place
    }

    async fn all_shown(&self) -> bool {
        let asked = self
            .all_shown
            .get_or_try_init(async || SlurmConf::ask(&self.scontrol).await.map(|conf| conf.shows_all_jobs));
        asked.await.is_ok_and(|shown| *shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(private: &str) -> Positions {
        Positions::new(["sh", "-c", &format!("echo PrivateData = {private}")].map(str::to_owned).to_vec())
    }

    #[tokio::test]
    async fn a_line_is_listed_once_for_all_who_ask() {
        let positions = positions("none");
        assert_eq!(positions.of("gha", 9, async { Some(vec![4, 9, 2]) }).await, Some(2));
        assert_eq!(positions.of("gha", 2, async { panic!("listed again") }).await, Some(3));
        assert_eq!(positions.of("gha", 7, async { panic!("listed again") }).await, None, "it waits no more");
        assert_eq!(positions.of("big", 7, async { Some(vec![7]) }).await, Some(1), "another line");
        assert_eq!(positions.of("down", 7, async { None }).await, None);
    }

    #[tokio::test]
    async fn a_line_that_hides_others_has_no_places() {
        assert_eq!(positions("jobs,usage").of("gha", 9, async { Some(vec![9]) }).await, None);
        let unknown = Positions::new(vec!["/nowhere/scontrol".to_owned()]);
        assert_eq!(unknown.of("gha", 9, async { Some(vec![9]) }).await, None);
    }
}
