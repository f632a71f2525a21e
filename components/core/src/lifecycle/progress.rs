//! How far a launch is, and when one that the gateway did not take is tried again.

use std::fmt;

use gha_slurm_protocol::identity::{ClusterName, LaunchId};

use crate::ledger::{Failure, FailureKind, Stopped};

const FIRST_RETRY_SECONDS: u64 = 5;
const LAST_RETRY_SECONDS: u64 = 10 * 60;
/// What the gateway refuses, it refuses until somebody changes a setting.
const FIRST_REFUSED_SECONDS: u64 = 10 * 60;
const LAST_REFUSED_SECONDS: u64 = 60 * 60;

/// How far a job's launch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The gateway took it now.
    Launched(LaunchId),
    /// It waits for a gateway of this cluster to fetch it.
    Offered(LaunchId, ClusterName),
    /// The gateway took it before.
    LaunchedBefore(LaunchId),
    /// Somebody else submits it at this moment.
    UnderWay(LaunchId),
    /// The gateway did not take it; it is tried again soon.
    Deferred(LaunchId, Delay),
    /// The gateway refuses it as things stand. It takes no place in a line, and is tried again now and then.
    Refused(LaunchId, Failure),
    /// Its profile's `max_running`, or its repository's share of it, is reached.
    InLine(LaunchId),
    /// GitHub must first say that the job is still queued.
    Unconfirmed,
    /// It had all the launches that a job may have.
    GivenUp,
}

/// Why a launch is not with the gateway yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delay {
    /// Earlier calls took all the time that there was.
    OutOfTime,
    /// The operator stopped launches.
    Stopped(Stopped),
    /// No cluster of this name is configured (any more).
    NoCluster(ClusterName),
    /// Another component of the app calls the gateway of its cluster.
    Elsewhere,
    /// The last attempt failed.
    Failed(Failure),
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfTime => f.write_str("earlier calls took all the time"),
            Self::Stopped(stopped) => stopped.fmt(f),
            Self::NoCluster(name) => write!(f, "the variable clusters has no cluster {name} any more"),
            Self::Elsewhere => f.write_str("the periodic repair submits it"),
            Self::Failed(failure) => f.write_str(&failure.why),
        }
    }
}

/// The distance that is kept from earlier failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// None: somebody asks for it.
    AtOnce,
    /// As [`retry_at`] has it.
    Due,
    /// The gateway takes launches again, so what it was away for goes now; what it refused does not.
    GatewayIsBack,
}

impl Patience {
    pub(super) fn waits(self, id: LaunchId, failure: &Failure, now: u64) -> bool {
        let due = now >= retry_at(id, failure);
        match self {
            Self::AtOnce => false,
            Self::Due => !due,
            Self::GatewayIsBack if failure.kind == FailureKind::Refused => !due,
            // Not what this run tried already.
            Self::GatewayIsBack => now < failure.at.saturating_add(FIRST_RETRY_SECONDS),
        }
    }
}

/// 5 s after the first failure, twice as long after each further one, at most 10 min; after a refusal 10 min, at most an
/// hour. Up to a fifth more, which differs from launch to launch, so that not all come back at once.
pub fn retry_at(id: LaunchId, failure: &Failure) -> u64 {
    let (first, last) = match failure.kind {
        FailureKind::Refused => (FIRST_REFUSED_SECONDS, LAST_REFUSED_SECONDS),
        FailureKind::Away | FailureKind::Unauthorized | FailureKind::Other => (FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS),
    };
    let doublings = u32::try_from(failure.attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let wait = first.saturating_mul(1 << doublings).min(last);
    let spread = id.job.0.wrapping_mul(31).wrapping_add(failure.attempt) % (wait / 5 + 1);
    failure.at.saturating_add(wait + spread)
}

#[cfg(test)]
mod tests {
    use gha_slurm_protocol::identity::JobId;

    use super::*;

    #[test]
    fn retries_keep_their_distance_and_do_not_come_all_at_once() {
        let wait = |kind, job: u64, attempt: u64| {
            let failure = Failure { attempt, at: 1000, kind, why: String::new(), reason: None };
            retry_at(LaunchId { job: JobId(job), number: 1 }, &failure) - 1000
        };
        let away = [(1, 5), (2, 10), (3, 20), (7, 320), (8, 600), (u64::MAX, 600)].map(|due| (FailureKind::Away, due));
        let refused = [(1, 600), (2, 1200), (3, 2400), (4, 3600), (99, 3600)].map(|due| (FailureKind::Refused, due));
        for (kind, (attempt, least)) in away.into_iter().chain(refused) {
            let waits: Vec<u64> = (0..100).map(|job| wait(kind, job, attempt)).collect();
            assert!(waits.iter().all(|wait| (least..=least + least / 5).contains(wait)), "{attempt}: {waits:?}");
            assert!(waits.iter().any(|wait| *wait != waits[0]), "{attempt}");
        }
    }
}
