//! What shows the application to people and programs, by its routes.

mod access;
pub mod api;
mod installations;
mod metrics;
mod pages;

pub use self::access::{Refusal, authorize};

use crate::answer::Answer;
use crate::ports::Platform;
use crate::request::Request;

/// Nothing here takes a larger body.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// Answers one request.
pub fn answer<P: Platform>(platform: &P, request: &Request) -> Answer {
    match request.path() {
        "/gha/installations" => installations::answer(platform, request),
        "/metrics" => metrics::answer(platform, request),
        path if path.starts_with("/api/v1/") => api::answer(platform, request),
        path if pages::serves(path) => pages::answer(platform, request),
        _ => Answer::error(404, "there is nothing here"),
    }
}
