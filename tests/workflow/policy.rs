//! What may run, and as whom: each row of the table in docs/security.md, through app, gateway and job script as separate
//! processes, with the simulated GitHub and the runner's stand-in at the ends. A test's name is its row's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::github::{Delivery, Endpoint, Fault, GitHub, JobSpec, JobStatus, Person, WebhookFault};
use gha_slurm_simulator::runner;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::gateway::GatewayProcess;
use crate::support::{ADMIN_TOKEN, App, GATEWAY_SECRET, REPOSITORY, WEBHOOK_SECRET, json};

const SECOND: &str = "octo-org/second";
const FORK: &str = "mallory/simulation";

const PROFILES: &str = "
[[profile]]
name = 'default'
labels = ['self-hosted', 'slurm']

[[profile]]
name = 'open'
labels = ['open']
public = true
forks = 'allow'

[[profile]]
name = 'strict'
labels = ['strict']
events = ['push', 'workflow_dispatch']
branches = ['main', 'release/*']
workflows = ['.github/workflows/ci.yml']
actors = ['ada-*', 'octocat']

[[profile]]
name = 'people'
labels = ['people']
[profile.dynamic]
slurm_users = ['*']

[[profile]]
name = 'organization'
labels = ['organization']
level = 'organization'
";

const PEOPLE: &str = "people: {table: {ada-lovelace: {id: 12, slurmUsers: [games]}}, block: [trudy]}";

/// What becomes of a job.
struct Cluster {
    app: App,
    folder: TempDir,
    gateway: GatewayProcess,
}

impl Cluster {
    async fn start() -> Self {
        Self::start_with("").await
    }

    /// With more of the gateway's configuration.
    async fn start_with(more: &str) -> Self {
        Self::start_as(more, PEOPLE, PROFILES).await
    }

    async fn start_as(more: &str, people: &str, profiles: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let events = Events::default();
        let github = GitHub::start(&[REPOSITORY, SECOND], WEBHOOK_SECRET, events.clone()).await.unwrap();
        runner::install(&folder.path().join("runner")).unwrap();
        let (here, origin) = (folder.path().display(), github.url());
        let yaml = format!(
            "listen: 127.0.0.1:0\nghaSharedSecret: gateway-secret-of-the-tests\nbackend: local\n\
             stateDirectory: {here}/state\nminUid: 1\n\
             repositories: [{{gitHubURL: 'https://github.com/{REPOSITORY}', slurmUser: daemon}},\n  \
               {{gitHubURL: 'https://github.com/{SECOND}', slurmUser: bin}}]\n\
             {people}\n{more}\n\
             job: {{runner: {here}/runner, scratch: {here}, idleSeconds: 20, environment: \
             {{{}: '{origin}', STAND_IN_STEPS: {here}/steps}}}}\n",
            runner::GITHUB_VARIABLE
        );
        let gateway = GatewayProcess::start(folder.path(), &yaml);
        let app = App::start_beside(github, events, "", &[("gateway_url", &gateway.url), ("profiles", profiles)]).await;
        Self { app, folder, gateway }
    }

    fn steps(&self) -> String {
        let path: PathBuf = self.folder.path().join("steps");
        if Path::new(&path).exists() { std::fs::read_to_string(path).unwrap() } else { String::new() }
    }

    /// The job runs all of its steps.
    async fn runs(&self, spec: JobSpec) -> u64 {
        let repository = spec.repository.clone();
        let (job, delivery) = self.app.github.queue(spec).await;
        let answer = delivery.map(|delivery| delivery.answer);
        self.finishes(job).await;
        assert!(self.steps().contains(&format!("build {} {repository}", user())), "{answer:?}: {}", self.steps());
        job
    }

    async fn finishes(&self, job: u64) {
        let done = || self.app.github.job(job).unwrap().status == JobStatus::Completed("success".to_owned());
        self.app.within_seconds(30, "the job is done", done).await;
    }

    /// The app takes the job for none of its own.
    async fn is_ignored(&self, spec: JobSpec, words: &str) {
        let (_, delivery) = self.app.github.queue(spec).await;
        let Delivery { status, answer, .. } = delivery.unwrap();
        assert_eq!((status, &answer["decision"]), (200, &Value::from("ignored")), "{answer}");
        assert!(answer["reason"].as_str().unwrap().contains(words), "{answer}");
    }

    /// The app gives the job's runner no credential, says why to the job script and to the operator, and launches nothing
    /// again.
    async fn is_denied(&self, job: u64, words: &str) {
        let told = self.explained(job, "denied").await;
        assert!(told["headline"].as_str().unwrap().contains(words), "{told}");
        let mut output = String::new();
        for _ in 0..100 {
            output = self.output();
            if output.contains(words) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(output.contains(words), "the job script is told: {output}");
        self.app.tick().await;
        assert!(!self.steps().contains("build"), "{}", self.steps());
        assert_eq!(self.app.github.runners(), Vec::<String>::new());
    }

    async fn denied(&self, spec: JobSpec, words: &str) {
        let (job, delivery) = self.app.github.queue(spec).await;
        assert_eq!(delivery.unwrap().answer["decision"], "launched");
        self.is_denied(job, words).await;
    }

    /// The gateway submits no Slurm job.
    async fn is_refused_by_the_gateway(&self, spec: JobSpec, words: &str) {
        let (_, delivery) = self.app.github.queue(spec).await;
        let answer = delivery.unwrap().answer;
        assert_eq!(answer["decision"], "deferred", "{answer}");
        assert!(answer["reason"].as_str().unwrap().contains(words), "{answer}");
    }

    /// GitHub gives the job to a runner, whose node ends it before any of its steps.
    async fn is_refused_at_the_node(&self, job: u64, launch: &str, words: &str) {
        let mut told = Value::Null;
        for _ in 0..200 {
            let of = launch.split('-').next().unwrap();
            let (_, detail) = self.api(&format!("jobs/{of}")).await;
            let launches = detail["launches"].as_array().cloned().unwrap_or_default();
            let own = launches.into_iter().find(|one| one["launch"] == launch);
            told = own.map(|own| own["refused_at_node"].clone()).unwrap_or_default();
            if told.is_string() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(told.as_str().unwrap_or_default().contains(words), "{told}: {}", self.output());
        assert_eq!(self.app.github.job(job).unwrap().status, JobStatus::InProgress);
        let of_job = self.app.github.log(job).join("\n");
        assert!(!of_job.contains("Running step"), "not even a step with always(): {of_job}");
        assert!(of_job.contains("##[error]") && of_job.contains(words), "the job's log at GitHub: {of_job}");
    }

    async fn refused_at_the_node(&self, spec: JobSpec, words: &str) {
        let (job, delivery) = self.app.github.queue(spec).await;
        assert_eq!(delivery.unwrap().answer["decision"], "launched");
        self.is_refused_at_the_node(job, &format!("{job}-1"), words).await;
        assert_eq!(self.steps(), "");
    }

    async fn explained(&self, job: u64, cause: &str) -> Value {
        let mut told = Value::Null;
        for _ in 0..100 {
            let path = format!("explain?repository={REPOSITORY}&id={job}");
            let (_, body) = self.api(&path).await;
            told = body["jobs"][0].clone();
            if told["cause"] == cause {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no {cause}: {told}");
    }

    async fn api(&self, path: &str) -> (u16, Value) {
        let url = format!("{}/api/v1/{path}", self.app.url);
        json(self.app.client.get(url).bearer_auth(ADMIN_TOKEN).send().await.unwrap()).await
    }

    /// What all Slurm jobs printed.
    fn output(&self) -> String {
        let Ok(files) = std::fs::read_dir(self.folder.path().join("state/local")) else { return String::new() };
        files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap_or_default()).collect()
    }
}

/// Who the local backend's Slurm jobs are.
fn user() -> String {
    let output = std::process::Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn job(labels: &[&str]) -> JobSpec {
    JobSpec::new(REPOSITORY, labels)
}

fn usual() -> JobSpec {
    job(&["self-hosted", "slurm"])
}

fn of_fork(event: &str, spec: JobSpec) -> JobSpec {
    JobSpec {
        event: event.to_owned(),
        fork: Some(FORK.to_owned()),
        branch: "patch-1".to_owned(),
        actor: Person::new("mallory", 66),
        ..spec
    }
}

fn ada(id: u64) -> Person {
    Person::new("Ada-Lovelace", id)
}

#[tokio::test(flavor = "multi_thread")]
async fn push_private() {
    Cluster::start().await.runs(usual()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn push_public() {
    let cluster = Cluster::start().await;
    cluster.app.github.set_visibility(REPOSITORY, "public");
    cluster.is_ignored(usual(), "is public; to allow it: public = true in the profile").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn push_public_allowed_by_the_app_alone() {
    let cluster = Cluster::start().await;
    cluster.app.github.set_visibility(REPOSITORY, "public");
    cluster.refused_at_the_node(job(&["open"]), "the policy (public) does not allow it").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn push_public_allowed_by_both() {
    let cluster = Cluster::start_with("policy: {public: true}").await;
    cluster.app.github.set_visibility(REPOSITORY, "public");
    cluster.runs(job(&["open"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn branch_pull_request() {
    let spec = JobSpec { event: "pull_request".to_owned(), branch: "feature".to_owned(), ..usual() };
    Cluster::start().await.runs(spec).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fork_pull_request() {
    let cluster = Cluster::start().await;
    cluster.denied(of_fork("pull_request", usual()), "the code comes from a fork, and forks are not allowed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fork_pull_request_allowed_by_the_app_alone() {
    let cluster = Cluster::start().await;
    cluster.refused_at_the_node(of_fork("pull_request", job(&["open"])), "the policy (forks) does not allow it").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fork_pull_request_allowed_by_both() {
    Cluster::start_with("policy: {forks: allow}").await.runs(of_fork("pull_request", job(&["open"]))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_fork() {
    let cluster = Cluster::start().await;
    let spec = JobSpec { fork_deleted: true, ..of_fork("pull_request", usual()) };
    cluster.denied(spec, "the code comes from a fork").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fork_with_the_bases_branch() {
    let cluster = Cluster::start().await;
    let spec = JobSpec { branch: "main".to_owned(), ..of_fork("pull_request", usual()) };
    cluster.denied(spec, "the code comes from a fork").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fork_pull_request_target() {
    let cluster = Cluster::start().await;
    cluster.denied(of_fork("pull_request_target", usual()), "the code comes from a fork").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workflow_run_of_a_fork() {
    let cluster = Cluster::start().await;
    cluster.refused_at_the_node(of_fork("workflow_run", usual()), "the policy (forks) does not allow it").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schedule() {
    Cluster::start().await.runs(JobSpec { event: "schedule".to_owned(), ..usual() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dispatch_by_an_actor_not_allowed() {
    let cluster = Cluster::start().await;
    let spec = |actor| JobSpec { event: "workflow_dispatch".to_owned(), actor, ..job(&["strict"]) };
    cluster.runs(spec(ada(12))).await;
    let cluster = Cluster::start().await;
    cluster.denied(spec(Person::new("mallory", 66)), "mallory at GitHub is not allowed to start jobs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn event_branch_or_workflow_not_allowed() {
    for (spec, words) in [
        (JobSpec { event: "schedule".to_owned(), ..job(&["strict"]) }, "the event schedule is not allowed"),
        (JobSpec { branch: "main2".to_owned(), ..job(&["strict"]) }, "the branch main2 is not allowed"),
        (
            JobSpec { workflow: ".github/workflows/other.yml".to_owned(), ..job(&["strict"]) },
            "the workflow .github/workflows/other.yml is not allowed",
        ),
    ] {
        Cluster::start().await.denied(spec, words).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rerun_by_another_person() {
    let cluster = Cluster::start().await;
    let first = cluster.runs(JobSpec { actor: ada(12), ..job(&["strict"]) }).await;
    std::fs::remove_file(cluster.folder.path().join("steps")).unwrap();
    let (again, delivery) = cluster.app.github.rerun_job(first, Person::new("mallory", 66)).await;
    assert_eq!(delivery.unwrap().answer["decision"], "launched");
    cluster.is_denied(again, "mallory at GitHub is not allowed to start jobs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reusable_workflow() {
    let spec = JobSpec { referenced: vec!["octo-org/lib/.github/workflows/x.yml@v1".to_owned()], ..job(&["strict"]) };
    Cluster::start().await.runs(spec).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slurm_user_by_its_person() {
    let spec = JobSpec { actor: ada(12), ..job(&["people", "slurm-user=games"]) };
    Cluster::start().await.runs(spec).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slurm_user_by_somebody_else() {
    let cluster = Cluster::start().await;
    let spec = |login: &str| JobSpec { actor: Person::new(login, 66), ..job(&["people", "slurm-user=games"]) };
    cluster.is_refused_by_the_gateway(spec("mallory"), "people of the gateway do not let mallory run as games").await;
    cluster.is_refused_by_the_gateway(spec("trudy"), "trudy is blocked by people.block of the gateway").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slurm_user_of_a_runner_that_somebody_else_got() {
    let cluster = Cluster::start().await;
    let labels = ["people", "slurm-user=games"];
    // It waits longer, and the app was never told of it.
    cluster.app.github.disturb_webhook(WebhookFault::Lost);
    let mallory = JobSpec { actor: Person::new("mallory", 66), ..job(&labels) };
    let (robber, _) = cluster.app.github.queue(mallory).await;
    let (robbed, delivery) = cluster.app.github.queue(JobSpec { actor: ada(12), ..job(&labels) }).await;
    assert_eq!(delivery.unwrap().answer["decision"], "launched");
    cluster.is_refused_at_the_node(robber, &format!("{robbed}-1"), "mallory may not be the Slurm user").await;
    cluster.app.tick().await;
    cluster.finishes(robbed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slurm_user_me() {
    let spec = job(&["people", "slurm-user=me"]);
    Cluster::start().await.is_ignored(spec, "name your Slurm user, as in slurm-user=ada").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn login_taken_over() {
    let cluster = Cluster::start().await;
    let spec = JobSpec { actor: ada(666), ..job(&["people", "slurm-user=games"]) };
    let words = "list Ada-Lovelace as account 12, and this is account 666: another one has the login by now";
    cluster.is_refused_by_the_gateway(spec, words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn job_of_another_slurm_users_repository() {
    let cluster = Cluster::start().await;
    cluster.app.github.set_permissions(&[
        ("organization_self_hosted_runners", "write"),
        ("actions", "read"),
        ("metadata", "read"),
    ]);
    cluster.app.github.disturb_webhook(WebhookFault::Lost);
    let (robber, _) = cluster.app.github.queue(JobSpec::new(SECOND, &["organization"])).await;
    let (robbed, delivery) = cluster.app.github.queue(job(&["organization"])).await;
    assert_eq!(delivery.unwrap().answer["decision"], "launched");
    let words = "the repository octo-org/second is not mapped to the Slurm user";
    cluster.is_refused_at_the_node(robber, &format!("{robbed}-1"), words).await;
    cluster.app.tick().await;
    cluster.finishes(robbed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payload_without_visibility_or_sender() {
    let cluster = Cluster::start().await;
    cluster.app.github.disturb_webhook(WebhookFault::Bare);
    cluster.runs(usual()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn github_does_not_answer() {
    let cluster = Cluster::start().await;
    cluster.app.github.fail(Endpoint::Run, Fault::SecondaryRateLimit { retry_after: 1 });
    cluster.runs(usual()).await;
    assert!(cluster.output().contains("no credential yet (status 503)"), "{}", cluster.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn run_not_shown() {
    let cluster = Cluster::start().await;
    for _ in 0..100 {
        cluster.app.github.fail(Endpoint::Run, Fault::Status(404));
    }
    let (job, _) = cluster.app.github.queue(usual()).await;
    // It may be new; after five minutes it is denied.
    let words = "GitHub does not show the workflow run yet";
    cluster.app.within_seconds(30, "the job script is told", || cluster.output().contains(words)).await;
    assert_eq!(cluster.steps(), "");
    cluster.app.github.cancel_job(job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn push_internal() {
    let cluster = Cluster::start().await;
    cluster.app.github.set_visibility(REPOSITORY, "internal");
    cluster.runs(usual()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn made_public_while_queued() {
    let cluster = Cluster::start().await;
    // The job script has to ask again.
    cluster.app.github.fail(Endpoint::Run, Fault::SecondaryRateLimit { retry_after: 1 });
    let (job, delivery) = cluster.app.github.queue(usual()).await;
    cluster.app.github.set_visibility(REPOSITORY, "public");
    assert_eq!(delivery.unwrap().answer["decision"], "launched");
    cluster.is_denied(job, "the repository is public").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fork_with_an_allowed_branch() {
    let cluster = Cluster::start_with("policy: {forks: allow, branches: [main, 'f*', 'a*']}").await;
    let spec = JobSpec { branch: "main".to_owned(), ..of_fork("pull_request", job(&["open"])) };
    cluster.refused_at_the_node(spec, "the policy (branches) does not allow a fork: main").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slurm_user_rerun_by_somebody_else() {
    let cluster = Cluster::start().await;
    let first = cluster.runs(JobSpec { actor: ada(12), ..job(&["people", "slurm-user=games"]) }).await;
    let (_, delivery) = cluster.app.github.rerun_job(first, Person::new("grace", 13)).await;
    let reason = delivery.unwrap().answer["reason"].to_string();
    assert!(reason.contains("people of the gateway do not let grace run as games"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn slurm_user_of_another_actor() {
    let cluster = Cluster::start().await;
    let spec =
        JobSpec { actor: Person::new("grace", 13), sender: Some(ada(12)), ..job(&["people", "slurm-user=games"]) };
    cluster.denied(spec, "the job names a Slurm user, and grace started it").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slurm_user_by_somebody_else_told_by_the_app() {
    let profiles = format!("[people]\nada-lovelace = {{id = 12, slurm_users = ['games']}}\n{PROFILES}");
    let cluster = Cluster::start_as("", PEOPLE, &profiles).await;
    let spec = JobSpec { actor: Person::new("mallory", 66), ..job(&["people", "slurm-user=games"]) };
    cluster.is_ignored(spec, "mallory at GitHub may not run jobs as this Slurm user").await;
    // An end is seen whoever caused it.
    let (queued, delivery) = {
        cluster.app.github.fail(Endpoint::Run, Fault::Status(502));
        cluster.app.github.queue(JobSpec { actor: ada(12), ..job(&["people", "slurm-user=games"]) }).await
    };
    assert_eq!(delivery.unwrap().answer["decision"], "launched");
    cluster.app.github.set_visibility(REPOSITORY, "public");
    let ended = cluster.app.github.cancel_job(queued).await.unwrap();
    assert_eq!(ended.answer["decision"], "recorded", "{}", ended.answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn slurm_user_without_people() {
    let cluster = Cluster::start_as("", "", PROFILES).await;
    let spec = JobSpec { actor: ada(12), ..job(&["people", "slurm-user=games"]) };
    cluster.is_refused_by_the_gateway(spec, "a workflow names no Slurm user here").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn account_renamed() {
    let cluster = Cluster::start().await;
    let spec = JobSpec { actor: Person::new("hopper", 12), ..job(&["people", "slurm-user=games"]) };
    cluster.is_refused_by_the_gateway(spec, "it is called hopper now: change the entry").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocked_person() {
    let cluster = Cluster::start().await;
    let spec = JobSpec { actor: Person::new("Trudy", 14), ..usual() };
    cluster.is_refused_by_the_gateway(spec, "is blocked by people.block of the gateway").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_not_answering() {
    let cluster = Cluster::start_as("", "people: {command: [/bin/false, '{login}']}", PROFILES).await;
    let spec = JobSpec { actor: ada(12), ..job(&["people", "slurm-user=games"]) };
    let (_, delivery) = cluster.app.github.queue(spec).await;
    let answer = delivery.unwrap().answer;
    assert_eq!(
        (&answer["decision"], &answer["reason"]),
        (&Value::from("deferred"), &Value::from("the gateway failed (503)"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn repository_not_mapped() {
    let cluster = Cluster::start().await;
    cluster.app.github.add_repository("lab/site");
    let spec = JobSpec::new("lab/site", &["self-hosted", "slurm"]);
    cluster.is_refused_by_the_gateway(spec, "no Slurm user is mapped to https://github.com/lab/site").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repository_created_anew() {
    let cluster = Cluster::start().await;
    let path = cluster.folder.path().join("gateway.yaml");
    let pinned = std::fs::read_to_string(&path).unwrap().replacen(
        "slurmUser: daemon}",
        "slurmUser: daemon, repositoryId: 424242}",
        1,
    );
    std::fs::write(&path, pinned).unwrap();
    let reload = format!("{}/api/reload", cluster.gateway.url);
    let reloaded = cluster.app.client.post(reload).header("auth-token", GATEWAY_SECRET).send().await.unwrap();
    assert_eq!(reloaded.status(), 200);
    cluster.is_refused_by_the_gateway(usual(), "is repository 424242 for the gateway, and this is repository").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payload_without_visibility_of_a_public_repository() {
    let cluster = Cluster::start().await;
    cluster.app.github.set_visibility(REPOSITORY, "public");
    cluster.app.github.disturb_webhook(WebhookFault::Bare);
    cluster.denied(usual(), "the repository is public").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slurm_user_without_sender() {
    let cluster = Cluster::start().await;
    cluster.app.github.disturb_webhook(WebhookFault::Bare);
    let spec = JobSpec { actor: ada(12), ..job(&["people", "slurm-user=games"]) };
    cluster.is_ignored(spec, "the webhook does not say who started the job").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_environment() {
    let cluster = Cluster::start().await;
    let forged = [("GITHUB_REPOSITORY", SECOND), ("GITHUB_EVENT_NAME", "push"), ("GITHUB_ACTOR", "octocat")];
    let env = forged.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let spec = JobSpec { env, ..of_fork("pull_request", job(&["open"])) };
    cluster.refused_at_the_node(spec, "the policy (forks) does not allow it").await;
}
