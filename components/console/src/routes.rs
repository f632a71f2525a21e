//! The console's routes.

use gha_slurm_core::ports::Platform;
use gha_slurm_edge::answer::{Answer, Level};
use gha_slurm_edge::request::Request;

use crate::{api, installations, metrics, pages};

/// No route here takes a larger body.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// Answers one request.
pub fn answer<P: Platform>(platform: &P, request: &Request) -> Answer {
    let answer = match request.path() {
        "/gha/installations" => installations::answer(platform, request),
        "/metrics" => metrics::answer(platform, request),
        path if path.starts_with("/api/v1/") => api::answer(platform, request),
        path if pages::serves(path) => pages::answer(platform, request),
        _ => Answer::error(404, "nothing is served at this path"),
    };
    // Pages refresh every few seconds, and Prometheus scrapes.
    let read_only = matches!(request.method.as_str(), "GET" | "HEAD") && answer.status < 400;
    if read_only && answer.level.is_none() { answer.at(Level::Debug) } else { answer }
}
