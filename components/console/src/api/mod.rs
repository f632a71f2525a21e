//! `/api/v1/…`: the read model as JSON, and the operator's orders, described by `openapi.json` beside this file.

mod orders;

use gha_slurm_core::ports::{Platform, StoreError};
use gha_slurm_core::settings::Settings;
use gha_slurm_edge::admin::{Right, authorize};
use gha_slurm_edge::answer::Answer;
use gha_slurm_edge::request::Request;
use gha_slurm_overview::{Filter, JobDetail, State, StateFilter};
use gha_slurm_protocol::identity::{JobId, RepositoryName};
use gha_slurm_protocol::slurm_job::SlurmJob;
use serde::Serialize;
use serde_json::json;

use crate::explain::known::ask_gateway;

/// The description of this API: an OpenAPI 3.1 document.
pub const OPENAPI: &str = include_str!("openapi.json");

/// Jobs of a page, unless the request says otherwise.
const DEFAULT_LIMIT: usize = 50;

pub(crate) fn answer<P: Platform>(platform: &P, request: &Request) -> Answer {
    let path = request.path().trim_start_matches("/api/v1/");
    if let Some(order) = orders::Order::of(path) {
        return orders::answer(platform, request, order);
    }
    if request.method != "GET" {
        return Answer::method_not_allowed("GET");
    }
    // It says nothing of this installation.
    if path == "openapi.json" {
        return Answer::text("application/json", OPENAPI.to_owned());
    }
    if let Err(refusal) = authorize(platform, request, Right::Read) {
        return refusal.into();
    }
    let answered = match path.split_once('/') {
        None if path == "jobs" => jobs(platform, request),
        Some(("jobs", id)) => job(platform, id),
        None if path == "explain" => explain(platform, request),
        None if path == "summary" => gha_slurm_overview::figures(platform).map(|figures| shown(json!(figures))),
        None if path == "deliveries" => {
            gha_slurm_overview::deliveries(platform).map(|deliveries| shown(json!(deliveries)))
        }
        None if path == "profiles" => return profiles(platform),
        _ => return Answer::error(404, "there is no such route; GET /api/v1/openapi.json tells which there are"),
    };
    answered.unwrap_or_else(Answer::from)
}

/// 200 with a body that is not for the log, nor for any cache.
fn shown(body: serde_json::Value) -> Answer {
    Answer::confidential(200, body, json!({}))
}

fn jobs<P: Platform>(platform: &P, request: &Request) -> Result<Answer, StoreError> {
    let asked = |name: &str| request.query(name).filter(|value| !value.is_empty());
    let wrong = |name: &str, problem: &str| Ok(Answer::error(400, format!("{name}: {problem}")));
    let state = match asked("state").map(|state| state.parse::<StateFilter>()).transpose() {
        Ok(state) => state,
        Err(problem) => return wrong("state", &problem),
    };
    let before = match asked("before").map(|place| place.parse()).transpose() {
        Ok(before) => before,
        Err(_) => return wrong("before", "must be the next of an earlier page"),
    };
    let limit = match asked("limit").map(|limit| limit.parse()).transpose() {
        Ok(limit) => limit.unwrap_or(DEFAULT_LIMIT),
        Err(_) => return wrong("limit", "must be a number"),
    };
    let filter = Filter { state, repository: asked("repository"), profile: asked("profile") };
    Ok(shown(json!(gha_slurm_overview::jobs(platform, &filter, before, limit)?)))
}

fn job<P: Platform>(platform: &P, id: &str) -> Result<Answer, StoreError> {
    let Ok(id) = id.parse().map(JobId) else { return Ok(Answer::error(404, "a job's id is a number")) };
    Ok(match gha_slurm_overview::job(platform, id)? {
        Some(detail) => {
            let (slurm, slurm_problem) = match ask_slurm(platform, &detail) {
                Ok(slurm) => (slurm, None),
                Err(problem) => (None, Some(problem)),
            };
            shown(json!(Shown { detail, slurm, slurm_problem }))
        }
        None => Answer::error(404, "nothing is known of this job (any more)"),
    })
}

/// A job with what Slurm says of it now.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    detail: JobDetail,
    slurm: Option<SlurmJob>,
    slurm_problem: Option<String>,
}

/// Only while Slurm can have something to say; the gateway gets little time.
fn ask_slurm<P: Platform>(platform: &P, detail: &JobDetail) -> Result<Option<SlurmJob>, String> {
    match (detail.summary.state, detail.summary.launch) {
        (State::Pending | State::Starting | State::Running, Some(launch)) => ask_gateway(platform, launch),
        _ => Ok(None),
    }
}

fn explain<P: Platform>(platform: &P, request: &Request) -> Result<Answer, StoreError> {
    let repository = request.query("repository").map(RepositoryName::try_from);
    let Some(Ok(repository)) = repository else {
        return Ok(Answer::error(400, "repository: must be OWNER/NAME"));
    };
    let Some(id) = request.query("id").and_then(|id| id.parse().ok()) else {
        return Ok(Answer::error(400, "id: must be the number of a job or of a run"));
    };
    Ok(shown(json!(crate::explain::explain(platform, &repository, id)?)))
}

fn profiles<P: Platform>(platform: &P) -> Answer {
    match Settings(platform).profiles() {
        Ok(profiles) => shown(json!({ "profiles": profiles })),
        Err(error) => error.into(),
    }
}

#[cfg(test)]
mod tests;
