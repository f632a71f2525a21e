//! What Slurm says of the launches that came by fetching, told to the app when it changes and at the end.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use gha_slurm_protocol::exchange::{News, Report};
use gha_slurm_protocol::slurm_job::SlurmJob;

use super::Shared;
use crate::index::{Living, Told};
use crate::launch::LaunchKey;

/// An expected start that moves by less is no news.
const STEADY_SECONDS: u64 = 60;

/// Looks again and again, until the gateway ends.
pub(super) async fn watch(shared: Arc<Shared>) {
    let mut closing = shared.closing.subscribe();
    let mut interval = tokio::time::interval(shared.timing.watch);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            () = shared.closed(&mut closing) => return,
        }
        if let Err(error) = shared.look().await {
            tracing::error!(%error, "the launch index failed");
        }
    }
}

impl Shared {
    async fn look(&self) -> rusqlite::Result<()> {
        let living = self.service.index().living().await?;
        let mut trouble = None;
        for (living, state) in self.service.states(&living, std::time::Instant::now()).await {
            match state {
                Ok(job) => self.compare(living, job).await?,
                Err(error) => trouble = Some(error),
            }
        }
        if let Some(error) = trouble {
            tracing::warn!(%error, "not all launches could be looked at");
        }
        for unsettled in living.iter().filter(|living| living.job.is_none()) {
            self.look_whether_submitted(unsettled).await?;
        }
        Ok(())
    }

    async fn compare(&self, living: &Living, job: SlurmJob) -> rusqlite::Result<()> {
        let Ok(launch) = living.key.parse() else { return Ok(()) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if is_news(living.told.as_ref(), &job, i64::try_from(now.as_secs()).unwrap_or(i64::MAX)) {
            self.service.index().tell(Report { launch, news: News::State(job) }).await?;
        }
        Ok(())
    }

    /// Its lease ended, or the gateway did, before it was known. That it was not submitted is no news any more: the app
    /// has offered it again.
    async fn look_whether_submitted(&self, living: &Living) -> rusqlite::Result<()> {
        let (Ok(launch), Some(key)) = (living.key.parse(), LaunchKey::parse(&living.key)) else { return Ok(()) };
        let Some(_held) = self.in_hand.take(launch) else { return Ok(()) };
        let index = self.service.index();
        if !index.is_open(&living.key).await? {
            // Who had it in hand has just found out.
            return Ok(());
        }
        match self.service.look_for(&key).await {
            Ok(Some(job)) => {
                self.report(Report { launch, news: News::Submitted { job_id: job.to_string() } }, None).await
            }
            Ok(None) => index.give_up(&living.key).await?,
            Err(error) => tracing::warn!(%error, %launch, "it is not known whether it was submitted"),
        }
        Ok(())
    }
}

/// Whether the app is to hear of it. An expected start that moves by less than a minute or a tenth of the wait is none:
/// nobody who reads "in about 14 min" would see it, and each report is work for the app.
fn is_news(told: Option<&Told>, job: &SlurmJob, now: i64) -> bool {
    let Some(Told { job: told, at }) = told else { return true };
    if (&told.job_id, &told.state, &told.reason) != (&job.job_id, &job.state, &job.reason) {
        return true;
    }
    let age = u64::try_from(now.saturating_sub(*at)).unwrap_or(0);
    let moved = match (told.starts_in, job.starts_in) {
        (None, None) => false,
        // Both from now on.
        (Some(told), Some(starts_in)) => {
            let moved = told.abs_diff(starts_in.saturating_add(age));
            moved > STEADY_SECONDS.max(starts_in / 10)
        }
        _ => true,
    };
    moved
        || match (told.position, job.position) {
            (None, None) => false,
            (Some(told), Some(position)) => told.abs_diff(position) > position / 10,
            _ => true,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(starts_in: Option<u64>, position: Option<u32>) -> SlurmJob {
        let (state, reason) = ("PENDING".to_owned(), Some("Priority".to_owned()));
        SlurmJob { job_id: Some("7".to_owned()), state, reason, starts_in, position }
    }

    #[test]
    fn only_what_somebody_would_see_is_news() {
        let told = |job: SlurmJob| Some(Told { job, at: 1000 });
        let news = |told: &Option<Told>, job: &SlurmJob, now| is_news(told.as_ref(), job, now);
        let hour = told(job(Some(3600), None));
        assert!(news(&None, &job(None, None), 1000), "the first is");
        assert!(!news(&hour, &job(Some(3600), None), 1000));
        assert!(!news(&hour, &job(Some(3300), None), 1300), "time just passed");
        assert!(news(&hour, &job(Some(3600), None), 1700), "it moved away by more than a tenth");
        assert!(news(&hour, &job(Some(600), None), 1000));
        assert!(!news(&told(job(Some(50), None)), &job(Some(100), None), 1000), "less than a minute");
        assert!(news(&told(job(Some(50), None)), &job(Some(111), None), 1000));
        assert!(news(&hour, &job(None, None), 1000) && news(&told(job(None, None)), &job(Some(9), None), 1000));
        let running = SlurmJob { state: "RUNNING".to_owned(), ..job(None, None) };
        let waits = SlurmJob { reason: Some("Resources".to_owned()), ..job(Some(3600), None) };
        assert!(news(&hour, &running, 1000) && news(&hour, &waits, 1000));
        let place = |told_place, place| news(&told(job(None, Some(told_place))), &job(None, Some(place)), 1000);
        assert!(place(5, 4) && place(2, 1) && place(100, 80));
        assert!(!place(5, 5) && !place(100, 95));
        assert!(!news(&hour, &job(Some(3600), None), 0), "a clock that went back");
    }
}
