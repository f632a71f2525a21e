//! A cancel that the app asked for, from its answer to the report.

use std::time::Duration;

use gha_slurm_protocol::exchange::{News, Report};
use gha_slurm_protocol::identity::LaunchId;
use tokio::time::Instant;

use super::Shared;
use crate::audit::{Event, Outcome, Record, Subject};
use crate::http::status_of;
use crate::launch::LaunchKey;
use crate::service::ServiceError;

const ATTEMPT: Duration = Duration::from_secs(55);
/// After that the app asks again by itself.
const TRIED_FOR: Duration = Duration::from_secs(60);

impl Shared {
    /// Cancels a launch for good and reports it. If Slurm cannot be asked, nothing is reported.
    pub(super) async fn cancel(&self, id: LaunchId) {
        let key = LaunchKey::from(id);
        let mut closing = self.closing.subscribe();
        let Ok(_place) = self.cancels.acquire().await else { return };
        let begun = Instant::now();
        let mut pause = self.timing.attempt_again;
        loop {
            let cancelled = tokio::time::timeout(ATTEMPT, self.service.cancel(Some(key.clone()), None)).await;
            let trouble = match cancelled {
                Ok(Ok(())) => break self.cancelled(id, None).await,
                // It has no Slurm job, and gets none any more.
                Ok(Err(ServiceError::NotFound)) => break self.cancelled(id, Some(ServiceError::NotFound)).await,
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("not within {} s", ATTEMPT.as_secs()),
            };
            tracing::warn!(launch = %id, error = trouble, "not cancelled");
            if begun.elapsed() >= TRIED_FOR {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.closed(&mut closing) => break,
            }
            pause = (pause * 2).min(self.timing.longest_attempt_again);
        }
    }

    async fn cancelled(&self, id: LaunchId, not_found: Option<ServiceError>) {
        let subject =
            Subject { launch: Some(id.to_string()), cluster: Some(self.cluster.clone()), ..Subject::default() };
        let reason = not_found.as_ref().map(ToString::to_string);
        self.service.audit().write(&Record {
            event: Event::Cancel,
            outcome: if not_found.is_some() { Outcome::Refused } else { Outcome::Done },
            status: not_found.as_ref().map_or(200, |error| status_of(error).as_u16()),
            address: None,
            subject: &subject,
            reason: reason.as_deref(),
        });
        self.report(Report { launch: id, news: News::Cancelled }, None).await;
    }
}
