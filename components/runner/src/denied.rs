//! Why a redemption gets no credential, and what its job script is told.
//!
//! The script shows the `error` of an answer, so it is one sentence that says what to do; `reason` is the same for programs.

use gha_slurm_core::counters::RedemptionOutcome;
use gha_slurm_core::github::client::{GitHubError, Reason, Until};
use gha_slurm_core::launch_token::TokenError;
use gha_slurm_core::policy::Denial;
use gha_slurm_core::ports::StoreError;
use gha_slurm_core::settings::SettingError;
use gha_slurm_edge::answer::{Answer, Level};
use gha_slurm_protocol::identity::LaunchId;
use serde_json::json;

const TURN_SECONDS: u64 = 2;
/// How long until GitHub may show a workflow run that it has just made.
const YOUNG_WAIT_SECONDS: u64 = 10;
/// How long until somebody may have fixed what only a person can.
const FIX_SECONDS: u64 = 60;
/// Waits from here on are spread, so that not all who wait come back at once.
const SPREAD_FROM_SECONDS: u64 = 30;

/// Why a redemption gets no credential.
#[derive(Debug)]
pub(crate) enum Denied {
    /// Forged, expired, for another audience.
    InvalidToken(String),
    /// Its one credential was handed out.
    Redeemed,
    /// Another request redeems the launch at this moment.
    UnderWay,
    /// Nothing waits for the launch, now and for ever.
    Gone(LaunchId, String),
    /// The rules of this profile do not allow the workflow run.
    NotAllowed(LaunchId, String, Denial),
    /// While it was redeemed, the launch became another job's, which has to be judged first.
    ServesAnother,
    /// GitHub does not show the workflow run, and may soon.
    NotShownYet,
    /// GitHub gives none.
    GitHub(LaunchId, GitHubError),
    Setting(SettingError),
    Store(StoreError),
}

impl From<TokenError> for Denied {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Refused(detail) => Self::InvalidToken(detail),
            TokenError::Store(error) => Self::Store(error),
        }
    }
}

impl From<SettingError> for Denied {
    fn from(error: SettingError) -> Self {
        match error {
            SettingError::Store(error) => Self::Store(error),
            other => Self::Setting(other),
        }
    }
}

impl From<StoreError> for Denied {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Denied {
    /// What GitHub said to the redemption of a launch.
    pub(crate) fn by_github(launch: LaunchId, error: GitHubError) -> Self {
        match error {
            GitHubError::Setting(error) => error.into(),
            other => Self::GitHub(launch, other),
        }
    }

    /// What it is counted as, unless it left a fact.
    pub(crate) fn outcome(&self) -> Option<RedemptionOutcome> {
        match self {
            Self::InvalidToken(_) => Some(RedemptionOutcome::Unauthorized),
            Self::Redeemed => Some(RedemptionOutcome::Repeated),
            Self::Gone(..) => Some(RedemptionOutcome::Gone),
            Self::NotAllowed(..) => Some(RedemptionOutcome::Denied),
            Self::Setting(_) => Some(RedemptionOutcome::Failed),
            Self::UnderWay | Self::ServesAnother | Self::NotShownYet | Self::GitHub(..) | Self::Store(_) => None,
        }
    }
}

impl From<Denied> for Answer {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::InvalidToken(detail) => {
                unauthorized("the launch token is not valid", "Bearer error=\"invalid_token\"").with_detail(detail)
            }
            // Somebody has what this job was to get, or an answer was lost on its way.
            Denied::Redeemed => {
                Self::error(409, "this launch token was exchanged before: if not by this Slurm job, it was stolen")
                    .at(Level::Warn)
            }
            Denied::UnderWay => {
                Self::try_again(TURN_SECONDS, "this launch is being redeemed by another request").at(Level::Info)
            }
            Denied::ServesAnother => {
                Self::try_again(TURN_SECONDS, "the launch serves another job now; the launch token stays valid")
                    .at(Level::Info)
            }
            Denied::NotShownYet => Self::try_again(
                YOUNG_WAIT_SECONDS,
                "GitHub does not show the workflow run yet; the launch token stays valid",
            )
            .at(Level::Info),
            Denied::Gone(id, why) => Self::new(410, json!({"error": why, "launch": id})),
            Denied::NotAllowed(id, profile, denial) => {
                let error = format!("{denial} (profile {profile}, {})", denial.key());
                Self::new(403, json!({"error": error, "reason": "not_allowed", "rule": denial.key(), "launch": id}))
            }
            Denied::GitHub(id, error) => refused_by_github(id, &error),
            Denied::Setting(error) => error.into(),
            Denied::Store(error) => error.into(),
        }
    }
}

pub(crate) fn unauthorized(message: &str, challenge: &str) -> Answer {
    Answer::error(401, message).with_header("www-authenticate", challenge)
}

/// 503 while it may come right, 403 when it will not for this launch.
fn refused_by_github(launch: LaunchId, error: &GitHubError) -> Answer {
    let wait = match error {
        GitHubError::Unavailable { until: Until::LimitEnds, retry_after, .. } => Some(spread(launch, *retry_after)),
        GitHubError::Unavailable { retry_after, .. } => Some(*retry_after),
        // The operator's to set right; the launch can wait for that.
        GitHubError::Unauthorized(_) => Some(FIX_SECONDS),
        _ if error.reason() == Some(Reason::NoJit) => Some(FIX_SECONDS),
        GitHubError::NotFound(_) | GitHubError::Refused(_) | GitHubError::Setting(_) => None,
    };
    let body = |told: String| match error.reason() {
        Some(reason) => json!({"error": told, "reason": reason.word()}),
        None => json!({"error": told}),
    };
    let answer = match wait {
        Some(seconds) => Answer::new(503, body(format!("{}; the launch token stays valid", error.told())))
            .with_header("retry-after", seconds.to_string()),
        None => Answer::new(403, body(error.told())),
    };
    let answer = answer.with_detail(error.to_string());
    match error {
        GitHubError::Unavailable { .. } => answer,
        _ => answer.at(Level::Error),
    }
}

/// Up to a fifth more, which differs from launch to launch.
fn spread(launch: LaunchId, seconds: u64) -> u64 {
    match seconds {
        SPREAD_FROM_SECONDS.. => seconds + launch.job.0.wrapping_mul(31) % (seconds / 5 + 1),
        _ => seconds,
    }
}
