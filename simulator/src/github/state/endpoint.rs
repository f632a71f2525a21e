//! The endpoints of the REST API by name, and how often each was called.

/// An endpoint whose calls are counted and can be told to fail. One of a repository is the same under `/repos/{owner}/{repo}` and
/// `/repositories/{id}`; one of runners also under `/orgs/{org}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    /// `POST /repos/{owner}/{repo}/statuses/{sha}`
    CommitStatus,
    /// `GET /repos/{owner}/{repo}/commits/{sha}/statuses`
    CommitStatuses,
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

/// The calls of an endpoint so far, refused ones included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// All of them.
    pub total: u64,
    /// Those that were answered 304, which do not count towards the primary rate limit.
    pub not_modified: u64,
}
