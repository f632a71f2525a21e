//! The manifest from which GitHub creates the App, and where it is posted.
//!
//! Source: GitHub Docs, "Registering a GitHub App from a manifest".

use std::collections::BTreeMap;

use gha_slurm_core::github::requirements::{EVENTS, permissions};
use gha_slurm_core::settings::{SettingError, Webhooks};
use gha_slurm_protocol::messages::RunnerLevel;
use serde_json::json;
use url::Url;

/// Where GitHub sends what is read from its list of deliveries. GitHub lists only what it tried to send, so there must be an
/// address. This one belongs to nobody and never will (RFC 6761, "invalid"), so no payload reaches anybody; `public_url`
/// may be the name of somebody else's machine outside the cluster. And it fails at once: where a firewall drops what
/// comes, GitHub lists a delivery only after ten seconds.
pub(super) const NOWHERE: &str = "https://gha-slurm.invalid/";
/// GitHub's limit for an App's name.
const MAX_NAME: usize = 34;
/// GitHub's limit for an account's name.
const MAX_ACCOUNT: usize = 39;

/// The App's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// The person who is signed in to GitHub.
    Personal,
    /// An organization whose Apps this person may manage.
    Organization(String),
}

/// What a person chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    /// The App's owner.
    pub(super) owner: Owner,
    /// Where the App is to register runners, which decides what it may do.
    pub(super) runners: RunnerLevel,
    /// The App's name.
    pub(super) name: String,
}

impl Choice {
    /// Reads the form's fields; the error is for the person who filled it in.
    pub(super) fn parse(account: &str, organization: &str, runners: &str, name: &str) -> Result<Self, &'static str> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
            return Err("The App's name must have 1 to 34 characters.");
        }
        let owner = match (account, organization.trim()) {
            ("personal", _) => Owner::Personal,
            ("organization", login) if is_login(login) => Owner::Organization(login.to_owned()),
            ("organization", _) => {
                return Err("Enter the organization's name as in its URL: letters, digits and hyphens.");
            }
            _ => return Err("Choose who should own the App."),
        };
        // The one that may do the least, unless somebody chooses another. A person has no runners of their own at GitHub.
        let runners = match (&owner, runners) {
            (Owner::Organization(_), "" | "organization") => RunnerLevel::Organization,
            (Owner::Organization(_), "repository") | (Owner::Personal, _) => RunnerLevel::Repository,
            _ => return Err("Choose where the App should register runners."),
        };
        Ok(Self { owner, runners, name: name.to_owned() })
    }

    /// Where the manifest is posted, below GitHub's pages at `web`.
    pub(super) fn action(&self, web: &Url, state: &str) -> Result<Url, SettingError> {
        let path = match &self.owner {
            Owner::Personal => "settings/apps/new".to_owned(),
            Owner::Organization(login) => format!("organizations/{login}/settings/apps/new"),
        };
        let mut url = joined(web, &path, "github_api_url")?;
        url.query_pairs_mut().append_pair("state", state);
        Ok(url)
    }

    /// The manifest for an application at `public`, with the permission for commit statuses if they are on.
    pub(super) fn manifest(&self, public: &Url, webhooks: Webhooks, statuses: bool) -> Result<String, SettingError> {
        let under = |path| joined(public, path, "public_url");
        let hook = match webhooks {
            Webhooks::Receive => under("api/github/webhooks")?.to_string(),
            Webhooks::Poll => NOWHERE.to_owned(),
        };
        Ok(json!({
            "name": self.name,
            "url": public,
            "description": "Runs GitHub Actions jobs on a Slurm cluster",
            "public": false,
            "hook_attributes": {"url": hook, "active": true},
            "redirect_url": under("setup/callback")?,
            "setup_url": public,
            "default_permissions": permissions(&[self.runners], statuses).into_iter().collect::<BTreeMap<_, _>>(),
            "default_events": EVENTS,
        })
        .to_string())
    }
}

fn is_login(text: &str) -> bool {
    (1..=MAX_ACCOUNT).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn joined(base: &Url, path: &str, variable: &'static str) -> Result<Url, SettingError> {
    base.join(path).map_err(|error| SettingError::new(variable, format!("is not a base URL ({error})")))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn choice(account: &str, organization: &str) -> Choice {
        Choice::parse(account, organization, "", " gha-slurm ").unwrap()
    }

    fn permissions_of(choice: &Choice) -> Value {
        let manifest = choice.manifest(&Url::parse("https://app.example/").unwrap(), Webhooks::Receive, false).unwrap();
        serde_json::from_str::<Value>(&manifest).unwrap()["default_permissions"].clone()
    }

    #[test]
    fn an_organizations_app_cannot_touch_repositories_unless_that_is_chosen() {
        let reads = serde_json::json!({"actions": "read", "metadata": "read"});
        let with = |name: &str| {
            let mut all = reads.clone();
            all[name] = "write".into();
            all
        };
        let chosen = |account, runners| permissions_of(&Choice::parse(account, "octo-org", runners, "n").unwrap());
        for runners in ["", "organization"] {
            assert_eq!(chosen("organization", runners), with("organization_self_hosted_runners"));
        }
        assert_eq!(chosen("organization", "repository"), with("administration"));
        for runners in ["", "organization", "repository"] {
            assert_eq!(chosen("personal", runners), with("administration"), "a person has no other runners");
        }
        assert!(Choice::parse("organization", "octo-org", "enterprise", "n").is_err());
    }

    #[test]
    fn it_goes_to_the_owners_page_and_comes_back_under_the_public_url() {
        let web = Url::parse("https://github.com/").unwrap();
        let personal = choice("personal", "ignored");
        assert_eq!(personal.action(&web, "s").unwrap().as_str(), "https://github.com/settings/apps/new?state=s");
        let organization = choice("organization", " octo-org ").action(&web, "s").unwrap();
        assert_eq!(organization.as_str(), "https://github.com/organizations/octo-org/settings/apps/new?state=s");

        let manifest =
            personal.manifest(&Url::parse("https://app.example/slurm/").unwrap(), Webhooks::Receive, true).unwrap();
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        assert_eq!(manifest["name"], "gha-slurm");
        let permissions = serde_json::json!({
            "administration": "write", "actions": "read", "metadata": "read", "statuses": "write",
        });
        assert_eq!(
            (&manifest["default_permissions"], &manifest["default_events"][0]),
            (&permissions, &"workflow_job".into())
        );
        assert_eq!(manifest["hook_attributes"]["url"], "https://app.example/slurm/api/github/webhooks");
        assert_eq!(manifest["redirect_url"], "https://app.example/slurm/setup/callback");
    }

    #[test]
    fn where_deliveries_are_read_github_sends_them_to_nobody_and_records_them() {
        let public = Url::parse("https://login1.cluster.example/").unwrap();
        let of = |webhooks| {
            let manifest = choice("personal", "").manifest(&public, webhooks, false).unwrap();
            serde_json::from_str::<Value>(&manifest).unwrap()
        };
        let (received, read) = (of(Webhooks::Receive), of(Webhooks::Poll));
        assert_eq!(read["hook_attributes"], serde_json::json!({"url": "https://gha-slurm.invalid/", "active": true}));
        for same in ["default_events", "default_permissions", "redirect_url", "url"] {
            assert_eq!(read[same], received[same], "{same}");
        }
    }

    #[test]
    fn a_malformed_account_or_name_is_refused() {
        for (account, organization, name) in [
            ("organization", "", "n"),
            ("organization", "../x", "n"),
            ("organization", "a/b", "n"),
            ("organization", "a?b", "n"),
            ("", "", "n"),
            ("personal", "", " "),
            ("personal", "", "a\nb"),
            ("personal", "", "35 characters are one too many, so.."),
        ] {
            assert!(Choice::parse(account, organization, "", name).is_err(), "{account} {organization} {name}");
        }
    }
}
