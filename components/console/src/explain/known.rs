//! A job that left facts here.

use gha_slurm_core::gateway::slurm_job;
use gha_slurm_core::ledger::{FailureKind, Ledger};
use gha_slurm_core::lifecycle::retry_at;
use gha_slurm_core::ports::{Platform, StoreError};
use gha_slurm_core::settings::Settings;
use gha_slurm_overview::{JobDetail, LaunchDetail, State};
use gha_slurm_protocol::identity::LaunchId;
use gha_slurm_protocol::slurm_job::SlurmJob;

use super::{Cause, Explanation, GATEWAY_DEADLINE};

/// What the gateway says of a launch's Slurm job, as far as it could be asked.
pub(crate) fn ask_gateway<P: Platform>(platform: &P, launch: LaunchId) -> Result<Option<SlurmJob>, String> {
    let gateway = Settings(platform).gateway().map_err(|error| error.to_string())?;
    slurm_job(platform, &gateway, launch, GATEWAY_DEADLINE).map_err(|error| error.to_string())
}

/// A length of time in words: the two largest units.
fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

pub(super) fn explain<P: Platform>(platform: &P, detail: &JobDetail) -> Result<Explanation, StoreError> {
    let job = &detail.summary;
    let teller = Teller { platform, detail, age: span(platform.unix_seconds().saturating_sub(job.since)) };
    let mut told = match job.state {
        State::Unconfirmed => teller.unconfirmed(),
        State::Held => teller.held(),
        State::InLine => teller.in_line(),
        State::Unsubmitted => teller.unsubmitted()?,
        State::Pending => teller.pending(),
        State::Starting => teller.starting(),
        State::GivenUp => teller.given_up(),
        State::Running => teller.running(),
        State::Finished => teller.finished(),
        State::Expired => teller.expired(),
    };
    if let (Some(profile), Some(labels)) = (&job.profile, &job.labels) {
        told.details.push(format!("Profile {profile}, labels {labels}."));
    }
    let called = [("workflow", &job.workflow), ("branch", &job.branch)];
    let called: Vec<String> =
        called.iter().filter_map(|(word, name)| name.as_ref().map(|name| format!("{word} {name}"))).collect();
    if !called.is_empty() {
        told.details.push(format!("Of {}.", called.join(", ")));
    }
    teller.add_robbery(&mut told);
    Ok(Explanation {
        job: Some(job.job),
        name: job.name.clone(),
        cause: told.cause,
        headline: told.headline,
        details: told.details,
        advice: told.advice,
    })
}

struct Told {
    cause: Cause,
    headline: String,
    details: Vec<String>,
    advice: Vec<String>,
}

fn told(cause: Cause, headline: impl Into<String>, details: Vec<String>, advice: &[&str]) -> Told {
    let advice = advice.iter().map(|advice| (*advice).to_owned()).collect();
    Told { cause, headline: headline.into(), details, advice }
}

struct Teller<'a, P> {
    platform: &'a P,
    detail: &'a JobDetail,
    /// How long the job has been in its state.
    age: String,
}

impl<P: Platform> Teller<'_, P> {
    fn own_launch(&self) -> Option<&LaunchDetail> {
        let own = self.detail.summary.launch?;
        self.detail.launches.iter().find(|launch| launch.launch == own)
    }

    fn unconfirmed(&self) -> Told {
        let headline =
            "The webhook tells of a job older than 24 h, so GitHub is asked first whether it is still queued.";
        let details = vec![format!("It came {} ago.", self.age)];
        told(
            Cause::Unconfirmed,
            headline,
            details,
            &["Nothing: the periodic repair asks within minutes. See that it runs."],
        )
    }

    fn held(&self) -> Told {
        let headline = "GitHub holds the job back until somebody approves its deployment.";
        let details = vec![format!("It has been waiting for that for {}.", self.age)];
        let advice = ["Approve it on the run's page at GitHub (Review deployments); then it is launched by itself."];
        told(Cause::HeldByGithub, headline, details, &advice)
    }

    fn in_line(&self) -> Told {
        let profile = self.detail.summary.profile.as_deref().unwrap_or_default();
        let mut details = vec![format!("It has been in line for {}.", self.age)];
        details.push(match self.detail.place {
            Some(1) => "It is the next one.".to_owned(),
            Some(place) => format!("It is number {place} in line."),
            None => "More than a hundred are before it.".to_owned(),
        });
        let headline =
            format!("The profile {profile} runs as many launches as it may (max_running); the job is in line.");
        let advice = ["Wait until one of the profile's jobs ends, or raise its max_running."];
        told(Cause::AtCap, headline, details, &advice)
    }

    fn unsubmitted(&self) -> Result<Told, StoreError> {
        let Some(launch) = self.own_launch() else {
            return Ok(told(Cause::Submitting, "The job's launch is on its way to the gateway.", Vec::new(), &[]));
        };
        let Some(why) = &launch.submit_failure else {
            let details = vec![format!("It came {} ago.", self.age)];
            let advice = ["Nothing, if it came just now. Else see that the periodic repair runs (admin_token is set)."];
            return Ok(told(Cause::Submitting, "The job's launch is on its way to the gateway.", details, &advice));
        };
        let mut details = vec![format!("The last answer: {why}.")];
        details.push(match launch.submit_failures {
            1 => format!("It was tried once, {} ago.", self.age),
            failures => format!("It was tried {failures} times within {}.", self.age),
        });
        if let Some(failure) = Ledger(self.platform).launch(launch.launch).submissions().last_failure()? {
            let now = self.platform.unix_seconds();
            details.push(match retry_at(launch.launch, &failure).saturating_sub(now) {
                0 => "The next attempt is due with the next repair or webhook.".to_owned(),
                wait => format!("The next attempt is in {}.", span(wait)),
            });
        }
        if launch.submit_failure_kind == Some(FailureKind::Unauthorized) {
            let advice = [
                "Give the app's gateway_secret and the gateway's ghaSharedSecret the same value.",
                "Then the launch is tried again by itself.",
            ];
            let headline = "The gateway does not accept the app's secret.";
            return Ok(told(Cause::GatewayRefuses, headline, details, &advice));
        }
        // What the gateway itself says no to; the rest is that it does not answer, or something else does.
        if launch.submit_failure_kind == Some(FailureKind::Refused) {
            let headline = format!("The gateway has refused the launch for {}.", self.age);
            let advice = [
                "Mend what the answer says: a repository without a Slurm user goes into the gateway's configuration, a \
                 request that Slurm refuses into the profile.",
                "It is tried again by itself.",
            ];
            return Ok(told(Cause::GatewayRefuses, headline, details, &advice));
        }
        let headline = format!("The gateway has not taken the launch for {}.", self.age);
        let advice = match ask_gateway(self.platform, launch.launch) {
            Ok(_) => {
                details.push("Asked just now, the gateway answers.".to_owned());
                vec!["Nothing: the launch is tried again by itself."]
            }
            Err(now) => {
                details.push(format!("Asked just now: {now}."));
                vec![
                    "See that the gateway runs (systemctl status gha-slurm-gateway) and that gateway_url reaches it from \
                     where the app runs.",
                    "The launch is tried again by itself.",
                ]
            }
        };
        Ok(told(Cause::GatewayDown, headline, details, &advice))
    }

    fn pending(&self) -> Told {
        let Some(launch) = self.own_launch() else {
            return told(Cause::Submitted, "The job's launch is at the gateway.", Vec::new(), &[]);
        };
        if let Some(why) = &launch.redeem_failure {
            let details = vec![
                format!("The last answer: {why}."),
                format!("Slurm job {} asked for it; so far {} failed.", id_of(launch), times(launch.redeem_failures)),
            ];
            let advice = [
                "See that the App is installed for the repository, is not suspended, and has the permission \
                 Administration (read and write).",
                "The Slurm job asks again by itself while it lives.",
            ];
            return told(
                Cause::CredentialRefused,
                "GitHub gives no credential for the job's runner.",
                details,
                &advice,
            );
        }
        let since = format!("It was submitted {} ago.", self.age);
        match ask_gateway(self.platform, launch.launch) {
            Ok(Some(slurm)) => self.in_slurm(launch, &slurm, since),
            Ok(None) => {
                let details = vec![since, "The gateway cannot tell more of it.".to_owned()];
                let headline = format!("The job's launch is at the gateway, as Slurm job {}.", id_of(launch));
                told(Cause::Submitted, headline, details, &["Look at it where Slurm is: squeue, scontrol show job."])
            }
            Err(why) => {
                let details = vec![since, format!("The gateway could not be asked about it: {why}.")];
                let headline = format!("The job's launch is at the gateway, as Slurm job {}.", id_of(launch));
                told(
                    Cause::Submitted,
                    headline,
                    details,
                    &["See that the gateway runs, or look where Slurm is: squeue."],
                )
            }
        }
    }

    fn in_slurm(&self, launch: &LaunchDetail, slurm: &SlurmJob, since: String) -> Told {
        let id = slurm.job_id.clone().unwrap_or_else(|| id_of(launch));
        let mut details = vec![since];
        let reason = slurm.reason.as_deref().filter(|reason| !matches!(*reason, "" | "None"));
        if slurm.is_over() {
            details.extend(reason.map(|reason| format!("Slurm's reason: {reason}.")));
            let headline = format!("Slurm job {id} is over ({}), and its runner never started.", slurm.state);
            let advice = [
                "See the Slurm job's output (output in the gateway's configuration): most often the script could not \
                 reach the app at public_url, or the runner is missing.",
                "The periodic repair launches the job anew.",
            ];
            return told(Cause::SlurmEnded, headline, details, &advice);
        }
        match (slurm.state.as_str(), reason) {
            ("PENDING" | "CONFIGURING" | "REQUEUED" | "REQUEUE_HOLD" | "SUSPENDED", reason) => {
                let headline = match reason {
                    Some(reason) => format!("Slurm job {id} waits in Slurm's queue: {reason}."),
                    None => format!("Slurm job {id} waits in Slurm's queue ({}).", slurm.state),
                };
                told(Cause::SlurmPending, headline, details, &[advice_of(reason.unwrap_or_default())])
            }
            (state, _) => {
                let headline = format!("Slurm job {id} is {state}, and has not fetched its credential yet.");
                let advice = [
                    "Nothing, if it has just begun. Else see its output: most often the script cannot reach the app at \
                     public_url, or is installing the runner.",
                ];
                told(Cause::SlurmRunning, headline, details, &advice)
            }
        }
    }

    fn starting(&self) -> Told {
        let launch = self.detail.summary.launch.map(|launch| launch.runner_name()).unwrap_or_default();
        let headline = format!("The job's runner has had its credential for {}, and has not taken the job.", self.age);
        let details =
            vec![format!("The runner is {launch}, in Slurm job {}.", self.own_launch().map_or("?".into(), id_of))];
        let advice = [
            "Nothing within the first minutes. After 5 min without a start, the periodic repair asks GitHub and launches \
             the job anew.",
            "Where it happens again and again: see the Slurm job's output; an outdated runner is refused by GitHub.",
        ];
        told(Cause::RunnerStarting, headline, details, &advice)
    }

    fn given_up(&self) -> Told {
        let launches = self.detail.launches.iter().filter(|launch| launch.lost.is_some()).count();
        let headline = format!("The job had {launches} launches, as many as it may have, and none served it.");
        let lost = self
            .detail
            .launches
            .iter()
            .filter_map(|launch| launch.lost.as_ref().map(|why| format!("Launch {}: {why}.", launch.launch)));
        let advice = [
            "Mend what the launches ended by, then re-run the job at GitHub: a re-run is a new job.",
            "Any idle runner with the job's labels may still take it.",
        ];
        told(Cause::GivenUp, headline, lost.collect(), &advice)
    }

    fn running(&self) -> Told {
        let runner = self.detail.summary.runner.as_deref().unwrap_or("a runner that GitHub did not name");
        let headline = format!("The job has been running for {} on {runner}.", self.age);
        let mut details = Vec::new();
        if let Some(launch) = self.own_launch() {
            details.push(format!("It is in Slurm job {}.", id_of(launch)));
        } else {
            details.push("That is no runner of ours.".to_owned());
        }
        told(Cause::Running, headline, details, &[])
    }

    fn finished(&self) -> Told {
        let job = &self.detail.summary;
        let headline =
            format!("The job ended {} ago: {}.", self.age, job.conclusion.as_deref().unwrap_or("without a conclusion"));
        let mut details = Vec::new();
        if let Some(runner) = &job.runner {
            details.push(format!("It ran on {runner}."));
        } else {
            details.push("No runner took it.".to_owned());
        }
        told(Cause::Done, headline, details, &[])
    }

    fn expired(&self) -> Told {
        let headline = "The job waited for more than 24 h: GitHub gives up such a job.";
        told(Cause::Expired, headline, Vec::new(), &["Re-run it at GitHub."])
    }

    /// GitHub gave a runner that was started for this job to another one.
    fn add_robbery(&self, told: &mut Told) {
        let job = &self.detail.summary;
        let robbed = self.detail.launches.iter().filter(|launch| launch.launch.job == job.job);
        for (launch, robber) in robbed.filter_map(|launch| Some((launch.launch, launch.took?))) {
            if robber == job.job {
                continue;
            }
            told.details.push(format!(
                "The runner of its launch {launch} was taken by job {robber}: GitHub gives a runner to any job that it fits."
            ));
            if matches!(told.cause, Cause::Submitted | Cause::Submitting | Cause::SlurmPending | Cause::RunnerStarting)
            {
                told.headline = format!("Its runner was taken by another job. Now: {}", told.headline);
                told.cause = Cause::RunnerTaken;
            }
        }
    }
}

fn times(count: u64) -> String {
    if count == 1 { "one attempt".to_owned() } else { format!("{count} attempts") }
}

fn id_of(launch: &LaunchDetail) -> String {
    launch.slurm_job.clone().unwrap_or_else(|| "of unknown id".to_owned())
}

/// What Slurm's reasons for pending ask for (squeue's manual, JOB REASON CODES).
fn advice_of(reason: &str) -> &'static str {
    match reason {
        "Resources" | "Priority" => "Wait: Slurm starts it when nodes are free and its turn comes.",
        "BeginTime" | "Cleaning" | "Prolog" => "Wait: Slurm is about to start it.",
        "PartitionDown" | "PartitionInactive" => {
            "The profile's partition does not start jobs: ask the cluster's administrators."
        }
        "PartitionNodeLimit" | "PartitionTimeLimit" | "BadConstraints" => {
            "It will never start: the profile asks for more than its partition gives. Change the profile."
        }
        "JobHeldAdmin" | "JobHeldUser" => "It is held: scontrol release JOBID lets it go on.",
        "InvalidAccount" | "InvalidQOS" => {
            "It will never start: account or qos in the gateway's configuration are wrong."
        }
        _ if reason.starts_with("ReqNodeNotAvail") => "The nodes that fit are down, drained or reserved.",
        _ if reason.starts_with("QOS") || reason.starts_with("Assoc") => {
            "A limit of the Slurm user, its account or its QOS is reached: wait for its other jobs, or have it raised."
        }
        "" => "Wait: Slurm tells no reason.",
        _ => "See the reason in squeue's manual, JOB REASON CODES.",
    }
}
