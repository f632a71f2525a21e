//! The key schema: every key of the store is made here and nowhere else.
//!
//! [`SCHEMA`] is the same list as patterns. docs/store.md is checked against it, and the store in memory that tests use
//! refuses a key that no pattern knows.

use gha_slurm_protocol::identity::{ClusterName, JobId, LaunchId};

use super::Bucket;
use crate::identity::{RepositoryId, RunId};

/// First part of every key, because the store may be shared with other applications. The number is the schema's version.
const PREFIX: &str = "gha-slurm/1";

/// Every key without [`PREFIX`]. A part in capitals stands for any text without a slash; `ATTEMPTS` for what [`attempt`]
/// and its siblings make.
pub const SCHEMA: &[&str] = &[
    "job/J/requested",
    "job/J/started",
    "job/J/finished",
    "job/J/held",
    "job/J/released",
    "job/J/confirmed",
    "job/J/asked",
    "job/J/denied",
    "job/J/told",
    "launch/L/cluster",
    "launch/L/submit/ATTEMPTS",
    "launch/L/offered",
    "launch/L/lease/ATTEMPTS",
    "launch/L/leased",
    "launch/L/launched",
    "launch/L/redeem/ATTEMPTS",
    "launch/L/commit",
    "launch/L/redeemed",
    "launch/L/replayed",
    "launch/L/replayed-last",
    "launch/L/runner",
    "launch/L/took",
    "launch/L/lost",
    "launch/L/withdrawn",
    "launch/L/cancel/ATTEMPTS",
    "launch/L/cancelling",
    "launch/L/cancelled",
    "launch/L/asked",
    "launch/L/slurm",
    "launch/L/removing",
    "launch/L/removed",
    "launch/L/ended",
    "launch/L/refused",
    "launch/L/ticket",
    "run/R/A",
    "cluster/CLUSTER/orders",
    "cluster/CLUSTER/order/N",
    "cluster/CLUSTER/last",
    "cluster/CLUSTER/low",
    "cluster/CLUSTER/cancels",
    "cluster/CLUSTER/cancel/N",
    "cluster/CLUSTER/last-cancel",
    "cluster/CLUSTER/low-cancel",
    "cluster/CLUSTER/heard",
    "clusters",
    "line/PROFILE",
    "line/PROFILE/T",
    "line/PROFILE/T/met",
    "line/PROFILE/T/refused",
    "line/PROFILE/low",
    "journal/B",
    "journal/B/N",
    "journal/B/settled",
    "journal/B/closed",
    "journal/B/digest/C",
    "tick/tally",
    "tick/place",
    "tick/deliveries",
    "tick/poll",
    "tick/cleaned",
    "count/METRIC/OUTCOME",
    "overdue/count",
    "overdue/N",
    "overdue/N/due",
    "overdue/last",
    "overdue/low",
    "overdue/place",
    "delivery/ID/repeat/ATTEMPTS",
    "delivery/ID/repeated",
    "delivery/GUID/count",
    "github/deliveries",
    "github/reading",
    "github/limited-until/SCOPE",
    "github/app",
    "github/app/private-key",
    "github/app/webhook-secret",
    "github/app/keep/ATTEMPTS",
    "cache/app-jwt",
    "cache/KIND/REPOSITORY",
    "runner-groups/REPOSITORY",
    "session/key",
    "session/ended/P",
    "login/WHO/P/window",
    "login/WHO/P/wrong",
    "login/WHO/P/closed",
    "login/seen/P",
    "setup/link/H/use",
    "setup/link/H/used-at",
    "setup/link/H/opened",
    "setup/session/H",
    "setup/state/H",
    "setup/state/H/exchange/ATTEMPTS",
    "doctor/R",
    "key/current/CLUSTER",
    "key/DAY",
    "key/DAY/N",
    "key/cleaned",
    "stop/all",
    "stop/OWNER/NAME",
];

/// Whether a key is one of the schema.
pub fn is_known(key: &str) -> bool {
    let Some(key) = key.strip_prefix(PREFIX).and_then(|key| key.strip_prefix('/')) else { return false };
    SCHEMA.iter().any(|pattern| match pattern.strip_suffix("/ATTEMPTS") {
        Some(base) => {
            let parts = base.split('/').count();
            let mut given = key.splitn(parts + 1, '/');
            let head: Vec<&str> = given.by_ref().take(parts).collect();
            matches(base, &head.join("/")) && given.next().is_some_and(is_attempt)
        }
        None => matches(pattern, key),
    })
}

fn matches(pattern: &str, key: &str) -> bool {
    let placeholder = |part: &str| part.bytes().all(|byte| byte.is_ascii_uppercase());
    pattern.split('/').count() == key.split('/').count()
        && pattern.split('/').zip(key.split('/')).all(
            |(part, given)| {
                if placeholder(part) { !given.is_empty() } else { part == given }
            },
        )
}

/// `next`, `K`, `K/failed` or `K/met`.
fn is_attempt(rest: &str) -> bool {
    let (number, end) = rest.split_once('/').unwrap_or((rest, "met"));
    rest == "next" || (number.parse::<u64>().is_ok() && matches!(end, "failed" | "met"))
}

/// A fact or a hint of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobFact {
    /// It was queued.
    Requested,
    /// A runner took it.
    Started,
    /// It came to its end.
    Finished,
    /// GitHub holds it back until its deployment is approved.
    Held,
    /// GitHub queued it again after that.
    Released,
    /// GitHub confirmed that this old job is still queued.
    Confirmed,
    /// When GitHub was last asked about it.
    Asked,
    /// The rules of its profile do not allow its run.
    Denied,
    /// What its commit's author was told last.
    Told,
}

impl JobFact {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Requested,
        Self::Started,
        Self::Finished,
        Self::Held,
        Self::Released,
        Self::Confirmed,
        Self::Asked,
        Self::Denied,
        Self::Told,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Started => "started",
            Self::Finished => "finished",
            Self::Held => "held",
            Self::Released => "released",
            Self::Confirmed => "confirmed",
            Self::Asked => "asked",
            Self::Denied => "denied",
            Self::Told => "told",
        }
    }
}

/// A fact, a claim or a hint of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaunchFact {
    /// The cluster that it is for, where its job may go to several.
    Cluster,
    /// It waits for a gateway that fetches.
    Offered,
    /// Which gateway has its lease.
    Leased,
    /// What Slurm said of its Slurm job last.
    Slurm,
    /// The gateway took it.
    Launched,
    /// The right to hand out its credential.
    Commit,
    /// Its credential was handed out.
    Redeemed,
    /// Its token came again after that.
    Replayed,
    /// When it last did.
    ReplayedLast,
    /// The runner that GitHub made for it.
    Runner,
    /// The job that its runner took.
    Took,
    /// Its job has the next launch.
    Lost,
    /// Nothing needs it.
    Withdrawn,
    /// Its number among the orders to cancel.
    Cancelling,
    /// Its Slurm job was cancelled.
    Cancelled,
    /// When the gateway was last asked about it.
    Asked,
    /// When GitHub was last asked to remove its runner.
    Removing,
    /// Its runner was removed.
    Removed,
    /// Its Slurm job is over.
    Ended,
    /// The check on the node refused the job that its runner took.
    Refused,
    /// Its place in a line.
    Ticket,
}

impl LaunchFact {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::Cluster,
        Self::Offered,
        Self::Leased,
        Self::Slurm,
        Self::Launched,
        Self::Commit,
        Self::Redeemed,
        Self::Replayed,
        Self::ReplayedLast,
        Self::Runner,
        Self::Took,
        Self::Lost,
        Self::Withdrawn,
        Self::Cancelling,
        Self::Cancelled,
        Self::Asked,
        Self::Removing,
        Self::Removed,
        Self::Ended,
        Self::Refused,
        Self::Ticket,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Offered => "offered",
            Self::Leased => "leased",
            Self::Slurm => "slurm",
            Self::Launched => "launched",
            Self::Commit => "commit",
            Self::Redeemed => "redeemed",
            Self::Replayed => "replayed",
            Self::ReplayedLast => "replayed-last",
            Self::Runner => "runner",
            Self::Took => "took",
            Self::Lost => "lost",
            Self::Withdrawn => "withdrawn",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Asked => "asked",
            Self::Removing => "removing",
            Self::Removed => "removed",
            Self::Ended => "ended",
            Self::Refused => "refused",
            Self::Ticket => "ticket",
        }
    }
}

/// What is attempted for a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaunchAttempts {
    /// To submit it at the gateway, or to offer it to one that fetches.
    Submit,
    /// To have a gateway that fetches submit it.
    Lease,
    /// To get a credential for it.
    Redeem,
    /// To have its Slurm job cancelled.
    Cancel,
}

impl LaunchAttempts {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Submit, Self::Lease, Self::Redeem, Self::Cancel];

    fn word(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Lease => "lease",
            Self::Redeem => "redeem",
            Self::Cancel => "cancel",
        }
    }
}

/// `job/J/FACT`
pub fn job(job: JobId, fact: JobFact) -> String {
    format!("{PREFIX}/job/{job}/{}", fact.word())
}

/// `run/R/A`: what GitHub said of an attempt of a workflow run.
pub fn run(run: RunId, attempt: u64) -> String {
    format!("{PREFIX}/run/{}/{attempt}", run.0)
}

/// `launch/L/FACT`
pub fn launch(launch: LaunchId, fact: LaunchFact) -> String {
    format!("{PREFIX}/launch/{launch}/{}", fact.word())
}

/// The base of [`attempt`] and its siblings for what is attempted for a launch.
pub fn launch_attempts(launch: LaunchId, what: LaunchAttempts) -> String {
    format!("{PREFIX}/launch/{launch}/{}", what.word())
}

/// `ATTEMPTS/next`: where to begin to look.
pub fn attempt_next(base: &str) -> String {
    format!("{base}/next")
}

/// `ATTEMPTS/K`: the claim of one attempt.
pub fn attempt(base: &str, number: u64) -> String {
    format!("{base}/{number}")
}

/// `ATTEMPTS/K/failed`
pub fn attempt_failed(base: &str, number: u64) -> String {
    format!("{base}/{number}/failed")
}

/// `ATTEMPTS/K/met`: when somebody else met the claim.
pub fn attempt_met(base: &str, number: u64) -> String {
    format!("{base}/{number}/met")
}

/// A list of orders of a cluster that fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderList {
    /// What is to be submitted.
    Submits,
    /// What is to be cancelled.
    Cancels,
}

/// `cluster/CLUSTER/orders` or `…/cancels`: how many orders the list ever had.
pub fn cluster_orders(cluster: &ClusterName, list: OrderList) -> String {
    let word = match list {
        OrderList::Submits => "orders",
        OrderList::Cancels => "cancels",
    };
    format!("{PREFIX}/cluster/{cluster}/{word}")
}

/// `cluster/CLUSTER/order/N` or `…/cancel/N`
pub fn cluster_order(cluster: &ClusterName, list: OrderList, number: i64) -> String {
    let word = match list {
        OrderList::Submits => "order",
        OrderList::Cancels => "cancel",
    };
    format!("{PREFIX}/cluster/{cluster}/{word}/{number}")
}

/// `cluster/CLUSTER/last` or `…/last-cancel`: the last order (a hint).
pub fn cluster_last(cluster: &ClusterName, list: OrderList) -> String {
    let word = match list {
        OrderList::Submits => "last",
        OrderList::Cancels => "last-cancel",
    };
    format!("{PREFIX}/cluster/{cluster}/{word}")
}

/// `cluster/CLUSTER/low` or `…/low-cancel`: the first order that may be open (a hint).
pub fn cluster_low(cluster: &ClusterName, list: OrderList) -> String {
    let word = match list {
        OrderList::Submits => "low",
        OrderList::Cancels => "low-cancel",
    };
    format!("{PREFIX}/cluster/{cluster}/{word}")
}

/// `clusters`: the clusters that may have orders, also those that are not configured any more.
pub fn clusters() -> String {
    format!("{PREFIX}/clusters")
}

/// `cluster/CLUSTER/heard`: when a cluster was last heard of.
pub fn cluster_heard(cluster: &ClusterName) -> String {
    format!("{PREFIX}/cluster/{cluster}/heard")
}

/// `line/PROFILE`: how many tickets were drawn.
pub fn line(profile: &str) -> String {
    format!("{PREFIX}/line/{profile}")
}

/// `line/PROFILE/T`: who drew the ticket.
pub fn line_ticket(profile: &str, ticket: i64) -> String {
    format!("{PREFIX}/line/{profile}/{ticket}")
}

/// `line/PROFILE/T/met`: when a ticket without a name was met.
pub fn line_ticket_met(profile: &str, ticket: i64) -> String {
    format!("{PREFIX}/line/{profile}/{ticket}/met")
}

/// `line/PROFILE/T/refused`: the gateway refused the launch at its turn, so the ticket takes no place.
pub fn line_ticket_refused(profile: &str, ticket: i64) -> String {
    format!("{PREFIX}/line/{profile}/{ticket}/refused")
}

/// `line/PROFILE/low`: the lowest ticket that may live.
pub fn line_low(profile: &str) -> String {
    format!("{PREFIX}/line/{profile}/low")
}

/// `journal/B`: how many slots were handed out.
pub fn journal(bucket: Bucket) -> String {
    format!("{PREFIX}/journal/{}", bucket.0)
}

/// `journal/B/N`: what a slot leads to.
pub fn journal_slot(bucket: Bucket, slot: i64) -> String {
    format!("{PREFIX}/journal/{}/{slot}", bucket.0)
}

/// `journal/B/settled`: how far nothing is to be done.
pub fn journal_settled(bucket: Bucket) -> String {
    format!("{PREFIX}/journal/{}/settled", bucket.0)
}

/// `journal/B/closed`: how many slots an hour that is over has.
pub fn journal_closed(bucket: Bucket) -> String {
    format!("{PREFIX}/journal/{}/closed", bucket.0)
}

/// `journal/B/digest/C`: what is known for certain of a chunk of slots.
pub fn journal_digest(bucket: Bucket, chunk: i64) -> String {
    format!("{PREFIX}/journal/{}/digest/{chunk}", bucket.0)
}

/// `tick/tally`: counters of all jobs that were deleted.
pub fn tick_tally() -> String {
    format!("{PREFIX}/tick/tally")
}

/// `tick/place`: where the walk through the journal stopped.
pub fn tick_place() -> String {
    format!("{PREFIX}/tick/place")
}

/// `tick/deliveries`: how far GitHub's list was searched for deliveries that failed.
pub fn tick_deliveries() -> String {
    format!("{PREFIX}/tick/deliveries")
}

/// `tick/poll`: which deliveries of GitHub's list were dealt with, where they are read from there.
pub fn tick_poll() -> String {
    format!("{PREFIX}/tick/poll")
}

/// `tick/cleaned`: up to which hour everything is deleted.
pub fn tick_cleaned() -> String {
    format!("{PREFIX}/tick/cleaned")
}

/// `count/METRIC/OUTCOME`
pub fn count(metric: &str, outcome: &str) -> String {
    format!("{PREFIX}/count/{metric}/{outcome}")
}

/// `overdue/count`: how many launches were ever put into the list.
pub fn overdue_count() -> String {
    format!("{PREFIX}/overdue/count")
}

/// `overdue/N`
pub fn overdue(number: i64) -> String {
    format!("{PREFIX}/overdue/{number}")
}

/// `overdue/N/due`: when it is to be retried.
pub fn overdue_due(number: i64) -> String {
    format!("{PREFIX}/overdue/{number}/due")
}

/// `overdue/last`: the last entry; absent while the list is empty.
pub fn overdue_last() -> String {
    format!("{PREFIX}/overdue/last")
}

/// `overdue/low`: the first entry.
pub fn overdue_low() -> String {
    format!("{PREFIX}/overdue/low")
}

/// `overdue/place`: where the next look at the list begins.
pub fn overdue_place() -> String {
    format!("{PREFIX}/overdue/place")
}

/// `delivery/ID/repeat`: the base of attempts to have a delivery repeated.
pub fn delivery_attempts(name: &str) -> String {
    format!("{PREFIX}/delivery/{name}/repeat")
}

/// `delivery/ID/repeated`
pub fn delivery_repeated(name: &str) -> String {
    format!("{PREFIX}/delivery/{name}/repeated")
}

/// `delivery/GUID/count`: how often it was repeated.
pub fn delivery_count(name: &str) -> String {
    format!("{PREFIX}/delivery/{name}/count")
}

/// `github/deliveries`: the newest of GitHub's list of deliveries.
pub fn github_deliveries() -> String {
    format!("{PREFIX}/github/deliveries")
}

/// `github/reading`: how deliveries arrive, and when the list was last read.
pub fn github_reading() -> String {
    format!("{PREFIX}/github/reading")
}

/// `github/limited-until/SCOPE`: nobody makes a call of that scope before.
pub fn github_limited_until(scope: &str) -> String {
    format!("{PREFIX}/github/limited-until/{scope}")
}

/// `github/app`: the App that was set up in the browser.
pub fn github_app() -> String {
    format!("{PREFIX}/github/app")
}

/// `github/app/private-key`
pub fn github_app_private_key() -> String {
    format!("{PREFIX}/github/app/private-key")
}

/// `github/app/webhook-secret`
pub fn github_app_webhook_secret() -> String {
    format!("{PREFIX}/github/app/webhook-secret")
}

/// `github/app/keep`: the base of attempts to keep the App.
pub fn github_app_attempts() -> String {
    format!("{PREFIX}/github/app/keep")
}

/// `cache/app-jwt`
pub fn cache_app_jwt() -> String {
    format!("{PREFIX}/cache/app-jwt")
}

/// `cache/KIND/REPOSITORY`
pub fn cache(kind: &str, repository: RepositoryId) -> String {
    format!("{PREFIX}/cache/{kind}/{}", repository.0)
}

/// `runner-groups/REPOSITORY`: the runner groups that a repository was found to be allowed to use.
pub fn runner_groups(repository: RepositoryId) -> String {
    format!("{PREFIX}/runner-groups/{}", repository.0)
}

/// `session/key`: signs the console's sessions.
pub fn session_key() -> String {
    format!("{PREFIX}/session/key")
}

/// `session/ended/P`: when somebody of a place logged out.
pub fn session_ended(place: u8) -> String {
    format!("{PREFIX}/session/ended/{place}")
}

/// `login/WHO/P/window`: since when wrong tokens are counted.
pub fn login_window(who: &str, place: u8) -> String {
    format!("{PREFIX}/login/{who}/{place}/window")
}

/// `login/WHO/P/wrong`: how many there were.
pub fn login_wrong(who: &str, place: u8) -> String {
    format!("{PREFIX}/login/{who}/{place}/wrong")
}

/// `login/WHO/P/closed`: until when no secret is looked at.
pub fn login_closed(who: &str, place: u8) -> String {
    format!("{PREFIX}/login/{who}/{place}/closed")
}

/// `login/seen/P`: an address that a right secret came from.
pub fn login_seen(place: u8) -> String {
    format!("{PREFIX}/login/seen/{place}")
}

/// `setup/link/H/use`: the claim to use a link.
pub fn setup_link_use(digest: &str) -> String {
    format!("{PREFIX}/setup/link/{digest}/use")
}

/// `setup/link/H/used-at`
pub fn setup_link_used(digest: &str) -> String {
    format!("{PREFIX}/setup/link/{digest}/used-at")
}

/// `setup/link/H/opened`
pub fn setup_link_opened(digest: &str) -> String {
    format!("{PREFIX}/setup/link/{digest}/opened")
}

/// `setup/session/H`
pub fn setup_session(digest: &str) -> String {
    format!("{PREFIX}/setup/session/{digest}")
}

/// `setup/state/H`
pub fn setup_state(digest: &str) -> String {
    format!("{PREFIX}/setup/state/{digest}")
}

/// `setup/state/H/exchange`: the base of attempts to exchange a code.
pub fn setup_state_attempts(digest: &str) -> String {
    format!("{PREFIX}/setup/state/{digest}/exchange")
}

/// `doctor/R`: a counter of `gha-slurm doctor`.
pub fn doctor(name: &str) -> String {
    format!("{PREFIX}/doctor/{name}")
}

/// `key/current/CLUSTER`: the key pair that signs the launch tokens of a cluster, without its private half.
pub fn signing_key_current(cluster: &ClusterName) -> String {
    format!("{PREFIX}/key/current/{cluster}")
}

/// `key/DAY`: how many key pairs a day has.
pub fn signing_key_count(day: u64) -> String {
    format!("{PREFIX}/key/{day}")
}

/// `key/DAY/N`: the public half of one of them.
pub fn signing_key(day: u64, number: i64) -> String {
    format!("{PREFIX}/key/{day}/{number}")
}

/// `key/cleaned`: up to which day all are deleted.
pub fn signing_keys_cleaned() -> String {
    format!("{PREFIX}/key/cleaned")
}

/// `stop/all`: the operator stopped all launches.
pub fn stop_all() -> String {
    format!("{PREFIX}/stop/all")
}

/// `stop/OWNER/NAME`: the operator stopped launches of a repository, named in lower case.
pub fn stop_repository(name: &str) -> String {
    format!("{PREFIX}/stop/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_schema_are_known_and_no_others() {
        for key in
            ["job/1/requested", "launch/1-1/submit/next", "launch/1-1/submit/3/failed", "key/0123", "line/cpu/7/met"]
        {
            assert!(is_known(&format!("{PREFIX}/{key}")), "{key}");
        }
        for key in ["job/1", "job/1/wanted", "launch/1-1/submit", "launch/1-1/submit/x", "key/", "line/a/b/c"] {
            assert!(!is_known(&format!("{PREFIX}/{key}")), "{key}");
        }
        assert!(!is_known("gha-slurm/2/key/current"));
    }

    #[test]
    fn docs_store_md_lists_every_key() {
        let docs = include_str!("../../../../docs/store.md");
        let listed = |key: &str| docs.lines().any(|line| line.starts_with('|') && line.contains(&format!("`{key}`")));
        let missing: Vec<_> = SCHEMA.iter().filter(|key| !listed(key)).collect();
        assert!(missing.is_empty(), "docs/store.md lacks {missing:?}");
        let unknown: Vec<&str> = docs
            .lines()
            .filter(|line| line.starts_with("| `"))
            .filter_map(|line| line.split('|').nth(1))
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .filter(|key| !SCHEMA.contains(key))
            .collect();
        assert!(unknown.is_empty(), "docs/store.md has keys that are not in the schema: {unknown:?}");
    }
}
