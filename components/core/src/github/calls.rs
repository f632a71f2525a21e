//! The calls of GitHub's REST API that are needed here, by the name of their page in GitHub Docs.

use gha_slurm_protocol::identity::{JobId, RepositoryName};
use gha_slurm_protocol::labels::LabelSet;
use gha_slurm_protocol::secret::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

use super::app_jwt::AppKey;
use super::client::{Caller, GitHub, GitHubError, parse};
use super::types::{
    AppState, At, ConvertedApp, DeliveryPage, ExpiringToken, HookConfig, InstallationToken, JitConfig, JobInfo,
    ListedRunner, Permission, RunInfo,
};
use crate::identity::{InstallationId, RepositoryId, RunId, RunnerId};
use crate::policy::Run;
use crate::ports::{Clock, Http, HttpMethod, Random, Store};
use crate::settings::SettingError;

/// The runner group of every repository; others are an organization's.
const DEFAULT_GROUP: u64 = 1;

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

    /// `POST /app/installations/{id}/access_tokens`, narrowed to one repository, by its id, and one permission.
    pub fn installation_token(
        &self,
        app_jwt: &Secret,
        installation: InstallationId,
        repository: RepositoryId,
        permission: Permission,
    ) -> Result<InstallationToken, GitHubError> {
        let (name, level) = match permission {
            Permission::AdministrationWrite => ("administration", "write"),
            Permission::ActionsRead => ("actions", "read"),
        };
        let narrowed = json!({"repository_ids": [repository.0], "permissions": {name: level}});
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

    /// `GET /app/hook/deliveries`, from `cursor` on.
    pub fn deliveries(&self, app_jwt: &Secret, cursor: Option<&str>) -> Result<DeliveryPage, GitHubError> {
        let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let path = format!("app/hook/deliveries?per_page=100{cursor}");
        let response = self.exchange(HttpMethod::Get, &path, &path, Caller::App(app_jwt), None)?;
        let next = response.header("link").and_then(next_cursor);
        Ok(DeliveryPage { deliveries: parse(&path, &response)?, next })
    }

    /// `POST /app/hook/deliveries/{id}/attempts`: GitHub sends it once more.
    pub fn redeliver(&self, app_jwt: &Secret, delivery: u64) -> Result<(), GitHubError> {
        let path = format!("app/hook/deliveries/{delivery}/attempts");
        self.exchange(HttpMethod::Post, &path, &path, Caller::App(app_jwt), None).map(|_| ())
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

    /// `POST /repos/{owner}/{repo}/actions/runners/registration-token`
    pub fn registration_token(
        &self,
        token: &InstallationToken,
        repository: At<'_>,
    ) -> Result<ExpiringToken, GitHubError> {
        let path = format!("{repository}/actions/runners/registration-token");
        self.call(HttpMethod::Post, &path, Caller::Installation(token), None)
    }

    /// `POST /repos/{owner}/{repo}/actions/runners/generate-jitconfig`: registers one ephemeral runner, and the secret
    /// that starts it. A name that is taken is refused.
    pub fn jit_config(
        &self,
        token: &InstallationToken,
        repository: At<'_>,
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
        let path = format!("{repository}/actions/runners/generate-jitconfig");
        let labels: Vec<&str> = labels.iter().collect();
        let asked = json!({"name": name, "runner_group_id": DEFAULT_GROUP, "labels": labels, "work_folder": "_work"});
        let made: Made = self.call(HttpMethod::Post, &path, Caller::Installation(token), Some(&asked))?;
        Ok(JitConfig { config: made.encoded_jit_config, runner: made.runner.map(|runner| runner.id) })
    }

    /// `GET /repos/{owner}/{repo}/actions/runners?name=…`: the runner of that name.
    pub(super) fn runner_named(
        &self,
        token: &InstallationToken,
        repository: At<'_>,
        name: &str,
    ) -> Result<Option<ListedRunner>, GitHubError> {
        #[derive(Deserialize)]
        struct Page {
            runners: Vec<ListedRunner>,
        }
        let path = format!("{repository}/actions/runners?per_page=100&name={name}");
        let page: Page = self.call(HttpMethod::Get, &path, Caller::Installation(token), None)?;
        // An older server takes no notice of `name`.
        Ok(page.runners.into_iter().find(|runner| runner.name.eq_ignore_ascii_case(name)))
    }

    /// `DELETE /repos/{owner}/{repo}/actions/runners/{id}`: GitHub refuses it while the runner runs a job.
    pub fn remove_runner(
        &self,
        token: &InstallationToken,
        repository: At<'_>,
        runner: RunnerId,
    ) -> Result<(), GitHubError> {
        let path = format!("{repository}/actions/runners/{}", runner.0);
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

/// The cursor of `<…?cursor=v1_123>; rel="next"`.
fn next_cursor(link: &str) -> Option<String> {
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    let url = next.split_once('<')?.1.split_once('>')?.0;
    let url = url::Url::parse(url).ok()?;
    let (_, cursor) = url.query_pairs().find(|(name, _)| name == "cursor")?;
    // It goes into a URL again.
    let plain = cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    (plain && cursor.len() <= 200).then(|| cursor.into_owned())
}
