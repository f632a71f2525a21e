//! `GET /metrics`. It takes the admin token, as everything that shows, unless the variable `open_metrics` is `true`: a
//! Prometheus in the same network needs none then.

use super::authorize;
use crate::answer::Answer;
use crate::metrics::{CONTENT_TYPE, text};
use crate::ports::Platform;
use crate::request::Request;
use crate::settings::Settings;

pub(super) fn answer<P: Platform>(platform: &P, request: &Request) -> Answer {
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
