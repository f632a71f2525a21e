//! Apps: who they are at GitHub.

use jwt_simple::prelude::RS256KeyPair;

use super::manifest::covered;
use super::permission::Permissions;

/// The App's id at the fake GitHub.
pub const APP_ID: &str = "123456";
/// The id of the installation that every repository belongs to at first.
pub const INSTALLATION: u64 = 7_654_321;

/// A GitHub App.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) slug: String,
    pub(crate) owner: String,
    pub(crate) key: RS256KeyPair,
    pub(crate) webhook_secret: String,
    pub(crate) webhook_url: String,
    pub(crate) webhook_active: bool,
    pub(crate) setup_url: String,
    pub(crate) permissions: Permissions,
    pub(crate) events: Vec<String>,
}

impl App {
    /// The App that most tests begin with: registered by hand, all in order, with every event that it may have.
    pub(crate) fn registered(key: RS256KeyPair, webhook_secret: &str) -> Self {
        let permissions = [("administration", "write"), ("actions", "read"), ("metadata", "read")];
        let permissions = permissions.map(|(name, level)| (name.to_owned(), level.to_owned())).into();
        Self {
            id: APP_ID.parse().unwrap(),
            name: "gha-slurm".to_owned(),
            slug: "gha-slurm".to_owned(),
            owner: "octo-org".to_owned(),
            key,
            webhook_secret: webhook_secret.to_owned(),
            webhook_url: String::new(),
            webhook_active: true,
            setup_url: String::new(),
            events: covered(&permissions),
            permissions,
        }
    }
}
