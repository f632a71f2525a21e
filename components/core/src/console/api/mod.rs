//! `GET /api/v1/…`: the read model as JSON, described by `openapi.json` beside this file.

use serde_json::json;

use super::authorize;
use crate::answer::Answer;
use crate::identity::JobId;
use crate::overview::{self, Filter, StateFilter};
use crate::ports::{Platform, StoreError};
use crate::request::Request;
use crate::settings::Settings;

/// The description of this API: an OpenAPI 3.1 document.
pub const OPENAPI: &str = include_str!("openapi.json");

/// Jobs of a page, unless the request says otherwise.
const DEFAULT_LIMIT: usize = 50;

pub(super) fn answer<P: Platform>(platform: &P, request: &Request) -> Answer {
    if request.method != "GET" {
        return Answer::method_not_allowed("GET");
    }
    let path = request.path().trim_start_matches("/api/v1/");
    // It says nothing of this installation.
    if path == "openapi.json" {
        return Answer::text("application/json", OPENAPI.to_owned());
    }
    if let Err(refusal) = authorize(platform, request) {
        return refusal.into();
    }
    let answered = match path.split_once('/') {
        None if path == "jobs" => jobs(platform, request),
        Some(("jobs", id)) => job(platform, id),
        None if path == "summary" => overview::figures(platform).map(|figures| shown(json!(figures))),
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
    Ok(shown(json!(overview::jobs(platform, &filter, before, limit)?)))
}

fn job<P: Platform>(platform: &P, id: &str) -> Result<Answer, StoreError> {
    let Ok(id) = id.parse().map(JobId) else { return Ok(Answer::error(404, "a job's id is a number")) };
    Ok(match overview::job(platform, id)? {
        Some(detail) => shown(json!(detail)),
        None => Answer::error(404, "nothing is known of this job (any more)"),
    })
}

fn profiles<P: Platform>(platform: &P) -> Answer {
    match Settings(platform).profiles() {
        Ok(profiles) => shown(json!({ "profiles": profiles })),
        Err(error) => error.into(),
    }
}
