//! This GitHub's HTTP: the REST API, the pages that register and install an App, and what runners speak.

mod answer;
mod app;
mod caller;
mod conditional;
mod groups;
mod hook;
mod jobs;
mod manifest;
mod origin;
mod repository;
mod request;
mod runner_program;
mod runners;
mod runs;
mod statuses;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};

use self::answer::Refusal;
use super::state::Shared;

const BY_NAME: &str = "/repos/{owner}/{repo}";
const BY_ID: &str = "/repositories/{repository_id}";
const ORGANIZATION: &str = "/orgs/{org}";

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let api = Router::new()
        .route("/app", get(app::show))
        .route("/app/hook/config", get(app::hook_config))
        .route("/app/hook/deliveries", get(hook::list))
        .route("/app/hook/deliveries/{id}", get(hook::show))
        .route("/app/hook/deliveries/{id}/attempts", post(hook::redeliver))
        .route("/app/installations/{id}/access_tokens", post(token::access_tokens))
        .route("/app-manifests/{code}/conversions", post(manifest::convert));
    let api = under(api, &[BY_NAME, BY_ID], "", &get(repository::show));
    let api = under(api, &[BY_NAME, BY_ID], "/installation", &get(token::installation));
    let api = under(api, &[BY_NAME, BY_ID], "/actions/jobs/{id}", &get(jobs::show));
    let api = under(api, &[BY_NAME, BY_ID], "/actions/runs/{id}/jobs", &get(jobs::of_run));
    let api = under(api, &[BY_NAME, BY_ID], "/actions/runs/{id}", &get(runs::show));
    let api = under(api, &[BY_NAME, BY_ID], "/actions/runs/{id}/attempts/{attempt}", &get(runs::show));
    let api = under(api, &[BY_NAME, BY_ID], "/statuses/{sha}", &post(statuses::create));
    let api = under(api, &[BY_NAME, BY_ID], "/commits/{sha}/statuses", &get(statuses::list));
    let api = under(api, &[ORGANIZATION], "/actions/runner-groups", &get(groups::list));
    let api = under(api, &[ORGANIZATION], "/actions/runner-groups/{id}", &get(groups::show));
    let api = [
        ("", get(runners::list)),
        ("/{id}", get(runners::show).delete(runners::remove)),
        ("/registration-token", post(runners::registration_token)),
        ("/generate-jitconfig", post(runners::jit_config)),
    ]
    .iter()
    .fold(api, |api, (rest, route)| {
        under(api, &[BY_NAME, BY_ID, ORGANIZATION], &format!("/actions/runners{rest}"), route)
    });
    let api = api
        .fallback(async || Refusal::not_found())
        .layer(from_fn_with_state(Arc::clone(&shared), request::every_request));
    Router::new()
        .route("/_runner/register", post(runner_program::register))
        .route("/_runner/start", post(runner_program::start))
        .route("/_runner/{id}/job", get(runner_program::next_job))
        .route("/_runner/{id}/context", get(runner_program::context))
        .route("/_runner/{id}/event", get(runner_program::event))
        .route("/_runner/{id}/env", get(runner_program::env))
        .route("/_runner/{id}/log", post(runner_program::log))
        .route("/_runner/{id}/done", post(runner_program::done))
        .route("/_runner/{id}/remove", post(runner_program::remove))
        .route("/settings/apps/new", post(manifest::personal))
        .route("/organizations/{org}/settings/apps/new", post(manifest::organization))
        .route("/settings/apps/manifest", post(manifest::create))
        .route("/apps/{slug}/installations/new", get(manifest::installation_page).post(manifest::install))
        .merge(api)
        .with_state(shared)
}

/// A route under each of the owners.
fn under(
    router: Router<Arc<Shared>>,
    owners: &[&str],
    rest: &str,
    route: &MethodRouter<Arc<Shared>>,
) -> Router<Arc<Shared>> {
    owners.iter().fold(router, |router, owner| router.route(&format!("{owner}{rest}"), route.clone()))
}
