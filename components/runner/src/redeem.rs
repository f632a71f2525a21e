//! Launch token redeemed: `POST /gha/runner`.
//!
//! The token is checked before anything is read for it. Then the facts: a launch that was redeemed gets nothing more,
//! one that nothing waits for gets nothing at all. Replicas take turns by attempts, so that a crowd of retries costs
//! one call to GitHub; that exactly one gets a credential rests on the claim at the very end.
//!
//! Before there is a credential, the rules of the profile judge the workflow run, by what GitHub says of it ([`crate::judge`]).
//!
//! A launch token names a launch and nothing else: repository, installation and labels are those of the launch's facts.
//! The credential is a JIT configuration, good for one runner and one job. A job script that asks for nothing gets a
//! registration token where the operator allows that (`registration_tokens`); none is ever handed out in place of the other.

use std::time::Duration;

use gha_slurm_core::audit::{CredentialKind, Record, record};
use gha_slurm_core::counters::{Counter, Suspicion};
use gha_slurm_core::github::client::{ExpiringToken, GitHub, GitHubError, JitConfig};
use gha_slurm_core::github::credentials::{Credentials, Reach};
use gha_slurm_core::launch_token::{LaunchTokens, TokenError};
use gha_slurm_core::ledger::{Claim, FailureKind, Ledger, Requested, Stops};
use gha_slurm_core::lifecycle::{Chain, Need};
use gha_slurm_core::ports::Platform;
use gha_slurm_core::settings::Settings;
use gha_slurm_edge::answer::Answer;
use gha_slurm_edge::request::Request;
use gha_slurm_protocol::identity::{JobId, LaunchId};
use serde::Deserialize;
use serde_json::json;

use crate::denied::{Denied, unauthorized};
use crate::judge::judge;
use crate::refused::refused;

/// A redemption has a short body or none; what a client sends by habit is small.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// For all calls to GitHub together.
const BUDGET: Duration = Duration::from_secs(20);
/// Well past the budget: an attempt that is older died.
const LEASE: Duration = Duration::from_secs(90);

/// Answers one redemption.
pub fn redeem<P: Platform>(platform: &P, request: &Request) -> Answer {
    if request.method != "POST" {
        return Answer::method_not_allowed("POST");
    }
    let Some(token) = request.bearer() else {
        return unauthorized("Authorization must carry the launch token", "Bearer realm=\"gha-slurm\"");
    };
    if request.path().ends_with("/refused") {
        return refused(platform, token, &request.body);
    }
    let (named, redeemed) = match Settings(platform).redeem_url() {
        Ok(audience) => {
            let tokens = LaunchTokens::new(platform, audience.as_str());
            let verified = tokens.verify(token).map_err(Denied::from);
            let named = verified.as_ref().ok().copied();
            let check_key = || tokens.check_key(token);
            (named, verified.and_then(|id| exchange(platform, id, &request.body, check_key)))
        }
        Err(error) => (None, Err(error.into())),
    };
    if let Err(denied) = &redeemed {
        if let Some(outcome) = denied.outcome() {
            Counter::Redemption(outcome).sample(platform);
        }
        // That it could not be kept must not change the answer.
        if let (Denied::Redeemed, Some(id)) = (denied, named)
            && Ledger(platform).launch(id).record_replayed() == Ok(true)
        {
            Counter::Suspicion(Suspicion::LaunchTokenReplayed).count(platform);
            record(platform, &Record::Replay { job: id.job, launch: id });
        }
    }
    let answer = redeemed.unwrap_or_else(Answer::from);
    match named {
        Some(id) => answer.with_log("launch", &id.to_string()).with_log("job", &id.job.to_string()),
        None => answer,
    }
}

/// Whether the job script asks for a JIT configuration by name: `{"credential": "jit"}`. The original's sends no body.
fn wants_jit(body: &[u8]) -> bool {
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
        id: LaunchId,
        requested: &Requested,
        jit: bool,
    ) -> Result<Self, GitHubError> {
        let reach = Reach::from(requested);
        if jit {
            credentials.jit_config(reach, id, &requested.labels).map(Self::Jit)
        } else {
            credentials.registration_token(reach).map(Self::Registration)
        }
    }
}

/// Exchanges a launch token that was verified; `check_key` says whether it was revoked since.
fn exchange<P: Platform>(
    platform: &P,
    id: LaunchId,
    body: &[u8],
    check_key: impl FnOnce() -> Result<(), TokenError>,
) -> Result<Answer, Denied> {
    let wanted = check(platform, id)?;
    let requested = &wanted.requested;
    let settings = Settings(platform);
    let github = GitHub::new(platform, settings.github()?, BUDGET);
    let jit = !settings.registration_tokens()? || wants_jit(body);
    let facts = Ledger(platform).launch(id);
    let credentials = Credentials::new(platform, &github);
    let Claim::Won(attempt) = facts.redemptions().claim(LEASE)? else { return Err(Denied::UnderWay) };
    // An earlier attempt may have handed it out and died before that was written; what it made is not touched.
    if facts.committed()? {
        return Err(Denied::Redeemed);
    }
    judge(platform, &credentials, id, attempt, &wanted)?;
    let credential = match Credential::get(&credentials, id, requested, jit) {
        Ok(credential) => credential,
        Err(error) => {
            facts.redemptions().record_failed_at_github(attempt, &error)?;
            return Err(Denied::by_github(id, error));
        }
    };
    // While GitHub was asked the job may have been cancelled, its launch stopped or its token revoked.
    let still = check_key().map_err(Denied::from).and_then(|()| match check(platform, id)?.job {
        job if job == wanted.job => Ok(()),
        // By swaps it would serve another one now, whose run was not judged.
        _ => {
            facts.redemptions().record_failed(attempt, FailureKind::Away, "the launch serves another job now")?;
            Err(Denied::ServesAnother)
        }
    });
    if let Err(denied) = still {
        let nobody_starts_it = matches!(
            denied,
            Denied::Gone(..) | Denied::InvalidToken(_) | Denied::NotAllowed(..) | Denied::ServesAnother
        );
        if let (true, Credential::Jit(JitConfig { runner: Some(runner), .. })) = (nobody_starts_it, credential) {
            // Should that fail, GitHub forgets the runner after a day.
            let _ = credentials.remove_runner(Reach::from(requested), runner);
        }
        return Err(denied);
    }
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
    let redeemed = Record::Redemption { repository: &requested.repository, job: id.job, launch: id, credential: kind };
    record(platform, &redeemed);
    let log = json!({"launch": id, "repository": requested.repository, "jit": expires_at.is_none(), "expires_at": expires_at});
    let answer = Answer::confidential(200, body, log);
    Ok(match facts.record_redeemed(runner) {
        Ok(()) => answer,
        // Nobody else can get one any more, so this one is handed out.
        Err(error) => answer.with_detail(error.to_string()),
    })
}

/// What a launch may get a credential for.
pub(crate) struct Wanted {
    /// What it was made for: where its runner is registered.
    pub(crate) requested: Requested,
    /// The job that waits for it by swaps within its pool; most often its own.
    pub(crate) job: JobId,
    /// That job's request, if it is another job than the launch's own.
    swapped: Option<Requested>,
}

impl Wanted {
    /// The request of the job that waits for it.
    pub(crate) fn waiting(&self) -> &Requested {
        self.swapped.as_ref().unwrap_or(&self.requested)
    }
}

/// What the launch is for, if it may get a credential by what is known now.
fn check<P: Platform>(platform: &P, id: LaunchId) -> Result<Wanted, Denied> {
    let ledger = Ledger(platform);
    let facts = ledger.launch(id);
    if facts.redeemed()?.is_some() {
        return Err(Denied::Redeemed);
    }
    let withdrawn = facts.withdrawn()?;
    let waiting = match withdrawn {
        true => None,
        false => match Need(platform).chain(id)? {
            Chain::Waits { job, .. } => Some(job),
            Chain::Unknown => Some(id.job),
            Chain::Nothing => None,
        },
    };
    let view = ledger.job(id.job).view()?;
    if let (Some(job), Some(requested)) = (waiting, &view.requested) {
        // In an organization, the job that waits for it by swaps may be of another repository.
        let swapped = if job == id.job { None } else { ledger.job(job).requested()? };
        let of = [Some(requested), swapped.as_ref()].into_iter().flatten();
        let repositories: Vec<_> = of.map(|requested| &requested.repository).collect();
        let Some(stopped) = Stops(platform).stopped_each(&repositories)?.into_iter().flatten().next() else {
            return Ok(Wanted { requested: requested.clone(), job, swapped });
        };
        // Its Slurm job ends, and the job gets another launch after the stop.
        facts.record_withdrawn()?;
        return Err(Denied::Gone(id, stopped.to_string()));
    }
    if !withdrawn && view.requested.is_some() {
        // From now on no job counts on this launch: its Slurm job ends.
        facts.record_withdrawn()?;
    }
    if let (Some(denied), Some(requested), None, None) = (&view.denied, &view.requested, &view.started, &view.finished)
    {
        return Err(Denied::NotAllowed(id, requested.profile.clone(), denied.denial.clone()));
    }
    let why = match (&view.finished, &view.started, &view.requested) {
        (Some(finished), _, _) => {
            format!("the job is over ({})", finished.conclusion.as_deref().unwrap_or("completed"))
        }
        (None, Some(_), _) => "another runner took the job".to_owned(),
        (None, None, Some(_)) if view.is_held() => {
            "GitHub holds the job back until its deployment is approved; then it has another launch".to_owned()
        }
        (None, None, Some(_)) => "the job has another launch, or GitHub gave it up after 24 h".to_owned(),
        (None, None, None) => "nothing is known of this job (any more)".to_owned(),
    };
    Err(Denied::Gone(id, why))
}
