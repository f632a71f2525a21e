//! Launch token redeemed: `POST /gha/runner`.
//!
//! The token is checked before anything is read for it. Then the facts: a launch that was redeemed gets nothing more,
//! one that nothing waits for gets nothing at all. Replicas take turns by attempts, so that a crowd of retries costs
//! one call to GitHub; that exactly one gets a credential rests on the claim at the very end.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::answer::{Answer, Level};
use crate::github::client::{ExpiringToken, GitHub, GitHubError, JitConfig};
use crate::github::credentials::{Credentials, Reach};
use crate::launch_token::{Launch, LaunchTokens, TokenError};
use crate::ledger::{Claim, Ledger};
use crate::lifecycle::Need;
use crate::metrics;
use crate::ports::{Platform, StoreError};
use crate::request::Request;
use crate::settings::Settings;
use gha_slurm_protocol::identity::LaunchId;

/// A redemption has no body; what a client sends by habit is small.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// For all calls to GitHub together.
const BUDGET: Duration = Duration::from_secs(20);
/// Well past the budget: an attempt that is older died.
const LEASE: Duration = Duration::from_secs(90);
const TURN_SECONDS: u64 = 2;
/// The status of an answer that gives no credential, now and for ever.
const GONE: u16 = 410;

/// Answers one redemption.
pub fn redeem<P: Platform>(platform: &P, request: &Request) -> Answer {
    if request.method != "POST" {
        return Answer::method_not_allowed("POST");
    }
    let Some(token) = request.bearer() else {
        return unauthorized("Authorization must carry the launch token", "Bearer realm=\"gha-slurm\"");
    };
    let audience = match Settings(platform).redeem_url() {
        Ok(url) => url,
        Err(error) => return error.into(),
    };
    let answer = match LaunchTokens::new(platform, audience.as_str()).verify(token) {
        Ok((id, launch)) => {
            let answer = exchange(platform, id, &launch, takes_jit(&request.body)).unwrap_or_else(Answer::from);
            answer.with_log("launch", &id.to_string()).with_log("job", &id.job.to_string())
        }
        Err(TokenError::Store(error)) => error.into(),
        Err(TokenError::Refused(detail)) => {
            unauthorized("the launch token is not valid", "Bearer error=\"invalid_token\"").with_detail(detail)
        }
    };
    metrics::redemption(platform, &answer);
    answer
}

fn unauthorized(message: &str, challenge: &str) -> Answer {
    Answer::error(401, message).with_header("www-authenticate", challenge)
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

fn exchange<P: Platform>(platform: &P, id: LaunchId, launch: &Launch, jit: bool) -> Result<Answer, StoreError> {
    if let Some(refusal) = refusal(platform, id)? {
        return Ok(refusal);
    }
    let github = match Settings(platform).github() {
        Ok(settings) => GitHub::new(platform, settings, BUDGET),
        Err(error) => return Ok(error.into()),
    };
    let facts = Ledger(platform).launch(id);
    let reach = Reach { id: launch.repository_id, name: &launch.repository, installation: launch.installation };
    let credentials = Credentials::new(platform, &github);
    let kept = if jit { None } else { credentials.kept_registration_token(reach) };
    let credential = match kept {
        // GitHub is not asked, so there is no turn to take.
        Some(token) => Credential::Registration(token),
        None => {
            let Claim::Won(attempt) = facts.redemptions().claim(LEASE)? else {
                return Ok(
                    Answer::try_again(TURN_SECONDS, "this launch is being redeemed by another request").at(Level::Info)
                );
            };
            let credential = match Credential::get(&credentials, reach, id, launch, jit) {
                Ok(credential) => credential,
                Err(error) => {
                    facts.redemptions().record_failed(attempt, &error.to_string())?;
                    return Ok(error.into());
                }
            };
            // The job may have been cancelled while GitHub was asked.
            if let Some(refusal) = refusal(platform, id)? {
                if refusal.status == GONE
                    && let Credential::Jit(JitConfig { runner: Some(runner), .. }) = credential
                {
                    // Nobody will ever start it. Should that fail, GitHub forgets the runner after a day.
                    let _ = credentials.remove_runner(reach, runner);
                }
                return Ok(refusal);
            }
            credential
        }
    };
    if !facts.commit_redemption()? {
        return Ok(already_redeemed());
    }
    let (body, expires_at, runner) = match &credential {
        Credential::Jit(jit) => (json!({"encoded_jit_config": jit.config.expose()}), None, jit.runner),
        Credential::Registration(token) => {
            (json!({"token": token.token.expose(), "expires_at": token.expires_at}), Some(&token.expires_at), None)
        }
    };
    let log =
        json!({"launch": id, "repository": launch.repository, "jit": expires_at.is_none(), "expires_at": expires_at});
    let answer = Answer::confidential(200, body, log);
    Ok(match facts.record_redeemed(runner) {
        Ok(()) => answer,
        // Nobody else can get one any more, so this one is handed out.
        Err(error) => answer.with_detail(error.to_string()),
    })
}

/// Why this launch gets no credential, by what is known now.
fn refusal<P: Platform>(platform: &P, id: LaunchId) -> Result<Option<Answer>, StoreError> {
    let ledger = Ledger(platform);
    let facts = ledger.launch(id);
    if facts.redeemed()?.is_some() {
        return Ok(Some(already_redeemed()));
    }
    let withdrawn = facts.withdrawn()?;
    if !withdrawn && Need(platform).needed(id)? {
        return Ok(None);
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
    Ok(Some(gone(id, why)))
}

fn already_redeemed() -> Answer {
    Answer::error(409, "this launch token was redeemed before")
}

fn gone(id: LaunchId, why: String) -> Answer {
    Answer::new(GONE, json!({"error": why, "launch": id}))
}

impl From<GitHubError> for Answer {
    fn from(error: GitHubError) -> Self {
        let detail = error.to_string();
        match error {
            GitHubError::Unavailable { retry_after, .. } => {
                Self::try_again(retry_after, "GitHub cannot answer now; the launch token stays valid")
            }
            GitHubError::Unauthorized(_) => {
                Self::try_again(60, "GitHub does not accept this App: check github_app_id and github_private_key")
                    .at(Level::Error)
            }
            GitHubError::NotFound(_) => Self::error(403, "the App is not installed for this repository (any more)"),
            GitHubError::Refused(_) => Self::error(
                403,
                "GitHub refuses: the App needs the permission Administration (write), an installation that is not \
                 suspended, and this repository among its repositories",
            ),
            GitHubError::Setting(error) => return error.into(),
        }
        .with_detail(detail)
    }
}
