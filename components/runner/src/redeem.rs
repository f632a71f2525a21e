//! Launch token redeemed: `POST /gha/runner`.
//!
//! The token is checked before anything is read for it. Then the facts: a launch that was redeemed gets nothing more,
//! one that nothing waits for gets nothing at all. Replicas take turns by attempts, so that a crowd of retries costs
//! one call to GitHub; that exactly one gets a credential rests on the claim at the very end.

use std::time::Duration;

use gha_slurm_core::audit::{CredentialKind, Record, record};
use gha_slurm_core::counters::{Counter, RedemptionOutcome};
use gha_slurm_core::github::client::{ExpiringToken, GitHub, GitHubError, JitConfig};
use gha_slurm_core::github::credentials::{Credentials, Reach};
use gha_slurm_core::launch_token::{Launch, LaunchTokens, TokenError};
use gha_slurm_core::ledger::{Claim, Ledger, Stops};
use gha_slurm_core::lifecycle::Need;
use gha_slurm_core::ports::{Platform, StoreError};
use gha_slurm_core::settings::{SettingError, Settings};
use gha_slurm_edge::answer::{Answer, Level};
use gha_slurm_edge::request::Request;
use gha_slurm_protocol::identity::LaunchId;
use serde::Deserialize;
use serde_json::json;

/// A redemption has no body; what a client sends by habit is small.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// For all calls to GitHub together.
const BUDGET: Duration = Duration::from_secs(20);
/// Well past the budget: an attempt that is older died.
const LEASE: Duration = Duration::from_secs(90);
const TURN_SECONDS: u64 = 2;

/// Answers one redemption.
pub fn redeem<P: Platform>(platform: &P, request: &Request) -> Answer {
    if request.method != "POST" {
        return Answer::method_not_allowed("POST");
    }
    let Some(token) = request.bearer() else {
        return unauthorized("Authorization must carry the launch token", "Bearer realm=\"gha-slurm\"");
    };
    let verified = Settings(platform)
        .redeem_url()
        .map_err(Denied::from)
        .and_then(|audience| Ok(LaunchTokens::new(platform, audience.as_str()).verify(token)?));
    let named = verified.as_ref().ok().map(|(id, _)| *id);
    let redeemed = verified.and_then(|(id, launch)| exchange(platform, id, &launch, takes_jit(&request.body)));
    if let Err(denied) = &redeemed
        && let Some(outcome) = denied.outcome()
    {
        Counter::Redemption(outcome).sample(platform);
    }
    let answer = redeemed.unwrap_or_else(Answer::from);
    match named {
        Some(id) => answer.with_log("launch", &id.to_string()).with_log("job", &id.job.to_string()),
        None => answer,
    }
}

/// Why a redemption gets no credential.
#[derive(Debug)]
enum Denied {
    /// Forged, expired, for another audience.
    InvalidToken(String),
    /// Its one credential was handed out.
    Redeemed,
    /// Another request redeems the launch at this moment.
    UnderWay,
    /// Nothing waits for the launch, now and for ever.
    Gone(LaunchId, String),
    GitHub(GitHubError),
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

impl From<GitHubError> for Denied {
    fn from(error: GitHubError) -> Self {
        match error {
            GitHubError::Setting(error) => error.into(),
            other => Self::GitHub(other),
        }
    }
}

impl From<StoreError> for Denied {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Denied {
    /// What it is counted as, unless it left a fact.
    fn outcome(&self) -> Option<RedemptionOutcome> {
        match self {
            Self::InvalidToken(_) => Some(RedemptionOutcome::Unauthorized),
            Self::Redeemed => Some(RedemptionOutcome::Repeated),
            Self::Gone(..) => Some(RedemptionOutcome::Gone),
            Self::Setting(_) => Some(RedemptionOutcome::Failed),
            Self::UnderWay | Self::GitHub(_) | Self::Store(_) => None,
        }
    }
}

impl From<Denied> for Answer {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::InvalidToken(detail) => {
                unauthorized("the launch token is not valid", "Bearer error=\"invalid_token\"").with_detail(detail)
            }
            Denied::Redeemed => Self::error(409, "this launch token was redeemed before"),
            Denied::UnderWay => {
                Self::try_again(TURN_SECONDS, "this launch is being redeemed by another request").at(Level::Info)
            }
            Denied::Gone(id, why) => Self::new(410, json!({"error": why, "launch": id})),
            Denied::GitHub(error) => refused_by_github(&error),
            Denied::Setting(error) => error.into(),
            Denied::Store(error) => error.into(),
        }
    }
}

fn unauthorized(message: &str, challenge: &str) -> Answer {
    Answer::error(401, message).with_header("www-authenticate", challenge)
}

fn refused_by_github(error: &GitHubError) -> Answer {
    let answer = match error {
        GitHubError::Unavailable { retry_after, .. } => {
            Answer::try_again(*retry_after, "GitHub cannot answer now; the launch token stays valid")
        }
        GitHubError::Unauthorized(_) => {
            Answer::try_again(60, "GitHub does not accept this App: check github_app_id and github_private_key")
                .at(Level::Error)
        }
        GitHubError::NotFound(_) => Answer::error(403, "the App is not installed for this repository (any more)"),
        GitHubError::Refused(_) | GitHubError::Setting(_) => Answer::error(
            403,
            "GitHub refuses: the App needs the permission Administration (write), an installation that is not \
             suspended, and this repository among its repositories",
        ),
    };
    answer.with_detail(error.to_string())
}

/// Whether the job script can start a runner by a JIT config: `{"credential": "jit"}`. The original's sends no body.
fn takes_jit(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Wish {
        credential: String,
    }
    serde_json::from_slice::<Wish>(body).is_ok_and(|wish| wish.credential == "jit")
}

/// What starts a runner.
enum Credential {
    /// For one runner and one job.
    Jit(JitConfig),
    /// For any number of runners within an hour; what the original's job script needs.
    Registration(ExpiringToken),
}

impl Credential {
    fn get<P: Platform>(
        credentials: &Credentials<'_, P>,
        reach: Reach<'_>,
        id: LaunchId,
        launch: &Launch,
        jit: bool,
    ) -> Result<Self, GitHubError> {
        if jit {
            match credentials.jit_config(reach, &id.runner_name(), &launch.labels) {
                Ok(config) => return Ok(Self::Jit(config)),
                // An earlier attempt made the runner and died: a registration replaces it.
                Err(GitHubError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        credentials.registration_token(reach).map(Self::Registration)
    }
}

fn exchange<P: Platform>(platform: &P, id: LaunchId, launch: &Launch, jit: bool) -> Result<Answer, Denied> {
    check(platform, id)?;
    if let Some(stopped) = Stops(platform).stopped(&launch.repository)? {
        // Its Slurm job ends, and the job gets another launch after the stop.
        Ledger(platform).launch(id).record_withdrawn()?;
        return Err(Denied::Gone(id, stopped.to_string()));
    }
    let github = GitHub::new(platform, Settings(platform).github()?, BUDGET);
    let facts = Ledger(platform).launch(id);
    let reach = Reach { id: launch.repository_id, name: &launch.repository, installation: launch.installation };
    let credentials = Credentials::new(platform, &github);
    let kept = if jit { None } else { credentials.kept_registration_token(reach) };
    let credential = match kept {
        // GitHub is not asked, so there is no turn to take.
        Some(token) => Credential::Registration(token),
        None => {
            let Claim::Won(attempt) = facts.redemptions().claim(LEASE)? else { return Err(Denied::UnderWay) };
            let credential = match Credential::get(&credentials, reach, id, launch, jit) {
                Ok(credential) => credential,
                Err(error) => {
                    facts.redemptions().record_failed(attempt, error.kind(), &error.to_string())?;
                    return Err(error.into());
                }
            };
            // The job may have been cancelled while GitHub was asked.
            if let Err(denied) = check(platform, id) {
                if let (Denied::Gone(..), Credential::Jit(JitConfig { runner: Some(runner), .. })) =
                    (&denied, credential)
                {
                    // Nobody will ever start it. Should that fail, GitHub forgets the runner after a day.
                    let _ = credentials.remove_runner(reach, runner);
                }
                return Err(denied);
            }
            credential
        }
    };
    if !facts.commit_redemption()? {
        return Err(Denied::Redeemed);
    }
    let (body, expires_at, runner) = match &credential {
        Credential::Jit(jit) => (json!({"encoded_jit_config": jit.config.expose()}), None, jit.runner),
        Credential::Registration(token) => {
            (json!({"token": token.token.expose(), "expires_at": token.expires_at}), Some(&token.expires_at), None)
        }
    };
    let kind = match &credential {
        Credential::Jit(_) => CredentialKind::Jit,
        Credential::Registration(_) => CredentialKind::RegistrationToken,
    };
    let redeemed = Record::Redemption { repository: &launch.repository, job: id.job, launch: id, credential: kind };
    record(platform, &redeemed);
    let log =
        json!({"launch": id, "repository": launch.repository, "jit": expires_at.is_none(), "expires_at": expires_at});
    let answer = Answer::confidential(200, body, log);
    Ok(match facts.record_redeemed(runner) {
        Ok(()) => answer,
        // Nobody else can get one any more, so this one is handed out.
        Err(error) => answer.with_detail(error.to_string()),
    })
}

/// Whether this launch may get a credential, by what is known now.
fn check<P: Platform>(platform: &P, id: LaunchId) -> Result<(), Denied> {
    let ledger = Ledger(platform);
    let facts = ledger.launch(id);
    if facts.redeemed()?.is_some() {
        return Err(Denied::Redeemed);
    }
    let withdrawn = facts.withdrawn()?;
    if !withdrawn && Need(platform).needed(id)? {
        return Ok(());
    }
    let view = ledger.job(id.job).view()?;
    if !withdrawn && view.requested.is_some() {
        // From now on no job counts on this launch: its Slurm job ends.
        facts.record_withdrawn()?;
    }
    let why = match (&view.finished, &view.started, &view.requested) {
        (Some(finished), _, _) => {
            format!("the job is over ({})", finished.conclusion.as_deref().unwrap_or("completed"))
        }
        (None, Some(_), _) => "another runner took the job".to_owned(),
        (None, None, Some(_)) => "the job has another launch, or GitHub gave it up after 24 h".to_owned(),
        (None, None, None) => "nothing is known of this job (any more)".to_owned(),
    };
    Err(Denied::Gone(id, why))
}
