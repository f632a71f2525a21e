//! What the App needs on GitHub. The manifest of the setup asks for it, and `gha-slurm doctor` checks it.

use gha_slurm_protocol::messages::RunnerLevel;

/// By the level of runners: the permission that registers them there, by GitHub's name. The first also lets the App delete
/// the repository.
pub const RUNNERS: [(RunnerLevel, &str); 2] =
    [(RunnerLevel::Repository, "administration"), (RunnerLevel::Organization, "organization_self_hosted_runners")];

/// The permission that commit statuses take; asked for only where they are on.
pub const STATUSES: (&str, &str) = ("statuses", "write");

/// Permissions, by GitHub's names, and the level of each that is needed for runners of these levels, and for commit
/// statuses where they are on.
pub fn permissions(levels: &[RunnerLevel], statuses: bool) -> Vec<(&'static str, &'static str)> {
    let runners = RUNNERS.iter().filter(|(level, _)| levels.contains(level)).map(|(_, name)| (*name, "write"));
    let runners = runners.chain([("actions", "read"), ("metadata", "read")]);
    runners.chain(statuses.then_some(STATUSES)).collect()
}

/// The events that the App's webhook must be subscribed to. GitHub accepts an event only with a permission that covers
/// it: `workflow_job` needs `actions`.
pub const EVENTS: [&str; 1] = ["workflow_job"];
