//! The sentences of `explain`: one table from what was found to what is said, and nothing else.

mod cluster;
mod slurm;

use gha_slurm_core::github::client::{GitHubError, Reason};
use gha_slurm_core::ledger::{FailureKind, Stopped};
use gha_slurm_core::policy::Denial;
use gha_slurm_overview::Cap;
use gha_slurm_protocol::identity::{JobId, LaunchId, RepositoryName};

use self::slurm::in_slurm;
use super::finding::{Besides, Finding, GatewayNow, Nearest, Polled, SlurmJobId, Tries};
use super::{Cause, Explanation};
use crate::time::duration;

/// The words for a finding.
pub(super) fn explanation(
    finding: &Finding,
    besides: &Besides,
    job: Option<JobId>,
    name: Option<String>,
) -> Explanation {
    let mut told = tell(finding);
    if let Some((profile, labels)) = &besides.profile {
        told.details.push(format!("Profile {profile}, labels {labels}."));
    }
    told.details.extend(besides.cluster.as_ref().map(|cluster| format!("Cluster {cluster}.")));
    match (&besides.workflow, &besides.branch) {
        (Some(workflow), Some(branch)) => told.details.push(format!("Workflow {workflow}, branch {branch}.")),
        (Some(workflow), None) => told.details.push(format!("Workflow {workflow}.")),
        (None, Some(branch)) => told.details.push(format!("Branch {branch}.")),
        (None, None) => {}
    }
    told.details.extend(besides.moved.iter().map(cluster::moved));
    if let Some(silence) = &besides.silence {
        told.details.push(format!("{} What is known of it may be old.", sentence(&silence.to_string())));
    }
    for (launch, taker) in &besides.taken {
        tell_taken(&mut told, *launch, *taker);
    }
    for launch in &besides.replayed {
        tell_replayed(&mut told, *launch);
    }
    for (launch, why) in &besides.refused {
        told.details.push(format!("GitHub gave the runner of launch {launch} a job that its node refused: {why}."));
    }
    let Told { cause, headline, details, advice } = told;
    Explanation { job, name, cause, headline, details, advice }
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

const RETRIED: &str = "The launch is retried automatically.";
const NO_WEBHOOK_KEPT: &str = "No webhook for it is kept here.";

fn tell(finding: &Finding) -> Told {
    match finding {
        Finding::NotInstalled(repository) => told(
            Cause::NotInstalled,
            format!("The App is not installed on {repository}, so GitHub sends no webhooks for its jobs."),
            Vec::new(),
            &[
                "Install the App on the repository: on GitHub, open the App's settings, then \"Install App\". If it is \
                 installed on selected repositories only, add this one.",
                "Check the spelling; the repository may also have been renamed.",
            ],
        ),
        Finding::NoSuchJob { repository, id } => told(
            Cause::Unknown,
            format!("GitHub knows no job and no run {id} in {repository}."),
            vec!["The IDs are in the URL: .../actions/runs/RUN/job/JOB. A re-run creates new jobs.".to_owned()],
            &["Copy the ID from the URL of the job or the run."],
        ),
        Finding::NotAsked { id, error } => told(
            Cause::Unknown,
            format!("This application has no facts about job {id}, and could not ask GitHub about it."),
            vec![format!("{error}.")],
            &[match error {
                GitHubError::Setting(_) => "Fix this setting, then ask again.",
                GitHubError::Unavailable { .. } => "Ask again in a minute.",
                _ => "The App needs the permission \"Actions: Read\" and an installation that is not suspended.",
            }],
        ),
        Finding::ProfilesUnreadable(error) => told(
            Cause::Unknown,
            format!("The profiles cannot be read: {error}."),
            Vec::new(),
            &["Fix the profiles: until then, no job is launched."],
        ),
        Finding::EndedUnseen { conclusion, runner } => told(
            Cause::Done,
            format!("The job has ended: {}.", conclusion_of(conclusion)),
            unseen(runner, "It ran on"),
            &[],
        ),
        Finding::RunsUnseen { runner } => {
            told(Cause::Running, "The job is running.", unseen(runner, "It runs on"), &[])
        }
        Finding::Held { age } => told(
            Cause::HeldByGithub,
            "GitHub holds the job back until its deployment is approved.",
            vec![format!("It has been waiting for that for {}.", duration(*age))],
            &["Approve it on the run's page on GitHub (\"Review deployments\"); it is launched after that."],
        ),
        Finding::NoLabels { problem } => told(
            Cause::NoProfile,
            format!("No profile serves the job: {problem}."),
            Vec::new(),
            &["Change runs-on in the workflow."],
        ),
        Finding::HeldByGithub { status } => told(
            Cause::HeldByGithub,
            format!("GitHub is holding the job back: its status is \"{status}\"."),
            vec!["It waits for an approval, a concurrency group, or other jobs that it needs.".to_owned()],
            &["See the run's page on GitHub. The job is launched as soon as GitHub queues it."],
        ),
        Finding::NoProfile { labels, nearest } => {
            let (detail, advice) = tell_nearest(nearest);
            let headline = format!("No profile has all of the job's labels: {labels}.");
            Told { cause: Cause::NoProfile, headline, details: vec![detail], advice: advice.into_iter().collect() }
        }
        Finding::RepositoryNotAllowed { profile, repository, labels } => told(
            Cause::RepositoryNotAllowed,
            format!("Profile {profile} has the job's labels, but does not allow {repository}."),
            vec![format!("The job's labels are {labels}.")],
            &[&format!("Add {repository} to the profile's repositories, or use the labels of another profile.")],
        ),
        Finding::PublicNotAllowed { profile, repository } => told(
            Cause::PublicNotAllowed,
            format!(
                "Profile {profile} has the job's labels, but {repository} is public, and public repositories are not allowed."
            ),
            vec!["Anybody at GitHub can open a pull request in a public repository.".to_owned()],
            &[&format!("{}.", Denial::Public.advice(profile))],
        ),
        Finding::Denied { denial, profile, age } => {
            let profile = profile.as_deref().unwrap_or_default();
            told(
                Cause::Denied,
                format!("The job gets no runner: {denial}."),
                vec![format!(
                    "GitHub was asked about the job's workflow run {} ago. It is not launched again.",
                    duration(*age)
                )],
                &[
                    &format!("{}.", denial.advice(profile)),
                    "The job stays queued at GitHub until you cancel the run there. A re-run is judged anew.",
                ],
            )
        }
        Finding::LabelRefused { profile, label, problem, labels } => told(
            Cause::LabelRefused,
            format!("Profile {profile} cannot serve the label {label}: {problem}."),
            vec![format!("The job's labels are {labels}.")],
            &["Change the label in runs-on, or what the profile allows: its \"dynamic\" section, or its clusters."],
        ),
        Finding::NotPlaced { profile, problem } => cluster::not_placed(profile, problem),
        Finding::NoWebhook { profile, polled } => tell_no_webhook(profile, polled.as_ref()),
        Finding::Unconfirmed { age } => told(
            Cause::Unconfirmed,
            "The job is older than 24 h, so GitHub is asked first whether it is still queued.",
            vec![format!("Its webhook came {} ago.", duration(*age))],
            &[
                "Wait: the periodic repair asks within minutes. Check that it runs (it needs tick_token or admin_token).",
            ],
        ),
        Finding::Stopped { stopped, repository, answer, age } => {
            tell_stopped(*stopped, repository.as_ref(), answer.as_deref(), *age)
        }
        Finding::AtCap { cap, place, age } => at_cap(cap, *place, *age),
        Finding::Submitting { age } => told(
            Cause::Submitting,
            "The job's launch is being submitted to the gateway.",
            vec![format!("Its webhook came {} ago.", duration(*age))],
            &[
                "Wait a moment. If this lasts, check that the periodic repair runs (it needs tick_token or admin_token).",
            ],
        ),
        Finding::ToBeFetched { cluster, before, age } => cluster::to_be_fetched(cluster, before.as_ref(), *age),
        Finding::Fetched { cluster, gateway, ago } => cluster::fetched(cluster, gateway, *ago),
        Finding::ClusterSilent { silence, others, silent_after, before, age } => {
            cluster::silent(silence, others, *silent_after, before.as_ref(), *age)
        }
        Finding::NoCluster { cluster, age } => cluster::not_configured(cluster, *age),
        Finding::NotSubmitted { tries, kind, retry_in, now, age } => not_submitted(tries, *kind, *retry_in, now, *age),
        Finding::NoCredential { tries, kind, reason, slurm_job } => no_credential(tries, *kind, *reason, slurm_job),
        Finding::InSlurm { slurm_job, asked, age } => in_slurm(slurm_job, asked, *age),
        Finding::RunnerStarting { runner, slurm_job, age } => told(
            Cause::RunnerStarting,
            format!("The job's runner got its credential {} ago, and has not taken the job yet.", duration(*age)),
            vec![format!("The runner is {runner}, in Slurm job {}.", number(slurm_job))],
            &[
                "Wait: a runner may take a few minutes to start. After 5 min, the periodic repair asks GitHub and launches \
                 the job again.",
                "If this happens repeatedly, see the Slurm job's output. GitHub rejects outdated runners, for example.",
            ],
        ),
        Finding::GivenUp { lost } => told(
            Cause::GivenUp,
            format!("The job had {} launches, as many as a job may have, and none of them served it.", lost.len()),
            lost.iter().map(|(launch, why)| format!("Launch {launch}: {why}.")).collect(),
            &[
                "Fix what ended the launches, then re-run the job on GitHub: a re-run is a new job.",
                "Until it expires, any idle runner with the job's labels may still take it.",
            ],
        ),
        Finding::EndedAtNode { reason, slurm_job } => told(
            Cause::Denied,
            format!("The job was ended on its node before its first step: {reason}."),
            vec![format!("It was Slurm job {}.", number(slurm_job))],
            &[
                "The gateway's configuration decides this (policy, people, repositories). Change it there, or use a workflow \
                 that it allows.",
                "GitHub fails the job when it has missed the runner for about 10 min. A re-run is judged anew.",
            ],
        ),
        Finding::Running { runner, slurm_job, age } => {
            let runner = runner.as_deref().unwrap_or("a runner that GitHub did not name");
            let place = match slurm_job {
                Some(slurm_job) => format!("It is in Slurm job {}.", number(slurm_job)),
                None => "This application did not start that runner.".to_owned(),
            };
            let headline = format!("The job has been running on {runner} for {}.", duration(*age));
            told(Cause::Running, headline, vec![place], &[])
        }
        Finding::Finished { conclusion, runner, age } => told(
            Cause::Done,
            format!("The job ended {} ago: {}.", duration(*age), conclusion_of(conclusion)),
            vec![match runner {
                Some(runner) => format!("It ran on {runner}."),
                None => "No runner took it.".to_owned(),
            }],
            &[],
        ),
        Finding::Expired => told(
            Cause::Expired,
            "The job was queued for more than 24 h, after which GitHub fails it.",
            Vec::new(),
            &["Re-run it on GitHub."],
        ),
    }
}

fn conclusion_of(conclusion: &Option<String>) -> &str {
    conclusion.as_deref().unwrap_or("without a conclusion")
}

fn unseen(runner: &Option<String>, ran: &str) -> Vec<String> {
    vec![match runner {
        Some(name) => format!("{ran} {name}. {NO_WEBHOOK_KEPT}"),
        None => NO_WEBHOOK_KEPT.to_owned(),
    }]
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

fn number(slurm_job: &SlurmJobId) -> &str {
    slurm_job.0.as_deref().unwrap_or("(unknown ID)")
}

fn tell_nearest(nearest: &Nearest) -> (String, Option<String>) {
    match nearest {
        Nearest::NoLabels => ("The job has no labels at all.".to_owned(), None),
        // Dynamic labels alone, which choose no profile.
        Nearest::Profile { name, labels, lacking } if lacking.is_empty() => (
            format!("A job also needs the labels of a profile, such as {}, those of {name}.", labels.join(", ")),
            Some(format!("Add them to runs-on: [{}, …].", labels.join(", "))),
        ),
        Nearest::Profile { name, labels, lacking } => {
            let (labels, lacking) = (labels.join(", "), lacking.join(", "));
            (
                format!("The closest profile is {name} with the labels {labels}; it lacks {lacking}."),
                Some(format!("Remove {lacking} from runs-on, or add it to the labels of profile {name}.")),
            )
        }
        Nearest::None { names } => (
            format!("No profile ({}) has any of them.", names.join(", ")),
            Some("If the job is meant for GitHub-hosted runners, nothing is wrong: GitHub runs it.".to_owned()),
        ),
    }
}

fn tell_no_webhook(profile: &str, polled: Option<&Polled>) -> Told {
    const LOOK: &str =
        "In the App's settings on GitHub, under Advanced, Recent Deliveries, look for a delivery for this job";
    let Some(polled) = polled else {
        return told(
            Cause::NoWebhook,
            format!("Profile {profile} serves the job, but no webhook for it was received."),
            vec![
                "GitHub sends each webhook once. The periodic repair reads failed ones from GitHub's list.".to_owned(),
            ],
            &[
                &format!("{LOOK} and the app's response."),
                "If there is none: the App must be subscribed to the event \"Workflow job\", its webhook must be active, \
                 and the webhook URL must be this app's /api/github/webhooks.",
                "If it failed: check that the periodic repair runs (it needs tick_token or admin_token).",
            ],
        );
    };
    let newest =
        polled.newest_ago.map(|ago| format!("; the newest was made {} ago", duration(ago))).unwrap_or_default();
    let mut details =
        vec![format!("Deliveries are read from GitHub's list, last {} ago{newest}.", duration(polled.read_ago))];
    if polled.behind > 0 {
        details.push(format!("About {} wait to be read; one for this job may be among them.", polled.behind));
    }
    told(
        Cause::NoWebhook,
        format!("Profile {profile} serves the job, but no delivery for it was read."),
        details,
        &[
            "If the list was not read for minutes: see the application's log, and check that it can reach GitHub.",
            &format!("{LOOK}."),
            "If there is none: the App must be subscribed to the event \"Workflow job\", and its webhook must be active: \
             GitHub records no deliveries otherwise.",
        ],
    )
}

fn tell_stopped(stopped: Stopped, repository: Option<&RepositoryName>, answer: Option<&str>, age: u64) -> Told {
    let repository = repository.map(ToString::to_string).unwrap_or_default();
    let (of, order) = match stopped {
        Stopped::All => ("all repositories", "gha-slurm resume".to_owned()),
        Stopped::Repository => (&*repository, format!("gha-slurm resume {repository}")),
    };
    let mut details = vec![format!("Its webhook came {} ago.", duration(age))];
    details.extend(answer.map(|answer| format!("The gateway's last answer to its launch: {answer}.")));
    let headline = format!("The operator stopped the launches of {of}; the job is kept.");
    told(
        Cause::Stopped,
        headline,
        details,
        &[&format!("Run {order}. The periodic repair launches the job after that.")],
    )
}

fn at_cap(cap: &Cap, place: Option<usize>, age: u64) -> Told {
    let details = vec![
        format!("It has been in line for {}.", duration(age)),
        match place {
            Some(1) => "It is next.".to_owned(),
            Some(place) => format!("It is number {place} in line."),
            None => "More than a hundred jobs are before it.".to_owned(),
        },
    ];
    let limits: Vec<&str> = cap.limits().map(|(name, _)| name).collect();
    let whose = if cap.is_of_repository() { " of the repository" } else { "" };
    let advice = format!("Wait until one of the profile's jobs{whose} ends, or raise its {}.", limits.join(" or "));
    told(Cause::AtCap, format!("The job is in line: {cap}."), details, &[&advice])
}

/// `kind` and `reason` decide whether the job script asks again, as the answer to it does.
fn no_credential(tries: &Tries, kind: Option<FailureKind>, reason: Option<Reason>, slurm_job: &SlurmJobId) -> Told {
    let details = vec![
        format!("The last answer: {}.", tries.answer.trim_end_matches('.')),
        format!("Slurm job {} has asked {}.", number(slurm_job), times(tries.failures)),
    ];
    let advice = match (kind, reason) {
        (Some(FailureKind::Away), Some(reason)) if reason != Reason::NotGitHub => format!(
            "Wait: GitHub may not know an access token yet that it has just made. If this lasts: {}.",
            reason.advice()
        ),
        (_, Some(reason)) => sentence(&reason.advice()),
        (Some(FailureKind::Away), None) => "Wait: GitHub does not answer, or limits the rate of calls.".to_owned(),
        (Some(FailureKind::Other), None) => "Put right what the last answer names.".to_owned(),
        (_, None) => "Check that the App is installed on the repository, is not suspended, and has the permission \
                      \"Administration: Read and write\"."
            .to_owned(),
    };
    let next = match (kind, reason) {
        (Some(FailureKind::Refused), reason) if reason != Some(Reason::NoJit) => {
            "The Slurm job ends after this answer. The periodic repair launches the job again: three launches at most."
        }
        _ => "The Slurm job keeps asking while it runs.",
    };
    told(Cause::CredentialRefused, "GitHub gives no credential for the job's runner.", details, &[&advice, next])
}

/// With a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map(|first| format!("{}{}.", first.to_uppercase(), rest.as_str())).unwrap_or_default()
}

fn not_submitted(tries: &Tries, kind: Option<FailureKind>, retry_in: Option<u64>, now: &GatewayNow, age: u64) -> Told {
    let age = duration(age);
    let mut details = vec![
        format!("The last answer: {}.", tries.answer),
        match tries.failures {
            1 => "It has been tried once.".to_owned(),
            failures => format!("It has been tried {failures} times in {age}."),
        },
    ];
    details.extend(retry_in.map(|wait| match wait {
        0 => "The next attempt is due with the next webhook or tick.".to_owned(),
        wait => format!("The next attempt is in {}.", duration(wait)),
    }));
    match kind {
        Some(FailureKind::Unauthorized) => {
            return told(
                Cause::GatewayRefuses,
                "The gateway does not accept the app's secret.",
                details,
                &["Give the app's gateway_secret and the gateway's ghaSharedSecret the same value.", RETRIED],
            );
        }
        Some(FailureKind::Refused) => {
            let headline = format!("The gateway has refused the launch for {age}.");
            // As the gateway answers to a launch token of an app that is not its own.
            let advice = match tries.answer.contains("below app.url") {
                true => {
                    "Write the app's public_url as app.url in the gateway's configuration, and restart the gateway. \
                     `gha-slurm-gateway check` there compares them if the gateway fetches its launches."
                }
                false => {
                    "Fix what the answer says: map the repository to a Slurm user in the gateway's configuration, or \
                     change a profile that asks for something that Slurm or the gateway refuses."
                }
            };
            return told(Cause::GatewayRefuses, headline, details, &[advice, RETRIED]);
        }
        _ => {}
    }
    let check =
        "Check that the gateway runs (systemctl status gha-slurm-gateway), and that the app can reach gateway_url.";
    let advice = match now {
        GatewayNow::NotAsked => vec![check, RETRIED],
        GatewayNow::Answers => {
            details.push("The gateway answers now.".to_owned());
            vec![RETRIED]
        }
        GatewayNow::Fails(problem) => {
            details.push(format!("Asked again just now: {problem}."));
            vec![check, RETRIED]
        }
        GatewayNow::Fetches(cluster) => {
            let advice = format!("See the gateway's log on {cluster}, and run `gha-slurm-gateway check` there.");
            let headline = format!("A gateway of cluster {cluster} could not submit the launch.");
            return told(Cause::GatewayDown, headline, details, &[&advice, RETRIED]);
        }
    };
    told(Cause::GatewayDown, format!("The gateway has not accepted the launch for {age}."), details, &advice)
}

/// GitHub gave a runner that was started for this job to another one.
fn tell_taken(told: &mut Told, launch: LaunchId, taker: JobId) {
    told.details.push(format!(
        "Job {taker} took the runner of its launch {launch}: GitHub gives a runner to any job that it fits."
    ));
    let waits = [Cause::Submitted, Cause::Submitting, Cause::Offered, Cause::SlurmPending, Cause::RunnerStarting];
    if waits.contains(&told.cause) {
        told.headline = format!("Another job took its runner. Now: {}", told.headline);
        told.cause = Cause::RunnerTaken;
    }
}

fn tell_replayed(told: &mut Told, launch: LaunchId) {
    told.details.push(format!("The launch token of {launch} was used again after its credential was handed out."));
    told.advice.push(
        "The token may have been stolen by another process of its Slurm user, which then has the runner's credential. \
         Read the output of that Slurm job: it ends with exit status 81 if the credential went elsewhere, and says whether an \
         answer to an earlier attempt of its own was lost."
            .to_owned(),
    );
}
