//! What the App needs on GitHub. The manifest of the setup asks for it, and `gha-slurm doctor` checks it.

use gha_slurm_protocol::messages::RunnerLevel;

/// By the level of runners: the permission that registers them there, by GitHub's name. The first also lets the App delete
/// the repository.
pub const RUNNERS: [(RunnerLevel, &str); 2] =
    [(RunnerLevel::Repository, "administration"), (RunnerLevel::Organization, "organization_self_hosted_runners")];

/// Permissions, by GitHub's names, and the level of each that is needed for runners of these levels.
pub fn permissions(levels: &[RunnerLevel]) -> Vec<(&'static str, &'static str)> {
    let runners = RUNNERS.iter().filter(|(level, _)| levels.contains(level)).map(|(_, name)| (*name, "write"));
    runners.chain([("actions", "read"), ("metadata", "read")]).collect()
}

/// The events that the App's webhook must be subscribed to. GitHub accepts an event only with a permission that covers
/// it: `workflow_job` needs `actions`.
pub const EVENTS: [&str; 1] = ["workflow_job"];
