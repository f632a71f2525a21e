//! Accounts: organizations and persons. Their ids are theirs for good, whatever their logins become.

use serde_json::{Value, json};

/// A person, or a bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The login of now, as the person writes it.
    pub login: String,
    /// The id.
    pub id: u64,
}

impl Default for Person {
    /// Who does everything unless a test says otherwise.
    fn default() -> Self {
        Self::new("octocat", 2)
    }
}

impl Person {
    /// A person of that id.
    pub fn new(login: &str, id: u64) -> Self {
        Self { login: login.to_owned(), id }
    }

    /// The person who owns the repositories of that login.
    pub fn owner(login: &str) -> Self {
        Self::new(login, account_id(login))
    }

    pub(crate) fn resource(&self) -> Value {
        let kind = if self.login.ends_with("[bot]") { "Bot" } else { "User" };
        json!({"login": self.login, "id": self.id, "type": kind})
    }
}

/// The id of the account that owns repositories under a login: the same in every run, without a table.
pub(crate) fn account_id(login: &str) -> u64 {
    // FNV-1a; 32 bits are enough for a test's accounts, and a JavaScript number holds them.
    let hash = login
        .to_lowercase()
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    1000 + u64::from(hash)
}
