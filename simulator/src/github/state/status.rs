//! Statuses of commits, which pull requests show.
//!
//! Source: GitHub Docs, "REST API endpoints for commit statuses".

/// A status of a commit. The newest of a context counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitStatus {
    /// Its id.
    pub id: u64,
    /// The repository's id.
    pub repository_id: u64,
    /// The commit.
    pub sha: String,
    /// `error`, `failure`, `pending` or `success`.
    pub state: String,
    /// What tells it from others of the commit, without regard to case.
    pub context: String,
    /// A sentence.
    pub description: Option<String>,
    /// Where its link leads.
    pub target_url: Option<String>,
    pub(crate) created_at: u64,
}
