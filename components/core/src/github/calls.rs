//! The calls of GitHub's REST API that are needed here, by the name of their page in GitHub Docs.

use gha_slurm_protocol::identity::{JobId, RepositoryName};
use gha_slurm_protocol::labels::LabelSet;
use gha_slurm_protocol::secret::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

use super::app_jwt::AppKey;
use super::client::{Caller, GitHub, GitHubError, parse};
use super::types::{
    AppState, At, CommitStatus, ConvertedApp, ExpiringToken, HookConfig, InstallationToken, JitConfig, JobInfo,
    ListedRunner, Permission, RunInfo, RunnerGroup,
};
use crate::identity::{CommitSha, InstallationId, RepositoryId, RunId, RunnerId};
use crate::policy::Run;
use crate::ports::{Clock, Http, HttpMethod, Random, Store};
use crate::settings::SettingError;

/// So many entries has a page of a list.
const PAGE: usize = 100;
/// More pages of runner groups are not read.
const MOST_PAGES: usize = 10;

/// The App's own calls.
impl<P: Http + Clock + Store + Random> GitHub<'_, P> {
    /// Proves the App's identity for the calls that need it; with its end, in seconds of Unix time.
    pub fn app_jwt(&self, key: &AppKey) -> Result<(Secret, u64), GitHubError> {
        key.sign(&self.settings.app_id, self.platform.unix_seconds())
            .ok_or_else(|| SettingError::new("github_private_key", "cannot sign").into())
    }

    /// `GET /repos/{owner}/{repo}/installation`: the App's installation for a repository.
    pub fn installation(&self, app_jwt: &Secret, repository: At<'_>) -> Result<InstallationId, GitHubError> {
        #[derive(Deserialize)]
        struct Installation {
            id: InstallationId,
        }
        let path = format!("{repository}/installation");
        Ok(self.call::<Installation>(HttpMethod::Get, &path, Caller::App(app_jwt), None)?.id)
    }

    /// `POST /app/installations/{id}/access_tokens`, narrowed to one permission, and to one repository by its id. An
    /// organization's permission is of no repository: that token reaches repositories by their metadata alone.
    pub fn installation_token(
        &self,
        app_jwt: &Secret,
        installation: InstallationId,
        repository: RepositoryId,
        permission: Permission,
    ) -> Result<InstallationToken, GitHubError> {
        let of_repository = |name: &str, level| json!({"repository_ids": [repository.0], "permissions": {name: level}});
        let narrowed = match permission {
            Permission::AdministrationWrite => of_repository("administration", "write"),
            Permission::ActionsRead => of_repository("actions", "read"),
            Permission::StatusesWrite => of_repository("statuses", "write"),
            Permission::OrganizationRunnersWrite => {
                json!({"permissions": {"organization_self_hosted_runners": "write", "metadata": "read"}})
            }
        };
        self.access_token(app_jwt, installation, &narrowed)
    }

    /// `GET /repos/{owner}/{repo}`: the id of the repository that has this name, or had it before it was renamed, and whether
    /// it is public, if GitHub says so.
    pub fn repository(
        &self,
        app_jwt: &Secret,
        installation: InstallationId,
        repository: &RepositoryName,
    ) -> Result<(RepositoryId, Option<bool>), GitHubError> {
        #[derive(Deserialize)]
        struct Repository {
            id: RepositoryId,
            private: Option<bool>,
        }
        // All that every App may read, of any repository of the installation.
        let token = self.access_token(app_jwt, installation, &json!({"permissions": {"metadata": "read"}}))?;
        let path = At::Name(repository).to_string();
        let found = self.call::<Repository>(HttpMethod::Get, &path, Caller::Installation(&token), None)?;
        Ok((found.id, found.private.map(|private| !private)))
    }

    fn access_token(
        &self,
        app_jwt: &Secret,
        installation: InstallationId,
        narrowed: &Value,
    ) -> Result<InstallationToken, GitHubError> {
        let path = format!("app/installations/{}/access_tokens", installation.0);
        let made: ExpiringToken = self.call(HttpMethod::Post, &path, Caller::App(app_jwt), Some(narrowed))?;
        let ExpiringToken { token, expires_at } = made;
        Ok(InstallationToken { token, expires_at, installation, made_at: self.platform.unix_seconds() })
    }

    /// `GET /app`: the App as it is registered.
    pub fn app(&self, app_jwt: &Secret) -> Result<AppState, GitHubError> {
        self.call(HttpMethod::Get, "app", Caller::App(app_jwt), None)
    }

    /// `GET /app/hook/config`
    pub fn hook_config(&self, app_jwt: &Secret) -> Result<HookConfig, GitHubError> {
        self.call(HttpMethod::Get, "app/hook/config", Caller::App(app_jwt), None)
    }

    /// `POST /app-manifests/{code}/conversions`: the App that was made of a manifest, once per code and within an hour.
    /// It needs no credential but the code.
    pub fn convert_manifest(&self, code: &str) -> Result<ConvertedApp, GitHubError> {
        let path = format!("app-manifests/{code}/conversions");
        // What went wrong must not show the code.
        let shown = "app-manifests/{code}/conversions";
        parse(shown, &self.exchange(HttpMethod::Post, &path, shown, Caller::Anonymous, None)?)
    }
}

/// Calls by an installation's token.
impl<P: Http + Clock + Store + Random> GitHub<'_, P> {
    /// `GET /repos/{owner}/{repo}`: whether the token reaches the repository.
    pub(super) fn reaches(&self, token: &InstallationToken, repository: At<'_>) -> Result<bool, GitHubError> {
        let path = repository.to_string();
        match self.exchange(HttpMethod::Get, &path, &path, Caller::Installation(token), None) {
            Ok(_) => Ok(true),
            Err(GitHubError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// `GET /repos/{owner}/{repo}`: the name that a repository has now, if the token reaches it.
    pub(super) fn name_of(
        &self,
        token: &InstallationToken,
        repository: At<'_>,
    ) -> Result<Option<RepositoryName>, GitHubError> {
        #[derive(Deserialize)]
        struct Repository {
            full_name: RepositoryName,
        }
        match self.call::<Repository>(HttpMethod::Get, &repository.to_string(), Caller::Installation(token), None) {
            Ok(found) => Ok(Some(found.full_name)),
            Err(GitHubError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `POST /repos/{owner}/{repo}/statuses/{sha}`
    pub(super) fn commit_status(
        &self,
        token: &InstallationToken,
        repository: At<'_>,
        sha: &CommitSha,
        status: &CommitStatus,
    ) -> Result<(), GitHubError> {
        let path = format!("{repository}/statuses/{sha}");
        let state = if status.pending { "pending" } else { "success" };
        let body = json!({"state": state, "context": status.context, "description": status.description});
        self.exchange(HttpMethod::Post, &path, &path, Caller::Installation(token), Some(&body)).map(drop)
    }

    /// `POST …/actions/runners/registration-token` of a repository or an organization.
    pub fn registration_token(&self, token: &InstallationToken, at: At<'_>) -> Result<ExpiringToken, GitHubError> {
        let path = format!("{at}/actions/runners/registration-token");
        self.call(HttpMethod::Post, &path, Caller::Installation(token), None)
    }

    /// `POST …/actions/runners/generate-jitconfig` of a repository or an organization: registers one ephemeral runner in a
    /// group, and the secret that starts it. A name that is taken is refused.
    pub fn jit_config(
        &self,
        token: &InstallationToken,
        at: At<'_>,
        group: u64,
        name: &str,
        labels: &LabelSet,
    ) -> Result<JitConfig, GitHubError> {
        #[derive(Deserialize)]
        struct Runner {
            id: RunnerId,
        }
        #[derive(Deserialize)]
        struct Made {
            encoded_jit_config: Secret,
            runner: Option<Runner>,
        }
        let path = format!("{at}/actions/runners/generate-jitconfig");
        let labels: Vec<&str> = labels.iter().collect();
        let asked = json!({"name": name, "runner_group_id": group, "labels": labels, "work_folder": "_work"});
        let made: Made = self.call(HttpMethod::Post, &path, Caller::Installation(token), Some(&asked))?;
        Ok(JitConfig { config: made.encoded_jit_config, runner: made.runner.map(|runner| runner.id) })
    }

    /// `GET /orgs/{org}/actions/runner-groups`: the groups of the organization that owns a repository; all of them, or
    /// those that the repository may use. An older server takes no notice of the difference.
    pub(super) fn runner_groups(
        &self,
        token: &InstallationToken,
        repository: &RepositoryName,
        visible: bool,
    ) -> Result<Vec<RunnerGroup>, GitHubError> {
        #[derive(Deserialize)]
        struct Page {
            runner_groups: Vec<RunnerGroup>,
        }
        let of = if visible { format!("&visible_to_repository={}", repository.name()) } else { String::new() };
        let mut all = Vec::new();
        for page in 1..=MOST_PAGES {
            let path = format!("{}/actions/runner-groups?per_page={PAGE}&page={page}{of}", At::OwnerOf(repository));
            let found: Page = self.call(HttpMethod::Get, &path, Caller::Installation(token), None)?;
            let last = found.runner_groups.len() < PAGE;
            all.extend(found.runner_groups);
            if last {
                break;
            }
        }
        Ok(all)
    }

    /// `GET …/actions/runners?name=…` of a repository or an organization: the runner of that name.
    pub(super) fn runner_named(
        &self,
        token: &InstallationToken,
        at: At<'_>,
        name: &str,
    ) -> Result<Option<ListedRunner>, GitHubError> {
        #[derive(Deserialize)]
        struct Page {
            runners: Vec<ListedRunner>,
        }
        let path = format!("{at}/actions/runners?per_page={PAGE}&name={name}");
        let page: Page = self.call(HttpMethod::Get, &path, Caller::Installation(token), None)?;
        // An older server takes no notice of `name`.
        Ok(page.runners.into_iter().find(|runner| runner.name.eq_ignore_ascii_case(name)))
    }

    /// `DELETE …/actions/runners/{id}` of a repository or an organization: GitHub refuses it while the runner runs a job.
    pub fn remove_runner(&self, token: &InstallationToken, at: At<'_>, runner: RunnerId) -> Result<(), GitHubError> {
        let path = format!("{at}/actions/runners/{}", runner.0);
        self.exchange(HttpMethod::Delete, &path, &path, Caller::Installation(token), None).map(|_| ())
    }

    /// `GET /repos/{owner}/{repo}/actions/jobs/{id}`
    pub fn job(&self, token: &InstallationToken, repository: At<'_>, job: JobId) -> Result<JobInfo, GitHubError> {
        self.call(HttpMethod::Get, &format!("{repository}/actions/jobs/{job}"), Caller::Installation(token), None)
    }

    /// `GET /repos/{owner}/{repo}/actions/runs/{id}`, or `…/attempts/{n}` where the run has another attempt by now.
    pub fn run(
        &self,
        token: &InstallationToken,
        repository: At<'_>,
        run: RunId,
        attempt: u64,
    ) -> Result<Run, GitHubError> {
        let path = format!("{repository}/actions/runs/{}", run.0);
        let get = |path: &str| self.call::<RunInfo>(HttpMethod::Get, path, Caller::Installation(token), None);
        let latest = get(&path)?;
        let of_attempt =
            if latest.run_attempt == attempt { latest } else { get(&format!("{path}/attempts/{attempt}"))? };
        Ok(of_attempt.into())
    }

    /// `GET /repos/{owner}/{repo}/actions/runs/{id}/jobs`: the first hundred jobs of a run's last attempt.
    pub fn run_jobs(
        &self,
        token: &InstallationToken,
        repository: At<'_>,
        run: u64,
    ) -> Result<Vec<JobInfo>, GitHubError> {
        #[derive(Deserialize)]
        struct Page {
            jobs: Vec<JobInfo>,
        }
        let path = format!("{repository}/actions/runs/{run}/jobs?per_page=100");
        Ok(self.call::<Page>(HttpMethod::Get, &path, Caller::Installation(token), None)?.jobs)
    }
}
