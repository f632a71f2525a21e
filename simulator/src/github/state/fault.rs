//! What goes wrong, once each: calls of an endpoint, and webhooks on their way.

use std::time::Duration;

/// An endpoint that can be told to fail. One of a repository is the same under `/repos/{owner}/{repo}` and
/// `/repositories/{id}`; one of runners also under `/orgs/{org}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /app/installations/{id}/access_tokens`
    AccessTokens,
    /// `GET /repos/{owner}/{repo}/installation`
    Installation,
    /// `POST /repos/{owner}/{repo}/actions/runners/registration-token`
    RegistrationToken,
    /// `POST /repos/{owner}/{repo}/actions/runners/generate-jitconfig`
    JitConfig,
    /// `GET /repos/{owner}/{repo}/actions/runners`
    Runners,
    /// `DELETE /repos/{owner}/{repo}/actions/runners/{id}`
    RemoveRunner,
    /// `GET /repos/{owner}/{repo}/actions/jobs/{id}`
    Job,
    /// `GET /repos/{owner}/{repo}/actions/runs/{id}`, also of an attempt
    Run,
    /// `GET /orgs/{org}/actions/runner-groups`, also one of them
    RunnerGroups,
    /// `GET /app/hook/deliveries`
    Deliveries,
    /// `GET /app/hook/deliveries/{id}`
    Delivery,
    /// `POST /app/hook/deliveries/{id}/attempts`
    Redelivery,
    /// `POST /app-manifests/{code}/conversions`
    Conversion,
    /// `GET /app`
    App,
    /// `GET /app/hook/config`
    HookConfig,
}

/// How an endpoint fails.
#[derive(Debug, Clone)]
pub enum Fault {
    /// With this status and a GitHub error body.
    Status(u16),
    /// With this status and these words.
    Refused(u16, &'static str),
    /// 403 with the limit used up, and the time when it is reset.
    PrimaryRateLimit {
        /// Seconds from now.
        reset_in: u64,
    },
    /// 403 with `retry-after`.
    SecondaryRateLimit {
        /// Seconds.
        retry_after: u64,
    },
    /// 201 with a body that is not JSON.
    Garbage,
    /// No answer for this long.
    Stall(Duration),
}

/// How a webhook goes wrong on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookFault {
    /// It is never sent, and no delivery tells of it.
    Lost,
    /// It does not reach the app: a failed delivery.
    Unreachable,
    /// It reaches the app this much later.
    Late(Duration),
    /// It does not name the job's runner: `runner_name` and its companions are null.
    RunnerNull,
    /// It does not name the job's runner: `runner_name` is empty, and `runner_id` is 0.
    RunnerEmpty,
    /// It has neither the repository's `visibility` nor a `sender`.
    Bare,
}
