//! `GET /gha/installations?url=…`: whether the App is installed on a repository, answered as the original app does: `true`
//! or `false`. Unlike there, only the holder of the admin token may ask, because the answer reveals private repositories.

use std::time::Duration;

use gha_slurm_core::github::client::{At, GitHub, GitHubError};
use gha_slurm_core::github::credentials::Credentials;
use gha_slurm_core::ports::Platform;
use gha_slurm_core::settings::Settings;
use gha_slurm_edge::admin::authorize;
use gha_slurm_edge::answer::Answer;
use gha_slurm_edge::request::Request;
use gha_slurm_protocol::identity::RepositoryName;
use serde_json::json;
use url::Url;

const BUDGET: Duration = Duration::from_secs(10);

pub(crate) fn answer<P: Platform>(platform: &P, request: &Request) -> Answer {
    if request.method != "GET" {
        return Answer::method_not_allowed("GET");
    }
    if let Err(refusal) = authorize(platform, request) {
        return refusal.into();
    }
    // 403 is what the original answers.
    let Some(url) = request.query("url") else {
        return Answer::error(403, "url is missing: give the URL of the repository's page");
    };
    let Some(repository) = repository_of(&url) else {
        return Answer::error(400, "url is not the URL of a repository's page, such as https://github.com/owner/name");
    };
    let installed = Settings(platform).github().map_err(GitHubError::from).and_then(|settings| {
        let github = GitHub::new(platform, settings, BUDGET);
        let jwt = Credentials::new(platform, &github).app_jwt()?;
        match github.installation(&jwt, At::Name(&repository)) {
            Ok(_) => Ok(true),
            Err(GitHubError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    });
    match installed {
        Ok(installed) => Answer::new(200, json!(installed)),
        Err(GitHubError::Setting(error)) => error.into(),
        Err(error) => Answer::try_again(30, "GitHub cannot answer now").with_detail(error.to_string()),
    }
}

/// `owner/name` of a repository's page.
fn repository_of(url: &str) -> Option<RepositoryName> {
    let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "https" | "http"))?;
    let path = url.path().trim_matches('/');
    RepositoryName::try_from(path.strip_suffix(".git").unwrap_or(path).to_owned()).ok()
}
