//! `/api/v1/…`: the read model as JSON, and the operator's orders, described by `openapi.json` next to this file.

mod orders;

use gha_slurm_core::ports::{Platform, StoreError};
use gha_slurm_core::profile::Profiles;
use gha_slurm_core::settings::Settings;
use gha_slurm_edge::admin::{Right, authorize};
use gha_slurm_edge::answer::Answer;
use gha_slurm_edge::request::Request;
use gha_slurm_overview::{Arrival, Deliveries, Filter, JobDetail, State, StateFilter};
#[cfg(test)]
use gha_slurm_overview::{ClusterList, Figures, JobPage};
use gha_slurm_protocol::identity::{JobId, RepositoryName};
use gha_slurm_protocol::slurm_job::SlurmJob;
use serde::Serialize;
use serde_json::json;

#[cfg(test)]
use crate::explain::Explained;
use crate::explain::slurm::{Said, said_of};

/// The description of this API: an OpenAPI 3.1 document.
pub const OPENAPI: &str = include_str!("openapi.json");

/// How many jobs a page has by default.
const DEFAULT_LIMIT: usize = 50;

/// A route below `/api/v1/` that reads, for the holder of the read token or the admin token.
struct Route<P> {
    /// As the description has it; `{job}` stands for the last part of the path.
    path: &'static str,
    /// Given the request, and what stands in the place of `{job}`.
    answer: fn(&P, &Request, &str) -> Result<Answer, StoreError>,
    /// The schema of its answer 200.
    #[cfg(test)]
    schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
}

/// A route whose answer 200 is the JSON of a type.
macro_rules! route {
    ($path:literal, $answer:expr, $schema:ty) => {
        Route {
            path: $path,
            answer: $answer,
            #[cfg(test)]
            schema: |generator| generator.subschema_for::<$schema>(),
        }
    };
}

/// All routes. A new one stands here and in `openapi.json`, which a test checks against the types.
fn routes<P: Platform>() -> [Route<P>; 7] {
    [
        route!("jobs", |platform, request, _| jobs(platform, request), JobPage),
        route!("jobs/{job}", |platform, _, id| job(platform, id), JobAnswer),
        route!("explain", |platform, request, _| explain(platform, request), Explained),
        route!("summary", |platform, _, _| Ok(shown(json!(gha_slurm_overview::figures(platform)?))), Figures),
        route!("clusters", |platform, _, _| clusters(platform), ClusterList),
        route!("deliveries", |platform, _, _| deliveries(platform), DeliveryList),
        route!("profiles", |platform, _, _| Ok(profiles(platform)), ProfileList),
    ]
}

impl<P> Route<P> {
    /// What stands in the place of `{job}`, if the path is this route's.
    fn matches<'r>(&self, path: &'r str) -> Option<&'r str> {
        match self.path.strip_suffix("{job}") {
            Some(prefix) => path.strip_prefix(prefix),
            None => (path == self.path).then_some(""),
        }
    }
}

pub(crate) fn answer<P: Platform>(platform: &P, request: &Request) -> Answer {
    let path = request.path().trim_start_matches("/api/v1/");
    if let Some(order) = orders::Order::of(path) {
        return orders::answer(platform, request, order);
    }
    if request.method != "GET" {
        return Answer::method_not_allowed("GET");
    }
    // It says nothing about this installation.
    if path == "openapi.json" {
        return Answer::text("application/json", OPENAPI.to_owned());
    }
    if let Err(refusal) = authorize(platform, request, Right::Read) {
        return refusal.into();
    }
    let found = routes::<P>().into_iter().find_map(|route| Some((route.matches(path)?, route)));
    match found {
        Some((part, route)) => (route.answer)(platform, request, part).unwrap_or_else(Answer::from),
        None => Answer::error(404, "there is no such route: GET /api/v1/openapi.json lists them"),
    }
}

/// 200 with a body that neither the log nor a cache may keep.
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
        Err(_) => return wrong("before", "must be the \"next\" of an earlier page"),
    };
    let limit = match asked("limit").map(|limit| limit.parse()).transpose() {
        Ok(limit) => limit.unwrap_or(DEFAULT_LIMIT),
        Err(_) => return wrong("limit", "must be a number"),
    };
    let filter =
        Filter { state, repository: asked("repository"), profile: asked("profile"), cluster: asked("cluster") };
    Ok(shown(json!(gha_slurm_overview::jobs(platform, &filter, before, limit)?)))
}

fn job<P: Platform>(platform: &P, id: &str) -> Result<Answer, StoreError> {
    let Ok(id) = id.parse().map(JobId) else { return Ok(Answer::error(404, "the ID of a job is a number")) };
    Ok(match gha_slurm_overview::job(platform, id)? {
        Some(detail) => {
            let (said, slurm_problem) = match ask_slurm(platform, &detail) {
                Ok(said) => (said, None),
                Err(problem) => (None, Some(problem)),
            };
            let slurm_at = said.as_ref().map(|said| platform.unix_seconds().saturating_sub(said.age));
            let slurm = said.map(|said| said.slurm_job);
            shown(json!(JobAnswer { detail, slurm, slurm_at, slurm_problem }))
        }
        None => Answer::error(404, "no job with this ID is known; jobs are kept for three days"),
    })
}

/// One job with everything that happened to it, and what Slurm says about it now.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct JobAnswer {
    #[serde(flatten)]
    detail: JobDetail,
    /// What Slurm says about the Slurm job of its launch; null if there is none, or if the gateway could not be asked.
    slurm: Option<SlurmJob>,
    /// When that was told, as a Unix time in seconds: now, or by a gateway that fetches whenever it changed.
    slurm_at: Option<u64>,
    /// Why the gateway could not be asked.
    slurm_problem: Option<String>,
}

/// The newest deliveries, and how they arrive.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct DeliveryList {
    /// How deliveries arrive, and how far they have; null until GitHub's list was read once.
    arrival: Option<Arrival>,
    #[serde(flatten)]
    listed: Deliveries,
}

/// The profiles in the order in which they are tried.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ProfileList {
    profiles: Profiles,
}

/// Only while Slurm may know something; the gateway gets little time.
fn ask_slurm<P: Platform>(platform: &P, detail: &JobDetail) -> Result<Option<Said>, String> {
    match (detail.summary.state, detail.serving()) {
        (State::Pending | State::Starting | State::Running, Some(launch)) => said_of(platform, launch),
        _ => Ok(None),
    }
}

fn explain<P: Platform>(platform: &P, request: &Request) -> Result<Answer, StoreError> {
    let repository = request.query("repository").map(RepositoryName::try_from);
    let Some(Ok(repository)) = repository else {
        return Ok(Answer::error(400, "repository: must be OWNER/NAME"));
    };
    let Some(id) = request.query("id").and_then(|id| id.parse().ok()) else {
        return Ok(Answer::error(400, "id: must be the number of a job or a run"));
    };
    Ok(shown(json!(crate::explain::explain(platform, &repository, id)?)))
}

fn clusters<P: Platform>(platform: &P) -> Result<Answer, StoreError> {
    match gha_slurm_overview::named(platform) {
        Ok(named) => Ok(shown(json!(gha_slurm_overview::cluster_list(platform, named.as_ref())?))),
        Err(error) => Ok(error.into()),
    }
}

fn deliveries<P: Platform>(platform: &P) -> Result<Answer, StoreError> {
    let (arrival, listed) = (gha_slurm_overview::reading(platform)?, gha_slurm_overview::deliveries(platform)?);
    Ok(shown(json!(DeliveryList { arrival, listed })))
}

fn profiles<P: Platform>(platform: &P) -> Answer {
    match Settings(platform).profiles() {
        Ok(profiles) => shown(json!(ProfileList { profiles })),
        Err(error) => error.into(),
    }
}

#[cfg(test)]
mod tests;
