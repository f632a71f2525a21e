//! Manifests of Apps: what one may hold, and those that are between the form and the App.
//!
//! Source: GitHub Docs, "Registering a GitHub App from a manifest"; the messages are those that GitHub's page shows.

use std::collections::BTreeMap;

use serde::Deserialize;
use url::Url;

use super::permission::Permissions;

/// The longest name of an App, in characters.
pub(crate) const MAX_NAME: usize = 34;
/// What each permission may be, of those that an App of this kind could want, and the events that it covers.
const PERMISSIONS: &[(&str, &[&str], &[&str])] = &[
    ("administration", &["read", "write"], &["repository", "branch_protection_rule"]),
    ("actions", &["read", "write"], &["workflow_job", "workflow_run"]),
    ("checks", &["read", "write"], &["check_run", "check_suite"]),
    ("contents", &["read", "write"], &["push", "release"]),
    ("metadata", &["read"], &["star", "watch"]),
    ("organization_self_hosted_runners", &["read", "write"], &[]),
    ("statuses", &["read", "write"], &["status"]),
];

/// The events that an App with these permissions may have.
pub(crate) fn covered(permissions: &Permissions) -> Vec<String> {
    let held = PERMISSIONS.iter().filter(|(name, ..)| permissions.contains_key(*name));
    held.flat_map(|(.., events)| *events).map(|event| (*event).to_owned()).collect()
}

/// A manifest that is being looked at, and an App whose code was not exchanged yet.
#[derive(Default)]
pub(crate) struct Registrations {
    /// By the page's token: manifest, owner, and the client's `state`.
    pub(crate) pending: BTreeMap<String, (Manifest, String, Option<String>)>,
    /// By code: the App's id, and the code's end.
    pub(crate) codes: BTreeMap<String, (u64, u64)>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) name: Option<String>,
    url: Option<String>,
    pub(crate) hook_attributes: Option<Hook>,
    pub(crate) redirect_url: Option<String>,
    pub(crate) setup_url: Option<String>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default, rename = "public")]
    _public: bool,
    #[serde(default)]
    pub(crate) default_permissions: Permissions,
    #[serde(default)]
    pub(crate) default_events: Vec<String>,
}

/// Without a secret: GitHub makes that itself.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hook {
    pub(crate) url: Option<String>,
    pub(crate) active: Option<bool>,
}

impl Manifest {
    pub(crate) fn check(&self) -> Result<(), String> {
        let is_url = |text: &str| Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if self.url.is_none() || self.hook_attributes.as_ref().is_some_and(|hook| hook.url.is_none()) {
            return Err("Error: \"url\" wasn't supplied.".to_owned());
        }
        if self.redirect_url.is_none() {
            return Err("Error: \"redirect_url\" wasn't supplied.".to_owned());
        }
        let hook = self.hook_attributes.as_ref().and_then(|hook| hook.url.as_ref());
        for url in [self.url.as_ref(), hook, self.redirect_url.as_ref(), self.setup_url.as_ref()].into_iter().flatten()
        {
            if !is_url(url) {
                return Err(format!("{url} is not a valid URL"));
            }
        }
        if self.name.as_ref().is_some_and(|name| name.chars().count() > MAX_NAME) {
            return Err(format!("Name is too long (maximum is {MAX_NAME} characters)"));
        }
        let known = |name: &str| PERMISSIONS.iter().find(|(known, ..)| *known == name);
        for (name, level) in &self.default_permissions {
            if known(name).is_none_or(|(_, levels, _)| !levels.contains(&level.as_str())) {
                return Err(format!("Default permission records resource is not included in the list: {name} {level}"));
            }
        }
        for event in &self.default_events {
            if !PERMISSIONS.iter().any(|(.., events)| events.contains(&event.as_str())) {
                return Err(format!("Default events unsupported: {event}"));
            }
            let covers = |name: &String| known(name).is_some_and(|(.., events)| events.contains(&event.as_str()));
            if !self.default_permissions.keys().any(covers) {
                return Err(format!("Default events are not supported by permissions: {event}"));
            }
        }
        Ok(())
    }
}
