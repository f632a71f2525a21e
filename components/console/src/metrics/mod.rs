//! `GET /metrics`. It needs the admin token like every other route, unless the variable `open_metrics` is `true`, for a
//! Prometheus in the same network.

mod exposition;
mod families;
#[cfg(test)]
mod tests;

use gha_slurm_core::ports::Platform;
use gha_slurm_core::settings::Settings;
use gha_slurm_edge::admin::authorize;
use gha_slurm_edge::answer::Answer;
use gha_slurm_edge::request::Request;

use self::exposition::{CONTENT_TYPE, text};

pub(crate) fn answer<P: Platform>(platform: &P, request: &Request) -> Answer {
    if request.method != "GET" {
        return Answer::method_not_allowed("GET");
    }
    let open = match Settings(platform).open_metrics() {
        Ok(open) => open,
        Err(error) => return error.into(),
    };
    if !open && let Err(refusal) = authorize(platform, request) {
        return refusal.into();
    }
    match text(platform) {
        Ok(text) => Answer::text(CONTENT_TYPE, text),
        Err(error) => error.into(),
    }
}
