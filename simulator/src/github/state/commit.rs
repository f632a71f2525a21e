//! Commits. The tip of every default branch is the same one; what else there is has one that is its own.

use sha2::{Digest, Sha256};

/// The tip of every default branch.
pub(crate) const SHA: &str = "7ad62d7cef4b1f6f5cf1e7ea0ed4a0b2f9d9d3c1";

/// The commit of what has a name within something: of a branch in a repository, of a merge. The same in every run,
/// without a table.
pub(crate) fn commit_of(within: &str, name: &str) -> String {
    let digest = Sha256::digest(format!("{}@{name}", within.to_lowercase()));
    digest.iter().take(20).map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a text has the form of a commit's name.
pub(crate) fn is_sha(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
