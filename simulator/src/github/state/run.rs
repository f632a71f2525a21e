//! Runs of workflows: what they are of, and whose they are.

use super::account::Person;
use super::commit::{SHA, commit_of};

/// A run of a workflow.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) repository_id: u64,
    pub(crate) number: u64,
    pub(crate) event: String,
    /// The branch that the event is about; of a pull request, its head.
    pub(crate) branch: String,
    /// The branch that a pull request goes to, and the one that events without a branch run on.
    pub(crate) base: String,
    pub(crate) head: Head,
    /// The commit that the event is about; of a pull request, its head.
    pub(crate) head_sha: String,
    /// The file; GitHub shows some with the reference behind `@`.
    pub(crate) workflow: String,
    pub(crate) actor: Person,
    /// Who started each attempt, from the first on.
    pub(crate) triggering_actors: Vec<Person>,
    /// The workflow's own `env:`.
    pub(crate) env: Vec<(String, String)>,
    /// The reusable workflows that it calls.
    pub(crate) referenced: Vec<String>,
    pub(crate) created_at: u64,
}

/// Where a run's code is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// The run's own repository.
    Own,
    /// The repository of this id, a fork.
    Fork(u64),
    /// A fork that was deleted since.
    Deleted,
}

/// The kinds of events, by what GitHub makes of their branches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Runs what a pull request would merge to.
    PullRequest,
    /// Runs the base's workflow, for a pull request.
    PullRequestTarget,
    /// Runs on the default branch, because of another run.
    WorkflowRun,
    /// Runs on the default branch.
    OnDefaultBranch,
    /// Runs on the branch that it is about.
    OnBranch,
}

impl Run {
    pub(crate) fn kind(&self) -> Kind {
        match self.event.as_str() {
            "pull_request" | "pull_request_review" | "pull_request_review_comment" => Kind::PullRequest,
            "pull_request_target" => Kind::PullRequestTarget,
            "workflow_run" => Kind::WorkflowRun,
            "schedule" | "issue_comment" | "issues" => Kind::OnDefaultBranch,
            _ => Kind::OnBranch,
        }
    }

    /// `GITHUB_REF`
    pub(crate) fn reference(&self) -> String {
        match self.kind() {
            Kind::PullRequest => format!("refs/pull/{}/merge", self.number),
            Kind::OnBranch => format!("refs/heads/{}", self.branch),
            _ => format!("refs/heads/{}", self.base),
        }
    }

    /// What the API says that it is of, as branch and repository. A run because of another run is of the default branch,
    /// and does not tell of a fork.
    pub(crate) fn shown_head(&self) -> (&str, Head) {
        match self.kind() {
            Kind::WorkflowRun | Kind::OnDefaultBranch => (&self.base, Head::Own),
            _ => (&self.branch, self.head),
        }
    }

    /// What the API says that it is of, as a commit.
    pub(crate) fn shown_sha(&self) -> &str {
        match self.kind() {
            Kind::WorkflowRun | Kind::OnDefaultBranch => SHA,
            _ => &self.head_sha,
        }
    }

    /// `GITHUB_SHA`: what is checked out. Of a pull request that is a merge commit, which nothing else names.
    pub(crate) fn checked_out(&self) -> String {
        match self.kind() {
            Kind::PullRequest => commit_of(&self.head_sha, &self.reference()),
            Kind::OnBranch => self.head_sha.clone(),
            _ => SHA.to_owned(),
        }
    }

    /// The workflow's file without a reference.
    pub(crate) fn file(&self) -> &str {
        self.workflow.split('@').next().unwrap_or_default()
    }

    /// How often it ran so far.
    pub(crate) fn attempts(&self) -> u64 {
        self.triggering_actors.len() as u64
    }

    /// Who started that attempt.
    pub(crate) fn triggering_actor(&self, attempt: u64) -> &Person {
        let index = usize::try_from(attempt).unwrap_or_default().saturating_sub(1);
        self.triggering_actors.get(index).unwrap_or(&self.actor)
    }
}

/// A job to queue, with all that decides whose it is. Begin with [`JobSpec::new`].
#[derive(Debug, Clone)]
pub struct JobSpec {
    /// `owner/name`
    pub repository: String,
    /// What its `runs-on` asks for.
    pub labels: Vec<String>,
    /// What started the workflow: `push`, `pull_request`, `workflow_run`, ….
    pub event: String,
    /// The branch that the event is about; of a pull request, its head.
    pub branch: String,
    /// The branch that a pull request goes to; the default branch.
    pub base: String,
    /// The fork that the code is from, `owner/name`. It is made when there is none of that name.
    pub fork: Option<String>,
    /// Whether that fork is gone: GitHub then says `null`.
    pub fork_deleted: bool,
    /// The commit that the event is about, 40 hexadecimal digits; of a pull request, its head. `None`: the branch's.
    pub sha: Option<String>,
    /// The workflow's file. `path@ref` is shown as that by the API.
    pub workflow: String,
    /// Who is behind the event.
    pub actor: Person,
    /// Who started this attempt; `None`: the actor.
    pub triggering_actor: Option<Person>,
    /// Who the webhook names; `None`: who started this attempt.
    pub sender: Option<Person>,
    /// Further jobs of a run have its id; the run then decides everything but the labels and the sender.
    pub run: Option<u64>,
    /// The workflow's own `env:`, which its steps have.
    pub env: Vec<(String, String)>,
    /// The reusable workflows that it calls, however deep: `octo/lib/.github/workflows/x.yml@v1`.
    pub referenced: Vec<String>,
    /// The environment whose approval it waits for.
    pub environment: Option<String>,
}

impl JobSpec {
    /// A job of a push to `main` by octocat.
    pub fn new(repository: &str, labels: &[&str]) -> Self {
        Self {
            repository: repository.to_owned(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            event: "push".to_owned(),
            branch: "main".to_owned(),
            base: "main".to_owned(),
            fork: None,
            fork_deleted: false,
            sha: None,
            workflow: ".github/workflows/ci.yml".to_owned(),
            actor: Person::default(),
            triggering_actor: None,
            sender: None,
            run: None,
            env: Vec::new(),
            referenced: Vec::new(),
            environment: None,
        }
    }
}
