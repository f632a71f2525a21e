//! What the App needs on GitHub. The manifest of the setup asks for it, and `gha-slurm doctor` checks it.

/// Permissions, by GitHub's names, and the level that is needed.
pub const PERMISSIONS: [(&str, &str); 3] = [("administration", "write"), ("actions", "read"), ("metadata", "read")];

/// The events that the App's webhook must be subscribed to. GitHub accepts an event only with a permission that covers
/// it: `workflow_job` needs `actions`.
pub const EVENTS: [&str; 1] = ["workflow_job"];
